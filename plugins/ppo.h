/* The clipped policy loss, the value loss of any number of heads and the entropy bonus, which ppo
 * and its constrained form share. */
#ifndef DOWEL_PLUGINS_PPO_H
#define DOWEL_PLUGINS_PPO_H

#include <dowel/plugin.h>
#include <math.h>

enum { PPO_TOKEN = 0, PPO_SEQUENCE = 1, PPO_CONSTANT = 2 };
static const char *const ppo_normalizers[] = {"token", "sequence", "constant", NULL};

#define PPO_FIELDS                                                                                 \
    double clip, clip_high, dual_clip, value_clip, value_coef, entropy_coef;                       \
    int64_t normalizer
struct ppo_opts {
    PPO_FIELDS;
};
#define PPO_EMBEDDED                                                                               \
    union {                                                                                        \
        struct {                                                                                   \
            PPO_FIELDS;                                                                            \
        };                                                                                         \
        struct ppo_opts ppo;                                                                       \
    }
#define PPO_PARAMS(S, value_clip_default)                                                          \
    DOWEL_OPT_REAL(S, clip, "0.2", 0, 1, DOWEL_TUNABLE,                                            \
                   "How far below 1 the ratio may push an unwanted token."),                       \
        DOWEL_OPT_REAL(S, clip_high, "0.2", 0, 1e6, DOWEL_TUNABLE,                                 \
                       "How far above 1 the ratio may push a wanted token."),                      \
        DOWEL_OPT_REAL(S, dual_clip, "0", 0, 1e6, 0,                                               \
                       "Ratio from which an unwanted token is left alone, above 1; 0: none."),     \
        DOWEL_OPT_REAL(S, value_clip, value_clip_default, 0, 1e6, DOWEL_TUNABLE,                   \
                       "How far the loss lets a value move from the old one; 0: anywhere."),       \
        DOWEL_OPT_REAL(S, value_coef, "0.1", 0, 1000, DOWEL_TUNABLE, "Weight of the value loss."), \
        DOWEL_OPT_REAL(S, entropy_coef, "0", 0, 1000, DOWEL_TUNABLE,                               \
                       "Weight of the entropy bonus."),                                            \
        DOWEL_OPT_CHOICE(S, normalizer, "token", ppo_normalizers, 0,                               \
                         "Mean over the step's tokens, over tokens and then answers, or a "        \
                         "fixed length.")

static inline dowel_status ppo_observe(const struct ppo_opts *o, uint32_t heads, dowel_request *ask,
                                       dowel_err *err)
{
    if (o->dual_clip > 0 && o->dual_clip <= 1)
        return dowel_fail(err, DOWEL_E_ARG, "dual_clip %g must be above 1, or 0 for none",
                          o->dual_clip);
    ask->columns |= DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_OLD_LOGP) | DOWEL_BIT(DOWEL_ADVANTAGE) |
                    DOWEL_BIT(DOWEL_ENTROPY) | DOWEL_BIT(DOWEL_VALUE) | DOWEL_BIT(DOWEL_RETURN);
    if (o->value_clip > 0)
        ask->columns |= DOWEL_BIT(DOWEL_OLD_VALUE);
    if (o->entropy_coef <= 0)
        ask->detached |= DOWEL_BIT(DOWEL_ENTROPY);
    ask->value_width = heads;
    return DOWEL_OK;
}

/* Sums over tokens, for the metrics. */
struct ppo_sums {
    double tokens, policy, value, entropy, ratio, ratio_sq, approxkl, clipped, value_clipped;
};

/* Value and derivative of one token's loss, before the normaliser. */
struct ppo_term {
    double value, slope;
};

static inline struct ppo_term ppo_policy(const struct ppo_opts *o, double ratio, double a)
{
    double lo = 1 - o->clip, hi = 1 + o->clip_high;
    double bounded = fmin(fmax(ratio, lo), hi);
    if (o->dual_clip > 0 && a < 0 && ratio > o->dual_clip)
        return (struct ppo_term){-a * o->dual_clip, 0};
    bool active = !(a > 0 && ratio > hi) && !(a < 0 && ratio < lo);
    return (struct ppo_term){-fmin(ratio * a, bounded * a), active ? -a * ratio : 0};
}

/* Half the larger of the squared errors of v and of v held near the old value. */
static inline struct ppo_term ppo_value(const struct ppo_opts *o, double v, double old, double ret,
                                        bool *clipped)
{
    double band = o->value_clip;
    double held = band > 0 ? fmin(fmax(v, old - band), old + band) : v;
    double free_sq = (v - ret) * (v - ret), held_sq = (held - ret) * (held - ret);
    *clipped = held_sq > free_sq;
    return (struct ppo_term){0.5 * fmax(free_sq, held_sq), *clipped ? 0 : v - ret};
}

/* What every token of s is multiplied with. */
static inline double ppo_scale(const struct ppo_opts *o, const dowel_batch *in, uint32_t s)
{
    double w = dowel_x(in, DOWEL_WEIGHT)[s];
    if (o->normalizer == PPO_TOKEN)
        return w / in->step_toks;
    if (o->normalizer == PPO_SEQUENCE)
        return w / (in->step_seqs * fmax(dowel_seq_len(in, s), 1));
    return w / (in->step_seqs * fmax(in->max_tok, 1));
}

