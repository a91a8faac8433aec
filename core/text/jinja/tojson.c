/* The filter tojson: json.dumps as transformers calls it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "text/jinja/call.h"
#include "text/unicode.h"

typedef struct dumper {
    dw_jrun *r;
    dw_jbuild b;
    bool ascii, pretty, sort;
    dw_jstr indent, item, key; /* separators */
} dumper;

static dw_status put(dumper *d, const char *s)
{
    return dw_jbuild_add(d->r, &d->b, s, strlen(s), 0);
}

static void escape(uint32_t c, bool ascii, char *e, size_t n)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *simple = c && c < 0x80 ? strchr(from, (char)c) : NULL;
    *e = 0;
    if (simple)
        snprintf(e, n, "\\%c", to[simple - from]);
    else if (c < 0x20 || (ascii && c >= 0x7f && c < 0x10000))
        snprintf(e, n, "\\u%04x", c);
    else if (ascii && c >= 0x10000)
        snprintf(e, n, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                 0xdc00 + ((c - 0x10000) & 0x3ff));
}

static dw_status put_string(dumper *d, const dw_jstr *s)
{
    size_t plain = 0;
    DW_TRY(put(d, "\""));
    for (size_t i = 0; i < s->len;) {
        int len;
        char e[16];
        const uint32_t c = dw_unicode_at(s->ptr + i, s->len - i, &len);
        escape(c, d->ascii, e, sizeof e);
        if (*e) {
            const dw_jstr before = dw_jstr_part(s, plain, i);
            DW_TRY(dw_jbuild_str(d->r, &d->b, &before));
            DW_TRY(dw_jbuild_add(d->r, &d->b, e, strlen(e), 0));
            plain = i + (size_t)len;
        }
        i += (size_t)len;
    }
    const dw_jstr rest = dw_jstr_part(s, plain, s->len);
    DW_TRY(dw_jbuild_str(d->r, &d->b, &rest));
    return put(d, "\"");
}

static dw_status new_line(dumper *d, int depth)
{
    if (!d->pretty)
        return DW_OK;
    DW_TRY(put(d, "\n"));
    for (int i = 0; i < depth; i++)
        DW_TRY(dw_jbuild_str(d->r, &d->b, &d->indent));
    return DW_OK;
}

static dw_status put_number(dumper *d, const dw_jvalue *v)
{
    char text[64];
    if (v->kind == DW_J_BIG)
        return dw_jbuild_str(d->r, &d->b, &v->s);
    if (v->kind == DW_J_INT)
        snprintf(text, sizeof text, "%lld", (long long)v->i);
    else if (isfinite(v->f))
        dw_jprint_float(v->f, text);
    else
        snprintf(text, sizeof text, "%s",
                 isnan(v->f) ? "NaN"
                 : v->f < 0  ? "-Infinity"
                             : "Infinity");
    return put(d, text);
}

static dw_status dump(dumper *d, const dw_jvalue *v, int depth);

static dw_status put_key(dumper *d, const dw_jvalue *k)
{
    switch (k->kind) {
    case DW_J_STR:
        return put_string(d, &k->s);
    case DW_J_NONE:
    case DW_J_BOOL:
    case DW_J_INT:
    case DW_J_BIG:
    case DW_J_FLOAT:
        DW_TRY(put(d, "\""));
        DW_TRY(dump(d, k, 0));
        return put(d, "\"");
    default:
        return dw_jfail(d->r, DW_E_INPUT, "keys must be str, int, float, bool or None, not %s",
                        dw_jtype(k));
    }
}

/* Indices of the pairs in the order of their keys; insertion sort with binary search. */
static dw_status sorted(dumper *d, const dw_jdict *dict, size_t *order)
{
    for (size_t i = 0; i < dict->n; i++) {
        size_t lo = 0, hi = i;
        while (lo < hi) {
            const size_t mid = (lo + hi) / 2;
            int c;
            DW_TRY(
                dw_jvalue_compare(d->r, &dict->pair[i].key, &dict->pair[order[mid]].key, "<", &c));
            if (c < 0)
                hi = mid;
            else
                lo = mid + 1;
        }
        DW_TRY(dw_jrun_spend(d->r, (i - lo) / 16));
        memmove(order + lo + 1, order + lo, (i - lo) * sizeof *order);
        order[lo] = i;
    }
    return DW_OK;
}

