/* Normalizers of tokenizer.json, step by step over two buffers. */
#include "text/normalize.h"

#include <string.h>

#include "base/alloc.h"

static const char *const form_name[] = {"NFC", "NFD", "NFKC", "NFKD"};

/* ---- reading ---- */

dw_status dw_pattern_read(const dw_json *owner, dw_pattern *out, dw_err *err)
{
    const dw_json *pattern = dw_json_get(owner, "pattern");
    const dw_json *regex = dw_json_get(pattern, "Regex"), *s = dw_json_get(pattern, "String");
    *out = (dw_pattern){0};
    if (regex && dw_json_kind(regex) == DW_JSON_STRING)
        return dw_regex_compile(dw_json_str(regex), &out->regex, err);
    if (!s || dw_json_kind(s) != DW_JSON_STRING)
        return dw_fail(err, DW_E_INPUT,
                       "pattern: wanted {\"String\": ...} or {\"Regex\": ...}, found %s%s",
                       pattern && dw_json_first(pattern) ? dw_json_key(dw_json_first(pattern))
                                                         : dw_json_kind_name(pattern),
                       s || regex ? " that is no string" : "");
    if (!dw_json_str(s).len)
        return dw_fail(err, DW_E_INPUT, "pattern: the string is empty");
    out->text = dw_json_str(s);
    return DW_OK;
}

static dw_status read_string(const dw_json *o, const char *key, char **out, size_t *n, dw_err *err)
{
    const dw_json *v = dw_json_get(o, key);
    if (!v || dw_json_kind(v) != DW_JSON_STRING)
        return dw_fail(err, DW_E_INPUT, "%s: wanted a string, found %s", key, dw_json_kind_name(v));
    *n = dw_json_str(v).len;
    *out = dw_strndup(dw_json_str(v).ptr, *n);
    return DW_OK;
}

static dw_status read_replace(dw_normalize_step *s, const dw_json *o, dw_err *err)
{
    dw_pattern p;
    DW_TRY(dw_pattern_read(o, &p, err));
    s->regex = p.regex;
    s->n_from = p.text.len;
    s->from = p.regex ? NULL : dw_strndup(p.text.ptr, p.text.len);
    return read_string(o, "content", &s->to, &s->n_to, err);
}

static dw_status read_charsmap(dw_normalize_step *s, const dw_json *o, dw_err *err)
{
    const dw_json *map = dw_json_get(o, "precompiled_charsmap");
    if (!map || dw_json_kind(map) != DW_JSON_STRING)
        return dw_fail(err, DW_E_INPUT, "precompiled_charsmap: wanted a string, found %s",
                       dw_json_kind_name(map));
    return dw_charsmap_read(&s->map, dw_json_str(map), err);
}

static dw_status read_step(dw_normalize_step *s, const char *type, const dw_json *o, dw_err *err)
{
    for (int f = 0; f < 4; f++)
        if (!strcmp(type, form_name[f])) {
            s->kind = DW_NORMALIZE_FORM;
            s->form = (dw_unicode_form)f;
            return DW_OK;
        }
    if (!strcmp(type, "Lowercase")) {
        s->kind = DW_NORMALIZE_LOWERCASE;
        return DW_OK;
    }
    if (!strcmp(type, "StripAccents")) {
        s->kind = DW_NORMALIZE_STRIP_ACCENTS;
        return DW_OK;
    }
    if (!strcmp(type, "Strip")) {
        s->kind = DW_NORMALIZE_STRIP;
        DW_TRY(dw_json_get_bool(o, "strip_left", true, &s->left, err));
        return dw_json_get_bool(o, "strip_right", true, &s->right, err);
    }
    if (!strcmp(type, "Prepend")) {
        s->kind = DW_NORMALIZE_PREPEND;
        return read_string(o, "prepend", &s->to, &s->n_to, err);
    }
    if (!strcmp(type, "Replace")) {
        s->kind = DW_NORMALIZE_REPLACE;
        return read_replace(s, o, err);
    }
    if (!strcmp(type, "Precompiled")) {
        s->kind = DW_NORMALIZE_CHARSMAP;
        return read_charsmap(s, o, err);
    }
    return dw_fail(err, DW_E_INPUT,
                   "not supported (NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, "
                   "Prepend, Precompiled and Sequence are)");
}

static dw_status read_one(dw_normalize *z, const dw_json *o, int depth, dw_err *err)
{
    const char *type;
    if (dw_json_kind(o) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(o));
    DW_TRY(dw_json_get_cstr(o, "type", NULL, &type, err));
    if (!type)
        return dw_fail(err, DW_E_INPUT, "type is missing");
    if (z->n == DW_NORMALIZE_STEPS || depth > 4)
        return dw_fail(err, DW_E_INPUT, "more than %d steps", DW_NORMALIZE_STEPS);
    if (strcmp(type, "Sequence") != 0) {
        dw_status st = read_step(&z->step[z->n++], type, o, err);
        if (st)
            dw_err_prefix(err, "%s", type);
        return st;
    }
    const dw_json *list = dw_json_get(o, "normalizers");
    if (!list || dw_json_kind(list) != DW_JSON_ARRAY)
        return dw_fail(err, DW_E_INPUT, "Sequence: normalizers: wanted an array, found %s",
                       dw_json_kind_name(list));
    for (const dw_json *e = dw_json_first(list); e; e = dw_json_next(e))
        DW_TRY(read_one(z, e, depth + 1, err));
    return DW_OK;
}

