/* The families of models that are known by their model_type, and what config.json may not ask of
 * them. */
#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "model/config_internal.h"

static const dw_size_keys usual_keys = {"hidden_size", "intermediate_size", "num_hidden_layers",
                                        "num_attention_heads", "max_position_embeddings"};
static const dw_size_keys gpt2_keys = {"n_embd", "n_inner", "n_layer", "n_head", "n_positions"};

enum { LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA, GEMMA2, GEMMA3_TEXT, GEMMA3, PHI3, GPT2, N_FAMILY };

#define CLASSES(name)                                                                              \
    {                                                                                              \
        name "ForCausalLM", name "ForSequenceClassification", name "ForTokenClassification"        \
    }
/* What nearly all have. */
#define USUAL                                                                                      \
    .prefix = "model.", .keys = &usual_keys, .act_key = "hidden_act", .act = "silu",               \
    .eps_key = "rms_norm_eps", .eps = 1e-6, .theta = 10000
#define GEMMA_BODY                                                                                 \
    .prefix = "model.", .keys = &usual_keys, .act = "gelu_pytorch_tanh",                           \
    .eps_key = "rms_norm_eps", .eps = 1e-6, .bias_key = true, .unit_offset = true,                 \
    .scaled_embed = true, .tied = true, .head_dim = 256
#define GEMMA3_BODY                                                                                \
    GEMMA_BODY, .act_key = "hidden_activation", .theta = 1e6, .local_theta = 10000,                \
                .qk_norm = true, .post_norms = true, .query_scalar = true, .heads = 8,             \
                .kv_heads = 4, .vocab = 262208, .max_positions = 131072,                           \
                .rule = DW_WINDOW_PATTERN, .window = 4096, .pattern = 6

static const dw_family families[N_FAMILY] = {
    [LLAMA] = {.name = "llama",
               .class = CLASSES("Llama"),
               USUAL,
               .bias_key = true,
               .mlp_bias_key = true,
               .max_positions = 2048},
    [MISTRAL] = {.name = "mistral",
                 .class = CLASSES("Mistral"),
                 USUAL,
                 .kv_heads = 8,
                 .max_positions = 131072,
                 .rule = DW_WINDOW_ALL,
                 .window = 4096},
    [QWEN2] = {.name = "qwen2",
               .class = CLASSES("Qwen2"),
               USUAL,
               .qkv_bias = true,
               .max_positions = 32768,
               .rule = DW_WINDOW_LAST,
               .window = 4096},
    [QWEN3] = {.name = "qwen3",
               .class = CLASSES("Qwen3"),
               USUAL,
               .bias_key = true,
               .qk_norm = true,
               .head_dim = 128,
               .max_positions = 32768,
               .rule = DW_WINDOW_LAST,
               .window = 4096},
    [GEMMA] = {.name = "gemma",
               .class = CLASSES("Gemma"),
               GEMMA_BODY,
               .act_key = "hidden_act",
               .legacy_gelu = true,
               .theta = 10000,
               .kv_heads = 16,
               .max_positions = 8192},
    [GEMMA2] = {.name = "gemma2",
                .class = CLASSES("Gemma2"),
                GEMMA_BODY,
                .act_key = "hidden_activation",
                .theta = 10000,
                .post_norms = true,
                .query_scalar = true,
                .attn_softcap = 50,
                .head_softcap = 30,
                .kv_heads = 4,
                .max_positions = 8192,
                .rule = DW_WINDOW_PATTERN,
                .window = 4096,
                .pattern = 2},
    [GEMMA3_TEXT] = {.name = "gemma3_text",
                     .class = {"Gemma3ForCausalLM", "Gemma3TextForSequenceClassification"},
                     GEMMA3_BODY},
    [GEMMA3] = {.name = "gemma3",
                .class = {"Gemma3ForConditionalGeneration", "Gemma3ForSequenceClassification"},
                GEMMA3_BODY},
    [PHI3] = {.name = "phi3",
              .class = CLASSES("Phi3"),
              .layout = DW_LAYOUT_PHI3,
              .prefix = "model.",
              .keys = &usual_keys,
              .act_key = "hidden_act",
              .act = "silu",
              .eps_key = "rms_norm_eps",
              .eps = 1e-5,
              .theta = 10000,
              .partial_rotary = true,
              .max_positions = 4096,
              .rope_original = 4096,
              .rule = DW_WINDOW_ALL},
    [GPT2] = {.name = "gpt2",
              .class = {"GPT2LMHeadModel", "GPT2ForSequenceClassification",
                        "GPT2ForTokenClassification"},
              .layout = DW_LAYOUT_GPT2,
              .prefix = "transformer.",
              .keys = &gpt2_keys,
              .act_key = "activation_function",
              .act = "gelu_new",
              .eps_key = "layer_norm_epsilon",
              .eps = 1e-5,
              .all_bias = true,
              .plain = true,
              .layer_norm = true,
              .learned_positions = true,
              .tied = true,
              .max_positions = 1024},
};

