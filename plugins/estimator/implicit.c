/* implicit: advantages of PRIME, from a reward on every token and the score of the whole answer. */
#include "../group.h"

#include "../streams.h"

enum { TEACHER = 0, TOKENS = 1 };
static const char *const sources[] = {"teacher", "tokens", NULL};

struct opts {
    SHAPING_EMBEDDED;
    int64_t source;
    double process_weight, outcome_weight, process_gamma, outcome_gamma;
    bool batch_norm, whiten;
};

static const dowel_param params[] = {
    DOWEL_OPT_CHOICE(struct opts, source, "teacher", sources, 0,
                     "The process model as teacher against the reference, or a reward's spans."),
    DOWEL_OPT_REAL(struct opts, process_weight, "1", 0, 1e6, DOWEL_TUNABLE,
                   "Weight of the rewards of the tokens."),
    DOWEL_OPT_REAL(struct opts, outcome_weight, "1", 0, 1e6, DOWEL_TUNABLE,
                   "Weight of the score of the whole answer."),
    DOWEL_OPT_REAL(struct opts, process_gamma, "1", 0, 1, DOWEL_TUNABLE,
                   "Discount of the rewards of the tokens."),
    DOWEL_OPT_REAL(struct opts, outcome_gamma, "1", 0, 1, DOWEL_TUNABLE, "Discount of the score."),
    DOWEL_OPT_BOOL(struct opts, batch_norm, "false", 0,
                   "Divide the tokens' rewards by the largest sum to an answer's end."),
    DOWEL_OPT_BOOL(struct opts, whiten, "true", 0, "Standardise advantages over the rollout."),
    SHAPING_PARAMS(struct opts, "0"),
};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct opts *o = ((struct shaper *)self)->opts;
    if (o->source == TEACHER)
        ask->columns |= DOWEL_BIT(DOWEL_TEACHER_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP);
    return shaping_observe(&o->shape, ask, err);
}

/* ---- the tokens' own rewards ---- */

static dowel_status fill(const struct opts *o, const dowel_batch *in, double *q, dowel_err *err)
{
    const double *teacher = dowel_x(in, DOWEL_TEACHER_LOGP), *ref = dowel_x(in, DOWEL_REF_LOGP);
    if (o->source == TEACHER && (!teacher || !ref))
        return dowel_fail(err, DOWEL_E_ARG,
                          "source 'teacher' needs the process model as teacher and a reference");
    if (o->source == TOKENS && !dowel_x(in, DOWEL_TOKEN_REWARD))
        return dowel_fail(err, DOWEL_E_ARG, "source 'tokens' needs a reward that gives spans");
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (o->source == TOKENS) {
            stream_spans(in, s, 0, q);
            continue;
        }
        for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
            if (in->mask[t])
                q[t] = teacher[t] - ref[t];
    }
    return DOWEL_OK;
}

static void normalise(const dowel_batch *in, const dowel_credit *out, double *q)
{
    double most = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double sum = 0;
        const bool used = shaping_uses(in, out, s);
        for (uint32_t t = in->start[s + 1]; used && t-- > in->start[s];) {
            sum += in->mask[t] ? q[t] : 0;
            most = fmax(most, fabs(sum));
        }
    }
    for (uint32_t t = 0; t < in->n_tok && most > 0; t++)
        q[t] /= most;
}

/* ---- leave one out ---- */

/* Of n scored answers those that are used, still group after group. */
static size_t used_members(const dowel_batch *in, const dowel_credit *out, struct member *m,
                           size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++)
        if (shaping_uses(in, out, m[i].seq))
            m[used++] = m[i];
    return used;
}

/* Adds the credit of one group to the advantages; the members' rewards are their scores, g
 * is room for the tokens' returns. */
static void one_group(const struct opts *o, const dowel_batch *in, dowel_credit *out,
                      struct member *m, size_t n, double *q, double *g)
{
    double sum = 0, others = (double)n - 1;
    for (size_t i = 0; i < n; i++) {
        sum += dowel_seq_sum(in, m[i].seq, q, NULL) / dowel_seq_len(in, m[i].seq);
    }
    struct moments outcome = moments_of(m, n);
    for (size_t i = 0; i < n; i++) {
        const uint32_t s = m[i].seq;
        double lead = outcome.flat ? 0 : m[i].reward - others_mean(outcome.mean, m[i].reward, n);
        for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
            q[t] = n > 1 ? o->process_weight * (q[t] * (double)n - sum) / others : 0;
        stream_returns(in, s, o->process_gamma, q, g);
        for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
            out->advantage[t] += in->mask[t] ? g[t] : 0;
        double at_end = o->outcome_weight * lead;
        for (uint32_t t = in->start[s + 1]; t-- > in->start[s];) {
            if (!in->mask[t])
                continue;
            out->advantage[t] += at_end;
            at_end *= o->outcome_gamma;
        }
    }
}

/* The divergence is paid token by token, with the discount of the process. */
static void pay(const struct opts *o, struct shaping_state *st, const dowel_batch *in,
                dowel_credit *out, struct stream_sums *m)
{
    const dowel_host *host = in->host;
    double *r = host->scratch(host, (in->n_tok + 1) * sizeof *r);
    double *g = host->scratch(host, (in->n_tok + 1) * sizeof *g);
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (!shaping_uses(in, out, s))
            continue;
        stream_count(&o->shape, in, s, m);
        stream_kl(&o->shape, in, s, shaping_kl(&o->shape, st), r, m);
        stream_returns(in, s, o->process_gamma, r, g);
        for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
            out->advantage[t] += in->mask[t] ? g[t] : 0;
    }
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    struct shaper *x = self;
    const struct opts *o = x->opts;
    const dowel_host *host = in->host;
    struct stream_sums m = {0};
    if (in->n_seq == 0)
        return DOWEL_OK;
    if (!dowel_x(in, DOWEL_REWARD))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no rewards; name at least one");
    double *score = host->scratch(host, (in->n_seq + 1) * sizeof *score);
    double *q = host->scratch(host, (in->n_tok + 1) * sizeof *q);
    double *g = host->scratch(host, (in->n_tok + 1) * sizeof *g);
    struct member *one = host->scratch(host, (in->n_seq + 1) * sizeof *one);
    shaping_scores(&o->shape, &x->state, in, out, score);
    size_t n = members_of(in, out, score, one);
    dowel_status st = fill(o, in, q, err);
    if (st < 0)
        return st;
    if (o->batch_norm)
        normalise(in, out, q);
    n = used_members(in, out, one, n);
    for (size_t first = 0, last; first < n; first = last) {
        last = group_end(one, first, n);
        one_group(o, in, out, one + first, last - first, q, g);
    }
    pay(o, &x->state, in, out, &m);
    if (o->whiten)
        stream_whiten(in, out, out->advantage, false, true);
    stream_report(&o->shape, &x->state, in, &m);
    shaping_adapt(&o->shape, &x->state, m.kl[KL_K1], m.n);
    return DOWEL_OK;
}

static const dowel_estimator estimator = {
    .size = sizeof estimator, .observe = observe, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("implicit", "1.0.0", "Rewards on every token and a score, leave one out.", 0),
    DOWEL_OPTIONS(struct opts, params), SHAPER_CALLS, .estimator = &estimator};
DOWEL_MODULE(&plugin);
