/* What is inside dw_model: shared by the files of model/ (loading, saving, engine, generation) and
 * by their tests; nobody to the right of model/ includes it. */
#ifndef DW_MODEL_MODEL_INTERNAL_H
#define DW_MODEL_MODEL_INTERNAL_H

#include "base/arena.h"
#include "model/model.h"

/* One vector parameter: norm weight or bias. w is NULL where the architecture has none; g is NULL
 * when it is frozen. Both point into the arenas of dw_params. */
typedef struct dw_vector {
    dw_real *w, *g;
    uint32_t n;
} dw_vector;

/* One matrix parameter [rows][cols], rows = outputs, row-major without gaps. w is NULL where the
 * architecture has none; g is NULL when it is frozen. `panels` is the packed copy that forward
 * products use (data NULL where no product uses this matrix: an untied embedding, positions). */
typedef struct dw_matrix {
    dw_real *w, *g;
    uint32_t rows, cols;
    dw_panels panels;
    struct dw_mapped *mapped; /* of a frozen model (frozen.h); then w and g are NULL, and the panels
                                 may be read after dw_frozen_need */
} dw_matrix;

/* The four fused matrices of a layer, which are the places of an adapter. */
typedef enum dw_site { DW_SITE_QKV, DW_SITE_O, DW_SITE_GATE_UP, DW_SITE_DOWN, DW_N_SITE } dw_site;

/* The adapter at one site: out[:, out0[t] .. out0[t] + b[t].rows) += scale[t] *
 * (in a[row0[t] .. row0[t] + rank[t])^T) b[t]^T for each target t present, in the order q k v, or
 * gate up. The A of all targets is one matrix, so that one product computes them. */
typedef struct dw_lora_site {
    uint32_t n_target;         /* 0: no adapter here; then all else is zero */
    uint32_t target[3];        /* DW_LORA_Q ... */
    uint32_t out0[3];          /* first output column of target t in the fused output */
    uint32_t row0[3], rank[3]; /* rows of target t in a */
    dw_real scale[3];          /* alpha / rank, or alpha / sqrt(rank) */
    dw_matrix a;               /* [sum of the ranks][inputs of the site] */
    dw_matrix b[3];            /* [outputs of the target][its rank] */
} dw_lora_site;

/* A small head: rows of the hidden state to a few numbers. */
typedef struct dw_small_head {
    dw_matrix w;    /* [width][d]; no panels */
    dw_vector bias; /* [width] */
} dw_small_head;

typedef struct dw_layer {
    dw_vector attn_norm, attn_norm_bias; /* [d]; biases of norms with layer_norm only */
    dw_matrix qkv;                       /* [(heads + 2 * kv_heads) * head_dim][d]: all q rows,
                                            then k, then v */
    dw_vector qkv_bias;
    dw_vector q_norm, k_norm; /* [head_dim], with qk_norm */
    dw_matrix o;              /* [d][heads * head_dim] */
    dw_vector o_bias;
    dw_vector post_attn_norm; /* [d], with DW_NORM_PRE_POST */
    dw_vector ffn_norm, ffn_norm_bias;
    dw_matrix gate_up;      /* [2 * ffn][d]: gate rows, then up; [ffn][d] when not gated */
    dw_vector gate_up_bias; /* [2 * ffn] or [ffn] */
    dw_matrix down;         /* [d][ffn] */
    dw_vector down_bias;
    dw_vector post_ffn_norm; /* [d], with DW_NORM_PRE_POST */
    dw_lora_site lora[DW_N_SITE];
    const double *inv_freq; /* [n_freq of the model], rotary frequencies; NULL without */
    double magnitude;       /* of the rotary's cos and sin, 1 */
} dw_layer;

struct dw_model {
    const dw_exec *x;
    dw_description desc;
    bool trainable;
    bool outline; /* w, g and panels are addresses without memory: never to be read */

    dw_params base;           /* base.g: only when trainable and without adapter */
    struct dw_frozen *frozen; /* NULL: all of base is in its arena */
    dw_params adapter;        /* n_weight 0 without adapter */
    bool has_adapter;
    dw_lora_spec lora;

    dw_matrix embed;     /* [vocab][d]; panels only when tied (then they are the head's) */
    dw_matrix positions; /* [max_positions][d], with learned_positions */
    dw_layer *layer;     /* [desc.layers] */
    dw_vector final_norm, final_norm_bias;
    dw_matrix head; /* [vocab][d]; tied: w, g and panels are those of embed */
    dw_vector head_bias;
    /* Score and value head of the base; beside an adapter a second copy of each trains in its
     * place, which passes without the adapter do not see. */
    dw_small_head score, value, adapter_score, adapter_value;

    size_t n_freq;    /* rotary frequencies of a head */
    uint64_t version; /* counts dw_model_changed; starts at 1 */

    /* memory behind the above */
    dw_arena arena; /* names, weights, layers */
    void *panel_mem;
    size_t panel_bytes;

    /* where it came from */
    char *dir;         /* of the base */
    char *adapter_dir; /* NULL: none, or a new one */
    dw_tokenizer *tokenizer;
    struct dw_source *source; /* what saving needs (save.c); NULL for a built model */
    int32_t *stop;
    size_t n_stop;
    int32_t turn_end;      /* 1 + what dw_model_set_talk was given; 0: nothing was */
    dw_text chat_template; /* empty: the model's own */
};

/* What dw_model_set_talk says, into a saved folder; an adapter's has no generation_config.json. */
dw_status dw_model_save_talk(const dw_model *m, const char *dir, bool generation, dw_err *err);

/* A model of this description with all weights zero, adapter included where o->lora is set: the
 * common part of opening and initialising, and what tests start from. Panels are mapped and not
 * packed: call dw_model_changed after filling. Only `trainable` and `lora` of o are read. Refuses
 * what does not fit into memory with the arithmetic. */
dw_status dw_model_build(const dw_exec *x, const dw_description *d, const dw_model_options *o,
                         dw_model **out, dw_err *err);
/* The same with matrices that stay in a checkpoint, which has been checked against d and belongs to
 * the model once this has succeeded; c NULL: no such thing. outline: without memory behind it,
 * sizes for planning. */
dw_status dw_model_build_from(const dw_exec *x, const dw_description *d, const dw_model_options *o,
                              dw_checkpoint *c, bool outline, dw_model **out, dw_err *err);
/* Matrices normal(0, std), norms 1 (0 with norm_unit_offset), biases and the value head 0; the same
 * for a seed whatever the threads. Does not touch the adapter, and does not pack. */
void dw_model_fill(dw_model *m, uint64_t seed, double std);
/* The score head: weights normal(0, std), bias 0. */
void dw_model_fill_score(dw_model *m, uint64_t seed, double std);
/* A uniform(-1 / sqrt(in), 1 / sqrt(in)) as PEFT's kaiming_uniform(a = sqrt 5), B zero; heads as
 * the base has them. */
void dw_model_fill_adapter(dw_model *m, uint64_t seed);
/* Index of a named weight, or -1. */
ptrdiff_t dw_params_find(const dw_params *p, const char *name);

#endif
