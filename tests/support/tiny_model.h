/* Small random models of every kind the description knows, and the forests they run on. */
#ifndef DW_TEST_TINY_MODEL_H
#define DW_TEST_TINY_MODEL_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "model/engine_internal.h"

typedef enum tiny_kind {
    TINY_LLAMA, /* grouped queries, tied head */
    TINY_BIAS,  /* untied head, biases on every projection, scaled rotary */
    TINY_QWEN3, /* norms of q and k */
    TINY_GPT2,  /* LayerNorm, learned positions, plain GELU, biases */
    TINY_GEMMA, /* post norms, 1 + w, soft caps, a window, scaled embedding, partial rotary */
    TINY_LOCAL, /* as Gemma 3: norms of q and k too, windows turn at their own rate; YaRN elsewhere
                 */
    TINY_FUSED, /* as Phi-3: matrices fused for adapters, LongRoPE, windows everywhere */
    TINY_KINDS
} tiny_kind;

static inline const char *tiny_name(tiny_kind k)
{
    static const char *const name[] = {"llama", "bias", "qwen3", "gpt2", "gemma", "local", "fused"};
    return name[k];
}

static inline dw_description tiny_description(tiny_kind k)
{
    dw_description d = {.layers = 2,
                        .d = 24,
                        .heads = 4,
                        .kv_heads = 2,
                        .head_dim = 8,
                        .ffn = 20,
                        .vocab = 53,
                        .max_positions = 512,
                        .norm_eps = 1e-5,
                        .gated = true,
                        .act = DW_ACT_SILU,
                        .tied = true,
                        .embed_scale = 1,
                        .rope = DW_ROPE_DEFAULT,
                        .rope_theta = 10000,
                        .partial_rotary = 1,
                        .attn_scale = 1 / sqrt(8),
                        .bos = -1,
                        .pad = -1};
    snprintf(d.family, sizeof d.family, "%s", tiny_name(k));
    snprintf(d.dtype, sizeof d.dtype, "float32");
    if (k == TINY_BIAS) {
        d.tied = false;
        d.qkv_bias = d.o_bias = d.mlp_bias = d.head_bias = true;
        d.rope = DW_ROPE_LLAMA3;
        d.rope_factor = 8;
        d.rope_low = 1;
        d.rope_high = 4;
        d.rope_original = 64;
    }
    if (k == TINY_QWEN3)
        d.qk_norm = true;
    if (k == TINY_GPT2) {
        d.layout = DW_LAYOUT_GPT2;
        d.layer_norm = d.learned_positions = true;
        d.qkv_bias = d.o_bias = d.mlp_bias = true;
        d.gated = false;
        d.act = DW_ACT_GELU_TANH;
        d.rope = DW_ROPE_NONE;
        d.kv_heads = 4;
    }
    if (k == TINY_GEMMA) {
        d.norm_place = DW_NORM_PRE_POST;
        d.norm_unit_offset = true;
        d.act = DW_ACT_GELU_TANH;
        d.attn_softcap = 5;
        d.head_softcap = 3;
        d.window[0] = 5;
        d.embed_scale = sqrt(24);
        d.partial_rotary = 0.5;
    }
    if (k == TINY_LOCAL) {
        d.norm_place = DW_NORM_PRE_POST;
        d.norm_unit_offset = d.qk_norm = true;
        d.window[1] = 6;
        d.local_theta = 30;
        d.rope = DW_ROPE_YARN;
        d.rope_factor = 4;
        d.rope_low = 0.5;
        d.rope_high = 8;
        d.rope_original = 16;
        d.rope_magnitude = 1.2;
    }
    if (k == TINY_FUSED) {
        d.layout = DW_LAYOUT_PHI3;
        d.window[0] = d.window[1] = 7;
        d.rope = DW_ROPE_LONGROPE;
        d.partial_rotary = 0.75;
        d.rope_magnitude = 1.1;
        for (int i = 0; i < 3; i++)
            d.rope_divide[i] = 1 + i;
    }
    return d;
}

/* Normal weights wide enough that no gradient vanishes; norms, biases and both halves of an adapter
 * are noisy too. */
static inline void tiny_fill(dw_model *m, uint64_t seed)
{
    dw_model_fill(m, seed, 0.25);
    if (m->has_adapter)
        dw_model_fill_adapter(m, seed);
    dw_params *set[] = {&m->base, &m->adapter};
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < set[s]->n; i++)
            set[s]->w[i] += (dw_real)(0.1 * dw_random_normal(seed, DW_RNG_TEST, s, i));
    dw_model_changed(m);
}

static inline dw_model *tiny_model(const dw_exec *x, const dw_description *d,
                                   const dw_lora_spec *lora, bool trainable, uint64_t seed)
{
    const dw_model_options o = {.trainable = trainable, .lora = lora, .no_tokenizer = true};
    dw_err err = {{0}};
    dw_model *m = NULL;
    if (dw_model_build(x, d, &o, &m, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    tiny_fill(m, seed);
    return m;
}

static inline void tiny_ids(int32_t *id, size_t n, uint32_t vocab, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        id[i] = (int32_t)dw_random_below(seed, DW_RNG_TEST, 7, i, vocab);
}

#endif
