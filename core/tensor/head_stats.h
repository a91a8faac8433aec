/* Statistics of a row of logits, in parts that merge; and what the head's files share. Private to
 * the head. */
#ifndef DW_TENSOR_HEAD_STATS_H
#define DW_TENSOR_HEAD_STATS_H

#include "base/size.h"
#include "tensor/head.h"
#include "tensor/panels.h"

/* A row is read in units: sums run in fixed lanes inside one, units merge in order inside a block,
 * blocks in order. */
enum { DW_HEAD_UNIT = DW_SUMS_MAX };

/* Of x = logit / temperature over some columns, relative to their maximum. */
typedef struct dw_head_stats {
    double max;
    double sum;    /* exp(x - max) */
    double dot;    /* (x - max) exp(x - max) */
    double square; /* exp(2 (x - max)) */
    double logits; /* logits */
    uint32_t top;  /* first column of the maximum */
} dw_head_stats;

static inline dw_real dw_head_inverse(const dw_head_spec *h)
{
    return (dw_real)(1 / h->temperature);
}

/* Of no columns: the start of a merge. */
static inline dw_head_stats dw_head_stats_empty(void)
{
    return (dw_head_stats){.max = -INFINITY};
}
/* Of n <= DW_HEAD_UNIT logits, the first of which is `column`; s.top only if asked for. */
dw_head_stats dw_head_stats_unit(const dw_kernels *kernels, const dw_real *logits, size_t n,
                                 size_t column, dw_real inverse, bool top);
/* Adds columns that follow those of a. */
void dw_head_stats_merge(dw_head_stats *a, const dw_head_stats *b);

static inline double dw_head_stats_lse(const dw_head_stats *s)
{
    return s->max + log(s->sum);
}

static inline double dw_head_stats_entropy(const dw_head_stats *s)
{
    return log(s->sum) - s->dot / s->sum;
}

/* Logits of `rows` rows over n columns from `column` (a multiple of DW_PANEL): product, bias, cap.
 * The bits of a row are the same in every call. */
void dw_head_product(const dw_exec *x, const dw_head_spec *h, const dw_real *hidden, size_t ld,
                     size_t rows, size_t column, size_t n, dw_real *logits, size_t ld_logits);

/* d capped / d raw, of a capped logit. */
static inline dw_real dw_head_cap_slope(const dw_head_spec *h, dw_real logit)
{
    dw_real r = logit / h->softcap;
    return 1 - r * r;
}

/* Rows per task; a row's bits do not depend on it. */
static inline size_t dw_head_row_block(size_t rows)
{
    return rows >= 192 ? 48 : 24;
}

enum { DW_HEAD_CHUNK = 2048 }; /* rows whose block of logits is held at once */

/* Lays a mode's arrays out in s->mem, mapping or growing it. Sets s->mode, n_*, wants. */
dw_status dw_head_state_layout(dw_head_state *s, const dw_head_spec *h, size_t rows, size_t pairs,
                               dw_err *err);

/* JACOBIAN forward: statistics, u and v over rows whose hidden are gathered already. */
void dw_head_jacobian(const dw_exec *x, const dw_head_spec *h, const dw_head_pair *pair, bool top,
                      dw_head_state *s);
/* Stores the logits of targets that lie in columns column .. column + n - 1. */
void dw_head_pick(const dw_head_state *s, const dw_head_pair *pair, size_t row, size_t column,
                  size_t n, const dw_real *logits);

#endif
