/* Python's str methods that find, cut and join. */
#include <string.h>

#include "text/jinja/call.h"
#include "text/jinja/chars.h"
#include "text/unicode.h"

/* ---- helpers ---- */

static size_t char_len(const dw_jstr *s, size_t at)
{
    int len;
    (void)dw_unicode_at(s->ptr + at, s->len - at, &len);
    return (size_t)len;
}

/* Byte of character `index`, counted from the end when negative, kept inside the text. */
static size_t byte_of(const dw_jstr *s, int64_t index)
{
    size_t at = index < 0 ? s->len : 0;
    for (; index < 0 && at; index++)
        at = dw_unicode_before(s->ptr, at);
    for (; index > 0 && at < s->len; index--)
        at += char_len(s, at);
    return at;
}

static int64_t chars_before(const dw_jstr *s, size_t byte)
{
    int64_t n = 0;
    for (size_t i = 0; i < byte; i++)
        n += ((unsigned char)s->ptr[i] & 0xc0) != 0x80;
    return n;
}

static bool holds(const dw_jstr *set, const char *c, size_t len)
{
    for (size_t i = 0; i < set->len; i += char_len(set, i))
        if (char_len(set, i) == len && !memcmp(set->ptr + i, c, len))
            return true;
    return false;
}

dw_jstr dw_jstrings_strip(const dw_jstr *s, char how, const dw_jstr *chars)
{
    size_t from = 0, to = s->len;
    if (!chars) {
        if (how != 'r')
            from = dw_jchars_lead(s->ptr, s->len);
        if (how != 'l')
            to -= dw_jchars_trail(s->ptr + from, s->len - from);
        return dw_jstr_part(s, from, to);
    }
    while (how != 'r' && from < to && holds(chars, s->ptr + from, char_len(s, from)))
        from += char_len(s, from);
    while (how != 'l' && to > from) {
        const size_t before = dw_unicode_before(s->ptr, to);
        if (!holds(chars, s->ptr + before, to - before))
            break;
        to = before;
    }
    return dw_jstr_part(s, from, to);
}

static dw_status strip(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jstr chars;
    DW_TRY(dw_jcall_bind(r, name, a, "chars", 0, o));
    const bool given = o[0].kind != DW_J_MISSING && o[0].kind != DW_J_NONE;
    if (given)
        DW_TRY(dw_jcall_str(r, name, &o[0], &chars));
    DW_TRY(dw_jrun_spend_bytes(r, given ? (size_t)s->len * (chars.len + 1) / 4 : s->len));
    *out = dw_jstring(dw_jstrings_strip(s, name[0], given ? &chars : NULL));
    return DW_OK;
}

/* ---- split ---- */

typedef struct pieces {
    dw_jvalue list;
    size_t n;
} pieces;

static dw_status add_piece(dw_jrun *r, pieces *p, dw_jstr part)
{
    if (p->n == p->list.list->n) {
        dw_jvalue more;
        DW_TRY(dw_jlist_new(r, DW_J_LIST, p->n ? p->n * 2 : 8, &more));
        if (p->n)
            memcpy(more.list->item, p->list.list->item, p->n * sizeof more);
        p->list = more;
    }
    p->list.list->item[p->n++] = dw_jstring(part);
    return dw_jrun_spend(r, 1);
}

static void turn_around(dw_jvalue *item, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        const dw_jvalue t = item[i];
        item[i] = item[n - 1 - i];
        item[n - 1 - i] = t;
    }
}

static dw_status split_spaces(dw_jrun *r, const dw_jstr *s, int64_t most, pieces *p)
{
    size_t at = dw_jchars_lead(s->ptr, s->len);
    while (at < s->len) {
        int len;
        size_t end = at;
        if (most-- == 0) {
            /* what is left keeps its inner spaces, and its last ones as well */
            DW_TRY(add_piece(r, p, dw_jstr_part(s, at, s->len)));
            break;
        }
        while (end < s->len && !dw_jchars_space(dw_unicode_at(s->ptr + end, s->len - end, &len)))
            end += (size_t)len;
        DW_TRY(add_piece(r, p, dw_jstr_part(s, at, end)));
        at = end + dw_jchars_lead(s->ptr + end, s->len - end);
    }
    return DW_OK;
}

