/* The distance of two sorted distributions, which asks for no common vocabulary order: the
 * universal logit distillation loss (Boizard et al. 2402.12030). */
#include <stdlib.h>

#include "base/alloc.h"
#include "tensor/divergence.h"

/* A token and its probability. */
typedef struct item {
    double p;
    uint32_t v;
} item;

/* Likeliest first; equals by id, so that the order is one. */
static int by_p(const void *x, const void *y)
{
    const item *a = x, *b = y;
    if (a->p != b->p)
        return a->p > b->p ? -1 : 1;
    return a->v < b->v ? -1 : a->v > b->v;
}

static void sorted(const dw_real *z, size_t vocab, double inverse, item *out)
{
    double max = -INFINITY, sum = 0;
    for (size_t v = 0; v < vocab; v++)
        max = (double)z[v] > max ? (double)z[v] : max;
    for (size_t v = 0; v < vocab; v++) {
        out[v] = (item){exp(((double)z[v] - max) * inverse), (uint32_t)v};
        sum += out[v].p;
    }
    for (size_t v = 0; v < vocab; v++)
        out[v].p /= sum;
    qsort(out, vocab, sizeof *out, by_p);
}

double dw_divergence_sorted(const dw_divergence_spec *s, const dw_real *z, const dw_real *y,
                            size_t vocab, double softcap, double scale, dw_real *dz)
{
    const double inverse = 1 / s->temperature;
    item *mine = dw_alloc(2 * vocab * sizeof *mine + 1), *other = mine + vocab;
    double value = 0, mean = 0;
    sorted(z, vocab, inverse, mine);
    sorted(y, vocab, inverse, other);
    for (size_t k = 0; k < vocab; k++) {
        double d = mine[k].p - other[k].p;
        value += fabs(d);
        mean += mine[k].p * ((d > 0) - (d < 0));
    }
    for (size_t k = 0; dz && k < vocab; k++) {
        const size_t v = mine[k].v;
        const double d = mine[k].p - other[k].p, at = (double)z[v]; /* dz may be z */
        const double slope = softcap != 0 ? 1 - at / softcap * (at / softcap) : 1;
        dz[v] = (dw_real)(mine[k].p * (((d > 0) - (d < 0)) - mean) * inverse * scale * slope);
    }
    dw_free(mine);
    return value;
}
