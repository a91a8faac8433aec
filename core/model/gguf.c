/* Reads the GGUF container: metadata and tensor table of a mapped file, every rule enforced. */
#include "model/gguf.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

enum { HEADER = 24, KEY_MAX = 65535, NAME_MAX_ = 127, ALIGN_MAX = 65536, ALIGN_DEFAULT = 32 };

static const struct {
    const char *name;
    uint32_t bytes; /* 0: not a number */
} types[DW_GGUF_N_TYPE] = {
    [DW_GGUF_U8] = {"uint8", 1},    [DW_GGUF_I8] = {"int8", 1},    [DW_GGUF_U16] = {"uint16", 2},
    [DW_GGUF_I16] = {"int16", 2},   [DW_GGUF_U32] = {"uint32", 4}, [DW_GGUF_I32] = {"int32", 4},
    [DW_GGUF_F32] = {"float32", 4}, [DW_GGUF_BOOL] = {"bool", 1},  [DW_GGUF_STRING] = {"string", 0},
    [DW_GGUF_ARRAY] = {"array", 0}, [DW_GGUF_U64] = {"uint64", 8}, [DW_GGUF_I64] = {"int64", 8},
    [DW_GGUF_F64] = {"float64", 8},
};

const char *dw_gguf_type_name(dw_gguf_type t)
{
    return types[t].name;
}

/* ---- a cursor that never leaves the file ---- */

typedef struct cursor {
    const unsigned char *p;
    size_t left, at;
} cursor;

static dw_status take(cursor *c, uint64_t n, const char *what, const unsigned char **out,
                      dw_err *err)
{
    if (n > c->left)
        return dw_fail(err, DW_E_INPUT,
                       "%s at byte %zu: %llu bytes are wanted, and the file has %zu more", what,
                       c->at, (unsigned long long)n, c->left);
    *out = c->p;
    c->p += n;
    c->at += (size_t)n;
    c->left -= (size_t)n;
    return DW_OK;
}

static dw_status take_u32(cursor *c, const char *what, uint32_t *out, dw_err *err)
{
    const unsigned char *p;
    DW_TRY(take(c, 4, what, &p, err));
    memcpy(out, p, 4);
    return DW_OK;
}

static dw_status take_u64(cursor *c, const char *what, uint64_t *out, dw_err *err)
{
    const unsigned char *p;
    DW_TRY(take(c, 8, what, &p, err));
    memcpy(out, p, 8);
    return DW_OK;
}

static dw_status take_text(cursor *c, const char *what, dw_text *out, dw_err *err)
{
    uint64_t n;
    const unsigned char *p;
    DW_TRY(take_u64(c, what, &n, err));
    DW_TRY(take(c, n, what, &p, err));
    *out = (dw_text){(const char *)p, (size_t)n};
    return DW_OK;
}

/* A name that becomes a C string: UTF-8, no NUL, not empty, at most `most` bytes. */
static dw_status take_name(dw_gguf *g, cursor *c, const char *what, size_t most, const char **out,
                           dw_err *err)
{
    dw_text s;
    size_t at = c->at;
    DW_TRY(take_text(c, what, &s, err));
    if (s.len == 0 || s.len > most)
        return dw_fail(err, DW_E_INPUT, "%s at byte %zu has %zu bytes, wanted 1 to %zu", what, at,
                       s.len, most);
    if (!dw_utf8_valid(s.ptr, s.len) || memchr(s.ptr, 0, s.len))
        return dw_fail(err, DW_E_INPUT, "%s at byte %zu is not text", what, at);
    *out = dw_arena_strndup(&g->arena, s.ptr, s.len);
    return DW_OK;
}

/* ---- metadata ---- */

