/* PEFT adapters: adapter_config.json and adapter_model.safetensors, in and out. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "model/adapter_parts.h"
#include "model/gguf.h"
#include "model/hub.h"
#include "model/safetensors_internal.h"
#include "model/source.h"

enum { CONFIG_BYTES = 16 << 20 };

/* Settings that change what an adapter computes and are not supported: they must be absent, null,
 * false or empty. */
static const char *const refused[] = {"use_dora",           "lora_bias",
                                      "layer_replication",  "exclude_modules",
                                      "target_parameters",  "trainable_token_indices",
                                      "use_qalora",         "use_bdlora",
                                      "arrow_config",       "alora_invocation_tokens",
                                      "megatron_config",    "corda_config",
                                      "eva_config",         "lora_ga_config",
                                      "velora_config",      "monteclora_config",
                                      "kasa_config",        "loftq_config",
                                      "ensure_weight_tying"};

static bool is_set(const dw_json *v)
{
    if (!v)
        return false;
    switch (dw_json_kind(v)) {
    case DW_JSON_NULL:
        return false;
    case DW_JSON_BOOL:
        return dw_json_bool(v);
    case DW_JSON_ARRAY:
    case DW_JSON_OBJECT:
        return dw_json_first(v) != NULL;
    default:
        return true;
    }
}

static dw_status check_plain(const dw_json *root, dw_err *err)
{
    const char *s = NULL;
    DW_TRY(dw_json_get_cstr(root, "peft_type", NULL, &s, err));
    if (!s)
        return dw_fail(err, DW_E_INPUT, "peft_type is missing");
    if (strcmp(s, "LORA") != 0)
        return dw_fail(err, DW_E_INPUT, "peft_type \"%.32s\" is not supported (supported: LORA)",
                       s);
    DW_TRY(dw_json_get_cstr(root, "bias", "none", &s, err));
    if (strcmp(s, "none") != 0)
        return dw_fail(err, DW_E_INPUT, "bias \"%.32s\" is not supported (supported: none)", s);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (is_set(dw_json_get(root, refused[i])))
            return dw_fail(err, DW_E_INPUT, "%s is set, which is not supported", refused[i]);
    /* These rewrite the base's weights when an adapter is made: A and B alone are not enough. */
    static const char *const rewriting[] = {"pissa", "olora", "corda", "loftq", "lora_ga"};
    const dw_json *init = dw_json_get(root, "init_lora_weights");
    dw_text name = init && dw_json_kind(init) == DW_JSON_STRING ? dw_json_str(init) : DW_TEXT("");
    for (size_t i = 0; i < sizeof rewriting / sizeof *rewriting; i++)
        if (name.len >= strlen(rewriting[i]) &&
            !memcmp(name.ptr, rewriting[i], strlen(rewriting[i])))
            return dw_fail(err, DW_E_INPUT,
                           "init_lora_weights \"%s\" changes the base's weights, which is not "
                           "supported",
                           name.ptr);
    return DW_OK;
}

static const char *const tasks[] = {
    [DW_TOP_LM] = "CAUSAL_LM", [DW_TOP_SEQUENCE] = "SEQ_CLS", [DW_TOP_TOKEN] = "TOKEN_CLS"};

/* modules_to_save: the score head of a classification model, which PEFT calls by both names. */
static dw_status read_task(const dw_json *root, dw_top *top, dw_err *err)
{
    const char *s = NULL;
    int found = -1;
    bool score = false;
    DW_TRY(dw_json_get_cstr(root, "task_type", tasks[DW_TOP_LM], &s, err));
    for (int t = 0; t < 3; t++)
        if (!strcmp(s, tasks[t]))
            found = t;
    if (found < 0)
        return dw_fail(err, DW_E_INPUT,
                       "task_type \"%.32s\" is not supported (supported: CAUSAL_LM, SEQ_CLS, "
                       "TOKEN_CLS)",
                       s);
    *top = (dw_top)found;
    const dw_json *list = dw_json_get(root, "modules_to_save");
    if (*top == DW_TOP_LM && is_set(list))
        return dw_fail(err, DW_E_INPUT, "modules_to_save is set, which is not supported");
    const dw_json *first = list && dw_json_kind(list) == DW_JSON_ARRAY ? dw_json_first(list) : NULL;
    for (const dw_json *v = first; v; v = dw_json_next(v)) {
        dw_text name = dw_json_kind(v) == DW_JSON_STRING ? dw_json_str(v) : DW_TEXT("");
        score = score || dw_text_is(name, "score") ||
                (*top == DW_TOP_TOKEN && dw_text_is(name, "classifier")); /* GPT-2's */
        if (!dw_text_is(name, "score") && !dw_text_is(name, "classifier"))
            return dw_fail(err, DW_E_INPUT,
                           "modules_to_save: \"%.*s\" is not supported (supported: score)",
                           (int)(name.len < 64 ? name.len : 64), name.ptr);
    }
    if (*top != DW_TOP_LM && !score)
        return dw_fail(err, DW_E_INPUT, "task_type is %s, but modules_to_save does not name score",
                       s);
    return DW_OK;
}

