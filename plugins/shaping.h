/* What becomes of an answer's score before it is credit: missing ends, normalisation, clipping,
 * and the divergence from the reference as a part of the reward. */
#ifndef DOWEL_PLUGINS_SHAPING_H
#define DOWEL_PLUGINS_SHAPING_H

#include "primitives.h"
#include "shaper.h"

enum { EOS_IGNORE = 0, EOS_SUBTRACT = 1, EOS_REPLACE = 2, EOS_SCALE = 3 };
static const char *const eos_rules[] = {"ignore", "subtract", "replace", "scale", NULL};
enum { KL_K1 = 0, KL_K2 = 1, KL_K3 = 2 };
static const char *const kl_values[] = {"k1", "k2", "k3", NULL};

/* Options that several estimators share: fields of their struct, and rows of their table. */
#define SHAPING_FIELDS                                                                             \
    double missing_eos_value, reward_min, reward_max, kl, kl_target, kl_horizon;                   \
    int64_t missing_eos, kl_estimator;                                                             \
    bool normalize_rewards, mask_truncated
struct shaping {
    SHAPING_FIELDS;
};
/* For a struct of options that starts with them: `union { struct { SHAPING_FIELDS; }; ... }`. */
#define SHAPING_EMBEDDED                                                                           \
    union {                                                                                        \
        struct {                                                                                   \
            SHAPING_FIELDS;                                                                        \
        };                                                                                         \
        struct shaping shape;                                                                      \
    }
#define SHAPING_PARAMS(S, kl_default)                                                              \
    DOWEL_OPT_CHOICE(S, missing_eos, "ignore", eos_rules, 0,                                       \
                     "What happens to the score of an answer that was cut off at its length."),    \
        DOWEL_OPT_REAL(S, missing_eos_value, "1", -1e6, 1e6, DOWEL_TUNABLE,                        \
                       "Subtracted from such a score, put in its place, or its factor."),          \
        DOWEL_OPT_BOOL(S, mask_truncated, "false", 0,                                              \
                       "Answers that were cut off are not trained on."),                           \
        DOWEL_OPT_BOOL(S, normalize_rewards, "false", 0,                                           \
                       "Standardise scores with the mean and deviation of all scores so far."),    \
        DOWEL_OPT_REAL(S, reward_min, "-1e9", -1e9, 1e9, 0, "Lower limit of a score."),            \
        DOWEL_OPT_REAL(S, reward_max, "1e9", -1e9, 1e9, 0, "Upper limit of a score."),             \
        DOWEL_OPT_REAL(S, kl, kl_default, 0, 1000, DOWEL_TUNABLE,                                  \
                       "Weight of the divergence in the reward; 0 needs no reference."),           \
        DOWEL_OPT_CHOICE(S, kl_estimator, "k1", kl_values, 0,                                      \
                         "How that divergence is estimated from the sampled tokens."),             \
        DOWEL_OPT_REAL(S, kl_target, "0", 0, 1e6, 0,                                               \
                       "Divergence in nats per answer that the weight is steered to; 0: fixed."),  \
        DOWEL_OPT_REAL(S, kl_horizon, "10000", 1, 1e9, 0,                                          \
                       "How many answers the steering takes to act.")

/* ---- the weight of the divergence ---- */

static inline double shaping_kl(const struct shaping *o, const struct shaping_state *st)
{
    return o->kl * st->kl_factor;
}

/* Ziegler et al. 2019: at most a fifth in either direction for a full horizon of answers. */
static inline void shaping_adapt(const struct shaping *o, struct shaping_state *st, double kl_sum,
                                 double n)
{
    if (o->kl_target <= 0 || n <= 0)
        return;
    double off = fmin(fmax(kl_sum / n / o->kl_target - 1, -0.2), 0.2);
    st->kl_factor = fmin(st->kl_factor * fmax(1 + off * n / o->kl_horizon, 0), SHAPING_MOST);
}

/* ---- scores ---- */

