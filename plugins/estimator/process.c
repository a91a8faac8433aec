/* process: rewards of an answer's steps become the advantages of its tokens. */
#include <string.h>

#include "../group.h"
#include "../streams.h"

enum { GROUP = 0, SUM = 1, LEAST = 2, DELTA = 3, CLIP = 4 };
static const char *const schemes[] = {"group", "sum", "min", "delta", "clip", NULL};
enum { NONE = 0, LEAVE_ONE_OUT = 1 };
static const char *const baselines[] = {"none", "leave_one_out", NULL};

struct opts {
    SHAPING_EMBEDDED;
    int64_t scheme, baseline;
    const char *part;
    double step_temperature, start, eta, eps, outcome_weight;
    bool zero_step_ends, whiten;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, scheme, "group", schemes, 0,
                     "What becomes of the steps' rewards before they are summed."),
    DOWEL_OPT_CHOICE(struct opts, baseline, "none", baselines, 0,
                     "Subtract what the group's other answers got per token; not for 'group'."),
    DOWEL_OPT_STR(struct opts, part, "", 0,
                  "The reward that gives the steps, by name; empty: the mix of all."),
    DOWEL_OPT_REAL(struct opts, step_temperature, "0.1", 1e-6, 1e6, DOWEL_TUNABLE,
                   "How far 'min' looks past the worst step; near 0: not at all."),
    DOWEL_OPT_REAL(struct opts, start, "0", -1e6, 1e6, 0,
                   "The value before the first step, for 'delta'."),
    DOWEL_OPT_REAL(struct opts, eta, "0", -1e6, 1e6, DOWEL_TUNABLE,
                   "What 'clip' subtracts from a step before it takes the negative part."),
    DOWEL_OPT_REAL(struct opts, eps, "1e-4", 0, 1, 0,
                   "Added to the standard deviations of 'group' before dividing."),
    DOWEL_OPT_REAL(struct opts, outcome_weight, "1", 0, 1e6, DOWEL_TUNABLE,
                   "Weight of the score of the whole answer, which lands on its last token."),
    DOWEL_OPT_BOOL(struct opts, zero_step_ends, "false", 0,
                   "No advantage for the tokens that end a step."),
    DOWEL_OPT_BOOL(struct opts, whiten, "false", 0, "Standardise advantages over the rollout."),
    SHAPING_PARAMS(struct opts, "0"),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = ((struct shaper *)self)->opts;
    if (o->scheme == GROUP && o->baseline != NONE)
        return dowel_fail(err, DOWEL_E_ARG,
                          "scheme 'group' compares answers already; leave baseline out");
    return shaping_observe(&o->shape, ask, err);
}

/* ---- steps ---- */

struct step {
    uint32_t seq, at; /* its last trained token */
    double reward, tokens;
};

/* The steps of the whole rollout, answer after answer: those of s are first[s] .. first[s+1]-1. */
struct steps {
    struct step *step;
    uint32_t *first;
};

static void find_steps(const dowel_batch *in, const dowel_credit *out, uint32_t part,
                       struct steps *k)
{
    const double *x = dowel_x(in, DOWEL_TOKEN_REWARD);
    uint32_t n = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        const bool used = x && shaping_uses(in, out, s);
        double tokens = 0;
        uint32_t last = 0;
        k->first[s] = n;
        for (uint32_t t = in->start[s]; used && t < in->start[s + 1]; t++) {
            double r = x[(size_t)t * in->col[DOWEL_TOKEN_REWARD].width + part];
            if (in->mask[t]) {
                tokens += 1;
                last = t;
            }
            /* a step without a trained token has nobody to thank for it */
            if (isnan(r) || tokens == 0)
                continue;
            k->step[n++] = (struct step){s, last, r, tokens};
            tokens = 0;
        }
    }
    k->first[in->n_seq] = n;
}

static dowel_status find_part(const struct opts *o, const dowel_batch *in, uint32_t *part,
                              dowel_err *err)
{
    const uint32_t width = dowel_x(in, DOWEL_TOKEN_REWARD) ? in->col[DOWEL_TOKEN_REWARD].width : 0;
    *part = 0;
    if (!*o->part)
        return DOWEL_OK;
    for (uint32_t c = 1; in->part && c < width; c++) {
        if (strcmp(in->part[c - 1], o->part) == 0) {
            *part = c;
            return DOWEL_OK;
        }
    }
    return dowel_fail(err, DOWEL_E_ARG, "part '%.100s' is none of the rewards that give steps",
                      o->part);
}

