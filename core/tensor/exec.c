/* Chooses the kernels for this CPU, starts the pool and maps tensor memory. */
#include "tensor/exec.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "tensor/gemm.h"
#include "tensor/kernels.h"

/* From narrow to wide. */
static const dw_kernels *const tables[] = {
    &dw_kernels_plain,
#if !defined(DW_DOUBLE) && defined(__x86_64__)
    &dw_kernels_avx2,
    &dw_kernels_avx512,
#endif
};
enum { N_TABLES = sizeof tables / sizeof tables[0] };

/* The widest that the CPU has. Zen 4 splits every 512-bit operation in two and is the worst case
 * for AVX-512: there its products were still 1.0 to 1.1 times as fast as AVX2's (bench_linear),
 * because the same work takes half the instructions. */
static const dw_kernels *best(void)
{
    const dw_kernels *k = tables[0];
    for (size_t i = 1; i < N_TABLES; i++)
        if (tables[i]->supported())
            k = tables[i];
    return k;
}

const char *const *dw_exec_kernel_names(void)
{
    static const char *names[N_TABLES + 1];
    size_t n = 0;
    for (size_t i = 0; i < N_TABLES; i++)
        if (tables[i]->supported())
            names[n++] = tables[i]->name;
    names[n] = NULL;
    return names;
}

static dw_status choose(const char *kernel, const dw_kernels **out, dw_err *err)
{
    if (kernel == NULL || strcmp(kernel, "auto") == 0) {
        *out = best();
        return DW_OK;
    }
    char have[128] = "auto";
    for (size_t i = 0; i < N_TABLES; i++) {
        bool ok = tables[i]->supported();
        if (ok && strcmp(tables[i]->name, kernel) == 0) {
            *out = tables[i];
            return DW_OK;
        }
        if (ok) {
            strncat(have, ", ", sizeof have - strlen(have) - 1);
            strncat(have, tables[i]->name, sizeof have - strlen(have) - 1);
        }
    }
    return dw_fail(err, DW_E_USAGE, "kernel '%s' is not available here; this machine can run: %s",
                   kernel, have);
}

dw_status dw_exec_init(dw_exec *x, int n_threads, const char *kernel, dw_err *err)
{
    *x = (dw_exec){0};
    DW_TRY(choose(kernel, &x->kernels, err));
    DW_TRY(dw_gemm_init(err));
    return dw_pool_create(n_threads, &x->pool, err);
}

void dw_exec_finish(dw_exec *x)
{
    dw_pool_destroy(x->pool);
    *x = (dw_exec){0};
}

const char *dw_exec_kernel(const dw_exec *x)
{
    return x->kernels->name;
}

void dw_exec_describe(char *out, size_t n)
{
    dw_gemm_describe(out, n);
}

void *dw_tensor_reserve(size_t bytes)
{
    if (bytes == 0)
        bytes = 1;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    (void)madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

void *dw_tensor_map(size_t bytes)
{
    void *p = dw_tensor_reserve(bytes);
    if (p != NULL)
        memset(p, 0, bytes);
    return p;
}

void dw_tensor_unmap(void *p, size_t bytes)
{
    if (p != NULL)
        (void)munmap(p, bytes == 0 ? 1 : bytes);
}
