/* Linear layers. Y[rows][n_out] = X[rows][k] W[n_out][k]^T + bias.
 *
 * Forward products run in our own packed kernel: one accumulator per output, k in order, in every
 * tile variant, so that a row's bits depend on no other row and on no tile shape. Backward products
 * of matrices that are kept row by row run in single-threaded OpenBLAS on tiles that depend on the
 * shape alone. All matrices are row-major; ld* is the distance between rows in elements.
 *
 * A matrix that trains is kept twice, row by row (it is updated there) and packed. A frozen one is
 * kept packed alone: what else reads it (the product with dY, single rows, sums of columns) reads
 * the panels. */
#ifndef DW_TENSOR_LINEAR_H
#define DW_TENSOR_LINEAR_H

#include <stdbool.h>
#include <stddef.h>

#include "tensor/exec.h"

typedef enum dw_panel_type {
    DW_PANEL_REAL = 0,
    DW_PANEL_BF16, /* half the memory; computes what DW_PANEL_REAL does on the same values */
} dw_panel_type;

/* A weight matrix packed in panels of 16 outputs: panel p holds k groups of 16 consecutive outputs;
 * the last panel is padded with zeros. Memory belongs to the caller (64-byte aligned). */
typedef struct dw_panels {
    void *data;
    size_t n_out, k;
    dw_panel_type type;
    const dw_real *rows; /* the same matrix [n_out][k] row by row, or NULL: packed alone */
} dw_panels;

size_t dw_panels_bytes(size_t n_out, size_t k, dw_panel_type type);
/* Packs w[n_out][k] into p->data. */
void dw_panels_pack(const dw_exec *x, const dw_panels *p, const dw_real *w, size_t ldw);
/* Packs one panel from its rows, as many as n_out leaves it. From any thread. */
void dw_panels_put(const dw_panels *p, size_t panel, const dw_real *w, size_t ldw);
/* Columns c .. c + n of a row of the matrix. */
void dw_panels_row(const dw_panels *p, size_t row, size_t c, size_t n, dw_real *out);
/* sum[k] += rows of the matrix */
void dw_panels_sum(const dw_exec *x, const dw_panels *p, dw_real *sum);

/* bias [n_out] or NULL; accumulate: Y += (bias must be NULL then). */
void dw_linear_forward(const dw_exec *x, const dw_real *in, size_t ld_in, size_t rows,
                       const dw_panels *w, const dw_real *bias, dw_real *out, size_t ld_out,
                       bool accumulate);
/* dX[rows][k] (+)= dY[rows][n_out] W[n_out][k] */
void dw_linear_backward_input(const dw_exec *x, const dw_real *d_out, size_t ld_out, size_t rows,
                              const dw_real *w, size_t ldw, size_t n_out, size_t k, dw_real *d_in,
                              size_t ld_in, bool accumulate);
/* The same with the rows out0 .. out0 + n_out of a packed matrix (out0 a multiple of 16): by
 * OpenBLAS where it is kept row by row too, else from the panels. */
void dw_panels_backward_input(const dw_exec *x, const dw_real *d_out, size_t ld_out, size_t rows,
                              const dw_panels *w, size_t out0, size_t n_out, dw_real *d_in,
                              size_t ld_in, bool accumulate);
/* dW[n_out][k] += scale * dY[rows][n_out]^T X[rows][k] */
void dw_linear_backward_weight(const dw_exec *x, const dw_real *d_out, size_t ld_out,
                               const dw_real *in, size_t ld_in, size_t rows, size_t n_out, size_t k,
                               dw_real scale, dw_real *d_w, size_t ldw);
/* db[n] += column sums of dY */
void dw_linear_backward_bias(const dw_exec *x, const dw_real *d_out, size_t ld_out, size_t rows,
                             size_t n, dw_real *d_b);

#endif
