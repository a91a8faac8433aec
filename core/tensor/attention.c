/* Attention forward: key blocks aligned to absolute positions, merged from the root by an online
 * softmax, so that a row's bits depend on its query and its keys alone. */
#include "tensor/attention.h"

#include <string.h>

#include "base/alloc.h"
#include "tensor/attention_pack.h"
#include "tensor/kernels.h"

enum { MAX_LINES = 192, HEADS_PER_TASK = 8, TASK_LINES = 400 };

/* How the heads of one query are cut into tasks; by shape alone. */
typedef struct cut {
    uint32_t heads, chunks; /* query heads per task, tasks per kv head */
    uint32_t rows, tiles;   /* rows per tile */
} cut;

typedef struct forward_job {
    const dw_kernels *kernels;
    const dw_attention *a;
    const dw_query *query;
    size_t n_query;
    size_t *first; /* [n_query + 1] first task of each query */
} forward_job;

/* The lines of one product: rows of one head, or the heads of one row. */
typedef struct lines {
    const dw_real *q;
    dw_real *out;
    size_t ld_q, ld_out;
    uint32_t n, pos, step; /* line i stands at position pos + i * step */
    dw_real *max, *sum;    /* [n] running statistics */
} lines;

/* One key block of one kv head in panels. */
typedef struct key_block {
    uint32_t n;       /* keys of it that are visible to some line of the tile */
    uint64_t pos;     /* of its first key */
    const dw_real *k; /* [panels][head_dim][16] */
    const dw_real *v; /* [panels][v_rows][16] */
    size_t v_rows;
} key_block;

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static size_t block_head_elements(const dw_attention *a)
{
    return DW_KEY_BLOCK * (a->head_dim + dw_panel_ceil(a->head_dim));
}

size_t dw_attention_block_elements(const dw_attention *a)
{
    return a->kv_heads * block_head_elements(a);
}

void dw_attention_block_store(const dw_attention *a, dw_real *block, uint32_t first,
                              const dw_real *k, const dw_real *v, size_t ld, uint32_t n)
{
    size_t hd = a->head_dim;
    dw_assert(first + n <= DW_KEY_BLOCK);
    for (uint32_t h = 0; h < a->kv_heads; h++, block += block_head_elements(a)) {
        dw_real *values = block + DW_KEY_BLOCK * hd;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t slot = first + i;
            const dw_real *kr = k + i * ld + h * hd, *vr = v + i * ld + h * hd;
            dw_real *to = block + slot / DW_PANEL * DW_PANEL * hd + slot % DW_PANEL;
            for (size_t d = 0; d < hd; d++)
                to[d * DW_PANEL] = kr[d];
            for (size_t d = 0; d < hd; d++)
                values[d / DW_PANEL * DW_PANEL * DW_KEY_BLOCK + slot * DW_PANEL + d % DW_PANEL] =
                    vr[d];
        }
    }
}

static cut cut_query(const dw_attention *a, const dw_query *q)
{
    uint32_t group = a->heads / a->kv_heads;
    uint32_t parts = (group + HEADS_PER_TASK - 1) / HEADS_PER_TASK;
    cut c = {.heads = (group + parts - 1) / parts};
    c.chunks = (group + c.heads - 1) / c.heads;
    if (q->rows == 0)
        return c;
    uint32_t most = c.heads == 1 ? 192 : c.heads <= 3 ? 96 : 48;
    c.tiles = (q->rows + most - 1) / most;
    c.rows = (q->rows + c.tiles - 1) / c.tiles;
    c.rows = min_u32((c.rows + 5) / 6 * 6, most);
    c.tiles = (q->rows + c.rows - 1) / c.rows;
    return c;
}

/* The rows of keys pos .. pos + n - 1 of one kv head, whatever spans they lie in. */
static void find_rows(const dw_query *q, size_t column, uint64_t pos, uint32_t n, const dw_real **k,
                      const dw_real **v)
{
    uint64_t at = 0;
    uint32_t s = 0;
    while (at + q->span[s].len <= pos)
        at += q->span[s++].len;
    for (uint32_t i = 0; i < n; i++) {
        while (pos + i >= at + q->span[s].len)
            at += q->span[s++].len;
        size_t row = (size_t)(pos + i - at) * q->span[s].ld + column;
        k[i] = q->span[s].k + row;
        v[i] = q->span[s].v + row;
    }
}

static const dw_real *find_packed(const dw_query *q, uint64_t pos)
{
    uint64_t at = 0;
    uint32_t s = 0;
    while (s < q->n_span && at + q->span[s].len <= pos)
        at += q->span[s++].len;
    dw_assert(s < q->n_span);
    return at == pos ? q->span[s].block : NULL;
}