static void put_known(dw_buf *b)
{
    for (int i = 0; i < N_FAMILY; i++)
        dw_buf_printf(b, "%s%s", i ? ", " : "", families[i].name);
}

dw_status dw_config_family(const dw_json *root, const dw_family **out, dw_err *err)
{
    const char *type = NULL;
    DW_TRY(dw_json_get_cstr(root, "model_type", NULL, &type, err));
    *out = NULL;
    for (int i = 0; i < N_FAMILY && type; i++)
        if (!strcmp(type, families[i].name))
            *out = &families[i];
    if (*out)
        return DW_OK;
    dw_buf known = {0};
    put_known(&known);
    dw_status st =
        type ? dw_fail(err, DW_E_INPUT, "model_type \"%.64s\" is not supported (supported: %s)",
                       type, known.ptr)
             : dw_fail(err, DW_E_INPUT, "model_type is missing (supported: %s)", known.ptr);
    dw_buf_finish(&known);
    return st;
}

/* ---- classes ---- */

const char *dw_config_top(dw_top top)
{
    static const char *const tops[] = {[DW_TOP_LM] = "CausalLM",
                                       [DW_TOP_SEQUENCE] = "SequenceClassification",
                                       [DW_TOP_TOKEN] = "TokenClassification"};
    return tops[top];
}

const char *dw_config_class(const dw_description *d, dw_top top)
{
    for (int i = 0; i < N_FAMILY; i++)
        if (!strcmp(d->family, families[i].name))
            return families[i].class[top];
    return NULL;
}

dw_status dw_config_find_top(const dw_json *root, const dw_family *f, dw_top *top, dw_err *err)
{
    const dw_json *arch = dw_json_get(root, "architectures");
    *top = DW_TOP_LM;
    if (!arch || dw_json_kind(arch) == DW_JSON_NULL)
        return DW_OK;
    if (dw_json_kind(arch) != DW_JSON_ARRAY)
        return dw_fail(err, DW_E_INPUT, "architectures: wanted an array, found %s",
                       dw_json_kind_name(arch));
    for (const dw_json *a = dw_json_first(arch); a; a = dw_json_next(a)) {
        dw_text s = dw_json_kind(a) == DW_JSON_STRING ? dw_json_str(a) : DW_TEXT("");
        int found = -1;
        for (int t = 0; t < 3; t++)
            if (f->class[t] && dw_text_is(s, f->class[t]))
                found = t;
        if (found < 0)
            return dw_fail(
                err, DW_E_INPUT, "architectures: \"%.*s\" is not supported, wanted %s%s%s%s%s",
                (int)(s.len < 64 ? s.len : 64), s.ptr, f->class[0], f -> class[2] ? ", " : " or ",
                f->class[1], f -> class[2] ? " or " : "", f->class[2] ? f->class[2] : "");
        if (a != dw_json_first(arch) && found != (int)*top)
            return dw_fail(err, DW_E_INPUT, "architectures: %s and %s at once", f->class[*top],
                           f -> class[found]);
        *top = (dw_top)found;
    }
    return DW_OK;
}

/* ---- refusals ---- */

#define BIT(family) (1u << (family))
#define ANY_GEMMA3  (BIT(GEMMA3_TEXT) | BIT(GEMMA3))

