/* Reads config.json into a description and refuses, by name, whatever would change the computation
 * and is not supported. */
#include "model/config.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "model/config_internal.h"

enum { CONFIG_BYTES = 16 << 20 };

typedef struct family {
    const char *name, *architecture; /* model_type, and what precedes "ForCausalLM" */
    bool qkv_bias, biases_by_config, qk_norm;
    uint32_t head_dim; /* default; 0: hidden_size / heads */
    uint32_t max_positions, vocab, d, ffn, kv_heads;
} family;

/* Defaults are those that transformers fills in for a missing key. */
static const family families[] = {
    {"llama", "Llama", false, true, false, 0, 2048, 32000, 4096, 11008, 0},
    {"mistral", "Mistral", false, false, false, 0, 131072, 32000, 4096, 14336, 8},
    {"qwen2", "Qwen2", true, false, false, 0, 32768, 151936, 4096, 22016, 0},
    {"qwen3", "Qwen3", false, true, true, 128, 32768, 151936, 4096, 22016, 0},
};
static const char known_families[] = "llama, mistral, qwen2, qwen3";

/* Keys that change the computation wherever they are set to anything else than this. */
typedef struct neutral {
    const char *key;
    double value; /* neutral number; false counts as 0 */
    const char *why;
} neutral;
static const neutral neutrals[] = {
    {"pretraining_tp", 1, "split matrices are not supported"},
    {"attention_dropout", 0, "dropout is not supported"},
    {"hidden_dropout", 0, "dropout is not supported"},
    {"resid_pdrop", 0, "dropout is not supported"},
    {"embd_pdrop", 0, "dropout is not supported"},
    {"is_encoder_decoder", 0, "only decoders are supported"},
    {"add_cross_attention", 0, "cross-attention is not supported"},
    {"partial_rotary_factor", 1, "partial rotary embedding is not supported"},
    {"rotary_pct", 1, "partial rotary embedding is not supported"},
    {"embedding_multiplier", 1, "scaled embeddings are not supported"},
    {"residual_multiplier", 1, "scaled residuals are not supported"},
    {"logits_scaling", 1, "scaled logits are not supported"},
    {"logit_scale", 1, "scaled logits are not supported"},
    {"num_experts", 0, "mixtures of experts are not supported"},
    {"num_local_experts", 0, "mixtures of experts are not supported"},
};
/* Keys that must be absent, null or empty. */
static const neutral absent[] = {
    {"quantization_config", 0, "quantised checkpoints are not supported; save it dequantised"},
    {"compression_config", 0, "compressed checkpoints are not supported"},
    {"auto_map", 0, "code of a checkpoint is never run"},
    {"text_config", 0, "models of several parts are not supported"},
    {"vision_config", 0, "models of several parts are not supported"},
    {"audio_config", 0, "models of several parts are not supported"},
    {"attention_multiplier", 0, "another attention scale is not supported"},
    {"query_pre_attn_scalar", 0, "another attention scale is not supported"},
    {"attn_logit_softcapping", 0, "soft caps are not supported for this family"},
    {"final_logit_softcapping", 0, "soft caps are not supported for this family"},
    {"no_rope_layers", 0, "layers without positions are not supported"},
    {"pruned_heads", 0, "pruned heads are not supported"},
};

static dw_status refuse(dw_err *err, const neutral *n)
{
    return dw_fail(err, DW_E_INPUT, "%s is set: %s", n->key, n->why);
}

static dw_status check_neutral(const dw_json *root, dw_err *err)
{
    for (size_t i = 0; i < sizeof neutrals / sizeof *neutrals; i++) {
        const neutral *n = &neutrals[i];
        const dw_json *v = dw_json_get(root, n->key);
        dw_json_type t = v ? dw_json_kind(v) : DW_JSON_NULL;
        if (t == DW_JSON_NULL)
            continue;
        double x = NAN;
        if (t == DW_JSON_NUMBER)
            x = dw_json_num(v);
        else if (t == DW_JSON_BOOL)
            x = dw_json_bool(v) ? 1 : 0;
        else
            return dw_fail(err, DW_E_INPUT, "%s: wanted a number, found %s", n->key,
                           dw_json_kind_name(v));
        if (x != n->value)
            return dw_fail(err, DW_E_INPUT, "%s is %g: %s (wanted %g)", n->key, x, n->why,
                           n->value);
    }
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        const dw_json *v = dw_json_get(root, absent[i].key);
        if (v && dw_json_kind(v) != DW_JSON_NULL &&
            (dw_json_first(v) || dw_json_kind(v) < DW_JSON_ARRAY))
            return refuse(err, &absent[i]);
    }
    return DW_OK;
}

