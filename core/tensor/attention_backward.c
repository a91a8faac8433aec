/* Attention backward over a forest: probabilities are recomputed from the log-sum-exp, tile by
 * tile, and every partial sum has one owner. */
#include <string.h>

#include "base/alloc.h"
#include "tensor/attention.h"
#include "tensor/attention_pack.h"
#include "tensor/kernels.h"

/* Tiles hold keys down and queries across, S^T = K Q^T: then K, V, P^T and dS^T are the left sides
 * of products as they lie in memory, and only dS is turned round (for dQ). */
enum { QUERIES = 64, KEYS = 96, TASKS = 24, MAX_PARTS = 4 };

typedef struct backward_job {
    const dw_kernels *kernels;
    const dw_attention *a;
    const dw_segment *seg;
    const dw_attention_grad *g;
    const size_t *root; /* [n_seg] the root of each segment's tree */
    const size_t *tree; /* [n_tree] roots */
    size_t n_seg, n_tree, n_row;
    uint32_t parts;
    dw_real *partial; /* [parts][heads][n_row][dk, dv][head_dim] */
    dw_real *rooms;   /* [threads] */
    size_t room_elements;
} backward_job;

/* What one thread works in. */
typedef struct room {
    dw_real *q_t, *d_out_t; /* panels by the transpose: products K q_t and V d_out_t */
    dw_real *q, *d_out;     /* panels of the rows themselves */
    dw_real *k;             /* panels of a key block */
    dw_real *p, *ds, *cap;  /* [KEYS][QUERIES] */
    dw_real *ds_t;          /* [QUERIES][KEYS] */
} room;

/* A tile of queries of one head. */
typedef struct query_tile {
    size_t row, head; /* first batch row */
    uint32_t n;
    size_t width;                         /* n in whole panels: row length of the key tiles */
    uint64_t pos;                         /* of the first row */
    dw_real lse[QUERIES], inner[QUERIES]; /* inner: d_out . out */
} query_tile;

static size_t room_size(const dw_attention *a)
{
    size_t hd = a->head_dim, up = dw_panel_ceil(hd);
    return QUERIES * (2 * hd + 2 * up) + KEYS * up + 4 * (size_t)KEYS * QUERIES;
}

static room room_of(const backward_job *j, int thread)
{
    size_t hd = j->a->head_dim, up = dw_panel_ceil(hd), tile = (size_t)KEYS * QUERIES;
    room r = {.q_t = j->rooms + (size_t)thread * j->room_elements};
    r.d_out_t = r.q_t + QUERIES * hd;
    r.q = r.d_out_t + QUERIES * hd;
    r.d_out = r.q + QUERIES * up;
    r.k = r.d_out + QUERIES * up;
    r.p = r.k + KEYS * up;
    r.ds = r.p + tile;
    r.cap = r.ds + tile;
    r.ds_t = r.cap + tile;
    return r;
}

static size_t rows_of(const dw_segment *seg, size_t n_seg)
{
    size_t n = 0;
    for (size_t i = 0; i < n_seg; i++)
        if (n < (size_t)seg[i].start + seg[i].len)
            n = (size_t)seg[i].start + seg[i].len;
    return n;
}

static size_t trees_of(const dw_segment *seg, size_t n_seg)
{
    size_t n = 0;
    for (size_t i = 0; i < n_seg; i++)
        n += seg[i].parent < 0;
    return n;
}

/* The query tiles of a (tree, head) are dealt to so many owners of partial dK and dV: more than one
 * only where trees and heads are too few to feed the threads. */
static uint32_t parts_of(const dw_attention *a, size_t n_tree)
{
    size_t tasks = n_tree * a->heads;
    if (tasks == 0)
        return 1;
    size_t parts = (TASKS + tasks - 1) / tasks;
    return (uint32_t)(parts < MAX_PARTS ? parts : MAX_PARTS);
}

size_t dw_attention_backward_scratch(const dw_exec *x, const dw_attention *a, const dw_segment *seg,
                                     size_t n_seg)
{
    return (size_t)dw_pool_threads(x->pool) * room_size(a) +
           parts_of(a, trees_of(seg, n_seg)) * a->heads * rows_of(seg, n_seg) * 2 * a->head_dim;
}

static dw_real *partial_of(const backward_job *j, size_t part, size_t head, size_t row)
{
    return j->partial + ((part * j->a->heads + head) * j->n_row + row) * 2 * j->a->head_dim;
}

