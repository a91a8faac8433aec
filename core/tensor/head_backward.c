/* The vocabulary head, backward: derivatives of a block's logits, then two products; or, where the
 * head is frozen, rows of the saved sums scaled. */
#include <string.h>

#include "tensor/head_stats.h"

typedef struct backward_job {
    const dw_exec *x;
    const dw_head_spec *h;
    const dw_head_pair *pair;
    const dw_head_state *s;
    const double *d_logp, *d_entropy, *d_mean_logp;
    dw_real *d_hidden;
    size_t ld_d;
    size_t row0, rows, row_block, n_row_block; /* of the chunk */
    size_t begin, n;                           /* columns of the block */
    dw_real *logits;                           /* [rows][n] */
} backward_job;

/* Derivatives of a row: sums over its pairs. */
typedef struct row_grad {
    double logp, entropy, mean_logp;
} row_grad;

static row_grad grad_of(const backward_job *j, size_t row)
{
    row_grad g = {0};
    for (size_t p = j->s->first[row]; p < j->s->first[row + 1]; p++) {
        g.logp += j->d_logp == NULL ? 0 : j->d_logp[p];
        g.entropy += j->d_entropy == NULL ? 0 : j->d_entropy[p];
        g.mean_logp += j->d_mean_logp == NULL ? 0 : j->d_mean_logp[p];
    }
    return g;
}

/* Logits of columns column .. column + n - 1 become their derivatives:
 *     (mean_logp / vocab - p (logp + mean_logp + entropy (ln p + H))) / temperature
 * and the pairs' own [j = target] logp / temperature. */
static void differentiate(const backward_job *j, size_t row, size_t column, size_t n, dw_real *z)
{
    dw_real slope[DW_HEAD_UNIT];
    const dw_head_state *s = j->s;
    const bool capped = j->h->softcap != 0;
    row_grad g = grad_of(j, row);
    double tau = j->h->temperature, h = s->entropy[row];
    dw_softmax_terms t = {.scale = dw_head_inverse(j->h),
                          .lse_hi = (dw_real)s->lse[row],
                          .constant = (dw_real)(g.mean_logp / (double)j->h->vocab / tau),
                          .factor = (dw_real)((g.logp + g.mean_logp + g.entropy * h) / tau),
                          .slope = (dw_real)(g.entropy / tau)};
    t.lse_lo = (dw_real)(s->lse[row] - (double)t.lse_hi);
    for (size_t i = 0; i < n && capped; i++)
        slope[i] = dw_head_cap_slope(j->h, z[i]);
    j->x->kernels->softmax_grad(&t, z, n);
    for (size_t i = 0; i < n && capped; i++)
        z[i] *= slope[i];
    for (size_t q = s->first[row]; j->d_logp != NULL && q < s->first[row + 1]; q++) {
        size_t target = (size_t)j->pair[q].target;
        if (target < column || target >= column + n)
            continue;
        dw_real own = (dw_real)(j->d_logp[q] / tau);
        z[target - column] += capped ? own * dw_head_cap_slope(j->h, s->pick[q]) : own;
    }
}

/* Some rows and some units of a block. */
enum { TASK_COLUMNS = 2 * DW_HEAD_UNIT };

static void differentiate_task(void *ctx, size_t task, int thread)
{
    const backward_job *j = ctx;
    size_t at = task % j->n_row_block * j->row_block, from = task / j->n_row_block * TASK_COLUMNS;
    size_t rows = dw_min_size(j->row_block, j->rows - at);
    size_t end = dw_min_size(from + TASK_COLUMNS, j->n);
    for (size_t c = from; c < end; c += DW_HEAD_UNIT) {
        size_t n = dw_min_size(DW_HEAD_UNIT, end - c);
        dw_real *z = j->logits + at * j->n + c;
        if (j->s->mode == DW_HEAD_RECOMPUTE)
            dw_head_product(j->x, j->h, j->s->hidden + (j->row0 + at) * j->h->d, j->h->d, rows,
                            j->begin + c, n, z, j->n);
        for (size_t r = 0; r < rows; r++)
            differentiate(j, j->row0 + at + r, j->begin + c, n, z + r * j->n);
    }
}

static void scatter_task(void *ctx, size_t task, int thread)
{
    const backward_job *j = ctx;
    size_t d = j->h->d, end = dw_min_size((task + 1) * j->row_block, j->rows);
    for (size_t r = j->row0 + task * j->row_block; r < j->row0 + end; r++)
        memcpy(j->d_hidden + j->s->row[r] * j->ld_d, j->s->grad + r * d, d * sizeof(dw_real));
}

static void set_chunk(backward_job *j, size_t row0)
{
    j->row0 = row0;
    j->rows = dw_min_size(DW_HEAD_CHUNK, j->s->n_rows - row0);
    j->row_block = dw_head_row_block(j->rows);
    j->n_row_block = dw_div_up(j->rows, j->row_block);
}