static dw_status rsplit_spaces(dw_jrun *r, const dw_jstr *s, int64_t most, pieces *p)
{
    size_t end = s->len - dw_jchars_trail(s->ptr, s->len);
    while (end) {
        size_t at = end;
        int len;
        if (most-- == 0) {
            at = 0;
        } else {
            while (at) {
                const size_t b = dw_unicode_before(s->ptr, at);
                if (dw_jchars_space(dw_unicode_at(s->ptr + b, end - b, &len)))
                    break;
                at = b;
            }
        }
        DW_TRY(add_piece(r, p, dw_jstr_part(s, at, end)));
        end = at - dw_jchars_trail(s->ptr, at);
    }
    turn_around(p->list.list->item, p->n);
    return DW_OK;
}

static const char *last_of(const dw_jstr *s, size_t end, const dw_jstr *what)
{
    for (size_t at = end; at >= what->len; at--) {
        const char *p = s->ptr + at - what->len;
        if (!memcmp(p, what->ptr, what->len))
            return p;
    }
    return NULL;
}

static dw_status split_by(dw_jrun *r, const dw_jstr *s, const dw_jstr *by, int64_t most, bool right,
                          pieces *p)
{
    size_t from = 0, to = s->len;
    for (const char *at; most != 0; most--) {
        at = right ? last_of(s, to, by) : memmem(s->ptr + from, s->len - from, by->ptr, by->len);
        if (!at)
            break;
        const size_t found = (size_t)(at - s->ptr);
        DW_TRY(add_piece(
            r, p, right ? dw_jstr_part(s, found + by->len, to) : dw_jstr_part(s, from, found)));
        from = found + by->len;
        to = found;
    }
    DW_TRY(add_piece(r, p, right ? dw_jstr_part(s, 0, to) : dw_jstr_part(s, from, s->len)));
    if (right)
        turn_around(p->list.list->item, p->n);
    return DW_OK;
}

static dw_status split(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    pieces p = {{0}, 0};
    int64_t most;
    dw_jstr by;
    const bool right = name[0] == 'r';
    DW_TRY(dw_jcall_bind(r, name, a, "sep maxsplit", 0, o));
    DW_TRY(dw_jcall_int(r, name, &o[1], -1, &most));
    DW_TRY(dw_jrun_spend_bytes(r, s->len));
    DW_TRY(dw_jlist_new(r, DW_J_LIST, 0, &p.list));
    if (o[0].kind == DW_J_MISSING || o[0].kind == DW_J_NONE) {
        DW_TRY(right ? rsplit_spaces(r, s, most, &p) : split_spaces(r, s, most, &p));
    } else {
        DW_TRY(dw_jcall_str(r, name, &o[0], &by));
        if (!by.len)
            return dw_jfail(r, DW_E_INPUT, "empty separator");
        DW_TRY(split_by(r, s, &by, most, right, &p));
    }
    p.list.list->n = p.n;
    *out = p.list;
    return DW_OK;
}

dw_status dw_jstrings_lines(dw_jrun *r, const dw_jstr *s, bool keep, dw_jvalue *out)
{
    pieces p = {{0}, 0};
    size_t from = 0;
    DW_TRY(dw_jlist_new(r, DW_J_LIST, 0, &p.list));
    DW_TRY(dw_jrun_spend_bytes(r, s->len));
    for (size_t at = 0; at < s->len;) {
        int len;
        const uint32_t c = dw_unicode_at(s->ptr + at, s->len - at, &len);
        size_t end = at + (size_t)len;
        if (dw_jchars_line(c)) {
            if (c == '\r' && end < s->len && s->ptr[end] == '\n')
                end++;
            DW_TRY(add_piece(r, &p, dw_jstr_part(s, from, keep ? end : at)));
            from = end;
        }
        at = end;
    }
    if (from < s->len)
        DW_TRY(add_piece(r, &p, dw_jstr_part(s, from, s->len)));
    p.list.list->n = p.n;
    *out = p.list;
    return DW_OK;
}

static dw_status splitlines(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a,
                            dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    DW_TRY(dw_jcall_bind(r, name, a, "keepends", 0, o));
    return dw_jstrings_lines(r, s, dw_jvalue_truth(&o[0]), out);
}

