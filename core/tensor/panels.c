/* Packed matrices: packing, and what a frozen one is asked besides products. */
#include "tensor/panels.h"

#include <string.h>

#include "tensor/bf16.h"
#include "tensor/grid.h"
#include "tensor/transpose.h"

size_t dw_panels_bytes(size_t n_out, size_t k, dw_panel_type type)
{
    return dw_div_up(n_out, DW_PANEL) * DW_PANEL * k * dw_panel_size(type);
}

static void put_bf16(const dw_panels *p, size_t panel, size_t n, const dw_real *w, size_t ldw)
{
    uint16_t *dst = (uint16_t *)p->data + panel * DW_PANEL * p->k;
    for (size_t c = 0; c < p->k; c++, dst += DW_PANEL) {
        for (size_t o = 0; o < n; o++)
            dst[o] = dw_bf16_round((float)w[o * ldw + c]);
        for (size_t o = n; o < DW_PANEL; o++)
            dst[o] = 0;
    }
}

void dw_panels_put(const dw_panels *p, size_t panel, const dw_real *w, size_t ldw)
{
    const size_t k = p->k, n = dw_min_size(DW_PANEL, p->n_out - panel * DW_PANEL);
    if (p->type == DW_PANEL_BF16) {
        put_bf16(p, panel, n, w, ldw);
        return;
    }
    dw_real *dst = (dw_real *)p->data + panel * DW_PANEL * k;
    if (n < DW_PANEL)
        memset(dst, 0, DW_PANEL * k * sizeof *dst);
    dw_transpose(w, ldw, n, k, 1, dst, DW_PANEL);
}

typedef struct pack_job {
    const dw_panels *p;
    const dw_real *w;
    size_t ldw;
} pack_job;

static void pack_task(void *ctx, size_t task, int thread)
{
    const pack_job *j = ctx;
    dw_panels_put(j->p, task, j->w + task * DW_PANEL * j->ldw, j->ldw);
}

void dw_panels_pack(const dw_exec *x, const dw_panels *p, const dw_real *w, size_t ldw)
{
    pack_job j = {p, w, ldw};
    dw_pool_run(x->pool, dw_div_up(p->n_out, DW_PANEL), pack_task, &j);
}

static dw_real element(const dw_panels *p, const void *group, size_t lane)
{
    return p->type == DW_PANEL_BF16 ? (dw_real)dw_bf16_widen(((const uint16_t *)group)[lane])
                                    : ((const dw_real *)group)[lane];
}

void dw_panels_row(const dw_panels *p, size_t row, size_t c, size_t n, dw_real *out)
{
    const size_t lane = row % DW_PANEL;
    if (p->rows != NULL) {
        memcpy(out, p->rows + row * p->k + c, n * sizeof *out);
        return;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = element(p, dw_panel_at(p, row - lane, c + i), lane);
}

enum { SUM_COLUMNS = 128 };

typedef struct sum_job {
    const dw_panels *p;
    dw_real *sum;
} sum_job;

/* In the order of the rows, as dw_linear_backward_bias sums them. */
static void sum_task(void *ctx, size_t task, int thread)
{
    const sum_job *j = ctx;
    const dw_panels *p = j->p;
    const size_t c0 = task * SUM_COLUMNS, n = dw_min_size(SUM_COLUMNS, p->k - c0);
    double s[SUM_COLUMNS] = {0};
    for (size_t o = 0; o < p->n_out; o += DW_PANEL)
        for (size_t c = 0; c < n; c++) {
            const void *group = dw_panel_at(p, o, c0 + c);
            for (size_t lane = 0; lane < DW_PANEL && o + lane < p->n_out; lane++)
                s[c] += element(p, group, lane);
        }
    for (size_t c = 0; c < n; c++)
        j->sum[c0 + c] = (dw_real)(j->sum[c0 + c] + s[c]);
}

void dw_panels_sum(const dw_exec *x, const dw_panels *p, dw_real *sum)
{
    if (p->rows != NULL) {
        dw_linear_backward_bias(x, p->rows, p->k, p->n_out, p->k, sum);
        return;
    }
    sum_job j = {p, sum};
    dw_pool_run(x->pool, dw_div_up(p->k, SUM_COLUMNS), sum_task, &j);
}
