/* Reads safetensors files: checks every rule of the format on the mapped header, then hands out
 * entries that point into the mapping. */
#include "model/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "model/gguf.h"
#include "model/safetensors_internal.h"

typedef struct dtype_row {
    const char *name;
    uint32_t bits;
    dw_dtype type;
} dtype_row;
static const dtype_row dtypes[] = {
    {"F32", 32, DW_DT_F32},          {"F16", 16, DW_DT_F16},      {"BF16", 16, DW_DT_BF16},
    {"F64", 64, DW_DT_F64},          {"I64", 64, DW_DT_I64},      {"I32", 32, DW_DT_I32},
    {"I16", 16, DW_DT_I16},          {"I8", 8, DW_DT_I8},         {"U8", 8, DW_DT_U8},
    {"BOOL", 8, DW_DT_BOOL},         {"U16", 16, DW_DT_OTHER},    {"U32", 32, DW_DT_OTHER},
    {"U64", 64, DW_DT_OTHER},        {"C64", 64, DW_DT_OTHER},    {"F8_E5M2", 8, DW_DT_OTHER},
    {"F8_E4M3", 8, DW_DT_OTHER},     {"F8_E8M0", 8, DW_DT_OTHER}, {"F8_E4M3FNUZ", 8, DW_DT_OTHER},
    {"F8_E5M2FNUZ", 8, DW_DT_OTHER}, {"F6_E2M3", 6, DW_DT_OTHER}, {"F6_E3M2", 6, DW_DT_OTHER},
    {"F4", 4, DW_DT_OTHER},
};

size_t dw_dtype_bytes(dw_dtype t)
{
    return t >= DW_DT_OTHER ? 0 : dtypes[t].bits / 8;
}

const char *dw_dtype_name(dw_dtype t)
{
    return t == DW_DT_OTHER  ? "another type"
           : t > DW_DT_OTHER ? dw_gguf_dtype_name(dw_gguf_dtype_number(t))
                             : dtypes[t].name;
}

static dw_status read_dtype(const dw_json *v, const dtype_row **out, dw_err *err)
{
    if (!v || dw_json_kind(v) != DW_JSON_STRING)
        return dw_fail(err, DW_E_INPUT, "dtype: wanted a string, found %s", dw_json_kind_name(v));
    dw_text s = dw_json_str(v);
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dw_text_is(s, dtypes[i].name)) {
            *out = &dtypes[i];
            return DW_OK;
        }
    return dw_fail(err, DW_E_INPUT, "dtype \"%.*s\" is unknown", (int)(s.len < 64 ? s.len : 64),
                   s.ptr);
}

static dw_status read_size(const dw_json *v, const char *what, uint64_t *out, dw_err *err)
{
    int64_t x = 0;
    if (dw_json_kind(v) != DW_JSON_NUMBER)
        return dw_fail(err, DW_E_INPUT, "%s: wanted integers, found %s", what,
                       dw_json_kind_name(v));
    if (!dw_json_int(v, &x) || x < 0)
        return dw_fail(err, DW_E_INPUT, "%s: %.17g is not a size", what, dw_json_num(v));
    *out = (uint64_t)x;
    return DW_OK;
}

static dw_status read_shape(const dw_json *v, dw_tensor_entry *e, dw_err *err)
{
    if (!v || dw_json_kind(v) != DW_JSON_ARRAY)
        return dw_fail(err, DW_E_INPUT, "shape: wanted an array, found %s", dw_json_kind_name(v));
    e->n = 1;
    for (const dw_json *x = dw_json_first(v); x; x = dw_json_next(x)) {
        if (e->n_dim == 8)
            return dw_fail(err, DW_E_INPUT, "shape: more than 8 dimensions");
        uint64_t *dim = &e->dim[e->n_dim++];
        DW_TRY(read_size(x, "shape", dim, err));
        if (__builtin_mul_overflow(e->n, *dim, &e->n))
            return dw_fail(err, DW_E_INPUT, "shape: the number of elements overflows");
    }
    return DW_OK;
}

/* Bytes in the file, from the shape. */
static dw_status shape_bytes(const dtype_row *t, dw_tensor_entry *e, dw_err *err)
{
    uint64_t bits = 0;
    if (__builtin_mul_overflow(e->n, (uint64_t)t->bits, &bits))
        return dw_fail(err, DW_E_INPUT, "shape: the number of bytes overflows");
    if (bits % 8)
        return dw_fail(err, DW_E_INPUT, "shape: %llu elements of %s do not fill whole bytes",
                       (unsigned long long)e->n, t->name);
    e->bytes = bits / 8;
    return DW_OK;
}

