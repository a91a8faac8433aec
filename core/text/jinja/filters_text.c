/* Filters that make text or numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja/call.h"
#include "text/jinja/chars.h"
#include "text/unicode.h"

static dw_status no_args(dw_jrun *r, const char *what, const dw_jargs *a)
{
    dw_jvalue o[DW_JCALL_MOST];
    return dw_jcall_bind(r, what, a, "", 0, o);
}

static dw_status string(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jstr s;
    DW_TRY(no_args(r, "string", a));
    DW_TRY(dw_jprint_string(r, v, &s));
    *out = dw_jstring(s);
    return DW_OK;
}

static dw_status safe(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    DW_TRY(string(r, v, a, out));
    out->s.markup = true;
    return DW_OK;
}

static dw_status escape(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    DW_TRY(string(r, v, a, out));
    const dw_jstr s = out->s;
    return dw_jstrings_escape(r, &s, out);
}

static dw_status forceescape(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    DW_TRY(string(r, v, a, out));
    dw_jstr s = out->s;
    s.markup = false;
    return dw_jstrings_escape(r, &s, out);
}

static dw_status cased(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, const char *how, dw_jvalue *out)
{
    dw_jvalue s;
    DW_TRY(string(r, v, a, &s));
    return dw_jstrings_case(r, &s.s, how, out);
}

static dw_status upper(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    return cased(r, v, a, "upper", out);
}

static dw_status lower(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    return cased(r, v, a, "lower", out);
}

static dw_status capitalize(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    return cased(r, v, a, "capitalize", out);
}

/* Jinja's title: words begin after white space and - ( { [ <. */
static dw_status title(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue s, part;
    dw_jbuild b = {0};
    DW_TRY(string(r, v, a, &s));
    bool start = true;
    int len;
    for (size_t at = 0; at < s.s.len; at += (size_t)len) {
        const uint32_t c = dw_unicode_at(s.s.ptr + at, s.s.len - at, &len);
        const dw_jstr one = dw_jstr_part(&s.s, at, at + (size_t)len);
        DW_TRY(dw_jstrings_case(r, &one, start ? "upper" : "lower", &part));
        DW_TRY(dw_jbuild_str(r, &b, &part.s));
        DW_TRY(dw_jrun_spend(r, 1));
        start = (c && c < 0x80 && strchr("-({[<", (char)c)) || dw_jchars_space(c);
    }
    *out = dw_jbuild_done(r, &b);
    return DW_OK;
}

static dw_status trim(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jstr s, chars;
    DW_TRY(dw_jcall_bind(r, "trim", a, "chars", 0, o));
    DW_TRY(dw_jprint_string(r, v, &s));
    const bool given = o[0].kind != DW_J_MISSING && o[0].kind != DW_J_NONE;
    if (given)
        DW_TRY(dw_jcall_str(r, "trim", &o[0], &chars));
    DW_TRY(dw_jrun_spend_bytes(r, s.len));
    *out = dw_jstring(dw_jstrings_strip(&s, 's', given ? &chars : NULL));
    return DW_OK;
}

static dw_status replace(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jstr s, from, to;
    int64_t most;
    DW_TRY(dw_jcall_bind(r, "replace", a, "old new count", 2, o));
    DW_TRY(dw_jprint_string(r, v, &s));
    DW_TRY(dw_jprint_string(r, &o[0], &from));
    DW_TRY(dw_jprint_string(r, &o[1], &to));
    DW_TRY(dw_jcall_int(r, "replace", &o[2], -1, &most));
    s.markup = false;
    return dw_jstrings_replace(r, &s, &from, &to, most, out);
}

static dw_status center(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jstr s;
    DW_TRY(dw_jcall_bind(r, "center", a, "width", 0, o));
    if (o[0].kind == DW_J_MISSING)
        o[0] = dw_jint(80);
    DW_TRY(dw_jprint_string(r, v, &s));
    dw_jargs with = {.v = o, .n = 1};
    return dw_jstrings_call(r, &s, "center", &with, out);
}

static dw_status format(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jstr s;
    dw_jvalue args;
    DW_TRY(dw_jprint_string(r, v, &s));
    if (a->n && a->n_kw)
        return dw_jfail(r, DW_E_INPUT,
                        "can't handle positional and keyword arguments at the same time");
    if (a->n_kw) {
        DW_TRY(dw_jfunction_call(r, dw_jfunction_find("dict"), a, &args));
    } else {
        DW_TRY(dw_jlist_new(r, DW_J_TUPLE, a->n, &args));
        if (a->n)
            memcpy(args.list->item, a->v, a->n * sizeof *a->v);
    }
    return dw_jformat_percent(r, &s, &args, out);
}

