/* config.json family by family: bad values of every field that a family reads, settings of one
 * family in another, cross-checks, and what the good ones mean. */
#include "folder.h"

#include <math.h>

#include "base/json.h"
#include "model/config.h"

enum { MEMBERS = 16 };
/* A good configuration of each family; a case replaces, removes or adds one member. */
typedef const char *member[2];
#define SIZES                                                                                      \
    {"vocab_size", "96"}, {"hidden_size", "32"}, {"intermediate_size", "48"},                      \
        {"num_hidden_layers", "3"}, {"num_attention_heads", "4"},                                  \
    {                                                                                              \
        "num_key_value_heads", "2"                                                                 \
    }
static const struct family {
    const char *name;
    member base[MEMBERS];
} families[] = {
    {"llama", {SIZES, {"max_position_embeddings", "256"}}},
    {"mistral", {SIZES}},
    {"qwen2", {SIZES}},
    {"qwen3", {SIZES, {"head_dim", "8"}}},
    {"gemma", {SIZES, {"head_dim", "8"}}},
    {"gemma2", {SIZES, {"head_dim", "8"}, {"sliding_window", "16"}}},
    {"gemma3_text", {SIZES, {"head_dim", "8"}, {"sliding_window", "16"}}},
    {"gemma3",
     {{"text_config", "{\"vocab_size\": 96, \"hidden_size\": 32, \"intermediate_size\": 48, "
                      "\"num_hidden_layers\": 3}"},
      {"vision_config", "{\"hidden_size\": 8}"}}},
    {"phi3", {SIZES}},
    {"gpt2", {{"vocab_size", "96"}, {"n_embd", "32"}, {"n_layer", "3"}, {"n_head", "4"}}},
};
enum { N_FAMILIES = sizeof families / sizeof *families };

/* key "-x" removes x; value NULL with it. */
typedef struct bad {
    const char *family, *key, *value, *message;
} bad;

#define INT(family, key, hi)                                                                       \
    {family, key, "0", key ": 0 is outside 1 .. " hi},                                             \
        {family, key, "-7", key ": -7 is outside 1 .. " hi},                                       \
        {family, key, "1e15", key ": 1000000000000000 is outside 1 .. " hi},                       \
        {family, key, "0.5", key ": wanted an integer, found 0.5"},                                \
        {family, key, "\"3\"", key ": wanted an integer, found a string"},                         \
        {family, key, "false", key ": wanted an integer, found true or false"},                    \
    {                                                                                              \
        family, key, "{}", key ": wanted an integer, found an object"                              \
    }
#define MISSING(family, key)                                                                       \
    {family, "-" key, NULL, key " is missing"},                                                    \
    {                                                                                              \
        family, key, "null", key " is missing"                                                     \
    }
#define BOOL(family, key)                                                                          \
    {family, key, "1", key ": wanted true or false, found a number"},                              \
        {family, key, "\"true\"", key ": wanted true or false, found a string"},                   \
    {                                                                                              \
        family, key, "[]", key ": wanted true or false, found an array"                            \
    }
#define NUM(family, key, below, range)                                                             \
    {family, key, below, key ": " below " is outside " range},                                     \
        {family, key, "1e9", key ": 1000000000 is outside " range},                                \
        {family, key, "\"1\"", key ": wanted a number, found a string"},                           \
    {                                                                                              \
        family, key, "[1]", key ": wanted a number, found an array"                                \
    }
#define WHY_SCALE "another attention scale is not supported"
#define WHY_CAPS  "soft caps are not supported for this family"
#define WHY_DROP  "dropout is not supported (wanted 0)"
#define LONG_OK   "\"type\": \"longrope\", \"short_factor\": [1, 2, 3, 4]"
#define YARN_OK   "\"rope_type\": \"yarn\", \"factor\": 4"

