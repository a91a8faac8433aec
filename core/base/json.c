/* cJSON behind the strict pre-scan: reading, walking, typed access. */
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/json_build.h"
#include "base/json_scan.h"

/* A dw_json is a cJSON node. cJSON ends strings at NUL, so U+0000 travels through it as the
 * overlong form C0 80, which no valid text contains; restore_nul turns it back and keeps the
 * string's length in valuedouble, which cJSON leaves 0 for strings. */
static const cJSON *node(const dw_json *v)
{
    return (const cJSON *)(const void *)v;
}

static void restore_nul(cJSON *v)
{
    for (; v; v = v->next) {
        if (v->child)
            restore_nul(v->child);
        if (!cJSON_IsString(v) || !strstr(v->valuestring, "\xc0\x80"))
            continue;
        size_t n = 0;
        for (const char *p = v->valuestring; *p;) {
            bool nul = p[0] == '\xc0' && p[1] == '\x80';
            v->valuestring[n++] = nul ? 0 : *p;
            p += nul ? 2 : 1;
        }
        v->valuestring[n] = 0;
        v->valuedouble = (double)n;
    }
}

/* Walks the text beside the tree and gives odd numbers their digits, in the field that cJSON keeps
 * for strings (and frees). */
static void keep_spelling(cJSON *v, const char **p, const char *end)
{
    *p += dw_json_space(*p, end);
    if (!cJSON_IsArray(v) && !cJSON_IsObject(v)) {
        const size_t n = dw_json_skip(*p, end);
        if (cJSON_IsNumber(v) && dw_json_odd_number(*p, n)) {
            v->valuestring = cJSON_malloc(n + 1);
            if (v->valuestring) {
                memcpy(v->valuestring, *p, n);
                v->valuestring[n] = 0;
            }
        }
        *p += n;
        return;
    }
    ++*p;
    for (cJSON *c = v->child; c; c = c->next) {
        *p += dw_json_space(*p, end);
        if (cJSON_IsObject(v)) {
            *p += dw_json_skip(*p, end);
            *p += dw_json_space(*p, end) + 1;
        }
        keep_spelling(c, p, end);
        *p += dw_json_space(*p, end);
        *p += c->next != NULL; /* the comma */
    }
    *p += dw_json_space(*p, end);
    ++*p;
}

static char *smuggle_nul(const char *text, size_t n, size_t *out_n)
{
    char *copy = dw_alloc(n + 1);
    size_t m = 0;
    for (size_t i = 0; i < n;) {
        if (text[i] == '\\' && text[i + 1] == 'u' && !memcmp(text + i + 2, "0000", 4)) {
            copy[m++] = '\xc0';
            copy[m++] = '\x80';
            i += 6;
        } else {
            bool escape = text[i] == '\\';
            copy[m++] = text[i++];
            if (escape)
                copy[m++] = text[i++];
        }
    }
    *out_n = m;
    return copy;
}

dw_status dw_json_parse(const char *text, size_t n, int max_depth, int first_line, dw_json **out,
                        dw_err *err)
{
    size_t nul, odd;
    *out = NULL;
    DW_TRY(dw_json_scan(text, n, max_depth, first_line, &nul, &odd, err));
    const char *spelt = odd ? text : NULL, *spelt_end = text + n;
    char *copy = nul ? smuggle_nul(text, n, &n) : NULL;
    cJSON *v = cJSON_ParseWithLength(copy ? copy : text, n);
    dw_free(copy);
    if (!v)
        return dw_fail(err, DW_E_LIMIT, "line %d: out of memory while reading JSON", first_line);
    if (nul)
        restore_nul(v);
    if (spelt)
        keep_spelling(v, &spelt, spelt_end);
    *out = (dw_json *)(void *)v;
    return DW_OK;
}

dw_status dw_json_read(const char *path, size_t max_bytes, dw_json **out, dw_err *err)
{
    dw_buf text = {0};
    *out = NULL;
    dw_status st = dw_file_read(path, max_bytes, &text, err);
    if (!st) {
        dw_text t = dw_buf_text(&text);
        st = dw_json_parse(t.ptr, t.len, DW_JSON_DEPTH_HEADER, 1, out, err);
        if (st)
            dw_err_prefix(err, "%s", path);
    }
    dw_buf_finish(&text);
    return st;
}

