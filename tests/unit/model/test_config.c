/* config.json: every field with bad values, settings that are refused by name, and what good ones
 * mean. */
#include "folder.h"

#include <math.h>

#include "base/json.h"
#include "model/config.h"

/* A good configuration; a case replaces or adds one member, or several. */
static const char *const base[][2] = {
    {"model_type", "\"llama\""},  {"architectures", "[\"LlamaForCausalLM\"]"},
    {"vocab_size", "96"},         {"hidden_size", "32"},
    {"intermediate_size", "48"},  {"num_hidden_layers", "2"},
    {"num_attention_heads", "4"}, {"num_key_value_heads", "2"},
    {"hidden_act", "\"silu\""},   {"max_position_embeddings", "128"},
    {"rms_norm_eps", "1e-5"},     {"tie_word_embeddings", "true"},
    {"rope_theta", "10000.0"},    {"eos_token_id", "[2, 3]"},
    {"dtype", "\"bfloat16\""},    {"a_key_nobody_knows", "{\"x\": [1, 2]}"},
};
enum { N_BASE = sizeof base / sizeof *base };

/* "-key" removes; value NULL with it. */
typedef struct bad {
    const char *key, *value, *message;
} bad;

#define INT(key, lo, hi)                                                                           \
    {"-" key, NULL, key " is missing"}, {key, "null", key " is missing"},                          \
        {key, "0", key ": 0 is outside " lo " .. " hi},                                            \
        {key, "-1", key ": -1 is outside " lo " .. " hi},                                          \
        {key, "4000000000", key ": 4000000000 is outside " lo " .. " hi},                          \
        {key, "1e300", key ": wanted an integer, found 1.0000000000000001e+300"},                  \
        {key, "2.5", key ": wanted an integer, found 2.5"},                                        \
        {key, "\"8\"", key ": wanted an integer, found a string"},                                 \
        {key, "true", key ": wanted an integer, found true or false"},                             \
    {                                                                                              \
        key, "[8]", key ": wanted an integer, found an array"                                      \
    }

