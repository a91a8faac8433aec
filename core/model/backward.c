/* The backward pass of the body: every parameter that trains, from the last layer to the embedding.
 */
#include <stdlib.h>
#include <string.h>

#include "model/engine_internal.h"
#include "tensor/readout.h"
#include "tensor/rope.h"
#include "tensor/vector.h"

typedef struct back {
    dw_engine *e;
    dw_pass p;
    dw_act_plan *a;
} back;

/* One fused matrix: d_out [rows][w->rows] -> gradients of the matrix, its bias and its adapter, and
 * d_in [rows][w->cols] (written) unless NULL. */
static void site_backward(const back *b, const dw_matrix *w, const dw_vector *bias,
                          const dw_lora_site *lora, const dw_real *d_out, const dw_real *in,
                          const dw_real *low, dw_real *d_in)
{
    const dw_exec *x = b->p.x;
    const size_t rows = b->p.rows, n = w->rows, k = w->cols;
    if (d_in)
        dw_panels_backward_input(x, d_out, n, rows, &w->panels, 0, n, d_in, k, false);
    if (w->g)
        dw_linear_backward_weight(x, d_out, n, in, k, rows, n, k, 1, w->g, k);
    if (bias->g)
        dw_linear_backward_bias(x, d_out, n, rows, n, bias->g);
    if (!b->p.adapter || !lora->n_target)
        return;
    const size_t n_low = lora->a.rows;
    dw_real *d_low = b->a->d_low;
    for (uint32_t t = 0; t < lora->n_target; t++) {
        const dw_matrix *up = &lora->b[t];
        const dw_real *d = d_out + lora->out0[t];
        const size_t row0 = lora->row0[t], rank = lora->rank[t];
        if (up->g)
            dw_linear_backward_weight(x, d, n, low + row0, n_low, rows, up->rows, rank, 1, up->g,
                                      rank);
        dw_linear_backward_input(x, d, n, rows, up->w, rank, up->rows, rank, d_low + row0, n_low,
                                 false);
    }
    dw_pass_scale_low(&b->p, lora, d_low);
    if (lora->a.g)
        dw_linear_backward_weight(x, d_low, n_low, in, k, rows, n_low, k, 1, lora->a.g, k);
    if (d_in)
        dw_linear_backward_input(x, d_low, n_low, rows, lora->a.w, k, n_low, k, d_in, k, true);
}

/* The derivative of a branch's output, through the post norm where there is one. */
static const dw_real *post_backward(const back *b, const dw_vector *post, const dw_real *branch,
                                    const dw_real *rstd)
{
    if (b->p.m->desc.norm_place == DW_NORM_PRE)
        return b->a->dx;
    const size_t d = b->p.w.d;
    dw_norm n = dw_norm_of(b->p.m, post, NULL);
    dw_norm_backward(b->p.x, &n, branch, d, b->p.rows, rstd, NULL, b->a->dx, d, b->a->d_branch, d,
                     false, post->g, NULL);
    return b->a->d_branch;
}

static void ffn_backward(const back *b, const dw_layer *l, const dw_layer_act *s)
{
    const dw_pass *p = &b->p;
    const dw_description *d = &p->m->desc;
    const size_t n = p->w.d;
    dw_act_plan *a = b->a;
    if (d->gated)
        dw_gated_forward(p->x, d->act, s->gu, p->rows, p->w.ffn, a->prod);
    else
        dw_act_forward(p->x, d->act, s->gu, p->rows, p->w.ffn, a->prod);
    const dw_real *d_out = post_backward(b, &l->post_ffn_norm, s->ffn_out, s->post_ffn_rstd);
    site_backward(b, &l->down, &l->down_bias, &l->lora[DW_SITE_DOWN], d_out, a->prod,
                  s->low[DW_SITE_DOWN], a->d_prod);
    if (d->gated)
        dw_gated_backward(p->x, d->act, s->gu, p->rows, p->w.ffn, a->d_prod, a->d_gu);
    else
        dw_act_backward(p->x, d->act, s->gu, p->rows, p->w.ffn, a->d_prod, a->d_gu);
    const dw_norm norm = dw_norm_of(p->m, &l->ffn_norm, &l->ffn_norm_bias);
    dw_norm_forward(p->x, &norm, s->mid, n, p->rows, a->normed, n, NULL, NULL);
    site_backward(b, &l->gate_up, &l->gate_up_bias, &l->lora[DW_SITE_GATE_UP], a->d_gu, a->normed,
                  s->low[DW_SITE_GATE_UP], a->d_normed);
    dw_norm_backward(p->x, &norm, s->mid, n, p->rows, s->ffn_rstd, s->ffn_mean, a->d_normed, n,
                     a->dx, n, true, l->ffn_norm.g, l->ffn_norm_bias.g);
}