static dw_status skip_value(cursor *c, dw_gguf_type t, uint64_t n, dw_err *err)
{
    const unsigned char *p;
    uint64_t bytes;
    dw_text s;
    if (t != DW_GGUF_STRING) {
        if (__builtin_mul_overflow(n, (uint64_t)types[t].bytes, &bytes))
            bytes = UINT64_MAX;
        DW_TRY(take(c, bytes, "its value", &p, err));
        for (uint64_t i = 0; t == DW_GGUF_BOOL && i < n; i++)
            if (p[i] > 1)
                return dw_fail(err, DW_E_INPUT, "a bool is %u, wanted 0 or 1", p[i]);
        return DW_OK;
    }
    if (n > c->left / 8)
        return dw_fail(err, DW_E_INPUT, "%llu strings are wanted, and the file has %zu more bytes",
                       (unsigned long long)n, c->left);
    for (uint64_t i = 0; i < n; i++)
        DW_TRY(take_text(c, "a string", &s, err));
    return DW_OK;
}

static dw_status read_type(cursor *c, dw_gguf_type *out, dw_err *err)
{
    uint32_t t;
    DW_TRY(take_u32(c, "its type", &t, err));
    if (t >= DW_GGUF_N_TYPE)
        return dw_fail(err, DW_E_INPUT, "type %u is unknown", t);
    *out = (dw_gguf_type)t;
    return DW_OK;
}

static dw_status read_value(cursor *c, dw_gguf_field *f, dw_err *err)
{
    DW_TRY(read_type(c, &f->type, err));
    f->n = 1;
    if (f->type == DW_GGUF_ARRAY) {
        f->array = true;
        DW_TRY(read_type(c, &f->type, err));
        if (f->type == DW_GGUF_ARRAY)
            return dw_fail(err, DW_E_INPUT, "an array of arrays, which no model needs");
        DW_TRY(take_u64(c, "its length", &f->n, err));
    }
    f->at = c->p;
    return skip_value(c, f->type, f->n, err);
}

static dw_status read_fields(dw_gguf *g, cursor *c, uint64_t n, dw_err *err)
{
    for (uint64_t i = 0; i < n; i++) {
        dw_gguf_field f = {0};
        DW_TRY(take_name(g, c, "a key", KEY_MAX, &f.key, err));
        dw_status st = read_value(c, &f, err);
        if (st < 0) {
            dw_err_prefix(err, "%.128s", f.key);
            return st;
        }
        if (dw_map_get(&g->by_key, dw_text_of(f.key), NULL))
            return dw_fail(err, DW_E_INPUT, "key \"%.128s\" stands there twice", f.key);
        dw_map_put(&g->by_key, dw_text_of(f.key), (int64_t)g->n_field);
        DW_GROW(g->field, g->n_field, g->cap_field);
        g->field[g->n_field++] = f;
    }
    return DW_OK;
}

/* ---- tensors ---- */

static dw_status read_dims(cursor *c, dw_gguf_tensor *t, dw_err *err)
{
    DW_TRY(take_u32(c, "its number of dimensions", &t->n_dim, err));
    if (t->n_dim < 1 || t->n_dim > 4)
        return dw_fail(err, DW_E_INPUT, "has %u dimensions, wanted 1 to 4", t->n_dim);
    t->n = 1;
    for (uint32_t i = 0; i < t->n_dim; i++) {
        DW_TRY(take_u64(c, "its shape", &t->dim[i], err));
        if (t->dim[i] == 0)
            return dw_fail(err, DW_E_INPUT, "dimension %u is 0", i);
        if (__builtin_mul_overflow(t->n, t->dim[i], &t->n) || t->n > INT64_MAX)
            return dw_fail(err, DW_E_INPUT, "the number of elements overflows");
    }
    return DW_OK;
}

