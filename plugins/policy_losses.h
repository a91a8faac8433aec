/* Policy losses of whole sequences: the terms of their tokens, or of one ratio they share, added up
 * with the derivatives, and the metrics of it. */
#ifndef DOWEL_PLUGINS_POLICY_LOSSES_H
#define DOWEL_PLUGINS_POLICY_LOSSES_H

#include "policy_terms.h"

/* One sequence, as the loss sees it. */
struct policy_view {
    const dowel_batch *in;
    uint32_t s;
    double n;     /* counted tokens */
    double scale; /* normaliser times row weight */
    const double *logp, *old, *a;
    const double *held; /* logp, for factors that are constants */
    const double *gate; /* n_tok: constant factor of each token's loss; NULL: 1 */
    double *grad;
};

static inline struct policy_view policy_view_of(const dowel_batch *in, uint32_t s,
                                                const struct policy_rule *r, const double *gate)
{
    double n = dowel_seq_len(in, s);
    double scale = dowel_x(in, DOWEL_WEIGHT)[s] * normalizer_of(r->normalizer, in, n);
    return (struct policy_view){.in = in,
                                .s = s,
                                .n = n,
                                .scale = scale,
                                .logp = dowel_x(in, DOWEL_LOGP),
                                .held = dowel_held(in),
                                .old = dowel_x(in, DOWEL_OLD_LOGP),
                                .a = dowel_x(in, DOWEL_ADVANTAGE),
                                .gate = gate,
                                .grad = dowel_grad(in, DOWEL_LOGP)};
}

static inline double mean_advantage(const struct policy_view *v)
{
    double first = 0, sum = 0, seen = 0;
    for (uint32_t t = v->in->start[v->s]; t < v->in->start[v->s + 1]; t++) {
        if (!v->in->mask[t])
            continue;
        first = seen > 0 ? first : v->a[t];
        seen += 1;
        sum += v->a[t] - first; /* equal ones have exactly their own mean */
    }
    return first + sum / fmax(seen, 1);
}

/* The one ratio of a sequence, or 0 for forms that have one for each token. */
static inline double sequence_ratio(const struct policy_rule *r, const struct policy_view *v)
{
    if (r->ratio == RATIO_TOKEN)
        return 0;
    bool fixed = r->ratio == RATIO_MEAN_TOKEN;
    double d = dowel_seq_sum(v->in, v->s, fixed ? v->held : v->logp, v->old);
    return ratio_of(r->ratio == RATIO_SUM ? d : d / fmax(v->n, 1));
}

static inline double gate_sum(const struct policy_view *v)
{
    return v->gate ? dowel_seq_sum(v->in, v->s, v->gate, NULL) : v->n;
}

/* One ratio for all tokens, each of which carries the sequence's loss. */
static inline double whole_loss(const struct policy_rule *r, const struct policy_view *v,
                                struct policy_sums *one)
{
    double a = mean_advantage(v), ratio = sequence_ratio(r, v);
    struct term p = clip_term(r, ratio, a);
    double each = r->ratio == RATIO_SUM ? 1 : 1 / v->n;
    double all = r->ratio == RATIO_SUM ? v->scale * gate_sum(v) / v->n : v->scale * gate_sum(v);
    count_clipped(r, ratio, a, one);
    dowel_seq_add(v->in, v->s, v->grad, all * p.slope * each);
    return all * p.value;
}

/* Geometric mean of ratios that are clipped one by one in log space. */
static inline double gmpo_loss(const struct policy_rule *r, const struct policy_view *v,
                               struct policy_sums *one)
{
    const dowel_batch *in = v->in;
    double a = mean_advantage(v), sum = 0, all = v->scale * gate_sum(v);
    for (uint32_t t = in->start[v->s]; t < in->start[v->s + 1]; t++) {
        double d = v->logp[t] - v->old[t];
        if (!in->mask[t])
            continue;
        sum += a > 0 ? fmin(d, r->high) : fmax(d, -r->low);
        one->items += 1;
        one->high += a > 0 && d > r->high;
        one->low += a < 0 && d < -r->low;
    }
    double value = -a * ratio_of(sum / v->n);
    for (uint32_t t = in->start[v->s]; t < in->start[v->s + 1]; t++) {
        double d = v->logp[t] - v->old[t];
        if (in->mask[t] && (a > 0 ? d <= r->high : d >= -r->low))
            v->grad[t] += all * value / v->n;
    }
    return all * value;
}

