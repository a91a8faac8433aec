/* The engine: memory, and the body over a forest of segments. */
#include <string.h>

#include "base/alloc.h"
#include "model/engine_internal.h"
#include "model/frozen.h"

dw_status dw_engine_create(dw_model *m, dw_engine **out, dw_err *err)
{
    (void)err;
    dw_engine *e = dw_zalloc(1, sizeof *e);
    e->m = m;
    e->keep_bytes = DW_KEEP_BYTES;
    e->layer = dw_zalloc(m->desc.layers, sizeof *e->layer);
    *out = e;
    return DW_OK;
}

void dw_engine_destroy(dw_engine *e)
{
    if (!e)
        return;
    if (e->mem)
        dw_tensor_unmap(e->mem, e->mem_bytes);
    if (e->attn_scratch)
        dw_tensor_unmap(e->attn_scratch, e->attn_bytes);
    dw_head_state_finish(&e->head);
    dw_free(e->layer);
    dw_free(e->seg);
    dw_free(e->id);
    dw_free(e->query);
    dw_free(e->span);
    dw_free(e->span_seg);
    dw_divergence_state_finish(&e->divergence_state);
    dw_free(e->mine_row);
    dw_free(e->other_row);
    dw_free(e->pair);
    for (int i = 0; i < 2; i++)
        dw_free(e->read[i].row);
    dw_free(e);
}

void dw_engine_keep_bytes(dw_engine *e, size_t bytes)
{
    e->keep_bytes = bytes;
}

static dw_status map_more(void **mem, size_t *have, size_t want, size_t rows, bool save,
                          dw_err *err)
{
    if (want <= *have)
        return DW_OK;
    if (*mem)
        dw_tensor_unmap(*mem, *have);
    *mem = NULL;
    *have = 0;
    DW_TRY(dw_engine_fits(rows, save, want, err));
    *mem = dw_tensor_map(want);
    if (!*mem)
        return dw_engine_no_memory(rows, save, want, err);
    *have = want;
    return DW_OK;
}

/* Memory for the body, grown to the largest batch; the layout is made anew for every batch. */
static dw_status reserve_body(dw_engine *e, size_t rows, bool save, dw_err *err)
{
    dw_act_plan_make(e->m, rows, save, NULL, NULL, &e->plan);
    void *mem = e->mem;
    dw_status st = map_more(&mem, &e->mem_bytes, e->plan.bytes, rows, save, err);
    e->mem = mem;
    if (st < 0)
        return st;
    dw_act_plan_make(e->m, rows, save, e->mem, e->layer, &e->plan);
    return DW_OK;
}

static dw_status reserve_attention(dw_engine *e, dw_err *err)
{
    dw_attention a = dw_attention_of(e->m, 0);
    size_t n = dw_attention_backward_scratch(e->m->x, &a, e->seg, e->n_seg) * sizeof(dw_real);
    void *mem = e->attn_scratch;
    dw_status st = map_more(&mem, &e->attn_bytes, n, e->n_row, true, err);
    e->attn_scratch = mem;
    return st;
}

/* The core builds forests itself, so a malformed one is a bug; ids and lengths come from data. */
static dw_status check_forest(const dw_engine *e, const dw_forest *f, dw_err *err)
{
    const dw_description *d = &e->m->desc;
    size_t rows = 0;
    dw_assert(f->n_row > 0 && f->n_seg > 0 && f->n_row <= UINT32_MAX);
    for (size_t i = 0; i < f->n_seg; i++) {
        const dw_segment *s = &f->seg[i];
        dw_assert(s->len > 0 && s->start == rows && s->parent < (int32_t)i);
        const dw_segment *up = s->parent < 0 ? NULL : &f->seg[s->parent];
        dw_assert(s->pos0 == (up ? up->pos0 + up->len : 0));
        rows += s->len;
        if ((size_t)s->pos0 + s->len > d->max_positions)
            return dw_fail(err, DW_E_INPUT,
                           "a sequence has %zu tokens, the model has positions for %u",
                           (size_t)s->pos0 + s->len, d->max_positions);
    }
    dw_assert(rows == f->n_row);
    for (size_t i = 0; i < f->n_row; i++)
        if (f->id[i] < 0 || (uint32_t)f->id[i] >= d->vocab)
            return dw_fail(err, DW_E_INPUT,
                           "token id %d is outside of the model's vocabulary of %u", f->id[i],
                           d->vocab);
    return DW_OK;
}

void *dw_engine_room(void *p, size_t n, size_t size, size_t *cap)
{
    if (n <= *cap)
        return p;
    *cap = n;
    return dw_realloc(p, n * size);
}

/* Keeps the batch and lists for every segment the keys it sees: its ancestors from the root, then
 * itself. Pointers are set layer by layer. */