/* One member of the header. The data pointer holds the offset until all are known. */
static dw_status read_entry(const dw_json *v, const unsigned char *data, uint64_t n_data,
                            dw_tensor_entry *e, dw_err *err)
{
    const dtype_row *t = NULL;
    uint64_t at[2] = {0, 0};
    if (dw_json_kind(v) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(v));
    for (const dw_json *m = dw_json_first(v); m; m = dw_json_next(m))
        if (strcmp(dw_json_key(m), "dtype") && strcmp(dw_json_key(m), "shape") &&
            strcmp(dw_json_key(m), "data_offsets"))
            return dw_fail(err, DW_E_INPUT, "unknown key \"%.64s\"", dw_json_key(m));
    DW_TRY(read_dtype(dw_json_get(v, "dtype"), &t, err));
    DW_TRY(read_shape(dw_json_get(v, "shape"), e, err));
    DW_TRY(shape_bytes(t, e, err));
    const dw_json *off = dw_json_get(v, "data_offsets");
    if (!off || dw_json_kind(off) != DW_JSON_ARRAY || dw_json_len(off) != 2)
        return dw_fail(err, DW_E_INPUT, "data_offsets: wanted two integers");
    DW_TRY(read_size(dw_json_first(off), "data_offsets", &at[0], err));
    DW_TRY(read_size(dw_json_next(dw_json_first(off)), "data_offsets", &at[1], err));
    if (at[0] > at[1])
        return dw_fail(err, DW_E_INPUT, "data_offsets: begin %llu is above end %llu",
                       (unsigned long long)at[0], (unsigned long long)at[1]);
    if (at[1] - at[0] != e->bytes)
        return dw_fail(err, DW_E_INPUT,
                       "data_offsets: %llu bytes, but the shape needs %llu bytes of %s",
                       (unsigned long long)(at[1] - at[0]), (unsigned long long)e->bytes, t->name);
    if (at[1] > n_data)
        return dw_fail(err, DW_E_INPUT,
                       "data_offsets: end %llu is behind the file's %llu bytes of data (is it cut "
                       "off?)",
                       (unsigned long long)at[1], (unsigned long long)n_data);
    e->dtype = t->type;
    e->data = data + at[0];
    return DW_OK;
}

static dw_status read_meta(dw_checkpoint *c, const dw_json *v, dw_err *err)
{
    if (dw_json_kind(v) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "__metadata__: wanted an object, found %s",
                       dw_json_kind_name(v));
    for (const dw_json *m = dw_json_first(v); m; m = dw_json_next(m)) {
        if (dw_json_kind(m) != DW_JSON_STRING)
            return dw_fail(err, DW_E_INPUT, "__metadata__.%.64s: wanted a string, found %s",
                           dw_json_key(m), dw_json_kind_name(m));
        dw_text s = dw_json_str(m);
        DW_GROW(c->meta, c->n_meta, c->cap_meta);
        c->meta[c->n_meta++] =
            (dw_meta_pair){dw_arena_strdup(&c->arena, dw_json_key(m)),
                           dw_arena_strndup(&c->arena, s.ptr ? s.ptr : "", s.len)};
    }
    return DW_OK;
}

