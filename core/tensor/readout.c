/* Small heads, forward and backward: plain sums in double. */
#include "tensor/readout.h"

#include "base/size.h"

enum { ROWS = 32, COLUMNS = 64 }; /* of a task */

typedef struct readout_job {
    const dw_readout *h;
    const dw_real *in;
    const uint32_t *row;
    size_t ld, n;
    double *out;
    const double *d_out;
    dw_real *d_in, *d_w;
    size_t ld_d;
} readout_job;

static void forward_task(void *ctx, size_t task, int thread)
{
    const readout_job *j = ctx;
    const dw_readout *h = j->h;
    size_t end = dw_min_size((task + 1) * ROWS, j->n);
    for (size_t i = task * ROWS; i < end; i++) {
        const dw_real *in = j->in + j->row[i] * j->ld;
        for (size_t c = 0; c < h->width; c++) {
            const dw_real *w = h->w + c * h->d;
            double sum[4] = {0};
            size_t k = 0;
            for (; k + 4 <= h->d; k += 4)
                for (size_t l = 0; l < 4; l++)
                    sum[l] += (double)w[k + l] * (double)in[k + l];
            for (; k < h->d; k++)
                sum[0] += (double)w[k] * (double)in[k];
            j->out[i * h->width + c] =
                (sum[0] + sum[1]) + (sum[2] + sum[3]) + (h->bias ? (double)h->bias[c] : 0);
        }
    }
}

void dw_readout_forward(const dw_exec *x, const dw_readout *h, const dw_real *in, size_t ld,
                        const uint32_t *row, size_t n, double *out)
{
    readout_job j = {.h = h, .in = in, .row = row, .ld = ld, .n = n, .out = out};
    dw_pool_run(x->pool, dw_div_up(n, ROWS), forward_task, &j);
}

/* A task owns columns of every row and walks the rows in order, whatever they are: repeats need no
 * care and the sums have one order. */
static void backward_task(void *ctx, size_t task, int thread)
{
    const readout_job *j = ctx;
    const dw_readout *h = j->h;
    size_t begin = task * COLUMNS, n = dw_min_size(COLUMNS, h->d - begin);
    for (size_t c = 0; c < h->width; c++) {
        const dw_real *w = h->w + c * h->d + begin;
        double sum[COLUMNS] = {0};
        for (size_t i = 0; i < j->n; i++) {
            double g = j->d_out[i * h->width + c];
            if (g == 0)
                continue;
            const dw_real *in = j->in + j->row[i] * j->ld + begin;
            dw_real *d_in = j->d_in ? j->d_in + j->row[i] * j->ld_d + begin : NULL;
            for (size_t k = 0; k < n && d_in; k++)
                d_in[k] += (dw_real)(g * (double)w[k]);
            for (size_t k = 0; k < n && j->d_w; k++)
                sum[k] += g * (double)in[k];
        }
        for (size_t k = 0; k < n && j->d_w; k++)
            j->d_w[c * h->d + begin + k] += (dw_real)sum[k];
    }
}

void dw_readout_backward(const dw_exec *x, const dw_readout *h, const dw_real *in, size_t ld,
                         const uint32_t *row, size_t n, const double *d_out, dw_real *d_in,
                         size_t ld_d, dw_real *d_w, dw_real *d_bias)
{
    readout_job j = {.h = h,
                     .in = in,
                     .row = row,
                     .ld = ld,
                     .n = n,
                     .d_out = d_out,
                     .d_in = d_in,
                     .ld_d = ld_d,
                     .d_w = d_w};
    dw_pool_run(x->pool, dw_div_up(h->d, COLUMNS), backward_task, &j);
    for (size_t c = 0; c < h->width && d_bias; c++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += d_out[i * h->width + c];
        d_bias[c] += (dw_real)sum;
    }
}
