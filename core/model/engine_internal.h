/* The engine from inside: what forward, backward, generation and their memory plan share. Nobody to
 * the right of model/ includes it. */
#ifndef DW_MODEL_ENGINE_INTERNAL_H
#define DW_MODEL_ENGINE_INTERNAL_H

#include "model/engine.h"
#include "model/model_internal.h"
#include "tensor/norm.h"

/* Activations of one layer; rows first. Without DW_PASS_SAVE all layers share one set, x, mid and
 * the next layer's x are one buffer, and what only backward reads is NULL. */
typedef struct dw_layer_act {
    dw_real *x;        /* [rows][d], input */
    dw_real *qk_raw;   /* [rows][(heads + kv_heads) * head_dim] before the norm, with qk_norm */
    dw_real *qkv;      /* [rows][n_qkv], q and k turned */
    dw_real *att;      /* [rows][heads * head_dim] */
    dw_real *lse;      /* [rows][heads] */
    dw_real *attn_out; /* [rows][d] before post_attn_norm, with DW_NORM_PRE_POST */
    dw_real *mid;      /* [rows][d], x plus attention */
    dw_real *gu;       /* [rows][n_gu] */
    dw_real *ffn_out;  /* [rows][d] before post_ffn_norm, with DW_NORM_PRE_POST */
    dw_real *attn_rstd, *attn_mean, *ffn_rstd, *ffn_mean; /* [rows]; means with layer_norm */
    dw_real *post_attn_rstd, *post_ffn_rstd;              /* [rows] */
    dw_real *qk_rstd;                                     /* [heads + kv_heads][rows] */
    dw_real *low[DW_N_SITE]; /* [rows][rows of A]: the scale times the input times A^T, where
                                adapted */
} dw_layer_act;

/* Widths that follow from a description. */
typedef struct dw_widths {
    size_t d, q, kv, qkv, gu, ffn;
} dw_widths;
dw_widths dw_widths_of(const dw_description *d);

/* Everything a batch of `rows` needs in the body. One function lays it out for planning and for
 * running, so the two cannot disagree. */
typedef struct dw_act_plan {
    size_t bytes;
    dw_layer_act *layer; /* [layers], pointers into the map; filled only when given */
    dw_real *last_x;     /* [rows][d], input of the final norm */
    dw_real *hidden;     /* [rows][d] */
    dw_real *final_rstd, *final_mean;
    uint32_t *pos; /* [rows] */
    /* scratch */
    dw_real *normed; /* [rows][d] */
    dw_real *prod;   /* [rows][ffn] */
    dw_real *branch; /* [rows][d], a branch's output; NULL where each layer keeps its own */
    /* backward scratch */
    dw_real *dx, *d_branch, *d_normed; /* [rows][d] */
    dw_real *d_gu, *d_prod;            /* [rows][n_gu], [rows][ffn] */
    dw_real *d_att;                    /* [rows][heads * head_dim] */
    dw_real *d_qkv, *d_qk_raw;         /* [rows][n_qkv], [rows][q + kv] */
    dw_real *d_low;                    /* [rows][most rows of an A] */
    uint32_t *order;                   /* [rows], rows sorted by token */
} dw_act_plan;
/* base NULL: only counts. layer: [layers] to be filled, or NULL. */
void dw_act_plan_make(const dw_model *m, size_t rows, bool save, unsigned char *base,
                      dw_layer_act *layer, dw_act_plan *out);

enum { DW_KEEP_BYTES = 512 << 20 };
/* room for n elements of `size`; *cap grows with it */
void *dw_engine_room(void *p, size_t n, size_t size, size_t *cap);
dw_head_mode dw_engine_head_mode(const dw_engine *e, size_t head_rows);
/* DW_E_LIMIT with the arithmetic when so many bytes are not free. */
dw_status dw_engine_fits(size_t rows, bool save, size_t bytes, dw_err *err);
dw_status dw_engine_no_memory(size_t rows, bool save, size_t bytes, dw_err *err);

/* What the row-wise parts of a layer run on; the training forward and decoding share them, which is
 * why their bits agree. */
typedef struct dw_pass {
    const dw_model *m;
    const dw_exec *x;
    dw_widths w;
    size_t rows;
    const uint32_t *pos; /* [rows] */
    bool adapter;
    dw_real *normed, *prod, *branch;
} dw_pass;

/* Rows of the embedding (and positions), scaled. */
void dw_pass_embed(const dw_pass *p, const int32_t *id, dw_real *out);
/* x -> qkv: norm, fused product, norms of q and k, rotary. */
void dw_pass_qkv(const dw_pass *p, const dw_layer *l, const dw_layer_act *a);
/* att -> next: output product, residual, feed-forward, residual. `next` may be a->x itself. */
void dw_pass_rest(const dw_pass *p, const dw_layer *l, const dw_layer_act *a, dw_real *next);
/* Multiplies the columns [rows][rows of A] of each target by its scale. */
void dw_pass_scale_low(const dw_pass *p, const dw_lora_site *lora, dw_real *low);
/* Final norm; rstd and mean may be NULL. */
void dw_pass_final(const dw_pass *p, const dw_real *x, dw_real *hidden, dw_real *rstd,
                   dw_real *mean);
dw_norm dw_norm_of(const dw_model *m, const dw_vector *w, const dw_vector *b);
dw_attention dw_attention_of(const dw_model *m, uint32_t layer);
dw_head_spec dw_head_of(const dw_model *m, double temperature);

/* Called by the body after a layer's attention input is ready: qkv [n_row][n_qkv] with keys at
 * column q and values at q + kv. */
typedef void (*dw_kv_sink)(void *ctx, uint32_t layer, const dw_real *qkv);
dw_status dw_engine_run(dw_engine *e, const dw_forest *f, unsigned flags, dw_kv_sink sink,
                        void *ctx, dw_err *err);

/* Rows that a small head was read at. */
typedef struct dw_read_rows {
    uint32_t *row;
    size_t n, cap;
    bool ran;
} dw_read_rows;
/* The head that a pass reads and trains: the adapter's own where the pass runs with it. */
const dw_small_head *dw_engine_small_head(const dw_engine *e, dw_read which);

struct dw_engine {
    dw_model *m;
    size_t keep_bytes;

    unsigned char *mem;
    size_t mem_bytes, mem_rows;
    bool mem_save;
    dw_real *attn_scratch; /* of backward */
    size_t attn_bytes;
    dw_layer_act *layer;
    dw_act_plan plan;

    /* the last forward */
    dw_segment *seg;
    size_t n_seg, cap_seg;
    int32_t *id;
    size_t n_row, cap_row;
    unsigned flags;
    bool ran;
    dw_query *query; /* [n_seg] */
    dw_key_span *span;
    uint32_t *span_seg; /* which segment each span is */
    size_t cap_query, cap_span, n_span;

    /* the last head */
    dw_head_pair *pair;
    size_t n_pair, cap_pair;
    double temperature;
    dw_head_state head;
    bool head_ran;
    dw_read_rows read[2]; /* by dw_read */

    /* the last divergence */
    dw_divergence_call
        divergence; /* rows are the two below; the other's hidden rows are not kept */
    uint32_t *mine_row, *other_row;
    size_t cap_mine, cap_other;
    dw_divergence_state divergence_state;
    bool divergence_ran;
};

/* Runs fn over blocks of 64 rows; block b holds rows [64 b, 64 b + 64) below `rows`. */
void dw_row_blocks(const dw_exec *x, size_t rows, void (*fn)(void *, size_t, int), void *ctx);
enum { DW_ROW_BLOCK = 64 };

#endif
