/* A frozen copy of a model that follows it.
 *
 * mix:  ref <- alpha w + (1 - alpha) ref every `every` steps (TR-DPO, arXiv 2404.09656; with alpha
 *       0.05 every step it is the slow teacher of self-distillation).
 * bema: every `every` steps, at step t: ema <- (1 - beta) ema + beta w with beta = max((rho + gamma
 *       t)^-kappa, beta_min), then ref <- ema + (rho + gamma t)^-eta (w - start) (arXiv
 * 2508.00180).
 */
#ifndef DW_TRAIN_REFRESH_H
#define DW_TRAIN_REFRESH_H

#include "train/plan.h"

typedef struct dw_refresh {
    const dw_plan_update *plan;
    uint64_t step;        /* optimiser steps seen */
    dw_real *ema, *start; /* [n] bema alone; from dw_tensor_map */
    size_t n;
} dw_refresh;

/* ref: the copy's parameters, still those of the start. */
dw_status dw_refresh_init(dw_refresh *r, const dw_plan_update *u, const dw_params *ref,
                          dw_err *err);
void dw_refresh_finish(dw_refresh *r); /* accepts a zeroed one */
/* Counts a step; true when ref was changed. */
bool dw_refresh_step(dw_refresh *r, const dw_params *w, const dw_params *ref);

#endif
