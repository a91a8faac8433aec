/* Backward products of linear layers: single-threaded OpenBLAS on tiles cut by shape alone, or our
 * own kernel where the matrix is kept packed alone. */
#include "tensor/gemm.h"
#include "tensor/grid.h"
#include "tensor/panels.h"
#include "tensor/transpose.h"

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
            col = dw_div_up(col / 2, 16) * 16;
        else
            row = dw_div_up(row / 2, 16) * 16;
        g = grid_make(m, n, row, col);
    }
    return g;
}

static void run(const dw_exec *x, gemm_job *j, size_t m, size_t n)
{
    j->g = gemm_grid(m, n, j->k);
    dw_pool_run(x->pool, grid_tasks(&j->g), gemm_task, j);
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
                  .beta = accumulate ? 1 : 0};
    run(x, &j, rows, k);
}

/* ---- from panels ----
 *
 * A panel has its 16 outputs side by side, and this product wants 16 inputs side by side. A task
 * turns a strip of some columns, a piece of the outputs at a time, into panels of the transpose,
 * and runs the forward kernel on it (OpenBLAS on the turned rows where there is but the plain one);
 * the sums of a piece go on from what the last one stored. Turning costs one pass over the matrix
 * for every ROWS rows, and what OpenBLAS does before it multiplies is no less; a copy of the matrix
 * row by row would double a frozen model instead. */

enum { STRIP = 192, DEPTH = 256, ROWS = 1024 };

typedef struct strip_job {
    const dw_kernels *kernels;
    const dw_panels *w;
    const dw_real *d_out;
    dw_real *d_in;
    size_t ld_out, ld_in, out0, n_out;
    bool accumulate, blas;
    grid g;
} strip_job;

/* to: panels of 16 columns, [columns / 16][depth][16], or [depth][STRIP] row by row, from `depth`
 * outputs (from output o on) and columns c .. c + n. */
static void turn(const strip_job *j, size_t o, size_t depth, size_t c, size_t n, dw_real *to)
{
    const size_t ld = j->blas ? STRIP : DW_PANEL;
    dw_real wide[DW_PANEL * DW_PANEL];
    for (size_t p = 0; p < depth; p += DW_PANEL)
        for (size_t q = 0; q < n; q += DW_PANEL) {
            const size_t outs = dw_min_size(DW_PANEL, depth - p);
            const size_t cols = dw_min_size(DW_PANEL, n - q);
            const void *from = dw_panel_at(j->w, j->out0 + o + p, c + q);
            dw_real *dst = to + (j->blas ? p * STRIP + q : (q / DW_PANEL * depth + p) * DW_PANEL);
            if (j->w->type != DW_PANEL_REAL) {
                j->kernels->widen(from, wide, cols * DW_PANEL);
                from = wide;
            }
            dw_transpose(from, DW_PANEL, cols, outs, 1, dst, ld);
            for (size_t i = 0; i < outs; i++) /* what pads a cut panel is read, if not kept */
                for (size_t k = cols; k < DW_PANEL; k++)
                    dst[i * ld + k] = 0;
        }
}

static void strip_task(void *ctx, size_t task, int thread)
{
    _Alignas(64) dw_real strip[STRIP * DEPTH];
    const strip_job *j = ctx;
    const tile t = grid_tile(&j->g, task);
    for (size_t o = 0; o < j->n_out; o += DEPTH) {
        const size_t depth = dw_min_size(DEPTH, j->n_out - o);
        const bool add = j->accumulate || o > 0;
        turn(j, o, depth, t.c0, t.cols, strip);
        if (j->blas) {
            dw_gemm(t.rows, t.cols, depth, 1,
                    (dw_mat){j->d_out + t.r0 * j->ld_out + o, j->ld_out, false},
                    (dw_mat){strip, STRIP, false}, add ? 1 : 0, j->d_in + t.r0 * j->ld_in + t.c0,
                    j->ld_in);
            continue;
        }
        for (size_t r = 0; r < t.rows; r += 96)
            j->kernels->product(j->d_out + (t.r0 + r) * j->ld_out + o, j->ld_out,
                                dw_min_size(96, t.rows - r), depth, strip, t.cols,
                                j->d_in + (t.r0 + r) * j->ld_in + t.c0, j->ld_in, add);
    }
}

/* Strips as wide as they may be, halved until there are eight tasks; rows are cut last, because
 * every task turns its strip for itself. */
static grid strip_grid(size_t rows, size_t k)
{
    enum { TASKS = 8, LEAST = 48 };
    size_t col = even_block(k, STRIP, DW_PANEL), row = even_block(rows, ROWS, 1);
    while (dw_div_up(k, col) * dw_div_up(rows, row) < TASKS && col > LEAST)
        col = dw_div_up(col / 2, DW_PANEL) * DW_PANEL;
    while (dw_div_up(k, col) * dw_div_up(rows, row) < TASKS && row > 256)
        row = dw_div_up(row, 2);
    return grid_make(rows, k, row, col);
}

void dw_panels_backward_input(const dw_exec *x, const dw_real *d_out, size_t ld_out, size_t rows,
                              const dw_panels *w, size_t out0, size_t n_out, dw_real *d_in,
                              size_t ld_in, bool accumulate)
{
    if (w->rows != NULL) {
        dw_linear_backward_input(x, d_out, ld_out, rows, w->rows + out0 * w->k, w->k, n_out, w->k,
                                 d_in, ld_in, accumulate);
        return;
    }
    if (rows == 0)
        return;
    strip_job j = {.kernels = x->kernels,
                   .w = w,
                   .d_out = d_out,
                   .d_in = d_in,
                   .ld_out = ld_out,
                   .ld_in = ld_in,
                   .out0 = out0,
                   .n_out = n_out,
                   .accumulate = accumulate,
                   .blas = x->kernels == &dw_kernels_plain,
                   .g = strip_grid(rows, w->k)};
    dw_pool_run(x->pool, grid_tasks(&j.g), strip_task, &j);
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
                  .beta = 1};
    run(x, &j, n_out, k);
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
    size_t c0 = task * BIAS_COLS, n = dw_min_size(BIAS_COLS, j->n - c0);
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
    dw_pool_run(x->pool, dw_div_up(n, BIAS_COLS), bias_task, &j);
}
