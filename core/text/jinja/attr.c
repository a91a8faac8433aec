/* x.name, x[key] and x[a:b:c], in the order in which jinja2's sandbox looks. */
#include <string.h>

#include "text/jinja/exec.h"
#include "text/unicode.h"

/* An attribute that is found without looking among the items; *found false: there is none. */
static dw_status own(dw_jrun *r, const dw_jvalue *of, const char *name, dw_jvalue *out, bool *found)
{
    const size_t n = strlen(name);
    bool unsafe = false;
    *found = true;
    if (n > 4 && !memcmp(name, "__", 2) && !strcmp(name + n - 2, "__")) {
        *out = dw_jundefined(DW_JWHY_UNSAFE, of->kind, name);
        return DW_OK;
    }
    if (of->kind == DW_J_NAMESPACE) {
        dw_jvalue *v = dw_jdict_get(of->dict, name);
        *found = v != NULL;
        if (v)
            *out = *v;
        return DW_OK;
    }
    if (of->kind == DW_J_LOOP) {
        DW_TRY(dw_jloop_attr(r, of->loop, name, out, found));
        if (*found)
            return DW_OK;
    }
    if (of->kind == DW_J_MACRO && !strcmp(name, "name")) {
        *out = dw_jtext(of->macro->name, strlen(of->macro->name), DW_JMARK_LITERAL);
        return DW_OK;
    }
    *found = dw_jmethod_has(of, name, &unsafe);
    if (!*found)
        return DW_OK;
    if (unsafe) {
        *out = dw_jundefined(DW_JWHY_UNSAFE, of->kind, name);
        return DW_OK;
    }
    dw_jmethod *m = dw_jrun_alloc(r, sizeof *m);
    if (!m)
        return DW_E_LIMIT;
    *m = (dw_jmethod){*of, name};
    *out = (dw_jvalue){.kind = DW_J_METHOD, .method = m};
    return DW_OK;
}

dw_status dw_jattr_get(dw_jrun *r, const dw_jvalue *of, const char *name, dw_jvalue *out)
{
    bool found;
    if (of->kind == DW_J_UNDEFINED)
        return dw_jcall_undefined(r, of);
    DW_TRY(own(r, of, name, out, &found));
    if (found)
        return DW_OK;
    *out = dw_jundefined(DW_JWHY_ATTRIBUTE, of->kind, name);
    if (of->kind == DW_J_DICT) {
        const dw_jvalue key = dw_jtext(name, strlen(name), 0);
        dw_jvalue *v;
        DW_TRY(dw_jdict_find(r, of->dict, &key, &v));
        if (v)
            *out = *v;
    }
    return DW_OK;
}

/* Length of the character that begins with this byte, in text that is known to be UTF-8. */
static int length_of(char c)
{
    const unsigned char u = (unsigned char)c;
    return u < 0x80 ? 1 : u < 0xe0 ? 2 : u < 0xf0 ? 3 : 4;
}

/* Byte of a character that is there; false: there is none. */
static bool nth_char(const dw_jstr *s, int64_t index, size_t *at, int *len)
{
    if (index < 0) {
        *at = s->len;
        for (; index < 0 && *at; index++)
            *at = dw_unicode_before(s->ptr, *at);
        if (index < 0)
            return false;
    } else {
        for (*at = 0; index > 0 && *at < s->len; index--)
            *at += (size_t)length_of(s->ptr[*at]);
    }
    if (*at >= s->len)
        return false;
    *len = length_of(s->ptr[*at]);
    return true;
}

/* Python's obj[index] for what is indexed by number. */
static dw_status by_number(dw_jrun *r, const dw_jvalue *of, int64_t i, dw_jvalue *out, bool *found)
{
    size_t at;
    int len;
    int64_t n;
    *found = false;
    switch (of->kind) {
    case DW_J_STR:
        *found = nth_char(&of->s, i, &at, &len);
        DW_TRY(dw_jrun_spend_bytes(r, 4 * (i < 0 ? of->s.len - at : at)));
        if (*found)
            *out = dw_jstring(dw_jstr_part(&of->s, at, at + (size_t)len));
        return DW_OK;
    case DW_J_LIST:
    case DW_J_TUPLE:
        n = (int64_t)of->list->n;
        i += i < 0 ? n : 0;
        *found = i >= 0 && i < n;
        if (*found)
            *out = of->list->item[i];
        return DW_OK;
    case DW_J_RANGE:
        i += i < 0 ? of->range->n : 0;
        *found = i >= 0 && i < of->range->n;
        if (*found)
            *out = dw_jint(of->range->start + of->range->step * i);
        return DW_OK;
    default:
        return DW_OK;
    }
}

dw_status dw_jattr_item(dw_jrun *r, const dw_jvalue *of, const dw_jvalue *key, dw_jvalue *out)
{
    bool found = false;
    if (of->kind == DW_J_UNDEFINED)
        return dw_jcall_undefined(r, of);
    if (of->kind == DW_J_DICT && key->kind != DW_J_LIST && key->kind != DW_J_DICT) {
        dw_jvalue *v;
        DW_TRY(dw_jdict_find(r, of->dict, key, &v));
        if (v) {
            *out = *v;
            return DW_OK;
        }
    } else if (key->kind == DW_J_INT || key->kind == DW_J_BOOL) {
        DW_TRY(by_number(r, of, key->kind == DW_J_BOOL ? key->b : key->i, out, &found));
        if (found)
            return DW_OK;
    }
    const char *name = "...";
    if (key->kind == DW_J_STR) {
        name = dw_jrun_strndup(r, key->s.ptr, key->s.len);
        if (!name)
            return DW_E_LIMIT;
        DW_TRY(own(r, of, name, out, &found));
    }
    if (!found)
        *out = dw_jundefined(DW_JWHY_ATTRIBUTE, of->kind, name);
    return DW_OK;
}