static dw_status read_target(const dw_json *v, uint32_t *targets, dw_err *err)
{
    if (dw_json_kind(v) != DW_JSON_STRING)
        return dw_fail(err, DW_E_INPUT, "target_modules: wanted strings, found %s",
                       dw_json_kind_name(v));
    dw_text s = dw_json_str(v);
    const uint32_t bits = dw_lora_named(s);
    *targets |= bits;
    if (bits || dw_adapter_is_whole_name(s))
        return DW_OK;
    return dw_fail(err, DW_E_INPUT,
                   "target_modules: \"%.*s\" is not supported (supported: q_proj, k_proj, v_proj, "
                   "o_proj, gate_proj, up_proj, down_proj, qkv_proj, gate_up_proj, c_attn, c_proj, "
                   "c_fc)",
                   (int)(s.len < 64 ? s.len : 64), s.ptr);
}

static dw_status read_targets(const dw_json *root, uint32_t *targets, dw_err *err)
{
    const dw_json *v = dw_json_get(root, "target_modules");
    *targets = 0;
    if (v && dw_json_kind(v) == DW_JSON_STRING && dw_text_is(dw_json_str(v), "all-linear")) {
        *targets = DW_LORA_ALL;
        return DW_OK;
    }
    if (v && dw_json_kind(v) == DW_JSON_STRING)
        return DW_OK; /* a pattern, for which the model is needed */
    if (!v || dw_json_kind(v) != DW_JSON_ARRAY)
        return dw_fail(err, DW_E_INPUT, "target_modules: wanted a list of names, found %s",
                       dw_json_kind_name(v));
    for (const dw_json *e = dw_json_first(v); e; e = dw_json_next(e))
        DW_TRY(read_target(e, targets, err));
    return dw_json_first(v) ? DW_OK : dw_fail(err, DW_E_INPUT, "target_modules is empty");
}

static dw_status find_base(dw_arena *a, const char *dir, const char *name, char **out, dw_err *err)
{
    char *beside = dw_path_join(a, dir, name); /* an absolute name wins */
    if (dw_dir_exists(beside) || dw_gguf_path(a, beside)) {
        *out = beside;
        return DW_OK;
    }
    if (dw_dir_exists(name) || dw_gguf_path(a, name)) {
        *out = dw_arena_strdup(a, name);
        return DW_OK;
    }
    *out = dw_hub_find(a, name);
    if (*out)
        return DW_OK;
    return dw_fail(err, DW_E_INPUT,
                   "base_model_name_or_path: no folder \"%.512s\" (looked beside the adapter, in "
                   "the working directory and in Hugging Face's cache; nothing is downloaded)",
                   name);
}

static dw_status parse_config(dw_arena *a, const dw_json *root, const char *dir, dw_lora_spec *spec,
                              dw_top *top, char **base, dw_err *err)
{
    const char *name = NULL;
    int64_t r = 0;
    if (dw_json_kind(root) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(root));
    DW_TRY(check_plain(root, err));
    DW_TRY(read_task(root, top, err));
    DW_TRY(dw_json_get_int(root, "r", 8, 1, 4096, &r, err));
    spec->rank = (uint32_t)r;
    DW_TRY(dw_json_get_num(root, "lora_alpha", 8, 1e-9, 1e9, &spec->alpha, err));
    DW_TRY(dw_json_get_bool(root, "use_rslora", false, &spec->rslora, err));
    DW_TRY(read_targets(root, &spec->targets, err));
    DW_TRY(dw_json_get_cstr(root, "base_model_name_or_path", NULL, &name, err));
    if (!name || !*name)
        return dw_fail(err, DW_E_INPUT, "base_model_name_or_path is missing");
    return find_base(a, dir, name, base, err);
}

dw_status dw_adapter_config(dw_arena *a, const char *dir, dw_lora_spec *spec, dw_top *top,
                            char **base, dw_err *err)
{
    dw_json *root = NULL;
    char *path = dw_path_join(a, dir, "adapter_config.json");
    *spec = (dw_lora_spec){0};
    DW_TRY(dw_json_read(path, CONFIG_BYTES, &root, err));
    dw_status st = parse_config(a, root, dir, spec, top, base, err);
    if (st < 0)
        dw_err_prefix(err, "%s", path);
    dw_json_free(root);
    return st;
}

dw_status dw_adapter_fit(dw_arena *a, const char *dir, const dw_description *d, dw_lora_spec *spec,
                         dw_err *err)
{
    dw_json *root = NULL;
    char *path = dw_path_join(a, dir, "adapter_config.json");
    DW_TRY(dw_json_read(path, CONFIG_BYTES, &root, err));
    dw_status st = dw_adapter_parts(a, root, d, spec, err);
    if (st < 0)
        dw_err_prefix(err, "%s", path);
    dw_json_free(root);
    return st;
}