static dw_status partition(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a,
                           dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jstr by;
    const bool right = name[0] == 'r';
    DW_TRY(dw_jcall_bind(r, name, a, "sep", 1, o));
    DW_TRY(dw_jcall_str(r, name, &o[0], &by));
    if (!by.len)
        return dw_jfail(r, DW_E_INPUT, "empty separator");
    DW_TRY(dw_jrun_spend_bytes(r, s->len));
    DW_TRY(dw_jlist_new(r, DW_J_TUPLE, 3, out));
    const char *at = right ? last_of(s, s->len, &by) : memmem(s->ptr, s->len, by.ptr, by.len);
    const size_t from = at ? (size_t)(at - s->ptr) : right ? 0 : s->len;
    const size_t to = at ? from + by.len : from;
    out->list->item[0] = dw_jstring(dw_jstr_part(s, 0, from));
    out->list->item[1] = dw_jstring(dw_jstr_part(s, from, to));
    out->list->item[2] = dw_jstring(dw_jstr_part(s, to, s->len));
    return DW_OK;
}

/* ---- search ---- */

/* The part of s that optional start and end leave; false: start lies beyond the end. */
static dw_status window(dw_jrun *r, const char *name, const dw_jstr *s, const dw_jvalue o[2],
                        size_t *from, size_t *to, bool *any)
{
    int64_t start, end;
    *from = 0;
    *to = s->len;
    *any = true;
    if (o[0].kind == DW_J_MISSING && o[1].kind == DW_J_MISSING)
        return DW_OK;
    DW_TRY(dw_jrun_spend_bytes(r, s->len));
    DW_TRY(dw_jcall_int(r, name, &o[0], 0, &start));
    DW_TRY(dw_jcall_int(r, name, &o[1], INT64_MAX, &end));
    *from = byte_of(s, start);
    *to = byte_of(s, end);
    *any = *from <= *to && !(start > 0 && start > chars_before(s, s->len));
    return DW_OK;
}

static dw_status find(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jstr what;
    size_t from, to;
    bool any;
    DW_TRY(dw_jcall_bind(r, name, a, "sub start end", 1, o));
    DW_TRY(dw_jcall_str(r, name, &o[0], &what));
    DW_TRY(window(r, name, s, o + 1, &from, &to, &any));
    const char *at = NULL;
    DW_TRY(dw_jrun_spend_bytes(r, s->len));
    if (any && name[0] == 'r') {
        const dw_jstr part = dw_jstr_part(s, from, to);
        at = last_of(&part, part.len, &what);
    } else if (any) {
        at = what.len ? memmem(s->ptr + from, to - from, what.ptr, what.len) : s->ptr + from;
    }
    if (!at && (!strcmp(name, "index") || !strcmp(name, "rindex")))
        return dw_jfail(r, DW_E_INPUT, "substring not found");
    *out = dw_jint(at ? chars_before(s, (size_t)(at - s->ptr)) : -1);
    return DW_OK;
}

static dw_status count(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jstr what;
    size_t from, to;
    bool any;
    int64_t n = 0;
    DW_TRY(dw_jcall_bind(r, name, a, "sub start end", 1, o));
    DW_TRY(dw_jcall_str(r, name, &o[0], &what));
    DW_TRY(window(r, name, s, o + 1, &from, &to, &any));
    DW_TRY(dw_jrun_spend_bytes(r, s->len));
    if (!what.len) {
        n = any ? chars_before(s, to) - chars_before(s, from) + 1 : 0;
    } else if (any) {
        for (const char *at; (at = memmem(s->ptr + from, to - from, what.ptr, what.len)); n++)
            from = (size_t)(at - s->ptr) + what.len;
    }
    *out = dw_jint(n);
    return DW_OK;
}

static bool ends(const dw_jstr *s, const dw_jstr *with, bool start)
{
    return with->len <= s->len &&
           !memcmp(start ? s->ptr : s->ptr + s->len - with->len, with->ptr, with->len);
}

static dw_status starts_ends(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a,
                             dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    size_t from, to;
    bool any, found = false;
    dw_jstr with;
    DW_TRY(dw_jcall_bind(r, name, a, "prefix start end", 1, o));
    DW_TRY(window(r, name, s, o + 1, &from, &to, &any));
    const dw_jstr part = any ? dw_jstr_part(s, from, to) : *s;
    const bool start = name[0] == 's';
    const dw_jlist one = {&o[0], 1, 0, NULL};
    const dw_jlist *l = o[0].kind == DW_J_TUPLE ? o[0].list : &one;
    for (size_t i = 0; i < l->n; i++) {
        if (l->item[i].kind != DW_J_STR)
            return dw_jfail(r, DW_E_INPUT, "%s first arg must be str or a tuple of str, not %s",
                            name, dw_jtype(&l->item[i]));
        DW_TRY(dw_jcall_str(r, name, &l->item[i], &with));
        found = found || (any && ends(&part, &with, start));
    }
    *out = dw_jbool(found);
    return DW_OK;
}

