/* Ranked lists of answers to one prompt: finding them in a batch, and the losses of their order. */
#ifndef DOWEL_PLUGINS_LISTS_H
#define DOWEL_PLUGINS_LISTS_H

#include <dowel/plugin.h>
#include <math.h>
#include <stdlib.h>

struct member {
    int32_t group;
    uint32_t seq;
    double rank, score, d;
};

static inline int member_order(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* A number of the row, or what it is when the row has none. */
static inline double given(const dowel_batch *in, uint32_t column, uint32_t s, double otherwise)
{
    const double *x = dowel_x(in, column);
    return x && !isnan(x[s]) ? x[s] : otherwise;
}

/* A pair is a list of two. */
static inline double rank_of(const dowel_batch *in, uint32_t s)
{
    double label = given(in, DOWEL_LABEL, s, 0);
    return given(in, DOWEL_RANK, s, label > 0 ? 1 : label < 0 ? 2 : NAN);
}

/* The ranked answers that count, list after list, the best first. */
static inline uint32_t lists_collect(const dowel_batch *in,
                                     bool (*counts)(const dowel_batch *, uint32_t),
                                     struct member *m)
{
    uint32_t n = 0;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double rank = rank_of(in, s);
        if (counts(in, s) && !isnan(rank))
            m[n++] = (struct member){in->group[s], s, rank, 0, 0};
    }
    qsort(m, n, sizeof *m, member_order);
    return n;
}

/* How many of m[0..n-1] are in the first one's list. */
static inline uint32_t list_length(const struct member *m, uint32_t n)
{
    uint32_t k = 1;
    while (k < n && m[k].group == m[0].group)
        k++;
    return k;
}

/* A list of equals says nothing. */
static inline bool list_tells(const struct member *m, uint32_t n)
{
    return m[0].rank < m[n - 1].rank;
}

/* -log of the probability that member k is chosen among itself and m[from..n-1]. */
static inline double list_choice(struct member *m, uint32_t k, uint32_t from, uint32_t n,
                                 double share)
{
    double top = m[k].score, sum = 0;
    for (uint32_t j = from; j < n; j++)
        top = fmax(top, m[j].score);
    for (uint32_t j = from; j < n; j++)
        sum += j == k ? 0 : exp(m[j].score - top);
    sum += exp(m[k].score - top);
    for (uint32_t j = from; j < n; j++)
        m[j].d += j == k ? 0 : share * exp(m[j].score - top) / sum;
    m[k].d += share * (exp(m[k].score - top) / sum - 1);
    return share * (log(sum) + top - m[k].score);
}

/* Each answer against those ranked below it; ties do not compete. */
static inline double plackett_luce(struct member *m, uint32_t n)
{
    double value = 0;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t below = k + 1;
        while (below < n && m[below].rank == m[k].rank)
            below++;
        value += list_choice(m, k, below, n, 1);
    }
    return value;
}

/* The best against all; several that are best share the target. */
static inline double pick_best(struct member *m, uint32_t n)
{
    uint32_t best = 1;
    double value = 0;
    while (best < n && m[best].rank == m[0].rank)
        best++;
    for (uint32_t k = 0; k < best; k++)
        value += list_choice(m, k, 0, n, 1.0 / best);
    return value;
}

#endif