/* Keys that change the computation wherever they are set to anything else than this. */
typedef struct neutral {
    const char *key;
    double value; /* neutral number; false counts as 0 */
    const char *why;
    unsigned but; /* families for which it says nothing, or which read it elsewhere */
} neutral;
static const neutral neutrals[] = {
    {"pretraining_tp", 1, "split matrices are not supported", 0},
    {"attention_dropout", 0, "dropout is not supported", 0},
    {"hidden_dropout", 0, "dropout is not supported", 0},
    /* every GPT-2 has 0.1 there; it is switched off, as TRL's disable_dropout does */
    {"attn_pdrop", 0, "dropout is not supported", BIT(GPT2)},
    {"resid_pdrop", 0, "dropout is not supported", BIT(GPT2)},
    {"embd_pdrop", 0, "dropout is not supported", BIT(GPT2)},
    {"is_encoder_decoder", 0, "only decoders are supported", 0},
    {"add_cross_attention", 0, "cross-attention is not supported", 0},
    {"use_bidirectional_attention", 0, "only causal attention is supported", 0},
    {"scale_attn_by_inverse_layer_idx", 0, "another attention scale is not supported", 0},
    {"partial_rotary_factor", 1, "partial rotary embedding is not supported", BIT(PHI3)},
    {"rotary_pct", 1, "partial rotary embedding is not supported", 0},
    {"rope_interleaved", 0, "interleaved rotary embedding is not supported", 0},
    {"embedding_multiplier", 1, "scaled embeddings are not supported", 0},
    {"residual_multiplier", 1, "scaled residuals are not supported", 0},
    {"logits_scaling", 1, "scaled logits are not supported", 0},
    {"logit_scale", 1, "scaled logits are not supported", 0},
    {"num_experts", 0, "mixtures of experts are not supported", 0},
    {"num_local_experts", 0, "mixtures of experts are not supported", 0},
};
/* Keys that must be absent, null or empty. */
static const neutral absent[] = {
    {"quantization_config", 0, "quantised checkpoints are not supported; save it dequantised", 0},
    {"compression_config", 0, "compressed checkpoints are not supported", 0},
    {"text_config", 0, "models of several parts are not supported", BIT(GEMMA3)},
    {"vision_config", 0, "models of several parts are not supported", BIT(GEMMA3)},
    {"audio_config", 0, "models of several parts are not supported", 0},
    {"attention_multiplier", 0, "another attention scale is not supported", 0},
    {"query_pre_attn_scalar", 0, "another attention scale is not supported",
     BIT(GEMMA2) | ANY_GEMMA3},
    {"attn_logit_softcapping", 0, "soft caps are not supported for this family", BIT(GEMMA2)},
    {"final_logit_softcapping", 0, "soft caps are not supported for this family",
     BIT(GEMMA2) | ANY_GEMMA3},
    {"no_rope_layers", 0, "layers without positions are not supported", 0},
    {"pruned_heads", 0, "pruned heads are not supported", 0},
};

static dw_status check_neutral(const dw_json *root, const neutral *n, dw_err *err)
{
    const dw_json *v = dw_json_get(root, n->key);
    dw_json_type t = v ? dw_json_kind(v) : DW_JSON_NULL;
    if (t == DW_JSON_NULL)
        return DW_OK;
    if (t != DW_JSON_NUMBER && t != DW_JSON_BOOL)
        return dw_fail(err, DW_E_INPUT, "%s: wanted a number, found %s", n->key,
                       dw_json_kind_name(v));
    double x = t == DW_JSON_NUMBER ? dw_json_num(v) : dw_json_bool(v) ? 1 : 0;
    if (x == n->value)
        return DW_OK;
    return dw_fail(err, DW_E_INPUT, "%s is %g: %s (wanted %g)", n->key, x, n->why, n->value);
}

/* Code of a checkpoint is never run. A map to classes that transformers has itself is ignored, as
 * transformers does; any other may compute something else. */
static dw_status check_auto_map(const dw_json *root, const dw_family *f, dw_err *err)
{
    const dw_json *map = dw_json_get(root, "auto_map");
    const char *class = f->class[DW_TOP_LM], *end = strstr(class, "For");
    const size_t stem = (size_t)((end ? end : strstr(class, "LMHead")) - class); /* "Phi3" */
    for (const dw_json *v = map ? dw_json_first(map) : NULL; v; v = dw_json_next(v)) {
        dw_text s = dw_json_kind(v) == DW_JSON_STRING ? dw_json_str(v) : DW_TEXT("");
        size_t at = s.len;
        while (at && s.ptr[at - 1] != '.')
            at--;
        if (s.len - at <= stem || memcmp(s.ptr + at, class, stem) != 0)
            return dw_fail(err, DW_E_INPUT,
                           "auto_map is set: code of a checkpoint is never run (\"%.*s\" is no "
                           "class of transformers)",
                           (int)(s.len < 64 ? s.len : 64), s.ptr);
    }
    return DW_OK;
}

dw_status dw_config_refuse(const dw_json *root, const dw_family *f, dw_err *err)
{
    const unsigned bit = BIT(f - families);
    DW_TRY(check_auto_map(root, f, err));
    for (size_t i = 0; i < sizeof neutrals / sizeof *neutrals; i++)
        if (!(neutrals[i].but & bit))
            DW_TRY(check_neutral(root, &neutrals[i], err));
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        const dw_json *v = dw_json_get(root, absent[i].key);
        if (!(absent[i].but & bit) && v && dw_json_kind(v) != DW_JSON_NULL &&
            (dw_json_first(v) || dw_json_kind(v) < DW_JSON_ARRAY))
            return dw_fail(err, DW_E_INPUT, "%s is set: %s", absent[i].key, absent[i].why);
    }
    return DW_OK;
}
