/* reinforce: the plain policy gradient, without a ratio, and the classical baselines; with the
 * greedy answer as the baseline it is ReMax. */
#include <dowel/plugin.h>

#include "../entropy.h"
#include "../group.h"
#include "../kl_loss.h"

enum { BATCH = 0, MOVING, LEAVE_ONE_OUT, GREEDY, NOTHING };
static const char *const baselines[] = {"batch", "moving", "leave_one_out", "greedy", "none", NULL};
static const char *const normalizers[] = {"token", "sequence", "constant", "sum", NULL};

struct opts {
    int64_t baseline, normalizer, kl_estimator;
    double momentum, kl, entropy_bonus;
    bool kl_exact;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, baseline, "batch", baselines, 0,
                     "What is taken off a reward: the rollout's mean, a running one, that of the "
                     "prompt's other answers, the greedy answer's reward, nothing."),
    DOWEL_OPT_REAL(struct opts, momentum, "0.9", 0, 1, 0,
                   "Share of the old running mean that is kept; baseline = 'moving' only."),
    DOWEL_OPT_CHOICE(struct opts, normalizer, "sum", normalizers, 0,
                     "Sum over an answer's tokens, mean over the step's, over tokens and then "
                     "answers, or a fixed length."),
    DOWEL_OPT_REAL(struct opts, kl, "0", 0, 1000, DOWEL_TUNABLE,
                   "Weight of the divergence from the reference; 0 needs no reference."),
    DOWEL_OPT_CHOICE(struct opts, kl_estimator, "k2", kl_names, 0,
                     "Which form of that divergence is differentiated; not k3_weighted."),
    DOWEL_OPT_BOOL(struct opts, kl_exact, "false", 0,
                   "Report the divergence over the whole vocabulary, whatever is differentiated."),
    DOWEL_OPT_REAL(struct opts, entropy_bonus, "0", 0, 1000, DOWEL_TUNABLE,
                   "Weight of the mean entropy, which is rewarded."),
};

struct self {
    const struct opts *o;
    struct {
        double mean, started;
    } moving;
};

static dowel_status create(const dowel_host *host, const void *config, void **self, dowel_err *err)
{
    struct self *me = calloc(1, sizeof *me);
    (void)host;
    if (!me)
        return dowel_fail(err, DOWEL_E_NOMEM, "no memory for %zu bytes", sizeof *me);
    me->o = config;
    *self = me;
    return DOWEL_OK;
}

static dowel_status save(void *self, dowel_sink *to, dowel_err *err)
{
    const struct self *me = self;
    (void)err;
    return to->write(to, &me->moving, sizeof me->moving);
}

static dowel_status load(void *self, dowel_source *from, uint32_t version, dowel_err *err)
{
    struct self *me = self;
    if (version != 1)
        return dowel_fail(err, DOWEL_E_STATE, "state of version %u, expected 1", version);
    return from->read(from, &me->moving, sizeof me->moving);
}

/* ---- advantages ---- */

static dowel_status observe_rollout(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = ((const struct self *)self)->o;
    (void)err;
    if (o->baseline == GREEDY)
        ask->extras = DOWEL_WITH_GREEDY;
    return DOWEL_OK;
}

/* Mean reward of the scored greedy answers to the prompt; NaN when there is none. */
static double greedy_reward(const dowel_batch *in, int32_t group)
{
    const dowel_column *reward = &in->col[DOWEL_REWARD];
    double sum = 0, n = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double r = reward->x[(size_t)s * reward->width];
        if (in->role[s] != DOWEL_GREEDY || in->group[s] != group || isnan(r))
            continue;
        sum += r;
        n += 1;
    }
    return n > 0 ? sum / n : NAN;
}