static const char *const tops[] = {[DW_TOP_LM] = "ForCausalLM",
                                   [DW_TOP_SEQUENCE] = "ForSequenceClassification",
                                   [DW_TOP_TOKEN] = "ForTokenClassification"};

/* All of `architectures`, where it is there, name one head on a body of this family. */
static dw_status find_top(const dw_json *root, const family *f, dw_top *top, dw_err *err)
{
    const dw_json *arch = dw_json_get(root, "architectures");
    *top = DW_TOP_LM;
    if (!arch || dw_json_kind(arch) == DW_JSON_NULL)
        return DW_OK;
    if (dw_json_kind(arch) != DW_JSON_ARRAY)
        return dw_fail(err, DW_E_INPUT, "architectures: wanted an array, found %s",
                       dw_json_kind_name(arch));
    const size_t n = strlen(f->architecture);
    for (const dw_json *a = dw_json_first(arch); a; a = dw_json_next(a)) {
        dw_text s = dw_json_kind(a) == DW_JSON_STRING ? dw_json_str(a) : DW_TEXT("");
        int found = -1;
        for (int t = 0; t < 3 && s.len > n && !memcmp(s.ptr, f->architecture, n); t++)
            if (dw_text_is((dw_text){s.ptr + n, s.len - n}, tops[t]))
                found = t;
        if (found < 0)
            return dw_fail(err, DW_E_INPUT,
                           "architectures: \"%.*s\" is not supported, wanted %s%s, %s%s or %s%s",
                           (int)(s.len < 64 ? s.len : 64), s.ptr, f->architecture, tops[0],
                           f->architecture, tops[1], f->architecture, tops[2]);
        if (a != dw_json_first(arch) && found != (int)*top)
            return dw_fail(err, DW_E_INPUT, "architectures: %s%s and %s%s at once", f->architecture,
                           tops[*top], f->architecture, tops[found]);
        *top = (dw_top)found;
    }
    return DW_OK;
}

/* Channels of a classification head: id2label, or num_labels, or 2, which transformers does not
 * write. */
static dw_status read_labels(const dw_json *root, dw_description *d, dw_err *err)
{
    const int64_t most = 1 << 16;
    int64_t n = 0;
    if (d->top == DW_TOP_LM)
        return DW_OK;
    const dw_json *names = dw_json_get(root, "id2label");
    if (names && dw_json_kind(names) != DW_JSON_NULL && dw_json_kind(names) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "id2label: wanted an object, found %s",
                       dw_json_kind_name(names));
    bool listed = names && dw_json_kind(names) == DW_JSON_OBJECT;
    int64_t fallback = listed ? (int64_t)dw_json_len(names) : 2;
    if (fallback < 1 || fallback > most)
        return dw_fail(err, DW_E_INPUT, "id2label: %lld labels, wanted 1 .. %lld",
                       (long long)fallback, (long long)most);
    DW_TRY(dw_json_get_int(root, "num_labels", fallback, 1, most, &n, err));
    if (listed && n != fallback)
        return dw_fail(err, DW_E_INPUT, "num_labels is %lld, id2label names %lld", (long long)n,
                       (long long)fallback);
    d->score_width = (uint32_t)n;
    return d->top == DW_TOP_SEQUENCE
               ? DW_OK
               : dw_json_get_bool(root, "token_classification_bias", true, &d->score_bias, err);
}

static dw_status find_family(const dw_json *root, const family **out, dw_err *err)
{
    const char *type = NULL;
    DW_TRY(dw_json_get_cstr(root, "model_type", NULL, &type, err));
    if (!type)
        return dw_fail(err, DW_E_INPUT, "model_type is missing (supported: %s)", known_families);
    *out = NULL;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(type, families[i].name))
            *out = &families[i];
    if (!*out)
        return dw_fail(err, DW_E_INPUT, "model_type \"%.64s\" is not supported (supported: %s)",
                       type, known_families);
    return DW_OK;
}

static dw_status get_u32(const dw_json *root, const char *key, int64_t fallback, int64_t hi,
                         uint32_t *out, dw_err *err)
{
    int64_t x = 0;
    DW_TRY(dw_json_get_int(root, key, fallback, 1, hi, &x, err));
    if (x < 1)
        return dw_fail(err, DW_E_INPUT, "%s is missing", key);
    *out = (uint32_t)x;
    return DW_OK;
}

