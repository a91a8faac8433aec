/* The columns that are fixed before a step: what frozen models and the old critic say. */
#ifndef DW_TRAIN_CONSTANTS_H
#define DW_TRAIN_CONSTANTS_H

#include "train/set.h"

/* Fills REF_LOGP, TEACHER_LOGP and, of sampled answers, OLD_VALUE over a whole set where its task
 * asks for them. keep: the sequences are rows of data, which come again. */
dw_status dw_constants_fill(dw_set *s, bool keep, dw_err *err);

#endif
