/* Columns: a field, a format string or a Lua function of the row. */
#include "data/column.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json_scan.h"

enum { MAX_PIECES = 256 };

bool dw_column_is_set(const dw_column *c)
{
    return c->field || c->format || c->lua;
}

/* ---- format strings ---- */

static dw_status add_piece(dw_arena *a, dw_column_plan *p, dw_buf *literal, const char *field,
                           dw_err *err)
{
    if (p->n + 2 > MAX_PIECES)
        return dw_fail(err, DW_E_RECIPE, "more than %d pieces", MAX_PIECES);
    if (literal->len) {
        dw_text t = {dw_arena_strndup(a, literal->ptr, literal->len), literal->len};
        p->piece[p->n++] = (dw_column_piece){t, NULL};
        dw_buf_clear(literal);
    }
    if (field)
        p->piece[p->n++] = (dw_column_piece){{0}, field};
    return DW_OK;
}

static dw_status read_format(dw_arena *a, const char *format, dw_column_plan *p, dw_buf *literal,
                             dw_err *err)
{
    const char *s = format;
    while (*s) {
        size_t n = strcspn(s, "{}");
        dw_buf_add(literal, s, n);
        s += n;
        if (!*s)
            break;
        if (s[0] == s[1]) {
            dw_buf_addc(literal, *s);
            s += 2;
            continue;
        }
        size_t at = (size_t)(s - format) + 1;
        if (*s == '}')
            return dw_fail(err, DW_E_RECIPE,
                           "'}' at byte %zu closes nothing (write '}}' for a brace)", at);
        n = strcspn(++s, "{}");
        if (s[n] != '}')
            return dw_fail(err, DW_E_RECIPE,
                           "'{' at byte %zu is never closed (write '{{' for a brace)", at);
        if (!n)
            return dw_fail(err, DW_E_RECIPE, "'{}' at byte %zu names no field", at);
        DW_TRY(add_piece(a, p, literal, dw_arena_strndup(a, s, n), err));
        s += n + 1;
    }
    return add_piece(a, p, literal, NULL, err);
}

dw_status dw_column_compile(dw_arena *a, const dw_column *c, const char *name, dw_column_plan *out,
                            dw_err *err)
{
    *out = (dw_column_plan){.lua = c->lua};
    out->piece = dw_arena_alloc(a, MAX_PIECES * sizeof *out->piece);
    if (c->lua)
        return DW_OK;
    if (!c->format) {
        out->piece[out->n++].field = c->field ? c->field : name;
        return DW_OK;
    }
    dw_buf literal = {0};
    dw_status st = read_format(a, c->format, out, &literal, err);
    dw_buf_finish(&literal);
    if (st)
        dw_err_prefix(err, "%s: format \"%s\"", name, c->format);
    return st;
}

/* ---- values ---- */

static dw_text raw_element(dw_text raw, const char *part, size_t n)
{
    const char *p = raw.ptr + 1, *end = raw.ptr + raw.len;
    size_t i = 0;
    for (size_t k = 0; k < n; k++)
        i = i * 10 + (size_t)(part[k] - '0');
    for (;; i--) {
        p += dw_json_space(p, end);
        size_t len = dw_json_skip(p, end);
        if (!i)
            return (dw_text){p, len};
        p += len;
        p += dw_json_space(p, end) + 1;
    }
}

static dw_text raw_member(dw_arena *a, dw_text raw, const char *key, size_t n)
{
    dw_json_member *m;
    size_t count = dw_json_members(a, raw.ptr, raw.len, &m);
    for (size_t i = 0; i < count; i++)
        if (dw_text_eq(m[i].key, (dw_text){key, n}))
            return m[i].raw;
    return (dw_text){0};
}

/* The bytes of the value that dw_json_path finds: a number is taken as the row spells it. */
static dw_text raw_path(dw_arena *a, dw_text raw, const char *path)
{
    dw_text whole = raw_member(a, raw, path, strlen(path));
    if (whole.ptr)
        return whole;
    while (*path && raw.ptr) {
        size_t n = strcspn(path, ".");
        raw = *raw.ptr == '[' ? raw_element(raw, path, n) : raw_member(a, raw, path, n);
        path += n + (path[n] == '.');
    }
    return raw;
}

