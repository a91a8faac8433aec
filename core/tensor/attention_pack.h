/* Packing of attention tiles into the panels that kernels->product reads. Private to attention. */
#ifndef DW_TENSOR_ATTENTION_PACK_H
#define DW_TENSOR_ATTENTION_PACK_H

#include <stddef.h>

#include "tensor/kernels.h"
#include "tensor/real.h"

static inline size_t dw_panel_ceil(size_t n)
{
    return (n + DW_PANEL - 1) / DW_PANEL * DW_PANEL;
}

/* Panels for products by the transpose: the n rows become outputs, their k elements the inner
 * index. dst[panels][k][16]; the last panel is padded with zeros. */
void dw_attention_pack_transposed(const dw_real *const *row, size_t n, size_t k, dw_real *dst);
/* Panels for products by the matrix itself: the n rows are the inner index, their n_out elements
 * the outputs. dst[panels][n][16]; the last panel is padded with zeros. */
void dw_attention_pack_straight(const dw_real *const *row, size_t n, size_t n_out, dw_real *dst);
/* dst[n][m] = src[m][n]^T; both are row-major, ld in elements. */
void dw_attention_transpose(const dw_real *src, size_t ld_src, size_t m, size_t n, dw_real *dst,
                            size_t ld_dst);

#endif
