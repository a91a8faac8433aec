/* Pairs of answers: finding them in a batch, the sums a loss is made of, the way back to the
 * tokens, and the metrics every pair objective reports. */
#ifndef DOWEL_PLUGINS_PAIRS_H
#define DOWEL_PLUGINS_PAIRS_H

#include <dowel/plugin.h>
#include <math.h>

/* One answer. logp and ratio are sums over its counted tokens; `reward` is what the plugin shows
 * as the answer's implicit reward. */
struct half {
    uint32_t seq;
    double n, logp, ratio, reward;
};

struct pair {
    struct half chosen, rejected;
    double weight; /* of its row */
    double common; /* tokens that both halves have, and the weight of the others (1: all alike) */
    double tail;
};

/* A loss of two quantities, one per half, and its derivatives with respect to them. */
struct slope {
    double value, chosen, rejected;
};

/* What pairs_survey() finds in a step. */
enum { PAIR_COUNT, PAIR_CHOSEN_TOKENS, PAIR_GOLD_TOKENS, PAIR_TOTALS };

static inline dowel_status pair_at(const dowel_batch *in, uint32_t w, struct pair *p,
                                   dowel_err *err)
{
    const double *label = dowel_x(in, DOWEL_LABEL);
    int32_t l = in->mate[w];
    if (l < 0 || (uint32_t)l >= in->n_seq || !(label[l] < 0))
        return dowel_fail(err, DOWEL_E_ARG, "sequence %u has no rejected half", w);
    double nc = dowel_seq_len(in, w), nr = dowel_seq_len(in, (uint32_t)l);
    *p = (struct pair){.chosen = {.seq = w, .n = nc},
                       .rejected = {.seq = (uint32_t)l, .n = nr},
                       .weight = dowel_x(in, DOWEL_WEIGHT)[w],
                       .common = fmin(nc, nr),
                       .tail = 1};
    return DOWEL_OK;
}

/* The pairs of a batch that have a counted token, in scratch memory. The answers' sums are not
 * filled in yet. */
static inline dowel_status pairs_find(const dowel_batch *in, struct pair **list, uint32_t *n,
                                      dowel_err *err)
{
    const double *label = dowel_x(in, DOWEL_LABEL);
    *n = 0;
    *list = in->host->scratch(in->host, (in->n_seq / 2 + 1) * sizeof **list);
    if (in->n_seq > 0 && !label)
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no labels; give it pairs");
    for (uint32_t w = 0; w < in->n_seq; w++) {
        if (!(label[w] > 0) || in->role[w] == DOWEL_GOLD)
            continue; /* a rejected half is visited through its winner */
        dowel_status st = pair_at(in, w, &(*list)[*n], err);
        if (st != DOWEL_OK)
            return st;
        *n += (*list)[*n].chosen.n + (*list)[*n].rejected.n > 0;
    }
    return DOWEL_OK;
}

/* Sum over the answer's tokens of a - b (b may be NULL), those behind the common length weighted
 * with the pair's tail. */
static inline double half_sum(const dowel_batch *in, const struct pair *p, const struct half *h,
                              const double *a, const double *b)
{
    double sum = 0, at = 0;
    for (uint32_t t = in->start[h->seq]; t < in->start[h->seq + 1]; t++) {
        if (!in->mask[t])
            continue;
        sum += (b ? a[t] - b[t] : a[t]) * (at < p->common ? 1 : p->tail);
        at += 1;
    }
    return sum;
}

/* Adds d to the derivative of the sum above, that is of every token of the answer. */
static inline void half_add(const dowel_batch *in, const struct pair *p, const struct half *h,
                            double *grad, double d)
{
    double at = 0;
    for (uint32_t t = in->start[h->seq]; t < in->start[h->seq + 1]; t++) {
        if (!in->mask[t])
            continue;
        grad[t] += d * (at < p->common ? 1 : p->tail);
        at += 1;
    }
}

