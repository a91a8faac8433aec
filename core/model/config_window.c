/* Windows of config.json: which layers look back how far. */
#include <string.h>

#include "model/config_internal.h"

/* By the family's rule, where layer_types does not say. */
static dw_status default_windows(const dw_json *root, const dw_family *f, dw_description *d,
                                 uint32_t window, dw_err *err)
{
    int64_t first = 0, pattern = 0;
    if (f->rule == DW_WINDOW_LAST)
        DW_TRY(dw_json_get_int(root, "max_window_layers", 28, 0, 1 << 20, &first, err));
    if (f->local_theta)
        DW_TRY(dw_json_get_int(root, "sliding_window_pattern", f->pattern, 1, DW_MAX_LAYERS,
                               &pattern, err));
    else
        pattern = f->pattern;
    for (uint32_t i = 0; i < d->layers; i++)
        d->window[i] = i >= first && (!pattern || (i + 1) % pattern) ? window : 0;
    if (f->rule == DW_WINDOW_PATTERN && !window && pattern != 1)
        return dw_fail(err, DW_E_INPUT, "sliding_window is null, but layer 0 slides");
    return DW_OK;
}

static dw_status read_window(const dw_json *root, const dw_family *f, uint32_t *out, dw_err *err)
{
    bool use = f->rule != DW_WINDOW_NONE;
    int64_t window = 0;
    if (f->rule == DW_WINDOW_LAST)
        DW_TRY(dw_json_get_bool(root, "use_sliding_window", false, &use, err));
    if (f->rule != DW_WINDOW_NONE) /* a missing key is not null, which means none */
        DW_TRY(dw_json_get_int(root, "sliding_window",
                               dw_json_get(root, "sliding_window") ? 0 : f->window, 1, 1 << 30,
                               &window, err));
    *out = use ? (uint32_t)window : 0;
    return DW_OK;
}

dw_status dw_config_windows(const dw_json *root, const dw_family *f, dw_description *d, dw_err *err)
{
    uint32_t window = 0;
    const dw_json *types = dw_json_get(root, "layer_types");
    bool listed = dw_config_has(root, "layer_types");
    if (f->rule == DW_WINDOW_ALL && listed)
        return dw_fail(err, DW_E_INPUT, "layer_types is not supported for %s", f->name);
    DW_TRY(read_window(root, f, &window, err));
    if (!listed)
        return default_windows(root, f, d, window, err);
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
        d->window[i] = slides ? window : 0;
    }
    return DW_OK;
}
