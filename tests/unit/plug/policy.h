/* The small rollout that the golden vectors of the policy losses were computed on. */
#ifndef TESTS_PLUG_POLICY_H
#define TESTS_PLUG_POLICY_H

#include "batch.h"

static const double golden_h[] = {0.1, 0.5, 0.9, 1.2, 0.3};

static inline void put(double *x, size_t n, const double *v)
{
    memcpy(x, v, n * sizeof *v);
}

static inline batch *golden_rollout(dw_arena *a)
{
    batch *t = batch_make(a, 2, (uint32_t[]){3, 2});
    put(column(a, t, DOWEL_LOGP, true), 5, (double[]){-0.5, -1, -2, -1.2, -0.3});
    put(column(a, t, DOWEL_OLD_LOGP, false), 5, (double[]){-0.7, -0.9, -2.05, -0.8, -0.7});
    put(column(a, t, DOWEL_REF_LOGP, false), 5, (double[]){-0.6, -1.1, -1.8, -1.0, -0.5});
    put(column(a, t, DOWEL_ADVANTAGE, false), 5, (double[]){0.8, 0.8, 0.8, -1.2, -1.2});
    put(column(a, t, DOWEL_ENTROPY, true), 5, golden_h);
    column(a, t, DOWEL_WEIGHT, false);
    return t;
}

static inline double *at(batch *t, uint32_t c)
{
    return (double *)t->col[c].x;
}

#endif