void dw_json_free(dw_json *root)
{
    if (!dw_json_build_free(root))
        cJSON_Delete((cJSON *)(void *)root);
}

dw_json_type dw_json_kind(const dw_json *v)
{
    switch (v ? node(v)->type & 0xff : cJSON_NULL) { /* above are marks of how the node is kept */
    case cJSON_True:
    case cJSON_False:
        return DW_JSON_BOOL;
    case cJSON_Number:
        return DW_JSON_NUMBER;
    case cJSON_String:
        return DW_JSON_STRING;
    case cJSON_Array:
        return DW_JSON_ARRAY;
    case cJSON_Object:
        return DW_JSON_OBJECT;
    default:
        return DW_JSON_NULL;
    }
}

const char *dw_json_kind_name(const dw_json *v)
{
    static const char *const name[] = {"null",     "true or false", "a number",
                                       "a string", "an array",      "an object"};
    return v ? name[dw_json_kind(v)] : "nothing";
}

const dw_json *dw_json_get(const dw_json *v, const char *key)
{
    if (!v || dw_json_kind(v) != DW_JSON_OBJECT)
        return NULL;
    /* Rows are asked for many names that they do not have: the first byte tells most apart. */
    for (const cJSON *c = node(v)->child; c; c = c->next)
        if (*c->string == *key && !strcmp(c->string, key))
            return (const dw_json *)c;
    return NULL;
}

static const dw_json *step_into(const dw_json *v, const char *part, size_t n)
{
    const cJSON *c;
    if (dw_json_kind(v) == DW_JSON_ARRAY) {
        char *end;
        unsigned long i = strtoul(part, &end, 10);
        if (part[0] < '0' || part[0] > '9' || end != part + n)
            return NULL;
        cJSON_ArrayForEach(c, node(v)) if (!i--) return (const dw_json *)c;
    } else if (dw_json_kind(v) == DW_JSON_OBJECT) {
        cJSON_ArrayForEach(c, node(v)) if (strlen(c->string) == n &&
                                           !memcmp(c->string, part, n)) return (const dw_json *)c;
    }
    return NULL;
}

const dw_json *dw_json_path(const dw_json *v, const char *path)
{
    /* A key that holds dots itself wins over a path. */
    const dw_json *whole = dw_json_get(v, path);
    if (whole || (v && dw_json_kind(v) == DW_JSON_OBJECT && !strchr(path, '.')))
        return whole;
    while (v && *path) {
        size_t n = strcspn(path, ".");
        v = step_into(v, path, n);
        path += n + (path[n] == '.');
    }
    return v;
}

const dw_json *dw_json_first(const dw_json *v)
{
    return v ? (const dw_json *)node(v)->child : NULL;
}

const dw_json *dw_json_next(const dw_json *v)
{
    return (const dw_json *)node(v)->next;
}

const char *dw_json_key(const dw_json *v)
{
    return node(v)->string;
}

size_t dw_json_len(const dw_json *v)
{
    size_t n = 0;
    for (const dw_json *c = dw_json_first(v); c; c = dw_json_next(c))
        n++;
    return n;
}

double dw_json_num(const dw_json *v)
{
    return node(v)->valuedouble;
}

bool dw_json_bool(const dw_json *v)
{
    return cJSON_IsTrue(node(v));
}

dw_text dw_json_str(const dw_json *v)
{
    const cJSON *c = node(v);
    return (dw_text){c->valuestring,
                     c->valuedouble > 0 ? (size_t)c->valuedouble : strlen(c->valuestring)};
}

dw_text dw_json_spelling(const dw_json *v)
{
    const cJSON *c = node(v);
    return c->valuestring && cJSON_IsNumber(c) ? dw_text_of(c->valuestring) : DW_TEXT("");
}

bool dw_json_int(const dw_json *v, int64_t *out)
{
    if (!v || dw_json_kind(v) != DW_JSON_NUMBER)
        return false;
    double x = dw_json_num(v);
    if (x != floor(x) || fabs(x) > 9007199254740992.0)
        return false;
    *out = (int64_t)x;
    return true;
}

