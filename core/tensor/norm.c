/* RMSNorm and LayerNorm, forward and backward. */
#include "tensor/norm.h"

#include "base/size.h"
#include "tensor/kernels.h"

enum { ROW_BLOCK = 16, COL_BLOCK = 64 };

/* Sum in sixteen interleaved parts, an order that depends on n alone. */
static dw_real row_sum(const dw_real *v, size_t n)
{
    dw_real s[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++)
            s[j] += v[i + j];
    for (int j = 0; i < n; i++, j++)
        s[j] += v[i];
    for (int half = 8; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            s[j] += s[j + half];
    return s[0];
}

/* ---- forward ---- */

typedef struct forward_job {
    const dw_kernels *kernels;
    const dw_norm *n;
    const dw_real *in;
    dw_real *out, *rstd, *mean;
    size_t ld_in, ld_out, rows;
} forward_job;

static void forward_row(const forward_job *j, size_t r)
{
    const dw_norm *n = j->n;
    const dw_real *in = j->in + r * j->ld_in;
    dw_real *out = j->out + r * j->ld_out;
    const size_t width = n->width;
    dw_real mean = 0;
    if (n->layer) {
        mean = row_sum(in, width) / (dw_real)width;
        for (size_t i = 0; i < width; i++)
            out[i] = in[i] - mean;
        in = out;
    }
    dw_real rstd = 1 / dw_rsqrt_(j->kernels->dot(in, in, width) / (dw_real)width + n->eps);
    if (n->unit_offset)
        for (size_t i = 0; i < width; i++)
            out[i] = in[i] * rstd * (1 + n->w[i]);
    else
        for (size_t i = 0; i < width; i++)
            out[i] = in[i] * rstd * n->w[i];
    if (n->layer && n->b != NULL)
        for (size_t i = 0; i < width; i++)
            out[i] += n->b[i];
    if (j->rstd != NULL)
        j->rstd[r] = rstd;
    if (j->mean != NULL && n->layer)
        j->mean[r] = mean;
}

static void forward_task(void *ctx, size_t task, int thread)
{
    const forward_job *j = ctx;
    for (size_t r = task * ROW_BLOCK; r < dw_min_size((task + 1) * ROW_BLOCK, j->rows); r++)
        forward_row(j, r);
}

void dw_norm_forward(const dw_exec *x, const dw_norm *n, const dw_real *in, size_t ld_in,
                     size_t rows, dw_real *out, size_t ld_out, dw_real *rstd, dw_real *mean)
{
    forward_job j = {x->kernels, n, in, out, rstd, mean, ld_in, ld_out, rows};
    dw_pool_run(x->pool, (rows + ROW_BLOCK - 1) / ROW_BLOCK, forward_task, &j);
}

/* ---- backward ---- */

typedef struct backward_job {
    const dw_norm *n;
    const dw_real *in, *rstd, *mean, *d_out;
    dw_real *d_in, *d_w, *d_b;
    size_t ld_in, ld_out, ld_d_in, rows;
    bool accumulate;
} backward_job;

/* With h = (x - mean) rstd and g = dy w: dx = rstd (g - mean(g) - h mean(g h)); RMSNorm has neither
 * mean. */
static void backward_row(const backward_job *j, size_t r)
{
    const dw_norm *n = j->n;
    const dw_real *restrict in = j->in + r * j->ld_in, *restrict w = n->w;
    const dw_real *dy = j->d_out + r * j->ld_out;
    dw_real *dx = j->d_in + r * j->ld_d_in;
    const dw_real rstd = j->rstd[r], mean = n->layer ? j->mean[r] : 0, offset = n->unit_offset;
    const size_t width = n->width, whole = width / 8 * 8;
    /* Eight interleaved parts: an order that depends on the width alone. */
    double part_g[8] = {0}, part_gh[8] = {0};
    for (size_t i = 0; i < whole; i += 8)
        for (int k = 0; k < 8; k++) {
            dw_real g = dy[i + k] * (offset + w[i + k]);
            part_g[k] += g;
            part_gh[k] += g * ((in[i + k] - mean) * rstd);
        }
    for (size_t i = whole; i < width; i++) {
        dw_real g = dy[i] * (offset + w[i]);
        part_g[i - whole] += g;
        part_gh[i - whole] += g * ((in[i] - mean) * rstd);
    }
    double sum_g = 0, sum_gh = 0;
    for (int k = 0; k < 8; k++) {
        sum_g += part_g[k];
        sum_gh += part_gh[k];
    }
    const dw_real mean_g = n->layer ? (dw_real)(sum_g / (double)width) : 0;
    const dw_real mean_gh = (dw_real)(sum_gh / (double)width);
    if (!j->accumulate)
        for (size_t i = 0; i < width; i++)
            dx[i] = rstd * (dy[i] * (offset + w[i]) - mean_g - (in[i] - mean) * rstd * mean_gh);
    else
        for (size_t i = 0; i < width; i++)
            dx[i] += rstd * (dy[i] * (offset + w[i]) - mean_g - (in[i] - mean) * rstd * mean_gh);
}

static void backward_rows_task(void *ctx, size_t task, int thread)
{
    const backward_job *j = ctx;
    for (size_t r = task * ROW_BLOCK; r < dw_min_size((task + 1) * ROW_BLOCK, j->rows); r++)
        backward_row(j, r);
}

/* The sums over rows: every column has one owner. */
static void backward_columns_task(void *ctx, size_t task, int thread)
{
    const backward_job *j = ctx;
    const size_t c0 = task * COL_BLOCK, n = dw_min_size(COL_BLOCK, j->n->width - c0);
    double dw[COL_BLOCK] = {0}, db[COL_BLOCK] = {0};
    for (size_t r = 0; r < j->rows; r++) {
        const dw_real *in = j->in + r * j->ld_in + c0, *dy = j->d_out + r * j->ld_out + c0;
        const dw_real rstd = j->rstd[r], mean = j->n->layer ? j->mean[r] : 0;
        for (size_t c = 0; c < n; c++) {
            dw[c] += dy[c] * ((in[c] - mean) * rstd);
            db[c] += dy[c];
        }
    }
    for (size_t c = 0; c < n; c++) {
        if (j->d_w != NULL)
            j->d_w[c0 + c] = (dw_real)(j->d_w[c0 + c] + dw[c]);
        if (j->d_b != NULL)
            j->d_b[c0 + c] = (dw_real)(j->d_b[c0 + c] + db[c]);
    }
}

void dw_norm_backward(const dw_exec *x, const dw_norm *n, const dw_real *in, size_t ld_in,
                      size_t rows, const dw_real *rstd, const dw_real *mean, const dw_real *d_out,
                      size_t ld_out, dw_real *d_in, size_t ld_d_in, bool accumulate, dw_real *d_w,
                      dw_real *d_b)
{
    backward_job j = {n,   in,    rstd,   mean,    d_out, d_in,      d_w,
                      d_b, ld_in, ld_out, ld_d_in, rows,  accumulate};
    /* Columns first: d_in may be the same memory as d_out. */
    if (d_w != NULL || d_b != NULL)
        dw_pool_run(x->pool, (n->width + COL_BLOCK - 1) / COL_BLOCK, backward_columns_task, &j);
    dw_pool_run(x->pool, (rows + ROW_BLOCK - 1) / ROW_BLOCK, backward_rows_task, &j);
}
