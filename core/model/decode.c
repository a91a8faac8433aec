/* One decoding step: the next position of every live sequence goes through each layer together. */
#include <string.h>

#include "base/alloc.h"
#include "model/frozen.h"
#include "model/generate_internal.h"

dw_status dw_decoder_init(dw_decoder *dec, dw_model *m, size_t max_rows, bool adapter, dw_err *err)
{
    DW_TRY(dw_frozen_need_all(m, err));
    *dec = (dw_decoder){.m = m, .adapter = adapter && m->has_adapter, .cap_rows = max_rows};
    dec->layer = dw_zalloc(m->desc.layers, sizeof *dec->layer);
    dec->id = dw_zalloc(max_rows, sizeof *dec->id);
    dec->query = dw_zalloc(max_rows, sizeof *dec->query);
    dw_act_plan_make(m, max_rows, false, NULL, NULL, &dec->plan);
    dec->mem_bytes = dec->plan.bytes;
    dec->mem = dw_tensor_map(dec->mem_bytes);
    if (!dec->mem) {
        dw_decoder_finish(dec);
        return dw_engine_no_memory(max_rows, false, dec->plan.bytes, err);
    }
    dw_act_plan_make(m, max_rows, false, dec->mem, dec->layer, &dec->plan);
    return DW_OK;
}

void dw_decoder_finish(dw_decoder *dec)
{
    if (dec->mem)
        dw_tensor_unmap(dec->mem, dec->mem_bytes);
    dec->mem = NULL;
    dw_free(dec->layer);
    dw_free(dec->id);
    dw_free(dec->query);
    dw_free(dec->span);
    dec->layer = NULL;
    dec->id = NULL;
    dec->query = NULL;
    dec->span = NULL;
}

static void attend(dw_decoder *dec, const dw_kv *kv, uint32_t layer, const dw_layer_act *a,
                   const dw_decode_row *row, size_t n)
{
    const dw_widths w = dw_widths_of(&dec->m->desc);
    const dw_attention att = dw_attention_of(dec->m, layer);
    dw_key_span *span = dec->span;
    for (size_t i = 0; i < n; i++) {
        const dw_real *k = a->qkv + i * w.qkv + w.q;
        dw_kv_store(kv, row[i].page, layer, row[i].pos, 1, k, k + w.kv, w.qkv);
        const uint32_t keys = row[i].pos + 1, pages = (keys + DW_KV_PAGE - 1) / DW_KV_PAGE;
        dec->query[i] = (dw_query){.q = a->qkv + i * w.qkv,
                                   .out = a->att + i * w.q,
                                   .ld_q = w.qkv,
                                   .ld_out = w.q,
                                   .rows = 1,
                                   .pos0 = row[i].pos,
                                   .span = span,
                                   .n_span = pages};
        for (uint32_t p = 0; p < pages; p++)
            *span++ = (dw_key_span){
                .block = dw_kv_block(kv, row[i].page[p], layer),
                .len = p + 1 < pages ? DW_KV_PAGE : keys - p * DW_KV_PAGE,
            };
    }
    dw_attention_forward(dec->m->x, &att, dec->query, n);
}

const dw_real *dw_decoder_step(dw_decoder *dec, const dw_kv *kv, const dw_decode_row *row, size_t n)
{
    const dw_model *m = dec->m;
    dw_act_plan *a = &dec->plan;
    size_t spans = 0;
    dw_assert(n > 0 && n <= dec->cap_rows);
    for (size_t i = 0; i < n; i++) {
        dec->id[i] = row[i].id;
        a->pos[i] = row[i].pos;
        spans += row[i].pos / DW_KV_PAGE + 1;
    }
    if (spans > dec->cap_span) {
        dec->cap_span = 2 * spans;
        dec->span = dw_realloc(dec->span, dec->cap_span * sizeof *dec->span);
    }
    const dw_pass p = {.m = m,
                       .x = m->x,
                       .w = dw_widths_of(&m->desc),
                       .rows = n,
                       .pos = a->pos,
                       .adapter = dec->adapter,
                       .normed = a->normed,
                       .prod = a->prod,
                       .branch = a->branch};
    dw_pass_embed(&p, dec->id, dec->layer[0].x);
    for (uint32_t l = 0; l < m->desc.layers; l++) {
        dw_pass_qkv(&p, &m->layer[l], &dec->layer[l]);
        attend(dec, kv, l, &dec->layer[l], row, n);
        dw_pass_rest(&p, &m->layer[l], &dec->layer[l], dec->layer[l].x);
    }
    dw_pass_final(&p, a->last_x, a->hidden, NULL, NULL);
    return a->hidden;
}
