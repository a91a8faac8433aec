/* One description for every decoder: an architecture is a value of this struct, not a file. */
#ifndef DW_MODEL_DESCRIPTION_H
#define DW_MODEL_DESCRIPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/activation.h"

enum { DW_MAX_LAYERS = 512, DW_MAX_HEAD_DIM = 256 };

/* How Hugging Face names and cuts the tensors of a layer; the engine's own do not depend on it. */
typedef enum dw_layout {
    DW_LAYOUT_LLAMA, /* q, k, v, gate and up apart */
    DW_LAYOUT_PHI3,  /* qkv_proj and gate_up_proj */
    DW_LAYOUT_GPT2,  /* c_attn, c_fc, c_proj, stored [inputs][outputs] */
} dw_layout;

typedef enum dw_rope_kind {
    DW_ROPE_NONE,
    DW_ROPE_DEFAULT,
    DW_ROPE_LINEAR,
    DW_ROPE_LLAMA3,
    DW_ROPE_DYNAMIC,  /* the default one up to max_positions, and that is all there is here */
    DW_ROPE_YARN,     /* Peng et al. 2023 */
    DW_ROPE_LONGROPE, /* Ding et al. 2024, short factors: up to rope_original positions */
} dw_rope_kind;
typedef enum dw_norm_place { DW_NORM_PRE, DW_NORM_PRE_POST } dw_norm_place;
/* What sits on the body: the vocabulary head, or transformers' `score` over the hidden row. */
typedef enum dw_top { DW_TOP_LM, DW_TOP_SEQUENCE, DW_TOP_TOKEN } dw_top;

typedef struct dw_description {
    char family[32]; /* config.json's model_type: "llama", "qwen2", ... */
    dw_layout layout;
    char prefix[32]; /* of the body's tensors in the checkpoint: "model.", "transformer.", ... */
    uint32_t layers, d, heads, kv_heads, head_dim, ffn, vocab, max_positions;
    /* norms */
    bool layer_norm;       /* LayerNorm instead of RMSNorm */
    bool norm_unit_offset; /* weight is 1 + w */
    dw_norm_place norm_place;
    double norm_eps;
    bool qk_norm; /* RMSNorm over each head of q and k, before the rotary */
    /* projections */
    bool qkv_bias, o_bias, mlp_bias, head_bias;
    bool gated; /* gate and up, else one matrix up */
    dw_act act;
    bool tied;          /* head = embedding */
    double embed_scale; /* 1; Gemma: sqrt(d), rounded to dtype */
    /* heads: with any other top than LM there is no vocabulary head, whatever `tied` says */
    dw_top top;
    uint32_t score_width; /* channels of the score head, 0 with DW_TOP_LM */
    bool score_bias;      /* token classification */
    uint32_t value_width; /* channels of a value head beside it all; 0: none */
    /* positions */
    bool learned_positions; /* GPT-2 */
    dw_rope_kind rope;
    double rope_theta;
    double rope_factor, rope_low, rope_high; /* LINEAR: factor; LLAMA3: all, and rope_original;
                                                YARN: low and high are beta_slow and beta_fast */
    uint32_t rope_original;
    bool rope_round;                         /* YARN: the ends of its ramp are whole numbers */
    double rope_magnitude;                   /* multiplies cos and sin, YARN and LONGROPE; 0 is 1 */
    double rope_divide[DW_MAX_HEAD_DIM / 2]; /* LONGROPE: of each frequency */
    double local_theta;    /* of layers with a window, unscaled; 0: they turn as the others do */
    double partial_rotary; /* share of head_dim that turns; 1 */
    /* attention */
    double attn_scale;                 /* of the scores */
    double attn_softcap, head_softcap; /* 0: none */
    uint32_t window[DW_MAX_LAYERS];    /* 0: full */
    /* ids from config.json, -1 where absent; several ends are allowed */
    int32_t bos, pad;
    int32_t eos[16];
    uint32_t n_eos;
    char dtype[16]; /* of the source: "float32", "bfloat16", "float16" */
} dw_description;

#endif
