/* The optimisers: AdamW and SGD over a model's trained parameters, with clipping. */
#ifndef DW_TRAIN_OPTIM_H
#define DW_TRAIN_OPTIM_H

#include "model/model.h"
#include "train/plan.h"

typedef struct dw_optim {
    const dw_exec *x;
    dw_params *p;
    bool adamw;
    double beta1, beta2, eps, decay, momentum, clip;
    dw_real *m, *v; /* [p->n], from dw_tensor_map; v NULL for SGD, m NULL without momentum */
    long step;      /* updates done so far */
} dw_optim;

/* DW_E_LIMIT with the number of bytes when memory is gone. */
dw_status dw_optim_init(dw_optim *o, const dw_exec *x, dw_params *p, const dw_plan_optimizer *plan,
                        dw_err *err);
void dw_optim_finish(dw_optim *o); /* accepts a zeroed one */
size_t dw_optim_bytes(const dw_plan_optimizer *plan, size_t n_params);
/* Norm of the gradient; not finite when any gradient is not. */
double dw_optim_norm(const dw_optim *o);
/* One update from p->g, scaled down to norm `clip` where that is set; norm from dw_optim_norm. */
void dw_optim_update(dw_optim *o, double lr, double norm);

#endif