static dw_status indent(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST], lines, text;
    dw_jbuild b = {0}, in = {0};
    dw_jstr with;
    int64_t width;
    DW_TRY(dw_jcall_bind(r, "indent", a, "width first blank", 0, o));
    if (o[0].kind == DW_J_STR) {
        with = o[0].s;
    } else {
        DW_TRY(dw_jcall_int(r, "indent", &o[0], 4, &width));
        for (int64_t i = 0; i < width; i++)
            DW_TRY(dw_jbuild_add(r, &in, " ", 1, DW_JMARK_LITERAL));
        with = dw_jbuild_done(r, &in).s;
    }
    if (v->kind != DW_J_STR)
        return dw_jfail(r, DW_E_INPUT, "indent: wanted a str, found %s", dw_jtype(v));
    const dw_jstr newline = {.ptr = "\n", .len = 1, .tag = DW_JMARK_LITERAL};
    DW_TRY(dw_jbuild_concat(r, &v->s, &newline, &text));
    DW_TRY(dw_jstrings_lines(r, &text.s, false, &lines));
    for (size_t i = 0; i < lines.list->n; i++) {
        const dw_jstr *line = &lines.list->item[i].s;
        if (i)
            DW_TRY(dw_jbuild_str(r, &b, &newline));
        if (i ? line->len || dw_jvalue_truth(&o[2]) : dw_jvalue_truth(&o[1]))
            DW_TRY(dw_jbuild_str(r, &b, &with));
        DW_TRY(dw_jbuild_str(r, &b, line));
    }
    *out = dw_jbuild_done(r, &b);
    return DW_OK;
}

static dw_status truncate(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST], cut, n;
    int64_t length, leeway, size, end_size;
    bool has;
    DW_TRY(dw_jcall_bind(r, "truncate", a, "length killwords end leeway", 0, o));
    DW_TRY(dw_jcall_int(r, "truncate", &o[0], 255, &length));
    DW_TRY(dw_jcall_int(r, "truncate", &o[3], 5, &leeway));
    if (o[2].kind == DW_J_MISSING)
        o[2] = dw_jtext("...", 3, DW_JMARK_LITERAL);
    if (v->kind != DW_J_STR || o[2].kind != DW_J_STR)
        return dw_jfail(r, DW_E_INPUT, "truncate: wanted a str");
    DW_TRY(dw_jvalue_length(r, &o[2], &end_size, &has));
    DW_TRY(dw_jvalue_length(r, v, &size, &has));
    if (length < end_size || leeway < 0)
        return dw_jfail(r, DW_E_INPUT, "truncate: expected length >= %lld and leeway >= 0",
                        (long long)end_size);
    *out = *v;
    if (size <= length + leeway)
        return DW_OK;
    const dw_jvalue part[3] = {{0}, dw_jint(length - end_size), {0}};
    DW_TRY(dw_jattr_slice(r, v, part, &cut));
    if (!dw_jvalue_truth(&o[1])) {
        dw_jvalue args[2] = {dw_jtext(" ", 1, 0), dw_jint(1)};
        dw_jargs by = {.v = args, .n = 2};
        DW_TRY(dw_jstrings_call(r, &cut.s, "rsplit", &by, &n));
        cut = n.list->item[0];
    }
    return dw_jbuild_concat(r, &cut.s, &o[2].s, out);
}

static dw_status wordcount(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue s;
    int64_t n = 0;
    bool inside = false;
    int len;
    DW_TRY(string(r, v, a, &s));
    DW_TRY(dw_jrun_spend(r, s.s.len / 16));
    for (size_t i = 0; i < s.s.len; i += (size_t)len) {
        const uint32_t c = dw_unicode_at(s.s.ptr + i, s.s.len - i, &len);
        const bool word = c == '_' || dw_jchars_alpha(c) || dw_jchars_numeric(c);
        n += word && !inside;
        inside = word;
    }
    *out = dw_jint(n);
    return DW_OK;
}

/* Markup.striptags: comments and tags go, white space becomes one blank. */
static dw_status striptags(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue s, words;
    dw_jbuild b = {0};
    DW_TRY(string(r, v, a, &s));
    for (size_t i = 0; i < s.s.len;) {
        const char *p = s.s.ptr + i;
        const size_t left = s.s.len - i;
        const bool comment = left >= 4 && !memcmp(p, "<!--", 4);
        const char *end = comment     ? memmem(p, left, "-->", 3)
                          : *p == '<' ? memchr(p, '>', left)
                                      : NULL;
        if (end) {
            i = (size_t)(end - s.s.ptr) + (comment ? 3 : 1);
            DW_TRY(dw_jrun_spend(r, 1));
            continue;
        }
        DW_TRY(dw_jbuild_add(r, &b, p, 1, dw_jstr_mark(&s.s, i)));
        i++;
    }
    const dw_jstr plain = dw_jbuild_done(r, &b).s;
    dw_jargs none = {0};
    DW_TRY(dw_jstrings_call(r, &plain, "split", &none, &words));
    const dw_jstr blank = {.ptr = " ", .len = 1};
    dw_jargs with = {.v = &words, .n = 1};
    return dw_jstrings_call(r, &blank, "join", &with, out);
}

