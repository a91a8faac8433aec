/* a2po: regression on the optimal advantage, with values estimated from the reference's answers. */
#include <dowel/plugin.h>
#include <math.h>

struct opts {
    double beta1, beta2;
    int64_t reference_samples;
    bool drop_hopeless;
};

static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, beta1, "0.5", 1e-6, 1e6, 0,
                   "Temperature of the soft maximum over the reference's rewards."),
    DOWEL_OPT_REAL(struct opts, beta2, "1e-3", 1e-9, 1e3, DOWEL_TUNABLE,
                   "Scale of the log-ratio that is fitted to the advantage."),
    DOWEL_OPT_INT(struct opts, reference_samples, "8", 1, 1024, 0,
                  "Answers of the reference to every prompt."),
    DOWEL_OPT_BOOL(struct opts, drop_hopeless, "true", 0,
                   "Prompts for whose reference answers the rewards sum to 0 are not trained on."),
};

/* ---- values of prompts ---- */

static dowel_status observe_rollout(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    (void)err;
    ask->extras = DOWEL_WITH_REFERENCE;
    ask->extra_samples = (uint32_t)o->reference_samples;
    return DOWEL_OK;
}

/* beta1 (logsumexp(r / beta1) - log n) over the reference's answers to the prompt; NaN: none has a
 * score, or all are hopeless. */
static double value_of(const struct opts *o, const dowel_batch *in, int32_t group)
{
    const dowel_column *c = &in->col[DOWEL_REWARD];
    double n = 0, most = -INFINITY, sum = 0, all = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t s = 0; s < in->n_seq; s++) {
            double r = c->x[(size_t)s * c->width];
            if (!in->role || in->role[s] != DOWEL_OTHER || in->group[s] != group || isnan(r))
                continue;
            if (pass == 0) {
                n += 1;
                all += r;
                most = fmax(most, r);
            } else {
                sum += exp((r - most) / o->beta1);
            }
        }
    }
    if (n == 0 || (o->drop_hopeless && all == 0))
        return NAN;
    return most + o->beta1 * log(sum / n);
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    const struct opts *o = self;
    const dowel_host *host = in->host;
    double n = 0, reward = 0, value = 0, dropped = 0, answers = 0;
    if (in->n_seq > 0 && !dowel_x(in, DOWEL_REWARD))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no rewards; name at least one");
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double r = in->col[DOWEL_REWARD].x[(size_t)s * in->col[DOWEL_REWARD].width];
        if (in->role && in->role[s] != DOWEL_TRAINED) {
            out->keep[s] = 0; /* the reference's own answers set values only */
            continue;
        }
        double v = value_of(o, in, in->group[s]);
        answers += 1;
        if (isnan(r) || isnan(v)) {
            out->keep[s] = 0;
            dropped += 1;
            continue;
        }
        for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
            if (in->mask[t])
                out->advantage[t] = r - v;
        n += 1;
        reward += r;
        value += v;
    }
    if (answers > 0)
        host->metric(host, "frac_dropped", DOWEL_MEAN, dropped / answers, answers);
    if (n > 0) {
        host->metric(host, "reward", DOWEL_MEAN, reward / n, n);
        host->metric(host, "v_star", DOWEL_MEAN, value / n, n);
        host->metric(host, "advantage", DOWEL_MEAN, (reward - value) / n, n);
    }
    return DOWEL_OK;
}

/* ---- loss ---- */

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    (void)self;
    (void)err;
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP) | DOWEL_BIT(DOWEL_ADVANTAGE);
    return DOWEL_OK;
}

/* The advantage of a whole answer is that of any of its tokens. */
static double advantage_of(const dowel_batch *in, uint32_t s)
{
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
        if (in->mask[t])
            return dowel_x(in, DOWEL_ADVANTAGE)[t];
    return 0;
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    const dowel_host *host = in->host;
    double n = 0, implicit = 0;
    if (in->n_tok > 0 && !dowel_x(in, DOWEL_ADVANTAGE))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no advantages; give it rollouts");
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (dowel_seq_len(in, s) == 0)
            continue;
        double ratio = dowel_seq_sum(in, s, dowel_x(in, DOWEL_LOGP), dowel_x(in, DOWEL_REF_LOGP));
        double scale = dowel_x(in, DOWEL_WEIGHT)[s] / in->step_seqs;
        double miss = o->beta2 * ratio - advantage_of(in, s);
        *loss += scale * miss * miss;
        dowel_seq_add(in, s, dowel_grad(in, DOWEL_LOGP), scale * 2 * o->beta2 * miss);
        n += 1;
        implicit += o->beta2 * ratio;
    }
    if (n > 0)
        host->metric(host, "implicit_reward", DOWEL_MEAN, implicit / n, n);
    return DOWEL_OK;
}

static const char *const shown[] = {"reward", "v_star", "implicit_reward", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_ROLLOUTS,
                                          .shown = shown,
                                          .observe = observe,
                                          .loss = loss};
static const dowel_estimator estimator = {
    .size = sizeof estimator, .observe = observe_rollout, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("a2po", "1.0.0", "Regression on the optimal advantage.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective, .estimator = &estimator};
DOWEL_MODULE(&plugin);
