/* Backward products of linear layers: single-threaded OpenBLAS on tiles cut by shape alone. */
#include "tensor/gemm.h"
#include "tensor/grid.h"
#include "tensor/linear.h"

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