static dw_status urlencode(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue s;
    dw_jbuild b = {0};
    char code[8];
    if (v->kind == DW_J_DICT || v->kind == DW_J_LIST || v->kind == DW_J_TUPLE)
        return dw_jfail(r, DW_E_INPUT, "urlencode of a %s is not supported", dw_jtype(v));
    DW_TRY(string(r, v, a, &s));
    for (size_t i = 0; i < s.s.len; i++) {
        const unsigned char c = (unsigned char)s.s.ptr[i];
        const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                           (c >= 'A' && c <= 'Z') || (c && strchr("_.-~/", c));
        snprintf(code, sizeof code, plain ? "%c" : "%%%02X", c);
        DW_TRY(dw_jbuild_add(r, &b, code, strlen(code), dw_jstr_mark(&s.s, i)));
    }
    *out = dw_jbuild_done(r, &b);
    return DW_OK;
}

/* ---- numbers ---- */

/* The text as C can read it: trimmed, underscores between digits gone; false when it is too long.
 */
static bool number_text(const dw_jstr *s, char *out, size_t cap)
{
    const dw_jstr t = dw_jstrings_strip(s, 's', NULL);
    size_t m = 0;
    for (size_t i = 0; i < t.len; i++) {
        const bool joint = t.ptr[i] == '_' && i && i + 1 < t.len && t.ptr[i - 1] != '_';
        if (joint)
            continue;
        if (m + 1 >= cap)
            return false;
        out[m++] = t.ptr[i];
    }
    out[m] = 0;
    return m > 0;
}

static bool to_float(const dw_jvalue *v, double *out)
{
    char text[400], *end;
    if (dw_jvalue_is_number(v)) {
        *out = dw_jvalue_number(v);
        return true;
    }
    if (v->kind != DW_J_STR || !number_text(&v->s, text, sizeof text) || strpbrk(text, "xXpP"))
        return false;
    *out = strtod(text, &end);
    return !*end;
}

static dw_status to_int(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    char text[400], *end;
    int64_t base;
    double x;
    DW_TRY(dw_jcall_bind(r, "int", a, "default base", 0, o));
    DW_TRY(dw_jcall_int(r, "int", &o[1], 10, &base));
    if (v->kind == DW_J_UNDEFINED)
        return dw_jcall_undefined(r, v);
    *out = *v;
    if (v->kind == DW_J_INT || v->kind == DW_J_BIG)
        return DW_OK;
    if (v->kind == DW_J_STR && number_text(&v->s, text, sizeof text) && base >= 0 && base <= 36 &&
        base != 1) {
        const char *digits = text + (*text == '-' || *text == '+');
        const bool prefix = digits[0] == '0' && digits[1] && strchr("xXoObB", digits[1]);
        const bool drop = prefix && ((base == 2 && (digits[1] | 32) == 'b') ||
                                     (base == 8 && (digits[1] | 32) == 'o'));
        const long long n =
            strtoll(drop ? digits + 2 : text, &end, (int)(base == 0 && !prefix ? 10 : base));
        const bool bare = *digits >= '0' && *digits <= 'z';
        if (!*end && bare && (!prefix || base != 10) && n != INT64_MAX && n != INT64_MIN) {
            *out = dw_jint(drop && *text == '-' ? -n : n);
            return DW_OK;
        }
    }
    *out = o[0].kind == DW_J_MISSING ? dw_jint(0) : o[0];
    if (!to_float(v, &x) || isnan(x) || isinf(x))
        return DW_OK;
    if (fabs(x) >= 9.2e18)
        return dw_jfail(r, DW_E_LIMIT, "an integer beyond 64 bits");
    *out = dw_jint((int64_t)x);
    return DW_OK;
}

static dw_status to_real(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    double x;
    DW_TRY(dw_jcall_bind(r, "float", a, "default", 0, o));
    if (v->kind == DW_J_UNDEFINED)
        return dw_jcall_undefined(r, v);
    *out = to_float(v, &x) ? dw_jfloat(x) : o[0].kind == DW_J_MISSING ? dw_jfloat(0) : o[0];
    return DW_OK;
}

