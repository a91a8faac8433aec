/* The table of inner loops, one per instruction set; chosen when the program starts. Private to
 * tensor/. Every kernel file (kernel_plain.c, kernel_avx2.c, kernel_avx512.c) is a static library
 * compiled with its own flags and fills one table. */
#ifndef DW_TENSOR_KERNELS_H
#define DW_TENSOR_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

#include "tensor/real.h"

enum { DW_PANEL = 16 }; /* outputs per packed panel */

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
    /* out[i] = exp(in[i]); in may be -inf (gives 0); in == out allowed; element results do not
     * depend on the position in the array. */
    void (*vexp)(const dw_real *in, dw_real *out, size_t n);
    /* Row maximum, and sum of exp(in - max) in a fixed order that depends on n alone. */
    dw_real (*vmax)(const dw_real *in, size_t n);
    /* y[i] += a * x[i] ; sum of x*y in a fixed order */
    void (*axpy)(dw_real a, const dw_real *x, dw_real *y, size_t n);
    dw_real (*dot)(const dw_real *x, const dw_real *y, size_t n);
    /* silu and its derivative need exp of many elements: out = x * sigmoid(x), and sig = sigmoid */
    void (*vsigmoid)(const dw_real *in, dw_real *out, size_t n);
};

extern const struct dw_kernels dw_kernels_plain;
#ifndef DW_DOUBLE
extern const struct dw_kernels dw_kernels_avx2;   /* built on x86-64 only */
extern const struct dw_kernels dw_kernels_avx512; /* built on x86-64 only */
#endif

#endif
