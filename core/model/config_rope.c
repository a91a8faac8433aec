/* Positions of config.json: rotary frequencies in both spellings, and windows per layer. */
#include <math.h>
#include <string.h>

#include "model/config_internal.h"

static const double pi = 3.14159265358979323846;

/* The mapping: rope_parameters (transformers 5) or rope_scaling (before). */
static dw_status find_mapping(const dw_json *root, const dw_json **out, const char **name,
                              dw_err *err)
{
    static const char *const keys[] = {"rope_parameters", "rope_scaling"};
    *out = NULL;
    *name = NULL;
    for (size_t i = 0; i < 2; i++) {
        const dw_json *v = dw_json_get(root, keys[i]);
        if (!v || dw_json_kind(v) == DW_JSON_NULL)
            continue;
        if (dw_json_kind(v) != DW_JSON_OBJECT)
            return dw_fail(err, DW_E_INPUT, "%s: wanted an object, found %s", keys[i],
                           dw_json_kind_name(v));
        if (*out)
            return dw_fail(err, DW_E_INPUT, "rope_parameters and rope_scaling are both set");
        *out = v;
        *name = keys[i];
    }
    return DW_OK;
}

static dw_status read_kind(const dw_json *map, dw_rope_kind *kind, dw_err *err)
{
    const char *type = NULL, *old = NULL;
    DW_TRY(dw_json_get_cstr(map, "rope_type", NULL, &type, err));
    DW_TRY(dw_json_get_cstr(map, "type", NULL, &old, err));
    type = type ? type : old ? old : "default";
    if (!strcmp(type, "default"))
        *kind = DW_ROPE_DEFAULT;
    else if (!strcmp(type, "linear"))
        *kind = DW_ROPE_LINEAR;
    else if (!strcmp(type, "llama3"))
        *kind = DW_ROPE_LLAMA3;
    else
        return dw_fail(err, DW_E_INPUT,
                       "rope_type \"%.64s\" is not supported (supported: default, linear, llama3)",
                       type);
    return DW_OK;
}

/* A mapping may hold only what its kind reads: a leftover key of another kind would silently do
 * nothing here and something elsewhere. */
static dw_status check_keys(const dw_json *map, const dw_description *d, dw_err *err)
{
    static const char *const known[] = {"rope_type",
                                        "type",
                                        "rope_theta",
                                        "factor",
                                        "low_freq_factor",
                                        "high_freq_factor",
                                        "original_max_position_embeddings",
                                        "partial_rotary_factor"};
    static const size_t upto[] = {
        [DW_ROPE_NONE] = 0, [DW_ROPE_DEFAULT] = 3, [DW_ROPE_LINEAR] = 4, [DW_ROPE_LLAMA3] = 7};
    for (const dw_json *v = dw_json_first(map); v; v = dw_json_next(v)) {
        size_t i = 0;
        while (i < 8 && strcmp(known[i], dw_json_key(v)) != 0)
            i++;
        /* factors without effect on this kind are written by some tools; null is absent */
        if (i < upto[d->rope] || dw_json_kind(v) == DW_JSON_NULL || i == 7)
            continue;
        if (i < 7 && dw_json_kind(v) == DW_JSON_NUMBER)
            continue;
        return dw_fail(err, DW_E_INPUT, "%.64s is not supported", dw_json_key(v));
    }
    double partial = 1;
    DW_TRY(dw_json_get_num(map, "partial_rotary_factor", 1, 0, 1, &partial, err));
    if (partial != 1)
        return dw_fail(err, DW_E_INPUT,
                       "partial_rotary_factor is %g: partial rotary embedding is not supported",
                       partial);
    return DW_OK;
}

static dw_status need_num(const dw_json *map, const char *key, double lo, double hi, double *out,
                          dw_err *err)
{
    DW_TRY(dw_json_get_num(map, key, -1, lo, hi, out, err));
    return *out < 0 ? dw_fail(err, DW_E_INPUT, "%s is missing", key) : DW_OK;
}

static dw_status read_mapping(const dw_json *map, dw_description *d, dw_err *err)
{
    DW_TRY(read_kind(map, &d->rope, err));
    DW_TRY(check_keys(map, d, err));
    if (d->rope == DW_ROPE_DEFAULT)
        return DW_OK;
    DW_TRY(need_num(map, "factor", 1, 1e6, &d->rope_factor, err));
    if (d->rope == DW_ROPE_LINEAR)
        return DW_OK;
    int64_t original = 0;
    DW_TRY(need_num(map, "low_freq_factor", 1e-6, 1e6, &d->rope_low, err));
    DW_TRY(need_num(map, "high_freq_factor", 1e-6, 1e6, &d->rope_high, err));
    if (d->rope_low >= d->rope_high)
        return dw_fail(err, DW_E_INPUT, "low_freq_factor %g is not below high_freq_factor %g",
                       d->rope_low, d->rope_high);
    DW_TRY(dw_json_get_int(map, "original_max_position_embeddings", d->max_positions, 1, 1 << 30,
                           &original, err));
    d->rope_original = (uint32_t)original;
    return DW_OK;
}

