/* Sums over the vocabulary: one unit of a row at a time, in double, in a fixed order. */
#include "tensor/head_stats.h"

#include <string.h>

typedef dw_real real4 __attribute__((vector_size(4 * sizeof(dw_real))));
typedef double double4 __attribute__((vector_size(4 * sizeof(double))));

enum { LANES = 16 };

typedef struct lanes {
    double4 v[LANES / 4];
} lanes;

static double lanes_sum(const lanes *l)
{
    double4 s = (l->v[0] + l->v[1]) + (l->v[2] + l->v[3]);
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* t and e are padded to whole LANES with terms that add nothing. */
static void sum_exponents(const dw_real *t, const dw_real *e, size_t n, dw_head_stats *s,
                          bool square)
{
    lanes sum = {0}, dot = {0}, sq = {0};
    for (size_t i = 0; i < n; i += LANES)
        for (size_t j = 0; j < LANES / 4; j++) {
            real4 tr, er;
            memcpy(&tr, t + i + 4 * j, sizeof tr);
            memcpy(&er, e + i + 4 * j, sizeof er);
            double4 td = __builtin_convertvector(tr, double4);
            double4 ed = __builtin_convertvector(er, double4);
            sum.v[j] += ed;
            dot.v[j] += td * ed;
            if (square)
                sq.v[j] += ed * ed;
        }
    s->sum = lanes_sum(&sum);
    s->dot = lanes_sum(&dot);
    s->square = lanes_sum(&sq);
}

static double sum_logits(const dw_real *z, size_t n)
{
    lanes sum = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES / 4; j++) {
            real4 r;
            memcpy(&r, z + i + 4 * j, sizeof r);
            sum.v[j] += __builtin_convertvector(r, double4);
        }
    double rest = 0;
    for (; i < n; i++)
        rest += (double)z[i];
    return lanes_sum(&sum) + rest;
}

dw_head_stats dw_head_stats_unit(const dw_kernels *kernels, const dw_real *logits, size_t n,
                                 size_t column, dw_real inverse, dw_head_reads reads)
{
    _Alignas(64) dw_real t[DW_HEAD_UNIT], e[DW_HEAD_UNIT];
    size_t full = (n + LANES - 1) / LANES * LANES;
    dw_head_stats s = {0};
    dw_assert(n > 0 && n <= DW_HEAD_UNIT);
    for (size_t i = 0; i < n; i++)
        t[i] = logits[i] * inverse;
    dw_real max = kernels->vmax(t, n);
    if (reads.top)
        while (s.top < n && !(t[s.top] >= max))
            s.top++;
    for (size_t i = 0; i < n; i++)
        t[i] -= max;
    for (size_t i = n; i < full; i++)
        t[i] = -1000; /* exp gives 0, and 0 times this is 0 */
    kernels->vexp(t, e, full);
    s.max = (double)max;
    s.top += (uint32_t)column;
    sum_exponents(t, e, full, &s, reads.square);
    if (reads.logits)
        s.logits = sum_logits(logits, n);
    return s;
}

void dw_head_stats_merge(dw_head_stats *a, const dw_head_stats *b)
{
    if (a->sum == 0) { /* nothing yet */
        double logits = a->logits + b->logits;
        *a = *b;
        a->logits = logits;
        return;
    }
    dw_head_stats lo = b->max > a->max ? *a : *b;
    if (b->max > a->max)
        *a = *b;
    double delta = lo.max - a->max, factor = exp(delta), logits = a->logits + lo.logits;
    a->dot += (lo.dot + delta * lo.sum) * factor;
    a->sum += lo.sum * factor;
    a->square += lo.square * factor * factor;
    a->logits = logits;
}

void dw_head_product(const dw_exec *x, const dw_head_spec *h, const dw_real *hidden, size_t ld,
                     size_t rows, size_t column, size_t n, dw_real *logits, size_t ld_logits)
{
    if (h->bias != NULL)
        for (size_t r = 0; r < rows; r++)
            memcpy(logits + r * ld_logits, h->bias + column, n * sizeof *logits);
    x->kernels->product(hidden, ld, rows, h->d, (const dw_real *)h->w->data + column * h->d, n,
                        logits, ld_logits, h->bias != NULL);
    if (h->softcap != 0)
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < n; i++) {
                dw_real *z = &logits[r * ld_logits + i];
                *z = h->softcap * dw_rtanh(*z / h->softcap);
            }
}

void dw_head_row_stats(const dw_head_spec *h, const dw_exec *x, const dw_real *logits, double *lse,
                       double *entropy)
{
    dw_head_stats row = dw_head_stats_empty();
    dw_real inverse = dw_head_inverse(h);
    for (size_t b = 0; b < h->vocab; b += DW_HEAD_BLOCK) {
        dw_head_stats block = dw_head_stats_empty();
        size_t end = dw_head_min(b + DW_HEAD_BLOCK, h->vocab);
        for (size_t c = b; c < end; c += DW_HEAD_UNIT) {
            dw_head_stats unit =
                dw_head_stats_unit(x->kernels, logits + c, dw_head_min(DW_HEAD_UNIT, end - c), c,
                                   inverse, (dw_head_reads){0});
            dw_head_stats_merge(&block, &unit);
        }
        dw_head_stats_merge(&row, &block);
    }
    *lse = dw_head_stats_lse(&row);
    *entropy = dw_head_stats_entropy(&row);
}

double dw_head_row_logp(const dw_head_spec *h, const dw_real *logits, int32_t token, double lse)
{
    return (double)(logits[token] * dw_head_inverse(h)) - lse;
}