static const bad bads[] = {
    /* GPT-2 and its own names */
    MISSING("gpt2", "n_embd"),
    INT("gpt2", "n_embd", "262144"),
    MISSING("gpt2", "n_layer"),
    INT("gpt2", "n_layer", "512"),
    MISSING("gpt2", "n_head"),
    INT("gpt2", "n_head", "4096"),
    INT("gpt2", "n_positions", "1073741824"),
    INT("gpt2", "n_inner", "1048576"),
    MISSING("gpt2", "vocab_size"),
    BOOL("gpt2", "scale_attn_weights"),
    NUM("gpt2", "layer_norm_epsilon", "-1", "0 .. 0.1"),
    {"gpt2", "n_head", "5", "n_embd 32 is not a multiple of n_head 5"},
    {"gpt2", "n_embd", "2048", "n_embd / n_head is 512, above 256"},
    {"gpt2", "n_embd", "262144", "n_embd / n_head is 65536, above 256"},
    {"gpt2", "head_dim", "16", "head_dim is 16, but n_embd / n_head is 8"},
    {"gpt2", "hidden_size", "32", "hidden_size is set, which this family calls n_embd"},
    {"gpt2", "intermediate_size", "8", "intermediate_size is set, which this family calls n_inner"},
    {"gpt2", "num_hidden_layers", "3", "num_hidden_layers is set, which this family calls n_layer"},
    {"gpt2", "num_attention_heads", "4",
     "num_attention_heads is set, which this family calls n_head"},
    {"gpt2", "max_position_embeddings", "9",
     "max_position_embeddings is set, which this family calls n_positions"},
    {"gpt2", "activation_function", "\"tanh\"",
     "activation_function \"tanh\" is not supported (supported: silu, gelu, gelu_new, "
     "gelu_pytorch_tanh, relu)"},
    {"gpt2", "activation_function", "0", "activation_function: wanted a string, found a number"},
    {"gpt2", "scale_attn_by_inverse_layer_idx", "true",
     "scale_attn_by_inverse_layer_idx is 1: " WHY_SCALE " (wanted 0)"},
    {"gpt2", "add_cross_attention", "true",
     "add_cross_attention is 1: cross-attention is not supported (wanted 0)"},
    {"gpt2", "attention_dropout", "0.1", "attention_dropout is 0.1: " WHY_DROP},
    {"gpt2", "architectures", "[\"GPT2DoubleHeadsModel\"]",
     "architectures: \"GPT2DoubleHeadsModel\" is not supported, wanted GPT2LMHeadModel, "
     "GPT2ForSequenceClassification or GPT2ForTokenClassification"},
    {"gpt2", "architectures", "[\"GPT2ForCausalLM\"]",
     "architectures: \"GPT2ForCausalLM\" is not supported, wanted GPT2LMHeadModel, "
     "GPT2ForSequenceClassification or GPT2ForTokenClassification"},
    {"gpt2", "query_pre_attn_scalar", "64", "query_pre_attn_scalar is set: " WHY_SCALE},
    {"gpt2", "pruned_heads", "{\"0\": [1]}", "pruned_heads is set: pruned heads are not supported"},
    {"gpt2", "layer_types", "[\"sliding_attention\", \"full_attention\", \"full_attention\"]",
     "layer_types: layer 0 slides but there is no sliding_window"},
    {"gpt2", "eos_token_id", "50256", "eos_token_id: 50256 is outside 0 .. 95"},
    /* Gemma */
    MISSING("gemma", "hidden_size"),
    INT("gemma", "head_dim", "256"),
    {"gemma", "head_dim", "9", "head_dim 9 is odd; rotary embedding turns pairs"},
    {"gemma", "-num_key_value_heads", NULL,
     "num_attention_heads 4 is not a multiple of num_key_value_heads 16"},
    {"gemma", "hidden_act", "\"geglu\"",
     "hidden_act \"geglu\" is not supported (supported: silu, gelu, gelu_new, gelu_pytorch_tanh, "
     "relu)"},
    {"gemma", "final_logit_softcapping", "30", "final_logit_softcapping is set: " WHY_CAPS},
    {"gemma", "attn_logit_softcapping", "50", "attn_logit_softcapping is set: " WHY_CAPS},
    {"gemma", "query_pre_attn_scalar", "256", "query_pre_attn_scalar is set: " WHY_SCALE},
    {"gemma", "use_bidirectional_attention", "true",
     "use_bidirectional_attention is 1: only causal attention is supported (wanted 0)"},
    {"gemma", "layer_types", "[\"sliding_attention\", \"full_attention\", \"full_attention\"]",
     "layer_types: layer 0 slides but there is no sliding_window"},
    {"gemma", "architectures", "[\"Gemma2ForCausalLM\"]",
     "architectures: \"Gemma2ForCausalLM\" is not supported, wanted GemmaForCausalLM, "
     "GemmaForSequenceClassification or GemmaForTokenClassification"},
    {"gemma", "mlp_bias", "true", "mlp_bias is true, which gemma does not have"},
    BOOL("gemma", "attention_bias"),
    BOOL("gemma", "tie_word_embeddings"),
    NUM("gemma", "rms_norm_eps", "-1", "0 .. 0.1"),
    /* Gemma 2 */
    NUM("gemma2", "query_pre_attn_scalar", "0", "0.001 .. 1e+06"),
    NUM("gemma2", "attn_logit_softcapping", "0", "0.001 .. 1e+06"),
    NUM("gemma2", "final_logit_softcapping", "-30", "0.001 .. 1e+06"),
    INT("gemma2", "sliding_window", "1073741824"),
    {"gemma2", "sliding_window", "null", "sliding_window is null, but layer 0 slides"},
    {"gemma2", "hidden_activation", "\"selu\"",
     "hidden_activation \"selu\" is not supported (supported: silu, gelu, gelu_new, "
     "gelu_pytorch_tanh, relu)"},
    {"gemma2", "hidden_activation", "[]", "hidden_activation: wanted a string, found an array"},
    {"gemma2", "layer_types", "[\"full_attention\"]", "layer_types: 1 entries for 3 layers"},
    {"gemma2", "layer_types", "\"full_attention\"", "layer_types: wanted an array, found a string"},
    {"gemma2", "layer_types", "[\"full_attention\", \"chunked_attention\", \"full_attention\"]",
     "layer_types: \"chunked_attention\" of layer 1 is not supported"},
    {"gemma2", "layer_types", "[\"full_attention\", 1, \"full_attention\"]",
     "layer_types: \"\" of layer 1 is not supported"},
    {"gemma2", "rope_parameters", "{\"full_attention\": {\"rope_type\": \"default\"}}",
     "rope_parameters: full_attention is not supported"},
    {"gemma2", "use_bidirectional_attention", "true",
     "use_bidirectional_attention is 1: only causal attention is supported (wanted 0)"},
    {"gemma2", "num_experts", "4",
     "num_experts is 4: mixtures of experts are not supported (wanted 0)"},
    /* Gemma 3 */
    INT("gemma3_text", "sliding_window_pattern", "512"),
    {"gemma3_text", "sliding_window", "null", "sliding_window is null, but layer 0 slides"},
    {"gemma3_text", "rope_local_base_freq", "0", "rope_local_base_freq: 0 is outside 1 .. 1e+12"},
    {"gemma3_text", "rope_local_base_freq", "true",
     "rope_local_base_freq: wanted a number, found true or false"},
    {"gemma3_text", "rope_theta", "0", "rope_theta: 0 is outside 1 .. 1e+12"},
    {"gemma3_text", "attn_logit_softcapping", "50", "attn_logit_softcapping is set: " WHY_CAPS},
    {"gemma3_text", "architectures", "[\"Gemma3ForTokenClassification\"]",
     "architectures: \"Gemma3ForTokenClassification\" is not supported, wanted Gemma3ForCausalLM "
     "or "
     "Gemma3TextForSequenceClassification"},
    {"gemma3_text", "rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 1e6}",
     "rope_parameters: rope_type is not supported beside full_attention and sliding_attention"},
    {"gemma3_text", "rope_parameters", "{\"chunked_attention\": {}}",
     "rope_parameters: chunked_attention is not supported beside full_attention and "
     "sliding_attention"},
    {"gemma3_text", "rope_parameters", "{\"full_attention\": null}",
     "rope_parameters: full_attention: wanted an object, found null"},
    {"gemma3_text", "rope_parameters", "{\"sliding_attention\": [1]}",
     "rope_parameters: sliding_attention: wanted an object, found an array"},
    {"gemma3_text", "rope_parameters",
     "{\"sliding_attention\": {\"rope_type\": \"linear\", \"factor\": 2}}",
     "rope_parameters: sliding_attention: rope_type \"linear\" is not supported (supported: "
     "default)"},
    {"gemma3_text", "rope_parameters", "{\"sliding_attention\": {\"rope_theta\": \"x\"}}",
     "rope_parameters: rope_theta: wanted a number, found a string"},
    {"gemma3_text", "rope_parameters", "{\"full_attention\": {\"rope_type\": \"linear\"}}",
     "rope_parameters: factor is missing"},
    {"gemma3_text", "rope_parameters", "{\"full_attention\": {\"rope_type\": \"mrope\"}}",
     "rope_parameters: rope_type \"mrope\" is not supported (supported: default, linear, llama3, "
     "dynamic, yarn, longrope)"},
    {"gemma3_text", "rope_parameters", "{\"full_attention\": {\"mrope_section\": [1]}}",
     "rope_parameters: mrope_section is not supported"},
    {"gemma3_text", "text_config", "{\"a\": 1}",
     "text_config is set: models of several parts are not supported"},
    /* Gemma 3 of several parts */
    {"gemma3", "-text_config", NULL, "text_config: wanted an object, found nothing"},
    {"gemma3", "text_config", "3", "text_config: wanted an object, found a number"},
    {"gemma3", "text_config", "{}", "hidden_size is missing"},
    {"gemma3", "text_config", "{\"model_type\": \"gemma2\"}",
     "text_config: model_type is \"gemma2\", wanted \"gemma3_text\""},
    {"gemma3", "text_config", "{\"model_type\": 3}", "model_type: wanted a string, found a number"},
    {"gemma3", "text_config", "{\"attention_dropout\": 0.5}",
     "attention_dropout is 0.5: " WHY_DROP},
    {"gemma3", "text_config", "{\"quantization_config\": {\"bits\": 4}}",
     "quantization_config is set: quantised checkpoints are not supported; save it dequantised"},
    {"gemma3", "quantization_config", "{\"bits\": 4}",
     "quantization_config is set: quantised checkpoints are not supported; save it dequantised"},
    {"gemma3", "audio_config", "{\"a\": 4}",
     "audio_config is set: models of several parts are not supported"},
    {"gemma3", "architectures", "[\"Gemma3ForCausalLM\"]",
     "architectures: \"Gemma3ForCausalLM\" is not supported, wanted Gemma3ForConditionalGeneration "
     "or Gemma3ForSequenceClassification"},
    {"gemma3", "eos_token_id", "[1, 106]", "eos_token_id: 106 is outside 0 .. 95"},
    {"gemma3", "dtype", "\"int8\"",
     "dtype \"int8\" is not supported (supported: float32, bfloat16, float16)"},
    /* Phi-3 */
    MISSING("phi3", "intermediate_size"),
    INT("phi3", "sliding_window", "1073741824"),
    NUM("phi3", "partial_rotary_factor", "0", "1e-06 .. 1"),
    {"phi3", "partial_rotary_factor", "0.4",
     "partial_rotary_factor 0.4 turns 3 of 8 elements; rotary embedding turns pairs"},
    {"phi3", "partial_rotary_factor", "0.1",
     "partial_rotary_factor 0.1 turns 0 of 8 elements; rotary embedding turns pairs"},
    {"phi3", "attention_bias", "true", "attention_bias is true, which phi3 does not have"},
    {"phi3", "mlp_bias", "true", "mlp_bias is true, which phi3 does not have"},
    {"phi3", "resid_pdrop", "0.1", "resid_pdrop is 0.1: " WHY_DROP},
    {"phi3", "embd_pdrop", "0.1", "embd_pdrop is 0.1: " WHY_DROP},
    {"phi3", "layer_types", "[]", "layer_types is not supported for phi3"},
    {"phi3", "auto_map", "{\"AutoConfig\": \"c.Phi3Config\", \"AutoModel\": \"m.PhiMoEModel\"}",
     "auto_map is set: code of a checkpoint is never run (\"m.PhiMoEModel\" is no class of "
     "transformers)"},
    {"phi3", "auto_map", "{\"AutoConfig\": [\"a\", \"b\"]}",
     "auto_map is set: code of a checkpoint is never run (\"\" is no class of transformers)"},
    {"phi3", "rope_scaling", "{\"type\": \"linear\", \"factor\": 2}",
     "rope_scaling: rope_type \"linear\" is not supported (supported: default, longrope)"},
    {"phi3", "rope_scaling", "{\"type\": \"longrope\", \"long_factor\": [1, 1, 1, 1]}",
     "rope_scaling: short_factor: wanted an array, found nothing"},
    {"phi3", "rope_scaling", "{" LONG_OK "}",
     "rope_scaling: long_factor: wanted an array, found nothing"},
    {"phi3", "rope_scaling", "{" LONG_OK ", \"long_factor\": [1, 1]}",
     "rope_scaling: long_factor: 2 numbers for 4 frequencies"},
    {"phi3", "rope_scaling", "{" LONG_OK ", \"long_factor\": [1, 1, null, 1]}",
     "rope_scaling: long_factor: wanted numbers, found null"},
    {"phi3", "rope_scaling", "{" LONG_OK ", \"long_factor\": [1, 1, 1, 0]}",
     "rope_scaling: long_factor: 0 is outside 1e-06 .. 1e+06"},
    {"phi3", "rope_scaling", "{" LONG_OK ", \"long_factor\": [1, 1, 1, 1], \"beta_slow\": 1}",
     "rope_scaling: beta_slow has no meaning for rope_type \"longrope\""},
    {"phi3", "rope_scaling", "{" LONG_OK ", \"long_factor\": [1, 1, 1, 1], \"factor\": \"x\"}",
     "rope_scaling: factor: wanted a number, found a string"},
    {"phi3", "rope_scaling",
     "{" LONG_OK ", \"long_factor\": [1, 1, 1, 1], \"attention_factor\": 0}",
     "rope_scaling: attention_factor: 0 is outside 0.001 .. 1000"},
    {"phi3", "rope_scaling", "{\"short_factor\": [1, 1, 1, 1]}",
     "rope_scaling: short_factor has no meaning for rope_type \"default\""},
    /* scaled rotaries of the others */
    {"llama", "rope_scaling", "{" YARN_OK ", \"beta_fast\": 0}",
     "rope_scaling: beta_fast: 0 is outside 0.001 .. 1e+06"},
    {"llama", "rope_scaling", "{" YARN_OK ", \"beta_fast\": 1, \"beta_slow\": 2}",
     "rope_scaling: beta_slow 2 is not below beta_fast 1"},
    {"llama", "rope_scaling", "{" YARN_OK ", \"beta_slow\": \"1\"}",
     "rope_scaling: beta_slow: wanted a number, found a string"},
    {"llama", "rope_scaling", "{" YARN_OK ", \"truncate\": 1}",
     "rope_scaling: truncate: wanted true or false, found a number"},
    {"llama", "rope_scaling", "{" YARN_OK ", \"mscale\": -1}",
     "rope_scaling: mscale: -1 is outside 0 .. 1000"},
    {"llama", "rope_scaling", "{" YARN_OK ", \"mscale_all_dim\": []}",
     "rope_scaling: mscale_all_dim: wanted a number, found an array"},
    {"llama", "rope_scaling", "{" YARN_OK ", \"attention_factor\": -1}",
     "rope_scaling: attention_factor: -1 is outside 0.001 .. 1000"},
    {"llama", "rope_scaling", "{\"rope_type\": \"yarn\"}", "rope_scaling: factor is missing"},
    {"llama", "rope_scaling", "{" YARN_OK ", \"original_max_position_embeddings\": 1.5}",
     "rope_scaling: original_max_position_embeddings: wanted an integer, found 1.5"},
    {"llama", "rope_scaling", "{" YARN_OK ", \"finetuned\": true}",
     "rope_scaling: finetuned is not supported"},
    {"llama", "rope_scaling", "{\"type\": \"dynamic\"}", "rope_scaling: factor is missing"},
    {"llama", "rope_scaling", "{\"type\": \"dynamic\", \"factor\": 0.5}",
     "rope_scaling: factor: 0.5 is outside 1 .. 1e+06"},
    {"llama", "rope_scaling", "{\"type\": \"dynamic\", \"factor\": 2, \"mscale\": 1}",
     "rope_scaling: mscale has no meaning for rope_type \"dynamic\""},
    {"llama", "rope_scaling", "{\"type\": \"su\"}",
     "rope_scaling: rope_type \"su\" is not supported (supported: default, linear, llama3, "
     "dynamic, "
     "yarn, longrope)"},
    {"llama", "rope_interleaved", "true",
     "rope_interleaved is 1: interleaved rotary embedding is not supported (wanted 0)"},
    {"llama", "auto_map", "{\"AutoModelForCausalLM\": \"modeling.MyLlama\"}",
     "auto_map is set: code of a checkpoint is never run (\"modeling.MyLlama\" is no class of "
     "transformers)"},
    {"llama", "query_pre_attn_scalar", "1", "query_pre_attn_scalar is set: " WHY_SCALE},
    {"llama", "attn_pdrop", "0.1", "attn_pdrop is 0.1: " WHY_DROP},
    /* windows of the others */
    INT("mistral", "sliding_window", "1073741824"),
    {"mistral", "layer_types", "[\"full_attention\"]", "layer_types is not supported for mistral"},
    {"mistral", "attention_bias", "true", "attention_bias is true, which mistral does not have"},
    BOOL("qwen2", "use_sliding_window"),
    {"qwen2", "max_window_layers", "-1", "max_window_layers: -1 is outside 0 .. 1048576"},
    {"qwen2", "mlp_bias", "true", "mlp_bias is true, which qwen2 does not have"},
    INT("qwen3", "head_dim", "256"),
    {"qwen3", "layer_types", "[\"full_attention\", \"sliding_attention\", \"full_attention\"]",
     "layer_types: layer 1 slides but there is no sliding_window"},
};

