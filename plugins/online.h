/* Scored answers of a rollout, prompt after prompt, for estimators that compare them two by two. */
#ifndef DOWEL_PLUGINS_ONLINE_H
#define DOWEL_PLUGINS_ONLINE_H

#include <dowel/plugin.h>
#include <math.h>
#include <stdlib.h>

struct scored_answer {
    int32_t group;
    uint32_t seq;
    uint8_t role;
    double score;
};

/* By prompt, then the policy's own before the others, then in the order sampled. */
static inline int scored_order(const void *a, const void *b)
{
    const struct scored_answer *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->role != y->role)
        return x->role < y->role ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* The total reward, less `penalty` where the answer did not come to its end; NaN: unscored. */
static inline double online_score(const dowel_batch *in, uint32_t s, double penalty)
{
    const dowel_column *reward = &in->col[DOWEL_REWARD];
    return reward->x[(size_t)s * reward->width] - (in->stop[s] == DOWEL_STOP_EOS ? 0 : penalty);
}

/* The scored answers of the policy and the other sampler (role TRAINED and OTHER), in scratch
 * memory. Every sequence is marked as not trained; the caller takes back those it uses. */
static inline dowel_status online_collect(const dowel_batch *in, dowel_credit *out, double penalty,
                                          struct scored_answer **list, uint32_t *n, dowel_err *err)
{
    *n = 0;
    *list = in->host->scratch(in->host, (in->n_seq + 1) * sizeof **list);
    if (in->n_seq > 0 && !dowel_x(in, DOWEL_REWARD))
        return dowel_fail(err, DOWEL_E_ARG, "the rollout has no rewards; name at least one");
    for (uint32_t s = 0; s < in->n_seq; s++) {
        out->keep[s] = 0;
        if (in->role[s] != DOWEL_TRAINED && in->role[s] != DOWEL_OTHER)
            continue;
        double score = online_score(in, s, penalty);
        if (!isnan(score))
            (*list)[(*n)++] = (struct scored_answer){in->group[s], s, in->role[s], score};
    }
    qsort(*list, *n, sizeof **list, scored_order);
    return DOWEL_OK;
}

/* One prompt's answers: those of the policy and, behind them, the others. */
struct scored_group {
    const struct scored_answer *own, *other;
    uint32_t n_own, n_other;
};

/* The group that begins at *at, which moves behind it; false at the end. */
static inline bool online_next(const struct scored_answer *list, uint32_t n, uint32_t *at,
                               struct scored_group *g)
{
    uint32_t first = *at, k = first;
    if (first >= n)
        return false;
    while (k < n && list[k].group == list[first].group && list[k].role == DOWEL_TRAINED)
        k++;
    g->own = list + first;
    g->n_own = k - first;
    g->other = list + k;
    while (k < n && list[k].group == list[first].group)
        k++;
    g->n_other = k - first - g->n_own;
    *at = k;
    return true;
}

/* Makes a pair of the two, the first the wanted one, and trains both. */
static inline void online_pair(dowel_credit *out, uint32_t wanted, uint32_t unwanted)
{
    out->mate[wanted] = (int32_t)unwanted;
    out->mate[unwanted] = (int32_t)wanted;
    out->label[wanted] = 1;
    out->label[unwanted] = -1;
    out->keep[wanted] = out->keep[unwanted] = 1;
}

/* Share of the answers of one role that came to their end. */
static inline void report_eos(const dowel_batch *in, const char *name, uint8_t role)
{
    double eos = 0, n = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        if (in->role[s] != role)
            continue;
        eos += in->stop[s] == DOWEL_STOP_EOS;
        n += 1;
    }
    if (n > 0)
        in->host->metric(in->host, name, DOWEL_MEAN, eos / n, n);
}

#endif
