/* returns: Monte-Carlo returns of rewards shaped token by token, less a baseline that needs no
 * critic; with `whiten` it is REINFORCE++. */
#include "../group.h"

#include "../streams.h"

enum { NONE = 0, MEAN = 1, LEAVE_ONE_OUT = 2, GREEDY = 3, OPTIMAL = 4 };
static const char *const baselines[] = {"none", "mean", "leave_one_out", "greedy", "optimal", NULL};

struct opts {
    SHAPING_EMBEDDED;
    int64_t baseline;
    double gamma;
    bool whiten, whiten_population;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, baseline, "none", baselines, 0,
                     "What an answer's return is measured against."),
    DOWEL_OPT_REAL(struct opts, gamma, "1", 0, 1, DOWEL_TUNABLE, "Discount of a reward per token."),
    DOWEL_OPT_BOOL(struct opts, whiten, "true", 0, "Standardise advantages over the rollout."),
    DOWEL_OPT_BOOL(struct opts, whiten_population, "false", 0,
                   "Deviation by n instead of n - 1 in that."),
    SHAPING_PARAMS(struct opts, "0"),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = ((struct shaper *)self)->opts;
    if (o->baseline == GREEDY)
        ask->extras |= DOWEL_WITH_GREEDY;
    if (o->baseline == OPTIMAL)
        ask->columns |= DOWEL_BIT(DOWEL_OLD_LOGP) | DOWEL_BIT(DOWEL_COLLISION);
    return shaping_observe(&o->shape, ask, err);
}

/* What an answer got in all: score and spans; NaN: neither. */
static void totals(const dowel_batch *in, const double *score, double *total)
{
    const dowel_host *host = in->host;
    double *r = host->scratch(host, (in->n_tok + 1) * sizeof *r);
    for (uint32_t s = 0; s < in->n_seq; s++) {
        uint32_t spans = stream_spans(in, s, 0, r);
        total[s] = score[s];
        if (spans > 0)
            total[s] = dowel_seq_sum(in, s, r, NULL) + (isnan(score[s]) ? 0 : score[s]);
    }
}

/* ---- baselines of whole answers: base[n_seq] ---- */

static void group_base(const struct opts *o, const dowel_batch *in, dowel_credit *out,
                       const double *total, double *base)
{
    const dowel_host *host = in->host;
    struct member *m = host->scratch(host, (in->n_seq + 1) * sizeof *m);
    size_t n = members_of(in, out, total, m);
    for (size_t first = 0, last; first < n; first = last) {
        last = group_end(m, first, n);
        struct moments g = moments_of(m + first, last - first);
        for (size_t i = first; i < last; i++)
            base[m[i].seq] = g.flat                ? m[i].reward
                             : o->baseline == MEAN ? g.mean
                                                   : others_mean(g.mean, m[i].reward, last - first);
    }
}

/* An answer to a prompt whose greedy answer has no score has no baseline: it is dropped. */
static void greedy_base(const dowel_batch *in, dowel_credit *out, const double *total, double *base)
{
    for (uint32_t s = 0; s < in->n_seq; s++) {
        bool found = false;
        for (uint32_t g = 0; in->role && g < in->n_seq && !found; g++) {
            if (in->role[g] != DOWEL_GREEDY || in->group[g] != in->group[s] || isnan(total[g]))
                continue;
            base[s] = total[g];
            found = true;
        }
        if (!found)
            out->keep[s] = 0;
    }
}

/* ---- the optimal baseline of every token ---- */

/* W[t] = sum over t' <= t of 1 - 2 p + sum p^2, the squared length of the gradient so far. */
static void energies(const dowel_batch *in, uint32_t s, double *w)
{
    const double *old = dowel_x(in, DOWEL_OLD_LOGP), *c2 = dowel_x(in, DOWEL_COLLISION);
    double sum = 0;
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
        if (in->mask[t])
            w[t] = sum += fmax(1 - 2 * exp(old[t]) + c2[t], 0);
}

/* The trained tokens of s one after the other: at[k] is the k-th. */
static uint32_t positions(const dowel_batch *in, uint32_t s, uint32_t *at)
{
    uint32_t n = 0;
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
        if (in->mask[t])
            at[n++] = t;
    return n;
}

/* Sums over a group of returns times energy, and of energy, for the k-th trained token of all. */
struct place {
    double gw, w;
};

