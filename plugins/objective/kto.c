/* kto: preference optimisation on single answers that are wanted or unwanted, measured against a
 * baseline from mismatched ones. */
#include <dowel/plugin.h>

#include "../labels.h"
#include "../primitives.h"

enum { KTO, APO_ZERO_UNPAIRED };
static const char *const losses[] = {"kto", "apo_zero_unpaired", NULL};

struct opts {
    int64_t loss;
    double beta, desirable_weight, undesirable_weight;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, loss, "kto", losses, 0,
                     "With a baseline from mismatched answers, or without (apo_zero_unpaired)."),
    DOWEL_OPT_REAL(struct opts, beta, "0.1", 1e-6, 100, DOWEL_TUNABLE,
                   "How strongly the policy is tied to the reference."),
    DOWEL_OPT_REAL(struct opts, desirable_weight, "1", 0, 1e6, DOWEL_TUNABLE,
                   "Weight of wanted answers; times their number from 1 to 4/3 of the other side."),
    DOWEL_OPT_REAL(struct opts, undesirable_weight, "1", 0, 1e6, DOWEL_TUNABLE,
                   "Weight of unwanted answers."),
};

/* Totals of the mismatched answers, behind those of labels.h. */
enum { KL_SUM = LABEL_TOTALS, KL_COUNT, TOTALS };

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    (void)err;
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP) | LABEL_SHOWN;
    ask->detached = LABEL_SHOWN;
    if (o->loss == KTO)
        ask->extras = DOWEL_WITH_MISMATCHED;
    return DOWEL_OK;
}

static dowel_status survey(void *self, const dowel_batch *in, double *sum, dowel_err *err)
{
    const struct opts *o = self;
    const double *logp = dowel_x(in, DOWEL_LOGP), *ref = dowel_x(in, DOWEL_REF_LOGP);
    dowel_status st = labels_check(in, err);
    if (st != DOWEL_OK)
        return st;
    labels_count(in, sum);
    for (uint32_t s = 0; o->loss == KTO && s < in->n_seq; s++) {
        if (in->role[s] != DOWEL_MISMATCHED || dowel_seq_len(in, s) == 0)
            continue;
        if (!logp || !ref)
            return dowel_fail(err, DOWEL_E_ARG, "the mismatched answers have no log-probabilities");
        sum[KL_SUM] += dowel_seq_sum(in, s, logp, ref);
        sum[KL_COUNT] += 1;
    }
    return DOWEL_OK;
}

/* One mismatched answer is no baseline: the only row was matched with itself. */
static dowel_status baseline(const struct opts *o, const dowel_batch *in, double *z, dowel_err *err)
{
    double n = in->total[KL_COUNT];
    *z = 0;
    if (o->loss != KTO || labels_total(in) == 0)
        return DOWEL_OK;
    if (n < 2)
        return dowel_fail(err, DOWEL_E_ARG,
                          "the step has %g mismatched answers, the baseline needs at least 2: "
                          "take more rows a step, or loss = 'apo_zero_unpaired'",
                          n);
    *z = fmax(0, in->total[KL_SUM] / n);
    return DOWEL_OK;
}

static double answer(const struct opts *o, const dowel_batch *in, uint32_t s, double z,
                     struct label_sums *m)
{
    double d = dowel_seq_sum(in, s, dowel_x(in, DOWEL_LOGP), dowel_x(in, DOWEL_REF_LOGP));
    double side = dowel_x(in, DOWEL_LABEL)[s] > 0 ? 1 : -1;
    double weight = side > 0 ? o->desirable_weight : o->undesirable_weight;
    double scale = weight * dowel_x(in, DOWEL_WEIGHT)[s] / labels_total(in);
    double x = side * o->beta * (d - z);
    dowel_seq_add(in, s, dowel_grad(in, DOWEL_LOGP),
                  -scale * side * o->beta * sigmoid(x) * sigmoid(-x));
    labels_add(in, s, o->beta * d, m);
    return scale * sigmoid(-x);
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    struct label_sums m = {.entropy = 0};
    double z;
    dowel_status st = labels_check(in, err);
    if (st == DOWEL_OK)
        st = baseline(o, in, &z, err);
    if (st != DOWEL_OK)
        return st;
    for (uint32_t s = 0; s < in->n_seq; s++)
        if (labelled(in, s))
            *loss += answer(o, in, s, z, &m);
    labels_report(in, &m);
    if (m.n[0] + m.n[1] > 0)
        in->host->metric(in->host, "kl", DOWEL_MEAN, z, m.n[0] + m.n[1]);
    return DOWEL_OK;
}

static const char *const shown[] = {"rewards/margins", "kl", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_LABELS,
                                          .n_total = TOTALS,
                                          .shown = shown,
                                          .observe = observe,
                                          .survey = survey,
                                          .loss = loss};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("kto", "1.0.0", "Kahneman-Tversky optimisation on labelled answers.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
