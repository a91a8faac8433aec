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

bool dw_config_has(const dw_json *root, const char *key)
{
    const dw_json *v = dw_json_get(root, key);
    return v && dw_json_kind(v) != DW_JSON_NULL;
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
    if (d->top == DW_TOP_SEQUENCE)
        return DW_OK;
    d->score_bias = true;
    if (d->layout == DW_LAYOUT_GPT2) /* whose classifier always has one */
        return DW_OK;
    return dw_json_get_bool(root, "token_classification_bias", true, &d->score_bias, err);
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

/* transformers reads n_embd of a GPT-2 by its usual name too, where that is written. */
static dw_status check_alias(const dw_json *root, const char *alias, const char *key, dw_err *err)
{
    if (!strcmp(alias, key) || !dw_config_has(root, alias))
        return DW_OK;
    return dw_fail(err, DW_E_INPUT, "%s is set, which this family calls %s", alias, key);
}

static dw_status read_sizes(const dw_json *root, const dw_family *f, dw_description *d, dw_err *err)
{
    const dw_size_keys *k = f->keys;
    DW_TRY(check_alias(root, "hidden_size", k->d, err));
    DW_TRY(check_alias(root, "intermediate_size", k->ffn, err));
    DW_TRY(check_alias(root, "num_hidden_layers", k->layers, err));
    DW_TRY(check_alias(root, "num_attention_heads", k->heads, err));
    DW_TRY(check_alias(root, "max_position_embeddings", k->positions, err));
    DW_TRY(get_u32(root, "vocab_size", f->vocab, 1 << 24, &d->vocab, err));
    DW_TRY(get_u32(root, k->d, 0, 1 << 18, &d->d, err));
    DW_TRY(get_u32(root, k->ffn, f->plain ? 4 * (int64_t)d->d : 0, 1 << 20, &d->ffn, err));
    DW_TRY(get_u32(root, k->layers, 0, DW_MAX_LAYERS, &d->layers, err));
    DW_TRY(get_u32(root, k->heads, f->heads, 4096, &d->heads, err));
    DW_TRY(get_u32(root, k->positions, f->max_positions, 1 << 30, &d->max_positions, err));
    return DW_OK;
}

static dw_status read_heads(const dw_json *root, const dw_family *f, dw_description *d, dw_err *err)
{
    const dw_size_keys *k = f->keys;
    const bool fixed = f->layout == DW_LAYOUT_GPT2; /* whose heads are parts of the hidden row */
    d->kv_heads = d->heads;
    if (!fixed) {
        bool missing = !dw_json_get(root, "num_key_value_heads");
        uint32_t kv = f->kv_heads && missing ? f->kv_heads : d->heads;
        DW_TRY(get_u32(root, "num_key_value_heads", kv, 4096, &d->kv_heads, err));
    }
    if (d->kv_heads > d->heads || d->heads % d->kv_heads)
        return dw_fail(err, DW_E_INPUT,
                       "num_attention_heads %u is not a multiple of num_key_value_heads %u",
                       d->heads, d->kv_heads);
    if ((fixed || (!f->head_dim && !dw_config_has(root, "head_dim"))) && d->d % d->heads)
        return dw_fail(err, DW_E_INPUT, "%s %u is not a multiple of %s %u%s", k->d, d->d, k->heads,
                       d->heads, fixed ? "" : " and there is no head_dim");
    uint32_t width = f->head_dim ? f->head_dim : d->d / d->heads;
    if (width > DW_MAX_HEAD_DIM && (fixed || !dw_config_has(root, "head_dim")))
        return dw_fail(err, DW_E_INPUT, "%s / %s is %u, above %d", k->d, k->heads, width,
                       DW_MAX_HEAD_DIM);
    DW_TRY(get_u32(root, "head_dim", width, DW_MAX_HEAD_DIM, &d->head_dim, err));
    if (fixed && d->head_dim != width)
        return dw_fail(err, DW_E_INPUT, "head_dim is %u, but %s / %s is %u", d->head_dim, k->d,
                       k->heads, width);
    if (!f->learned_positions && d->head_dim % 2)
        return dw_fail(err, DW_E_INPUT, "head_dim %u is odd; rotary embedding turns pairs",
                       d->head_dim);
    return DW_OK;
}

static dw_status read_act(const dw_json *root, const dw_family *f, dw_description *d, dw_err *err)
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
    DW_TRY(dw_json_get_cstr(root, f->act_key, f->act, &name, err));
    if (f->legacy_gelu && !strcmp(name, "gelu")) /* what the first Gemma files call the tanh form */
        name = "gelu_pytorch_tanh";
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if (!strcmp(name, acts[i].name)) {
            d->act = acts[i].act;
            return DW_OK;
        }
    return dw_fail(err, DW_E_INPUT,
                   "%s \"%.64s\" is not supported (supported: silu, gelu, gelu_new, "
                   "gelu_pytorch_tanh, relu)",
                   f->act_key, name);
}