static dw_status read_layout(cursor *c, dw_gguf_tensor *t, dw_err *err)
{
    uint32_t type;
    DW_TRY(read_dims(c, t, err));
    DW_TRY(take_u32(c, "its type", &type, err));
    t->dtype = dw_gguf_dtype(type);
    if (t->dtype == DW_DT_OTHER) {
        const char *name = dw_gguf_dtype_name(type);
        return name ? dw_fail(err, DW_E_INPUT,
                              "is %s; wanted F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, "
                              "Q5_K or Q6_K",
                              name)
                    : dw_fail(err, DW_E_INPUT, "type %u is unknown", type);
    }
    uint32_t block = dw_quant_block(t->dtype);
    if (t->dim[0] % block)
        return dw_fail(err, DW_E_INPUT, "rows of %llu elements are no whole blocks of %u (%s)",
                       (unsigned long long)t->dim[0], block, dw_dtype_name(t->dtype));
    if (__builtin_mul_overflow(t->n / block, (uint64_t)dw_quant_bytes(t->dtype), &t->bytes))
        return dw_fail(err, DW_E_INPUT, "the number of bytes overflows");
    return DW_OK;
}

/* Tensors follow one another in the order of the table, each at the next multiple of `align`. */
static dw_status read_tensor(dw_gguf *g, cursor *c, uint64_t align, uint64_t *end, dw_err *err)
{
    dw_gguf_tensor t = {0};
    uint64_t offset;
    DW_TRY(take_name(g, c, "a tensor's name", NAME_MAX_, &t.name, err));
    dw_status st = read_layout(c, &t, err);
    if (st >= 0)
        st = take_u64(c, "its offset", &offset, err);
    if (st >= 0 && offset != *end)
        st = dw_fail(err, DW_E_INPUT, "begins at byte %llu of the data, wanted %llu",
                     (unsigned long long)offset, (unsigned long long)*end);
    uint64_t next;
    if (st >= 0 && (__builtin_add_overflow(*end, t.bytes, &next) || next > UINT64_MAX - align))
        st = dw_fail(err, DW_E_INPUT, "ends beyond what a file can hold");
    if (st < 0) {
        dw_err_prefix(err, "tensor \"%s\"", t.name);
        return st;
    }
    t.data = g->map.ptr + *end; /* rebased once the data's begin is known */
    *end = (next + align - 1) / align * align;
    if (dw_map_get(&g->by_name, dw_text_of(t.name), NULL))
        return dw_fail(err, DW_E_INPUT, "tensor \"%s\" stands there twice", t.name);
    dw_map_put(&g->by_name, dw_text_of(t.name), (int64_t)g->n_tensor);
    DW_GROW(g->tensor, g->n_tensor, g->cap_tensor);
    g->tensor[g->n_tensor++] = t;
    return DW_OK;
}

/* The last tensor ends with the file, or with the padding behind it. */
static dw_status place_data(dw_gguf *g, const cursor *c, uint64_t align, dw_err *err)
{
    size_t begin = (c->at + (size_t)align - 1) / (size_t)align * (size_t)align;
    size_t have = g->map.len > begin ? g->map.len - begin : 0;
    uint64_t used = 0;
    for (size_t i = 0; i < g->n_tensor; i++) {
        dw_gguf_tensor *t = &g->tensor[i];
        uint64_t from = (uint64_t)(t->data - g->map.ptr);
        used = from + t->bytes;
        if (used > have)
            return dw_fail(err, DW_E_INPUT,
                           "tensor \"%s\" needs bytes up to %llu of the data, the file holds %zu "
                           "(cut off?)",
                           t->name, (unsigned long long)used, have);
        t->data = g->map.ptr + begin + from;
    }
    if (have > used && have - used >= align)
        return dw_fail(err, DW_E_INPUT, "%llu bytes follow the last tensor",
                       (unsigned long long)(have - used));
    return DW_OK;
}

static dw_status read_align(const dw_gguf *g, uint64_t *out, dw_err *err)
{
    bool there;
    int64_t n = ALIGN_DEFAULT;
    DW_TRY(dw_gguf_int(g, "general.alignment", 8, ALIGN_MAX, &there, &n, err));
    if (n & (n - 1))
        return dw_fail(err, DW_E_INPUT, "general.alignment is %lld, wanted a power of two",
                       (long long)n);
    *out = (uint64_t)n;
    return DW_OK;
}