/* The family's base with `key` replaced, removed ("-key") or added. */
static char *compose(dw_arena *a, const char *family, const char *key, const char *value)
{
    dw_buf b = {0};
    const struct family *f = families;
    bool removed = key && key[0] == '-', replaced = false;
    while (strcmp(f->name, family) != 0)
        f++;
    dw_buf_printf(&b, "{\"model_type\": \"%s\"", family);
    for (size_t i = 0; i < MEMBERS && f->base[i][0]; i++) {
        const bool this = key && !strcmp(f->base[i][0], key + removed);
        replaced |= this;
        if (!this || !removed)
            dw_buf_printf(&b, ", \"%s\": %s", f->base[i][0], this ? value : f->base[i][1]);
    }
    if (key && !replaced && !removed)
        dw_buf_printf(&b, ", \"%s\": %s", key, value);
    dw_buf_addc(&b, '}');
    char *text = dw_arena_strndup(a, b.ptr, b.len);
    dw_buf_finish(&b);
    return text;
}

static dw_status parse(const char *text, dw_description *d, dw_err *err)
{
    dw_json *root = NULL;
    if (dw_json_parse(text, strlen(text), 64, 1, &root, err) < 0)
        fail_msg("%s: %s", text, err->text);
    dw_status st = dw_config_parse(root, d, err);
    dw_json_free(root);
    return st;
}