static void compare_groups(const struct opts *o, const dowel_batch *in, dowel_credit *out,
                           const struct member *m, size_t n)
{
    for (size_t first = 0, last; first < n; first = last) {
        last = group_end(m, first, n);
        double size = (double)(last - first), base = 0;
        struct moments g = moments_of(m + first, last - first);
        if (o->baseline == GREEDY)
            base = greedy_reward(in, m[first].group);
        for (size_t i = first; i < last; i++) {
            if (isnan(base))
                out->keep[m[i].seq] = 0;
            else if (o->baseline == GREEDY)
                spread(in, out, m[i].seq, m[i].reward - base);
            else
                spread(in, out, m[i].seq, g.flat ? 0 : size / (size - 1) * (m[i].reward - g.mean));
        }
    }
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    struct self *me = self;
    const dowel_host *host = in->host;
    int64_t kind = me->o->baseline;
    if (in->n_seq > 0 && !dowel_x(in, DOWEL_REWARD))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no rewards; name at least one");
    if (in->n_seq > 0 && kind == GREEDY && !in->role)
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no greedy answers");
    struct member *m = host->scratch(host, (in->n_seq + 1) * sizeof *m);
    size_t n = in->n_seq > 0 ? collect(in, out, m) : 0;
    if (n == 0)
        return DOWEL_OK;
    struct moments all = moments_of(m, n);
    host->metric(host, "reward", DOWEL_MEAN, all.mean, (double)n);
    host->metric(host, "reward_std", DOWEL_MEAN, all.std, (double)n);
    if (kind == GREEDY || kind == LEAVE_ONE_OUT) {
        compare_groups(me->o, in, out, m, n);
        return DOWEL_OK;
    }
    double base = kind == BATCH                              ? all.mean
                  : kind == MOVING && me->moving.started > 0 ? me->moving.mean
                  : kind == MOVING                           ? all.mean
                                                             : 0;
    for (size_t i = 0; i < n; i++)
        spread(in, out, m[i].seq, kind == BATCH && all.flat ? 0 : m[i].reward - base);
    if (kind != MOVING)
        return DOWEL_OK;
    host->metric(host, "reward_baseline", DOWEL_MEAN, base, (double)n);
    me->moving.mean = me->o->momentum * base + (1 - me->o->momentum) * all.mean;
    me->moving.started = 1;
    return DOWEL_OK;
}

/* ---- loss ---- */

static struct kl_rule kl_of(const struct opts *o)
{
    return (struct kl_rule){o->kl, o->kl_estimator, o->kl_exact, RATIO_TOKEN};
}

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = ((const struct self *)self)->o;
    struct kl_rule kl = kl_of(o);
    if (o->kl > 0 && o->kl_estimator == KL_K3_WEIGHTED)
        return dowel_fail(err, DOWEL_E_ARG,
                          "reinforce has no ratio to weigh k3 with; use kl_estimator = 'k2'");
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_ADVANTAGE) | DOWEL_BIT(DOWEL_ENTROPY);
    if (o->entropy_bonus <= 0)
        ask->detached = DOWEL_BIT(DOWEL_ENTROPY);
    kl_ask(&kl, ask);
    return DOWEL_OK;
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = ((const struct self *)self)->o;
    const dowel_host *host = in->host;
    const struct policy_rule rule = {.form = FORM_PLAIN, .normalizer = o->normalizer};
    const struct kl_rule kl = kl_of(o);
    struct entropy_call entropy = {
        .coef = o->entropy_bonus, .threshold = -INFINITY, .active = in->step_toks};
    struct policy_sums policy = {0};
    struct kl_sums kl_sums = {0};
    double tokens = 0;
    if (in->n_tok > 0 && !dowel_x(in, DOWEL_ADVANTAGE))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no advantages; give it rollouts");
    for (uint32_t s = 0; s < in->n_seq; s++) {
        struct policy_view v = policy_view_of(in, s, &rule, NULL);
        *loss += policy_sequence(&rule, &v, 0, &policy) + kl_sequence(&kl, &v, &kl_sums) +
                 entropy_sequence(&entropy, in, s);
        tokens += v.n;
    }
    if (kl_sums.tokens > 0)
        host->metric(host, "kl", DOWEL_MEAN, kl_sums.k3 / kl_sums.tokens, kl_sums.tokens);
    kl_report(&kl, in, &kl_sums);
    if (dowel_x(in, DOWEL_ENTROPY) && tokens > 0)
        host->metric(host, "entropy", DOWEL_MEAN, entropy.sum / tokens, tokens);
    return DOWEL_OK;
}

static const char *const shown[] = {"reward", "entropy", "kl", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_ROLLOUTS,
                                          .shown = shown,
                                          .observe = observe,
                                          .loss = loss};
static const dowel_estimator estimator = {
    .size = sizeof estimator, .observe = observe_rollout, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("reinforce", "1.0.0", "The plain policy gradient with a choice of baselines.",
                 DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params),
    .state_version = 1,
    .create = create,
    .destroy = free,
    .save = save,
    .load = load,
    .objective = &objective,
    .estimator = &estimator};
DOWEL_MODULE(&plugin);
