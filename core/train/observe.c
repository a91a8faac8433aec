/* Turns engine outputs into columns and column derivatives into what the engine's backward takes.
 */
#include "train/observe.h"

#include <math.h>

static double *take(dw_arena *a, bool wanted, size_t n)
{
    return wanted ? dw_arena_alloc(a, (n + 1) * sizeof(double)) : NULL;
}

/* Pair order -> column order, into new memory. */
static double *gather(dw_arena *a, const dw_pack *p, const double *by_pair)
{
    if (!by_pair)
        return NULL;
    double *x = take(a, true, p->n_tok);
    for (size_t t = 0; t < p->n_tok; t++)
        x[t] = by_pair[p->pair_of[t]];
    return x;
}

static double *scatter(dw_arena *a, const dw_pack *p, const double *by_token)
{
    if (!by_token)
        return NULL;
    double *x = take(a, true, p->n_tok);
    for (size_t t = 0; t < p->n_tok; t++)
        x[p->pair_of[t]] = by_token[t];
    return x;
}

static dw_status check_finite(const double *logp, size_t n, dw_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(logp[i]))
            return dw_fail(err, DW_E_NUMERIC,
                           "the model's log-probability of token %zu of the micro-batch is %g", i,
                           logp[i]);
    return DW_OK;
}

dw_status dw_observe(dw_engine *e, dw_arena *a, const dw_pack *p, double temperature,
                     uint64_t columns, unsigned flags, dw_head_wants wants, dw_observed *out,
                     dw_err *err)
{
    size_t n = p->n_tok;
    *out = (dw_observed){0};
    DW_TRY(dw_engine_forward(e, &p->forest, flags, err));
    dw_head_out h = {.logp = take(a, true, n),
                     .entropy = take(a, columns & DOWEL_BIT(DOWEL_ENTROPY), n),
                     .mean_logp = take(a, columns & DOWEL_BIT(DOWEL_MEAN_LOGP), n),
                     .collision = take(a, columns & DOWEL_BIT(DOWEL_COLLISION), n),
                     .mean_logit = take(a, columns & DOWEL_BIT(DOWEL_MEAN_LOGIT), n),
                     .top_prob = take(a, columns & DOWEL_BIT(DOWEL_TOP_PROB), n)};
    if (columns & DOWEL_BIT(DOWEL_TOP1))
        h.top1 = dw_arena_alloc(a, n + 1);
    DW_TRY(dw_engine_head(e, p->pair, n, temperature, wants, &h, err));
    out->logp = gather(a, p, h.logp);
    out->entropy = gather(a, p, h.entropy);
    out->mean_logp = gather(a, p, h.mean_logp);
    out->collision = gather(a, p, h.collision);
    out->mean_logit = gather(a, p, h.mean_logit);
    out->top_prob = gather(a, p, h.top_prob);
    if (h.top1) {
        out->top1 = take(a, true, n);
        for (size_t t = 0; t < n; t++)
            out->top1[t] = h.top1[p->pair_of[t]];
    }
    return check_finite(out->logp, n, err);
}

dw_status dw_observe_backward(dw_engine *e, dw_arena *a, const dw_pack *p,
                              const dw_observed_grad *g, dw_err *err)
{
    const dw_engine_grads d = {.logp = scatter(a, p, g->logp),
                               .entropy = scatter(a, p, g->entropy),
                               .mean_logp = scatter(a, p, g->mean_logp)};
    return dw_engine_backward(e, &d, err);
}
