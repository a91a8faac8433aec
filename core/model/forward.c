/* The row-wise parts of a decoder layer, forward: what training, scoring and decoding share. */
#include <string.h>

#include "model/engine_internal.h"
#include "model/frozen.h"
#include "tensor/rope.h"
#include "tensor/vector.h"

dw_widths dw_widths_of(const dw_description *d)
{
    dw_widths w = {.d = d->d, .ffn = d->ffn};
    w.q = (size_t)d->heads * d->head_dim;
    w.kv = (size_t)d->kv_heads * d->head_dim;
    w.qkv = w.q + 2 * w.kv;
    w.gu = (d->gated ? 2 : 1) * (size_t)d->ffn;
    return w;
}

dw_norm dw_norm_of(const dw_model *m, const dw_vector *w, const dw_vector *b)
{
    return (dw_norm){.layer = m->desc.layer_norm,
                     .unit_offset = m->desc.norm_unit_offset,
                     .eps = (dw_real)m->desc.norm_eps,
                     .width = w->n,
                     .w = w->w,
                     .b = b ? b->w : NULL};
}

dw_attention dw_attention_of(const dw_model *m, uint32_t layer)
{
    const dw_description *d = &m->desc;
    return (dw_attention){.heads = d->heads,
                          .kv_heads = d->kv_heads,
                          .head_dim = d->head_dim,
                          .scale = (dw_real)d->attn_scale,
                          .softcap = (dw_real)d->attn_softcap,
                          .window = d->window[layer]};
}

dw_head_spec dw_head_of(const dw_model *m, double temperature)
{
    return (dw_head_spec){.w = &m->head.panels,
                          .bias = m->head_bias.w,
                          .vocab = m->desc.vocab,
                          .d = m->desc.d,
                          .softcap = (dw_real)m->desc.head_softcap,
                          .temperature = temperature};
}

void dw_row_blocks(const dw_exec *x, size_t rows, void (*fn)(void *, size_t, int), void *ctx)
{
    size_t n = (rows + DW_ROW_BLOCK - 1) / DW_ROW_BLOCK;
    if (n == 1)
        fn(ctx, 0, 0);
    else if (n)
        dw_pool_run(x->pool, n, fn, ctx);
}

typedef struct copy_job {
    const dw_real *in;
    dw_real *out;
    size_t rows, n, ld_in;
    const int32_t *id; /* gather: row i comes from in + id[i] * n, or from `mapped` */
    const struct dw_mapped *mapped;
    const uint32_t *pos; /* with `table`: table + pos[i] * n is added */
    const dw_real *table;
    dw_real scale;
} copy_job;

static void embed_block(void *ctx, size_t block, int thread)
{
    const copy_job *j = ctx;
    (void)thread;
    size_t end = (block + 1) * DW_ROW_BLOCK < j->rows ? (block + 1) * DW_ROW_BLOCK : j->rows;
    for (size_t i = block * DW_ROW_BLOCK; i < end; i++) {
        dw_real *out = j->out + i * j->n;
        const dw_real *in = j->mapped ? out : j->in + (size_t)j->id[i] * j->n;
        if (j->mapped)
            dw_frozen_row(j->mapped, (size_t)j->id[i], out);
        for (size_t c = 0; c < j->n; c++)
            out[c] = in[c] * j->scale;
        if (!j->table)
            continue;
        const dw_real *add = j->table + (size_t)j->pos[i] * j->n;
        for (size_t c = 0; c < j->n; c++)
            out[c] += add[c];
    }
}

void dw_pass_embed(const dw_pass *p, const int32_t *id, dw_real *out)
{
    copy_job j = {.in = p->m->embed.w,
                  .mapped = p->m->embed.mapped,
                  .out = out,
                  .rows = p->rows,
                  .n = p->w.d,
                  .id = id,
                  .pos = p->pos,
                  .table = p->m->desc.learned_positions ? p->m->positions.w : NULL,
                  .scale = (dw_real)p->m->desc.embed_scale};
    dw_row_blocks(p->x, p->rows, embed_block, &j);
}