/* Fills in logp and ratio, the latter token by token because the sums are large beside their
 * difference. Without a reference (NULL) the ratio is logp itself. */
static inline void pair_sums(const dowel_batch *in, struct pair *p, const double *ref)
{
    const double *logp = dowel_x(in, DOWEL_LOGP);
    struct half *both[] = {&p->chosen, &p->rejected};
    for (int k = 0; k < 2; k++) {
        both[k]->logp = half_sum(in, p, both[k], logp, NULL);
        both[k]->ratio = half_sum(in, p, both[k], logp, ref);
    }
}

/* For losses without a reference: logp becomes a mean over the tokens if so wanted, and the reward
 * is beta times it. */
static inline void pair_likelihoods(const dowel_batch *in, struct pair *p, bool mean, double beta)
{
    struct half *both[] = {&p->chosen, &p->rejected};
    pair_sums(in, p, NULL);
    for (int k = 0; k < 2; k++) {
        both[k]->logp /= mean ? fmax(both[k]->n, 1) : 1;
        both[k]->reward = beta * both[k]->logp;
    }
}

/* A mean over no token says nothing: such a pair is left out of losses of means. */
static inline bool pair_empty(const struct pair *p)
{
    return p->chosen.n == 0 || p->rejected.n == 0;
}

/* A pair's share of the mean over the step's pairs. */
static inline double pair_scale(const dowel_batch *in, const struct pair *p)
{
    return p->weight / in->total[PAIR_COUNT];
}

/* Adds scale times a loss of the two sums; returns its share of the loss. */
static inline double pair_spread(const dowel_batch *in, const struct pair *p, double scale,
                                 struct slope s)
{
    double *grad = dowel_grad(in, DOWEL_LOGP);
    half_add(in, p, &p->chosen, grad, scale * s.chosen);
    half_add(in, p, &p->rejected, grad, scale * s.rejected);
    return scale * s.value;
}

/* The same for a loss of the two averages logp / n. */
static inline double pair_spread_mean(const dowel_batch *in, const struct pair *p, double scale,
                                      struct slope s)
{
    s.chosen /= fmax(p->chosen.n, 1);
    s.rejected /= fmax(p->rejected.n, 1);
    return pair_spread(in, p, scale, s);
}

/* Minus the mean log-probability of one answer's share of `tokens` tokens, times `weight`. */
static inline double answer_nll(const dowel_batch *in, uint32_t s, double weight, double tokens)
{
    if (!(tokens > 0) || weight == 0)
        return 0;
    double scale = weight * dowel_x(in, DOWEL_WEIGHT)[s] / tokens;
    dowel_seq_add(in, s, dowel_grad(in, DOWEL_LOGP), -scale);
    return -scale * dowel_seq_sum(in, s, dowel_x(in, DOWEL_LOGP), NULL);
}

/* survey(): the pairs of the step, the tokens of its wanted answers and those of the gold ones. */
static inline dowel_status pairs_survey(void *self, const dowel_batch *in, double *sum,
                                        dowel_err *err)
{
    struct pair *list;
    uint32_t n;
    dowel_status st = pairs_find(in, &list, &n, err);
    (void)self;
    sum[PAIR_COUNT] += n;
    for (uint32_t i = 0; i < n; i++)
        sum[PAIR_CHOSEN_TOKENS] += list[i].chosen.n;
    for (uint32_t s = 0; s < in->n_seq; s++)
        if (in->role[s] == DOWEL_GOLD)
            sum[PAIR_GOLD_TOKENS] += dowel_seq_len(in, s);
    return st;
}

/* The likelihood of the gold answers. */
static inline double gold_nll(const dowel_batch *in, double weight)
{
    double loss = 0;
    for (uint32_t s = 0; s < in->n_seq; s++)
        if (in->role[s] == DOWEL_GOLD)
            loss += answer_nll(in, s, weight, in->total[PAIR_GOLD_TOKENS]);
    return loss;
}

#endif
