/* Linear layers: cuts products into tasks by shape alone and deals them over the pool. */
#include "tensor/linear.h"

#include <string.h>

#include "tensor/grid.h"
#include "tensor/panels.h"

void dw_panels_product(const dw_kernels *kernels, const dw_panels *w, size_t out0,
                       const dw_real *in, size_t ld_in, size_t rows, size_t n_out, dw_real *out,
                       size_t ld_out, bool accumulate)
{
    const void *data = dw_panel_at(w, out0, 0);
    if (w->type == DW_PANEL_REAL)
        kernels->product(in, ld_in, rows, w->k, data, n_out, out, ld_out, accumulate);
    else
        kernels->product_bf16(in, ld_in, rows, w->k, data, n_out, out, ld_out, accumulate);
}

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
    dw_panels_product(j->kernels, j->w, t.c0, j->in + t.r0 * j->ld_in, j->ld_in, t.rows, t.cols,
                      out, j->ld_out, j->accumulate || j->bias != NULL);
}

/* Row blocks that keep the activations in L2, and enough panel blocks to feed the threads: about
 * 24 tasks when there is work for them, none below TASK_FMA multiply-adds. */
static grid forward_grid(size_t rows, size_t n_out, size_t k)
{
    enum { ROWS = 96, TASKS = 24, TASK_FMA = 100000 };
    size_t row = even_block(rows, ROWS, 6);
    size_t n_row = dw_div_up(rows, row), panels = dw_div_up(n_out, DW_PANEL);
    size_t by_work = dw_div_up(dw_min_size(row, rows) * n_out * k, TASK_FMA);
    size_t cuts = dw_min_size(dw_min_size(dw_div_up(TASKS, n_row), by_work), panels);
    return grid_make(rows, n_out, row, dw_div_up(panels, cuts) * DW_PANEL);
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
