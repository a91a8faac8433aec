/* Feed-forward activations, gated and plain, with their derivatives. */
#include "tensor/activation.h"

#include <string.h>

#include "base/size.h"
#include "tensor/kernels.h"

enum { CHUNK = 256, TASK_ELEMENTS = 8192 };

#define SQRT_2_OVER_PI DW_RC(0.79788456080286535588)
#define SQRT_HALF      DW_RC(0.70710678118654752440)
#define INV_SQRT_2PI   DW_RC(0.39894228040143267794)
#define GELU_CUBE      DW_RC(0.044715)

/* The tanh form of GELU is x sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3): the same function
 * with one exponential and no cancellation. */
static void gelu_argument(const dw_real *x, dw_real *u2, size_t n)
{
    for (size_t i = 0; i < n; i++)
        u2[i] = 2 * SQRT_2_OVER_PI * (x[i] + GELU_CUBE * x[i] * x[i] * x[i]);
}

/* a[i] = act(x[i]); n <= CHUNK */
static void values(const dw_kernels *k, dw_act act, const dw_real *x, dw_real *a, size_t n)
{
    dw_real s[CHUNK] = {0};
    switch (act) {
    case DW_ACT_SILU:
        k->vsigmoid(x, s, n);
        for (size_t i = 0; i < n; i++)
            a[i] = x[i] * s[i];
        break;
    case DW_ACT_GELU_TANH:
        gelu_argument(x, s, n);
        k->vsigmoid(s, s, n);
        for (size_t i = 0; i < n; i++)
            a[i] = x[i] * s[i];
        break;
    case DW_ACT_GELU_ERF:
        for (size_t i = 0; i < n; i++)
            a[i] = DW_RC(0.5) * x[i] * (1 + dw_rerf(x[i] * SQRT_HALF));
        break;
    case DW_ACT_RELU:
        for (size_t i = 0; i < n; i++)
            a[i] = x[i] > 0 ? x[i] : 0;
        break;
    }
}

/* a[i] = act(x[i]), d[i] = act'(x[i]); n <= CHUNK */
static void derivatives(const dw_kernels *k, dw_act act, const dw_real *x, dw_real *a, dw_real *d,
                        size_t n)
{
    dw_real s[CHUNK] = {0};
    switch (act) {
    case DW_ACT_SILU:
        k->vsigmoid(x, s, n);
        for (size_t i = 0; i < n; i++) {
            a[i] = x[i] * s[i];
            d[i] = s[i] * (1 + x[i] * (1 - s[i]));
        }
        break;
    case DW_ACT_GELU_TANH:
        gelu_argument(x, s, n);
        k->vsigmoid(s, s, n);
        for (size_t i = 0; i < n; i++) {
            dw_real du2 = 2 * SQRT_2_OVER_PI * (1 + 3 * GELU_CUBE * x[i] * x[i]);
            a[i] = x[i] * s[i];
            d[i] = s[i] * (1 + x[i] * (1 - s[i]) * du2);
        }
        break;
    case DW_ACT_GELU_ERF:
        for (size_t i = 0; i < n; i++)
            s[i] = DW_RC(-0.5) * x[i] * x[i];
        k->vexp(s, s, n);
        for (size_t i = 0; i < n; i++) {
            dw_real cdf = DW_RC(0.5) * (1 + dw_rerf(x[i] * SQRT_HALF));
            a[i] = x[i] * cdf;
            d[i] = cdf + x[i] * s[i] * INV_SQRT_2PI;
        }
        break;
    case DW_ACT_RELU:
        for (size_t i = 0; i < n; i++) {
            a[i] = x[i] > 0 ? x[i] : 0;
            d[i] = x[i] > 0 ? 1 : 0;
        }
        break;
    }
}

typedef struct act_job act_job;
struct act_job {
    const dw_kernels *kernels;
    dw_act act;
    /* `n` elements of a row, n <= CHUNK, from column c on. */
    void (*chunk)(const act_job *j, size_t row, size_t c, size_t n);
    const dw_real *in, *d_out;
    dw_real *out, *d_in;
    size_t rows, n, row_block;
};

