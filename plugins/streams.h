/* Rewards as streams over an answer's tokens: where they land, their discounted sums, generalised
 * advantages, and standardisation over all trained tokens. */
#ifndef DOWEL_PLUGINS_STREAMS_H
#define DOWEL_PLUGINS_STREAMS_H

#include "shaping.h"

/* The last trained token of s, or -1: the environment's tokens may come after it. */
static inline int64_t stream_last(const dowel_batch *in, uint32_t s)
{
    for (uint32_t t = in->start[s + 1]; t > in->start[s]; t--)
        if (in->mask[t - 1])
            return t - 1;
    return -1;
}

/* Adds what spans put on the tokens of s to r[n_tok], and says how many there were. What ended on a
 * token that does not count goes to the trained one before it. */
static inline uint32_t stream_spans(const dowel_batch *in, uint32_t s, uint32_t part, double *r)
{
    const double *x = dowel_x(in, DOWEL_TOKEN_REWARD);
    uint32_t n = 0;
    int64_t last = -1;
    if (!x)
        return 0;
    const uint32_t width = in->col[DOWEL_TOKEN_REWARD].width;
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++) {
        double v = x[(size_t)t * width + part];
        if (in->mask[t])
            last = t;
        if (isnan(v) || last < 0)
            continue;
        r[last] += v;
        n++;
    }
    return n;
}

/* What the estimators report of a rollout; sums over answers. */
struct stream_sums {
    double n, kl[3], non_score, score, entropy, eos;
};

/* Subtracts beta times the divergence from r[] and adds it to the sums. */
static inline void stream_kl(const struct shaping *o, const dowel_batch *in, uint32_t s,
                             double beta, double *r, struct stream_sums *m)
{
    const double *old = dowel_x(in, DOWEL_OLD_LOGP), *ref = dowel_x(in, DOWEL_REF_LOGP);
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++) {
        if (!in->mask[t])
            continue;
        m->entropy -= old ? old[t] : 0;
        if (!old || !ref)
            continue;
        double k[3];
        for (int64_t e = KL_K1; e <= KL_K3; e++)
            m->kl[e] += k[e] = kl_value(e, old[t] - ref[t]);
        r[t] -= beta * k[o->kl_estimator];
        m->non_score -= beta * k[o->kl_estimator];
    }
}

/* Counts answer s with its score, as it is after the rule for missing ends. */
static inline void stream_count(const struct shaping *o, const dowel_batch *in, uint32_t s,
                                struct stream_sums *m)
{
    const double *x = dowel_x(in, DOWEL_REWARD);
    double r = x ? shaping_eos(o, in, s, x[(size_t)s * in->col[DOWEL_REWARD].width]) : NAN;
    m->n += 1;
    m->score += isnan(r) ? 0 : r;
    m->eos += in->stop && in->stop[s] == DOWEL_STOP_EOS;
}

static inline void stream_report(const struct shaping *o, const struct shaping_state *st,
                                 const dowel_batch *in, const struct stream_sums *m)
{
    const dowel_host *host = in->host;
    if (m->n == 0)
        return;
    host->metric(host, "objective/scores", DOWEL_MEAN, m->score / m->n, m->n);
    host->metric(host, "val/num_eos_tokens", DOWEL_SUM, m->eos, 1);
    if (dowel_x(in, DOWEL_OLD_LOGP))
        host->metric(host, "objective/entropy", DOWEL_MEAN, m->entropy / m->n, m->n);
    if (!dowel_x(in, DOWEL_OLD_LOGP) || !dowel_x(in, DOWEL_REF_LOGP))
        return;
    host->metric(host, "objective/kl", DOWEL_MEAN, m->kl[o->kl_estimator] / m->n, m->n);
    host->metric(host, "objective/kl_k1", DOWEL_MEAN, m->kl[KL_K1] / m->n, m->n);
    host->metric(host, "objective/kl_k2", DOWEL_MEAN, m->kl[KL_K2] / m->n, m->n);
    host->metric(host, "objective/kl_k3", DOWEL_MEAN, m->kl[KL_K3] / m->n, m->n);
    host->metric(host, "objective/kl_coef", DOWEL_MEAN, shaping_kl(o, st), 1);
    host->metric(host, "objective/non_score_reward", DOWEL_MEAN, m->non_score / m->n, m->n);
    host->metric(host, "objective/rlhf_reward", DOWEL_MEAN, (m->score + m->non_score) / m->n, m->n);
}

