/* Shapes of preference losses: functions of one margin, with their derivatives. */
#ifndef DOWEL_PLUGINS_PAIR_LOSSES_H
#define DOWEL_PLUGINS_PAIR_LOSSES_H

#include "primitives.h"

struct curve {
    double value, slope;
};

/* -(1-e) log sigma(h) - e log sigma(-h): a share e of the labels is the wrong way round */
static inline struct curve logistic(double h, double e)
{
    return (struct curve){(1 - e) * softplus(-h) + e * softplus(h),
                          e * sigmoid(h) - (1 - e) * sigmoid(-h)};
}

/* The unbiased form of the same, e < 1/2; unbounded below */
static inline struct curve robust_logistic(double h, double e)
{
    double z = 1 - 2 * e;
    return (struct curve){((1 - e) * softplus(-h) - e * softplus(h)) / z,
                          (-(1 - e) * sigmoid(-h) - e * sigmoid(h)) / z};
}

/* max(0, edge - h) */
static inline struct curve hinge(double h, double edge)
{
    return h < edge ? (struct curve){edge - h, -1} : (struct curve){0, 0};
}

static inline struct curve squared(double x)
{
    return (struct curve){x * x, 2 * x};
}

/* KL of (sigma(h), sigma(-h)) from (1-e, e), e > 0 */
static inline struct curve exo(double h, double e)
{
    double q = sigmoid(h), r = sigmoid(-h);
    return (struct curve){q * (-softplus(-h) - log1p(-e)) + r * (-softplus(h) - log(e)),
                          q * r * (h - log1p(-e) + log(e))};
}

/* (1-q)(-log sigma(h)) + q exp(-h) with q = sigma(h / tau); e is q exp(-h) without overflow */
static inline struct curve discopop(double h, double tau)
{
    double q = sigmoid(h / tau), keep = sigmoid(-h / tau);
    double e = exp(-softplus(-h / tau) - h), soft = softplus(-h);
    return (struct curve){keep * soft + e, -keep * sigmoid(-h) - e + keep / tau * (e - q * soft)};
}

/* sigma(x) and its derivative */
static inline struct curve logit_curve(double x)
{
    return (struct curve){sigmoid(x), sigmoid(x) * sigmoid(-x)};
}

/* -log sigma(x) */
static inline struct curve log_loss(double x)
{
    return (struct curve){softplus(-x), -sigmoid(-x)};
}

#endif
