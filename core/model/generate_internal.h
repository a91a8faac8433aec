/* Generation from inside: the paged cache, the decoding step and the choice of a token. */
#ifndef DW_MODEL_GENERATE_INTERNAL_H
#define DW_MODEL_GENERATE_INTERNAL_H

#include "model/engine_internal.h"
#include "model/generate.h"

/* ---- kv.c: pages of keys and values ---- */

enum { DW_KV_PAGE = DW_KEY_BLOCK }; /* positions; a page is one key block of attention */

/* A page holds one key block of every layer, in the layout that attention reads fastest.
 * Zero-initialise, then dw_kv_init. */
typedef struct dw_kv {
    dw_attention shape;
    size_t layers, block_reals, page_reals;
    dw_real **free_page; /* stack */
    size_t n_free, cap_free;
    struct dw_kv_slab {
        void *mem;
        size_t bytes;
    } * slab;
    size_t n_slab, cap_slab;
    size_t n_live;
} dw_kv;
void dw_kv_init(dw_kv *kv, const dw_model *m);
void dw_kv_finish(dw_kv *kv);                /* unmaps every page */
dw_real *dw_kv_take(dw_kv *kv, dw_err *err); /* NULL: DW_E_LIMIT, err is written */
void dw_kv_give(dw_kv *kv, dw_real *page);   /* accepts NULL */
void dw_kv_copy(const dw_kv *kv, dw_real *to, const dw_real *from);
const dw_real *dw_kv_block(const dw_kv *kv, const dw_real *page, size_t layer);
/* Stores positions pos .. pos + n of one layer from rows k and v, ld apart. */
void dw_kv_store(const dw_kv *kv, dw_real *const *page, size_t layer, size_t pos, size_t n,
                 const dw_real *k, const dw_real *v, size_t ld);

/* ---- decode.c: one position of many sequences ---- */

typedef struct dw_decode_row {
    int32_t id;
    uint32_t pos;
    dw_real *const *page; /* pages of positions 0 .. pos, the last one writable */
} dw_decode_row;

typedef struct dw_decoder {
    dw_model *m;
    bool adapter;
    void *mem;
    size_t mem_bytes, cap_rows;
    dw_act_plan plan;
    dw_layer_act *layer;
    int32_t *id;
    dw_query *query;
    dw_key_span *span;
    size_t cap_span;
} dw_decoder;
dw_status dw_decoder_init(dw_decoder *dec, dw_model *m, size_t max_rows, bool adapter, dw_err *err);
void dw_decoder_finish(dw_decoder *dec);
/* Hidden rows after the final norm, [n][d]; valid until the next step. */
const dw_real *dw_decoder_step(dw_decoder *dec, const dw_kv *kv, const dw_decode_row *row,
                               size_t n);

/* ---- sample.c: the choice of a token ---- */

typedef struct dw_candidate {
    double weight; /* unnormalised probability */
    dw_real logit;
    int32_t id;
} dw_candidate;
/* Ids that survive top-k, top-p and min-p, in this order and as Hugging Face transformers define
 * them; cand has room for vocab entries. Returns how many. */
size_t dw_sample_keep(const dw_sampling *s, const dw_real *logits, size_t vocab,
                      dw_candidate *cand);
/* The token that u in [0, 1) selects; greedy: the first largest logit. */
int32_t dw_sample_choose(const dw_sampling *s, const dw_real *logits, size_t vocab, double u,
                         dw_candidate *cand);

#endif
