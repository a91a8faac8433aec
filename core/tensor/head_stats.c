/* Sums over the vocabulary: one unit of a row at a time, in double, in a fixed order. */
#include "tensor/head_stats.h"

#include <string.h>

dw_head_stats dw_head_stats_unit(const dw_kernels *kernels, const dw_real *logits, size_t n,
                                 size_t column, dw_real inverse, bool top)
{
    double sums[4];
    dw_head_stats s = {0};
    dw_real max = kernels->softmax_sums(logits, inverse, n, sums);
    while (top && s.top + 1 < n && !(logits[s.top] * inverse >= max))
        s.top++;
    s.max = (double)max;
    s.sum = sums[0];
    s.dot = sums[1];
    s.square = sums[2];
    s.logits = sums[3];
    s.top += (uint32_t)column;
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
    dw_panels_product(x->kernels, h->w, column, hidden, ld, rows, n, logits, ld_logits,
                      h->bias != NULL);
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
        size_t end = dw_min_size(b + DW_HEAD_BLOCK, h->vocab);
        for (size_t c = b; c < end; c += DW_HEAD_UNIT) {
            dw_head_stats unit = dw_head_stats_unit(
                x->kernels, logits + c, dw_min_size(DW_HEAD_UNIT, end - c), c, inverse, false);
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
