/* Divergence of two next-token distributions, q the other model's, p ours, both at one temperature:
 * KL(q|p), KL(p|q), or the generalised Jensen-Shannon divergence (Agarwal et al. 2306.13649)
 *     b KL(q|M) + (1 - b) KL(p|M),  M = b q + (1 - b) p
 * whose ends are those of the paper: b = 0 is KL(q|p), b = 1 is KL(p|q), though the formula goes to
 * 0 there, so that the scale jumps.
 * or the distance sum_k |p_(k) - q_(k)| of the two sorted from the likeliest token on.
 * Over the whole vocabulary; or over the k likeliest tokens of p, with all others as one more
 * outcome (tail: never above the full divergence), or renormalised without them; the sorted
 * distance is of the whole vocabulary.
 * Logits exist for a chunk of rows at a time. Sums run in double and in order; the bits of a row
 * depend on its two hidden rows alone. */
#ifndef DW_TENSOR_DIVERGENCE_H
#define DW_TENSOR_DIVERGENCE_H

#include "tensor/head.h"

enum { /* as in dowel/plugin.h */
       DW_FORWARD_KL = 1,
       DW_REVERSE_KL = 2,
       DW_JENSEN_SHANNON = 3,
       DW_SORTED_DISTANCE = 4
};

typedef struct dw_divergence_spec {
    int kind;
    double beta;        /* of DW_JENSEN_SHANNON, 0 .. 1 */
    double temperature; /* > 0 */
    uint32_t top_k;     /* 0, or at least the vocabulary: everything */
    bool tail;
} dw_divergence_spec;

/* One row: capped logits z (ours) and y. dz [vocab], unless NULL, becomes scale times the
 * derivative by our raw logits; it may be z. softcap: ours, 0 for none. list: [top_k] scratch. */
double dw_divergence_row(const dw_divergence_spec *s, const dw_real *z, const dw_real *y,
                         size_t vocab, uint32_t *list, double softcap, double scale, dw_real *dz);

/* The same for DW_SORTED_DISTANCE. */
double dw_divergence_sorted(const dw_divergence_spec *s, const dw_real *z, const dw_real *y,
                            size_t vocab, double softcap, double scale, dw_real *dz);

/* A head and the rows it is read at; a spec's temperature is not used. */
typedef struct dw_divergence_side {
    dw_head_spec h;
    const dw_real *hidden;
    size_t ld;
    const uint32_t *row; /* [n], repeats allowed; NULL: 0 .. n - 1 */
} dw_divergence_side;

typedef struct dw_divergence_call {
    dw_divergence_spec spec;
    dw_divergence_side mine, other; /* of one vocabulary */
    size_t n;
} dw_divergence_call;

/* What forward leaves for backward; one mapping, reused when large enough. Zero-initialise. */
typedef struct dw_divergence_state {
    dw_head_mode mode; /* FORWARD, RECOMPUTE, JACOBIAN (our head is frozen) */
    void *mem;
    size_t mem_bytes;
    size_t n, chunk;       /* rows in all, rows at once */
    dw_real *mine, *other; /* [chunk][d], [chunk or n][d of other]: hidden rows, gathered */
    dw_real *z, *y;        /* [chunk][vocab] */
    uint32_t *list;        /* [chunk][top_k] */
    dw_real *grad;         /* [chunk][d], RECOMPUTE */
    dw_real *u;            /* [n][d], JACOBIAN: the derivative by our hidden row */
} dw_divergence_state;
void dw_divergence_state_finish(dw_divergence_state *s);
size_t dw_divergence_state_bytes(dw_head_mode mode, size_t n, size_t vocab, size_t d,
                                 size_t d_other, uint32_t top_k);

/* out [n]. mode RECOMPUTE keeps the other's hidden rows, JACOBIAN the derivative of each row. */
dw_status dw_divergence_forward(const dw_exec *x, const dw_divergence_call *c, dw_head_mode mode,
                                double *out, dw_divergence_state *s, dw_err *err);

typedef struct dw_divergence_grad {
    const double *d_out; /* [n] */
    dw_real *d_hidden;   /* rows as mine.row; += */
    size_t ld;
    dw_real *d_w, *d_bias; /* += unless NULL; NULL in JACOBIAN */
} dw_divergence_grad;
/* c as given to forward, but other.hidden and other.row are not looked at. */
void dw_divergence_backward(const dw_exec *x, const dw_divergence_call *c,
                            const dw_divergence_grad *g, const dw_divergence_state *s);

#endif
