/* Linear layers: cuts products into tasks by shape alone and deals them over the pool. */
#include "tensor/linear.h"

#include <string.h>

#include "tensor/gemm.h"
#include "tensor/kernels.h"

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t div_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* A matrix [rows][cols] cut into blocks of row x col, numbered row by row. */
typedef struct grid {
    size_t rows, cols, row, col, n_col;
} grid;

typedef struct tile {
    size_t r0, rows, c0, cols;
} tile;

static grid grid_make(size_t rows, size_t cols, size_t row, size_t col)
{
    return (grid){rows, cols, row, col, div_up(cols, col)};
}

static size_t grid_tasks(const grid *g)
{
    return div_up(g->rows, g->row) * g->n_col;
}

static tile grid_tile(const grid *g, size_t task)
{
    tile t = {.r0 = task / g->n_col * g->row, .c0 = task % g->n_col * g->col};
    t.rows = min_size(g->row, g->rows - t.r0);
    t.cols = min_size(g->col, g->cols - t.c0);
    return t;
}

/* Block of a dimension of n cut in equal parts of at most `most`, rounded up to `unit`. */
static size_t even_block(size_t n, size_t most, size_t unit)
{
    size_t parts = div_up(n, most);
    return div_up(div_up(n, parts), unit) * unit;
}

/* ---- packing ---- */

size_t dw_panels_bytes(size_t n_out, size_t k, dw_panel_type type)
{
    (void)type;
    return div_up(n_out, DW_PANEL) * DW_PANEL * k * sizeof(dw_real);
}

typedef struct pack_job {
    const dw_panels *p;
    const dw_real *w;
    size_t ldw;
} pack_job;

static void pack_task(void *ctx, size_t task, int thread)
{
    const pack_job *j = ctx;
    size_t k = j->p->k, o0 = task * DW_PANEL, n = min_size(DW_PANEL, j->p->n_out - o0);
    dw_real *dst = (dw_real *)j->p->data + o0 * k;
    if (n < DW_PANEL)
        memset(dst, 0, DW_PANEL * k * sizeof *dst);
    /* Eight columns at a time: the sixteen source rows stay in cache while they are spread. */
    for (size_t i0 = 0; i0 < k; i0 += 16)
        for (size_t o = 0; o < n; o++) {
            const dw_real *src = j->w + (o0 + o) * j->ldw;
            for (size_t i = i0; i < min_size(i0 + 16, k); i++)
                dst[i * DW_PANEL + o] = src[i];
        }
}

void dw_panels_pack(const dw_exec *x, const dw_panels *p, const dw_real *w, size_t ldw)
{
    pack_job j = {p, w, ldw};
    dw_pool_run(x->pool, div_up(p->n_out, DW_PANEL), pack_task, &j);
}

/* ---- forward ---- */

typedef struct forward_job {
    const dw_kernels *kernels;
    const dw_panels *w;
    const dw_real *in, *bias;
    dw_real *out;
    size_t ld_in, ld_out;
    bool accumulate;
    grid g;
} forward_job;

static void forward_task(void *ctx, size_t task, int thread)
{
    const forward_job *j = ctx;
    tile t = grid_tile(&j->g, task);
    dw_real *out = j->out + t.r0 * j->ld_out + t.c0;
    if (j->bias != NULL)
        for (size_t r = 0; r < t.rows; r++)
            memcpy(out + r * j->ld_out, j->bias + t.c0, t.cols * sizeof *out);
    j->kernels->product(j->in + t.r0 * j->ld_in, j->ld_in, t.rows, j->w->k,
                        (const dw_real *)j->w->data + t.c0 * j->w->k, t.cols, out, j->ld_out,
                        j->accumulate || j->bias != NULL);
}

/* Row blocks that keep the activations in L2, and enough panel blocks to feed the threads: about
 * 24 tasks when there is work for them, none below TASK_FMA multiply-adds. */
static grid forward_grid(size_t rows, size_t n_out, size_t k)
{
    enum { ROWS = 96, TASKS = 24, TASK_FMA = 100000 };
    size_t row = even_block(rows, ROWS, 6);
    size_t n_row = div_up(rows, row), panels = div_up(n_out, DW_PANEL);
    size_t by_work = div_up(min_size(row, rows) * n_out * k, TASK_FMA);
    size_t cuts = min_size(min_size(div_up(TASKS, n_row), by_work), panels);
    return grid_make(rows, n_out, row, div_up(panels, cuts) * DW_PANEL);
}

