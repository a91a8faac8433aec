/* Memory of the engine: one layout for planning and for running. */
#include "base/alloc.h"
#include "base/clock.h"
#include "model/engine_internal.h"

typedef struct cursor {
    unsigned char *base;
    size_t at;
} cursor;

/* Rows of a map start at cache lines; the size is 0 where the field is not wanted. */
static void *take(cursor *c, size_t n, size_t size)
{
    if (!n)
        return NULL;
    size_t at = c->at;
    c->at += (n * size + 63) & ~(size_t)63;
    return c->base ? c->base + at : NULL;
}

static dw_real *take_real(cursor *c, size_t n)
{
    return take(c, n, sizeof(dw_real));
}

static size_t low_width(const dw_lora_site *s)
{
    return s->n_target ? s->a.rows : 0;
}

/* Layers that share one set of buffers may be adapted at different places. */
static size_t widest_low(const dw_model *m)
{
    size_t most = 0;
    for (uint32_t i = 0; i < m->desc.layers; i++)
        for (int s = 0; s < DW_N_SITE; s++) {
            const size_t n = low_width(&m->layer[i].lora[s]);
            most = n > most ? n : most;
        }
    return most;
}

/* What a layer keeps for its backward pass; with `saved` off, what any layer needs at once. */
static void take_layer(cursor *c, const dw_model *m, const dw_layer *l, size_t rows, bool saved,
                       dw_layer_act *a)
{
    const dw_description *d = &m->desc;
    const dw_widths w = dw_widths_of(d);
    const size_t post = saved && d->norm_place == DW_NORM_PRE_POST ? rows : 0;
    const size_t keep = saved ? rows : 0, means = d->layer_norm ? keep : 0;
    a->x = take_real(c, rows * w.d);
    a->qk_raw = take_real(c, d->qk_norm ? keep * (w.q + w.kv) : 0);
    a->qkv = take_real(c, rows * w.qkv);
    a->att = take_real(c, rows * w.q);
    a->lse = take_real(c, keep * d->heads);
    a->attn_out = take_real(c, post * w.d);
    a->mid = saved ? take_real(c, rows * w.d) : a->x;
    a->gu = take_real(c, rows * w.gu);
    a->ffn_out = take_real(c, post * w.d);
    a->attn_rstd = take_real(c, keep);
    a->ffn_rstd = take_real(c, keep);
    a->attn_mean = take_real(c, means);
    a->ffn_mean = take_real(c, means);
    a->post_attn_rstd = take_real(c, post);
    a->post_ffn_rstd = take_real(c, post);
    a->qk_rstd = take_real(c, d->qk_norm ? keep * (d->heads + d->kv_heads) : 0);
    for (int s = 0; s < DW_N_SITE; s++)
        a->low[s] = take_real(c, rows * (saved ? low_width(&l->lora[s]) : widest_low(m)));
}

static void take_backward(cursor *c, const dw_model *m, size_t rows, dw_act_plan *out)
{
    const dw_widths w = dw_widths_of(&m->desc);
    out->dx = take_real(c, rows * w.d);
    out->d_branch = take_real(c, m->desc.norm_place == DW_NORM_PRE_POST ? rows * w.d : 0);
    out->d_normed = take_real(c, rows * w.d);
    out->d_gu = take_real(c, rows * w.gu);
    out->d_prod = take_real(c, rows * w.ffn);
    out->d_att = take_real(c, rows * w.q);
    out->d_qkv = take_real(c, rows * w.qkv);
    out->d_qk_raw = take_real(c, m->desc.qk_norm ? rows * (w.q + w.kv) : 0);
    out->d_low = take_real(c, m->has_adapter ? rows * widest_low(m) : 0);
    out->order = take(c, m->embed.g || m->positions.g ? rows : 0, sizeof *out->order);
}