/* The heads of one token; the return value is their loss. */
static inline double ppo_heads(const struct ppo_opts *o, const dowel_batch *in, uint32_t t,
                               double scale, struct ppo_sums *m)
{
    const double *v = dowel_x(in, DOWEL_VALUE), *old = dowel_x(in, DOWEL_OLD_VALUE);
    const double *ret = dowel_x(in, DOWEL_RETURN);
    const uint32_t width = in->col[DOWEL_VALUE].width;
    double *grad = dowel_grad(in, DOWEL_VALUE), loss = 0;
    for (uint32_t h = 0; h < width; h++) {
        size_t at = (size_t)t * width + h;
        bool clipped;
        struct ppo_term k = ppo_value(o, v[at], old ? old[at] : v[at], ret[at], &clipped);
        loss += k.value;
        if (grad)
            grad[at] += scale * o->value_coef * k.slope;
        m->value_clipped += clipped ? 1.0 / width : 0;
    }
    m->value += loss;
    return scale * o->value_coef * loss;
}

static inline double ppo_sequence(const struct ppo_opts *o, const dowel_batch *in, uint32_t s,
                                  struct ppo_sums *m)
{
    const double *logp = dowel_x(in, DOWEL_LOGP), *old = dowel_x(in, DOWEL_OLD_LOGP);
    const double *a = dowel_x(in, DOWEL_ADVANTAGE), *h = dowel_x(in, DOWEL_ENTROPY);
    double *grad = dowel_grad(in, DOWEL_LOGP), *grad_h = dowel_grad(in, DOWEL_ENTROPY);
    double scale = ppo_scale(o, in, s), loss = 0;
    /* the bonus is a mean over tokens whatever the other terms are */
    double bonus = o->entropy_coef * dowel_x(in, DOWEL_WEIGHT)[s] / in->step_toks;
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++) {
        if (!in->mask[t])
            continue;
        double ratio = exp(fmin(logp[t] - old[t], 300)); /* products stay finite */
        struct ppo_term p = ppo_policy(o, ratio, a[t]);
        loss += scale * p.value + ppo_heads(o, in, t, scale, m);
        grad[t] += scale * p.slope;
        if (h && o->entropy_coef > 0) {
            loss -= bonus * h[t];
            if (grad_h)
                grad_h[t] -= bonus;
        }
        m->tokens += 1;
        m->policy += p.value;
        m->entropy += h ? h[t] : 0;
        m->ratio += ratio;
        m->ratio_sq += (ratio - 1) * (ratio - 1);
        m->approxkl += 0.5 * (logp[t] - old[t]) * (logp[t] - old[t]);
        m->clipped += p.value > -ratio * a[t];
    }
    return loss;
}

static inline void ppo_report(const dowel_batch *in, const struct ppo_sums *m)
{
    const dowel_host *host = in->host;
    double n = m->tokens;
    if (n == 0)
        return;
    host->metric(host, "policy/approxkl_avg", DOWEL_MEAN, m->approxkl / n, n);
    host->metric(host, "policy/clipfrac_avg", DOWEL_MEAN, m->clipped / n, n);
    host->metric(host, "loss/policy_avg", DOWEL_MEAN, m->policy / n, n);
    host->metric(host, "loss/value_avg", DOWEL_MEAN, m->value / n, n);
    host->metric(host, "val/clipfrac_avg", DOWEL_MEAN, m->value_clipped / n, n);
    host->metric(host, "val/ratio", DOWEL_MEAN, m->ratio / n, n);
    host->metric(host, "val/ratio_spread", DOWEL_MEAN, m->ratio_sq / n, n);
    if (dowel_x(in, DOWEL_ENTROPY))
        host->metric(host, "policy/entropy_avg", DOWEL_MEAN, m->entropy / n, n);
}

static inline dowel_status ppo_loss(const struct ppo_opts *o, uint32_t heads, const dowel_batch *in,
                                    double *loss, dowel_err *err)
{
    struct ppo_sums m = {0};
    if (in->n_tok > 0 && (!dowel_x(in, DOWEL_OLD_LOGP) || !dowel_x(in, DOWEL_ADVANTAGE)))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no advantages; give it rollouts");
    if (in->n_tok > 0 &&
        (!dowel_x(in, DOWEL_VALUE) || !dowel_x(in, DOWEL_RETURN) ||
         in->col[DOWEL_VALUE].width != heads || in->col[DOWEL_RETURN].width != heads))
        return dowel_fail(err, DOWEL_E_ARG,
                          "the batch has no values and returns of %u heads; use an estimator that "
                          "gives returns, such as gae",
                          heads);
    for (uint32_t s = 0; s < in->n_seq; s++)
        *loss += ppo_sequence(o, in, s, &m);
    ppo_report(in, &m);
    return DOWEL_OK;
}

#endif
