/* Row loops of attention and of the vocabulary head, and AdamW, in C that the compiler turns into
 * vectors: every kernel file includes this after its vexp and vmax, and names DW_KERNEL_ROWS in its
 * table. Private to the kernel files. */
#ifndef DW_TENSOR_KERNEL_ROWS_H
#define DW_TENSOR_KERNEL_ROWS_H

#include <string.h>

#include "tensor/kernels.h"

typedef dw_real rows_real8 __attribute__((vector_size(8 * sizeof(dw_real))));
typedef dw_real rows_real4 __attribute__((vector_size(4 * sizeof(dw_real))));
typedef double rows_double4 __attribute__((vector_size(4 * sizeof(double))));

static dw_real rows_scale_max(dw_real *s, dw_real scale, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s[i] *= scale;
    return vmax(s, n);
}

static dw_real rows_exp_sum(dw_real *s, dw_real shift, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s[i] -= shift;
    vexp(s, s, n);
    rows_real8 a = {0}, b = {0}, v;
    for (size_t i = 0; i < n; i += 16) {
        memcpy(&v, s + i, sizeof v);
        a += v;
        memcpy(&v, s + i + 8, sizeof v);
        b += v;
    }
    a += b;
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

static void rows_exp_minus(dw_real *restrict s, dw_real scale, const dw_real *restrict minus,
                           size_t n)
{
    for (size_t i = 0; i < n; i++)
        s[i] = s[i] * scale - minus[i];
    vexp(s, s, n);
}

static void rows_score_grad(const dw_real *restrict p, const dw_real *restrict inner, dw_real scale,
                            dw_real *restrict ds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ds[i] = p[i] * (ds[i] - inner[i]) * scale;
}

/* Sixteen lanes of doubles: named, because an array of them would stay in memory. */
#define ROWS_LANES(j)                                                                              \
    do {                                                                                           \
        rows_real4 tr, er, zr;                                                                     \
        memcpy(&tr, t + i + 4 * (j), sizeof tr);                                                   \
        memcpy(&er, e + i + 4 * (j), sizeof er);                                                   \
        memcpy(&zr, y + i + 4 * (j), sizeof zr);                                                   \
        rows_double4 td = __builtin_convertvector(tr, rows_double4);                               \
        rows_double4 ed = __builtin_convertvector(er, rows_double4);                               \
        sum##j += ed;                                                                              \
        dot##j += td * ed;                                                                         \
        square##j += ed * ed;                                                                      \
        plain##j += __builtin_convertvector(zr, rows_double4);                                     \
    } while (0)

static double rows_total(const rows_double4 *v)
{
    return ((*v)[0] + (*v)[2]) + ((*v)[1] + (*v)[3]);
}

static dw_real rows_softmax_sums(const dw_real *z, dw_real scale, size_t n, double out[4])
{
    _Alignas(64) dw_real t[DW_SUMS_MAX], e[DW_SUMS_MAX], last[DW_SUMS_MAX];
    const dw_real *y = z;
    size_t full = (n + 15) / 16 * 16;
    if (n == 0 || n > DW_SUMS_MAX)
        __builtin_unreachable(); /* or the compiler fears that t is read before it is written */
    if (full != n) {             /* filled up with terms that add nothing */
        memcpy(last, z, n * sizeof *z);
        memset(last + n, 0, (full - n) * sizeof *z);
        y = last;
    }
    for (size_t i = 0; i < n; i++)
        t[i] = z[i] * scale;
    dw_real max = vmax(t, n);
    for (size_t i = 0; i < n; i++)
        t[i] -= max;
    for (size_t i = n; i < full; i++)
        t[i] = -1000; /* exp gives 0, and 0 times this is 0 */
    vexp(t, e, full);
    rows_double4 sum0 = {0}, sum1 = {0}, dot0 = {0}, dot1 = {0};
    rows_double4 square0 = {0}, square1 = {0}, plain0 = {0}, plain1 = {0};
    for (size_t i = 0; i < full; i += 8) {
        ROWS_LANES(0);
        ROWS_LANES(1);
    }
    sum0 += sum1;
    dot0 += dot1;
    square0 += square1;
    plain0 += plain1;
    out[0] = rows_total(&sum0);
    out[1] = rows_total(&dot0);
    out[2] = rows_total(&square0);
    out[3] = rows_total(&plain0);
    return max;
}

enum { ROWS_CHUNK = 128 };

static void rows_softmax_grad(const dw_softmax_terms *t, dw_real *z, size_t n)
{
    dw_real x[ROWS_CHUNK], p[ROWS_CHUNK];
    const dw_softmax_terms c = *t;
    for (size_t i = 0; i < n; i += ROWS_CHUNK) {
        size_t m = n - i < ROWS_CHUNK ? n - i : ROWS_CHUNK;
        dw_real *y = z + i;
        for (size_t k = 0; k < m; k++)
            x[k] = (y[k] * c.scale - c.lse_hi) - c.lse_lo;
        vexp(x, p, m);
        for (size_t k = 0; k < m; k++)
            y[k] = c.constant - p[k] * (c.factor + c.slope * x[k]);
    }
}

static void rows_softmax_weights(dw_real scale, dw_real max, dw_real *z, dw_real *times, size_t n)
{
    dw_real x[ROWS_CHUNK], w[ROWS_CHUNK];
    for (size_t i = 0; i < n; i += ROWS_CHUNK) {
        size_t m = n - i < ROWS_CHUNK ? n - i : ROWS_CHUNK;
        for (size_t k = 0; k < m; k++)
            x[k] = z[i + k] * scale - max;
        vexp(x, w, m);
        memcpy(z + i, w, m * sizeof *w);
        if (times != NULL)
            for (size_t k = 0; k < m; k++)
                times[i + k] = x[k] * w[k];
    }
}

static void rows_adamw(const dw_adamw_terms *t, dw_real *restrict w, const dw_real *restrict g,
                       dw_real *restrict m, dw_real *restrict v, size_t n)
{
    const dw_adamw_terms c = *t;
    for (size_t i = 0; i < n; i++) {
        dw_real gi = g[i] * c.grad_scale;
        dw_real mi = m[i] + c.beta1_rest * (gi - m[i]);
        dw_real vi = c.beta2 * v[i] + c.beta2_rest * (gi * gi);
        m[i] = mi;
        v[i] = vi;
        w[i] = w[i] * c.keep - c.step * (mi / (dw_rsqrt_(vi) * c.root + c.eps));
    }
}

#define DW_KERNEL_ROWS                                                                             \
    .scale_max = rows_scale_max, .exp_sum = rows_exp_sum, .exp_minus = rows_exp_minus,             \
    .score_grad = rows_score_grad, .softmax_sums = rows_softmax_sums,                              \
    .softmax_grad = rows_softmax_grad, .softmax_weights = rows_softmax_weights,                    \
    .adamw = rows_adamw

#endif