static void chunk_block(backward_job *j, size_t block, dw_real *d_w, dw_real *d_bias)
{
    const dw_head_state *s = j->s;
    size_t d = j->h->d;
    j->begin = block * DW_HEAD_BLOCK;
    j->n = dw_min_size(DW_HEAD_BLOCK, j->h->vocab - j->begin);
    j->logits = s->logits;
    if (s->mode == DW_HEAD_KEEP)
        j->logits += j->begin * s->n_rows + j->row0 * j->n;
    size_t columns = dw_div_up(j->n, TASK_COLUMNS);
    dw_pool_run(j->x->pool, j->n_row_block * columns, differentiate_task, j);
    dw_panels_backward_input(j->x, j->logits, j->n, j->rows, j->h->w, j->begin, j->n,
                             s->grad + j->row0 * d, d, block > 0);
    if (d_w != NULL)
        dw_linear_backward_weight(j->x, j->logits, j->n, s->hidden + j->row0 * d, d, j->rows, j->n,
                                  d, 1, d_w + j->begin * d, d);
    if (d_bias != NULL)
        dw_linear_backward_bias(j->x, j->logits, j->n, j->rows, j->n, d_bias + j->begin);
}

/* ---- frozen head ---- */

/* out[d] += factor * a row of the head. */
static void add_row(const backward_job *j, size_t row, dw_real factor, dw_real *out)
{
    enum { PIECE = 512 };
    dw_real w[PIECE];
    for (size_t c = 0; c < j->h->d; c += PIECE) {
        const size_t n = dw_min_size(PIECE, j->h->d - c);
        dw_panels_row(j->h->w, row, c, n, w);
        j->x->kernels->axpy(factor, w, out + c, n);
    }
}

static void scale_task(void *ctx, size_t task, int thread)
{
    const backward_job *j = ctx;
    const dw_head_state *s = j->s;
    size_t d = j->h->d, end = dw_min_size((task + 1) * j->row_block, j->rows);
    double inverse = 1 / j->h->temperature;
    for (size_t r = j->row0 + task * j->row_block; r < j->row0 + end; r++) {
        row_grad g = grad_of(j, r);
        dw_real *out = j->d_hidden + s->row[r] * j->ld_d;
        dw_real cu = (dw_real)(-(g.logp + g.mean_logp) * inverse);
        for (size_t i = 0; i < d; i++)
            out[i] = cu * s->u[r * d + i];
        if (j->d_entropy != NULL)
            j->x->kernels->axpy((dw_real)(g.entropy * inverse), s->v + r * d, out, d);
        if (j->d_mean_logp != NULL)
            j->x->kernels->axpy((dw_real)(g.mean_logp * inverse),
                                s->mean + (s->m_weight != NULL ? r * d : 0), out, d);
        for (size_t p = s->first[r]; j->d_logp != NULL && p < s->first[r + 1]; p++) {
            dw_real slope = j->h->softcap != 0 ? dw_head_cap_slope(j->h, s->pick[p]) : 1;
            add_row(j, (size_t)j->pair[p].target, (dw_real)(j->d_logp[p] * inverse) * slope, out);
        }
    }
}

void dw_head_backward(const dw_exec *x, const dw_head_spec *h, const dw_real *hidden, size_t ld,
                      const dw_head_pair *pair, size_t n_pair, const double *d_logp,
                      const double *d_entropy, const double *d_mean_logp, dw_real *d_hidden,
                      size_t ld_d, dw_real *d_w, dw_real *d_bias, const dw_head_state *state)
{
    backward_job j = {.x = x,
                      .h = h,
                      .pair = pair,
                      .s = state,
                      .d_logp = d_logp,
                      .d_entropy = d_entropy,
                      .d_mean_logp = d_mean_logp,
                      .d_hidden = d_hidden,
                      .ld_d = ld_d};
    bool jacobian = state->mode == DW_HEAD_JACOBIAN;
    dw_assert(state->mode != DW_HEAD_FORWARD && state->n_pairs == n_pair);
    dw_assert(!jacobian || (d_w == NULL && d_bias == NULL));
    dw_assert(!jacobian || d_entropy == NULL || state->wants.entropy_grad);
    dw_assert(!jacobian || d_mean_logp == NULL || state->wants.mean_logp_grad);
    for (size_t row0 = 0; row0 < state->n_rows; row0 += DW_HEAD_CHUNK) {
        set_chunk(&j, row0);
        if (jacobian) {
            dw_pool_run(x->pool, j.n_row_block, scale_task, &j);
            continue;
        }
        for (size_t b = 0; b < state->n_blocks; b++)
            chunk_block(&j, b, d_w, d_bias);
        dw_pool_run(x->pool, j.n_row_block, scatter_task, &j);
    }
}