/* Points at the block where it lies packed already, else packs it into `room`. */
static key_block load_block(const dw_attention *a, const dw_query *q, uint32_t kv_head,
                            uint64_t pos, uint32_t n, dw_real *room)
{
    size_t hd = a->head_dim;
    key_block b = {.n = n, .pos = pos};
    const dw_real *packed = find_packed(q, pos);
    if (packed != NULL) {
        b.k = packed + kv_head * block_head_elements(a);
        b.v = b.k + DW_KEY_BLOCK * hd;
        b.v_rows = DW_KEY_BLOCK;
        return b;
    }
    const dw_real *k[DW_KEY_BLOCK], *v[DW_KEY_BLOCK];
    find_rows(q, kv_head * hd, pos, n, k, v);
    dw_attention_pack_transposed(k, n, hd, room);
    dw_attention_pack_straight(v, n, hd, room + DW_KEY_BLOCK * hd);
    b.k = room;
    b.v = room + DW_KEY_BLOCK * hd;
    b.v_rows = n;
    return b;
}

/* What was summed under an older, smaller maximum. */
static void rescale(const dw_attention *a, dw_real *out, dw_real factor)
{
    size_t d = 0;
    for (; d + DW_PANEL <= a->head_dim; d += DW_PANEL)
        for (size_t i = d; i < d + DW_PANEL; i++)
            out[i] *= factor;
    for (; d < a->head_dim; d++)
        out[d] *= factor;
}

/* Scores of one line to probabilities under the running maximum: mask, scale, cap, raise the
 * maximum, exp. A line that sees no key of the block gets zeros and keeps its state, so walking
 * such a block or not makes no difference. */
static void weigh_line(const dw_kernels *kernels, const dw_attention *a, const lines *l, uint32_t i,
                       const key_block *b, dw_real *s, size_t width)
{
    uint64_t pos = l->pos + (uint64_t)i * l->step;
    size_t hi = pos - b->pos < b->n ? (size_t)(pos - b->pos + 1) : b->n, lo = 0;
    dw_real scale = a->scale;
    if (a->window != 0 && pos + 1 > b->pos + a->window)
        lo = (size_t)(pos + 1 - b->pos - a->window);
    if (lo >= hi) {
        memset(s, 0, width * sizeof *s);
        return;
    }
    if (a->softcap != 0) {
        for (size_t j = lo; j < hi; j++)
            s[j] = a->softcap * dw_rtanh(s[j] * scale / a->softcap);
        scale = 1;
    }
    for (size_t j = 0; j < lo; j++)
        s[j] = -(dw_real)INFINITY;
    for (size_t j = hi; j < width; j++)
        s[j] = -(dw_real)INFINITY;
    dw_real max = kernels->scale_max(s, scale, width), old = l->max[i];
    if (max > old) {
        if (old != -(dw_real)INFINITY) {
            dw_real factor = dw_rexp(old - max);
            l->sum[i] *= factor;
            rescale(a, l->out + i * l->ld_out, factor);
        }
        l->max[i] = max;
    }
    l->sum[i] += kernels->exp_sum(s, l->max[i], width);
}

/* One key block for one set of lines. */
static void attend(const dw_kernels *kernels, const dw_attention *a, const lines *l,
                   const key_block *b, dw_real *s)
{
    size_t hd = a->head_dim, width = dw_panel_ceil(b->n);
    kernels->product(l->q, l->ld_q, l->n, hd, b->k, b->n, s, DW_KEY_BLOCK, false);
    for (uint32_t i = 0; i < l->n; i++)
        weigh_line(kernels, a, l, i, b, s + i * DW_KEY_BLOCK, width);
    if (b->v_rows == b->n) {
        kernels->product(s, DW_KEY_BLOCK, l->n, b->n, b->v, hd, l->out, l->ld_out, true);
        return;
    }
    for (size_t d = 0; d < hd; d += DW_PANEL)
        kernels->product(s, DW_KEY_BLOCK, l->n, b->n, b->v + d * b->v_rows,
                         hd - d < DW_PANEL ? hd - d : DW_PANEL, l->out + d, l->ld_out, true);
}

/* Divides by the sum. Adding zero makes -0 into 0: which of the two a sum of underflows is depends
 * on masked neighbours. */
static void finish_lines(const dw_attention *a, const lines *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        dw_real *out = l->out + i * l->ld_out, inverse = 1 / l->sum[i];
        for (size_t d = 0; d < a->head_dim; d++)
            out[d] = out[d] * inverse + 0;
    }
}

/* A tile of rows of some query heads that share a kv head. */
typedef struct tile {
    const dw_query *q;
    uint32_t kv_head, head, heads; /* first query head and their number */
    uint32_t row, rows;
} tile;

/* Sets of lines of a tile: one per head, or one for all heads of a single row (their outputs lie
 * head_dim apart). */
