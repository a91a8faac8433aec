/* What the tensor tests share: random arrays, one executor per kernel and thread count, and
 * gradients by finite differences. */
#ifndef DW_TESTS_TENSORS_H
#define DW_TESTS_TENSORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "close.h"
#include "tensor/exec.h"

#ifdef DW_DOUBLE
#define TEST_REL 1e-13
#else
#define TEST_REL 1e-6
#endif

/* Uniform in [-1, 1), from a seed. */
static inline dw_real test_random(uint64_t *s)
{
    *s += 0x9e3779b97f4a7c15U;
    uint64_t z = *s;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    z ^= z >> 31;
    return (dw_real)((double)(z >> 40) / (double)(1U << 23) - 1.0);
}

static inline dw_real *test_zeros(size_t n)
{
    dw_real *v = calloc(n + 1, sizeof *v);
    assert_non_null(v);
    return v;
}

static inline dw_real *test_array(size_t n, uint64_t seed)
{
    dw_real *v = test_zeros(n);
    for (size_t i = 0; i < n; i++)
        v[i] = test_random(&seed);
    return v;
}

static inline dw_real *test_copy(const dw_real *v, size_t n)
{
    dw_real *c = test_zeros(n);
    memcpy(c, v, n * sizeof *v);
    return c;
}

static inline dw_exec test_exec(int threads, const char *kernel)
{
    dw_exec x;
    dw_err err;
    if (dw_exec_init(&x, threads, kernel, &err) < 0)
        fail_msg("%s", err.text);
    return x;
}

/* Runs `fn` with every kernel of this machine and 1 to 3 threads. The outputs (n elements, written
 * by fn) must be close to the first kernel's and, within a kernel, the same to the bit. */
static inline void test_everywhere(const char *what, void (*fn)(const dw_exec *, void *ctx),
                                   void *ctx, dw_real *out, size_t n, double rel, double abs)
{
    dw_real *first = NULL;
    for (const char *const *k = dw_exec_kernel_names(); *k != NULL; k++) {
        dw_real *one = NULL;
        for (int threads = 1; threads <= 3; threads++) {
            dw_exec x = test_exec(threads, *k);
            fn(&x, ctx);
            dw_exec_finish(&x);
            char name[128];
            (void)snprintf(name, sizeof name, "%s, kernel %s, %d threads", what, *k, threads);
            if (first == NULL)
                first = test_copy(out, n);
            if (one == NULL)
                one = test_copy(out, n);
            assert_true(dw_same(name, out, one, n));
            assert_true(dw_close(name, out, first, n, rel, abs));
        }
        free(one);
    }
    free(first);
}

/* Compares d f / d p[i] with a central difference of fourth order. */
static inline void test_gradient(const char *what, double (*f)(void *ctx), void *ctx, dw_real *p,
                                 const dw_real *grad, size_t n)
{
    const dw_real h = (dw_real)1e-3;
    dw_real *want = test_zeros(n);
    for (size_t i = 0; i < n; i++) {
        const dw_real at = p[i];
        p[i] = at + h;
        double f1 = f(ctx);
        p[i] = at - h;
        f1 -= f(ctx);
        p[i] = at + 2 * h;
        double f2 = f(ctx);
        p[i] = at - 2 * h;
        f2 -= f(ctx);
        p[i] = at;
        want[i] = (dw_real)((8 * f1 - f2) / (12 * (double)h));
    }
    assert_true(dw_close(what, grad, want, n, 1e-7, 1e-9));
    free(want);
}

#endif