static inline dowel_status shaping_observe(const struct shaping *o, dowel_request *ask,
                                           dowel_err *err)
{
    if (o->reward_min > o->reward_max)
        return dowel_fail(err, DOWEL_E_ARG, "reward_min %g is above reward_max %g", o->reward_min,
                          o->reward_max);
    if (o->kl_target > 0 && o->kl <= 0)
        return dowel_fail(err, DOWEL_E_ARG, "kl_target %g needs a kl above 0 to start from",
                          o->kl_target);
    if (o->kl > 0)
        ask->columns |= DOWEL_BIT(DOWEL_OLD_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP);
    return DOWEL_OK;
}

/* Is sequence s one that an estimator gives credit to? */
static inline bool shaping_uses(const dowel_batch *in, const dowel_credit *out, uint32_t s)
{
    return (!in->role || in->role[s] == DOWEL_TRAINED) && out->keep[s] && dowel_seq_len(in, s) > 0;
}

static inline double shaping_eos(const struct shaping *o, const dowel_batch *in, uint32_t s,
                                 double r)
{
    if (isnan(r) || !in->stop || in->stop[s] != DOWEL_STOP_LENGTH)
        return r;
    return o->missing_eos == EOS_SUBTRACT  ? r - o->missing_eos_value
           : o->missing_eos == EOS_REPLACE ? o->missing_eos_value
           : o->missing_eos == EOS_SCALE   ? r * o->missing_eos_value
                                           : r;
}

/* All raw[n_seq] that are there enter the running statistics, as they are. */
static inline void shaping_note(const dowel_batch *in, struct shaping_state *st, const double *raw)
{
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (isnan(raw[s]) || (in->role && in->role[s] != DOWEL_TRAINED))
            continue;
        double d = raw[s] - st->mean;
        st->n += 1;
        st->mean += d / st->n;
        st->m2 += d * (raw[s] - st->mean);
    }
}

/* The order: missing end, normalisation, limits. NaN stays NaN. */
static inline double shaping_score(const struct shaping *o, const struct shaping_state *st,
                                   const dowel_batch *in, uint32_t s, double r)
{
    r = shaping_eos(o, in, s, r);
    if (isnan(r))
        return r;
    if (o->normalize_rewards) {
        double std = st->n > 1 ? sqrt(st->m2 / (st->n - 1)) : 0;
        r = (r - st->mean) / (std > 1e-8 ? std : 1);
    }
    return fmin(fmax(r, o->reward_min), o->reward_max);
}

/* Turns raw scores into shaped ones in place. Drops answers that cannot be credited: those without
 * a trained token, and what is cut off if it is to be. */
static inline void shaping_apply(const struct shaping *o, struct shaping_state *st,
                                 const dowel_batch *in, dowel_credit *out, double *score)
{
    if (o->normalize_rewards)
        shaping_note(in, st, score);
    for (uint32_t s = 0; s < in->n_seq; s++) {
        score[s] = shaping_score(o, st, in, s, score[s]);
        if (o->mask_truncated && in->stop && in->stop[s] == DOWEL_STOP_LENGTH)
            out->keep[s] = 0;
        if (dowel_seq_len(in, s) == 0)
            out->keep[s] = 0;
    }
}

/* Fills score[n_seq] from the mix of rewards; NaN where there is none. */
static inline void shaping_scores(const struct shaping *o, struct shaping_state *st,
                                  const dowel_batch *in, dowel_credit *out, double *score)
{
    const double *x = dowel_x(in, DOWEL_REWARD);
    for (uint32_t s = 0; s < in->n_seq; s++)
        score[s] = x ? x[(size_t)s * in->col[DOWEL_REWARD].width] : NAN;
    shaping_apply(o, st, in, out, score);
}

/* d = log policy - log reference of one token; beyond 300 nats it is cut off. */
static inline double kl_value(int64_t estimator, double d)
{
    d = fmin(fmax(d, -300), 300);
    return estimator == KL_K1 ? d : estimator == KL_K2 ? d * d / 2 : k3(d);
}

#endif
