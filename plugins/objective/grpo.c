/* grpo: group-relative policy optimisation; advantages from the rewards of one prompt's answers,
 * and a clipped policy loss that uses them. */
#include <dowel/plugin.h>

#include "../group.h"
#include "../primitives.h"

enum { TOKEN = 0, SEQUENCE = 1, CONSTANT = 2 };
static const char *const normalizers[] = {"token", "sequence", "constant", NULL};
enum { K2 = 0, K3 = 1, K3_WEIGHTED = 2 };
static const char *const estimators[] = {"k2", "k3", "k3_weighted", NULL};

struct opts {
    double clip, clip_high, kl, eps;
    int64_t normalizer, kl_estimator, scale_rewards;
};

static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, clip, "0.2", 0, 1, DOWEL_TUNABLE,
                   "How far below 1 the ratio may push an unwanted token."),
    DOWEL_OPT_REAL(struct opts, clip_high, "0.2", 0, 1e6, DOWEL_TUNABLE,
                   "How far above 1 the ratio may push a wanted token."),
    DOWEL_OPT_CHOICE(
        struct opts, normalizer, "token", normalizers, 0,
        "Mean over the step's tokens, over tokens and then answers, or a fixed length."),
    DOWEL_OPT_REAL(struct opts, kl, "0", 0, 1000, DOWEL_TUNABLE,
                   "Weight of the divergence from the reference; 0 needs no reference."),
    DOWEL_OPT_CHOICE(struct opts, kl_estimator, "k2", estimators, 0,
                     "How that divergence is estimated from the sampled tokens."),
    DOWEL_OPT_CHOICE(struct opts, scale_rewards, "group", scale_names, 0,
                     "Divide advantages by the standard deviation of the group or the batch."),
    DOWEL_OPT_REAL(struct opts, eps, "1e-4", 0, 1, 0,
                   "Added to that standard deviation before dividing."),
};

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    const struct opts *o = self;
    return group_estimate(o->scale_rewards, o->eps, in, out, err);
}

/* ---- loss ---- */

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    (void)err;
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_OLD_LOGP) | DOWEL_BIT(DOWEL_ADVANTAGE) |
                   DOWEL_BIT(DOWEL_ENTROPY);
    ask->detached = DOWEL_BIT(DOWEL_ENTROPY);
    if (o->kl > 0)
        ask->columns |= DOWEL_BIT(DOWEL_REF_LOGP);
    return DOWEL_OK;
}

/* What one batch adds to the metrics. */
struct sums {
    double tokens, low, high, kl, entropy;
    double low_min, high_max;
};

/* Value and derivative of one token's loss, before the normaliser. */
struct term {
    double value, slope;
};

static struct term policy_term(const struct opts *o, double ratio, double a)
{
    double lo = 1 - o->clip, hi = 1 + o->clip_high;
    double clipped = fmin(fmax(ratio, lo), hi);
    int active = !(a > 0 && ratio > hi) && !(a < 0 && ratio < lo);
    return (struct term){-fmin(ratio * a, clipped * a), active ? -a * ratio : 0};
}

/* k2 has the derivative of KL(policy | reference) in expectation; k3 that of the other direction,
 * unless it is weighted with the ratio. */
static struct term kl_term(const struct opts *o, double d, double ratio)
{
    if (o->kl_estimator == K2)
        return (struct term){d * d / 2, d};
    if (o->kl_estimator == K3)
        return (struct term){k3(d), -expm1(-d)};
    return (struct term){ratio * k3(d), ratio * d};
}

static double normaliser(const struct opts *o, const dowel_batch *in, uint32_t s)
{
    double n = dowel_seq_len(in, s);
    if (o->normalizer == TOKEN)
        return 1 / in->step_toks;
    if (o->normalizer == SEQUENCE)
        return 1 / (in->step_seqs * fmax(n, 1));
    return 1 / (in->step_seqs * fmax(in->max_tok, 1));
}

/* One answer; the return value is its share of the loss. */
static double sequence(const struct opts *o, const dowel_batch *in, uint32_t s, struct sums *m)
{
    const double *logp = dowel_x(in, DOWEL_LOGP), *old = dowel_x(in, DOWEL_OLD_LOGP);
    const double *ref = dowel_x(in, DOWEL_REF_LOGP), *a = dowel_x(in, DOWEL_ADVANTAGE);
    double *grad = dowel_grad(in, DOWEL_LOGP), total = 0, n = 0, low = 0, high = 0;
    double scale = dowel_x(in, DOWEL_WEIGHT)[s] * normaliser(o, in, s);
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++) {
        if (!in->mask[t])
            continue;
        double ratio = exp(fmin(logp[t] - old[t], 300)); /* products stay finite */
        struct term p = policy_term(o, ratio, a[t]);
        total += scale * p.value;
        grad[t] += scale * p.slope;
        n += 1;
        low += a[t] < 0 && ratio < 1 - o->clip;
        high += a[t] > 0 && ratio > 1 + o->clip_high;
        if (o->kl > 0 && ref) {
            double d = fmax(logp[t] - ref[t], -300);
            struct term k = kl_term(o, d, ratio);
            total += scale * o->kl * k.value;
            grad[t] += scale * o->kl * k.slope;
            m->kl += k3(d);
        }
    }
    if (n == 0)
        return 0;
    m->tokens += n;
    m->low += low;
    m->high += high;
    m->low_min = fmin(m->low_min, low / n);
    m->high_max = fmax(m->high_max, high / n);
    if (dowel_x(in, DOWEL_ENTROPY))
        m->entropy += dowel_seq_sum(in, s, dowel_x(in, DOWEL_ENTROPY), NULL);
    return total;
}

static void report(const struct opts *o, const dowel_batch *in, const struct sums *m)
{
    const dowel_host *host = in->host;
    double n = m->tokens;
    if (n == 0)
        return;
    host->metric(host, "clip_ratio/low_mean", DOWEL_MEAN, m->low / n, n);
    host->metric(host, "clip_ratio/high_mean", DOWEL_MEAN, m->high / n, n);
    host->metric(host, "clip_ratio/region_mean", DOWEL_MEAN, (m->low + m->high) / n, n);
    host->metric(host, "clip_ratio/low_min", DOWEL_MIN, m->low_min, 1);
    host->metric(host, "clip_ratio/high_max", DOWEL_MAX, m->high_max, 1);
    if (dowel_x(in, DOWEL_ENTROPY))
        host->metric(host, "entropy", DOWEL_MEAN, m->entropy / n, n);
    if (o->kl > 0 && dowel_x(in, DOWEL_REF_LOGP))
        host->metric(host, "kl", DOWEL_MEAN, m->kl / n, n);
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    struct sums m = {.low_min = 1};
    if (in->n_tok > 0 && (!dowel_x(in, DOWEL_OLD_LOGP) || !dowel_x(in, DOWEL_ADVANTAGE)))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no advantages; give it rollouts");
    for (uint32_t s = 0; s < in->n_seq; s++)
        *loss += sequence(o, in, s, &m);
    report(o, in, &m);
    return DOWEL_OK;
}

static const char *const shown[] = {"reward", "frac_reward_zero_std", "kl", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_ROLLOUTS,
                                          .shown = shown,
                                          .observe = observe,
                                          .loss = loss};
static const dowel_estimator estimator = {.size = sizeof estimator, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("grpo", "1.0.0", "Group-relative policy optimisation.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective, .estimator = &estimator};
DOWEL_MODULE(&plugin);
