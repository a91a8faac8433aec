/* RMSNorm (Zhang and Sennrich 2019) and LayerNorm (Ba et al. 2016), row by row. */
#ifndef DW_TENSOR_NORM_H
#define DW_TENSOR_NORM_H

#include <stdbool.h>
#include <stddef.h>

#include "tensor/exec.h"

typedef struct dw_norm {
    bool layer;       /* subtract the mean, add bias */
    bool unit_offset; /* multiply by 1 + w (Gemma) */
    dw_real eps;
    size_t width;
    const dw_real *w; /* [width] */
    const dw_real *b; /* [width] or NULL */
} dw_norm;

/* y[rows][width]; rstd [rows] and mean [rows] (LayerNorm only) may be NULL when nothing is saved.
 * in == out is allowed. */
void dw_norm_forward(const dw_exec *x, const dw_norm *n, const dw_real *in, size_t ld_in,
                     size_t rows, dw_real *out, size_t ld_out, dw_real *rstd, dw_real *mean);
/* d_in (+)= ; d_w, d_b [width] += or NULL when frozen. Every column sum has one owner, so threads
 * do not matter. d_in may be the memory of d_out (equal ld) but not of in. */
void dw_norm_backward(const dw_exec *x, const dw_norm *n, const dw_real *in, size_t ld_in,
                      size_t rows, const dw_real *rstd, const dw_real *mean, const dw_real *d_out,
                      size_t ld_out, dw_real *d_in, size_t ld_d_in, bool accumulate, dw_real *d_w,
                      dw_real *d_b);

#endif
