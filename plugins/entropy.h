/* Entropy as a lever: the tokens with the most of it, a bonus for it, and a controller of the bonus
 * that aims at a level. */
#ifndef DOWEL_PLUGINS_ENTROPY_H
#define DOWEL_PLUGINS_ENTROPY_H

#include <dowel/plugin.h>
#include <math.h>
#include <stdlib.h>

static inline int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Least entropy among the share `top` of the counted tokens that have the most, interpolated
 * between neighbours; sets *kept to how many reach it. Ties at the threshold all do. */
static inline double entropy_threshold(const dowel_batch *in, double top, double *kept)
{
    const double *h = dowel_x(in, DOWEL_ENTROPY);
    double *sorted = in->host->scratch(in->host, (in->n_tok + 1) * sizeof *sorted);
    size_t n = 0;
    *kept = 0;
    for (uint32_t t = 0; t < in->n_tok; t++)
        if (in->mask[t])
            sorted[n++] = h[t];
    if (n == 0)
        return 0;
    qsort(sorted, n, sizeof *sorted, by_value);
    double at = (1 - top) * (double)(n - 1);
    size_t below = (size_t)at;
    double part = at - (double)below, next = sorted[below + 1 < n ? below + 1 : below];
    double threshold = sorted[below] + part * (next - sorted[below]);
    for (size_t k = 0; k < n; k++)
        *kept += sorted[k] >= threshold;
    return threshold;
}

/* A bonus in one call, and what the call saw. */
struct entropy_call {
    double coef, threshold; /* only tokens at or above it; -INFINITY: all */
    double active;          /* such tokens in the whole step */
    double sum, sum_active, tokens_active;
};

/* Minus coef times the mean entropy of the active tokens, whatever the normaliser of other terms.
 */
static inline double entropy_sequence(struct entropy_call *e, const dowel_batch *in, uint32_t s)
{
    const double *h = dowel_x(in, DOWEL_ENTROPY);
    double *grad = dowel_grad(in, DOWEL_ENTROPY), total = 0;
    double each = dowel_x(in, DOWEL_WEIGHT)[s] * e->coef / fmax(e->active, 1);
    for (uint32_t t = in->start[s]; h && t < in->start[s + 1]; t++) {
        if (!in->mask[t])
            continue;
        e->sum += h[t];
        if (h[t] < e->threshold)
            continue;
        e->sum_active += h[t];
        e->tokens_active += 1;
        if (e->coef <= 0)
            continue;
        total -= each * h[t];
        if (grad)
            grad[t] -= each;
    }
    return total;
}

/* Skywork-OR1's controller. The gate looks at the step before: the first step has no bonus. */
struct entropy_state {
    double coef, measured, started;
};

struct entropy_rule {
    double target, delta, least, most;
};

static inline double entropy_applied(const struct entropy_state *e, double target)
{
    return e->started > 0 && e->measured <= target ? e->coef : 0;
}

static inline void entropy_adapt(struct entropy_state *e, const struct entropy_rule *r,
                                 double measured)
{
    double moved = e->coef + (measured <= r->target ? r->delta : -r->delta);
    e->coef = fmin(fmax(moved, r->least), r->most);
    e->measured = measured;
    e->started = 1;
}

#endif
