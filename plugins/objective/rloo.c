/* rloo: REINFORCE with the other answers to the prompt as the baseline, the divergence from the
 * reference in the reward, and a clipped ratio of whole answers. */
#include <dowel/plugin.h>

#include "../group.h"
#include "../kl_loss.h"

enum { SEQUENCE = 0, TOKEN = 1 };
static const char *const levels[] = {"sequence", "token", NULL};

struct opts {
    double clip, clip_high, kl, reward_low, reward_high, eps;
    int64_t ratio;
    bool normalize_advantages, kl_exact;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, ratio, "sequence", levels, 0,
                     "One ratio for a whole answer, the product of its tokens', or one a token."),
    DOWEL_OPT_REAL(struct opts, clip, "0.2", 0, 1, DOWEL_TUNABLE,
                   "How far below 1 the ratio may push an unwanted answer."),
    DOWEL_OPT_REAL(struct opts, clip_high, "0.2", 0, 1e6, DOWEL_TUNABLE,
                   "How far above 1 the ratio may push a wanted answer."),
    DOWEL_OPT_REAL(
        struct opts, kl, "0.05", 0, 1000, DOWEL_TUNABLE,
        "Weight of the log-ratio to the reference, taken from the reward; 0 needs none."),
    DOWEL_OPT_BOOL(struct opts, kl_exact, "false", 0,
                   "Report the divergence over the whole vocabulary too."),
    DOWEL_OPT_REAL(struct opts, reward_low, "-1e9", -1e9, 1e9, 0,
                   "Rewards below this are raised to it, before the log-ratio is taken off."),
    DOWEL_OPT_REAL(struct opts, reward_high, "1e9", -1e9, 1e9, 0,
                   "Rewards above this are lowered to it, before the log-ratio is taken off."),
    DOWEL_OPT_BOOL(struct opts, normalize_advantages, "false", 0,
                   "Shift and scale the rollout's advantages to mean 0 and deviation 1."),
    DOWEL_OPT_REAL(struct opts, eps, "1e-4", 0, 1, 0, "Added to that deviation before dividing."),
};

/* ---- advantages ---- */

static dowel_status observe_rollout(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    (void)err;
    if (o->kl > 0)
        ask->columns = DOWEL_BIT(DOWEL_OLD_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP);
    return DOWEL_OK;
}

/* What the optimiser is to maximise: the clipped reward less what it cost in divergence. */
static void shape(const struct opts *o, const dowel_batch *in, struct member *m, size_t n)
{
    const double *old = dowel_x(in, DOWEL_OLD_LOGP), *ref = dowel_x(in, DOWEL_REF_LOGP);
    double kl = 0, tokens = 0;
    for (size_t i = 0; i < n; i++) {
        m[i].reward = fmin(fmax(m[i].reward, o->reward_low), o->reward_high);
        if (o->kl <= 0)
            continue;
        double d = dowel_seq_sum(in, m[i].seq, old, ref);
        m[i].reward -= o->kl * d;
        kl += d;
        tokens += dowel_seq_len(in, m[i].seq);
    }
    if (tokens > 0)
        in->host->metric(in->host, "kl", DOWEL_MEAN, kl / tokens, tokens);
}

static void report_rewards(const dowel_host *host, const struct member *m, size_t n)
{
    struct moments all = moments_of(m, n);
    double groups = 0, flat = 0;
    for (size_t first = 0, last; first < n; first = last) {
        last = group_end(m, first, n);
        groups += 1;
        flat += moments_of(m + first, last - first).flat != 0;
    }
    host->metric(host, "reward", DOWEL_MEAN, all.mean, (double)n);
    host->metric(host, "reward_std", DOWEL_MEAN, all.std, (double)n);
    host->metric(host, "frac_reward_zero_std", DOWEL_MEAN, flat / groups, groups);
}

/* r - mean of the others = G / (G - 1) (r - mean); an answer alone has nothing to be compared with.
 */
