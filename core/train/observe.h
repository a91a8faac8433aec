/* The bridge between the model and the columns: the one place that knows both. */
#ifndef DW_TRAIN_OBSERVE_H
#define DW_TRAIN_OBSERVE_H

#include "data/pack.h"
#include "train/set.h"

/* What the model says about the tokens of a micro-batch, in column order; NULL where not asked. */
typedef struct dw_observed {
    double *logp, *entropy, *mean_logp, *collision, *mean_logit, *top_prob, *top1;
} dw_observed;

/* Derivatives of the step's loss, column order; NULL: zero. */
typedef struct dw_observed_grad {
    const double *logp, *entropy, *mean_logp;
} dw_observed_grad;

/* Forward over one pack. columns: DOWEL_BIT()s (LOGP always); flags: DW_PASS_*. Memory from the
 * arena. A log-probability that is not finite is DW_E_NUMERIC. */
dw_status dw_observe(dw_engine *e, dw_arena *a, const dw_pack *p, double temperature,
                     uint64_t columns, unsigned flags, dw_head_wants wants, dw_observed *out,
                     dw_err *err);
/* Backward of the last dw_observe with DW_PASS_SAVE. */
dw_status dw_observe_backward(dw_engine *e, dw_arena *a, const dw_pack *p,
                              const dw_observed_grad *g, dw_err *err);

#endif
