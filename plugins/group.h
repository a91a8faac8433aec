/* Rewards of one prompt's answers to advantages: what the estimators that compare an answer with
 * its group share. */
#ifndef DOWEL_PLUGINS_GROUP_H
#define DOWEL_PLUGINS_GROUP_H

#include <dowel/plugin.h>
#include <math.h>
#include <stdlib.h>

enum { SCALE_GROUP = 0, SCALE_BATCH = 1, SCALE_NONE = 2 };
static const char *const scale_names[] = {"group", "batch", "none", NULL};

/* One scored answer. */
struct member {
    int32_t group;
    uint32_t seq;
    double reward;
};

static inline int by_group(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

struct moments {
    double mean, std; /* std with Bessel's correction, 0 for one member */
    int flat;         /* all rewards equal up to rounding */
};

/* Shifted by the first reward, so that equal rewards give a deviation of exactly 0. */
static inline struct moments moments_of(const struct member *m, size_t n)
{
    double lo = m[0].reward, hi = lo, sum = 0, sq = 0;
    for (size_t i = 0; i < n; i++) {
        lo = fmin(lo, m[i].reward);
        hi = fmax(hi, m[i].reward);
        sum += m[i].reward - m[0].reward;
    }
    double shift = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        double d = m[i].reward - m[0].reward - shift;
        sq += d * d;
    }
    struct moments r = {m[0].reward + shift, n > 1 ? sqrt(sq / (double)(n - 1)) : 0,
                        hi - lo <= 1e-8 * fmax(1, fabs(hi))};
    if (r.flat)
        r.std = 0;
    return r;
}

/* Every trained token of sequence s gets advantage a. */
static inline void spread(const dowel_batch *in, dowel_credit *out, uint32_t s, double a)
{
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
        if (in->mask[t])
            out->advantage[t] = a;
}

/* The scored answers, group after group. Those without a score are not trained on; answers that are
 * there for other reasons than training are passed over. */
static inline size_t collect(const dowel_batch *in, dowel_credit *out, struct member *m)
{
    const dowel_column *reward = &in->col[DOWEL_REWARD];
    size_t n = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (in->role && in->role[s] != DOWEL_TRAINED)
            continue;
        double r = reward->x[(size_t)s * reward->width];
        if (isnan(r))
            out->keep[s] = 0;
        else
            m[n++] = (struct member){in->group[s], s, r};
    }
    qsort(m, n, sizeof *m, by_group);
    return n;
}

/* Where the group that begins at m[first] ends. */
static inline size_t group_end(const struct member *m, size_t first, size_t n)
{
    size_t last = first + 1;
    while (last < n && m[last].group == m[first].group)
        last++;
    return last;
}

/* What a reward's distance from its group's mean is divided by; 0: the group says nothing. */
static inline double group_divisor(int64_t scale, double eps, double group_std, double batch_std)
{
    return scale == SCALE_NONE ? 1 : (scale == SCALE_GROUP ? group_std : batch_std) + eps;
}

/* (r - mean of the group) / (std + eps) on every trained token, and the metrics of it. */
static inline dowel_status group_estimate(int64_t scale, double eps, const dowel_batch *in,
                                          dowel_credit *out, dowel_err *err)
{
    const dowel_host *host = in->host;
    if (in->n_seq > 0 && !dowel_x(in, DOWEL_REWARD))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no rewards; name at least one");
    struct member *m = host->scratch(host, (in->n_seq + 1) * sizeof *m);
    size_t n = in->n_seq > 0 ? collect(in, out, m) : 0;
    if (n == 0)
        return DOWEL_OK;

    struct moments all = moments_of(m, n);
    double groups = 0, flat = 0;
    for (size_t first = 0, last; first < n; first = last) {
        last = group_end(m, first, n);
        struct moments g = moments_of(m + first, last - first);
        double divisor = group_divisor(scale, eps, g.std, all.std);
        groups += 1;
        flat += g.flat != 0;
        /* an answer alone, or one of equals, says nothing about its prompt */
        for (size_t i = first; i < last; i++)
            spread(in, out, m[i].seq,
                   g.flat || divisor == 0 ? 0 : (m[i].reward - g.mean) / divisor);
    }
    host->metric(host, "reward", DOWEL_MEAN, all.mean, (double)n);
    host->metric(host, "reward_std", DOWEL_MEAN, all.std, (double)n);
    host->metric(host, "frac_reward_zero_std", DOWEL_MEAN, flat / groups, groups);
    return DOWEL_OK;
}

/* As collect(), with the scores given; `score` is NaN where there is none. */
static inline size_t members_of(const dowel_batch *in, dowel_credit *out, const double *score,
                                struct member *m)
{
    size_t n = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (in->role && in->role[s] != DOWEL_TRAINED)
            continue;
        if (isnan(score[s]))
            out->keep[s] = 0;
        else
            m[n++] = (struct member){in->group[s], s, score[s]};
    }
    qsort(m, n, sizeof *m, by_group);
    return n;
}

/* The mean of the others of a group of n whose mean and own reward are given. */
static inline double others_mean(double mean, double own, size_t n)
{
    return n > 1 ? mean + (mean - own) / (double)(n - 1) : own;
}

#endif
