/* The vocabulary head, forward: blocks of logits, their statistics, and the columns of the pairs.
 */
#include "tensor/head.h"

#include <string.h>

#include "tensor/head_stats.h"

typedef struct forward_job {
    const dw_exec *x;
    const dw_head_spec *h;
    const dw_head_pair *pair;
    dw_head_state *s;
    bool top; /* the argmax is wanted */
    size_t row_block;
    const dw_real *hidden; /* gather: source */
    size_t ld;
} forward_job;

/* ---- rows of the pairs ---- */

static size_t count_rows(const dw_head_spec *h, const dw_head_pair *pair, size_t n_pair)
{
    size_t n = 0;
    for (size_t i = 0; i < n_pair; i++) {
        dw_assert(pair[i].target >= 0 && (size_t)pair[i].target < h->vocab);
        dw_assert(i == 0 || pair[i].row >= pair[i - 1].row);
        n += i == 0 || pair[i].row != pair[i - 1].row;
    }
    return n;
}

static void list_rows(dw_head_state *s, const dw_head_pair *pair)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_pairs; i++)
        if (i == 0 || pair[i].row != pair[i - 1].row) {
            s->row[n] = pair[i].row;
            s->first[n++] = (uint32_t)i;
        }
    s->first[n] = (uint32_t)s->n_pairs;
}

static void gather_task(void *ctx, size_t task, int thread)
{
    const forward_job *j = ctx;
    const dw_head_state *s = j->s;
    size_t end = dw_min_size((task + 1) * j->row_block, s->n_rows);
    for (size_t r = task * j->row_block; r < end; r++)
        memcpy(s->hidden + r * j->h->d, j->hidden + s->row[r] * j->ld, j->h->d * sizeof *j->hidden);
}

void dw_head_pick(const dw_head_state *s, const dw_head_pair *pair, size_t row, size_t column,
                  size_t n, const dw_real *logits)
{
    for (size_t p = s->first[row]; p < s->first[row + 1]; p++) {
        size_t target = (size_t)pair[p].target;
        if (target >= column && target < column + n)
            s->pick[p] = logits[target - column];
    }
}

/* ---- statistics ---- */

/* A block of rows against a block of the vocabulary. Logits go to the kept array, or to a buffer
 * that is small enough to stay in cache until they are read. */
static void forward_task(void *ctx, size_t task, int thread)
{
    enum { ROWS = 48 };
    _Alignas(64) dw_real buffer[ROWS * DW_HEAD_UNIT];
    const forward_job *j = ctx;
    dw_head_state *s = j->s;
    size_t block = task % s->n_blocks, row0 = task / s->n_blocks * j->row_block;
    size_t rows = dw_min_size(j->row_block, s->n_rows - row0), begin = block * DW_HEAD_BLOCK;
    size_t end = dw_min_size(begin + DW_HEAD_BLOCK, j->h->vocab);
    dw_head_stats *stats = s->stats + block * s->n_rows + row0;
    dw_real inverse = dw_head_inverse(j->h), *to = buffer;
    size_t ld = DW_HEAD_UNIT;
    if (s->mode == DW_HEAD_KEEP) {
        ld = end - begin;
        to = s->logits + begin * s->n_rows + row0 * ld;
    }
    for (size_t r = 0; r < rows; r++)
        stats[r] = dw_head_stats_empty();
    for (size_t c = begin; c < end; c += DW_HEAD_UNIT) {
        size_t n = dw_min_size(DW_HEAD_UNIT, end - c);
        dw_real *logits = s->mode == DW_HEAD_KEEP ? to + (c - begin) : to;
        dw_head_product(j->x, j->h, s->hidden + row0 * j->h->d, j->h->d, rows, c, n, logits, ld);
        for (size_t r = 0; r < rows; r++) {
            dw_head_stats unit =
                dw_head_stats_unit(j->x->kernels, logits + r * ld, n, c, inverse, j->top);
            dw_head_stats_merge(&stats[r], &unit);
            dw_head_pick(s, j->pair, row0 + r, c, n, logits + r * ld);
        }
    }
}

static void put(double *column, size_t i, double value)
{
    if (column != NULL)
        column[i] = value;
}

