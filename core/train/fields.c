/* Typed access to plan objects: one place for "expected X, got Y" with the dotted path. */
#include "train/fields.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *dw_fields_path(const dw_fields *f, const char *key)
{
    if (!key)
        return f->path;
    return f->path[0] ? dw_arena_printf(f->arena, "%s.%s", f->path, key) : key;
}

dw_status dw_fields_fail(const dw_fields *f, const char *key, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const char *path = dw_fields_path(f, key);
    return dw_fail(f->err, DW_E_RECIPE, "%s%s%s", path, path[0] ? ": " : "", text);
}

dw_status dw_fields_open(const dw_fields *parent, const dw_json *v, const char *path,
                         const char *const *keys, dw_fields *out)
{
    *out = (dw_fields){v, path, parent->arena, parent->err};
    if (!v || dw_json_kind(v) != DW_JSON_OBJECT)
        return dw_fields_fail(out, NULL, "expected a table, got %s", dw_json_kind_name(v));
    for (const dw_json *m = dw_json_first(v); m; m = dw_json_next(m)) {
        const char *const *k = keys;
        while (*k && strcmp(*k, dw_json_key(m)) != 0)
            k++;
        if (*k)
            continue;
        const char *near = dw_nearest(dw_json_key(m), keys);
        return dw_fields_fail(out, NULL, "no key '%s' here%s%s%s", dw_json_key(m),
                              near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return DW_OK;
}

const dw_json *dw_fields_get(const dw_fields *f, const char *key)
{
    const dw_json *v = dw_json_get(f->v, key);
    return v && dw_json_kind(v) != DW_JSON_NULL ? v : NULL;
}

dw_status dw_fields_int(const dw_fields *f, const char *key, int64_t fallback, int64_t lo,
                        int64_t hi, int64_t *out)
{
    const dw_json *v = dw_fields_get(f, key);
    *out = fallback;
    if (!v)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_NUMBER)
        return dw_fields_fail(f, key, "expected a whole number, got %s", dw_json_kind_name(v));
    if (!dw_json_int(v, out) || *out < lo || *out > hi)
        return dw_fields_fail(f, key, "expected a whole number from %lld to %lld, got %.17g",
                              (long long)lo, (long long)hi, dw_json_num(v));
    return DW_OK;
}

dw_status dw_fields_num(const dw_fields *f, const char *key, double fallback, double lo, double hi,
                        double *out)
{
    const dw_json *v = dw_fields_get(f, key);
    *out = fallback;
    if (!v)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_NUMBER)
        return dw_fields_fail(f, key, "expected a number, got %s", dw_json_kind_name(v));
    *out = dw_json_num(v);
    if (*out >= lo && *out <= hi)
        return DW_OK;
    dw_buf found = {0};
    dw_json_put_num(&found, *out);
    dw_status st =
        isinf(hi)
            ? dw_fields_fail(f, key, "expected a number from %g up, got %s", lo, found.ptr)
            : dw_fields_fail(f, key, "expected a number from %g to %g, got %s", lo, hi, found.ptr);
    dw_buf_finish(&found);
    return st;
}

dw_status dw_fields_bool(const dw_fields *f, const char *key, bool fallback, bool *out)
{
    const dw_json *v = dw_fields_get(f, key);
    *out = fallback;
    if (!v)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_BOOL)
        return dw_fields_fail(f, key, "expected true or false, got %s", dw_json_kind_name(v));
    *out = dw_json_bool(v);
    return DW_OK;
}

dw_status dw_fields_str(const dw_fields *f, const char *key, const char *fallback, const char **out)
{
    const dw_json *v = dw_fields_get(f, key);
    *out = fallback;
    if (!v && fallback)
        return DW_OK;
    if (!v || dw_json_kind(v) != DW_JSON_STRING)
        return dw_fields_fail(f, key, "expected a string, got %s", dw_json_kind_name(v));
    dw_text t = dw_json_str(v);
    if (!t.len || memchr(t.ptr, 0, t.len))
        return dw_fields_fail(f, key, "expected a string %s",
                              t.len ? "without a zero byte" : "that is not empty");
    *out = t.ptr;
    return DW_OK;
}

dw_status dw_fields_choice(const dw_fields *f, const char *key, const char *const *names,
                           int fallback, int *out)
{
    const char *s;
    DW_TRY(dw_fields_str(f, key, names[fallback], &s));
    dw_buf all = {0};
    for (*out = 0; names[*out]; ++*out) {
        if (!strcmp(names[*out], s)) {
            dw_buf_finish(&all);
            return DW_OK;
        }
        dw_buf_printf(&all, "%s'%s'", *out ? ", " : "", names[*out]);
    }
    const char *near = dw_nearest(s, names);
    dw_status st =
        dw_fields_fail(f, key, "expected one of %s, got '%s'%s%s%s", all.ptr, s,
                       near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
    dw_buf_finish(&all);
    return st;
}

dw_status dw_fields_list(const dw_fields *f, const char *key, const char *const **out, size_t *n)
{
    const dw_json *v = dw_fields_get(f, key);
    *out = NULL;
    *n = 0;
    if (!v)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_ARRAY)
        return dw_fields_fail(f, key, "expected a list of strings, got %s", dw_json_kind_name(v));
    const char **list = dw_arena_alloc(f->arena, (dw_json_len(v) + 1) * sizeof *list);
    for (const dw_json *e = dw_json_first(v); e; e = dw_json_next(e)) {
        if (dw_json_kind(e) != DW_JSON_STRING)
            return dw_fields_fail(f, key, "expected a list of strings, found %s in it",
                                  dw_json_kind_name(e));
        dw_text t = dw_json_str(e);
        if (!t.len || memchr(t.ptr, 0, t.len))
            return dw_fields_fail(f, key, "a string of the list is empty or holds a zero byte");
        list[(*n)++] = t.ptr;
    }
    *out = list;
    return DW_OK;
}

bool dw_fields_is_name(const char *s)
{
    if (!isalpha((unsigned char)s[0]) && s[0] != '_')
        return false;
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return !s[n] && n <= 64;
}
