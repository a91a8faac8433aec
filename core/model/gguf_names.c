/* The tensors of GGUF and Hugging Face by name, both ways. */
#include <stdio.h>
#include <string.h>

#include "model/gguf.h"

enum {
    LLAMA = DW_GGUF_LLAMA,
    QWEN = DW_GGUF_QWEN2 | DW_GGUF_QWEN3,
    GPT2 = DW_GGUF_GPT2,
    GEMMA1 = DW_GGUF_GEMMA,
    GEMMA = DW_GGUF_GEMMA2 | DW_GGUF_GEMMA3,
    PHI3 = DW_GGUF_PHI3,
    SPLIT = LLAMA | QWEN | GEMMA1 | GEMMA, /* q, k, v, gate and up apart */
    ROPED = SPLIT | PHI3
};

static const struct {
    const char *name;
    dw_gguf_arch arch;
} archs[] = {{"llama", DW_GGUF_LLAMA},   {"qwen2", DW_GGUF_QWEN2}, {"qwen3", DW_GGUF_QWEN3},
             {"gpt2", DW_GGUF_GPT2},     {"gemma", DW_GGUF_GEMMA}, {"gemma2", DW_GGUF_GEMMA2},
             {"gemma3", DW_GGUF_GEMMA3}, {"phi3", DW_GGUF_PHI3}};

dw_gguf_arch dw_gguf_arch_of(const char *name)
{
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (!strcmp(archs[i].name, name))
            return archs[i].arch;
    return 0;
}

const char *dw_gguf_arch_name(dw_gguf_arch arch)
{
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (archs[i].arch == arch)
            return archs[i].name;
    return "";
}

typedef struct row {
    const char *gguf, *hf; /* without .weight or .bias */
    unsigned arch;
    dw_stored how; /* of the weight in llama; see stored_of */
} row;

static const row outer[] = {
    {"token_embd", "model.embed_tokens", ROPED, DW_STORED_PLAIN},
    {"output_norm", "model.norm", ROPED, DW_STORED_PLAIN},
    {"token_embd", "transformer.wte", GPT2, DW_STORED_PLAIN},
    {"position_embd", "transformer.wpe", GPT2, DW_STORED_PLAIN},
    {"output_norm", "transformer.ln_f", GPT2, DW_STORED_PLAIN},
    {"output", "lm_head", ROPED | GPT2, DW_STORED_PLAIN},
};

static const row inner[] = {
    {"attn_norm", "input_layernorm", ROPED, DW_STORED_PLAIN},
    {"attn_q", "self_attn.q_proj", SPLIT, DW_STORED_PAIRS},
    {"attn_k", "self_attn.k_proj", SPLIT, DW_STORED_PAIRS},
    {"attn_v", "self_attn.v_proj", SPLIT, DW_STORED_PLAIN},
    {"attn_output", "self_attn.o_proj", ROPED, DW_STORED_PLAIN},
    {"attn_q_norm", "self_attn.q_norm", DW_GGUF_QWEN3 | DW_GGUF_GEMMA3, DW_STORED_PLAIN},
    {"attn_k_norm", "self_attn.k_norm", DW_GGUF_QWEN3 | DW_GGUF_GEMMA3, DW_STORED_PLAIN},
    {"ffn_norm", "post_attention_layernorm", LLAMA | QWEN | GEMMA1 | PHI3, DW_STORED_PLAIN},
    {"post_attention_norm", "post_attention_layernorm", GEMMA, DW_STORED_PLAIN},
    {"ffn_norm", "pre_feedforward_layernorm", GEMMA, DW_STORED_PLAIN},
    {"post_ffw_norm", "post_feedforward_layernorm", GEMMA, DW_STORED_PLAIN},
    {"ffn_gate", "mlp.gate_proj", SPLIT, DW_STORED_PLAIN},
    {"ffn_up", "mlp.up_proj", SPLIT, DW_STORED_PLAIN},
    {"ffn_down", "mlp.down_proj", ROPED, DW_STORED_PLAIN},
    {"attn_qkv", "self_attn.qkv_proj", PHI3, DW_STORED_PLAIN},
    {"ffn_up", "mlp.gate_up_proj", PHI3, DW_STORED_PLAIN},
    {"attn_norm", "ln_1", GPT2, DW_STORED_PLAIN},
    {"attn_qkv", "attn.c_attn", GPT2, DW_STORED_TRANSPOSED},
    {"attn_output", "attn.c_proj", GPT2, DW_STORED_TRANSPOSED},
    {"ffn_norm", "ln_2", GPT2, DW_STORED_PLAIN},
    {"ffn_up", "mlp.c_fc", GPT2, DW_STORED_TRANSPOSED},
    {"ffn_down", "mlp.c_proj", GPT2, DW_STORED_TRANSPOSED},
};