static void write_columns(const dw_head_spec *h, const dw_head_pair *pair, dw_head_state *s,
                          dw_head_out *out)
{
    dw_real inverse = dw_head_inverse(h);
    for (size_t r = 0; r < s->n_rows; r++) {
        dw_head_stats t = dw_head_stats_empty();
        for (size_t b = 0; b < s->n_blocks; b++)
            dw_head_stats_merge(&t, &s->stats[b * s->n_rows + r]);
        double lse = dw_head_stats_lse(&t), mean = t.logits / (double)h->vocab;
        s->lse[r] = lse;
        s->entropy[r] = dw_head_stats_entropy(&t);
        for (size_t p = s->first[r]; p < s->first[r + 1]; p++) {
            put(out->logp, p, (double)(s->pick[p] * inverse) - lse);
            put(out->entropy, p, s->entropy[r]);
            put(out->mean_logp, p, mean / h->temperature - lse);
            put(out->collision, p, t.square / (t.sum * t.sum));
            put(out->mean_logit, p, mean);
            put(out->top_prob, p, 1 / t.sum);
            if (out->top1 != NULL)
                out->top1[p] = (uint32_t)pair[p].target == t.top;
        }
    }
}

static dw_status run_forward(const dw_exec *x, const dw_head_spec *h, const dw_real *hidden,
                             size_t ld, const dw_head_pair *pair, dw_head_out *out,
                             dw_head_state *s)
{
    forward_job j = {.x = x, .h = h, .pair = pair, .s = s, .hidden = hidden, .ld = ld};
    j.top = out->top1 != NULL;
    j.row_block = dw_head_row_block(s->n_rows);
    size_t n_row_block = dw_div_up(s->n_rows, j.row_block);
    list_rows(s, pair);
    dw_pool_run(x->pool, n_row_block, gather_task, &j);
    if (s->mode == DW_HEAD_JACOBIAN)
        dw_head_jacobian(x, h, pair, j.top, s);
    else
        dw_pool_run(x->pool, n_row_block * s->n_blocks, forward_task, &j);
    write_columns(h, pair, s, out);
    return DW_OK;
}

dw_status dw_head_forward(const dw_exec *x, const dw_head_spec *h, const dw_real *hidden, size_t ld,
                          const dw_head_pair *pair, size_t n_pair, dw_head_mode mode,
                          dw_head_wants wants, dw_head_out *out, dw_head_state *state, dw_err *err)
{
    dw_head_state own = {0}, *s = state == NULL ? &own : state;
    dw_assert(state != NULL || mode == DW_HEAD_FORWARD);
    s->mode = mode;
    s->wants = wants;
    dw_status status = dw_head_state_layout(s, h, count_rows(h, pair, n_pair), n_pair, err);
    if (status == DW_OK && n_pair > 0)
        status = run_forward(x, h, hidden, ld, pair, out, s);
    dw_head_state_finish(&own);
    return status;
}

/* ---- logits for sampling ---- */

typedef struct logits_job {
    const dw_exec *x;
    const dw_head_spec *h;
    const dw_real *hidden;
    dw_real *logits;
    size_t ld, rows, row_block, n_blocks;
} logits_job;

static void logits_task(void *ctx, size_t task, int thread)
{
    const logits_job *j = ctx;
    size_t row = task / j->n_blocks * j->row_block, begin = task % j->n_blocks * DW_HEAD_BLOCK;
    size_t n = dw_min_size(DW_HEAD_BLOCK, j->h->vocab - begin);
    dw_head_product(j->x, j->h, j->hidden + row * j->ld, j->ld,
                    dw_min_size(j->row_block, j->rows - row), begin, n,
                    j->logits + row * j->h->vocab + begin, j->h->vocab);
}

void dw_head_logits(const dw_exec *x, const dw_head_spec *h, const dw_real *hidden, size_t ld,
                    size_t rows, dw_real *logits)
{
    if (rows == 0)
        return;
    logits_job j = {.x = x, .h = h, .hidden = hidden, .logits = logits, .ld = ld, .rows = rows};
    j.row_block = 48;
    j.n_blocks = dw_div_up(h->vocab, DW_HEAD_BLOCK);
    dw_pool_run(x->pool, dw_div_up(rows, j.row_block) * j.n_blocks, logits_task, &j);
}
