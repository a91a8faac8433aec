/* What a teacher reads in rollouts: another answer of the same group that did well. */
#ifndef DW_TRAIN_DEMONSTRATE_H
#define DW_TRAIN_DEMONSTRATE_H

#include "train/set.h"

/* Gives every answer of a scored rollout its teacher's prompt as rollout.demonstrate says
 * (self-distillation policy optimization, Huebotter et al. 2026): the row with "demonstration", the
 * text of the first other answer of its group whose reward reaches at_least, and "feedback", what
 * a reward said of the answer itself. Answers with neither, and those whose prompt would not fit
 * before the answer, are untaught. Reports self_distillation/..._fraction. [main thread] */
dw_status dw_demonstrate(dw_set *s, dw_err *err);

#endif