void dw_linear_forward(const dw_exec *x, const dw_real *in, size_t ld_in, size_t rows,
                       const dw_panels *w, const dw_real *bias, dw_real *out, size_t ld_out,
                       bool accumulate)
{
    if (rows == 0)
        return;
    forward_job j = {x->kernels, w,          in,
                     bias,       out,        ld_in,
                     ld_out,     accumulate, forward_grid(rows, w->n_out, w->k)};
    dw_pool_run(x->pool, grid_tasks(&j.g), forward_task, &j);
}

/* ---- backward ---- */

typedef struct gemm_job {
    dw_mat a, b; /* of the whole product */
    dw_real *c;
    size_t ldc, k;
    dw_real alpha, beta;
    grid g;
} gemm_job;

static void gemm_task(void *ctx, size_t task, int thread)
{
    const gemm_job *j = ctx;
    tile t = grid_tile(&j->g, task);
    dw_mat a = j->a, b = j->b;
    a.p += a.t ? t.r0 : t.r0 * a.ld;
    b.p += b.t ? t.c0 * b.ld : t.c0;
    dw_gemm(t.rows, t.cols, j->k, j->alpha, a, b, j->beta, j->c + t.r0 * j->ldc + t.c0, j->ldc);
}

/* Cuts C[m][n] into blocks of at most 256 x 512, then halves the longer side until there are eight
 * tasks or a task has less than TASK_FMA multiply-adds. */
static grid gemm_grid(size_t m, size_t n, size_t k)
{
    enum { ROWS = 256, COLS = 768, TASKS = 8, TASK_FMA = 1000000 };
    size_t row = even_block(m, ROWS, 16), col = even_block(n, COLS, 16);
    grid g = grid_make(m, n, row, col);
    while (grid_tasks(&g) < TASKS && row * col * k > 2 * TASK_FMA && (row > 32 || col > 32)) {
        if (col >= row)
            col = div_up(col / 2, 16) * 16;
        else
            row = div_up(row / 2, 16) * 16;
        g = grid_make(m, n, row, col);
    }
    return g;
}

void dw_linear_backward_input(const dw_exec *x, const dw_real *d_out, size_t ld_out, size_t rows,
                              const dw_real *w, size_t ldw, size_t n_out, size_t k, dw_real *d_in,
                              size_t ld_in, bool accumulate)
{
    if (rows == 0)
        return;
    gemm_job j = {.a = {d_out, ld_out, false},
                  .b = {w, ldw, false},
                  .c = d_in,
                  .ldc = ld_in,
                  .k = n_out,
                  .alpha = 1,
                  .beta = accumulate ? 1 : 0,
                  .g = gemm_grid(rows, k, n_out)};
    dw_pool_run(x->pool, grid_tasks(&j.g), gemm_task, &j);
}

void dw_linear_backward_weight(const dw_exec *x, const dw_real *d_out, size_t ld_out,
                               const dw_real *in, size_t ld_in, size_t rows, size_t n_out, size_t k,
                               dw_real scale, dw_real *d_w, size_t ldw)
{
    if (rows == 0)
        return;
    gemm_job j = {.a = {d_out, ld_out, true},
                  .b = {in, ld_in, false},
                  .c = d_w,
                  .ldc = ldw,
                  .k = rows,
                  .alpha = scale,
                  .beta = 1,
                  .g = gemm_grid(n_out, k, rows)};
    dw_pool_run(x->pool, grid_tasks(&j.g), gemm_task, &j);
}

enum { BIAS_COLS = 128 };

typedef struct bias_job {
    const dw_real *d_out;
    size_t ld_out, rows, n;
    dw_real *d_b;
} bias_job;

static void bias_task(void *ctx, size_t task, int thread)
{
    const bias_job *j = ctx;
    size_t c0 = task * BIAS_COLS, n = min_size(BIAS_COLS, j->n - c0);
    double s[BIAS_COLS] = {0};
    for (size_t r = 0; r < j->rows; r++)
        for (size_t c = 0; c < n; c++)
            s[c] += j->d_out[r * j->ld_out + c0 + c];
    for (size_t c = 0; c < n; c++)
        j->d_b[c0 + c] = (dw_real)(j->d_b[c0 + c] + s[c]);
}

void dw_linear_backward_bias(const dw_exec *x, const dw_real *d_out, size_t ld_out, size_t rows,
                             size_t n, dw_real *d_b)
{
    bias_job j = {d_out, ld_out, rows, n, d_b};
    dw_pool_run(x->pool, div_up(n, BIAS_COLS), bias_task, &j);
}