dw_status dw_normalize_read(dw_normalize *z, const dw_json *object, dw_err *err)
{
    if (!object || dw_json_kind(object) == DW_JSON_NULL)
        return DW_OK;
    dw_status st = read_one(z, object, 0, err);
    if (st)
        dw_err_prefix(err, "normalizer");
    return st;
}

void dw_normalize_finish(dw_normalize *z)
{
    for (size_t i = 0; i < z->n; i++) {
        dw_free(z->step[i].from);
        dw_free(z->step[i].to);
        dw_regex_free(z->step[i].regex);
        dw_charsmap_finish(&z->step[i].map);
    }
    z->n = 0;
}

const char *dw_normalize_form_name(const dw_normalize *z)
{
    for (size_t i = 0; i < z->n; i++)
        if (z->step[i].kind == DW_NORMALIZE_FORM)
            return form_name[z->step[i].form];
    return "";
}

void dw_normalize_scratch_finish(dw_normalize_scratch *s)
{
    dw_buf_finish(&s->a);
    dw_buf_finish(&s->b);
    dw_regex_scratch_free(s->match);
    *s = (dw_normalize_scratch){0};
}

/* ---- running: each gives the text itself where nothing changes, or what it wrote ---- */

static dw_text written(const dw_buf *b)
{
    return (dw_text){b->ptr ? b->ptr : "", b->len};
}

static dw_text lowercase(dw_text t, dw_buf *out)
{
    for (size_t i = 0; i < t.len;) {
        int len;
        uint32_t c = dw_unicode_at(t.ptr + i, t.len - i, &len);
        if (c < 0x80)
            dw_buf_addc(out, (char)(c >= 'A' && c <= 'Z' ? c + 32 : c));
        else
            dw_unicode_put_lower(out, c);
        i += (size_t)len;
    }
    return written(out);
}

static dw_text strip(const dw_normalize_step *s, dw_text t)
{
    int len;
    while (s->left && t.len && dw_unicode_is_space(dw_unicode_at(t.ptr, t.len, &len))) {
        t.ptr += len;
        t.len -= (size_t)len;
    }
    while (s->right && t.len) {
        size_t at = dw_unicode_before(t.ptr, t.len);
        if (!dw_unicode_is_space(dw_unicode_at(t.ptr + at, t.len - at, &len)))
            break;
        t.len = at;
    }
    return t;
}

static dw_text strip_accents(dw_text t, dw_buf *out)
{
    for (size_t i = 0; i < t.len;) {
        int len;
        if (!dw_unicode_is_mark(dw_unicode_at(t.ptr + i, t.len - i, &len)))
            dw_buf_add(out, t.ptr + i, (size_t)len);
        i += (size_t)len;
    }
    return written(out);
}

static dw_status run_step(const dw_normalize_step *s, dw_normalize_scratch *scratch, dw_buf *out,
                          dw_text *t, dw_err *err)
{
    switch (s->kind) {
    case DW_NORMALIZE_FORM:
        if (dw_unicode_surely_in(s->form, *t))
            return DW_OK;
        DW_TRY(dw_unicode_to_form(s->form, *t, out, err));
        *t = written(out);
        return DW_OK;
    case DW_NORMALIZE_LOWERCASE:
        *t = lowercase(*t, out);
        return DW_OK;
    case DW_NORMALIZE_STRIP:
        *t = strip(s, *t);
        return DW_OK;
    case DW_NORMALIZE_STRIP_ACCENTS:
        *t = strip_accents(*t, out);
        return DW_OK;
    case DW_NORMALIZE_PREPEND:
        dw_buf_add(out, s->to, s->n_to);
        dw_buf_add(out, t->ptr, t->len);
        *t = written(out);
        return DW_OK;
    case DW_NORMALIZE_CHARSMAP:
        dw_charsmap_run(&s->map, *t, out);
        *t = written(out);
        return DW_OK;
    default:
        break;
    }
    if (s->from) {
        if (!memmem(t->ptr, t->len, s->from, s->n_from))
            return DW_OK;
        dw_unicode_replace(*t, (dw_text){s->from, s->n_from}, (dw_text){s->to, s->n_to}, out);
        *t = written(out);
        return DW_OK;
    }
    if (!scratch->match)
        scratch->match = dw_regex_scratch_create();
    DW_TRY(dw_regex_replace(s->regex, scratch->match, *t, (dw_text){s->to, s->n_to}, out, err));
    *t = written(out);
    return DW_OK;
}

dw_status dw_normalize_run(const dw_normalize *z, dw_normalize_scratch *s, dw_text text,
                           dw_text *out, dw_err *err)
{
    dw_text t = text;
    for (size_t i = 0; i < z->n && t.len; i++) {
        dw_buf *to = s->a.ptr && t.ptr >= s->a.ptr && t.ptr <= s->a.ptr + s->a.len ? &s->b : &s->a;
        dw_buf_clear(to);
        DW_TRY(run_step(&z->step[i], s, to, &t, err));
    }
    *out = t;
    return DW_OK;
}