/* ---- slices ---- */

static dw_status bound(dw_jrun *r, const dw_jvalue *v, int64_t fallback, int64_t *out)
{
    if (v->kind == DW_J_MISSING || v->kind == DW_J_NONE) {
        *out = fallback;
        return DW_OK;
    }
    if (v->kind != DW_J_INT && v->kind != DW_J_BOOL)
        return dw_jfail(r, DW_E_INPUT,
                        "slice indices must be integers or None or have an __index__ method");
    *out = v->kind == DW_J_BOOL ? v->b : v->i;
    return DW_OK;
}

static int64_t clamp(int64_t i, int64_t n, int64_t lo, int64_t hi)
{
    i += i < 0 ? n : 0;
    return i < lo ? lo : i > hi ? hi : i;
}

/* start, step and count of the items that Python's slice takes of n. */
static dw_status span(dw_jrun *r, const dw_jvalue part[3], int64_t n, dw_jrange *out)
{
    int64_t step, from, to;
    DW_TRY(bound(r, &part[2], 1, &step));
    if (!step)
        return dw_jfail(r, DW_E_INPUT, "slice step cannot be zero");
    const bool back = step < 0;
    DW_TRY(bound(r, &part[0], back ? INT64_MAX : 0, &from));
    DW_TRY(bound(r, &part[1], INT64_MAX, &to));
    const bool open_end = part[1].kind == DW_J_MISSING || part[1].kind == DW_J_NONE;
    from = clamp(from, n, back ? -1 : 0, back ? n - 1 : n);
    to = back && open_end ? -1 : clamp(to, n, back ? -1 : 0, back ? n - 1 : n);
    const int64_t gap = back ? from - to : to - from;
    const int64_t width = step == INT64_MIN ? INT64_MAX : back ? -step : step;
    *out = (dw_jrange){from, step, gap > 0 ? (gap - 1) / width + 1 : 0, to};
    return DW_OK;
}

static dw_status slice_string(dw_jrun *r, const dw_jvalue *of, const dw_jvalue part[3],
                              dw_jvalue *out)
{
    const dw_jstr *s = &of->s;
    int64_t n;
    bool has;
    dw_jrange g;
    DW_TRY(dw_jvalue_length(r, of, &n, &has));
    DW_TRY(span(r, part, n, &g));
    const bool plain = n == (int64_t)s->len; /* a byte a character */
    size_t from = (size_t)(g.n ? g.start : 0), to = from + (size_t)g.n;
    int len;
    if (!plain) {
        if (!g.n || !nth_char(s, g.start, &from, &len))
            from = 0;
        to = from;
        for (int64_t i = 0; i < g.n && g.step == 1; i++) {
            (void)dw_unicode_at(s->ptr + to, s->len - to, &len);
            to += (size_t)len;
        }
    }
    if (g.step == 1 || !g.n) {
        *out = dw_jstring(dw_jstr_part(s, from, g.n ? to : from));
        return DW_OK;
    }
    dw_jbuild b = {0};
    for (int64_t i = 0; i < g.n; i++) {
        dw_jvalue c;
        bool found;
        if (plain) {
            const size_t at = (size_t)(g.start + g.step * i);
            c = dw_jstring(dw_jstr_part(s, at, at + 1));
        } else {
            DW_TRY(by_number(r, of, g.start + g.step * i, &c, &found));
        }
        DW_TRY(dw_jbuild_str(r, &b, &c.s));
        DW_TRY(dw_jrun_spend(r, 1));
    }
    *out = dw_jbuild_done(r, &b);
    out->s.markup = s->markup;
    return DW_OK;
}

dw_status dw_jattr_slice(dw_jrun *r, const dw_jvalue *of, const dw_jvalue part[3], dw_jvalue *out)
{
    dw_jrange g;
    if (of->kind == DW_J_UNDEFINED)
        return dw_jcall_undefined(r, of);
    if (of->kind == DW_J_STR)
        return slice_string(r, of, part, out);
    if (of->kind == DW_J_RANGE) {
        DW_TRY(span(r, part, of->range->n, &g));
        dw_jrange *made = dw_jrun_alloc(r, sizeof *made);
        if (!made)
            return DW_E_LIMIT;
        const dw_jrange *old = of->range;
        *made = (dw_jrange){old->start + g.start * (old->n > 1 ? old->step : 1),
                            g.n > 1 ? old->step * g.step : 1, g.n,
                            old->start + g.stop * (old->n > 1 ? old->step : 1)};
        *out = (dw_jvalue){.kind = DW_J_RANGE, .range = made};
        return DW_OK;
    }
    if (of->kind != DW_J_LIST && of->kind != DW_J_TUPLE)
        return dw_jfail(r, DW_E_INPUT,
                        of->kind == DW_J_DICT ? "unhashable type: 'slice' (%s)"
                                              : "'%s' object is not subscriptable",
                        dw_jtype(of));
    DW_TRY(span(r, part, (int64_t)of->list->n, &g));
    DW_TRY(dw_jlist_new(r, of->kind, g.step == 1 ? 0 : (size_t)g.n, out));
    if (g.step == 1) { /* items of a list never change: share them */
        out->list->item = of->list->item + (g.n ? g.start : 0);
        out->list->n = (size_t)g.n;
        return DW_OK;
    }
    for (int64_t i = 0; i < g.n; i++)
        out->list->item[i] = of->list->item[g.start + g.step * i];
    return DW_OK;
}
