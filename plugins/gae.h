/* Generalised advantage estimation as options and one function: the estimator `gae`, and the one
 * that comes with ppo. */
#ifndef DOWEL_PLUGINS_GAE_H
#define DOWEL_PLUGINS_GAE_H

#include "streams.h"

#define GAE_FIELDS                                                                                 \
    SHAPING_EMBEDDED;                                                                              \
    double gamma, lambda;                                                                          \
    bool whiten, whiten_population, whiten_rewards
struct gae_opts {
    GAE_FIELDS;
};
#define GAE_EMBEDDED                                                                               \
    union {                                                                                        \
        struct {                                                                                   \
            GAE_FIELDS;                                                                            \
        };                                                                                         \
        struct gae_opts gae;                                                                       \
    }
#define GAE_PARAMS(S)                                                                              \
    DOWEL_OPT_REAL(S, gamma, "1", 0, 1, DOWEL_TUNABLE, "Discount of a reward per token."),         \
        DOWEL_OPT_REAL(S, lambda, "0.95", 0, 1, DOWEL_TUNABLE,                                     \
                       "From one step (0) to whole returns (1)."),                                 \
        DOWEL_OPT_BOOL(S, whiten, "true", 0, "Standardise advantages over the rollout."),          \
        DOWEL_OPT_BOOL(S, whiten_population, "false", 0,                                           \
                       "Deviations by n instead of n - 1 in both standardisations."),              \
        DOWEL_OPT_BOOL(S, whiten_rewards, "false", 0,                                              \
                       "Scale rewards to variance 1 first, with their mean where it is."),         \
        SHAPING_PARAMS(S, "0.05")

static inline dowel_status gae_observe(const struct gae_opts *o, dowel_request *ask, dowel_err *err)
{
    ask->columns |= DOWEL_BIT(DOWEL_OLD_VALUE);
    if (ask->value_width == 0)
        ask->value_width = 1;
    return shaping_observe(&o->shape, ask, err);
}

/* How much of the returns' variance the old values explain: 1 all, 0 no more than their mean. */
static inline void gae_explained(const dowel_batch *in, const dowel_credit *out)
{
    const double *v = dowel_x(in, DOWEL_OLD_VALUE);
    double n = 0, sum = 0, sq = 0, miss = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        const bool used = shaping_uses(in, out, s);
        for (uint32_t t = in->start[s]; used && t < in->start[s + 1]; t++) {
            if (!in->mask[t])
                continue;
            double ret = out->advantage[t] + v[t], d;
            n += 1;
            d = ret - sum;
            sum += d / n; /* the running mean */
            sq += d * (ret - sum);
            miss += out->advantage[t] * out->advantage[t];
        }
    }
    if (sq > 0)
        in->host->metric(in->host, "val/var_explained", DOWEL_MEAN, 1 - miss / sq, n);
}

static inline dowel_status gae_estimate(const struct gae_opts *o, struct shaping_state *st,
                                        const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    const dowel_host *host = in->host;
    struct stream_sums m = {0};
    if (in->n_seq == 0)
        return DOWEL_OK;
    if (!dowel_x(in, DOWEL_REWARD) && !dowel_x(in, DOWEL_TOKEN_REWARD))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no rewards; name at least one");
    if (!dowel_x(in, DOWEL_OLD_VALUE) || in->col[DOWEL_OLD_VALUE].width != 1)
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no values of one head");
    if (out->ret && out->ret_width != 1)
        return dowel_fail(err, DOWEL_E_ARG, "returns for %u heads, expected 1", out->ret_width);
    double *r = host->scratch(host, (in->n_tok + 1) * sizeof *r);
    double *score = host->scratch(host, (in->n_seq + 1) * sizeof *score);
    shaping_scores(&o->shape, st, in, out, score);
    stream_rewards(&o->shape, st, in, out, score, r, &m);
    if (o->whiten_rewards)
        stream_whiten(in, out, r, o->whiten_population, false);
    const struct gae_stream k = {.r = r,
                                 .v = dowel_x(in, DOWEL_OLD_VALUE),
                                 .advantage = out->advantage,
                                 .ret = out->ret,
                                 .width = 1};
    for (uint32_t s = 0; s < in->n_seq; s++)
        if (shaping_uses(in, out, s))
            stream_gae(in, s, o->gamma, o->lambda, &k);
    gae_explained(in, out);
    if (o->whiten)
        stream_whiten(in, out, out->advantage, o->whiten_population, true);
    stream_report(&o->shape, st, in, &m);
    shaping_adapt(&o->shape, st, m.kl[KL_K1], m.n);
    return DOWEL_OK;
}

#endif
