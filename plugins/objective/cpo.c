/* cpo: contrastive preference optimisation, a preference loss without a reference model beside the
 * likelihood of the wanted answer. */
#include <dowel/plugin.h>

#include "../pair_losses.h"
#include "../pairs_report.h"

enum { SIGMOID, HINGE, IPO };
static const char *const losses[] = {"sigmoid", "hinge", "ipo", NULL};

struct opts {
    int64_t loss;
    double beta, alpha, label_smoothing;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, loss, "sigmoid", losses, 0,
                     "Form of the preference term; ipo compares means over tokens."),
    DOWEL_OPT_REAL(struct opts, beta, "0.1", 1e-6, 100, DOWEL_TUNABLE,
                   "Steepness of the preference term."),
    DOWEL_OPT_REAL(struct opts, alpha, "1", 0, 1000, DOWEL_TUNABLE,
                   "Weight of the wanted answers' mean negative log-likelihood."),
    DOWEL_OPT_REAL(struct opts, label_smoothing, "0", 0, 0.5, 0,
                   "Share of pairs assumed to be labelled the wrong way round; sigmoid only."),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    if (o->label_smoothing > 0 && o->loss != SIGMOID)
        return dowel_fail(err, DOWEL_E_ARG, "label_smoothing %g needs loss = 'sigmoid'",
                          o->label_smoothing);
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | PAIR_SHOWN;
    ask->detached = PAIR_SHOWN;
    return DOWEL_OK;
}

static double preference(const struct opts *o, const dowel_batch *in, struct pair *p)
{
    bool mean = o->loss == IPO;
    pair_likelihoods(in, p, mean, o->beta);
    if (mean && pair_empty(p))
        return 0;
    double x = p->chosen.logp - p->rejected.logp, inner = mean ? 1 : o->beta;
    struct curve f = o->loss == SIGMOID ? logistic(o->beta * x, o->label_smoothing)
                     : o->loss == HINGE ? hinge(o->beta * x, 1)
                                        : squared(x - 1 / (2 * o->beta));
    struct slope s = {f.value, inner * f.slope, -inner * f.slope};
    return (mean ? pair_spread_mean : pair_spread)(in, p, pair_scale(in, p), s);
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    struct pair *list;
    uint32_t n;
    dowel_status st = pairs_find(in, &list, &n, err);
    if (st != DOWEL_OK)
        return st;
    for (uint32_t i = 0; i < n; i++)
        *loss += preference(o, in, &list[i]);
    *loss += pairs_nll(in, list, n, o->alpha);
    pairs_report(in, list, n);
    return DOWEL_OK;
}

static const char *const shown[] = {"rewards/margins", "rewards/accuracies", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_PAIRS | DOWEL_ROLLOUTS,
                                          .n_total = PAIR_TOTALS,
                                          .shown = shown,
                                          .observe = observe,
                                          .survey = pairs_survey,
                                          .loss = loss};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("cpo", "1.0.0", "Contrastive preference optimisation, without a reference.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