static void add_answer(const uint32_t *at, uint32_t len, const double *g, const double *w,
                       struct place *place)
{
    for (uint32_t k = 0; k < len; k++) {
        place[k].gw += g[at[k]] * w[at[k]];
        place[k].w += w[at[k]];
    }
}

/* Takes from g[t] the mean of the group's returns at the same place, weighted with their energy. */
static void optimal_group(const dowel_batch *in, const struct member *m, size_t n, double *g,
                          const double *w)
{
    const dowel_host *host = in->host;
    uint32_t longest = 0;
    for (size_t i = 0; i < n; i++)
        longest = longest > dowel_seq_len(in, m[i].seq) ? longest : dowel_seq_len(in, m[i].seq);
    struct place *place = host->scratch(host, (longest + 1) * sizeof *place);
    uint32_t *at = host->scratch(host, (longest + 1) * sizeof *at);
    for (size_t i = 0; i < n; i++)
        add_answer(at, positions(in, m[i].seq, at), g, w, place);
    for (size_t i = 0; i < n; i++) {
        uint32_t len = positions(in, m[i].seq, at);
        for (uint32_t k = 0; k < len; k++)
            g[at[k]] -= place[k].w > 0 ? place[k].gw / place[k].w : 0;
    }
}

static dowel_status optimal(const dowel_batch *in, dowel_credit *out, const double *total,
                            dowel_err *err)
{
    const dowel_host *host = in->host;
    if (!dowel_x(in, DOWEL_OLD_LOGP) || !dowel_x(in, DOWEL_COLLISION))
        return dowel_fail(err, DOWEL_E_ARG,
                          "the rollout lacks the probabilities that baseline 'optimal' needs");
    struct member *m = host->scratch(host, (in->n_seq + 1) * sizeof *m);
    double *w = host->scratch(host, (in->n_tok + 1) * sizeof *w);
    size_t n = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (!shaping_uses(in, out, s) || isnan(total[s]))
            continue;
        m[n++] = (struct member){in->group[s], s, total[s]};
        energies(in, s, w);
    }
    qsort(m, n, sizeof *m, by_group);
    for (size_t first = 0, last; first < n; first = last) {
        last = group_end(m, first, n);
        optimal_group(in, m + first, last - first, out->advantage, w);
    }
    return DOWEL_OK;
}

/* ---- the whole rollout ---- */

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    struct shaper *x = self;
    const struct opts *o = x->opts;
    const dowel_host *host = in->host;
    struct stream_sums m = {0};
    if (in->n_seq == 0)
        return DOWEL_OK;
    if (!dowel_x(in, DOWEL_REWARD) && !dowel_x(in, DOWEL_TOKEN_REWARD))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no rewards; name at least one");
    double *score = host->scratch(host, (in->n_seq + 1) * sizeof *score);
    double *total = host->scratch(host, (in->n_seq + 1) * sizeof *total);
    double *base = host->scratch(host, (in->n_seq + 1) * sizeof *base);
    double *r = host->scratch(host, (in->n_tok + 1) * sizeof *r);
    shaping_scores(&o->shape, &x->state, in, out, score);
    totals(in, score, total);
    if (o->baseline == MEAN || o->baseline == LEAVE_ONE_OUT)
        group_base(o, in, out, total, base);
    if (o->baseline == GREEDY)
        greedy_base(in, out, total, base);
    stream_rewards(&o->shape, &x->state, in, out, score, r, &m);
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (!shaping_uses(in, out, s))
            continue;
        r[stream_last(in, s)] -= base[s];
        stream_returns(in, s, o->gamma, r, out->advantage);
    }
    if (o->baseline == OPTIMAL) {
        dowel_status st = optimal(in, out, total, err);
        if (st < 0)
            return st;
    }
    if (o->whiten)
        stream_whiten(in, out, out->advantage, o->whiten_population, true);
    stream_report(&o->shape, &x->state, in, &m);
    shaping_adapt(&o->shape, &x->state, m.kl[KL_K1], m.n);
    return DOWEL_OK;
}

static const dowel_estimator estimator = {
    .size = sizeof estimator, .observe = observe, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("returns", "1.0.0", "Monte-Carlo returns, token by token, without a critic.", 0),
    DOWEL_OPTIONS(struct opts, params), SHAPER_CALLS, .estimator = &estimator};
DOWEL_MODULE(&plugin);
