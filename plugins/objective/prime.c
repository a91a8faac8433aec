/* prime: an implicit process reward model, a language model whose log-ratio to a reference predicts
 * whether answers are right. */
#include <dowel/plugin.h>

#include "../primitives.h"

struct opts {
    double beta, threshold;
    bool soft;
};

static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, beta, "0.05", 1e-6, 100, DOWEL_TUNABLE,
                   "Scale of the log-ratio that predicts the outcome."),
    DOWEL_OPT_REAL(struct opts, threshold, "0.5", -1e6, 1e6, 0,
                   "Rewards above it count as right, for answers without a label."),
    DOWEL_OPT_BOOL(struct opts, soft, "false", 0,
                   "Take rewards as probabilities, limited to 0 .. 1."),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    (void)self;
    (void)err;
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP);
    return DOWEL_OK;
}

/* How likely answer s is right: by its label, or by its reward; NaN: nobody said. */
static double outcome(const struct opts *o, const dowel_batch *in, uint32_t s)
{
    const double *label = dowel_x(in, DOWEL_LABEL), *reward = dowel_x(in, DOWEL_REWARD);
    if (label && label[s] != 0)
        return label[s] > 0;
    double r = reward ? reward[(size_t)s * in->col[DOWEL_REWARD].width] : NAN;
    if (isnan(r))
        return NAN;
    return o->soft ? fmin(fmax(r, 0), 1) : r > o->threshold;
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    const dowel_host *host = in->host;
    const double *logp = dowel_x(in, DOWEL_LOGP), *ref = dowel_x(in, DOWEL_REF_LOGP);
    double n = 0, total = 0, right = 0, reward = 0, tokens = 0;
    if (in->n_seq > 0 && !dowel_x(in, DOWEL_LABEL) && !dowel_x(in, DOWEL_REWARD))
        return dowel_fail(err, DOWEL_E_ARG,
                          "the batch says nothing about outcomes; give it labels or rewards");
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double want = outcome(o, in, s), scale = dowel_x(in, DOWEL_WEIGHT)[s] / in->step_seqs;
        if (isnan(want) || dowel_seq_len(in, s) == 0)
            continue;
        double q = dowel_seq_sum(in, s, logp, ref), x = o->beta * q;
        double value = want * softplus(-x) + (1 - want) * softplus(x);
        *loss += scale * value;
        dowel_seq_add(in, s, dowel_grad(in, DOWEL_LOGP), scale * o->beta * (sigmoid(x) - want));
        n += 1;
        total += value;
        right += want > 0.5 ? x > 0 : x < 0;
        reward += q;
        tokens += dowel_seq_len(in, s);
    }
    if (n > 0) {
        host->metric(host, "prm/loss", DOWEL_MEAN, total / n, n);
        host->metric(host, "prm/accuracy", DOWEL_MEAN, right / n, n);
        host->metric(host, "prm/token_reward", DOWEL_MEAN, reward / tokens, tokens);
    }
    return DOWEL_OK;
}

static const char *const shown[] = {"prm/accuracy", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_ROLLOUTS | DOWEL_LABELS,
                                          .shown = shown,
                                          .observe = observe,
                                          .loss = loss};
static const dowel_plugin plugin = {DOWEL_PLUGIN("prime", "1.0.0",
                                                 "An implicit process reward model from outcomes.",
                                                 DOWEL_PURE | DOWEL_REENTRANT),
                                    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
