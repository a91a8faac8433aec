/* A head of a few outputs over chosen rows: values and scores. Sums run in double and in one order,
 * so an output's bits depend on its row alone. */
#ifndef DW_TENSOR_READOUT_H
#define DW_TENSOR_READOUT_H

#include <stddef.h>
#include <stdint.h>

#include "tensor/exec.h"

typedef struct dw_readout {
    const dw_real *w;    /* [width][d] */
    const dw_real *bias; /* [width] or NULL */
    size_t width, d;
} dw_readout;

/* out[i][c] = bias[c] + w[c] . in[row[i]]; rows in any order, repeats allowed. */
void dw_readout_forward(const dw_exec *x, const dw_readout *h, const dw_real *in, size_t ld,
                        const uint32_t *row, size_t n, double *out);
/* d_out [n][width]. d_in[row[i]] += d_out[i] w unless NULL; d_w [width][d] and d_bias [width] +=
 * unless NULL. */
void dw_readout_backward(const dw_exec *x, const dw_readout *h, const dw_real *in, size_t ld,
                         const uint32_t *row, size_t n, const double *d_out, dw_real *d_in,
                         size_t ld_d, dw_real *d_w, dw_real *d_bias);

#endif
