/* xpo: exploratory preference optimisation, online DPO between the policy's answer and one of the
 * reference, with a term that moves the policy away from the latter. */
#include <dowel/plugin.h>

#include "../online.h"
#include "../pair_losses.h"
#include "../pairs_report.h"

enum { SIGMOID, IPO };
static const char *const losses[] = {"sigmoid", "ipo", NULL};

struct opts {
    int64_t loss, samples;
    double beta, alpha, missing_eos_penalty;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, loss, "sigmoid", losses, 0,
                     "Form of the preference term; ipo takes sums of log-ratios."),
    DOWEL_OPT_REAL(struct opts, beta, "0.1", 1e-6, 100, DOWEL_TUNABLE,
                   "How strongly the policy is tied to the reference."),
    DOWEL_OPT_REAL(struct opts, alpha, "1e-5", 0, 100, DOWEL_TUNABLE,
                   "Weight of the exploration term."),
    DOWEL_OPT_INT(struct opts, samples, "1", 1, 1024, 0,
                  "Answers of the reference per prompt, each paired with one of the policy's."),
    DOWEL_OPT_REAL(struct opts, missing_eos_penalty, "0", 0, 1e6, 0,
                   "Taken off the reward of an answer that did not come to its end."),
};

/* ---- pairs: the policy's answer against the reference's ---- */

static dowel_status ask_samples(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = self;
    (void)err;
    ask->extras = DOWEL_WITH_REFERENCE;
    ask->extra_samples = (uint32_t)o->samples;
    return DOWEL_OK;
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    const struct opts *o = self;
    const dowel_host *host = in->host;
    struct scored_answer *list;
    struct scored_group g;
    uint32_t n, at = 0;
    double own = 0, other = 0, margin = 0, pairs = 0;
    dowel_status st = online_collect(in, out, o->missing_eos_penalty, &list, &n, err);
    while (st == DOWEL_OK && online_next(list, n, &at, &g)) {
        for (uint32_t k = 0; k < g.n_own && k < g.n_other; k++) {
            const struct scored_answer *a = &g.own[k], *b = &g.other[k];
            bool wins = a->score >= b->score; /* the policy's own wins a tie */
            online_pair(out, wins ? a->seq : b->seq, wins ? b->seq : a->seq);
            own += a->score;
            other += b->score;
            margin += fabs(a->score - b->score);
            pairs += 1;
        }
    }
    if (pairs > 0) {
        host->metric(host, "objective/model_scores", DOWEL_MEAN, own / pairs, pairs);
        host->metric(host, "objective/ref_scores", DOWEL_MEAN, other / pairs, pairs);
        host->metric(host, "objective/scores_margin", DOWEL_MEAN, margin / pairs, pairs);
    }
    report_eos(in, "val/model_contain_eos_token", DOWEL_TRAINED);
    report_eos(in, "val/ref_contain_eos_token", DOWEL_OTHER);
    return st;
}

/* ---- loss ---- */

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP) | PAIR_SHOWN;
    ask->detached = PAIR_SHOWN;
    return ask_samples(self, ask, err);
}

/* The two terms of a pair, without the normaliser. */
struct terms {
    double preference, exploration;
};

static double pair_loss(const struct opts *o, const dowel_batch *in, struct pair *p,
                        struct terms *m)
{
    double scale = pair_scale(in, p);
    pair_sums(in, p, dowel_x(in, DOWEL_REF_LOGP));
    p->chosen.reward = o->beta * p->chosen.ratio;
    p->rejected.reward = o->beta * p->rejected.ratio;
    double x = p->chosen.ratio - p->rejected.ratio, inner = o->loss == IPO ? 1 : o->beta;
    struct curve f = o->loss == IPO ? squared(x - 1 / (2 * o->beta)) : logistic(o->beta * x, 0);
    struct slope s = {f.value, inner * f.slope, -inner * f.slope};
    double explore = 0;
    if (in->role[p->chosen.seq] == DOWEL_OTHER) {
        explore = o->alpha * p->chosen.logp;
        s.chosen += o->alpha;
    } else {
        explore = o->alpha * p->rejected.logp;
        s.rejected += o->alpha;
    }
    s.value += explore;
    m->preference += f.value;
    m->exploration += explore;
    return pair_spread(in, p, scale, s);
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const struct opts *o = self;
    const dowel_host *host = in->host;
    struct terms m = {0};
    struct pair *list;
    uint32_t n;
    dowel_status st = pairs_find(in, &list, &n, err);
    for (uint32_t i = 0; st == DOWEL_OK && i < n; i++) {
        bool a = in->role[list[i].chosen.seq] == DOWEL_OTHER;
        bool b = in->role[list[i].rejected.seq] == DOWEL_OTHER;
        if (a == b)
            return dowel_fail(err, DOWEL_E_ARG,
                              "sequences %u and %u: one of a pair has to come from the reference; "
                              "name xpo as the estimator too",
                              list[i].chosen.seq, list[i].rejected.seq);
        *loss += pair_loss(o, in, &list[i], &m);
    }
    if (st != DOWEL_OK || n == 0)
        return st;
    pairs_report(in, list, n);
    pairs_report_online(in, list, n, o->beta);
    host->metric(host, "loss/dpo", DOWEL_MEAN, m.preference / n, n);
    host->metric(host, "loss/xpo", DOWEL_MEAN, m.exploration / n, n);
    host->metric(host, "alpha", DOWEL_MEAN, o->alpha, n);
    host->metric(host, "beta", DOWEL_MEAN, o->beta, n);
    return DOWEL_OK;
}

static const char *const shown[] = {"objective/model_scores", "rewards/margins", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_ROLLOUTS,
                                          .n_total = PAIR_TOTALS,
                                          .shown = shown,
                                          .observe = observe,
                                          .survey = pairs_survey,
                                          .loss = loss};
static const dowel_estimator estimator = {
    .size = sizeof estimator, .observe = ask_samples, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("xpo", "1.0.0", "Exploratory preference optimisation.",
                 DOWEL_PURE | DOWEL_REENTRANT),
    DOWEL_OPTIONS(struct opts, params), .objective = &objective, .estimator = &estimator};
DOWEL_MODULE(&plugin);