static void load_queries(const backward_job *j, const room *r, query_tile *t)
{
    const dw_attention_grad *g = j->g;
    size_t hd = j->a->head_dim, column = t->head * hd;
    const dw_real *q[QUERIES], *d_out[QUERIES];
    for (uint32_t i = 0; i < t->n; i++) {
        size_t row = t->row + i;
        q[i] = g->q + row * g->ld_q + column;
        d_out[i] = g->d_out + row * g->ld_out + column;
        t->lse[i] = g->lse[row * j->a->heads + t->head];
        t->inner[i] = j->kernels->dot(d_out[i], g->out + row * g->ld_out + column, hd);
        memset(g->dq + row * g->ld_q + column, 0, hd * sizeof(dw_real));
    }
    for (size_t i = t->n; i < t->width; i++)
        t->lse[i] = t->inner[i] = 0;
    dw_attention_pack_transposed(q, t->n, hd, r->q_t);
    dw_attention_pack_transposed(d_out, t->n, hd, r->d_out_t);
    dw_attention_pack_straight(q, t->n, hd, r->q);
    dw_attention_pack_straight(d_out, t->n, hd, r->d_out);
}

/* Scores of one key to probabilities. */
static void weigh_row(const dw_kernels *kernels, const dw_attention *a, const query_tile *t,
                      dw_real *s, dw_real *cap)
{
    dw_real scale = a->scale;
    if (a->softcap != 0) {
        for (size_t c = 0; c < t->n; c++) {
            dw_real h = dw_rtanh(s[c] * scale / a->softcap);
            s[c] = a->softcap * h;
            cap[c] = 1 - h * h;
        }
        scale = 1;
    }
    kernels->exp_minus(s, scale, t->lse, t->width);
}

/* Key at position pos: queries before it, or a window past it, do not see it. */
static void mask_row(const dw_attention *a, const query_tile *t, uint64_t pos, dw_real *p)
{
    for (size_t c = 0; c < t->n && t->pos + c < pos; c++)
        p[c] = 0;
    if (a->window == 0)
        return;
    uint64_t seen = pos + a->window > t->pos ? pos + a->window - t->pos : 0;
    for (uint64_t c = seen; c < t->n; c++)
        p[c] = 0;
}

/* n keys from batch row `row` at position pos, all of one segment. */
static void key_tile(const backward_job *j, const room *r, const query_tile *t, size_t part,
                     size_t row, uint64_t pos, uint32_t n)
{
    const dw_attention *a = j->a;
    const dw_attention_grad *g = j->g;
    const dw_kernels *kernels = j->kernels;
    size_t ld = t->width, hd = a->head_dim, kv_head = t->head / (a->heads / a->kv_heads);
    const dw_real *k = g->k + row * g->ld_kv + kv_head * hd;
    const dw_real *v = g->v + row * g->ld_kv + kv_head * hd;
    dw_real *dk = partial_of(j, part, t->head, row), *dv = dk + hd;
    kernels->product(k, g->ld_kv, n, hd, r->q_t, t->n, r->p, ld, false);
    for (uint32_t i = 0; i < n; i++)
        weigh_row(kernels, a, t, r->p + i * ld, r->cap + i * ld);
    if (pos + n > t->pos || a->window != 0)
        for (uint32_t i = 0; i < n; i++)
            mask_row(a, t, pos + i, r->p + i * ld);
    kernels->product(v, g->ld_kv, n, hd, r->d_out_t, t->n, r->ds, ld, false);
    for (uint32_t i = 0; i < n; i++) {
        dw_real *ds = r->ds + i * ld, *cap = r->cap + i * ld;
        kernels->score_grad(r->p + i * ld, t->inner, a->scale, ds, t->width);
        for (size_t c = 0; a->softcap != 0 && c < t->n; c++)
            ds[c] *= cap[c];
    }
    kernels->product(r->p, ld, n, t->n, r->d_out, hd, dv, 2 * hd, true);
    kernels->product(r->ds, ld, n, t->n, r->q, hd, dk, 2 * hd, true);
    const dw_real *rows[KEYS];
    for (uint32_t i = 0; i < n; i++)
        rows[i] = k + i * g->ld_kv;
    dw_attention_pack_straight(rows, n, hd, r->k);
    dw_attention_transpose(r->ds, ld, n, t->n, r->ds_t, KEYS);
    kernels->product(r->ds_t, KEYS, t->n, n, r->k, hd, g->dq + t->row * g->ld_q + t->head * hd,
                     g->ld_q, true);
}