size_t dw_column_at(dw_arena *a, dw_text raw, const char *field)
{
    const char *p = raw_path(a, raw, field).ptr;
    return p ? (size_t)(p - raw.ptr) : 0;
}

dw_status dw_column_missing(const dw_json *row, const char *field, dw_err *err)
{
    const char *names[65];
    size_t n = 0;
    dw_buf list = {0};
    for (const dw_json *m = dw_json_first(row); m && n < 64; m = dw_json_next(m)) {
        names[n++] = dw_json_key(m);
        if (n <= 12)
            dw_buf_printf(&list, "%s%s", n > 1 ? ", " : "", dw_json_key(m));
    }
    names[n] = NULL;
    const char *near = dw_nearest(field, names);
    dw_fail(err, DW_E_INPUT, "no field \"%s\"%s%s%s (the row has: %s%s)", field,
            near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "",
            list.len ? list.ptr : "nothing", n > 12 ? ", ..." : "");
    dw_buf_finish(&list);
    return DW_E_INPUT;
}

static dw_status value_of(dw_arena *a, const dw_column_row *row, const char *field, dw_text *out,
                          size_t *at, dw_err *err)
{
    const dw_json *v = dw_json_path(row->json, field);
    if (!v)
        return dw_column_missing(row->json, field, err);
    switch (dw_json_kind(v)) {
    case DW_JSON_STRING:
        *out = dw_json_str(v);
        return DW_OK;
    case DW_JSON_NUMBER:
    case DW_JSON_BOOL:
        *out = raw_path(a, row->raw, field);
        return DW_OK;
    default:
        *at = dw_column_at(a, row->raw, field);
        return dw_fail(err, DW_E_INPUT, "field \"%s\": wanted text, found %s", field,
                       dw_json_kind_name(v));
    }
}

static void add_part(dw_column_text *t, dw_text text, bool literal)
{
    if (!text.len)
        return;
    t->part[t->n++] = (dw_tok_part){text, literal};
    t->len += text.len;
}

static dw_status call_lua(dw_arena *a, const char *fn, const dw_column_row *row, dw_text *out,
                          bool *json, dw_err *err)
{
    dw_buf b = {0};
    *json = false;
    if (!row->fn)
        return dw_fail(err, DW_E_BUG, "no Lua to run the function '%s'", fn);
    dw_status st = row->fn(row->fn_ctx, fn, row->raw, &b, json, err);
    if (!st && !dw_utf8_valid(b.ptr ? b.ptr : "", b.len))
        st = dw_fail(err, DW_E_INPUT, "%s: the result is not UTF-8", fn);
    if (!st)
        *out = (dw_text){dw_arena_strndup(a, b.ptr ? b.ptr : "", b.len), b.len};
    dw_buf_finish(&b);
    return st;
}

static dw_status read_made(const char *fn, dw_text text, dw_json **own, dw_err *err)
{
    dw_status st = dw_json_parse(text.ptr, text.len, DW_JSON_DEPTH_ROW, 1, own, err);
    if (st < 0)
        dw_err_prefix(err, "%s: the result is to be JSON", fn);
    return st;
}

dw_status dw_column_call(dw_arena *a, dw_column_plan *p, const dw_column_row *row, dw_json **own,
                         dw_err *err)
{
    bool json;
    *own = NULL;
    p->made = NULL;
    DW_TRY(call_lua(a, p->lua, row, &p->said, &json, err));
    if (json)
        DW_TRY(read_made(p->lua, p->said, own, err));
    p->made = *own;
    p->called = true;
    return DW_OK;
}

/* Text of a function. */
static dw_status said_by(dw_arena *a, const dw_column_plan *p, const dw_column_row *row,
                         dw_text *out, dw_err *err)
{
    bool json = p->made != NULL;
    *out = p->said;
    if (!p->called)
        DW_TRY(call_lua(a, p->lua, row, out, &json, err));
    return json ? dw_fail(err, DW_E_INPUT,
                          "%s: wanted text, or messages where a row may have them (a list of "
                          "{role = ..., content = ...}), the function returned another table",
                          p->lua)
                : DW_OK;
}