void dw_act_plan_make(const dw_model *m, size_t rows, bool save, unsigned char *base,
                      dw_layer_act *layer, dw_act_plan *out)
{
    const dw_description *d = &m->desc;
    const dw_widths w = dw_widths_of(d);
    cursor c = {.base = base};
    *out = (dw_act_plan){.layer = layer};
    for (uint32_t i = 0; i < (save ? d->layers : 1); i++) {
        dw_layer_act a = {0};
        take_layer(&c, m, &m->layer[i], rows, save, &a);
        if (!layer)
            continue;
        layer[i] = a;
        for (uint32_t k = 1; !save && k < d->layers; k++)
            layer[k] = a;
        out->last_x = a.x;
    }
    if (save)
        out->last_x = take_real(&c, rows * w.d);
    out->hidden = take_real(&c, rows * w.d);
    out->final_rstd = take_real(&c, save ? rows : 0);
    out->final_mean = take_real(&c, save && d->layer_norm ? rows : 0);
    out->pos = take(&c, rows, sizeof *out->pos);
    out->normed = take_real(&c, rows * w.d);
    out->prod = take_real(&c, rows * w.ffn);
    out->branch = take_real(&c, save && d->norm_place == DW_NORM_PRE_POST ? 0 : rows * w.d);
    if (save)
        take_backward(&c, m, rows, out);
    out->bytes = c.at;
}

static dw_head_mode mode_of(const dw_model *m, size_t rows, bool save, size_t keep_bytes)
{
    if (!save)
        return DW_HEAD_FORWARD;
    if (!m->head.g && !m->head_bias.g)
        return DW_HEAD_JACOBIAN;
    return rows <= keep_bytes / sizeof(dw_real) / m->desc.vocab ? DW_HEAD_KEEP : DW_HEAD_RECOMPUTE;
}

dw_head_mode dw_engine_head_mode(const dw_engine *e, size_t head_rows)
{
    return mode_of(e->m, head_rows, e->flags & DW_PASS_SAVE, e->keep_bytes);
}

/* The attention scratch depends on the forest, which is not known yet: as many sequences of one
 * length as have these rows and this sum of squares. */
static size_t attention_bytes(const dw_model *m, const dw_engine_need *need)
{
    size_t len = need->rows ? (need->sum_len_sq + need->rows - 1) / need->rows : 0;
    len = len < 1 ? 1 : len > need->rows ? need->rows : len;
    size_t n = (need->rows + len - 1) / len;
    dw_segment *seg = dw_zalloc(n, sizeof *seg);
    for (size_t i = 0; i < n; i++) {
        size_t start = i * len, end = start + len < need->rows ? start + len : need->rows;
        seg[i] =
            (dw_segment){.start = (uint32_t)start, .len = (uint32_t)(end - start), .parent = -1};
    }
    dw_attention a = dw_attention_of(m, 0);
    size_t bytes = dw_attention_backward_scratch(m->x, &a, seg, n) * sizeof(dw_real);
    dw_free(seg);
    return bytes;
}

size_t dw_engine_bytes(const dw_model *m, const dw_engine_need *need)
{
    dw_act_plan plan;
    dw_act_plan_make(m, need->rows, need->save, NULL, NULL, &plan);
    size_t bytes = plan.bytes;
    if (need->save && need->rows)
        bytes += attention_bytes(m, need);
    if (need->head_rows && m->desc.top == DW_TOP_LM)
        bytes += dw_head_state_bytes(mode_of(m, need->head_rows, need->save, DW_KEEP_BYTES),
                                     need->head_rows, need->head_pairs, m->desc.vocab, m->desc.d,
                                     need->entropy_grad);
    if (need->divergence_pairs)
        bytes += dw_divergence_state_bytes(
            mode_of(m, need->divergence_pairs, need->save, DW_KEEP_BYTES), need->divergence_pairs,
            m->desc.vocab, m->desc.d, need->divergence_width, need->divergence_top_k);
    return bytes;
}

dw_status dw_engine_no_memory(size_t rows, bool save, size_t bytes, dw_err *err)
{
    double want = (double)bytes / 1e9, have = (double)dw_mem_available_kib() * 1024 / 1e9;
    return dw_fail(err, DW_E_LIMIT,
                   "%zu rows need %.2f GB for activations (%.1f KB a row%s), %.2f GB of memory are "
                   "free: use fewer rows in a micro-batch",
                   rows, want, want * 1e6 / (double)rows,
                   save ? ", kept for the backward pass" : "", have);
}

dw_status dw_engine_fits(size_t rows, bool save, size_t bytes, dw_err *err)
{
    long free_kib = dw_mem_available_kib();
    if (free_kib < 0 || bytes / 1024 < (size_t)free_kib)
        return DW_OK;
    return dw_engine_no_memory(rows, save, bytes, err);
}