dw_status dw_config_rope(const dw_json *root, dw_description *d, dw_err *err)
{
    const dw_json *map = NULL;
    const char *name = NULL;
    d->rope = DW_ROPE_DEFAULT;
    double theta = 0, inner = 0;
    DW_TRY(dw_json_get_num(root, "rope_theta", 10000, 1, 1e12, &theta, err));
    DW_TRY(find_mapping(root, &map, &name, err));
    if (map) {
        dw_status st = read_mapping(map, d, err);
        if (st == DW_OK)
            st = dw_json_get_num(map, "rope_theta", theta, 1, 1e12, &inner, err);
        if (st < 0) {
            dw_err_prefix(err, "%s", name);
            return st;
        }
        const dw_json *outer = dw_json_get(root, "rope_theta");
        if (outer && dw_json_kind(outer) == DW_JSON_NUMBER && inner != theta)
            return dw_fail(err, DW_E_INPUT, "rope_theta is %g and in %s %g", theta, name, inner);
        theta = inner;
    }
    d->rope_theta = theta;
    return DW_OK;
}

void dw_config_inv_freq(const dw_description *d, double *inv_freq)
{
    size_t turned = (size_t)((double)d->head_dim * d->partial_rotary);
    for (size_t i = 0; i < turned / 2; i++) {
        double f = 1.0 / pow(d->rope_theta, (double)(2 * i) / (double)turned);
        if (d->rope == DW_ROPE_LINEAR)
            f /= d->rope_factor;
        if (d->rope == DW_ROPE_LLAMA3) {
            double wave = 2 * pi / f, original = d->rope_original;
            if (wave > original / d->rope_low) {
                f /= d->rope_factor;
            } else if (wave >= original / d->rope_high) {
                double smooth = (original / wave - d->rope_low) / (d->rope_high - d->rope_low);
                f = (1 - smooth) * f / d->rope_factor + smooth * f;
            }
        }
        inv_freq[i] = f;
    }
}

/* Qwen: layers from max_window_layers on slide where use_sliding_window says so. Mistral: all. */
static dw_status default_windows(const dw_json *root, dw_description *d, uint32_t window,
                                 dw_err *err)
{
    int64_t first = 0;
    if (strcmp(d->family, "mistral") != 0)
        DW_TRY(dw_json_get_int(root, "max_window_layers", 28, 0, 1 << 20, &first, err));
    for (uint32_t i = 0; i < d->layers; i++)
        d->window[i] = i >= first ? window : 0;
    return DW_OK;
}

dw_status dw_config_windows(const dw_json *root, dw_description *d, dw_err *err)
{
    bool mistral = !strcmp(d->family, "mistral"), qwen = !strncmp(d->family, "qwen", 4);
    bool use = mistral;
    int64_t window = 0;
    const dw_json *types = dw_json_get(root, "layer_types");
    bool listed = types && dw_json_kind(types) != DW_JSON_NULL;
    if (mistral && listed)
        return dw_fail(err, DW_E_INPUT, "layer_types is not supported for mistral");
    if (qwen)
        DW_TRY(dw_json_get_bool(root, "use_sliding_window", false, &use, err));
    if (mistral || qwen) /* a missing key means 4096, null none */
        DW_TRY(dw_json_get_int(root, "sliding_window",
                               dw_json_get(root, "sliding_window") ? 0 : 4096, 1, 1 << 30, &window,
                               err));
    if (!use)
        window = 0;
    if (!listed)
        return default_windows(root, d, (uint32_t)window, err);
    if (dw_json_kind(types) != DW_JSON_ARRAY)
        return dw_fail(err, DW_E_INPUT, "layer_types: wanted an array, found %s",
                       dw_json_kind_name(types));
    if (dw_json_len(types) != d->layers)
        return dw_fail(err, DW_E_INPUT, "layer_types: %zu entries for %u layers",
                       dw_json_len(types), d->layers);
    uint32_t i = 0;
    for (const dw_json *v = dw_json_first(types); v; v = dw_json_next(v), i++) {
        dw_text s = dw_json_kind(v) == DW_JSON_STRING ? dw_json_str(v) : DW_TEXT("");
        bool slides = dw_text_is(s, "sliding_attention");
        if (!slides && !dw_text_is(s, "full_attention"))
            return dw_fail(err, DW_E_INPUT, "layer_types: \"%.*s\" of layer %u is not supported",
                           (int)(s.len < 64 ? s.len : 64), s.ptr, i);
        if (slides && !window)
            return dw_fail(err, DW_E_INPUT,
                           "layer_types: layer %u slides but there is no sliding_window", i);
        d->window[i] = slides ? (uint32_t)window : 0;
    }
    return DW_OK;
}