static dw_status read_biases(const dw_json *root, const dw_family *f, dw_description *d,
                             dw_err *err)
{
    bool attention = false, mlp = false;
    DW_TRY(dw_json_get_bool(root, "attention_bias", false, &attention, err));
    DW_TRY(dw_json_get_bool(root, "mlp_bias", false, &mlp, err));
    if (attention && !f->bias_key && !f->qkv_bias && !f->all_bias)
        return dw_fail(err, DW_E_INPUT, "attention_bias is true, which %s does not have", f->name);
    if (mlp && !f->mlp_bias_key && !f->all_bias)
        return dw_fail(err, DW_E_INPUT, "mlp_bias is true, which %s does not have", f->name);
    d->o_bias = f->all_bias || (f->bias_key && attention);
    d->qkv_bias = f->qkv_bias || d->o_bias;
    d->mlp_bias = f->all_bias || (f->mlp_bias_key && mlp);
    return DW_OK;
}

/* A missing key means the family's cap, null none. */
static dw_status read_cap(const dw_json *root, const char *key, double fallback, double *out,
                          dw_err *err)
{
    *out = 0;
    if (!fallback && !dw_config_has(root, key))
        return DW_OK;
    const dw_json *v = dw_json_get(root, key);
    return dw_json_get_num(root, key, v ? 0 : fallback, 1e-3, 1e6, out, err);
}

/* Scale and cap of the scores, cap of the logits. */
static dw_status read_scales(const dw_json *root, const dw_family *f, dw_description *d,
                             dw_err *err)
{
    double scalar = d->head_dim;
    bool scaled = true;
    if (f->query_scalar)
        DW_TRY(dw_json_get_num(root, "query_pre_attn_scalar", 256, 1e-3, 1e6, &scalar, err));
    if (f->layout == DW_LAYOUT_GPT2)
        DW_TRY(dw_json_get_bool(root, "scale_attn_weights", true, &scaled, err));
    d->attn_scale = scaled ? 1.0 / sqrt(scalar) : 1.0;
    DW_TRY(read_cap(root, "attn_logit_softcapping", f->attn_softcap, &d->attn_softcap, err));
    return read_cap(root, "final_logit_softcapping", f->head_softcap, &d->head_softcap, err);
}

/* An id, or for the end of text a list of ids. */
static dw_status read_ids(const dw_json *root, const dw_json *text, dw_description *d, dw_err *err)
{
    int64_t x = 0;
    const dw_json *at = dw_config_has(root, "bos_token_id") ? root : text;
    DW_TRY(dw_json_get_int(at, "bos_token_id", -1, -1, (int64_t)d->vocab - 1, &x, err));
    d->bos = (int32_t)x;
    at = dw_config_has(root, "pad_token_id") ? root : text;
    DW_TRY(dw_json_get_int(at, "pad_token_id", -1, -1, (int64_t)d->vocab - 1, &x, err));
    d->pad = (int32_t)x;
    at = dw_config_has(root, "eos_token_id") ? root : text;
    return dw_config_eos(at, d->vocab, d->eos, &d->n_eos, err);
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

/* The nearest number of so many significant bits. */
static double round_to(double x, int bits)
{
    int exponent = 0;
    double fraction = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(fraction, bits)), exponent - bits);
}