static dw_status remove_end(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a,
                            dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jstr what;
    const bool start = !strcmp(name, "removeprefix");
    DW_TRY(dw_jcall_bind(r, name, a, "what", 1, o));
    DW_TRY(dw_jcall_str(r, name, &o[0], &what));
    const size_t n = ends(s, &what, start) ? what.len : 0;
    *out = dw_jstring(start ? dw_jstr_part(s, n, s->len) : dw_jstr_part(s, 0, s->len - n));
    return DW_OK;
}

/* ---- making new text ---- */

dw_status dw_jstrings_replace(dw_jrun *r, const dw_jstr *s, const dw_jstr *from, const dw_jstr *to,
                              int64_t most, dw_jvalue *out)
{
    dw_jbuild b = {0};
    size_t done = 0;
    DW_TRY(dw_jrun_spend_bytes(r, s->len));
    for (; most != 0 && done <= s->len; most--) {
        const char *at =
            from->len ? memmem(s->ptr + done, s->len - done, from->ptr, from->len) : s->ptr + done;
        if (!at)
            break;
        const size_t found = (size_t)(at - s->ptr);
        const dw_jstr before = dw_jstr_part(s, done, found);
        DW_TRY(dw_jbuild_str(r, &b, &before));
        DW_TRY(dw_jbuild_str(r, &b, to));
        DW_TRY(dw_jrun_spend(r, 1));
        done = found + from->len;
        if (from->len)
            continue;
        if (done == s->len)
            break;
        const dw_jstr one = dw_jstr_part(s, done, done + char_len(s, done));
        DW_TRY(dw_jbuild_str(r, &b, &one));
        done += one.len;
    }
    const dw_jstr rest = dw_jstr_part(s, done, s->len);
    DW_TRY(dw_jbuild_str(r, &b, &rest));
    *out = dw_jbuild_done(r, &b);
    out->s.markup = s->markup;
    return DW_OK;
}

static dw_status replace(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a,
                         dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jstr from, to;
    int64_t most;
    DW_TRY(dw_jcall_bind(r, name, a, "old new count", 2, o));
    DW_TRY(dw_jcall_str(r, name, &o[0], &from));
    DW_TRY(dw_jcall_str(r, name, &o[1], &to));
    DW_TRY(dw_jcall_int(r, name, &o[2], -1, &most));
    return dw_jstrings_replace(r, s, &from, &to, most, out);
}

static dw_status join(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST], one;
    dw_jiter it;
    dw_jbuild b = {0};
    bool more;
    DW_TRY(dw_jcall_bind(r, name, a, "iterable", 1, o));
    DW_TRY(dw_jiter_start(r, &o[0], &it));
    for (int64_t i = 0;; i++) {
        DW_TRY(dw_jiter_next(r, &it, &one, &more));
        if (!more)
            break;
        if (one.kind != DW_J_STR)
            return dw_jfail(r, DW_E_INPUT, "sequence item %lld: expected str instance, %s found",
                            (long long)i, dw_jtype(&one));
        if (i)
            DW_TRY(dw_jbuild_str(r, &b, s));
        DW_TRY(dw_jbuild_str(r, &b, &one.s));
    }
    *out = dw_jbuild_done(r, &b);
    return DW_OK;
}

static dw_status pad(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jstr fill = {.ptr = name[0] == 'z' ? "0" : " ", .len = 1};
    dw_jbuild b = {0};
    int64_t width;
    DW_TRY(dw_jcall_bind(r, name, a, "width fillchar", 1, o));
    DW_TRY(dw_jcall_int(r, name, &o[0], 0, &width));
    if (o[1].kind != DW_J_MISSING)
        DW_TRY(dw_jcall_str(r, name, &o[1], &fill));
    if (!fill.len || char_len(&fill, 0) != fill.len)
        return dw_jfail(r, DW_E_INPUT, "The fill character must be exactly one character long");
    const int64_t n = chars_before(s, s->len), room = width > n ? width - n : 0;
    /* CPython's rounding of an odd remainder */
    const int64_t left = name[0] == 'l' ? 0 : name[0] == 'c' ? room / 2 + (room & width & 1) : room;
    const bool sign = name[0] == 'z' && s->len && (s->ptr[0] == '-' || s->ptr[0] == '+');
    const dw_jstr head = dw_jstr_part(s, 0, sign), tail = dw_jstr_part(s, sign, s->len);
    DW_TRY(dw_jbuild_str(r, &b, &head));
    for (int64_t i = 0; i < left; i++)
        DW_TRY(dw_jbuild_str(r, &b, &fill));
    DW_TRY(dw_jbuild_str(r, &b, &tail));
    for (int64_t i = left; i < room; i++)
        DW_TRY(dw_jbuild_str(r, &b, &fill));
    DW_TRY(dw_jrun_spend(r, (size_t)(room / 16)));
    *out = dw_jbuild_done(r, &b);
    return DW_OK;
}

