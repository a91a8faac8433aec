/* Score and value heads of a model on disk: which head a folder gets, and value_head/, which is our
 * own format: config.json {"format", "width", "hidden_size"} and model.safetensors with
 * value_head.weight [width][d] and value_head.bias [width]. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/json.h"
#include "model/config.h"
#include "model/safetensors_internal.h"
#include "model/source.h"

static const char format[] = "dowel value head 1";

dw_status dw_heads_choose(const dw_model_options *o, dw_description *d, bool *fresh, dw_err *err)
{
    *fresh = false;
    if (o->value_width > DW_VALUE_WIDTH_MAX)
        return dw_fail(err, DW_E_USAGE, "a value head of %u channels, at most %d are supported",
                       o->value_width, DW_VALUE_WIDTH_MAX);
    d->value_width = o->value_width;
    if (!dw_config_class(d, o->top))
        return dw_fail(err, DW_E_INPUT, "%s has no class for %s in transformers", d->family,
                       dw_config_top(o->top));
    if (o->top != DW_TOP_LM && d->top == DW_TOP_LM) {
        d->top = o->top;
        d->score_width = o->score_width ? o->score_width : 1;
        d->score_bias = o->top == DW_TOP_TOKEN;
        *fresh = true;
        return DW_OK;
    }
    if (o->top != DW_TOP_LM && o->top != d->top)
        return dw_fail(err, DW_E_INPUT, "the checkpoint is %s, wanted %s", dw_config_top(d->top),
                       dw_config_top(o->top));
    if (o->score_width && d->top == DW_TOP_LM)
        return dw_fail(err, DW_E_USAGE,
                       "a score head of %u channels is wanted, but no classification model",
                       o->score_width);
    if (o->score_width && o->score_width != d->score_width)
        return dw_fail(err, DW_E_INPUT, "the score head has %u channels, wanted %u", d->score_width,
                       o->score_width);
    return DW_OK;
}

size_t dw_heads_stored(const dw_slice *slice, size_t n, bool fresh)
{
    while (fresh && n && dw_names_is_score(slice[n - 1].name))
        n--;
    return n;
}

double dw_heads_std(const dw_description *d)
{
    return 1 / sqrt((double)d->d + 1);
}

/* ---- value_head/ in ---- */

static dw_status check_config(const dw_model *m, const char *path, dw_err *err)
{
    dw_json *root = NULL;
    const char *name = NULL;
    int64_t width = 0, d = 0;
    DW_TRY(dw_json_read(path, 1 << 20, &root, err));
    dw_status st =
        dw_json_kind(root) == DW_JSON_OBJECT
            ? dw_json_get_cstr(root, "format", NULL, &name, err)
            : dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(root));
    if (st == DW_OK && (!name || strcmp(name, format) != 0))
        st = dw_fail(err, DW_E_INPUT, "format is \"%.64s\", wanted \"%s\"", name ? name : "",
                     format);
    if (st == DW_OK)
        st = dw_json_get_int(root, "width", 0, 0, UINT32_MAX, &width, err);
    if (st == DW_OK)
        st = dw_json_get_int(root, "hidden_size", 0, 0, UINT32_MAX, &d, err);
    if (st == DW_OK && d != m->desc.d)
        st = dw_fail(err, DW_E_INPUT, "hidden_size is %lld, the model's is %u", (long long)d,
                     m->desc.d);
    if (st == DW_OK && width != m->desc.value_width)
        st = dw_fail(err, DW_E_INPUT, "the value head has %lld channel%s, wanted %u",
                     (long long)width, width == 1 ? "" : "s", m->desc.value_width);
    dw_json_free(root);
    if (st < 0)
        dw_err_prefix(err, "%s", path);
    return st;
}

dw_status dw_heads_read_value(dw_model *m, const dw_params *p, const char *dir, dw_err *err)
{
    dw_arena a = {0};
    dw_checkpoint *c = NULL;
    dw_slice *slice = NULL;
    char *at = dw_path_join(&a, dir, "value_head");
    dw_status st = DW_OK;
    const bool found = m->desc.value_width && dw_dir_exists(at);
    if (found)
        st = check_config(m, dw_path_join(&a, at, "config.json"), err);
    if (found && st == DW_OK) {
        char *path = dw_path_join(&a, at, "model.safetensors");
        size_t n = dw_weights_value_slices(&a, p, &slice);
        st = dw_checkpoint_open_file(path, &c, err);
        if (st == DW_OK) {
            st = dw_weights_check(c, slice, n, "the value head's config.json", NULL, NULL, err);
            if (st == DW_OK && !m->outline)
                st = dw_weights_read(c, slice, n, p, err);
            if (st < 0)
                dw_err_prefix(err, "%s", path);
        }
    }
    dw_checkpoint_close(c);
    dw_arena_finish(&a);
    return st;
}

/* ---- out ---- */

dw_status dw_heads_save_value(const dw_model *m, const char *dir, dw_err *err)
{
    if (!m->desc.value_width)
        return DW_OK;
    dw_arena a = {0};
    dw_buf config = {0};
    dw_slice *slice = NULL;
    dw_tensor_out t[2];
    const dw_params *p = m->has_adapter ? &m->adapter : &m->base;
    size_t n = dw_weights_value_slices(&a, p, &slice);
    dw_assert(n == 2);
    for (size_t i = 0; i < n; i++)
        t[i] = (dw_tensor_out){.name = slice[i].name,
                               .dtype = DW_DT_F32,
                               .n_dim = slice[i].n_dim,
                               .dim = {slice[i].rows, slice[i].cols},
                               .values = dw_slice_values(p, &slice[i])};
    char *at = dw_path_join(&a, dir, "value_head");
    dw_buf_printf(&config, "{\n  \"format\": \"%s\",\n  \"hidden_size\": %u,\n  \"width\": %u\n}\n",
                  format, m->desc.d, m->desc.value_width);
    dw_status st = dw_mkdirs(at, err);
    if (st == DW_OK)
        st = dw_file_write(dw_path_join(&a, at, "config.json"), config.ptr, config.len, err);
    if (st == DW_OK)
        st = dw_safetensors_write(dw_path_join(&a, at, "model.safetensors"), t, n,
                                  &(dw_meta_pair){"format", "pt"}, 1, err);
    dw_buf_finish(&config);
    dw_arena_finish(&a);
    return st;
}