/* transformers multiplies embeddings by a number of their own dtype. */
static double rounded_root(const dw_description *d)
{
    double root = sqrt((double)d->d);
    if (!strcmp(d->dtype, "bfloat16"))
        return round_to(root, 8);
    return round_to(root, !strcmp(d->dtype, "float16") ? 11 : 24);
}

static dw_description describe(const dw_family *f)
{
    dw_description d = {.layout = f->layout,
                        .layer_norm = f->layer_norm,
                        .norm_unit_offset = f->unit_offset,
                        .norm_place = f->post_norms ? DW_NORM_PRE_POST : DW_NORM_PRE,
                        .qk_norm = f->qk_norm,
                        .gated = !f->plain,
                        .learned_positions = f->learned_positions,
                        .embed_scale = 1,
                        .partial_rotary = 1,
                        .bos = -1,
                        .pad = -1};
    strncpy(d.family, f->name, sizeof d.family - 1);
    strncpy(d.prefix, f->prefix, sizeof d.prefix - 1);
    return d;
}

/* A Gemma 3 of several parts keeps its decoder's configuration in text_config. */
static dw_status find_text(const dw_json *root, const dw_family *f, const dw_json **out,
                           dw_err *err)
{
    const dw_json *text = dw_json_get(root, "text_config");
    const char *type = NULL;
    *out = root;
    if (strcmp(f->name, "gemma3") != 0)
        return DW_OK;
    if (!text || dw_json_kind(text) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "text_config: wanted an object, found %s",
                       dw_json_kind_name(text));
    DW_TRY(dw_json_get_cstr(text, "model_type", "gemma3_text", &type, err));
    if (strcmp(type, "gemma3_text") != 0)
        return dw_fail(err, DW_E_INPUT,
                       "text_config: model_type is \"%.64s\", wanted \"gemma3_text\"", type);
    *out = text;
    return dw_config_refuse(text, f, err);
}

static dw_status read_body(const dw_json *root, const dw_family *f, dw_description *d, dw_err *err)
{
    DW_TRY(read_sizes(root, f, d, err));
    DW_TRY(read_heads(root, f, d, err));
    DW_TRY(read_act(root, f, d, err));
    DW_TRY(read_biases(root, f, d, err));
    DW_TRY(dw_json_get_num(root, f->eps_key, f->eps, 0, 0.1, &d->norm_eps, err));
    if (!f->learned_positions)
        DW_TRY(dw_config_rope(root, f, d, err));
    DW_TRY(dw_config_windows(root, f, d, err));
    return read_scales(root, f, d, err);
}

dw_status dw_config_parse(const dw_json *root, dw_description *out, dw_err *err)
{
    if (dw_json_kind(root) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(root));
    const dw_family *f = NULL;
    const dw_json *text = NULL;
    DW_TRY(dw_config_family(root, &f, err));
    dw_assert(f);
    dw_description d = describe(f);
    DW_TRY(dw_config_find_top(root, f, &d.top, err));
    DW_TRY(dw_config_refuse(root, f, err));
    DW_TRY(find_text(root, f, &text, err));
    DW_TRY(read_body(text, f, &d, err));
    DW_TRY(dw_json_get_bool(root, "tie_word_embeddings", f->tied, &d.tied, err));
    DW_TRY(read_ids(root, text, &d, err));
    DW_TRY(read_labels(root, &d, err));
    bool outer = dw_config_has(root, "dtype") || dw_config_has(root, "torch_dtype");
    DW_TRY(read_dtype(outer ? root : text, &d, err));
    if (f->scaled_embed)
        d.embed_scale = rounded_root(&d);
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