/* d_qkv's q and k parts, through the rotary and the norms of heads. */
static void qk_backward(const back *b, const dw_layer *l, const dw_layer_act *s)
{
    const dw_pass *p = &b->p;
    const dw_description *d = &p->m->desc;
    dw_act_plan *a = b->a;
    const size_t n_qk = p->w.q + p->w.kv;
    if (d->rope != DW_ROPE_NONE)
        dw_rope(p->x, a->d_qkv, p->w.qkv, p->rows, p->pos, d->heads + d->kv_heads, d->head_dim,
                l->inv_freq, p->m->n_freq, l->magnitude, false, true);
    if (!d->qk_norm)
        return;
    for (size_t h = 0; h < d->heads + d->kv_heads; h++) {
        const dw_vector *w = h < d->heads ? &l->q_norm : &l->k_norm;
        dw_norm n = dw_norm_of(p->m, w, NULL);
        n.layer = false;
        dw_norm_backward(p->x, &n, s->qk_raw + h * d->head_dim, n_qk, p->rows,
                         s->qk_rstd + h * p->rows, NULL, a->d_qkv + h * d->head_dim, p->w.qkv,
                         a->d_qk_raw + h * d->head_dim, n_qk, false, w->g, NULL);
    }
    for (size_t i = 0; i < p->rows; i++)
        memcpy(a->d_qkv + i * p->w.qkv, a->d_qk_raw + i * n_qk, n_qk * sizeof(dw_real));
}

static void attention_backward(const back *b, uint32_t layer, const dw_layer_act *s, bool need_dx)
{
    const dw_pass *p = &b->p;
    const dw_layer *l = &p->m->layer[layer];
    const dw_widths w = p->w;
    dw_act_plan *a = b->a;
    const dw_real *d_out = post_backward(b, &l->post_attn_norm, s->attn_out, s->post_attn_rstd);
    site_backward(b, &l->o, &l->o_bias, &l->lora[DW_SITE_O], d_out, s->att, s->low[DW_SITE_O],
                  a->d_att);
    const dw_attention att = dw_attention_of(p->m, layer);
    const dw_attention_grad g = {.q = s->qkv,
                                 .k = s->qkv + w.q,
                                 .v = s->qkv + w.q + w.kv,
                                 .out = s->att,
                                 .d_out = a->d_att,
                                 .lse = s->lse,
                                 .dq = a->d_qkv,
                                 .dk = a->d_qkv + w.q,
                                 .dv = a->d_qkv + w.q + w.kv,
                                 .ld_q = w.qkv,
                                 .ld_kv = w.qkv,
                                 .ld_out = w.q};
    dw_attention_backward(p->x, &att, b->e->seg, b->e->n_seg, &g, b->e->attn_scratch);
    qk_backward(b, l, s);
    const dw_norm norm = dw_norm_of(p->m, &l->attn_norm, &l->attn_norm_bias);
    dw_norm_forward(p->x, &norm, s->x, w.d, p->rows, a->normed, w.d, NULL, NULL);
    site_backward(b, &l->qkv, &l->qkv_bias, &l->lora[DW_SITE_QKV], a->d_qkv, a->normed,
                  s->low[DW_SITE_QKV], need_dx ? a->d_normed : NULL);
    if (need_dx)
        dw_norm_backward(p->x, &norm, s->x, w.d, p->rows, s->attn_rstd, s->attn_mean, a->d_normed,
                         w.d, a->dx, w.d, true, l->attn_norm.g, l->attn_norm_bias.g);
}

/* Gradient rows of a table: every table row has one owner, who adds its batch rows in order. */
typedef struct scatter {
    const dw_real *dx;
    dw_real *g;
    const uint32_t *order; /* batch rows sorted by key, then by row */
    const uint32_t *key;   /* of a batch row */
    size_t rows, n;
    dw_real scale;
} scatter;

static void scatter_block(void *ctx, size_t block, int thread)
{
    const scatter *s = ctx;
    (void)thread;
    size_t i = block * DW_ROW_BLOCK, end = i + DW_ROW_BLOCK < s->rows ? i + DW_ROW_BLOCK : s->rows;
    /* a run of equal keys belongs to the block in which it starts */
    while (i > 0 && i < end && s->key[s->order[i]] == s->key[s->order[i - 1]])
        i++;
    while (i < end) {
        const uint32_t key = s->key[s->order[i]];
        dw_real *g = s->g + (size_t)key * s->n;
        for (; i < s->rows && s->key[s->order[i]] == key; i++) {
            const dw_real *d = s->dx + (size_t)s->order[i] * s->n;
            for (size_t c = 0; c < s->n; c++)
                g[c] += s->scale * d[c];
        }
    }
}