/* Rows of n out of wider ones. */
static void copy_block(void *ctx, size_t block, int thread)
{
    const copy_job *j = ctx;
    (void)thread;
    size_t end = (block + 1) * DW_ROW_BLOCK < j->rows ? (block + 1) * DW_ROW_BLOCK : j->rows;
    for (size_t i = block * DW_ROW_BLOCK; i < end; i++)
        memcpy(j->out + i * j->n, j->in + i * j->ld_in, j->n * sizeof *j->out);
}

static void add_block(void *ctx, size_t block, int thread)
{
    const copy_job *j = ctx;
    (void)thread;
    size_t end = (block + 1) * DW_ROW_BLOCK < j->rows ? (block + 1) * DW_ROW_BLOCK : j->rows;
    for (size_t i = block * DW_ROW_BLOCK * j->n; i < end * j->n; i++)
        j->out[i] = j->in[i] + j->table[i];
}

/* out = a + b, rows of n without gaps; out may be a or b. */
static void add_rows(const dw_pass *p, const dw_real *a, const dw_real *b, dw_real *out, size_t n)
{
    copy_job j = {.in = a, .table = b, .out = out, .rows = p->rows, .n = n};
    dw_row_blocks(p->x, p->rows, add_block, &j);
}

void dw_pass_scale_low(const dw_pass *p, const dw_lora_site *lora, dw_real *low)
{
    const size_t n = lora->a.rows;
    bool same = true;
    for (uint32_t t = 1; t < lora->n_target; t++)
        same = same && lora->scale[t] == lora->scale[0];
    if (same) {
        dw_vec_scale(p->x, low, lora->scale[0], p->rows * n);
        return;
    }
    for (size_t i = 0; i < p->rows; i++, low += n)
        for (uint32_t t = 0; t < lora->n_target; t++)
            for (uint32_t k = lora->row0[t]; k < lora->row0[t] + lora->rank[t]; k++)
                low[k] *= lora->scale[t];
}

/* One fused matrix with its adapter. The adapter's product goes on top of the stored base product,
 * in the order of the targets, wherever this runs. */
static void site_forward(const dw_pass *p, const dw_matrix *w, const dw_real *bias,
                         const dw_lora_site *lora, const dw_real *in, dw_real *out, dw_real *low)
{
    dw_linear_forward(p->x, in, w->cols, p->rows, &w->panels, bias, out, w->rows, false);
    if (!p->adapter || !lora->n_target)
        return;
    const size_t n_low = lora->a.rows;
    dw_linear_forward(p->x, in, w->cols, p->rows, &lora->a.panels, NULL, low, n_low, false);
    dw_pass_scale_low(p, lora, low);
    for (uint32_t t = 0; t < lora->n_target; t++)
        dw_linear_forward(p->x, low + lora->row0[t], n_low, p->rows, &lora->b[t].panels, NULL,
                          out + lora->out0[t], w->rows, true);
}

static void norm_heads(const dw_pass *p, const dw_layer *l, const dw_layer_act *a)
{
    const dw_description *d = &p->m->desc;
    for (size_t h = 0; h < d->heads + d->kv_heads; h++) {
        dw_norm n = dw_norm_of(p->m, h < d->heads ? &l->q_norm : &l->k_norm, NULL);
        n.layer = false;
        dw_real *v = a->qkv + h * d->head_dim;
        dw_norm_forward(p->x, &n, v, p->w.qkv, p->rows, v, p->w.qkv,
                        a->qk_rstd ? a->qk_rstd + h * p->rows : NULL, NULL);
    }
}