static uint32_t make_lines(const dw_attention *a, const tile *t, lines *l, dw_real *max,
                           dw_real *sum)
{
    const dw_query *q = t->q;
    uint32_t n = t->rows == 1 ? 1 : t->heads;
    for (uint32_t h = 0; h < n; h++) {
        size_t column = (size_t)(t->head + h) * a->head_dim;
        l[h] = (lines){.q = q->q + t->row * q->ld_q + column,
                       .out = q->out + t->row * q->ld_out + column,
                       .ld_q = t->rows == 1 ? a->head_dim : q->ld_q,
                       .ld_out = t->rows == 1 ? a->head_dim : q->ld_out,
                       .n = t->rows == 1 ? t->heads : t->rows,
                       .pos = q->pos0 + t->row,
                       .step = t->rows == 1 ? 0 : 1,
                       .max = max,
                       .sum = sum};
        for (uint32_t i = 0; i < l[h].n; i++) {
            max[i] = -(dw_real)INFINITY;
            sum[i] = 0;
            memset(l[h].out + i * l[h].ld_out, 0, a->head_dim * sizeof(dw_real));
        }
        max += l[h].n;
        sum += l[h].n;
    }
    return n;
}

/* The lines from the first that has reached position pos. */
static lines lines_from(const lines *l, uint64_t pos)
{
    lines rest = *l;
    if (pos <= l->pos)
        return rest;
    uint32_t skip = (uint32_t)(pos - l->pos);
    rest.q += skip * l->ld_q;
    rest.out += skip * l->ld_out;
    rest.n -= skip;
    rest.pos += skip;
    rest.max += skip;
    rest.sum += skip;
    return rest;
}

static void run_tile(const dw_kernels *kernels, const dw_attention *a, const tile *t)
{
    _Alignas(64) dw_real room[2 * DW_KEY_BLOCK * DW_HEAD_DIM_MAX];
    _Alignas(64) dw_real s[MAX_LINES * DW_KEY_BLOCK];
    dw_real max[TASK_LINES], sum[TASK_LINES];
    lines l[HEADS_PER_TASK];
    dw_assert(t->heads > 0 && t->rows > 0);
    uint32_t n = make_lines(a, t, l, max, sum);
    memset(s, 0, l[0].n * (DW_KEY_BLOCK * sizeof *s));
    uint64_t first = (uint64_t)t->q->pos0 + t->row, end = first + t->rows, pos = 0;
    if (a->window != 0 && first + 1 > a->window)
        pos = (first + 1 - a->window) / DW_KEY_BLOCK * DW_KEY_BLOCK;
    for (; pos < end; pos += DW_KEY_BLOCK) {
        uint32_t keys = (uint32_t)(end - pos < DW_KEY_BLOCK ? end - pos : DW_KEY_BLOCK);
        key_block b = load_block(a, t->q, t->kv_head, pos, keys, room);
        for (uint32_t h = 0; h < n; h++) {
            lines rest = lines_from(&l[h], pos);
            attend(kernels, a, &rest, &b, s);
        }
    }
    for (uint32_t h = 0; h < n; h++)
        finish_lines(a, &l[h]);
    if (t->q->lse != NULL)
        for (uint32_t h = 0; h < t->heads; h++)
            for (uint32_t i = 0; i < t->rows; i++)
                t->q->lse[(t->row + i) * (size_t)a->heads + t->head + h] =
                    max[h * t->rows + i] + dw_rlog(sum[h * t->rows + i]);
}

static void forward_task(void *ctx, size_t task, int thread)
{
    const forward_job *j = ctx;
    size_t lo = 0, hi = j->n_query; /* the query whose first task is the last one <= task */
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        if (j->first[mid] <= task)
            lo = mid;
        else
            hi = mid;
    }
    const dw_query *q = &j->query[lo];
    cut c = cut_query(j->a, q);
    uint32_t local = (uint32_t)(task - j->first[lo]), group = j->a->heads / j->a->kv_heads;
    uint32_t per_tile = j->a->kv_heads * c.chunks, part = local % per_tile;
    uint32_t index = c.tiles - 1 - local / per_tile; /* the last tile has most keys: first */
    tile t = {.q = q, .kv_head = part / c.chunks, .row = index * c.rows};
    uint32_t in_group = part % c.chunks * c.heads;
    t.head = t.kv_head * group + in_group;
    t.heads = min_u32(c.heads, group - in_group);
    t.rows = min_u32(c.rows, q->rows - t.row);
    run_tile(j->kernels, j->a, &t);
}

void dw_attention_forward(const dw_exec *x, const dw_attention *a, const dw_query *query,
                          size_t n_query)
{
    if (n_query == 0)
        return;
    dw_assert(a->scale > 0 && a->head_dim > 0 && a->head_dim <= DW_HEAD_DIM_MAX &&
              a->heads % a->kv_heads == 0);
    forward_job j = {x->kernels, a, query, n_query, dw_alloc((n_query + 1) * sizeof(size_t))};
    j.first[0] = 0;
    for (size_t i = 0; i < n_query; i++) {
        cut c = cut_query(a, &query[i]);
        j.first[i + 1] = j.first[i] + (size_t)c.tiles * a->kv_heads * c.chunks;
    }
    dw_pool_run(x->pool, j.first[n_query], forward_task, &j);
    dw_free(j.first);
}