static int by_key(const void *a, const void *b, void *key)
{
    const uint32_t *k = key, i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    if (k[i] != k[j])
        return k[i] < k[j] ? -1 : 1;
    return i < j ? -1 : i > j;
}

static void table_backward(const back *b, const uint32_t *key, dw_real *g, double scale)
{
    uint32_t *order = b->a->order;
    for (size_t i = 0; i < b->p.rows; i++)
        order[i] = (uint32_t)i;
    qsort_r(order, b->p.rows, sizeof *order, by_key, (void *)(uintptr_t)key);
    scatter s = {.dx = b->a->dx,
                 .g = g,
                 .order = order,
                 .key = key,
                 .rows = b->p.rows,
                 .n = b->p.w.d,
                 .scale = (dw_real)scale};
    dw_row_blocks(b->p.x, b->p.rows, scatter_block, &s);
}

/* Derivatives of the final rows, from whatever was read there, and of the heads' own parameters. */
static void heads_backward(const back *b, const dw_engine_grads *d)
{
    dw_engine *e = b->e;
    const dw_exec *x = b->p.x;
    const dw_model *m = b->p.m;
    const size_t n = b->p.w.d;
    dw_act_plan *a = b->a;
    dw_vec_zero(x, a->d_normed, e->n_row * n);
    if (d->logp || d->entropy || d->mean_logp) {
        dw_assert(e->head_ran);
        const dw_head_spec h = dw_head_of(m, e->temperature);
        dw_head_backward(x, &h, a->hidden, n, e->pair, e->n_pair, d->logp, d->entropy, d->mean_logp,
                         a->d_normed, n, m->head.g, m->head_bias.g, &e->head);
    }
    if (d->divergence) {
        dw_assert(e->divergence_ran);
        const dw_divergence_grad g = {.d_out = d->divergence,
                                      .d_hidden = a->d_normed,
                                      .ld = n,
                                      .d_w = m->head.g,
                                      .d_bias = m->head_bias.g};
        dw_divergence_backward(x, &e->divergence, &g, &e->divergence_state);
    }
    const double *small[2] = {[DW_READ_VALUE] = d->value, [DW_READ_SCORE] = d->score};
    for (int i = 0; i < 2; i++) {
        if (!small[i])
            continue;
        dw_assert(e->read[i].ran);
        const dw_small_head *h = dw_engine_small_head(e, (dw_read)i);
        const dw_readout o = {h->w.w, h->bias.w, h->w.rows, n};
        dw_readout_backward(x, &o, a->hidden, n, e->read[i].row, e->read[i].n, small[i],
                            a->d_normed, n, h->w.g, h->bias.g);
    }
}

dw_status dw_engine_backward(dw_engine *e, const dw_engine_grads *d, dw_err *err)
{
    dw_model *m = e->m;
    (void)err;
    dw_assert(e->ran && (e->flags & DW_PASS_SAVE));
    dw_act_plan *a = &e->plan;
    const back b = {.e = e,
                    .a = a,
                    .p = {.m = m,
                          .x = m->x,
                          .w = dw_widths_of(&m->desc),
                          .rows = e->n_row,
                          .pos = a->pos,
                          .adapter = m->has_adapter && !(e->flags & DW_PASS_NO_ADAPTER)}};
    const size_t n = b.p.w.d;
    heads_backward(&b, d);
    const dw_norm norm = dw_norm_of(m, &m->final_norm, &m->final_norm_bias);
    dw_norm_backward(m->x, &norm, a->last_x, n, e->n_row, a->final_rstd, a->final_mean, a->d_normed,
                     n, a->dx, n, false, m->final_norm.g, m->final_norm_bias.g);
    for (uint32_t l = m->desc.layers; l-- > 0;) {
        ffn_backward(&b, &m->layer[l], &e->layer[l]);
        /* below the lowest adapter nothing trains */
        attention_backward(&b, l, &e->layer[l], l > 0 || m->base.g);
    }
    if (m->embed.g)
        table_backward(&b, (const uint32_t *)e->id, m->embed.g, m->desc.embed_scale);
    if (m->positions.g)
        table_backward(&b, a->pos, m->positions.g, 1);
    return DW_OK;
}