static void leave_one_out(struct member *m, size_t n)
{
    for (size_t first = 0, last; first < n; first = last) {
        last = group_end(m, first, n);
        double size = (double)(last - first);
        struct moments g = moments_of(m + first, last - first);
        for (size_t i = first; i < last; i++)
            m[i].reward = g.flat ? 0 : size / (size - 1) * (m[i].reward - g.mean);
    }
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    const struct opts *o = self;
    const dowel_host *host = in->host;
    if (in->n_seq > 0 && !dowel_x(in, DOWEL_REWARD))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no rewards; name at least one");
    if (in->n_seq > 0 && o->kl > 0 &&
        (!dowel_x(in, DOWEL_OLD_LOGP) || !dowel_x(in, DOWEL_REF_LOGP)))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no reference; set kl = 0");
    struct member *m = host->scratch(host, (in->n_seq + 1) * sizeof *m);
    size_t n = in->n_seq > 0 ? collect(in, out, m) : 0;
    if (n == 0)
        return DOWEL_OK;
    report_rewards(host, m, n);
    shape(o, in, m, n);
    leave_one_out(m, n);
    struct moments all = moments_of(m, n);
    for (size_t i = 0; i < n; i++) {
        double a = m[i].reward;
        if (o->normalize_advantages)
            a = all.flat || all.std + o->eps == 0 ? 0 : (a - all.mean) / (all.std + o->eps);
        spread(in, out, m[i].seq, a);
    }
    return DOWEL_OK;
}

/* ---- loss ---- */

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    struct kl_rule kl = {.exact_too = o->kl_exact};
    if (o->reward_low > o->reward_high)
        return dowel_fail(err, DOWEL_E_ARG, "reward_low %g is above reward_high %g", o->reward_low,
                          o->reward_high);
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_OLD_LOGP) | DOWEL_BIT(DOWEL_ADVANTAGE) |
                   DOWEL_BIT(DOWEL_ENTROPY);
    ask->detached = DOWEL_BIT(DOWEL_ENTROPY);
    if (o->kl > 0)
        ask->columns |= DOWEL_BIT(DOWEL_REF_LOGP);
    kl_ask(&kl, ask);
    return DOWEL_OK;
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    const struct policy_rule rule = {.form = FORM_CLIP,
                                     .ratio = o->ratio == SEQUENCE ? RATIO_SUM : RATIO_TOKEN,
                                     .normalizer = NORM_SUM,
                                     .low = o->clip,
                                     .high = o->clip_high,
                                     .cap = INFINITY};
    const struct kl_rule kl = {.exact_too = o->kl_exact};
    const double *h = dowel_x(in, DOWEL_ENTROPY);
    struct policy_sums policy = {.low_min = 1};
    struct kl_sums kl_sums = {0};
    double tokens = 0, entropy = 0;
    if (in->n_tok > 0 && (!dowel_x(in, DOWEL_OLD_LOGP) || !dowel_x(in, DOWEL_ADVANTAGE)))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no advantages; give it rollouts");
    for (uint32_t s = 0; s < in->n_seq; s++) {
        struct policy_view v = policy_view_of(in, s, &rule, NULL);
        *loss += policy_sequence(&rule, &v, 0, &policy);
        kl_sequence(&kl, &v, &kl_sums);
        tokens += v.n;
        entropy += h ? dowel_seq_sum(in, s, h, NULL) : 0;
    }
    policy_report(&rule, in->host, &policy);
    kl_report(&kl, in, &kl_sums);
    if (h && tokens > 0)
        in->host->metric(in->host, "entropy", DOWEL_MEAN, entropy / tokens, tokens);
    return DOWEL_OK;
}

static const char *const shown[] = {"reward", "frac_reward_zero_std", "kl", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_ROLLOUTS,
                                          .shown = shown,
                                          .observe = observe,
                                          .loss = loss};
static const dowel_estimator estimator = {
    .size = sizeof estimator, .observe = observe_rollout, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("rloo", "1.0.0", "REINFORCE with a leave-one-out baseline.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective, .estimator = &estimator};
DOWEL_MODULE(&plugin);
