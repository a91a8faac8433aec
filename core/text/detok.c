/* Reads the decoders of tokenizer.json, and decodes one token alone. */
#include "text/detok.h"

#include <string.h>

#include "base/alloc.h"
#include "text/chars.h"
#include "text/normalize.h"
#include "text/pretoken.h"
#include "text/unicode.h"

enum { MAX_STRIP = 1 << 20 };

static dw_status read_content(dw_detok_stage *s, const dw_json *o, char **to, size_t *n,
                              dw_err *err)
{
    const dw_json *v = dw_json_get(o, "content");
    if (!v || dw_json_kind(v) != DW_JSON_STRING)
        return dw_fail(err, DW_E_INPUT, "content: wanted a string, found %s", dw_json_kind_name(v));
    dw_text t = dw_json_str(v);
    if (s->kind == DW_DETOK_STRIP && (!t.len || (size_t)dw_utf8_len(t.ptr, t.len) != t.len))
        return dw_fail(err, DW_E_INPUT, "content: wanted one character, found %s",
                       dw_vocab_quoted(t).text);
    *to = dw_strndup(t.ptr, t.len);
    *n = t.len;
    return DW_OK;
}

static dw_status read_metaspace(dw_detok_stage *s, const dw_json *o, dw_err *err)
{
    dw_pretoken_scheme scheme;
    dw_text c;
    DW_TRY(dw_pretoken_read_scheme(o, &scheme, err));
    DW_TRY(dw_pretoken_read_replacement(o, &c, err));
    s->keeps_first = scheme == DW_PRETOKEN_NEVER;
    s->from = dw_strndup(c.ptr, c.len);
    s->n_from = c.len;
    s->to = dw_strdup(" ");
    s->n_to = 1;
    return DW_OK;
}

static dw_status read_strip(dw_detok_stage *s, const dw_json *o, dw_err *err)
{
    int64_t start, stop;
    DW_TRY(read_content(s, o, &s->from, &s->n_from, err));
    DW_TRY(dw_json_get_int(o, "start", 0, 0, MAX_STRIP, &start, err));
    DW_TRY(dw_json_get_int(o, "stop", 0, 0, MAX_STRIP, &stop, err));
    s->start = (size_t)start;
    s->stop = (size_t)stop;
    return DW_OK;
}

static dw_status read_replace(dw_detok_stage *s, const dw_json *o, dw_err *err)
{
    dw_pattern p;
    DW_TRY(dw_pattern_read(o, &p, err));
    s->regex = p.regex;
    s->from = p.regex ? NULL : dw_strndup(p.text.ptr, p.text.len);
    s->n_from = p.text.len;
    return read_content(s, o, &s->to, &s->n_to, err);
}

static dw_status read_stage(dw_detok_stage *s, const char *type, const dw_json *o, dw_err *err)
{
    static const char *const name[] = {"ByteLevel", "Metaspace", "ByteFallback",
                                       "Fuse",      "Strip",     "Replace"};
    size_t k = 0;
    while (k < 6 && strcmp(type, name[k]) != 0)
        k++;
    if (k == 6)
        return dw_fail(err, DW_E_INPUT,
                       "not supported (ByteLevel, Metaspace, ByteFallback, Fuse, Strip, Replace "
                       "and Sequence are)");
    s->kind = (dw_detok_kind)k;
    return s->kind == DW_DETOK_METASPACE ? read_metaspace(s, o, err)
           : s->kind == DW_DETOK_STRIP   ? read_strip(s, o, err)
           : s->kind == DW_DETOK_REPLACE ? read_replace(s, o, err)
                                         : DW_OK;
}

static dw_status read_one(dw_detok *d, const dw_json *o, int depth, dw_err *err)
{
    const char *type;
    if (dw_json_kind(o) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(o));
    DW_TRY(dw_json_get_cstr(o, "type", NULL, &type, err));
    if (!type)
        return dw_fail(err, DW_E_INPUT, "type is missing");
    if (d->n == DW_DETOK_STAGES || depth > 4)
        return dw_fail(err, DW_E_INPUT, "more than %d stages", DW_DETOK_STAGES);
    if (strcmp(type, "Sequence") != 0) {
        dw_detok_stage *s = &d->stage[d->n++];
        dw_status st = read_stage(s, type, o, err);
        if (st)
            dw_err_prefix(err, "%s", type);
        return st;
    }
    const dw_json *list = dw_json_get(o, "decoders");
    if (!list || dw_json_kind(list) != DW_JSON_ARRAY)
        return dw_fail(err, DW_E_INPUT, "Sequence: decoders: wanted an array, found %s",
                       dw_json_kind_name(list));
    for (const dw_json *e = dw_json_first(list); e; e = dw_json_next(e))
        DW_TRY(read_one(d, e, depth + 1, err));
    return DW_OK;
}

dw_status dw_detok_read(dw_detok *d, const dw_json *object, dw_err *err)
{
    if (!object || dw_json_kind(object) == DW_JSON_NULL) {
        d->stage[d->n++].kind = DW_DETOK_SPACES;
        return DW_OK;
    }
    dw_status st = read_one(d, object, 0, err);
    if (st)
        dw_err_prefix(err, "decoder");
    for (size_t i = 1; i < d->n; i++)
        d->stage[i].joined = d->stage[i - 1].joined || d->stage[i - 1].kind == DW_DETOK_FUSE ||
                             d->stage[i - 1].kind == DW_DETOK_BYTELEVEL;
    return st;
}

void dw_detok_finish(dw_detok *d)
{
    for (size_t i = 0; i < d->n; i++) {
        dw_free(d->stage[i].from);
        dw_free(d->stage[i].to);
        dw_regex_free(d->stage[i].regex);
    }
    d->n = 0;
}

/* The stages that look at one token and need no pattern: what the others do shows in the middle of
 * a text only where they join tokens. */
void dw_detok_piece(const dw_detok *d, dw_text token, dw_buf *out)
{
    size_t had = out->len;
    dw_buf_add(out, token.ptr, token.len);
    for (size_t i = 0; i < d->n; i++) {
        const dw_detok_stage *s = &d->stage[i];
        dw_buf to = {0};
        dw_text t = {out->ptr + had, out->len - had};
        int byte = s->kind == DW_DETOK_BYTEFALLBACK ? dw_chars_byte_of(t) : -1;
        bool replaces = s->kind == DW_DETOK_METASPACE || s->kind == DW_DETOK_REPLACE;
        if (s->joined)
            break;
        if (byte >= 0)
            dw_buf_addc(&to, (char)byte);
        else if (s->kind == DW_DETOK_BYTELEVEL && dw_unicode_to_bytes(t, &to))
            ;
        else if (replaces && s->from)
            dw_unicode_replace(t, (dw_text){s->from, s->n_from}, (dw_text){s->to, s->n_to}, &to);
        else
            dw_buf_add(&to, t.ptr, t.len);
        out->len = had;
        dw_buf_add(out, to.ptr, to.len);
        dw_buf_finish(&to);
    }
}