static int by_offset(const void *a, const void *b)
{
    const dw_tensor_entry *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Sorted by offset, the tensors must lie end to end and fill the data. */
static dw_status check_layout(dw_tensor_entry *e, size_t n, const unsigned char *data,
                              uint64_t n_data, dw_err *err)
{
    uint64_t end = 0;
    if (n)
        qsort(e, n, sizeof *e, by_offset);
    for (size_t i = 0; i < n; i++) {
        uint64_t at = (uint64_t)(e[i].data - data);
        if (at < end)
            return dw_fail(err, DW_E_INPUT, "tensor \"%.128s\" overlaps \"%.128s\"", e[i].name,
                           e[i - 1].name);
        if (at > end)
            return dw_fail(err, DW_E_INPUT, "a hole of %llu bytes before tensor \"%.128s\"",
                           (unsigned long long)(at - end), e[i].name);
        end = at + e[i].bytes;
    }
    if (end != n_data)
        return dw_fail(err, DW_E_INPUT, "%llu bytes behind the last tensor",
                       (unsigned long long)(n_data - end));
    return DW_OK;
}

static dw_status read_header(dw_checkpoint *c, const dw_json *root, const unsigned char *data,
                             uint64_t n_data, dw_err *err)
{
    size_t first = c->n_entry;
    for (const dw_json *m = dw_json_first(root); m; m = dw_json_next(m)) {
        const char *key = dw_json_key(m);
        if (!strcmp(key, "__metadata__")) {
            DW_TRY(read_meta(c, m, err));
            continue;
        }
        dw_tensor_entry e = {.name = dw_arena_strdup(&c->arena, key),
                             .shard = (uint32_t)(c->n_map - 1)};
        dw_status st = read_entry(m, data, n_data, &e, err);
        if (st < 0) {
            dw_err_prefix(err, "tensor \"%.128s\"", key);
            return st;
        }
        DW_GROW(c->entry, c->n_entry, c->cap_entry);
        c->entry[c->n_entry++] = e;
    }
    const size_t n = c->n_entry - first;
    DW_TRY(check_layout(n ? c->entry + first : NULL, n, data, n_data, err));
    for (size_t i = first; i < c->n_entry; i++)
        if (!dw_map_put(&c->by_name, dw_text_of(c->entry[i].name), (int64_t)i))
            return dw_fail(err, DW_E_INPUT, "tensor \"%.128s\" is in two shards", c->entry[i].name);
    return DW_OK;
}

/* Length and bytes of the header; everything before JSON. */
static dw_status frame(dw_mapping map, uint64_t *len, dw_err *err)
{
    DW_TRY(dw_st_check_content(map.ptr, map.len, err));
    if (map.len < 8)
        return dw_fail(err, DW_E_INPUT, "%zu bytes long, a safetensors file has at least 8",
                       map.len);
    *len = 0;
    for (int i = 7; i >= 0; i--)
        *len = *len << 8 | map.ptr[i];
    if (*len > DW_ST_HEADER_MAX)
        return dw_fail(err, DW_E_INPUT, "header length %llu is above the limit of %d",
                       (unsigned long long)*len, (int)DW_ST_HEADER_MAX);
    if (*len > map.len - 8)
        return dw_fail(err, DW_E_INPUT,
                       "header length %llu, but only %zu bytes follow (is it cut off?)",
                       (unsigned long long)*len, map.len - 8);
    if (*len < 2 || map.ptr[8] != '{')
        return dw_fail(err, DW_E_INPUT, "the header does not begin with {");
    const unsigned char *last = map.ptr + 8 + *len - 1;
    while (*last == ' ')
        last--;
    if (*last != '}')
        return dw_fail(err, DW_E_INPUT,
                       "the header ends with byte 0x%02x, wanted } and then only spaces", *last);
    return DW_OK;
}

dw_status dw_st_add(dw_checkpoint *c, dw_mapping map, dw_err *err)
{
    DW_GROW(c->map, c->n_map, c->cap_map);
    c->map[c->n_map++] = map;
    uint64_t len = 0;
    dw_json *root = NULL;
    DW_TRY(frame(map, &len, err));
    dw_status st =
        dw_json_parse((const char *)map.ptr + 8, (size_t)len, DW_JSON_DEPTH_HEADER, 1, &root, err);
    if (st < 0)
        dw_err_prefix(err, "header");
    else
        st = read_header(c, root, map.ptr + 8 + len, map.len - 8 - len, err);
    dw_json_free(root);
    return st;
}

dw_status dw_checkpoint_open_file(const char *path, dw_checkpoint **out, dw_err *err)
{
    dw_mapping map = {0};
    *out = NULL;
    DW_TRY(dw_map_open(path, &map, err));
    dw_checkpoint *c = dw_zalloc(1, sizeof *c);
    dw_status st = dw_st_add(c, map, err);
    if (st < 0) {
        dw_err_prefix(err, "%s", path);
        dw_checkpoint_close(c);
        return st;
    }
    *out = c;
    return DW_OK;
}

dw_status dw_checkpoint_open(const char *dir, dw_checkpoint **out, dw_err *err)
{
    dw_arena a = {0};
    dw_status st = DW_OK;
    char *one = dw_path_join(&a, dir, "model.safetensors");
    char *index = dw_path_join(&a, dir, "model.safetensors.index.json");
    *out = NULL;
    const char *gguf = dw_gguf_path(&a, dir);
    if (gguf) {
        st = dw_gguf_checkpoint(gguf, out, err);
    } else if (dw_file_exists(one)) {
        st = dw_checkpoint_open_file(one, out, err);
    } else if (dw_file_exists(index)) {
        dw_checkpoint *c = dw_zalloc(1, sizeof *c);
        st = dw_st_add_shards(c, dir, index, err);
        if (st < 0)
            dw_checkpoint_close(c);
        else
            *out = c;
    } else {
        st = dw_st_explain_missing(dir, "model.safetensors or model.safetensors.index.json", err);
    }
    dw_arena_finish(&a);
    return st;
}

void dw_checkpoint_close(dw_checkpoint *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_map; i++)
        dw_map_close(&c->map[i]);
    dw_free(c->map);
    dw_free(c->entry);
    dw_free(c->meta);
    dw_map_finish(&c->by_name);
    if (c->gguf)
        dw_gguf_finish(c->gguf);
    dw_free(c->gguf);
    dw_arena_finish(&c->arena);
    dw_free(c);
}

size_t dw_checkpoint_count(const dw_checkpoint *c)
{
    return c->n_entry;
}

const dw_tensor_entry *dw_checkpoint_at(const dw_checkpoint *c, size_t i)
{
    dw_assert(i < c->n_entry);
    return &c->entry[i];
}

const dw_tensor_entry *dw_checkpoint_find(const dw_checkpoint *c, const char *name)
{
    int64_t i = 0;
    return dw_map_get(&c->by_name, dw_text_of(name), &i) ? &c->entry[i] : NULL;
}

const char *dw_checkpoint_meta(const dw_checkpoint *c, const char *key)
{
    for (size_t i = 0; i < c->n_meta; i++)
        if (!strcmp(c->meta[i].key, key))
            return c->meta[i].value;
    return NULL;
}
