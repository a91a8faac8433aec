/* orpo: the likelihood of the wanted answer and the odds ratio of both in one loss, without a
 * reference model. */
#include <dowel/plugin.h>

#include "../pair_losses.h"
#include "../pairs_report.h"

struct opts {
    double lambda;
};

static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, lambda, "0.1", 0, 1000, DOWEL_TUNABLE,
                   "Weight of the odds-ratio term beside the likelihood."),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    (void)self;
    (void)err;
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | PAIR_SHOWN;
    ask->detached = PAIR_SHOWN;
    return DOWEL_OK;
}

/* log(p / (1 - p)) of the mean probability p = exp(a). It has a pole at a = 0, so a stays 1e-6 away
 * and has no derivative there. */
static struct curve log_odds(double a)
{
    const double edge = -1e-6;
    if (a >= edge)
        return (struct curve){edge - log1mexp(edge), 0};
    return (struct curve){a - log1mexp(a), -1 / expm1(a)};
}

/* For the metrics. */
struct odds {
    double ratio, log_sigmoid, pairs;
};

static double preference(const struct opts *o, const dowel_batch *in, struct pair *p,
                         struct odds *m)
{
    pair_likelihoods(in, p, true, o->lambda);
    if (pair_empty(p))
        return 0;
    struct curve c = log_odds(p->chosen.logp), r = log_odds(p->rejected.logp);
    double z = c.value - r.value;
    struct curve f = logistic(z, 0);
    m->ratio += z;
    m->log_sigmoid -= f.value;
    m->pairs += 1;
    struct slope s = {o->lambda * f.value, o->lambda * f.slope * c.slope,
                      -o->lambda * f.slope * r.slope};
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
    struct odds m = {0};
    for (uint32_t i = 0; i < n; i++)
        *loss += preference(o, in, &list[i], &m);
    *loss += pairs_nll(in, list, n, 1);
    pairs_report(in, list, n);
    if (m.pairs > 0) {
        in->host->metric(in->host, "log_odds_ratio", DOWEL_MEAN, m.log_sigmoid / m.pairs, m.pairs);
        in->host->metric(in->host, "log_odds_chosen", DOWEL_MEAN, m.ratio / m.pairs, m.pairs);
    }
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
static const dowel_plugin plugin = {DOWEL_PLUGIN("orpo", "1.0.0",
                                                 "Odds-ratio preference optimisation.",
                                                 DOWEL_PURE | DOWEL_REENTRANT),
                                    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
