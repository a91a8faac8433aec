/* Functions that many objectives share, in the forms that neither overflow nor cancel. */
#ifndef DOWEL_PLUGINS_PRIMITIVES_H
#define DOWEL_PLUGINS_PRIMITIVES_H

#include <math.h>

/* log(1 + exp(x)); minus this at -x is log(sigmoid(x)) */
static inline double softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

static inline double sigmoid(double x)
{
    double e = exp(-fabs(x));
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

/* exp(-d) - 1 + d, which is d^2 / 2 near 0 where the plain form gives 0 */
static inline double k3(double d)
{
    return expm1(-d) + d;
}

/* log(1 - exp(a)) for a < 0 */
static inline double log1mexp(double a)
{
    return a > -0.6931471805599453 ? log(-expm1(a)) : log1p(-exp(a));
}

#endif