static dw_status expandtabs(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a,
                            dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jbuild b = {0};
    int64_t size, column = 0;
    DW_TRY(dw_jcall_bind(r, name, a, "tabsize", 0, o));
    DW_TRY(dw_jcall_int(r, name, &o[0], 8, &size));
    for (size_t i = 0; i < s->len; i += char_len(s, i)) {
        const dw_jstr one = dw_jstr_part(s, i, i + char_len(s, i));
        int64_t n = one.ptr[0] == '\t' ? (size > 0 ? size - column % size : 0) : 0;
        column = one.ptr[0] == '\n' || one.ptr[0] == '\r' ? 0 : column + (n ? n : 1);
        if (one.ptr[0] != '\t')
            DW_TRY(dw_jbuild_str(r, &b, &one));
        for (; n > 0; n--)
            DW_TRY(dw_jbuild_add(r, &b, " ", 1, dw_jstr_mark(s, i)));
        DW_TRY(dw_jrun_spend(r, 1));
    }
    *out = dw_jbuild_done(r, &b);
    return DW_OK;
}

static dw_status change_case(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a,
                             dw_jvalue *out)
{
    DW_TRY(dw_jcall_bind(r, name, a, "", 0, out));
    return dw_jstrings_case(r, s, name, out);
}

static dw_status ask(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    bool yes;
    DW_TRY(dw_jcall_bind(r, name, a, "", 0, o));
    DW_TRY(dw_jstrings_is(r, s, name, &yes));
    *out = dw_jbool(yes);
    return DW_OK;
}

static dw_status format(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a, dw_jvalue *out)
{
    (void)name;
    return dw_jformat_braces(r, s, a, out);
}

typedef dw_status (*method_fn)(dw_jrun *r, const dw_jstr *s, const char *name, dw_jargs *a,
                               dw_jvalue *out);
static const struct method {
    const char *name;
    method_fn fn; /* NULL: Python has it, no template needs it */
} methods[] = {
    {"strip", strip},
    {"lstrip", strip},
    {"rstrip", strip},
    {"split", split},
    {"rsplit", split},
    {"splitlines", splitlines},
    {"partition", partition},
    {"rpartition", partition},
    {"startswith", starts_ends},
    {"endswith", starts_ends},
    {"removeprefix", remove_end},
    {"removesuffix", remove_end},
    {"find", find},
    {"rfind", find},
    {"index", find},
    {"rindex", find},
    {"count", count},
    {"replace", replace},
    {"join", join},
    {"center", pad},
    {"ljust", pad},
    {"rjust", pad},
    {"zfill", pad},
    {"expandtabs", expandtabs},
    {"upper", change_case},
    {"lower", change_case},
    {"casefold", change_case},
    {"capitalize", change_case},
    {"title", change_case},
    {"swapcase", change_case},
    {"isalnum", ask},
    {"isalpha", ask},
    {"isascii", ask},
    {"isdecimal", ask},
    {"isdigit", ask},
    {"isidentifier", ask},
    {"islower", ask},
    {"isnumeric", ask},
    {"isprintable", ask},
    {"isspace", ask},
    {"istitle", ask},
    {"isupper", ask},
    {"format", format},
    {"format_map", NULL},
    {"encode", NULL},
    {"maketrans", NULL},
    {"translate", NULL},
    {NULL, NULL},
};

static const struct method *method_of(const char *name)
{
    const struct method *m = methods;
    while (m->name && strcmp(m->name, name) != 0)
        m++;
    return m;
}

bool dw_jstrings_has(const char *name)
{
    return method_of(name)->name != NULL;
}

dw_status dw_jstrings_call(dw_jrun *r, const dw_jstr *self, const char *name, dw_jargs *a,
                           dw_jvalue *out)
{
    const struct method *m = method_of(name);
    if (!m->fn)
        return dw_jfail(r, DW_E_INPUT, "str.%s is not supported", name);
    return m->fn(r, self, name, a, out);
}