/* ---- schemes ---- */

/* All steps of all answers to a prompt have mean 0 and deviation 1 together. */
static void by_prompt(const struct opts *o, const dowel_batch *in, struct steps *k)
{
    const dowel_host *host = in->host;
    const uint32_t n = k->first[in->n_seq];
    struct member *m = host->scratch(host, ((size_t)n + 1) * sizeof *m);
    for (uint32_t i = 0; i < n; i++)
        m[i] = (struct member){in->group[k->step[i].seq], i, k->step[i].reward};
    qsort(m, n, sizeof *m, by_group);
    for (size_t first = 0, last; first < n; first = last) {
        last = group_end(m, first, n);
        struct moments g = moments_of(m + first, last - first);
        for (size_t i = first; i < last; i++)
            k->step[m[i].seq].reward = g.flat ? 0 : (m[i].reward - g.mean) / (g.std + o->eps);
    }
}

/* Rewards times softmax(-reward / temperature): their sum is close to the least of them. */
static void least(double temperature, struct step *step, uint32_t n)
{
    double lo = INFINITY, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        lo = fmin(lo, step[i].reward);
    for (uint32_t i = 0; i < n; i++)
        sum += exp((lo - step[i].reward) / temperature);
    for (uint32_t i = 0; i < n; i++)
        step[i].reward *= exp((lo - step[i].reward) / temperature) / sum;
}

static void one_answer(const struct opts *o, struct step *step, uint32_t n)
{
    double before = o->start;
    if (o->scheme == LEAST && n > 0)
        least(o->step_temperature, step, n);
    for (uint32_t i = 0; i < n && o->scheme == CLIP; i++)
        step[i].reward = fmin(step[i].reward - o->eta, 0);
    for (uint32_t i = 0; i < n && o->scheme == DELTA; i++) {
        double value = step[i].reward;
        step[i].reward = value - before;
        before = value;
    }
}

/* Every step loses what the other answers got per token, times its own tokens: a price per step
 * would be saved by writing fewer and longer ones. Answers without steps do not set the price. */
static void charge_tokens(const dowel_batch *in, struct steps *k)
{
    const dowel_host *host = in->host;
    struct member *m = host->scratch(host, (in->n_seq + 1) * sizeof *m);
    size_t n = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double sum = 0;
        for (uint32_t i = k->first[s]; i < k->first[s + 1]; i++)
            sum += k->step[i].reward;
        if (k->first[s + 1] > k->first[s])
            m[n++] = (struct member){in->group[s], s, sum / dowel_seq_len(in, s)};
    }
    qsort(m, n, sizeof *m, by_group);
    for (size_t first = 0, last; first < n; first = last) {
        last = group_end(m, first, n);
        struct moments g = moments_of(m + first, last - first);
        for (size_t j = first; j < last; j++) {
            uint32_t s = m[j].seq;
            /* an answer alone has no price */
            double price = last - first > 1 ? others_mean(g.mean, m[j].reward, last - first) : 0;
            for (uint32_t i = k->first[s]; i < k->first[s + 1]; i++)
                k->step[i].reward -= price * k->step[i].tokens;
        }
    }
}

/* ---- the whole answer's score ---- */

/* Replaces score[] by what its answer is credited with for it; NaN becomes 0. */
static void outcomes(const struct opts *o, const dowel_batch *in, double *score)
{
    const dowel_host *host = in->host;
    struct member *m = host->scratch(host, (in->n_seq + 1) * sizeof *m);
    size_t n = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (!isnan(score[s]) && (!in->role || in->role[s] == DOWEL_TRAINED))
            m[n++] = (struct member){in->group[s], s, score[s]};
        else
            score[s] = 0;
    }
    qsort(m, n, sizeof *m, by_group);
    for (size_t first = 0, last; first < n; first = last) {
        last = group_end(m, first, n);
        struct moments g = moments_of(m + first, last - first);
        for (size_t i = first; i < last; i++) {
            double r = m[i].reward;
            if (o->scheme == GROUP)
                r = g.flat ? 0 : (r - g.mean) / (g.std + o->eps);
            else if (o->baseline == LEAVE_ONE_OUT)
                r = g.flat ? 0 : r - others_mean(g.mean, r, last - first);
            score[m[i].seq] = o->outcome_weight * r;
        }
    }
}