/* -phi A l; `shift` is added to the log of the sequence's ratio. */
static inline double vespo_loss(const struct policy_rule *r, const struct policy_view *v,
                                double shift, struct policy_sums *m)
{
    const dowel_batch *in = v->in;
    double log_w = shift, total = 0;
    for (uint32_t t = in->start[v->s]; t < in->start[v->s + 1]; t++)
        if (in->mask[t])
            log_w += fmin(fmax(v->held[t] - v->old[t], -20), 20);
    double phi = vespo_phi(r, log_w, mean_advantage(v));
    for (uint32_t t = in->start[v->s]; t < in->start[v->s + 1]; t++) {
        double c = v->scale * (v->gate ? v->gate[t] : 1) * phi * v->a[t];
        if (!in->mask[t])
            continue;
        total -= c * v->logp[t];
        v->grad[t] -= c;
    }
    m->phi += phi;
    m->sequences += 1;
    return total;
}

/* A loss for each token, from its own ratio or with the sequence's as its value. */
static inline double token_loss(const struct policy_rule *r, const struct policy_view *v,
                                struct policy_sums *one)
{
    const dowel_batch *in = v->in;
    double shared = sequence_ratio(r, v), total = 0;
    for (uint32_t t = in->start[v->s]; t < in->start[v->s + 1]; t++) {
        if (!in->mask[t])
            continue;
        double c = v->scale * (v->gate ? v->gate[t] : 1), a = v->a[t];
        double ratio = r->ratio != RATIO_TOKEN ? shared * ratio_of(v->logp[t] - v->held[t])
                       : r->form == FORM_PLAIN ? 1
                       : r->form == FORM_CISPO ? ratio_of(v->held[t] - v->old[t])
                                               : ratio_of(v->logp[t] - v->old[t]);
        struct term p = token_term(r, v->logp[t], ratio, a);
        total += c * p.value;
        v->grad[t] += c * p.slope;
        count_clipped(r, ratio, a, one);
    }
    return total;
}

/* A sequence's share of the loss; derivatives are added to v->grad. */
static inline double policy_sequence(const struct policy_rule *r, const struct policy_view *v,
                                     double vespo_shift, struct policy_sums *m)
{
    struct policy_sums one = {0};
    double total;
    if (v->n == 0)
        return 0;
    if (r->form == FORM_VESPO)
        return vespo_loss(r, v, vespo_shift, m);
    if (r->form == FORM_GMPO)
        total = gmpo_loss(r, v, &one);
    else if (r->ratio == RATIO_MEAN || r->ratio == RATIO_SUM)
        total = whole_loss(r, v, &one);
    else
        total = token_loss(r, v, &one);
    double items = one.items;
    if (r->ratio == RATIO_MEAN_TOKEN) /* the same ratio n times is one item */
        one.items = 1;
    m->items += one.items;
    m->low += one.low * one.items / items;
    m->high += one.high * one.items / items;
    m->low_min = fmin(m->low_min, one.low / items);
    m->high_max = fmax(m->high_max, one.high / items);
    return total;
}

static inline void policy_report(const struct policy_rule *r, const dowel_host *host,
                                 const struct policy_sums *m)
{
    double n = m->items;
    if (r->form == FORM_VESPO && m->sequences > 0)
        host->metric(host, "vespo/phi_seq_mean", DOWEL_MEAN, m->phi / m->sequences, m->sequences);
    if (r->form == FORM_CISPO && n > 0)
        host->metric(host, "cispo_clip_ratio", DOWEL_MEAN, m->high / n, n);
    if ((r->form != FORM_CLIP && r->form != FORM_GMPO) || n == 0)
        return;
    host->metric(host, "clip_ratio/low_mean", DOWEL_MEAN, m->low / n, n);
    host->metric(host, "clip_ratio/high_mean", DOWEL_MEAN, m->high / n, n);
    host->metric(host, "clip_ratio/region_mean", DOWEL_MEAN, (m->low + m->high) / n, n);
    host->metric(host, "clip_ratio/low_min", DOWEL_MIN, m->low_min, 1);
    host->metric(host, "clip_ratio/high_max", DOWEL_MAX, m->high_max, 1);
}

#endif
