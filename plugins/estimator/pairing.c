/* pairing: makes one pair of each prompt's answers by their rewards, so that pair objectives train
 * on rollouts (online DPO). */
#include <dowel/plugin.h>

#include "../online.h"

enum { FIRST_TWO, BEST_WORST };
static const char *const choices[] = {"first_two", "best_worst", NULL};

struct opts {
    int64_t choose;
    double missing_eos_penalty;
    bool drop_ties;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, choose, "best_worst", choices, 0,
                     "Which two: the first two sampled, or the best and the worst of all."),
    DOWEL_OPT_REAL(struct opts, missing_eos_penalty, "0", 0, 1e6, 0,
                   "Taken off the reward of an answer that did not come to its end."),
    DOWEL_OPT_BOOL(struct opts, drop_ties, "false", 0,
                   "Leave out pairs of equal rewards; otherwise the earlier answer wins."),
};

/* The earlier of equals is the best, the later the worst. */
static void choose(const struct opts *o, const struct scored_group *g, uint32_t *best,
                   uint32_t *worst)
{
    uint32_t n = o->choose == FIRST_TWO ? 2 : g->n_own;
    *best = *worst = 0;
    for (uint32_t k = 1; k < n; k++) {
        if (g->own[k].score > g->own[*best].score)
            *best = k;
        if (g->own[k].score <= g->own[*worst].score)
            *worst = k;
    }
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    const struct opts *o = self;
    const dowel_host *host = in->host;
    struct scored_answer *list;
    struct scored_group g;
    uint32_t n, at = 0, best, worst;
    double groups = 0, ties = 0, pairs = 0, margin = 0, sum = 0, answers = 0;
    dowel_status st = online_collect(in, out, o->missing_eos_penalty, &list, &n, err);
    while (st == DOWEL_OK && online_next(list, n, &at, &g)) {
        for (uint32_t k = 0; k < g.n_own; k++)
            sum += g.own[k].score;
        answers += g.n_own;
        if (g.n_own < 2)
            continue;
        choose(o, &g, &best, &worst);
        double gap = g.own[best].score - g.own[worst].score;
        groups += 1;
        ties += gap == 0;
        if (gap == 0 && o->drop_ties)
            continue;
        online_pair(out, g.own[best].seq, g.own[worst].seq);
        pairs += 1;
        margin += gap;
    }
    if (answers > 0)
        host->metric(host, "objective/scores", DOWEL_MEAN, sum / answers, answers);
    if (pairs > 0)
        host->metric(host, "objective/scores_margin", DOWEL_MEAN, margin / pairs, pairs);
    if (groups > 0)
        host->metric(host, "frac_ties", DOWEL_MEAN, ties / groups, groups);
    report_eos(in, "val/contain_eos_token", DOWEL_TRAINED);
    return st;
}

static const dowel_estimator estimator = {.size = sizeof estimator, .estimate = estimate};
static const dowel_plugin plugin = {DOWEL_PLUGIN("pairing", "1.0.0",
                                                 "Pairs of a prompt's answers by their rewards.",
                                                 DOWEL_PURE | DOWEL_REENTRANT),
                                    DOWEL_OPTIONS(struct opts, params), .estimator = &estimator};
DOWEL_MODULE(&plugin);
