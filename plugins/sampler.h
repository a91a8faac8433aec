/* What the sampler says it did against what the policy would have done: a constant factor on the
 * loss, and leaving out answers the policy has moved away from. */
#ifndef DOWEL_PLUGINS_SAMPLER_H
#define DOWEL_PLUGINS_SAMPLER_H

#include <dowel/plugin.h>
#include <math.h>

enum {
    CORRECT_NONE = 0,
    CORRECT_TOKEN_TRUNCATE,
    CORRECT_TOKEN_MASK,
    CORRECT_SEQUENCE_TRUNCATE,
    CORRECT_SEQUENCE_MASK,
};
static const char *const correction_names[] = {
    "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", NULL};

struct correction {
    int64_t kind;
    double least, most; /* of the weight */
};

struct sampler_sums {
    double tokens, difference, difference_max;
    double items, weight, weight_min, weight_max;
    double dropped, sequences;
};
#define SAMPLER_SUMS                                                                               \
    {                                                                                              \
        .weight_min = INFINITY                                                                     \
    }

/* A token the sampler could not score says nothing: weight 1. */
static inline double sampler_gap(double old, double sampler)
{
    return isnan(sampler) ? 0 : old - sampler;
}

static inline double correction_weight(const struct correction *c, double log_weight)
{
    double w = exp(fmin(log_weight, 300));
    if (c->kind == CORRECT_TOKEN_TRUNCATE || c->kind == CORRECT_SEQUENCE_TRUNCATE)
        return fmin(fmax(w, c->least), c->most);
    return w < c->least || w > c->most ? 0 : w;
}

static inline void correction_count(struct sampler_sums *m, double w)
{
    m->items += 1;
    m->weight += w;
    m->weight_min = fmin(m->weight_min, w);
    m->weight_max = fmax(m->weight_max, w);
}

/* Multiplies gate by each token's weight. */
static inline void correct_sequence(const struct correction *c, const dowel_batch *in, uint32_t s,
                                    double *gate, struct sampler_sums *m)
{
    const double *old = dowel_x(in, DOWEL_OLD_LOGP), *from = dowel_x(in, DOWEL_SAMPLER_LOGP);
    bool by_token = c->kind == CORRECT_TOKEN_TRUNCATE || c->kind == CORRECT_TOKEN_MASK;
    double sum = 0, n = 0;
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++) {
        if (!in->mask[t])
            continue;
        n += 1;
        sum += sampler_gap(old[t], from[t]);
    }
    double whole = correction_weight(c, sum);
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++) {
        double gap = sampler_gap(old[t], from[t]);
        if (!in->mask[t])
            continue;
        double w = by_token ? correction_weight(c, gap) : whole;
        gate[t] *= w;
        if (by_token)
            correction_count(m, w);
        m->tokens += 1;
        m->difference += fabs(gap);
        m->difference_max = fmax(m->difference_max, fabs(gap));
    }
    if (!by_token && n > 0)
        correction_count(m, whole);
}

/* Clears gate where the advantage is negative in an answer that the policy has become much less
 * likely to give than the sampler was: on average by more than `most` nats a token. */
static inline void drop_off_policy(const dowel_batch *in, uint32_t s, double most, double *gate,
                                   struct sampler_sums *m)
{
    const double *logp = dowel_x(in, DOWEL_LOGP), *a = dowel_x(in, DOWEL_ADVANTAGE);
    const double *old = dowel_x(in, DOWEL_OLD_LOGP), *from = dowel_x(in, DOWEL_SAMPLER_LOGP);
    double sum = 0, n = 0, hit = 0;
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++) {
        if (!in->mask[t])
            continue;
        n += 1;
        if (!from)
            sum += old[t] - logp[t];
        else if (!isnan(from[t]))
            sum += from[t] - logp[t];
    }
    if (n == 0)
        return;
    for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++) {
        if (in->mask[t] && a[t] < 0 && sum / n > most) {
            gate[t] = 0;
            hit = 1;
        }
    }
    m->dropped += hit;
    m->sequences += 1;
}

static inline void sampler_report(const dowel_host *host, const struct sampler_sums *m)
{
    if (m->sequences > 0)
        host->metric(host, "off_policy_dropped", DOWEL_MEAN, m->dropped / m->sequences,
                     m->sequences);
    if (m->items == 0)
        return;
    host->metric(host, "sampling/sampling_logp_difference/mean", DOWEL_MEAN,
                 m->difference / m->tokens, m->tokens);
    host->metric(host, "sampling/sampling_logp_difference/max", DOWEL_MAX, m->difference_max, 1);
    host->metric(host, "sampling/importance_sampling_ratio/mean", DOWEL_MEAN, m->weight / m->items,
                 m->items);
    host->metric(host, "sampling/importance_sampling_ratio/min", DOWEL_MIN, m->weight_min, 1);
    host->metric(host, "sampling/importance_sampling_ratio/max", DOWEL_MAX, m->weight_max, 1);
}

#endif