static void gated_forward(const act_job *j, size_t row, size_t c, size_t n)
{
    const dw_real *gate = j->in + row * 2 * j->n + c, *up = gate + j->n;
    dw_real *out = j->out + row * j->n + c;
    dw_real a[CHUNK];
    values(j->kernels, j->act, gate, a, n);
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] * up[i];
}

static void gated_backward(const act_job *j, size_t row, size_t c, size_t n)
{
    const dw_real *gate = j->in + row * 2 * j->n + c, *up = gate + j->n;
    const dw_real *dy = j->d_out + row * j->n + c;
    dw_real *d_gate = j->d_in + row * 2 * j->n + c, *d_up = d_gate + j->n;
    dw_real a[CHUNK], d[CHUNK];
    derivatives(j->kernels, j->act, gate, a, d, n);
    /* Through a, d, so that d_in may be the memory of `in`. */
    for (size_t i = 0; i < n; i++) {
        d[i] *= dy[i] * up[i];
        a[i] *= dy[i];
    }
    memcpy(d_gate, d, n * sizeof *d);
    memcpy(d_up, a, n * sizeof *a);
}

static void plain_forward(const act_job *j, size_t row, size_t c, size_t n)
{
    values(j->kernels, j->act, j->in + row * j->n + c, j->out + row * j->n + c, n);
}

static void plain_backward(const act_job *j, size_t row, size_t c, size_t n)
{
    const dw_real *dy = j->d_out + row * j->n + c;
    dw_real *dx = j->d_in + row * j->n + c;
    dw_real a[CHUNK], d[CHUNK];
    derivatives(j->kernels, j->act, j->in + row * j->n + c, a, d, n);
    for (size_t i = 0; i < n; i++)
        dx[i] = dy[i] * d[i];
}

static void act_task(void *ctx, size_t task, int thread)
{
    const act_job *j = ctx;
    size_t first = task * j->row_block, end = first + j->row_block;
    for (size_t r = first; r < (end < j->rows ? end : j->rows); r++)
        for (size_t c = 0; c < j->n; c += CHUNK)
            j->chunk(j, r, c, j->n - c < CHUNK ? j->n - c : CHUNK);
}

static void run(const dw_exec *x, act_job *j)
{
    if (j->n == 0)
        return;
    j->kernels = x->kernels;
    j->row_block = TASK_ELEMENTS / j->n + 1;
    dw_pool_run(x->pool, dw_div_up(j->rows, j->row_block), act_task, j);
}

void dw_gated_forward(const dw_exec *x, dw_act act, const dw_real *in, size_t rows, size_t n,
                      dw_real *out)
{
    act_job j = {.act = act, .chunk = gated_forward, .in = in, .out = out, .rows = rows, .n = n};
    run(x, &j);
}

void dw_gated_backward(const dw_exec *x, dw_act act, const dw_real *in, size_t rows, size_t n,
                       const dw_real *d_out, dw_real *d_in)
{
    act_job j = {.act = act,
                 .chunk = gated_backward,
                 .in = in,
                 .d_out = d_out,
                 .d_in = d_in,
                 .rows = rows,
                 .n = n};
    run(x, &j);
}

void dw_act_forward(const dw_exec *x, dw_act act, const dw_real *in, size_t rows, size_t n,
                    dw_real *out)
{
    act_job j = {.act = act, .chunk = plain_forward, .in = in, .out = out, .rows = rows, .n = n};
    run(x, &j);
}

void dw_act_backward(const dw_exec *x, dw_act act, const dw_real *in, size_t rows, size_t n,
                     const dw_real *d_out, dw_real *d_in)
{
    act_job j = {.act = act,
                 .chunk = plain_backward,
                 .in = in,
                 .d_out = d_out,
                 .d_in = d_in,
                 .rows = rows,
                 .n = n};
    run(x, &j);
}
