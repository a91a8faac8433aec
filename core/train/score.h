/* What a reward or process model says about answers. */
#ifndef DW_TRAIN_SCORE_H
#define DW_TRAIN_SCORE_H

#include "train/set.h"

/* The score head of a model of the plan (dw_plan_use.model) over a set's sequences, no gradient.
 * mark: [set->n_tok] where to read, at the token's own position; NULL: at the last token of every
 * sequence. out: one row per mark, in column order, of dw_model_score_width(job->models[i].m)
 * channels. [main] DW_E_NUMERIC when a score is not finite. */
dw_status dw_score_marks(const dw_job *job, size_t model, const dw_set *s, const uint8_t *mark,
                         double *out, dw_err *err);

/* One number from one row of channels. A sequence model's first channel as it is (a reward or a
 * cost); a token model's probability that the step is right: the sigmoid of one channel, of two
 * the softmax's share of the second (labels 0 wrong, 1 right). */
double dw_score_number(const dw_model *m, const double *channel);

#endif