static dw_status put_dict(dumper *d, const dw_jdict *dict, int depth)
{
    size_t *order = NULL;
    if (d->sort && dict->n) {
        order = dw_jrun_alloc(d->r, dict->n * sizeof *order);
        if (!order)
            return DW_E_LIMIT;
        DW_TRY(sorted(d, dict, order));
    }
    DW_TRY(put(d, "{"));
    for (size_t i = 0; i < dict->n; i++) {
        const dw_jpair *p = &dict->pair[order ? order[i] : i];
        if (i)
            DW_TRY(dw_jbuild_str(d->r, &d->b, &d->item));
        DW_TRY(new_line(d, depth + 1));
        DW_TRY(put_key(d, &p->key));
        DW_TRY(dw_jbuild_str(d->r, &d->b, &d->key));
        DW_TRY(dump(d, &p->value, depth + 1));
    }
    if (dict->n)
        DW_TRY(new_line(d, depth));
    return put(d, "}");
}

static dw_status put_list(dumper *d, const dw_jlist *l, int depth)
{
    DW_TRY(put(d, "["));
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            DW_TRY(dw_jbuild_str(d->r, &d->b, &d->item));
        DW_TRY(new_line(d, depth + 1));
        DW_TRY(dump(d, &l->item[i], depth + 1));
    }
    if (l->n)
        DW_TRY(new_line(d, depth));
    return put(d, "]");
}

static dw_status dump(dumper *d, const dw_jvalue *v, int depth)
{
    if (depth > DW_JLIMIT_VALUE_DEPTH)
        return dw_jfail(d->r, DW_E_LIMIT, "values nested deeper than %d", DW_JLIMIT_VALUE_DEPTH);
    DW_TRY(dw_jrun_spend(d->r, 1));
    switch (v->kind) {
    case DW_J_NONE:
        return put(d, "null");
    case DW_J_BOOL:
        return put(d, v->b ? "true" : "false");
    case DW_J_INT:
    case DW_J_BIG:
    case DW_J_FLOAT:
        return put_number(d, v);
    case DW_J_STR:
        return put_string(d, &v->s);
    case DW_J_LIST:
    case DW_J_TUPLE:
        return put_list(d, v->list, depth);
    case DW_J_DICT:
        return put_dict(d, v->dict, depth);
    default:
        return dw_jfail(d->r, DW_E_INPUT, "Object of type %s is not JSON serializable",
                        dw_jtype(v));
    }
}

static dw_status read_indent(dumper *d, const dw_jvalue *v)
{
    static const char spaces[] = "                                ";
    if (v->kind == DW_J_MISSING || v->kind == DW_J_NONE)
        return DW_OK;
    d->pretty = true;
    d->item = (dw_jstr){.ptr = ",", .len = 1};
    if (v->kind == DW_J_STR) {
        d->indent = v->s;
        return DW_OK;
    }
    int64_t n;
    DW_TRY(dw_jcall_int(d->r, "tojson: indent", v, 0, &n));
    if (n > (int64_t)sizeof spaces - 1)
        return dw_jfail(d->r, DW_E_INPUT, "tojson: an indent of more than %zu is not supported",
                        sizeof spaces - 1);
    d->indent = (dw_jstr){.ptr = spaces, .len = n > 0 ? (uint32_t)n : 0};
    return DW_OK;
}

dw_status dw_jtojson(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dumper d = {.r = r, .item = {.ptr = ", ", .len = 2}, .key = {.ptr = ": ", .len = 2}};
    DW_TRY(dw_jcall_bind(r, "tojson", a, "ensure_ascii indent separators sort_keys", 0, o));
    d.ascii = dw_jvalue_truth(&o[0]);
    d.sort = dw_jvalue_truth(&o[3]);
    DW_TRY(read_indent(&d, &o[1]));
    if (o[2].kind != DW_J_MISSING && o[2].kind != DW_J_NONE) {
        const bool pair = (o[2].kind == DW_J_TUPLE || o[2].kind == DW_J_LIST) &&
                          o[2].list->n == 2 && o[2].list->item[0].kind == DW_J_STR &&
                          o[2].list->item[1].kind == DW_J_STR;
        if (!pair)
            return dw_jfail(r, DW_E_INPUT, "tojson: separators: wanted a pair of strings");
        d.item = o[2].list->item[0].s;
        d.key = o[2].list->item[1].s;
    }
    DW_TRY(dump(&d, v, 0));
    *out = dw_jbuild_done(r, &d.b);
    return DW_OK;
}
