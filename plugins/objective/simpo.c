/* simpo: preference optimisation on mean log-probabilities with a margin and no reference model;
 * AlphaPO bends those means first. */
#include <dowel/plugin.h>

#include "../pair_losses.h"
#include "../pairs_report.h"

struct opts {
    double beta, gamma, gamma_beta_ratio, alpha, label_smoothing, sft;
};

static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, beta, "2", 1e-6, 1000, DOWEL_TUNABLE,
                   "Steepness; mean log-probabilities are small, so values from 2 to 10."),
    DOWEL_OPT_REAL(struct opts, gamma, "-1", -1, 1000, DOWEL_TUNABLE,
                   "Margin between the two rewards; -1: gamma_beta_ratio times beta."),
    DOWEL_OPT_REAL(struct opts, gamma_beta_ratio, "0.5", 0, 100, DOWEL_TUNABLE,
                   "The margin as a share of beta, where gamma is not given."),
    DOWEL_OPT_REAL(struct opts, alpha, "0", -10, 10, DOWEL_TUNABLE,
                   "AlphaPO: bend of the reward, 0 is SimPO."),
    DOWEL_OPT_REAL(struct opts, label_smoothing, "0", 0, 0.5, 0,
                   "Share of pairs assumed to be labelled the wrong way round."),
    DOWEL_OPT_REAL(struct opts, sft, "0", 0, 1000, DOWEL_TUNABLE,
                   "Weight of the wanted answers' mean negative log-likelihood."),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    (void)self;
    (void)err;
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | PAIR_SHOWN;
    ask->detached = PAIR_SHOWN;
    return DOWEL_OK;
}

/* (1 - p^-alpha) / alpha of the mean probability p = exp(a): log p for alpha 0. The exponent is cut
 * off at 80, and with it the derivative. */
static struct curve bend(double alpha, double a)
{
    if (alpha == 0)
        return (struct curve){a, 1};
    if (-alpha * a > 80)
        return (struct curve){-expm1(80) / alpha, 0};
    return (struct curve){-expm1(-alpha * a) / alpha, exp(-alpha * a)};
}

static double preference(const struct opts *o, const dowel_batch *in, struct pair *p)
{
    double gamma = o->gamma >= 0 ? o->gamma : o->gamma_beta_ratio * o->beta;
    pair_likelihoods(in, p, true, o->beta);
    if (pair_empty(p))
        return 0;
    struct curve c = bend(o->alpha, p->chosen.logp), r = bend(o->alpha, p->rejected.logp);
    struct curve f = logistic(o->beta * (c.value - r.value) - gamma, o->label_smoothing);
    p->chosen.reward = o->beta * c.value;
    p->rejected.reward = o->beta * r.value;
    struct slope s = {f.value, o->beta * f.slope * c.slope, -o->beta * f.slope * r.slope};
    return pair_spread_mean(in, p, pair_scale(in, p), s);
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
    *loss += pairs_nll(in, list, n, o->sft);
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
static const dowel_plugin plugin = {DOWEL_PLUGIN("simpo", "1.0.0",
                                                 "Simple preference optimisation and AlphaPO.",
                                                 DOWEL_PURE | DOWEL_REENTRANT),
                                    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
