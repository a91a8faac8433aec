/* The one door to the BLAS: single-threaded products for the backward pass. Private to tensor/. */
#ifndef DW_TENSOR_GEMM_H
#define DW_TENSOR_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "tensor/real.h"

/* A row-major matrix, read as its transpose where `t`. */
typedef struct dw_mat {
    const dw_real *p;
    size_t ld;
    bool t;
} dw_mat;

/* C[m][n] = alpha A[m][k] B[k][n] + beta C, on the calling thread. */
void dw_gemm(size_t m, size_t n, size_t k, dw_real alpha, dw_mat a, dw_mat b, dw_real beta,
             dw_real *c, size_t ldc);
/* Refuses a BLAS that may not be called from several threads and sets it to one thread. */
dw_status dw_gemm_init(dw_err *err);
/* "OpenBLAS 0.3.21 Zen pthread" */
void dw_gemm_describe(char *out, size_t n);

#endif