static dw_status read_header(cursor *c, uint64_t *n_tensor, uint64_t *n_field, dw_err *err)
{
    const unsigned char *magic;
    uint32_t version;
    if (c->left < HEADER)
        return dw_fail(err, DW_E_INPUT, "%zu bytes are too few for a GGUF header", c->left);
    DW_TRY(take(c, 4, "the magic", &magic, err));
    if (memcmp(magic, "GGUF", 4) != 0)
        return dw_fail(err, DW_E_INPUT, "does not begin with GGUF");
    DW_TRY(take_u32(c, "the version", &version, err));
    if (version != 2 && version != 3)
        return dw_fail(err, DW_E_INPUT, "version %u%s; wanted 2 or 3", version,
                       (version & 0xffffff) == 0 && version ? " (a big-endian file)" : "");
    DW_TRY(take_u64(c, "the number of tensors", n_tensor, err));
    DW_TRY(take_u64(c, "the number of keys", n_field, err));
    /* a key takes 8 + 1 + 4 + 1 bytes at least, a tensor 8 + 1 + 4 + 8 + 4 + 8 */
    if (*n_field > c->left / 14)
        return dw_fail(err, DW_E_INPUT, "%llu keys do not fit into %zu bytes",
                       (unsigned long long)*n_field, c->left);
    if (*n_tensor > c->left / 33)
        return dw_fail(err, DW_E_INPUT, "%llu tensors do not fit into %zu bytes",
                       (unsigned long long)*n_tensor, c->left);
    return DW_OK;
}

dw_status dw_gguf_read(dw_gguf *g, dw_mapping map, dw_err *err)
{
    cursor c = {map.ptr, map.len, 0};
    uint64_t n_tensor, n_field, align, end = 0;
    g->map = map;
    DW_TRY(read_header(&c, &n_tensor, &n_field, err));
    DW_TRY(read_fields(g, &c, n_field, err));
    DW_TRY(read_align(g, &align, err));
    for (uint64_t i = 0; i < n_tensor; i++)
        DW_TRY(read_tensor(g, &c, align, &end, err));
    return place_data(g, &c, align, err);
}

void dw_gguf_finish(dw_gguf *g)
{
    dw_map_close(&g->map);
    dw_free(g->field);
    dw_free(g->tensor);
    dw_map_finish(&g->by_key);
    dw_map_finish(&g->by_name);
    dw_arena_finish(&g->arena);
    *g = (dw_gguf){0};
}

/* ---- access ---- */

const dw_gguf_field *dw_gguf_find(const dw_gguf *g, const char *key)
{
    int64_t i;
    return dw_map_get(&g->by_key, dw_text_of(key), &i) ? &g->field[i] : NULL;
}

const dw_gguf_tensor *dw_gguf_find_tensor(const dw_gguf *g, const char *name)
{
    int64_t i;
    return dw_map_get(&g->by_name, dw_text_of(name), &i) ? &g->tensor[i] : NULL;
}

double dw_gguf_element(const dw_gguf_field *f, uint64_t i)
{
    const unsigned char *p = f->at + i * types[f->type].bytes;
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
    } v;
    memcpy(&v, p, types[f->type].bytes);
    switch (f->type) {
    case DW_GGUF_U8:
    case DW_GGUF_BOOL:
        return v.u8;
    case DW_GGUF_I8:
        return v.i8;
    case DW_GGUF_U16:
        return v.u16;
    case DW_GGUF_I16:
        return v.i16;
    case DW_GGUF_U32:
        return v.u32;
    case DW_GGUF_I32:
        return v.i32;
    case DW_GGUF_U64:
        return (double)v.u64;
    case DW_GGUF_I64:
        return (double)v.i64;
    case DW_GGUF_F32:
        return (double)v.f32;
    default:
        return v.f64;
    }
}

