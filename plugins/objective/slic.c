/* slic: sequence likelihood calibration, a margin between two answers beside the likelihood of the
 * target. */
#include <dowel/plugin.h>

#include "../pair_losses.h"
#include "../pairs_report.h"

enum { CHOSEN, GOLD };
static const char *const targets[] = {"chosen", "gold", NULL};

struct opts {
    int64_t target;
    double delta, lambda;
};

static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, delta, "1", 0, 1e6, DOWEL_TUNABLE,
                   "Margin that the two log-probabilities should keep."),
    DOWEL_OPT_REAL(struct opts, lambda, "0.5", 0, 1000, DOWEL_TUNABLE,
                   "Weight of the target answers' mean negative log-likelihood."),
    DOWEL_OPT_CHOICE(struct opts, target, "chosen", targets, 0,
                     "Whose likelihood: the wanted answer's, or that of a third, gold one."),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    (void)self;
    (void)err;
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | PAIR_SHOWN;
    ask->detached = PAIR_SHOWN;
    return DOWEL_OK;
}

static double preference(const struct opts *o, const dowel_batch *in, struct pair *p)
{
    pair_likelihoods(in, p, false, 1);
    struct curve f = hinge(p->chosen.logp - p->rejected.logp, o->delta);
    return pair_spread(in, p, pair_scale(in, p), (struct slope){f.value, f.slope, -f.slope});
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    struct pair *list;
    uint32_t n;
    dowel_status st = pairs_find(in, &list, &n, err);
    if (st != DOWEL_OK)
        return st;
    bool gold = o->target == GOLD;
    if (n > 0 && gold && o->lambda > 0 && !(in->total[PAIR_GOLD_TOKENS] > 0))
        return dowel_fail(err, DOWEL_E_ARG,
                          "no row of this step has a gold answer; add the column or set target = "
                          "'chosen'");
    for (uint32_t i = 0; i < n; i++)
        *loss += preference(o, in, &list[i]);
    *loss += pairs_nll(in, list, n, gold ? 0 : o->lambda) + (gold ? gold_nll(in, o->lambda) : 0);
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
    DOWEL_PLUGIN("slic", "1.0.0", "Sequence likelihood calibration.", DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
