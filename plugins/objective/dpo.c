/* dpo: direct preference optimisation on pairs of completions, and its label-noise form. */
#include <dowel/plugin.h>

#include "../primitives.h"

enum { SIGMOID = 0, CDPO = 1 };
static const char *const losses[] = {"sigmoid", "cdpo", NULL};

struct opts {
    int64_t loss;
    double beta, label_smoothing;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, loss, "sigmoid", losses, 0, "Form of the loss."),
    DOWEL_OPT_REAL(struct opts, beta, "0.1", 1e-6, 100, DOWEL_TUNABLE,
                   "How strongly the policy is tied to the reference."),
    DOWEL_OPT_REAL(struct opts, label_smoothing, "0", 0, 0.5, 0,
                   "Share of pairs assumed to be labelled the wrong way round; cdpo only."),
};

/* Sums over the pairs of one batch, for the metrics. */
struct sums {
    double chosen, rejected, right, logp_chosen, logp_rejected, pairs;
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    if (o->loss == SIGMOID && o->label_smoothing > 0)
        return dowel_fail(err, DOWEL_E_ARG, "label_smoothing %g needs loss = 'cdpo'",
                          o->label_smoothing);
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP);
    return DOWEL_OK;
}

static void report(const dowel_host *host, const struct sums *m)
{
    double n = m->pairs;
    if (n == 0)
        return;
    host->metric(host, "rewards/chosen", DOWEL_MEAN, m->chosen / n, n);
    host->metric(host, "rewards/rejected", DOWEL_MEAN, m->rejected / n, n);
    host->metric(host, "rewards/margins", DOWEL_MEAN, (m->chosen - m->rejected) / n, n);
    host->metric(host, "rewards/accuracies", DOWEL_MEAN, m->right / n, n);
    host->metric(host, "logps/chosen", DOWEL_MEAN, m->logp_chosen / n, n);
    host->metric(host, "logps/rejected", DOWEL_MEAN, m->logp_rejected / n, n);
}

static double pair(const struct opts *o, const dowel_batch *in, uint32_t w, uint32_t l,
                   struct sums *m)
{
    const double *logp = dowel_x(in, DOWEL_LOGP), *ref = dowel_x(in, DOWEL_REF_LOGP);
    double *grad = dowel_grad(in, DOWEL_LOGP), s = o->label_smoothing;
    /* log-ratios token by token: the sequence sums are large beside their difference */
    double chosen = o->beta * dowel_seq_sum(in, w, logp, ref);
    double rejected = o->beta * dowel_seq_sum(in, l, logp, ref);
    double h = chosen - rejected;
    double scale = 2 * dowel_x(in, DOWEL_WEIGHT)[w] / in->step_seqs; /* two sequences, one pair */
    double d = scale * o->beta * (s * sigmoid(h) - (1 - s) * sigmoid(-h));

    dowel_seq_add(in, w, grad, d);
    dowel_seq_add(in, l, grad, -d);
    m->chosen += chosen;
    m->rejected += rejected;
    m->right += chosen > rejected; /* a tie is an error */
    m->logp_chosen += dowel_seq_sum(in, w, logp, NULL);
    m->logp_rejected += dowel_seq_sum(in, l, logp, NULL);
    m->pairs += 1;
    return scale * ((1 - s) * softplus(-h) + s * softplus(h));
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const double *label = dowel_x(in, DOWEL_LABEL);
    struct sums m = {0};
    if (in->n_seq > 0 && !label)
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no labels; give it pairs");
    for (uint32_t w = 0; w < in->n_seq; w++) {
        if (!(label[w] > 0))
            continue; /* visited through its winner */
        int32_t l = in->mate[w];
        if (l < 0 || (uint32_t)l >= in->n_seq || !(label[l] < 0))
            return dowel_fail(err, DOWEL_E_ARG, "sequence %u has no rejected half", w);
        *loss += pair(self, in, w, (uint32_t)l, &m);
    }
    report(in->host, &m);
    return DOWEL_OK;
}

static const char *const shown[] = {"rewards/margins", "rewards/accuracies", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_PAIRS,
                                          .shown = shown,
                                          .observe = observe,
                                          .loss = loss};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("dpo", "1.0.0", "Direct preference optimisation.", DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