/* The member, or NULL where it is missing or null. */
static const dw_json *present(const dw_json *obj, const char *key)
{
    const dw_json *v = dw_json_get(obj, key);
    return v && dw_json_kind(v) != DW_JSON_NULL ? v : NULL;
}

dw_status dw_json_get_int(const dw_json *obj, const char *key, int64_t fallback, int64_t lo,
                          int64_t hi, int64_t *out, dw_err *err)
{
    const dw_json *v = present(obj, key);
    *out = fallback;
    if (!v)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_NUMBER)
        return dw_fail(err, DW_E_INPUT, "%s: wanted an integer, found %s", key,
                       dw_json_kind_name(v));
    if (!dw_json_int(v, out))
        return dw_fail(err, DW_E_INPUT, "%s: wanted an integer, found %.17g", key, dw_json_num(v));
    if (*out < lo || *out > hi)
        return dw_fail(err, DW_E_INPUT, "%s: %lld is outside %lld .. %lld", key, (long long)*out,
                       (long long)lo, (long long)hi);
    return DW_OK;
}

dw_status dw_json_get_num(const dw_json *obj, const char *key, double fallback, double lo,
                          double hi, double *out, dw_err *err)
{
    const dw_json *v = present(obj, key);
    *out = fallback;
    if (!v)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_NUMBER)
        return dw_fail(err, DW_E_INPUT, "%s: wanted a number, found %s", key, dw_json_kind_name(v));
    *out = dw_json_num(v);
    if (*out < lo || *out > hi)
        return dw_fail(err, DW_E_INPUT, "%s: %.17g is outside %g .. %g", key, *out, lo, hi);
    return DW_OK;
}

dw_status dw_json_get_bool(const dw_json *obj, const char *key, bool fallback, bool *out,
                           dw_err *err)
{
    const dw_json *v = present(obj, key);
    *out = fallback;
    if (!v)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_BOOL)
        return dw_fail(err, DW_E_INPUT, "%s: wanted true or false, found %s", key,
                       dw_json_kind_name(v));
    *out = dw_json_bool(v);
    return DW_OK;
}

dw_status dw_json_get_cstr(const dw_json *obj, const char *key, const char *fallback,
                           const char **out, dw_err *err)
{
    const dw_json *v = present(obj, key);
    *out = fallback;
    if (!v)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_STRING)
        return dw_fail(err, DW_E_INPUT, "%s: wanted a string, found %s", key, dw_json_kind_name(v));
    dw_text t = dw_json_str(v);
    if (memchr(t.ptr, 0, t.len))
        return dw_fail(err, DW_E_INPUT, "%s: holds U+0000", key);
    *out = t.ptr;
    return DW_OK;
}

size_t dw_json_members(dw_arena *a, const char *text, size_t n, dw_json_member **out)
{
    const char *p = text, *end = text + n;
    dw_json_member *list = NULL;
    size_t count = 0, cap = 0;
    dw_buf word = {0};
    *out = NULL;
    p += dw_json_space(p, end);
    if (p == end || *p != '{')
        return 0;
    for (p++; p += dw_json_space(p, end), *p != '}'; p += *p == ',') {
        p += dw_json_space(p, end);
        size_t key = dw_json_skip(p, end);
        dw_buf_clear(&word);
        dw_json_unescape(p + 1, key - 2, &word);
        p += key;
        p += dw_json_space(p, end) + 1;
        p += dw_json_space(p, end);
        size_t raw = dw_json_skip(p, end);
        DW_GROW(list, count, cap);
        list[count++] = (dw_json_member){
            {dw_arena_strndup(a, word.ptr ? word.ptr : "", word.len), word.len}, {p, raw}};
        p += raw;
        p += dw_json_space(p, end);
    }
    dw_buf_finish(&word);
    *out = dw_arena_alloc(a, count * sizeof *list + 1);
    if (count)
        memcpy(*out, list, count * sizeof *list);
    dw_free(list);
    return count;
}