static bool is_norm(const char *name)
{
    size_t n = strlen(name);
    return n >= 4 && !strcmp(name + n - 4, "norm");
}

/* Only llama's rotary is over neighbours in GGUF; Conv1D's biases are as they are; Gemma's norms
 * have their 1 added. */
static dw_stored stored_of(const row *r, dw_gguf_arch arch, bool bias)
{
    if (r->how == DW_STORED_PAIRS)
        return arch == DW_GGUF_LLAMA ? DW_STORED_PAIRS : DW_STORED_PLAIN;
    if (r->how == DW_STORED_TRANSPOSED)
        return bias ? DW_STORED_PLAIN : DW_STORED_TRANSPOSED;
    return (arch & (GEMMA1 | GEMMA)) && is_norm(r->gguf) ? DW_STORED_PLUS_ONE : DW_STORED_PLAIN;
}

/* "x.weight" is "x" and a weight. */
static bool tail_of(const char *name, size_t *stem, bool *bias)
{
    size_t n = strlen(name);
    *bias = n > 5 && !strcmp(name + n - 5, ".bias");
    *stem = *bias ? n - 5 : n - 7;
    return *bias || (n > 7 && !strcmp(name + n - 7, ".weight"));
}

typedef struct table {
    const row *row;
    size_t n;
} table;

static const row *find(table t, dw_gguf_arch arch, bool to_hf, const char *stem, size_t n)
{
    for (size_t i = 0; i < t.n; i++) {
        const char *name = to_hf ? t.row[i].gguf : t.row[i].hf;
        if ((t.row[i].arch & arch) && strlen(name) == n && !memcmp(name, stem, n))
            return &t.row[i];
    }
    return NULL;
}

static const char *layers(dw_gguf_arch arch, bool hf)
{
    return !hf ? "blk." : arch == DW_GGUF_GPT2 ? "transformer.h." : "model.layers.";
}

static const char *translate(dw_arena *a, dw_gguf_arch arch, const char *name, bool to_hf,
                             dw_stored *how)
{
    const table out = {outer, sizeof outer / sizeof *outer};
    const table in = {inner, sizeof inner / sizeof *inner};
    const char *from = layers(arch, !to_hf);
    size_t stem, at = 0, n = strlen(from);
    unsigned layer = 0;
    int digits = 0;
    bool bias;
    if (!tail_of(name, &stem, &bias))
        return NULL;
    if (!strncmp(name, from, n) && sscanf(name + n, "%5u.%n", &layer, &digits) == 1 && digits)
        at = n + (size_t)digits;
    if (stem < at)
        return NULL;
    const row *r = find(at ? in : out, arch, to_hf, name + at, stem - at);
    if (!r)
        return NULL;
    const char *body = to_hf ? r->hf : r->gguf, *tail = bias ? "bias" : "weight";
    *how = stored_of(r, arch, bias);
    return at ? dw_arena_printf(a, "%s%u.%s.%s", layers(arch, to_hf), layer, body, tail)
              : dw_arena_printf(a, "%s.%s", body, tail);
}

const char *dw_gguf_to_hf(dw_arena *a, dw_gguf_arch arch, const char *name, dw_stored *how)
{
    return translate(a, arch, name, true, how);
}

const char *dw_gguf_from_hf(dw_arena *a, dw_gguf_arch arch, const char *name, dw_stored *how)
{
    return translate(a, arch, name, false, how);
}