static void run_queries(const backward_job *j, const room *r, query_tile *t, size_t part,
                        size_t segment)
{
    load_queries(j, r, t);
    uint64_t end = t->pos + t->n; /* keys of the tile's own segment stop here */
    for (int32_t s = (int32_t)segment; s >= 0; s = j->seg[s].parent) {
        const dw_segment *seg = &j->seg[s];
        uint64_t len = end - seg->pos0 < seg->len ? end - seg->pos0 : seg->len;
        for (uint64_t i = 0; i < len; i += KEYS) {
            uint32_t n = (uint32_t)(len - i < KEYS ? len - i : KEYS);
            uint64_t pos = seg->pos0 + i;
            if (j->a->window != 0 && pos + n + j->a->window <= t->pos + 1)
                continue;
            key_tile(j, r, t, part, seg->start + i, pos, n);
        }
    }
}

/* Task: part within head within tree. */
static void backward_task(void *ctx, size_t task, int thread)
{
    const backward_job *j = ctx;
    size_t part = task % j->parts, head = task / j->parts % j->a->heads;
    size_t root = j->tree[task / j->parts / j->a->heads], index = 0;
    room r = room_of(j, thread);
    for (size_t s = root; s < j->n_seg; s++)
        if (j->root[s] == root)
            memset(partial_of(j, part, head, j->seg[s].start), 0,
                   j->seg[s].len * 2 * j->a->head_dim * sizeof(dw_real));
    for (size_t s = root; s < j->n_seg; s++) {
        if (j->root[s] != root)
            continue;
        const dw_segment *seg = &j->seg[s];
        for (uint32_t i = 0; i < seg->len; i += QUERIES)
            if (index++ % j->parts == part) {
                query_tile t = {.row = (size_t)seg->start + i,
                                .head = head,
                                .n = seg->len - i < QUERIES ? seg->len - i : QUERIES,
                                .pos = (uint64_t)seg->pos0 + i};
                t.width = dw_panel_ceil(t.n);
                run_queries(j, &r, &t, part, s);
            }
    }
}

/* dK and dV of one segment and kv head: query heads of its group in order, parts within. */
static void reduce_task(void *ctx, size_t task, int thread)
{
    const backward_job *j = ctx;
    const dw_segment *seg = &j->seg[task / j->a->kv_heads];
    size_t hd = j->a->head_dim, kv_head = task % j->a->kv_heads;
    size_t group = j->a->heads / j->a->kv_heads;
    for (size_t row = seg->start; row < (size_t)seg->start + seg->len; row++) {
        dw_real *dk = j->g->dk + row * j->g->ld_kv + kv_head * hd;
        dw_real *dv = j->g->dv + row * j->g->ld_kv + kv_head * hd;
        const dw_real *own = partial_of(j, 0, kv_head * group, row);
        memcpy(dk, own, hd * sizeof *dk);
        memcpy(dv, own + hd, hd * sizeof *dv);
        for (size_t h = 0; h < group; h++)
            for (size_t part = h == 0; part < j->parts; part++) {
                const dw_real *p = partial_of(j, part, kv_head * group + h, row);
                j->kernels->axpy(1, p, dk, hd);
                j->kernels->axpy(1, p + hd, dv, hd);
            }
    }
}

void dw_attention_backward(const dw_exec *x, const dw_attention *a, const dw_segment *seg,
                           size_t n_seg, const dw_attention_grad *g, dw_real *scratch)
{
    if (n_seg == 0)
        return;
    dw_assert(a->head_dim > 0 && a->head_dim <= DW_HEAD_DIM_MAX && a->heads % a->kv_heads == 0);
    size_t n_tree = 0;
    size_t *root = dw_alloc(2 * n_seg * sizeof *root), *tree = root + n_seg;
    for (size_t i = 0; i < n_seg; i++) {
        dw_assert(seg[i].parent < (int32_t)i);
        root[i] = seg[i].parent < 0 ? i : root[seg[i].parent];
        if (seg[i].parent < 0)
            tree[n_tree++] = i;
    }
    backward_job j = {.kernels = x->kernels,
                      .a = a,
                      .seg = seg,
                      .g = g,
                      .root = root,
                      .tree = tree,
                      .n_seg = n_seg,
                      .n_tree = n_tree,
                      .n_row = rows_of(seg, n_seg),
                      .parts = parts_of(a, n_tree),
                      .rooms = scratch,
                      .room_elements = room_size(a)};
    j.partial = scratch + (size_t)dw_pool_threads(x->pool) * j.room_elements;
    dw_pool_run(x->pool, n_tree * a->heads * j.parts, backward_task, &j);
    dw_pool_run(x->pool, n_seg * a->kv_heads, reduce_task, &j);
    dw_free(root);
}
