/* Linear layers: cuts products into tasks by shape alone and deals them over the pool. */
#include "tensor/linear.h"

#include <string.h>

#include "tensor/grid.h"
#include "tensor/kernels.h"
#include "tensor/transpose.h"

/* ---- packing ---- */

size_t dw_panels_bytes(size_t n_out, size_t k, dw_panel_type type)
{
    (void)type;
    return dw_div_up(n_out, DW_PANEL) * DW_PANEL * k * sizeof(dw_real);
}

typedef struct pack_job {
    const dw_panels *p;
    const dw_real *w;
    size_t ldw;
} pack_job;

static void pack_task(void *ctx, size_t task, int thread)
{
    const pack_job *j = ctx;
    size_t k = j->p->k, o0 = task * DW_PANEL, n = dw_min_size(DW_PANEL, j->p->n_out - o0);
    dw_real *dst = (dw_real *)j->p->data + o0 * k;
    if (n < DW_PANEL)
        memset(dst, 0, DW_PANEL * k * sizeof *dst);
    dw_transpose(j->w + o0 * j->ldw, j->ldw, n, k, 1, dst, DW_PANEL);
}

void dw_panels_pack(const dw_exec *x, const dw_panels *p, const dw_real *w, size_t ldw)
{
    pack_job j = {p, w, ldw};
    dw_pool_run(x->pool, dw_div_up(p->n_out, DW_PANEL), pack_task, &j);
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
