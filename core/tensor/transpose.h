/* Transposition of small matrices, for packing. Private to tensor/. */
#ifndef DW_TENSOR_TRANSPOSE_H
#define DW_TENSOR_TRANSPOSE_H

#include <stddef.h>

#include "tensor/real.h"

#if defined(__SSE__) && !defined(DW_DOUBLE)
#include <xmmintrin.h>
#define DW_TRANSPOSE_SSE 1
#else
#define DW_TRANSPOSE_SSE 0
#endif

static inline void dw_transpose_part(const dw_real *src, size_t ld_src, size_t rows, size_t cols,
                                     dw_real alpha, dw_real *dst, size_t ld_dst)
{
    for (size_t c = 0; c < cols; c++)
        for (size_t r = 0; r < rows; r++)
            dst[c * ld_dst + r] = alpha * src[r * ld_src + c];
}

/* dst[cols][rows] = alpha src[rows][cols]^T */
static inline void dw_transpose(const dw_real *src, size_t ld_src, size_t rows, size_t cols,
                                dw_real alpha, dw_real *dst, size_t ld_dst)
{
    size_t r = 0;
#if DW_TRANSPOSE_SSE
    const __m128 a = _mm_set1_ps(alpha);
    for (; r + 16 <= rows; r += 16) {
        size_t c = 0;
        for (; c + 4 <= cols; c += 4)
            for (size_t q = r; q < r + 16; q += 4) {
                const float *s = src + q * ld_src + c;
                float *d = dst + c * ld_dst + q;
                __m128 v0 = _mm_loadu_ps(s), v1 = _mm_loadu_ps(s + ld_src);
                __m128 v2 = _mm_loadu_ps(s + 2 * ld_src), v3 = _mm_loadu_ps(s + 3 * ld_src);
                _MM_TRANSPOSE4_PS(v0, v1, v2, v3);
                _mm_storeu_ps(d, _mm_mul_ps(a, v0));
                _mm_storeu_ps(d + ld_dst, _mm_mul_ps(a, v1));
                _mm_storeu_ps(d + 2 * ld_dst, _mm_mul_ps(a, v2));
                _mm_storeu_ps(d + 3 * ld_dst, _mm_mul_ps(a, v3));
            }
        dw_transpose_part(src + r * ld_src + c, ld_src, 16, cols - c, alpha, dst + c * ld_dst + r,
                          ld_dst);
    }
#endif
    for (; r < rows; r += 16)
        dw_transpose_part(src + r * ld_src, ld_src, rows - r < 16 ? rows - r : 16, cols, alpha,
                          dst + r, ld_dst);
}

#endif