/* The rewards of all tokens: spans, scores at the last token, divergence. An answer that nothing
 * has an opinion on is dropped. */
static inline void stream_rewards(const struct shaping *o, const struct shaping_state *st,
                                  const dowel_batch *in, dowel_credit *out, const double *score,
                                  double *r, struct stream_sums *m)
{
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (in->role && in->role[s] != DOWEL_TRAINED)
            continue;
        uint32_t spans = stream_spans(in, s, 0, r);
        if (isnan(score[s]) && spans == 0)
            out->keep[s] = 0;
        if (!shaping_uses(in, out, s))
            continue;
        stream_count(o, in, s, m);
        stream_kl(o, in, s, shaping_kl(o, st), r, m);
        r[stream_last(in, s)] += isnan(score[s]) ? 0 : score[s];
    }
}

/* g[t] = r[t] + gamma g[next trained token] */
static inline void stream_returns(const dowel_batch *in, uint32_t s, double gamma, const double *r,
                                  double *g)
{
    double next = 0;
    for (uint32_t t = in->start[s + 1]; t-- > in->start[s];)
        if (in->mask[t])
            g[t] = next = r[t] + gamma * next;
}

/* Generalised advantages of s for head `head` of v and ret, each n_tok * width; ret may be NULL. */
struct gae_stream {
    const double *r, *v;
    double *advantage, *ret;
    uint32_t width, head;
};
static inline void stream_gae(const dowel_batch *in, uint32_t s, double gamma, double lambda,
                              const struct gae_stream *k)
{
    double next_v = 0, next_a = 0;
    for (uint32_t t = in->start[s + 1]; t-- > in->start[s];) {
        if (!in->mask[t])
            continue;
        size_t at = (size_t)t * k->width + k->head;
        next_a = k->r[t] + gamma * next_v - k->v[at] + gamma * lambda * next_a;
        next_v = k->v[at];
        k->advantage[t] = next_a;
        if (k->ret)
            k->ret[at] = next_a + next_v;
    }
}

/* The trained tokens that are kept, one after the other; at has room for n_tok. */
static inline size_t stream_tokens(const dowel_batch *in, const dowel_credit *out, uint32_t *at)
{
    size_t n = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        const bool used = shaping_uses(in, out, s);
        for (uint32_t t = in->start[s]; used && t < in->start[s + 1]; t++)
            if (in->mask[t])
                at[n++] = t;
    }
    return n;
}

/* Standardises x over the trained tokens that are kept: by n - 1, or by n if `population`. One
 * token alone becomes 0. `centre` false leaves the mean where it is. */
static inline void stream_whiten(const dowel_batch *in, const dowel_credit *out, double *x,
                                 bool population, bool centre)
{
    const dowel_host *host = in->host;
    uint32_t *at = host->scratch(host, (in->n_tok + 1) * sizeof *at);
    const size_t n = stream_tokens(in, out, at);
    double sum = 0, sq = 0, dof = (double)n - (population ? 0 : 1);
    if (n == 0)
        return;
    const double first = x[at[0]]; /* equal values give a deviation of exactly 0 */
    for (size_t k = 0; k < n; k++)
        sum += x[at[k]] - first;
    const double mean = first + sum / (double)n;
    for (size_t k = 0; k < n; k++)
        sq += (x[at[k]] - mean) * (x[at[k]] - mean);
    const double scale = dof > 0 ? 1 / sqrt(sq / dof + 1e-8) : 0;
    for (size_t k = 0; k < n; k++)
        x[at[k]] = (x[at[k]] - mean) * scale + (centre ? 0 : mean);
}

#endif