static dw_status wrong(const dw_gguf_field *f, const char *wanted, dw_err *err)
{
    return dw_fail(err, DW_E_INPUT, "%s is %s%s, wanted %s", f->key, f->array ? "an array of " : "",
                   types[f->type].name, wanted);
}

static bool is_number(const dw_gguf_field *f)
{
    return !f->array && f->type != DW_GGUF_STRING && f->type != DW_GGUF_BOOL;
}

dw_status dw_gguf_int(const dw_gguf *g, const char *key, int64_t lo, int64_t hi, bool *there,
                      int64_t *out, dw_err *err)
{
    const dw_gguf_field *f = dw_gguf_find(g, key);
    *there = f != NULL;
    if (!f)
        return DW_OK;
    if (!is_number(f) || f->type == DW_GGUF_F32 || f->type == DW_GGUF_F64)
        return wrong(f, "an integer", err);
    double x = dw_gguf_element(f, 0);
    if (!(x >= (double)lo && x <= (double)hi))
        return dw_fail(err, DW_E_INPUT, "%s is %.17g, wanted %lld to %lld", key, x, (long long)lo,
                       (long long)hi);
    *out = (int64_t)x;
    return DW_OK;
}

dw_status dw_gguf_num(const dw_gguf *g, const char *key, double lo, double hi, bool *there,
                      double *out, dw_err *err)
{
    const dw_gguf_field *f = dw_gguf_find(g, key);
    *there = f != NULL;
    if (!f)
        return DW_OK;
    if (!is_number(f))
        return wrong(f, "a number", err);
    double x = dw_gguf_element(f, 0);
    if (!(x >= lo && x <= hi))
        return dw_fail(err, DW_E_INPUT, "%s is %g, wanted %g to %g", key, x, lo, hi);
    *out = x;
    return DW_OK;
}

dw_status dw_gguf_bool(const dw_gguf *g, const char *key, bool *there, bool *out, dw_err *err)
{
    const dw_gguf_field *f = dw_gguf_find(g, key);
    *there = f != NULL;
    if (!f)
        return DW_OK;
    if (f->array || f->type != DW_GGUF_BOOL)
        return wrong(f, "a bool", err);
    *out = f->at[0] != 0;
    return DW_OK;
}

static dw_text text_at(const unsigned char *p)
{
    uint64_t n;
    memcpy(&n, p, 8);
    return (dw_text){(const char *)p + 8, (size_t)n};
}

dw_status dw_gguf_str(const dw_gguf *g, const char *key, bool *there, dw_text *out, dw_err *err)
{
    const dw_gguf_field *f = dw_gguf_find(g, key);
    *there = f != NULL;
    if (!f)
        return DW_OK;
    if (f->array || f->type != DW_GGUF_STRING)
        return wrong(f, "a string", err);
    *out = text_at(f->at);
    if (!dw_utf8_valid(out->ptr, out->len))
        return dw_fail(err, DW_E_INPUT, "%s is not UTF-8", key);
    return DW_OK;
}

dw_status dw_gguf_strings(dw_gguf *g, const char *key, const dw_text **out, size_t *n, dw_err *err)
{
    const dw_gguf_field *f = dw_gguf_find(g, key);
    *n = 0;
    *out = NULL;
    if (!f)
        return DW_OK;
    if (!f->array || f->type != DW_GGUF_STRING)
        return wrong(f, "an array of strings", err);
    dw_text *list = dw_arena_alloc(&g->arena, ((size_t)f->n + 1) * sizeof *list);
    const unsigned char *p = f->at;
    for (uint64_t i = 0; i < f->n; i++) {
        list[i] = text_at(p);
        p += 8 + list[i].len;
    }
    *n = (size_t)f->n;
    *out = list;
    return DW_OK;
}
