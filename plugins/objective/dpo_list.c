/* dpo_list: direct preference optimisation on ranked lists of answers, by their implicit rewards.
 */
#include <dowel/plugin.h>

#include "../lists.h"
#include "../pair_losses.h"

enum { PLACKETT_LUCE, CHOOSE_TWO, PICK_BEST };
static const char *const losses[] = {"plackett_luce", "choose_two", "pick_best", NULL};

struct opts {
    int64_t loss;
    double beta;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, loss, "plackett_luce", losses, 0,
                     "Likelihood of the whole order, all pairs of the list, or the best alone."),
    DOWEL_OPT_REAL(struct opts, beta, "0.1", 1e-6, 100, DOWEL_TUNABLE,
                   "How strongly the policy is tied to the reference."),
};

#define SHOWN DOWEL_BIT(DOWEL_ENTROPY)

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    (void)self;
    (void)err;
    ask->columns = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP) | SHOWN;
    ask->detached = SHOWN;
    return DOWEL_OK;
}

static bool counts(const dowel_batch *in, uint32_t s)
{
    return in->role[s] == DOWEL_TRAINED && dowel_seq_len(in, s) > 0;
}

/* What one batch adds to the metrics. */
struct sums {
    double pairs, right, margin, lists, best, worst, entropy, tokens;
};

/* All pairs of one list, their mean; ties are no pairs. */
static double choose_two(struct member *m, uint32_t n)
{
    double pairs = 0, value = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = i + 1; j < n; j++)
            pairs += m[i].rank < m[j].rank;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = i + 1; j < n; j++) {
            if (!(m[i].rank < m[j].rank))
                continue;
            struct curve f = logistic(m[i].score - m[j].score, 0);
            value += f.value / pairs;
            m[i].d += f.slope / pairs;
            m[j].d -= f.slope / pairs;
        }
    }
    return value;
}

static void see(const dowel_batch *in, const struct member *m, uint32_t n, struct sums *to)
{
    const double *h = dowel_x(in, DOWEL_ENTROPY);
    to->lists += 1;
    to->best += m[0].score;
    to->worst += m[n - 1].score;
    for (uint32_t i = 0; i < n; i++) {
        to->entropy += h ? dowel_seq_sum(in, m[i].seq, h, NULL) : 0;
        to->tokens += dowel_seq_len(in, m[i].seq);
        for (uint32_t j = i + 1; j < n; j++) {
            if (!(m[i].rank < m[j].rank))
                continue;
            to->pairs += 1;
            to->right += m[i].score > m[j].score; /* a tie is an error */
            to->margin += m[i].score - m[j].score;
        }
    }
}

static double list(const struct opts *o, const dowel_batch *in, struct member *m, uint32_t n,
                   struct sums *to)
{
    const double *logp = dowel_x(in, DOWEL_LOGP), *ref = dowel_x(in, DOWEL_REF_LOGP);
    double scale = dowel_x(in, DOWEL_WEIGHT)[m[0].seq] / in->total[0];
    for (uint32_t i = 0; i < n; i++)
        m[i].score = o->beta * dowel_seq_sum(in, m[i].seq, logp, ref);
    double value = o->loss == PLACKETT_LUCE ? plackett_luce(m, n)
                   : o->loss == CHOOSE_TWO  ? choose_two(m, n)
                                            : pick_best(m, n);
    for (uint32_t i = 0; i < n; i++)
        dowel_seq_add(in, m[i].seq, dowel_grad(in, DOWEL_LOGP), scale * o->beta * m[i].d);
    see(in, m, n, to);
    return scale * value;
}

/* Walks over the lists that have two different ranks; counts them, and adds up their loss unless
 * `to` is NULL. */
static double lists(const struct opts *o, const dowel_batch *in, struct sums *to, double *found)
{
    struct member *m = in->host->scratch(in->host, ((size_t)in->n_seq + 1) * sizeof *m);
    uint32_t n = lists_collect(in, counts, m);
    double value = 0;
    for (uint32_t first = 0, k; first < n; first += k) {
        k = list_length(m + first, n - first);
        if (!list_tells(m + first, k))
            continue;
        *found += 1;
        if (to)
            value += list(o, in, m + first, k, to);
    }
    return value;
}

static dowel_status survey(void *self, const dowel_batch *in, double *sum, dowel_err *err)
{
    (void)err;
    lists(self, in, NULL, sum);
    return DOWEL_OK;
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    const dowel_host *host = in->host;
    struct sums m = {0};
    double found = 0;
    if (in->n_seq > 0 && !dowel_x(in, DOWEL_RANK) && !dowel_x(in, DOWEL_LABEL))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no ranks; give it lists or pairs");
    *loss += lists(self, in, &m, &found);
    if (m.lists == 0)
        return DOWEL_OK;
    host->metric(host, "rewards/best", DOWEL_MEAN, m.best / m.lists, m.lists);
    host->metric(host, "rewards/worst", DOWEL_MEAN, m.worst / m.lists, m.lists);
    host->metric(host, "rewards/margins", DOWEL_MEAN, m.margin / m.pairs, m.pairs);
    host->metric(host, "rewards/accuracies", DOWEL_MEAN, m.right / m.pairs, m.pairs);
    if (m.tokens > 0 && dowel_x(in, DOWEL_ENTROPY))
        host->metric(host, "entropy", DOWEL_MEAN, m.entropy / m.tokens, m.tokens);
    return DOWEL_OK;
}

static const char *const shown[] = {"rewards/margins", "rewards/accuracies", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_LISTS | DOWEL_PAIRS,
                                          .n_total = 1,
                                          .shown = shown,
                                          .observe = observe,
                                          .survey = survey,
                                          .loss = loss};
static const dowel_plugin plugin = {DOWEL_PLUGIN("dpo_list", "1.0.0",
                                                 "Direct preference optimisation on ranked lists.",
                                                 DOWEL_PURE | DOWEL_REENTRANT),
                                    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
