/* Calls OpenBLAS, one thread a call, and checks that it is a build that bears it. */
#include "tensor/gemm.h"

#include <cblas.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUILD_SERIAL = 0, BUILD_PTHREAD = 1, BUILD_OPENMP = 2 };

static blasint dim(size_t n)
{
    dw_assert(n <= INT_MAX);
    return (blasint)n;
}

void dw_gemm(size_t m, size_t n, size_t k, dw_real alpha, dw_mat a, dw_mat b, dw_real beta,
             dw_real *c, size_t ldc)
{
#ifdef DW_DOUBLE
    cblas_dgemm
#else
    cblas_sgemm
#endif
        (CblasRowMajor, a.t ? CblasTrans : CblasNoTrans, b.t ? CblasTrans : CblasNoTrans, dim(m),
         dim(n), dim(k), alpha, a.p, dim(a.ld), b.p, dim(b.ld), beta, c, dim(ldc));
}

dw_status dw_gemm_init(dw_err *err)
{
    int build = openblas_get_parallel();
    if (build == BUILD_SERIAL)
        return dw_fail(err, DW_E_USAGE,
                       "OpenBLAS is the serial build, which gives wrong products when two threads "
                       "call it; install the pthread build (Debian: libopenblas0-pthread)");
    const char *omp = getenv("OMP_NUM_THREADS");
    if (build == BUILD_OPENMP && (omp == NULL || strcmp(omp, "1") != 0))
        return dw_fail(err, DW_E_USAGE,
                       "OpenBLAS is the OpenMP build and would start threads of its own; install "
                       "the pthread build (Debian: libopenblas0-pthread) or set OMP_NUM_THREADS=1");
    openblas_set_num_threads(1);
    return DW_OK;
}

void dw_gemm_describe(char *out, size_t n)
{
    static const char *const build[] = {"serial", "pthread", "OpenMP"};
    /* "OpenBLAS 0.3.21 NO_AFFINITY ...": the version is the second word. */
    char version[32] = "?";
    (void)sscanf(openblas_get_config(), "%*s %31s", version);
    int b = openblas_get_parallel();
    (void)snprintf(out, n, "OpenBLAS %s %s %s", version, openblas_get_corename(),
                   b >= 0 && b <= 2 ? build[b] : "?");
}
