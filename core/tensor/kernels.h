/* The table of inner loops, one per instruction set; chosen when the program starts. Private to
 * tensor/. Every kernel file (kernel_plain.c, kernel_avx2.c, kernel_avx512.c) is a static library
 * compiled with its own flags and fills one table. */
#ifndef DW_TENSOR_KERNELS_H
#define DW_TENSOR_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor/exec.h"

enum { DW_PANEL = 16 }; /* outputs per packed panel */

/* One AdamW step: g' = grad_scale g; w *= keep; m += beta1_rest (g' - m);
 * v = beta2 v + beta2_rest g'^2; w -= step m / (sqrt(v) root + eps). */
typedef struct dw_adamw_terms {
    dw_real keep, beta1_rest, beta2, beta2_rest, step, root, eps, grad_scale;
} dw_adamw_terms;

enum { DW_SUMS_MAX = 384 }; /* most elements of one softmax_sums */

/* z becomes constant - p (factor + slope ln p), with p = exp(z * scale - lse); lse comes in two
 * parts, because as one real it would shift every ln p of a row alike. */
typedef struct dw_softmax_terms {
    dw_real scale, lse_hi, lse_lo, constant, factor, slope;
} dw_softmax_terms;

struct dw_kernels {
    const char *name;
    bool (*supported)(void);
    /* C[rows][n_out] = (accumulate ? C : 0) + A[rows][k] P, P packed: panel p (outputs 16p ..)
     * holds for each k the 16 consecutive outputs; the last panel is zero-padded, and only n_out
     * columns are stored. One accumulator per output, k in order, starting from C (or 0): the bits
     * of a row do not depend on rows, on n_out, or on how the caller cuts tiles. Single-threaded;
     * any rows and k >= 1; C may not overlap A. Used for linear layers, the head and attention
     * tiles. */
    void (*product)(const dw_real *a, size_t lda, size_t rows, size_t k, const dw_real *panels,
                    size_t n_out, dw_real *c, size_t ldc, bool accumulate);
    /* The same with panels of bf16, bit for bit what product gives on the widened panels. */
    void (*product_bf16)(const dw_real *a, size_t lda, size_t rows, size_t k,
                         const uint16_t *panels, size_t n_out, dw_real *c, size_t ldc,
                         bool accumulate);
    /* out[i] = in[i], bf16; n is a multiple of 16. */
    void (*widen)(const uint16_t *in, dw_real *out, size_t n);
    /* out[i] = exp(in[i]); in may be -inf (gives 0); in == out allowed; element results do not
     * depend on the position in the array. */
    void (*vexp)(const dw_real *in, dw_real *out, size_t n);
    /* Maximum; -inf when n is 0. */
    dw_real (*vmax)(const dw_real *in, size_t n);
    /* y[i] += a * x[i] ; sum of x*y in a fixed order */
    void (*axpy)(dw_real a, const dw_real *x, dw_real *y, size_t n);
    dw_real (*dot)(const dw_real *x, const dw_real *y, size_t n);
    /* out[i] = 1 / (1 + exp(-in[i])), under the terms of vexp. */
    void (*vsigmoid)(const dw_real *in, dw_real *out, size_t n);
    void (*adamw)(const dw_adamw_terms *t, dw_real *w, const dw_real *g, dw_real *m, dw_real *v,
                  size_t n);
    /* Rows of attention and the head, in kernel_rows.h. Results depend on the n elements alone.
     * s *= scale; the maximum of the result. */
    dw_real (*scale_max)(dw_real *s, dw_real scale, size_t n);
    /* s = exp(s - shift); their sum. n is a multiple of 16; zeros at the end do not change it. */
    dw_real (*exp_sum)(dw_real *s, dw_real shift, size_t n);
    /* s = exp(s * scale - minus) */
    void (*exp_minus)(dw_real *s, dw_real scale, const dw_real *minus, size_t n);
    /* ds = p (ds - inner) scale */
    void (*score_grad)(const dw_real *p, const dw_real *inner, dw_real scale, dw_real *ds,
                       size_t n);
    /* Of x = z * scale, returning m = max x; out: the sums of exp(x - m), (x - m) exp(x - m),
     * exp(2 (x - m)) and z, in double. 0 < n <= DW_SUMS_MAX. */
    dw_real (*softmax_sums)(const dw_real *z, dw_real scale, size_t n, double out[4]);
    void (*softmax_grad)(const dw_softmax_terms *t, dw_real *z, size_t n);
    /* z = exp(x) with x = z * scale - max; times = x exp(x) unless NULL. */
    void (*softmax_weights)(dw_real scale, dw_real max, dw_real *z, dw_real *times, size_t n);
};

extern const struct dw_kernels dw_kernels_plain;
#ifndef DW_DOUBLE
extern const struct dw_kernels dw_kernels_avx2;   /* built on x86-64 only */
extern const struct dw_kernels dw_kernels_avx512; /* built on x86-64 only */
#endif

#endif
