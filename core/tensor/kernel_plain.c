/* The inner loops in plain C: every machine, and the engine on doubles. */
#include <string.h>

#include "tensor/bf16.h"
#include "tensor/kernels.h"

static bool supported(void)
{
    return true;
}

/* One row of C against one panel. The sixteen sums stay in registers only when the compiler sees
 * a fixed trip count, so a cut panel is computed in full and stored in part. */
static void row_panel(const dw_real *a, size_t k, const dw_real *panel, dw_real *c, size_t n,
                      bool accumulate)
{
    dw_real s[DW_PANEL] = {0};
    if (accumulate)
        memcpy(s, c, n * sizeof *c);
    for (size_t i = 0; i < k; i++) {
        dw_real ai = a[i];
        const dw_real *b = panel + i * DW_PANEL;
        for (int j = 0; j < DW_PANEL; j++)
            s[j] += ai * b[j];
    }
    memcpy(c, s, n * sizeof *c);
}

static void product(const dw_real *a, size_t lda, size_t rows, size_t k, const dw_real *panels,
                    size_t n_out, dw_real *c, size_t ldc, bool accumulate)
{
    for (size_t j = 0; j < n_out; j += DW_PANEL) {
        size_t n = n_out - j < DW_PANEL ? n_out - j : DW_PANEL;
        for (size_t i = 0; i < rows; i++)
            row_panel(a + i * lda, k, panels + j * k, c + i * ldc + j, n, accumulate);
    }
}

static void widen(const uint16_t *in, dw_real *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (dw_real)dw_bf16_widen(in[i]);
}

/* A piece of a panel at a time, widened for all rows; sums go on from what the last one stored. */
static void product_bf16(const dw_real *a, size_t lda, size_t rows, size_t k,
                         const uint16_t *panels, size_t n_out, dw_real *c, size_t ldc,
                         bool accumulate)
{
    enum { DEPTH = 64 };
    dw_real wide[DEPTH * DW_PANEL] = {0};
    for (size_t j = 0; j < n_out; j += DW_PANEL) {
        const size_t n = n_out - j < DW_PANEL ? n_out - j : DW_PANEL;
        for (size_t at = 0; at < k; at += DEPTH) {
            const size_t depth = k - at < DEPTH ? k - at : DEPTH;
            widen(panels + j * k + at * DW_PANEL, wide, depth * DW_PANEL);
            for (size_t i = 0; i < rows; i++)
                row_panel(a + i * lda + at, depth, wide, c + i * ldc + j, n, accumulate || at > 0);
        }
    }
}

static void vexp(const dw_real *in, dw_real *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = dw_rexp(in[i]);
}

static void vsigmoid(const dw_real *in, dw_real *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = 1 / (1 + dw_rexp(-in[i]));
}

static dw_real vmax(const dw_real *in, size_t n)
{
    dw_real m = -(dw_real)INFINITY;
    for (size_t i = 0; i < n; i++)
        m = in[i] > m ? in[i] : m;
    return m;
}

static void axpy(dw_real a, const dw_real *x, dw_real *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static dw_real dot(const dw_real *x, const dw_real *y, size_t n)
{
    dw_real s[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++)
            s[j] += x[i + j] * y[i + j];
    for (int j = 0; i < n; i++, j++)
        s[j] += x[i] * y[i];
    for (int half = 8; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            s[j] += s[j + half];
    return s[0];
}

#include "tensor/kernel_rows.h"

const struct dw_kernels dw_kernels_plain = {
    .name = "plain",
    .supported = supported,
    .product = product,
    .product_bf16 = product_bf16,
    .widen = widen,
    .vexp = vexp,
    .vmax = vmax,
    .axpy = axpy,
    .dot = dot,
    .vsigmoid = vsigmoid,
    DW_KERNEL_ROWS,
};