static dw_status read_shape(const dw_json *root, const family *f, dw_description *d, dw_err *err)
{
    DW_TRY(get_u32(root, "vocab_size", 0, 1 << 24, &d->vocab, err));
    DW_TRY(get_u32(root, "hidden_size", 0, 1 << 18, &d->d, err));
    DW_TRY(get_u32(root, "intermediate_size", 0, 1 << 20, &d->ffn, err));
    DW_TRY(get_u32(root, "num_hidden_layers", 0, DW_MAX_LAYERS, &d->layers, err));
    DW_TRY(get_u32(root, "num_attention_heads", 0, 4096, &d->heads, err));
    uint32_t kv =
        f->kv_heads && dw_json_get(root, "num_key_value_heads") == NULL ? f->kv_heads : d->heads;
    DW_TRY(get_u32(root, "num_key_value_heads", kv, 4096, &d->kv_heads, err));
    if (d->kv_heads > d->heads || d->heads % d->kv_heads)
        return dw_fail(err, DW_E_INPUT,
                       "num_attention_heads %u is not a multiple of num_key_value_heads %u",
                       d->heads, d->kv_heads);
    const dw_json *hd = dw_json_get(root, "head_dim");
    bool own = (hd && dw_json_kind(hd) != DW_JSON_NULL) || f->head_dim;
    if (!own && d->d % d->heads)
        return dw_fail(err, DW_E_INPUT,
                       "hidden_size %u is not a multiple of num_attention_heads %u and there is no "
                       "head_dim",
                       d->d, d->heads);
    uint32_t width = f->head_dim ? f->head_dim : d->d / d->heads;
    DW_TRY(get_u32(root, "head_dim", width, 1024, &d->head_dim, err));
    if (d->head_dim > 1024)
        return dw_fail(err, DW_E_INPUT, "hidden_size / num_attention_heads is %u, above 1024",
                       d->head_dim);
    if (d->head_dim % 2)
        return dw_fail(err, DW_E_INPUT, "head_dim %u is odd; rotary embedding turns pairs",
                       d->head_dim);
    return get_u32(root, "max_position_embeddings", f->max_positions, 1 << 30, &d->max_positions,
                   err);
}

static dw_status read_act(const dw_json *root, dw_description *d, dw_err *err)
{
    static const struct {
        const char *name;
        dw_act act;
    } acts[] = {
        {"silu", DW_ACT_SILU},
        {"swish", DW_ACT_SILU},
        {"gelu", DW_ACT_GELU_ERF},
        {"gelu_new", DW_ACT_GELU_TANH},
        {"gelu_pytorch_tanh", DW_ACT_GELU_TANH},
        {"relu", DW_ACT_RELU},
    };
    const char *name = NULL;
    DW_TRY(dw_json_get_cstr(root, "hidden_act", "silu", &name, err));
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if (!strcmp(name, acts[i].name)) {
            d->act = acts[i].act;
            return DW_OK;
        }
    return dw_fail(err, DW_E_INPUT,
                   "hidden_act \"%.64s\" is not supported (supported: silu, gelu, gelu_new, "
                   "gelu_pytorch_tanh, relu)",
                   name);
}

static dw_status read_biases(const dw_json *root, const family *f, dw_description *d, dw_err *err)
{
    bool attention = false, mlp = false;
    DW_TRY(dw_json_get_bool(root, "attention_bias", false, &attention, err));
    DW_TRY(dw_json_get_bool(root, "mlp_bias", false, &mlp, err));
    if (!f->biases_by_config && attention && !f->qkv_bias)
        return dw_fail(err, DW_E_INPUT, "attention_bias is true, which %s does not have", f->name);
    bool has_mlp_bias = !strcmp(f->name, "llama");
    if (mlp && !has_mlp_bias)
        return dw_fail(err, DW_E_INPUT, "mlp_bias is true, which %s does not have", f->name);
    d->qkv_bias = f->qkv_bias || (f->biases_by_config && attention);
    d->o_bias = f->biases_by_config && attention;
    d->mlp_bias = mlp;
    return DW_OK;
}

/* An id, or for the end of text a list of ids. */
static dw_status read_ids(const dw_json *root, dw_description *d, dw_err *err)
{
    int64_t x = 0;
    DW_TRY(dw_json_get_int(root, "bos_token_id", -1, -1, (int64_t)d->vocab - 1, &x, err));
    d->bos = (int32_t)x;
    DW_TRY(dw_json_get_int(root, "pad_token_id", -1, -1, (int64_t)d->vocab - 1, &x, err));
    d->pad = (int32_t)x;
    return dw_config_eos(root, d->vocab, d->eos, &d->n_eos, err);
}

