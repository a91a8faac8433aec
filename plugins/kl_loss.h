/* The divergence from the reference as a part of a loss, in five forms, and the honest report of
 * it: every estimate side by side, whichever is differentiated. */
#ifndef DOWEL_PLUGINS_KL_LOSS_H
#define DOWEL_PLUGINS_KL_LOSS_H

#include "policy_losses.h"

enum { KL_K1 = 0, KL_K2 = 1, KL_K3 = 2, KL_K3_WEIGHTED = 3, KL_EXACT = 4 };
static const char *const kl_names[] = {"k1", "k2", "k3", "k3_weighted", "exact", NULL};

struct kl_rule {
    double weight; /* 0: not part of the loss */
    int64_t kind;
    bool exact_too; /* report the exact one, whatever is differentiated */
    int ratio;      /* RATIO_*, for k3_weighted */
};

struct kl_sums {
    double k1, k2, k3, exact, tokens;
};

static inline bool kl_wants_exact(const struct kl_rule *k)
{
    return k->exact_too || (k->weight > 0 && k->kind == KL_EXACT);
}

static inline void kl_ask(const struct kl_rule *k, dowel_request *ask)
{
    bool trained = k->weight > 0 && k->kind == KL_EXACT;
    if (k->weight > 0 || k->exact_too)
        ask->columns |= DOWEL_BIT(DOWEL_REF_LOGP);
    if (!kl_wants_exact(k))
        return;
    ask->columns |= DOWEL_BIT(DOWEL_DIVERGENCE);
    ask->divergence = DOWEL_REVERSE_KL;
    ask->against = DOWEL_REFERENCE;
    if (!trained)
        ask->detached |= DOWEL_BIT(DOWEL_DIVERGENCE);
}

/* One token; `ratio` has the token's own derivative. k2 has the derivative of KL(policy |
 * reference) in expectation, k3 that of the other direction unless weighted, k1 none at all. */
static inline struct term kl_term(int64_t kind, double d, double ratio)
{
    if (kind == KL_K1)
        return (struct term){d, 1};
    if (kind == KL_K2)
        return (struct term){d * d / 2, d};
    if (kind == KL_K3)
        return (struct term){k3(d), -expm1(-d)};
    return (struct term){ratio * k3(d), ratio * d};
}

static inline void kl_count(double d, const double *exact, uint32_t t, struct kl_sums *m)
{
    m->tokens += 1;
    m->k1 += d;
    m->k2 += d * d / 2;
    m->k3 += k3(d);
    m->exact += exact ? exact[t] : 0;
}

/* A sequence's share of weight * K; derivatives go to LOGP, or to DIVERGENCE where it is exact. */
static inline double kl_sequence(const struct kl_rule *k, const struct policy_view *v,
                                 struct kl_sums *m)
{
    const dowel_batch *in = v->in;
    const double *ref = dowel_x(in, DOWEL_REF_LOGP);
    const double *exact = dowel_x(in, DOWEL_DIVERGENCE);
    double *exact_grad = dowel_grad(in, DOWEL_DIVERGENCE), c = v->scale * k->weight, total = 0;
    bool weighted = k->kind == KL_K3_WEIGHTED && k->weight > 0 && v->old;
    double shared = 0, through = 0;
    const double *from = k->ratio == RATIO_MEAN_TOKEN ? v->held : v->logp;
    if (weighted && k->ratio != RATIO_TOKEN)
        shared = ratio_of(dowel_seq_sum(in, v->s, from, v->old) / fmax(v->n, 1));
    for (uint32_t t = in->start[v->s]; ref && t < in->start[v->s + 1]; t++) {
        if (!in->mask[t])
            continue;
        double d = fmax(v->logp[t] - ref[t], -300); /* products stay finite */
        kl_count(d, exact, t, m);
        if (k->weight <= 0)
            continue;
        if (k->kind == KL_EXACT) {
            total += exact ? c * exact[t] : 0;
            if (exact_grad)
                exact_grad[t] += c;
            continue;
        }
        double ratio = !weighted                 ? 1
                       : k->ratio != RATIO_TOKEN ? shared * ratio_of(v->logp[t] - from[t])
                                                 : ratio_of(v->logp[t] - v->old[t]);
        struct term one = kl_term(k->kind, d, ratio);
        total += c * one.value;
        if (weighted && k->ratio == RATIO_MEAN) { /* the ratio moves with every token */
            through += c * one.value;
            one.slope = -ratio * expm1(-d);
        }
        v->grad[t] += c * one.slope;
    }
    if (through != 0)
        dowel_seq_add(in, v->s, v->grad, through / v->n);
    return total;
}

static inline void kl_report(const struct kl_rule *k, const dowel_batch *in,
                             const struct kl_sums *m)
{
    const dowel_host *host = in->host;
    double n = m->tokens;
    if (n == 0)
        return;
    host->metric(host, "kl_k1", DOWEL_MEAN, m->k1 / n, n);
    host->metric(host, "kl_k2", DOWEL_MEAN, m->k2 / n, n);
    host->metric(host, "kl_k3", DOWEL_MEAN, m->k3 / n, n);
    if (kl_wants_exact(k) && dowel_x(in, DOWEL_DIVERGENCE))
        host->metric(host, "kl_exact", DOWEL_MEAN, m->exact / n, n);
}

#endif