static dw_status open_weights(dw_arena *a, const char *dir, char **path, dw_checkpoint **c,
                              dw_err *err)
{
    *path = dw_path_join(a, dir, "adapter_model.safetensors");
    if (!dw_file_exists(*path))
        return dw_st_explain_missing(dir, "adapter_model.safetensors", err);
    return dw_checkpoint_open_file(*path, c, err);
}

dw_status dw_adapter_score_width(dw_arena *a, const char *dir, uint32_t *width, dw_err *err)
{
    dw_checkpoint *c = NULL;
    char *path = NULL;
    DW_TRY(open_weights(a, dir, &path, &c, err));
    const dw_tensor_entry *e = dw_checkpoint_find(c, "base_model.model.score.weight");
    if (!e)
        e = dw_checkpoint_find(c, "base_model.model.classifier.weight");
    *width = e && e->n_dim == 2 && e->dim[0] <= UINT16_MAX ? (uint32_t)e->dim[0] : 0;
    dw_checkpoint_close(c);
    return DW_OK;
}

dw_status dw_adapter_read(dw_model *m, const char *dir, bool head, dw_err *err)
{
    dw_checkpoint *c = NULL;
    dw_slice *slice = NULL;
    char *path = NULL;
    DW_TRY(open_weights(&m->arena, dir, &path, &c, err));
    size_t n = dw_weights_adapter_slices(&m->arena, &m->desc, &m->lora, &m->adapter, &slice);
    n = dw_heads_stored(slice, n, !head);
    dw_status st =
        dw_weights_check(c, slice, n, "adapter_config.json and its base", NULL, NULL, err);
    if (st == DW_OK && !m->outline)
        st = dw_weights_read(c, slice, n, &m->adapter, err);
    if (st < 0)
        dw_err_prefix(err, "%s", path);
    dw_checkpoint_close(c);
    return st;
}

/* ---- out ---- */

static void put_config(dw_arena *a, dw_buf *b, const dw_model *m, const char *base)
{
    const char *score = strcmp(dw_names_score(&m->desc), "score.") ? "[\n    \"classifier\"\n  ]"
                                                                   : "[\n    \"score\"\n  ]";
    dw_buf_adds(b, "{\n  \"base_model_name_or_path\": ");
    dw_json_put_cstr(b, base);
    dw_buf_printf(b, ",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": %s,\n",
                  m->desc.layout == DW_LAYOUT_GPT2 ? "true" : "false");
    dw_buf_adds(b, "  \"inference_mode\": true,\n  \"init_lora_weights\": true,\n"
                   "  \"lora_alpha\": ");
    dw_json_put_num(b, m->lora.alpha);
    dw_buf_printf(b,
                  ",\n  \"lora_dropout\": 0.0,\n  \"modules_to_save\": %s,\n"
                  "  \"peft_type\": \"LORA\",\n  \"r\": %u",
                  m->desc.top == DW_TOP_LM ? "null" : score, m->lora.rank);
    dw_adapter_put_parts(a, b, &m->desc, &m->lora);
    dw_buf_printf(b,
                  ",\n  \"task_type\": \"%s\",\n  \"use_dora\": false,\n"
                  "  \"use_rslora\": %s\n}\n",
                  tasks[m->desc.top], m->lora.rslora ? "true" : "false");
}

dw_status dw_model_save_adapter(const dw_model *m, const char *dir, dw_err *err)
{
    dw_arena a = {0};
    dw_buf config = {0};
    dw_slice *slice = NULL;
    dw_assert(!m->outline);
    if (!m->has_adapter)
        return dw_fail(err, DW_E_USAGE, "the model has no adapter to save");
    size_t n = dw_weights_adapter_slices(&a, &m->desc, &m->lora, &m->adapter, &slice);
    dw_tensor_out *t = dw_arena_alloc(&a, n * sizeof *t + 1);
    for (size_t i = 0; i < n; i++)
        t[i] = (dw_tensor_out){.name = slice[i].name,
                               .dtype = DW_DT_F32,
                               .n_dim = slice[i].n_dim,
                               .dim = {slice[i].rows, slice[i].cols},
                               .values = dw_slice_values(&m->adapter, &slice[i])};
    dw_status st = dw_safetensors_write(dw_path_join(&a, dir, "adapter_model.safetensors"), t, n,
                                        &(dw_meta_pair){"format", "pt"}, 1, err);
    put_config(&a, &config, m, m->dir ? dw_path_absolute(&a, m->dir) : "");
    if (st == DW_OK)
        st = dw_file_write(dw_path_join(&a, dir, "adapter_config.json"), config.ptr, config.len,
                           err);
    if (st == DW_OK)
        st = dw_heads_save_value(m, dir, err);
    if (st == DW_OK && m->source)
        st = dw_source_put_words(m, dir, err);
    if (st == DW_OK)
        st = dw_model_save_talk(m, dir, false, err);
    dw_buf_finish(&config);
    dw_arena_finish(&a);
    return st;
}