dw_status dw_config_eos(const dw_json *root, uint32_t vocab, int32_t eos[16], uint32_t *n,
                        dw_err *err)
{
    const dw_json *v = dw_json_get(root, "eos_token_id");
    *n = 0;
    if (!v || dw_json_kind(v) == DW_JSON_NULL)
        return DW_OK;
    bool list = dw_json_kind(v) == DW_JSON_ARRAY;
    for (const dw_json *e = list ? dw_json_first(v) : v; e; e = list ? dw_json_next(e) : NULL) {
        int64_t id = 0;
        if (dw_json_kind(e) != DW_JSON_NUMBER || !dw_json_int(e, &id))
            return dw_fail(err, DW_E_INPUT,
                           "eos_token_id: wanted an integer or a list of them, found %s",
                           dw_json_kind_name(e));
        if (id < 0 || id >= (int64_t)vocab)
            return dw_fail(err, DW_E_INPUT, "eos_token_id: %lld is outside 0 .. %u", (long long)id,
                           vocab - 1);
        if (*n == 16)
            return dw_fail(err, DW_E_INPUT, "eos_token_id: more than 16 ids");
        eos[(*n)++] = (int32_t)id;
    }
    return DW_OK;
}

static dw_status read_dtype(const dw_json *root, dw_description *d, dw_err *err)
{
    const char *name = NULL, *old = NULL;
    DW_TRY(dw_json_get_cstr(root, "dtype", NULL, &name, err));
    DW_TRY(dw_json_get_cstr(root, "torch_dtype", NULL, &old, err));
    if (name && old && strcmp(name, old) != 0)
        return dw_fail(err, DW_E_INPUT, "dtype is \"%.32s\" and torch_dtype \"%.32s\"", name, old);
    name = name ? name : old ? old : "float32";
    if (!strncmp(name, "torch.", 6))
        name += 6;
    if (strcmp(name, "float32") && strcmp(name, "bfloat16") && strcmp(name, "float16") &&
        strcmp(name, "float64"))
        return dw_fail(err, DW_E_INPUT,
                       "dtype \"%.32s\" is not supported (supported: float32, bfloat16, float16)",
                       name);
    strncpy(d->dtype, name, sizeof d->dtype - 1);
    return DW_OK;
}

dw_status dw_config_parse(const dw_json *root, dw_description *out, dw_err *err)
{
    if (dw_json_kind(root) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(root));
    const family *f = NULL;
    dw_description d = {.gated = true,
                        .embed_scale = 1,
                        .partial_rotary = 1,
                        .norm_place = DW_NORM_PRE,
                        .bos = -1,
                        .pad = -1};
    DW_TRY(find_family(root, &f, err));
    dw_assert(f);
    DW_TRY(find_top(root, f, &d.top, err));
    DW_TRY(check_neutral(root, err));
    strncpy(d.family, f->name, sizeof d.family - 1);
    d.qk_norm = f->qk_norm;
    DW_TRY(read_shape(root, f, &d, err));
    DW_TRY(read_act(root, &d, err));
    DW_TRY(read_biases(root, f, &d, err));
    DW_TRY(dw_json_get_bool(root, "tie_word_embeddings", false, &d.tied, err));
    DW_TRY(dw_json_get_num(root, "rms_norm_eps", 1e-6, 0, 0.1, &d.norm_eps, err));
    DW_TRY(dw_config_rope(root, &d, err));
    DW_TRY(dw_config_windows(root, &d, err));
    DW_TRY(read_ids(root, &d, err));
    DW_TRY(read_labels(root, &d, err));
    DW_TRY(read_dtype(root, &d, err));
    d.attn_scale = 1.0 / sqrt((double)d.head_dim);
    *out = d;
    return DW_OK;
}

dw_status dw_config_read(const char *dir, dw_description *out, dw_err *err)
{
    dw_arena a = {0};
    dw_json *root = NULL;
    char *path = dw_path_join(&a, dir, "config.json");
    dw_status st = dw_json_read(path, CONFIG_BYTES, &root, err);
    if (st == DW_OK) {
        st = dw_config_parse(root, out, err);
        if (st < 0)
            dw_err_prefix(err, "%s", path);
    }
    dw_json_free(root);
    dw_arena_finish(&a);
    return st;
}

const char *dw_config_top(dw_top top)
{
    return tops[top];
}

const char *dw_config_body(const dw_description *d)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(d->family, families[i].name))
            return families[i].architecture;
    return "";
}