#define FAMILIES "llama, mistral, qwen2, qwen3, gemma, gemma2, gemma3_text, gemma3, phi3, gpt2"
static const char ROPE[] = "rope_scaling";
static const bad bads[] = {
    INT("vocab_size", "1", "16777216"),
    INT("hidden_size", "1", "262144"),
    INT("intermediate_size", "1", "1048576"),
    INT("num_hidden_layers", "1", "512"),
    INT("num_attention_heads", "1", "4096"),
    {"num_key_value_heads", "0", "num_key_value_heads: 0 is outside 1 .. 4096"},
    {"num_key_value_heads", "3",
     "num_attention_heads 4 is not a multiple of num_key_value_heads 3"},
    {"num_key_value_heads", "8",
     "num_attention_heads 4 is not a multiple of num_key_value_heads 8"},
    {"num_key_value_heads", "\"2\"", "num_key_value_heads: wanted an integer, found a string"},
    {"hidden_size", "30",
     "hidden_size 30 is not a multiple of num_attention_heads 4 and there is no head_dim"},
    {"hidden_size", "12", "head_dim 3 is odd; rotary embedding turns pairs"},
    {"hidden_size", "131072", "hidden_size / num_attention_heads is 32768, above 256"},
    {"head_dim", "7", "head_dim 7 is odd; rotary embedding turns pairs"},
    {"head_dim", "0", "head_dim: 0 is outside 1 .. 256"},
    {"head_dim", "2048", "head_dim: 2048 is outside 1 .. 256"},
    {"head_dim", "{}", "head_dim: wanted an integer, found an object"},
    {"max_position_embeddings", "0", "max_position_embeddings: 0 is outside 1 .. 1073741824"},
    {"max_position_embeddings", "1.5", "max_position_embeddings: wanted an integer, found 1.5"},
    {"rms_norm_eps", "-1e-5", "rms_norm_eps: -1.0000000000000001e-05 is outside 0 .. 0.1"},
    {"rms_norm_eps", "1", "rms_norm_eps: 1 is outside 0 .. 0.1"},
    {"rms_norm_eps", "\"1e-5\"", "rms_norm_eps: wanted a number, found a string"},
    {"hidden_act", "\"swiglu\"",
     "hidden_act \"swiglu\" is not supported (supported: silu, gelu, gelu_new, gelu_pytorch_tanh, "
     "relu)"},
    {"hidden_act", "1", "hidden_act: wanted a string, found a number"},
    {"tie_word_embeddings", "1", "tie_word_embeddings: wanted true or false, found a number"},
    {"tie_word_embeddings", "\"yes\"", "tie_word_embeddings: wanted true or false, found a string"},
    {"attention_bias", "\"no\"", "attention_bias: wanted true or false, found a string"},
    {"mlp_bias", "0", "mlp_bias: wanted true or false, found a number"},
    {"-model_type", NULL, "model_type is missing (supported: " FAMILIES ")"},
    {"model_type", "7", "model_type: wanted a string, found a number"},
    {"model_type", "\"mamba\"", "model_type \"mamba\" is not supported (supported: " FAMILIES ")"},
    {"architectures", "[\"LlamaForQuestionAnswering\"]",
     "architectures: \"LlamaForQuestionAnswering\" is not supported, wanted LlamaForCausalLM, "
     "LlamaForSequenceClassification or LlamaForTokenClassification"},
    {"architectures", "[\"LlamaForCausalLM\", \"LlamaForTokenClassification\"]",
     "architectures: LlamaForCausalLM and LlamaForTokenClassification at once"},
    {"architectures", "\"LlamaForCausalLM\"", "architectures: wanted an array, found a string"},
    {"quantization_config", "{\"bits\": 4}",
     "quantization_config is set: quantised checkpoints are not supported; save it dequantised"},
    {"auto_map", "{\"AutoModel\": \"x.Y\"}",
     "auto_map is set: code of a checkpoint is never run (\"x.Y\" is no class of transformers)"},
    {"vision_config", "{\"a\": 1}",
     "vision_config is set: models of several parts are not supported"},
    {"final_logit_softcapping", "30.0",
     "final_logit_softcapping is set: soft caps are not supported for this family"},
    {"pretraining_tp", "2", "pretraining_tp is 2: split matrices are not supported (wanted 1)"},
    {"pretraining_tp", "\"1\"", "pretraining_tp: wanted a number, found a string"},
    {"attention_dropout", "0.1", "attention_dropout is 0.1: dropout is not supported (wanted 0)"},
    {"partial_rotary_factor", "0.5",
     "partial_rotary_factor is 0.5: partial rotary embedding is not supported (wanted 1)"},
    {"is_encoder_decoder", "true",
     "is_encoder_decoder is 1: only decoders are supported (wanted 0)"},
    {"num_local_experts", "8",
     "num_local_experts is 8: mixtures of experts are not supported (wanted 0)"},
    {"logits_scaling", "8", "logits_scaling is 8: scaled logits are not supported (wanted 1)"},
    {"rope_theta", "0", "rope_theta: 0 is outside 1 .. 1e+12"},
    {"rope_theta", "[1]", "rope_theta: wanted a number, found an array"},
    {ROPE, "\"linear\"", "rope_scaling: wanted an object, found a string"},
    {ROPE, "{\"type\": \"proportional\", \"factor\": 4.0}",
     "rope_scaling: rope_type \"proportional\" is not supported (supported: default, linear, "
     "llama3, dynamic, yarn, longrope)"},
    {ROPE, "{\"rope_type\": 3}", "rope_scaling: rope_type: wanted a string, found a number"},
    {ROPE, "{\"type\": \"linear\"}", "rope_scaling: factor is missing"},
    {ROPE, "{\"type\": \"linear\", \"factor\": 0.5}",
     "rope_scaling: factor: 0.5 is outside 1 .. 1e+06"},
    {ROPE, "{\"type\": \"linear\", \"factor\": \"2\"}",
     "rope_scaling: factor: wanted a number, found a string"},
    {ROPE, "{\"type\": \"linear\", \"factor\": 2, \"beta_fast\": 32}",
     "rope_scaling: beta_fast has no meaning for rope_type \"linear\""},
    {ROPE, "{\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1}",
     "rope_scaling: high_freq_factor is missing"},
    {ROPE, "{\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, \"high_freq_factor\": 1}",
     "rope_scaling: low_freq_factor 4 is not below high_freq_factor 1"},
    {ROPE,
     "{\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, "
     "\"original_max_position_embeddings\": 0}",
     "rope_scaling: original_max_position_embeddings: 0 is outside 1 .. 1073741824"},
    {"rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 500000.0}",
     "rope_theta is 10000 and in rope_parameters 500000"},
    {"rope_parameters", "{\"rope_type\": \"default\", \"partial_rotary_factor\": 0.5}",
     "rope_parameters: partial_rotary_factor is 0.5: partial rotary embedding is not supported"},
    {"rope_parameters", "{\"full_attention\": {\"rope_type\": \"default\"}}",
     "rope_parameters: full_attention is not supported"},
    {"eos_token_id", "96", "eos_token_id: 96 is outside 0 .. 95"},
    {"eos_token_id", "-1", "eos_token_id: -1 is outside 0 .. 95"},
    {"eos_token_id", "\"</s>\"",
     "eos_token_id: wanted an integer or a list of them, found a string"},
    {"eos_token_id", "[2, null]", "eos_token_id: wanted an integer or a list of them, found null"},
    {"eos_token_id", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "eos_token_id: more than 16 ids"},
    {"bos_token_id", "96", "bos_token_id: 96 is outside -1 .. 95"},
    {"pad_token_id", "1.5", "pad_token_id: wanted an integer, found 1.5"},
    {"dtype", "\"float8_e4m3fn\"",
     "dtype \"float8_e4m3fn\" is not supported (supported: float32, bfloat16, float16)"},
    {"dtype", "16", "dtype: wanted a string, found a number"},
    {"torch_dtype", "\"float16\"", "dtype is \"bfloat16\" and torch_dtype \"float16\""},
};