dw_status dw_column_apply(dw_arena *a, const dw_column_plan *p, const dw_column_row *row,
                          dw_column_text *out, size_t *at, dw_err *err)
{
    *at = 0;
    *out = (dw_column_text){0};
    out->part = dw_arena_alloc(a, (p->n + 1) * sizeof *out->part);
    if (p->lua) {
        dw_text said;
        DW_TRY(said_by(a, p, row, &said, err));
        add_part(out, said, false);
        return DW_OK;
    }
    for (size_t i = 0; i < p->n; i++) {
        dw_text t = p->piece[i].literal;
        if (p->piece[i].field)
            DW_TRY(value_of(a, row, p->piece[i].field, &t, at, err));
        add_part(out, t, !p->piece[i].field);
    }
    return DW_OK;
}

const char *dw_column_field(const dw_column_plan *p)
{
    return !p->lua && p->n == 1 ? p->piece[0].field : NULL;
}

/* A cell of a table that holds JSON stands for it; any other stays the text it is. */
static void read_cell(const dw_json **out, dw_json **own)
{
    dw_err no;
    dw_text t = dw_json_kind(*out) == DW_JSON_STRING ? dw_json_str(*out) : (dw_text){0};
    if (t.len && dw_json_parse(t.ptr, t.len, DW_JSON_DEPTH_ROW, 1, own, &no) >= 0)
        *out = *own;
}

dw_status dw_column_json(dw_arena *a, const dw_column_plan *p, const dw_column_row *row,
                         const dw_json **out, dw_json **own, size_t *at, dw_err *err)
{
    const char *field = dw_column_field(p);
    *at = 0;
    *own = NULL;
    if (field) {
        *out = dw_json_path(row->json, field);
        if (!*out)
            return dw_column_missing(row->json, field, err);
        *at = dw_column_at(a, row->raw, field);
        if (row->table)
            read_cell(out, own);
        return DW_OK;
    }
    dw_text said = {0};
    bool json;
    if (p->lua) {
        DW_TRY(call_lua(a, p->lua, row, &said, &json, err));
    } else {
        dw_column_text text;
        DW_TRY(dw_column_apply(a, p, row, &text, at, err));
        said = dw_column_flat(a, &text);
    }
    dw_status st = read_made(p->lua ? p->lua : "format", said, own, err);
    *out = *own;
    return st;
}

bool dw_column_there(const dw_column_plan *p, const dw_column_row *row)
{
    const char *field = dw_column_field(p);
    const dw_json *v = field ? dw_json_path(row->json, field) : NULL;
    if (row->table && v && dw_json_kind(v) == DW_JSON_STRING && !dw_json_str(v).len)
        return false;
    return !field || (v && dw_json_kind(v) != DW_JSON_NULL);
}

/* ---- pieces of a text ---- */

dw_column_text dw_column_slice(dw_arena *a, const dw_column_text *t, size_t from, size_t to)
{
    dw_column_text out = {.part = dw_arena_alloc(a, (t->n + 1) * sizeof *out.part)};
    size_t start = 0;
    for (size_t i = 0; i < t->n; i++) {
        size_t end = start + t->part[i].text.len;
        size_t lo = from > start ? from : start, hi = to < end ? to : end;
        if (lo < hi)
            add_part(&out, (dw_text){t->part[i].text.ptr + (lo - start), hi - lo},
                     t->part[i].literal);
        start = end;
    }
    return out;
}

dw_text dw_column_flat(dw_arena *a, const dw_column_text *t)
{
    if (t->n == 1)
        return t->part[0].text;
    char *p = dw_arena_alloc(a, t->len + 1);
    size_t at = 0;
    for (size_t i = 0; i < t->n; i++) {
        memcpy(p + at, t->part[i].text.ptr, t->part[i].text.len);
        at += t->part[i].text.len;
    }
    return (dw_text){p, at};
}