static void take_forest(dw_engine *e, const dw_forest *f)
{
    e->n_row = f->n_row;
    e->n_seg = f->n_seg;
    e->id = dw_engine_room(e->id, f->n_row, sizeof *e->id, &e->cap_row);
    memcpy(e->id, f->id, f->n_row * sizeof *e->id);
    e->seg = dw_engine_room(e->seg, f->n_seg, sizeof *e->seg, &e->cap_seg);
    memcpy(e->seg, f->seg, f->n_seg * sizeof *e->seg);
    e->query = dw_engine_room(e->query, f->n_seg, sizeof *e->query, &e->cap_query);
    e->n_span = 0;
    for (size_t i = 0; i < f->n_seg; i++) {
        uint32_t depth = 0;
        for (int32_t s = (int32_t)i; s >= 0; s = f->seg[s].parent)
            depth++;
        if (e->n_span + depth > e->cap_span) {
            e->cap_span = 2 * (e->n_span + depth);
            e->span = dw_realloc(e->span, e->cap_span * sizeof *e->span);
            e->span_seg = dw_realloc(e->span_seg, e->cap_span * sizeof *e->span_seg);
        }
        uint32_t at = depth;
        for (int32_t s = (int32_t)i; s >= 0; s = f->seg[s].parent)
            e->span_seg[e->n_span + --at] = (uint32_t)s;
        e->query[i] = (dw_query){.rows = f->seg[i].len, .pos0 = f->seg[i].pos0, .n_span = depth};
        e->n_span += depth;
    }
}

static void attend(dw_engine *e, uint32_t layer, const dw_layer_act *a)
{
    const dw_widths w = dw_widths_of(&e->m->desc);
    const dw_attention att = dw_attention_of(e->m, layer);
    for (size_t i = 0; i < e->n_span; i++) {
        const dw_segment *s = &e->seg[e->span_seg[i]];
        const dw_real *k = a->qkv + s->start * w.qkv + w.q;
        e->span[i] = (dw_key_span){.k = k, .v = k + w.kv, .ld = w.qkv, .len = s->len};
    }
    const dw_key_span *span = e->span;
    for (size_t i = 0; i < e->n_seg; i++) {
        dw_query *q = &e->query[i];
        q->q = a->qkv + e->seg[i].start * w.qkv;
        q->out = a->att + e->seg[i].start * w.q;
        q->lse = a->lse ? a->lse + (size_t)e->seg[i].start * e->m->desc.heads : NULL;
        q->ld_q = w.qkv;
        q->ld_out = w.q;
        q->span = span;
        span += q->n_span;
    }
    dw_attention_forward(e->m->x, &att, e->query, e->n_seg);
}

dw_status dw_engine_run(dw_engine *e, const dw_forest *f, unsigned flags, dw_kv_sink sink,
                        void *ctx, dw_err *err)
{
    dw_model *m = e->m;
    const bool save = flags & DW_PASS_SAVE;
    e->ran = e->head_ran = e->divergence_ran = e->read[0].ran = e->read[1].ran = false;
    DW_TRY(check_forest(e, f, err));
    dw_assert(!save || m->trainable);
    take_forest(e, f);
    DW_TRY(reserve_body(e, f->n_row, save, err));
    if (save)
        DW_TRY(reserve_attention(e, err));
    e->flags = flags;
    dw_act_plan *a = &e->plan;
    for (size_t i = 0; i < e->n_seg; i++)
        for (uint32_t k = 0; k < e->seg[i].len; k++)
            a->pos[e->seg[i].start + k] = e->seg[i].pos0 + k;
    const dw_pass p = {.m = m,
                       .x = m->x,
                       .w = dw_widths_of(&m->desc),
                       .rows = e->n_row,
                       .pos = a->pos,
                       .adapter = m->has_adapter && !(flags & DW_PASS_NO_ADAPTER),
                       .normed = a->normed,
                       .prod = a->prod,
                       .branch = a->branch};
    DW_TRY(dw_frozen_need(m, &m->embed, err));
    dw_pass_embed(&p, e->id, e->layer[0].x);
    for (uint32_t l = 0; l < m->desc.layers; l++) {
        const dw_layer_act *act = &e->layer[l];
        DW_TRY(dw_frozen_need_layer(m, l, err));
        dw_pass_qkv(&p, &m->layer[l], act);
        if (sink)
            sink(ctx, l, act->qkv);
        attend(e, l, act);
        dw_pass_rest(&p, &m->layer[l], act, l + 1 < m->desc.layers ? e->layer[l + 1].x : a->last_x);
    }
    dw_pass_final(&p, a->last_x, a->hidden, a->final_rstd, a->final_mean);
    e->ran = true;
    return DW_OK;
}

dw_status dw_engine_forward(dw_engine *e, const dw_forest *f, unsigned flags, dw_err *err)
{
    return dw_engine_run(e, f, flags, NULL, NULL, err);
}

const dw_real *dw_engine_hidden(const dw_engine *e)
{
    dw_assert(e->ran);
    return e->plan.hidden;
}