/* The base with `key` replaced, removed ("-key") or added; a third and fourth are added as is. */
static char *compose(dw_arena *a, const char *key, const char *value, const char *more)
{
    dw_buf b = {0};
    bool removed = key && key[0] == '-', replaced = false;
    dw_buf_addc(&b, '{');
    for (size_t i = 0; i < N_BASE; i++) {
        bool this = key && !strcmp(base[i][0], key + removed);
        replaced |= this;
        if (this && removed)
            continue;
        dw_buf_printf(&b, "%s\"%s\": %s", b.len > 1 ? ", " : "", base[i][0],
                      this ? value : base[i][1]);
    }
    if (key && !replaced)
        dw_buf_printf(&b, ", \"%s\": %s", key, value);
    dw_buf_printf(&b, "%s%s}", more ? ", " : "", more ? more : "");
    char *text = dw_arena_strndup(a, b.ptr, b.len);
    dw_buf_finish(&b);
    return text;
}

static dw_status parse(const char *text, dw_description *d, dw_err *err)
{
    dw_json *root = NULL;
    dw_status st = dw_json_parse(text, strlen(text), 64, 1, &root, err);
    assert_int_equal(st, DW_OK);
    st = dw_config_parse(root, d, err);
    dw_json_free(root);
    return st;
}

static void test_bad(void **state)
{
    dw_arena a = {0};
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
        dw_description d;
        dw_err err = {{0}};
        assert_int_equal(parse(compose(&a, bads[i].key, bads[i].value, NULL), &d, &err),
                         DW_E_INPUT);
        assert_string_equal(err.text, bads[i].message);
    }
    dw_arena_finish(&a);
}

static void test_bad_files(void **state)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "line 1, column 1: found the end of the text, wanted a value"},
        {"[1]", "wanted an object, found an array"},
        {"{\"model_type\": \"llama\"",
         "line 1, column 23: found the end of the text, wanted ',' or '}' after a value"},
        {"{\"hidden_size\": 1e999}", "line 1, column 17: number is too large"},
        {"{\"a\": 1, \"a\": 2}", "line 1, column 10: key \"a\" appears twice in one object"},
        {"{\"a\": NaN}", "line 1, column 7: found 'N', wanted a value"},
    };
    folder f;
    folder_begin(&f);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dw_description d;
        dw_err err = {{0}};
        char *path = folder_puts(&f, "config.json", rows[i].text);
        assert_int_equal(dw_config_read(f.path, &d, &err), DW_E_INPUT);
        assert_string_equal(after_path(&err, path), rows[i].message);
    }
    folder_end(&f);
}

static void test_good(void **state)
{
    dw_arena a = {0};
    dw_description d;
    dw_err err = {{0}};
    assert_int_equal(parse(compose(&a, NULL, NULL, NULL), &d, &err), DW_OK);
    assert_string_equal(d.family, "llama");
    assert_int_equal(d.layers, 2);
    assert_int_equal(d.d, 32);
    assert_int_equal(d.heads, 4);
    assert_int_equal(d.kv_heads, 2);
    assert_int_equal(d.head_dim, 8);
    assert_int_equal(d.ffn, 48);
    assert_int_equal(d.vocab, 96);
    assert_true(d.tied && d.gated && !d.qkv_bias && !d.o_bias && !d.mlp_bias && !d.qk_norm);
    assert_true(d.norm_eps == 1e-5 && d.rope_theta == 10000 && d.rope == DW_ROPE_DEFAULT);
    assert_true(d.attn_scale == 1 / sqrt(8.0));
    assert_int_equal(d.bos, -1);
    assert_int_equal(d.n_eos, 2);
    assert_int_equal(d.eos[1], 3);
    assert_string_equal(d.dtype, "bfloat16");
    dw_arena_finish(&a);
}

