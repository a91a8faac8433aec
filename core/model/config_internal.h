/* Parts of reading config.json that have files of their own; used by model/config*.c and
 * model/open.c. */
#ifndef DW_MODEL_CONFIG_INTERNAL_H
#define DW_MODEL_CONFIG_INTERNAL_H

#include "model/config.h"

/* Which layers look back a window only. */
typedef enum dw_window_rule {
    DW_WINDOW_NONE,    /* the family has no windows */
    DW_WINDOW_ALL,     /* all layers, where sliding_window is set */
    DW_WINDOW_LAST,    /* with use_sliding_window, from max_window_layers on */
    DW_WINDOW_PATTERN, /* all but every n-th */
} dw_window_rule;

/* What config.json calls the sizes. */
typedef struct dw_size_keys {
    const char *d, *ffn, *layers, *heads, *positions;
} dw_size_keys;

/* One model_type: what its description has whatever config.json says, and what transformers fills
 * in for a missing key. 0 as a default: the key is needed, or follows from others. */
typedef struct dw_family {
    const char *name;     /* model_type */
    const char *class[3]; /* by dw_top; NULL: there is none */
    const char *prefix;   /* "model." */
    const dw_size_keys *keys;
    const char *act_key, *act, *eps_key;
    double eps, theta, local_theta, attn_softcap, head_softcap;
    bool qkv_bias; /* always; o has none */
    bool all_bias; /* always, in attention and feed-forward */
    bool bias_key; /* attention_bias adds them to q, k, v and o */
    bool mlp_bias_key;
    bool plain; /* feed-forward without gate */
    bool layer_norm, unit_offset, post_norms, qk_norm;
    bool learned_positions, scaled_embed, query_scalar, partial_rotary, tied, legacy_gelu;
    uint32_t head_dim, heads, kv_heads, vocab, max_positions, rope_original;
    uint32_t window, pattern;
    dw_window_rule rule;
    dw_layout layout;
} dw_family;

/* The family that model_type names. */
dw_status dw_config_family(const dw_json *root, const dw_family **out, dw_err *err);
/* All of `architectures`, where it is there, name one class of the family. */
dw_status dw_config_find_top(const dw_json *root, const dw_family *f, dw_top *top, dw_err *err);
/* Keys that would change the computation and are not supported. */
dw_status dw_config_refuse(const dw_json *root, const dw_family *f, dw_err *err);
/* rope_theta, rope_scaling and rope_parameters, both spellings. d->head_dim and max_positions are
 * known; LONGROPE lowers max_positions. */
dw_status dw_config_rope(const dw_json *root, const dw_family *f, dw_description *d, dw_err *err);
/* sliding_window, use_sliding_window, max_window_layers and layer_types of the family. */
dw_status dw_config_windows(const dw_json *root, const dw_family *f, dw_description *d,
                            dw_err *err);
/* eos_token_id: an id, a list of at most 16, null or absent. Also in generation_config.json. */
dw_status dw_config_eos(const dw_json *root, uint32_t vocab, int32_t eos[16], uint32_t *n,
                        dw_err *err);
/* There and not null. */
bool dw_config_has(const dw_json *root, const char *key);

#endif