static void test_bad(void **state)
{
    dw_arena a = {0};
    size_t n = sizeof bads / sizeof *bads, wrong = 0;
    for (size_t i = 0; i < n; i++) {
        dw_description d;
        dw_err err = {{0}};
        char *text = compose(&a, bads[i].family, bads[i].key, bads[i].value);
        const dw_status st = parse(text, &d, &err);
        if (st == DW_E_INPUT && !strcmp(err.text, bads[i].message))
            continue;
        print_error("%s\n  gives  %s\n  wanted %s\n", text, st < 0 ? err.text : "a description",
                    bads[i].message);
        wrong++;
    }
    print_message("# %zu cases\n", n);
    assert_int_equal(wrong, 0);
    dw_arena_finish(&a);
}

static void good(const char *family, const char *key, const char *value, dw_description *d)
{
    dw_arena a = {0};
    dw_err err = {{0}};
    char *text = compose(&a, family, key, value);
    if (parse(text, d, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    dw_arena_finish(&a);
}

/* What follows from model_type alone. */
static void test_families(void **state)
{
    static const struct {
        const char *family;
        dw_layout layout;
        bool norm_layer, unit, post, qk_norm, gated, tied, bias;
        uint32_t head_dim, kv_heads, window[3];
        dw_act act;
        double theta, local, attn_cap, head_cap;
    } rows[] = {
        {"llama", DW_LAYOUT_LLAMA, 0, 0, 0, 0, 1, 0, 0, 8, 2, {0}, DW_ACT_SILU, 1e4, 0, 0, 0},
        {"gemma", DW_LAYOUT_LLAMA, 0, 1, 0, 0, 1, 1, 0, 8, 2, {0}, DW_ACT_GELU_TANH, 1e4, 0, 0, 0},
        {"gemma2",
         DW_LAYOUT_LLAMA,
         0,
         1,
         1,
         0,
         1,
         1,
         0,
         8,
         2,
         {16, 0, 16},
         DW_ACT_GELU_TANH,
         1e4,
         0,
         50,
         30},
        {"gemma3_text",
         DW_LAYOUT_LLAMA,
         0,
         1,
         1,
         1,
         1,
         1,
         0,
         8,
         2,
         {16, 16, 16},
         DW_ACT_GELU_TANH,
         1e6,
         1e4,
         0,
         0},
        {"gemma3",
         DW_LAYOUT_LLAMA,
         0,
         1,
         1,
         1,
         1,
         1,
         0,
         256,
         4,
         {4096, 4096, 4096},
         DW_ACT_GELU_TANH,
         1e6,
         1e4,
         0,
         0},
        {"phi3", DW_LAYOUT_PHI3, 0, 0, 0, 0, 1, 0, 0, 8, 2, {0}, DW_ACT_SILU, 1e4, 0, 0, 0},
        {"gpt2", DW_LAYOUT_GPT2, 1, 0, 0, 0, 0, 1, 1, 8, 4, {0}, DW_ACT_GELU_TANH, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dw_description d;
        good(rows[i].family, NULL, NULL, &d);
        assert_string_equal(d.family, rows[i].family);
        assert_int_equal(d.layout, rows[i].layout);
        assert_int_equal(d.layer_norm, rows[i].norm_layer);
        assert_int_equal(d.norm_unit_offset, rows[i].unit);
        assert_int_equal(d.norm_place == DW_NORM_PRE_POST, rows[i].post);
        assert_int_equal(d.qk_norm, rows[i].qk_norm);
        assert_int_equal(d.gated, rows[i].gated);
        assert_int_equal(d.tied, rows[i].tied);
        assert_true(d.qkv_bias == rows[i].bias && d.o_bias == rows[i].bias &&
                    d.mlp_bias == rows[i].bias);
        assert_int_equal(d.head_dim, rows[i].head_dim);
        assert_int_equal(d.kv_heads, rows[i].kv_heads);
        assert_memory_equal(d.window, rows[i].window, sizeof rows[i].window);
        assert_int_equal(d.act, rows[i].act);
        assert_true(d.rope_theta == rows[i].theta && d.local_theta == rows[i].local);
        assert_true(d.attn_softcap == rows[i].attn_cap && d.head_softcap == rows[i].head_cap);
    }
}

/* One setting each, and what it changes. */
static void test_settings(void **state)
{
    dw_description d;
    good("gpt2", NULL, NULL, &d);
    assert_true(d.ffn == 128 && d.max_positions == 1024 && d.rope == DW_ROPE_NONE &&
                d.learned_positions && d.attn_scale == 1 / sqrt(8) && d.norm_eps == 1e-5);
    good("gpt2", "n_inner", "20", &d);
    assert_int_equal(d.ffn, 20);
    good("gpt2", "scale_attn_weights", "false", &d);
    assert_true(d.attn_scale == 1);
    good("gpt2", "attn_pdrop", "0.1", &d);
    good("gpt2", "n_embd", "20", &d);
    assert_int_equal(d.head_dim, 5); /* nothing turns: odd heads are fine */
    good("gemma", "hidden_act", "\"gelu\"", &d);
    assert_int_equal(d.act, DW_ACT_GELU_TANH);
    good("gemma", "tie_word_embeddings", "false", &d);
    assert_true(!d.tied);
    good("gemma2", "query_pre_attn_scalar", "144", &d);
    assert_true(d.attn_scale == 1.0 / 12);
    good("gemma2", NULL, NULL, &d);
    assert_true(d.attn_scale == 1.0 / 16);
    good("gemma2", "attn_logit_softcapping", "null", &d);
    assert_true(d.attn_softcap == 0 && d.head_softcap == 30);
    good("gemma3_text", "sliding_window_pattern", "2", &d);
    assert_true(d.window[0] == 16 && d.window[1] == 0 && d.window[2] == 16);
    good("gemma3_text", "final_logit_softcapping", "20", &d);
    assert_true(d.head_softcap == 20);
    good("gemma3_text", "rope_scaling", "{\"rope_type\": \"linear\", \"factor\": 8}", &d);
    assert_true(d.rope == DW_ROPE_LINEAR && d.rope_factor == 8 && d.local_theta == 1e4);
    good("gemma3_text", "rope_parameters",
         "{\"full_attention\": {\"rope_theta\": 7e5}, \"sliding_attention\": {\"rope_theta\": "
         "300.0}}",
         &d);
    assert_true(d.rope_theta == 7e5 && d.local_theta == 300);
    good("phi3", "auto_map", "{\"AutoConfig\": \"configuration_phi3.Phi3Config\"}", &d);
    good("phi3", "sliding_window", "5", &d);
    assert_true(d.window[0] == 5 && d.window[2] == 5);
    good("phi3", "partial_rotary_factor", "0.5", &d);
    assert_int_equal(dw_config_turned(&d), 4);
    good("llama", "dtype", "\"float64\"", &d);
    assert_true(d.embed_scale == 1);
}

/* Embeddings of a Gemma are scaled by a number of their own dtype. */
static void test_embed_scale(void **state)
{
    dw_description d;
    good("gemma", "dtype", "\"bfloat16\"", &d); /* 5.65685424949 */
    assert_true(d.embed_scale == 5.65625);
    good("gemma", "dtype", "\"float16\"", &d);
    assert_true(d.embed_scale == 5.65625);
    good("gemma", "torch_dtype", "\"float32\"", &d);
    assert_true(d.embed_scale == (double)(float)sqrt(32));
    good("gemma", "hidden_size", "3072", &d);
    assert_true(d.embed_scale == (double)(float)sqrt(3072));
}

/* Frequencies that transformers 5.23 computes (in float32) for these settings. */
static void test_frequencies(void **state)
{
    dw_description d;
    double f[4];
    good("llama", "rope_scaling", "{" YARN_OK ", \"original_max_position_embeddings\": 64}", &d);
    assert_true(fabs(d.rope_magnitude - 1.1386294361) < 1e-9 && d.rope_round);
    assert_int_equal(d.max_positions, 256);
    dw_config_inv_freq(&d, false, f);
    static const double yarn[] = {1, 0.0625, 0.0025, 0.00025};
    for (int i = 0; i < 4; i++)
        assert_true(fabs(f[i] / yarn[i] - 1) < 1e-6);
    good("phi3", "rope_scaling", "{" LONG_OK ", \"long_factor\": [9, 9, 9, 9]}", &d);
    assert_true(d.rope_magnitude == 1 && d.max_positions == 4096);
    dw_config_inv_freq(&d, false, f);
    for (int i = 0; i < 4; i++)
        assert_true(fabs(f[i] * (i + 1) * pow(10, i) - 1) < 1e-12);
    good("llama", "rope_scaling", "{\"type\": \"dynamic\", \"factor\": 2}", &d);
    dw_config_inv_freq(&d, false, f);
    for (int i = 0; i < 4; i++)
        assert_true(fabs(f[i] * pow(10, i) - 1) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),         cmocka_unit_test(test_families),
        cmocka_unit_test(test_settings),    cmocka_unit_test(test_embed_scale),
        cmocka_unit_test(test_frequencies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
