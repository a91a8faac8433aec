/* The frozen head: forward sums sum_j p_j E_j (and its like for the entropy) block by block under a
 * running maximum, so that backward only scales rows. */
#include <string.h>

#include "tensor/head_stats.h"

/* With z the capped logits, f = d capped / d raw (1 without a cap), ln p = x - lse, while blocks
 * are read (m is the maximum so far):
 *     u = sum exp(x - m) f E        v = sum exp(x - m) (x - m) f E        mean = sum f E
 * and in the end
 *     u = sum p f E                 v = -sum p (ln p + H) f E             mean = sum f E / vocab */
typedef struct jacobian_job {
    const dw_exec *x;
    const dw_head_spec *h;
    const dw_head_pair *pair;
    dw_head_state *s;
    dw_head_stats *run; /* [n_rows] merged statistics so far */
    bool top;
    size_t row0, rows, row_block; /* of the chunk */
    size_t block, begin, n;       /* columns */
} jacobian_job;

static bool own_mean(const dw_head_state *s)
{
    return s->m_weight != NULL;
}

/* Raises the row's maximum: what was summed under the old one is rescaled. */
static void raise_row(const jacobian_job *j, size_t row, double old, double max)
{
    const dw_head_state *s = j->s;
    dw_real delta = (dw_real)(old - max), factor = (dw_real)exp(old - max);
    dw_real *u = s->u + row * j->h->d, *v = s->v == NULL ? NULL : s->v + row * j->h->d;
    for (size_t i = 0; i < j->h->d && v != NULL; i++)
        v[i] = (v[i] + delta * u[i]) * factor;
    for (size_t i = 0; i < j->h->d; i++)
        u[i] *= factor;
}

/* One row of logits becomes weights, in place. */
static void weigh_row(const jacobian_job *j, dw_real *z, dw_real *v_weight, dw_real *m_weight,
                      dw_real max)
{
    const dw_head_spec *h = j->h;
    const bool capped = h->softcap != 0;
    for (size_t c = 0; c < j->n; c += DW_HEAD_UNIT) {
        size_t n = dw_min_size(DW_HEAD_UNIT, j->n - c);
        dw_real slope[DW_HEAD_UNIT], *vw = v_weight == NULL ? NULL : v_weight + c;
        for (size_t i = 0; i < n && capped; i++)
            slope[i] = dw_head_cap_slope(h, z[c + i]);
        j->x->kernels->softmax_weights(dw_head_inverse(h), max, z + c, vw, n);
        if (!capped)
            continue;
        for (size_t i = 0; i < n; i++)
            z[c + i] *= slope[i];
        for (size_t i = 0; i < n && vw != NULL; i++)
            vw[i] *= slope[i];
        for (size_t i = 0; i < n && m_weight != NULL; i++)
            m_weight[c + i] = slope[i];
    }
}

static void block_task(void *ctx, size_t task, int thread)
{
    const jacobian_job *j = ctx;
    const dw_head_spec *h = j->h;
    dw_head_state *s = j->s;
    size_t at = task * j->row_block, rows = dw_min_size(j->row_block, j->rows - at);
    dw_real *z = s->logits + at * j->n, inverse = dw_head_inverse(h);
    dw_head_stats *stats = s->stats + j->block * s->n_rows + j->row0 + at;
    dw_head_product(j->x, h, s->hidden + (j->row0 + at) * h->d, h->d, rows, j->begin, j->n, z,
                    j->n);
    for (size_t r = 0; r < rows; r++, z += j->n, at++) {
        size_t row = j->row0 + at;
        stats[r] = dw_head_stats_empty();
        for (size_t c = 0; c < j->n; c += DW_HEAD_UNIT) {
            dw_head_stats unit =
                dw_head_stats_unit(j->x->kernels, z + c, dw_min_size(DW_HEAD_UNIT, j->n - c),
                                   j->begin + c, inverse, j->top);
            dw_head_stats_merge(&stats[r], &unit);
        }
        dw_head_pick(s, j->pair, row, j->begin, j->n, z);
        double old = j->run[row].max;
        dw_head_stats_merge(&j->run[row], &stats[r]);
        if (j->block > 0 && j->run[row].max > old)
            raise_row(j, row, old, j->run[row].max);
        weigh_row(j, z, s->v_weight == NULL ? NULL : s->v_weight + at * j->n,
                  own_mean(s) ? s->m_weight + at * j->n : NULL, (dw_real)j->run[row].max);
    }
}

static void finish_task(void *ctx, size_t task, int thread)
{
    const jacobian_job *j = ctx;
    const dw_head_state *s = j->s;
    size_t d = j->h->d, row0 = j->row0 + task * j->row_block;
    size_t end = dw_min_size(row0 + j->row_block, j->row0 + j->rows);
    for (size_t row = row0; row < end; row++) {
        const dw_head_stats *t = &j->run[row];
        dw_real *u = s->u + row * d, inverse = (dw_real)(1 / t->sum);
        dw_real shift = (dw_real)(dw_head_stats_entropy(t) - log(t->sum));
        for (size_t i = 0; i < d; i++)
            u[i] *= inverse;
        for (size_t i = 0; i < d && s->v != NULL; i++)
            s->v[row * d + i] = -(s->v[row * d + i] * inverse + shift * u[i]);
        for (size_t i = 0; i < d && own_mean(s); i++)
            s->mean[row * d + i] /= (dw_real)j->h->vocab;
    }
}

static void add_block(const jacobian_job *j, const dw_real *weight, dw_real *sum)
{
    size_t d = j->h->d;
    dw_panels_backward_input(j->x, weight, j->n, j->rows, j->h->w, j->begin, j->n,
                             sum + j->row0 * d, d, j->block > 0);
}

/* Without a cap every row has the same mean. */
static void common_mean(const dw_exec *x, const dw_head_spec *h, dw_real *mean)
{
    memset(mean, 0, h->d * sizeof *mean);
    dw_panels_sum(x, h->w, mean);
    for (size_t i = 0; i < h->d; i++)
        mean[i] /= (dw_real)h->vocab;
}

void dw_head_jacobian(const dw_exec *x, const dw_head_spec *h, const dw_head_pair *pair, bool top,
                      dw_head_state *s)
{
    jacobian_job j = {.x = x, .h = h, .pair = pair, .s = s, .top = top};
    j.run = s->stats + s->n_blocks * s->n_rows;
    for (size_t r = 0; r < s->n_rows; r++)
        j.run[r] = dw_head_stats_empty();
    for (j.row0 = 0; j.row0 < s->n_rows; j.row0 += DW_HEAD_CHUNK) {
        j.rows = dw_min_size(DW_HEAD_CHUNK, s->n_rows - j.row0);
        j.row_block = dw_head_row_block(j.rows);
        size_t tasks = dw_div_up(j.rows, j.row_block);
        for (j.block = 0; j.block < s->n_blocks; j.block++) {
            j.begin = j.block * DW_HEAD_BLOCK;
            j.n = dw_min_size(DW_HEAD_BLOCK, h->vocab - j.begin);
            dw_pool_run(x->pool, tasks, block_task, &j);
            add_block(&j, s->logits, s->u);
            if (s->v != NULL)
                add_block(&j, s->v_weight, s->v);
            if (own_mean(s))
                add_block(&j, s->m_weight, s->mean);
        }
        dw_pool_run(x->pool, tasks, finish_task, &j);
    }
    if (s->wants.mean_logp_grad && !own_mean(s))
        common_mean(x, h, s->mean);
}
