/* tpo: a preference loss on two answers beside the likelihood of a third, gold one; no reference
 * model. */
#include <dowel/plugin.h>

#include "../pair_losses.h"
#include "../pairs_report.h"

enum { SIGMOID, HINGE, IPO, TPO_L };
static const char *const losses[] = {"sigmoid", "hinge", "ipo", "tpo_l", NULL};

struct opts {
    int64_t loss;
    double beta, alpha, gamma, label_smoothing;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, loss, "sigmoid", losses, 0,
                     "Form of the preference term; ipo and tpo_l compare means over tokens."),
    DOWEL_OPT_REAL(struct opts, beta, "0.01", 1e-6, 1000, DOWEL_TUNABLE,
                   "Steepness; 0.01 is for sums, tpo_l wants about 2."),
    DOWEL_OPT_REAL(struct opts, alpha, "1", 0, 1000, DOWEL_TUNABLE,
                   "Weight of the gold answers' mean negative log-likelihood."),
    DOWEL_OPT_REAL(struct opts, gamma, "0.5", 0, 1000, DOWEL_TUNABLE,
                   "tpo_l: margin between the two rewards."),
    DOWEL_OPT_REAL(struct opts, label_smoothing, "0", 0, 0.5, 0,
                   "Share of pairs assumed to be labelled the wrong way round; sigmoid and tpo_l."),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    if (o->label_smoothing > 0 && (o->loss == HINGE || o->loss == IPO))
        return dowel_fail(err, DOWEL_E_ARG, "label_smoothing %g needs loss = 'sigmoid' or 'tpo_l'",
                          o->label_smoothing);
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | PAIR_SHOWN;
    ask->detached = PAIR_SHOWN;
    return DOWEL_OK;
}

static double preference(const struct opts *o, const dowel_batch *in, struct pair *p)
{
    bool mean = o->loss == IPO || o->loss == TPO_L;
    pair_likelihoods(in, p, mean, o->beta);
    if (mean && pair_empty(p))
        return 0;
    double x = p->chosen.logp - p->rejected.logp, inner = o->loss == IPO ? 1 : o->beta;
    double h = o->beta * x - (o->loss == TPO_L ? o->gamma : 0);
    struct curve f = o->loss == HINGE ? hinge(h, 1)
                     : o->loss == IPO ? squared(x - 1 / (2 * o->beta))
                                      : logistic(h, o->label_smoothing);
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
    if (n > 0 && o->alpha > 0 && !(in->total[PAIR_GOLD_TOKENS] > 0))
        return dowel_fail(err, DOWEL_E_ARG,
                          "no row of this step has a gold answer; add the column or set alpha = 0");
    for (uint32_t i = 0; i < n; i++)
        *loss += preference(o, in, &list[i]);
    *loss += gold_nll(in, o->alpha);
    pairs_report(in, list, n);
    return DOWEL_OK;
}

static const char *const shown[] = {"rewards/margins", "rewards/accuracies", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_PAIRS,
                                          .n_total = PAIR_TOTALS,
                                          .shown = shown,
                                          .observe = observe,
                                          .survey = pairs_survey,
                                          .loss = loss};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("tpo", "1.0.0", "Triple preference optimisation: a pair and a gold answer.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
