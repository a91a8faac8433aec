/* What a probability ratio and an advantage make of one policy loss and of its derivative with
 * respect to the log-probability. */
#ifndef DOWEL_PLUGINS_POLICY_TERMS_H
#define DOWEL_PLUGINS_POLICY_TERMS_H

#include <dowel/plugin.h>
#include <math.h>

#include "primitives.h"

enum { NORM_TOKEN = 0, NORM_SEQUENCE = 1, NORM_CONSTANT = 2, NORM_SUM = 3 };

/* Weight of one token of sequence s, n of its tokens counted, before its row's weight. */
static inline double normalizer_of(int64_t kind, const dowel_batch *in, double n)
{
    if (kind == NORM_TOKEN)
        return 1 / in->step_toks;
    if (kind == NORM_SEQUENCE)
        return 1 / (in->step_seqs * fmax(n, 1));
    if (kind == NORM_CONSTANT)
        return 1 / (in->step_seqs * fmax(in->max_tok, 1));
    return 1 / in->step_seqs;
}

/* Value and derivative with respect to a log-probability (or to a mean or sum of them). */
struct term {
    double value, slope;
};

enum { FORM_CLIP = 0, FORM_CISPO, FORM_SAPO, FORM_GMPO, FORM_VESPO, FORM_PLAIN };
enum {
    RATIO_TOKEN = 0,      /* exp(l - lold) */
    RATIO_MEAN = 1,       /* exp(mean of l - lold): one number for a sequence */
    RATIO_MEAN_TOKEN = 2, /* its value, the derivative through the token alone */
    RATIO_SUM = 3,        /* exp(sum of l - lold) */
};

struct policy_rule {
    int form, ratio;
    int64_t normalizer;
    double low, high;        /* clip to 1 - low .. 1 + high; GMPO: log ratio to -low .. high */
    double cap;              /* of the ratio where the advantage is negative; INFINITY: none */
    double e_max;            /* CISPO */
    double tau_pos, tau_neg; /* SAPO */
    double k_pos, lambda_pos, k_neg, lambda_neg; /* VESPO */
};

/* What one batch adds to the metrics. An item is a token, or a sequence where that has one ratio.
 */
struct policy_sums {
    double items, low, high, low_min, high_max;
    double phi, sequences;
};

/* Products of two of these stay finite. */
static inline double ratio_of(double log_ratio)
{
    return exp(fmin(log_ratio, 300));
}

/* -min(rho a, clip(rho) a); the explicit rule for where it is flat leaves no tie to share out. */
static inline struct term clip_term(const struct policy_rule *r, double ratio, double a)
{
    double lo = 1 - r->low, hi = 1 + r->high;
    if (a > 0)
        return (struct term){-fmin(ratio, hi) * a, ratio > hi ? 0 : -a * ratio};
    double used = fmin(fmax(ratio, lo), r->cap);
    return (struct term){-used * a, ratio < lo || ratio > r->cap ? 0 : -a * ratio};
}

/* Smooth in place of clipped: slope -a rho at rho = 1, falling off to both sides. */
static inline struct term sapo_term(const struct policy_rule *r, double ratio, double a)
{
    double tau = a > 0 ? r->tau_pos : r->tau_neg, x = tau * (ratio - 1);
    double s = sigmoid(x), flat = s * sigmoid(-x);
    return (struct term){-a * 4 / tau * s, -4 * a * flat * ratio};
}

static inline struct term token_term(const struct policy_rule *r, double l, double ratio, double a)
{
    if (r->form == FORM_PLAIN)
        return (struct term){-a * l, -a};
    if (r->form == FORM_CISPO) {
        double c = fmin(ratio, r->e_max) * a;
        return (struct term){-c * l, -c};
    }
    return r->form == FORM_SAPO ? sapo_term(r, ratio, a) : clip_term(r, ratio, a);
}

/* Whether this token, or sequence, lies in the flat part, below or above. */
static inline void count_clipped(const struct policy_rule *r, double ratio, double a,
                                 struct policy_sums *one)
{
    one->items += 1;
    if (r->form == FORM_CISPO)
        one->high += a > 0 && ratio > r->e_max;
    else {
        one->low += a < 0 && ratio < 1 - r->low;
        one->high += a > 0 && ratio > 1 + r->high;
    }
}

/* Gamma-shaped weight of a whole sequence: 1 on fresh samples, small where log W is far from 0. */
static inline double vespo_phi(const struct policy_rule *r, double log_w, double a)
{
    double k = a >= 0 ? r->k_pos : r->k_neg, lambda = a >= 0 ? r->lambda_pos : r->lambda_neg;
    double w = fmin(fmax(log_w, log(1e-8)), 20);
    return exp(lambda + k * w - lambda * exp(w));
}

#endif