static dw_status absolute(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    DW_TRY(no_args(r, "abs", a));
    if (v->kind == DW_J_UNDEFINED)
        return dw_jcall_undefined(r, v);
    if (!dw_jvalue_is_number(v))
        return dw_jfail(r, DW_E_INPUT, "bad operand type for abs(): '%s'", dw_jtype(v));
    const int64_t i = v->kind == DW_J_BOOL ? v->b : v->i;
    *out = v->kind == DW_J_FLOAT ? dw_jfloat(fabs(v->f)) : dw_jint(i < 0 && i > INT64_MIN ? -i : i);
    return DW_OK;
}

/* round half to even at a decimal place, on the exact value of the double */
static double round_at(double x, int64_t places)
{
    char text[400];
    if (places >= 0) {
        snprintf(text, sizeof text, "%.*f", (int)(places > 300 ? 300 : places), x);
        return fabs(x) < 1e300 ? strtod(text, NULL) : x;
    }
    const double unit = pow(10, (double)-places);
    return isinf(unit) ? copysign(0, x) : nearbyint(x / unit) * unit;
}

static dw_status round_to(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    int64_t places;
    dw_jstr how = {.ptr = "common", .len = 6};
    DW_TRY(dw_jcall_bind(r, "round", a, "precision method", 0, o));
    DW_TRY(dw_jcall_int(r, "round", &o[0], 0, &places));
    if (o[1].kind != DW_J_MISSING)
        DW_TRY(dw_jcall_str(r, "round", &o[1], &how));
    const dw_text method = {how.ptr, how.len};
    const bool common = dw_text_is(method, "common"), up = dw_text_is(method, "ceil");
    if (!common && !up && !dw_text_is(method, "floor"))
        return dw_jfail(r, DW_E_INPUT, "method must be common, ceil or floor");
    if (v->kind == DW_J_UNDEFINED)
        return dw_jcall_undefined(r, v);
    if (!dw_jvalue_is_number(v))
        return dw_jfail(r, DW_E_INPUT, "type %s doesn't define __round__ method", dw_jtype(v));
    if (!common) {
        const double unit = pow(10, (double)places), x = dw_jvalue_number(v) * unit;
        *out = dw_jfloat((up ? ceil(x) : floor(x)) / unit);
        return DW_OK;
    }
    if (v->kind == DW_J_FLOAT) {
        *out = dw_jfloat(round_at(v->f, places));
    } else {
        if (places < 0)
            return dw_jfail(r, DW_E_INPUT, "round: a negative precision of an int");
        *out = dw_jint(v->kind == DW_J_BOOL ? v->b : v->i);
    }
    return DW_OK;
}

static dw_status filesizeformat(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    static const char *const unit[] = {"kB", "KiB", "MB", "MiB", "GB", "GiB", "TB", "TiB",
                                       "PB", "PiB", "EB", "EiB", "ZB", "ZiB", "YB", "YiB"};
    dw_jvalue o[DW_JCALL_MOST];
    char text[64];
    double x;
    dw_jbuild b = {0};
    DW_TRY(dw_jcall_bind(r, "filesizeformat", a, "binary", 0, o));
    if (!to_float(v, &x))
        return dw_jfail(r, DW_E_INPUT, "could not convert to float");
    const int binary = dw_jvalue_truth(&o[0]);
    const double base = binary ? 1024 : 1000;
    int i = 0;
    for (double top = base * base; i < 7 && x >= top; i++)
        top *= base;
    if (x == 1)
        strcpy(text, "1 Byte");
    else if (x < base)
        snprintf(text, sizeof text, "%.0f Bytes", trunc(x));
    else
        snprintf(text, sizeof text, "%.1f %s", x / pow(base, i + 1), unit[2 * i + binary]);
    DW_TRY(dw_jbuild_add(r, &b, text, strlen(text), DW_JMARK_LITERAL));
    *out = dw_jbuild_done(r, &b);
    return DW_OK;
}

const dw_jfilter dw_jfilter_texts[] = {
    {"string", string},
    {"safe", safe},
    {"e", escape},
    {"escape", escape},
    {"forceescape", forceescape},
    {"upper", upper},
    {"lower", lower},
    {"capitalize", capitalize},
    {"title", title},
    {"trim", trim},
    {"replace", replace},
    {"center", center},
    {"format", format},
    {"indent", indent},
    {"truncate", truncate},
    {"wordcount", wordcount},
    {"striptags", striptags},
    {"urlencode", urlencode},
    {"int", to_int},
    {"float", to_real},
    {"abs", absolute},
    {"round", round_to},
    {"filesizeformat", filesizeformat},
    {"tojson", dw_jtojson},
    {NULL, NULL},
};
