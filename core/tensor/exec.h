/* What an operator runs on: a pool and a set of kernels. */
#ifndef DW_TENSOR_EXEC_H
#define DW_TENSOR_EXEC_H

#include <stddef.h>

#include "base/err.h"
#include "tensor/pool.h"
#include "tensor/real.h"

typedef struct dw_kernels dw_kernels; /* tensor/kernels.h, private to tensor/ */

typedef struct dw_exec {
    dw_pool *pool;
    const dw_kernels *kernels;
} dw_exec;

/* kernel: "auto" or NULL, "plain", "avx2", "avx512"; refused when this CPU or build lacks it.
 * Also checks the BLAS once (refuses a serial OpenBLAS) and sets it to one thread. */
dw_status dw_exec_init(dw_exec *x, int n_threads, const char *kernel, dw_err *err);
void dw_exec_finish(dw_exec *x);
const char *dw_exec_kernel(const dw_exec *x);  /* "avx2" */
void dw_exec_describe(char *out, size_t n);    /* "OpenBLAS 0.3.21 Zen pthread" */
const char *const *dw_exec_kernel_names(void); /* those this CPU can run, NULL-terminated */

/* Page-aligned memory for tensors: mmap with huge pages, touched at once, zeroed. NULL when there
 * is none. */
void *dw_tensor_map(size_t bytes);
/* The same, not touched: pages come when they are written. */
void *dw_tensor_reserve(size_t bytes);
void dw_tensor_unmap(void *p, size_t bytes);

#endif