/* The same rotary in both spellings. */
static void test_spellings(void **state)
{
    dw_arena a = {0};
    dw_description old, new;
    dw_err err = {{0}};
    const char *map = "{\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, "
                      "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64";
    char *scaling = dw_arena_printf(&a, "%s}", map);
    char *params = dw_arena_printf(&a, "%s, \"rope_theta\": 10000.0}", map);
    assert_int_equal(parse(compose(&a, "rope_scaling", scaling, NULL), &old, &err), DW_OK);
    assert_int_equal(parse(compose(&a, "rope_parameters", params, NULL), &new, &err), DW_OK);
    assert_int_equal(old.rope, DW_ROPE_LLAMA3);
    assert_int_equal(old.rope_original, 64);
    double x[4], y[4];
    dw_config_inv_freq(&old, false, x);
    dw_config_inv_freq(&new, false, y);
    assert_memory_equal(x, y, sizeof x);
    /* wavelengths 6.3, 63, 628, 6283 around 16 (high) and 64 (low) */
    double s = (64 / (2 * acos(-1.0) / 0.1) - 1) / 3;
    assert_true(fabs(x[0] - 1) < 1e-15);
    assert_true(fabs(x[1] - ((1 - s) * 0.1 / 8 + s * 0.1)) < 1e-15);
    assert_true(fabs(x[2] - 0.01 / 8) < 1e-15 && fabs(x[3] - 0.001 / 8) < 1e-15);
    assert_int_equal(
        parse(compose(&a, "rope_scaling", "{\"type\": \"linear\", \"factor\": 4}", NULL), &old,
              &err),
        DW_OK);
    dw_config_inv_freq(&old, false, x);
    assert_true(fabs(x[1] - 0.025) < 1e-15);
    dw_arena_finish(&a);
}

static void test_families(void **state)
{
    dw_arena a = {0};
    dw_description d;
    dw_err err = {{0}};
    char *text = compose(&a, "model_type", "\"qwen3\"", "\"attention_bias\": true");
    text = strstr(text, "architectures") ? text : NULL;
    assert_non_null(text);
    assert_int_equal(parse(text, &d, &err), DW_E_INPUT); /* Llama's architecture */
    static const struct {
        const char *family, *more;
        bool qkv, o, qk_norm;
        uint32_t head_dim, window;
    } rows[] = {
        {"llama", "\"attention_bias\": true", true, true, false, 8, 0},
        {"mistral", "\"sliding_window\": 16", false, false, false, 8, 16},
        {"mistral", "\"sliding_window\": null", false, false, false, 8, 0},
        {"mistral", "\"head_dim\": 16", false, false, false, 16, 4096},
        {"qwen2", "\"sliding_window\": 16", true, false, false, 8, 0},
        {"qwen2", "\"sliding_window\": 16, \"use_sliding_window\": true, \"max_window_layers\": 1",
         true, false, false, 8, 16},
        {"qwen3", "\"attention_bias\": false", false, false, true, 128, 0},
        {"qwen3",
         "\"use_sliding_window\": true, \"sliding_window\": 9, \"layer_types\": "
         "[\"full_attention\", \"sliding_attention\"]",
         false, false, true, 128, 9},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *body = compose(&a, "-architectures", NULL, rows[i].more);
        char *type = strstr(body, "\"llama\"");
        text =
            dw_arena_printf(&a, "%.*s\"%s\"%s", (int)(type - body), body, rows[i].family, type + 7);
        assert_int_equal(parse(text, &d, &err), DW_OK);
        assert_int_equal(d.qkv_bias, rows[i].qkv);
        assert_int_equal(d.o_bias, rows[i].o);
        assert_int_equal(d.qk_norm, rows[i].qk_norm);
        assert_int_equal(d.head_dim, rows[i].head_dim);
        assert_int_equal(d.window[1], rows[i].window);
    }
    assert_int_equal(d.window[0], 0);
    dw_arena_finish(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),      cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_good),     cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