void dw_pass_qkv(const dw_pass *p, const dw_layer *l, const dw_layer_act *a)
{
    const dw_description *d = &p->m->desc;
    size_t n = p->w.d;
    dw_norm norm = dw_norm_of(p->m, &l->attn_norm, &l->attn_norm_bias);
    dw_norm_forward(p->x, &norm, a->x, n, p->rows, p->normed, n, a->attn_rstd, a->attn_mean);
    site_forward(p, &l->qkv, l->qkv_bias.w, &l->lora[DW_SITE_QKV], p->normed, a->qkv,
                 a->low[DW_SITE_QKV]);
    if (d->qk_norm) {
        if (a->qk_raw) {
            copy_job j = {.in = a->qkv,
                          .ld_in = p->w.qkv,
                          .out = a->qk_raw,
                          .rows = p->rows,
                          .n = p->w.q + p->w.kv};
            dw_row_blocks(p->x, p->rows, copy_block, &j);
        }
        norm_heads(p, l, a);
    }
    if (d->rope != DW_ROPE_NONE)
        dw_rope(p->x, a->qkv, p->w.qkv, p->rows, p->pos, d->heads + d->kv_heads, d->head_dim,
                l->inv_freq, p->m->n_freq, l->magnitude, false, false);
}

/* residual + branch(in), through a post norm where the architecture has one. The branch is summed
 * on its own: started from the residual, which may be a thousand times larger, every addition would
 * round at the residual's scale. */
static void add_branch(const dw_pass *p, const dw_matrix *w, const dw_real *bias,
                       const dw_lora_site *lora, const dw_real *in, dw_real *low,
                       const dw_vector *post, dw_real *branch, dw_real *post_rstd,
                       const dw_real *residual, dw_real *out)
{
    size_t n = p->w.d;
    site_forward(p, w, bias, lora, in, branch, low);
    if (p->m->desc.norm_place == DW_NORM_PRE_POST) {
        dw_norm norm = dw_norm_of(p->m, post, NULL);
        dw_norm_forward(p->x, &norm, branch, n, p->rows, p->normed, n, post_rstd, NULL);
        branch = p->normed;
    }
    add_rows(p, residual, branch, out, n);
}

void dw_pass_rest(const dw_pass *p, const dw_layer *l, const dw_layer_act *a, dw_real *next)
{
    const dw_description *d = &p->m->desc;
    size_t n = p->w.d;
    add_branch(p, &l->o, l->o_bias.w, &l->lora[DW_SITE_O], a->att, a->low[DW_SITE_O],
               &l->post_attn_norm, a->attn_out ? a->attn_out : p->branch, a->post_attn_rstd, a->x,
               a->mid);
    dw_norm norm = dw_norm_of(p->m, &l->ffn_norm, &l->ffn_norm_bias);
    dw_norm_forward(p->x, &norm, a->mid, n, p->rows, p->normed, n, a->ffn_rstd, a->ffn_mean);
    site_forward(p, &l->gate_up, l->gate_up_bias.w, &l->lora[DW_SITE_GATE_UP], p->normed, a->gu,
                 a->low[DW_SITE_GATE_UP]);
    if (d->gated)
        dw_gated_forward(p->x, d->act, a->gu, p->rows, p->w.ffn, p->prod);
    else
        dw_act_forward(p->x, d->act, a->gu, p->rows, p->w.ffn, p->prod);
    add_branch(p, &l->down, l->down_bias.w, &l->lora[DW_SITE_DOWN], p->prod, a->low[DW_SITE_DOWN],
               &l->post_ffn_norm, a->ffn_out ? a->ffn_out : p->branch, a->post_ffn_rstd, a->mid,
               next);
}

void dw_pass_final(const dw_pass *p, const dw_real *x, dw_real *hidden, dw_real *rstd,
                   dw_real *mean)
{
    dw_norm norm = dw_norm_of(p->m, &p->m->final_norm, &p->m->final_norm_bias);
    dw_norm_forward(p->x, &norm, x, p->w.d, p->rows, hidden, p->w.d, rstd, mean);
}