/* ---- the whole rollout ---- */

static void report(const dowel_batch *in, const dowel_credit *out, const struct steps *k)
{
    const dowel_host *host = in->host;
    const double n = k->first[in->n_seq];
    double answers = 0, tokens = 0, reward = 0;
    for (uint32_t s = 0; s < in->n_seq; s++)
        answers += shaping_uses(in, out, s);
    for (uint32_t i = 0; i < k->first[in->n_seq]; i++) {
        tokens += k->step[i].tokens;
        reward += k->step[i].reward;
    }
    if (answers > 0)
        host->metric(host, "steps/mean", DOWEL_MEAN, n / answers, answers);
    if (n == 0)
        return;
    host->metric(host, "steps/tokens", DOWEL_MEAN, tokens / n, n);
    host->metric(host, "steps/reward", DOWEL_MEAN, reward / n, n);
}

/* Sums what a token is credited with: its own step's reward and those of the later ones. */
static void credit(const struct opts *o, const struct shaping_state *st, const dowel_batch *in,
                   dowel_credit *out, const struct steps *k, const double *score,
                   struct stream_sums *m)
{
    const dowel_host *host = in->host;
    double *r = host->scratch(host, (in->n_tok + 1) * sizeof *r);
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (!shaping_uses(in, out, s))
            continue;
        for (uint32_t i = k->first[s]; i < k->first[s + 1]; i++)
            r[k->step[i].at] += k->step[i].reward;
        r[stream_last(in, s)] += score[s];
        stream_count(&o->shape, in, s, m);
        stream_kl(&o->shape, in, s, shaping_kl(&o->shape, st), r, m);
        stream_returns(in, s, 1, r, out->advantage);
        for (uint32_t i = k->first[s]; i < k->first[s + 1] && o->zero_step_ends; i++)
            out->advantage[k->step[i].at] = 0;
    }
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    struct shaper *x = self;
    const struct opts *o = x->opts;
    const dowel_host *host = in->host;
    struct stream_sums m = {0};
    uint32_t part;
    if (in->n_seq == 0)
        return DOWEL_OK;
    if (!dowel_x(in, DOWEL_REWARD) && !dowel_x(in, DOWEL_TOKEN_REWARD))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no rewards; name at least one");
    dowel_status st = find_part(o, in, &part, err);
    if (st < 0)
        return st;
    double *score = host->scratch(host, (in->n_seq + 1) * sizeof *score);
    struct steps k = {host->scratch(host, (in->n_tok + 1) * sizeof *k.step),
                      host->scratch(host, (in->n_seq + 1) * sizeof *k.first)};
    shaping_scores(&o->shape, &x->state, in, out, score);
    find_steps(in, out, part, &k);
    for (uint32_t s = 0; s < in->n_seq; s++)
        if (k.first[s] == k.first[s + 1] && isnan(score[s]) &&
            (!in->role || in->role[s] == DOWEL_TRAINED))
            out->keep[s] = 0; /* neither steps nor a score */
    report(in, out, &k);
    if (o->scheme == GROUP)
        by_prompt(o, in, &k);
    for (uint32_t s = 0; s < in->n_seq; s++)
        one_answer(o, k.step + k.first[s], k.first[s + 1] - k.first[s]);
    if (o->baseline == LEAVE_ONE_OUT)
        charge_tokens(in, &k);
    outcomes(o, in, score);
    credit(o, &x->state, in, out, &k, score, &m);
    if (o->whiten)
        stream_whiten(in, out, out->advantage, false, true);
    stream_report(&o->shape, &x->state, in, &m);
    shaping_adapt(&o->shape, &x->state, m.kl[KL_K1], m.n);
    return DOWEL_OK;
}

static const dowel_estimator estimator = {
    .size = sizeof estimator, .observe = observe, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("process", "1.0.0", "Rewards of an answer's steps to advantages.", 0),
    DOWEL_OPTIONS(struct opts, params), SHAPER_CALLS, .estimator = &estimator};
DOWEL_MODULE(&plugin);
