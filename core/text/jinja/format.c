/* Python's two ways of putting values into a text: "%s" % x and "{}".format(x). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja/call.h"
#include "text/unicode.h"

/* How one value is to be written, in either notation. */
typedef struct spec {
    char align, sign, type;
    dw_jstr fill;
    bool alternate, zero, comma;
    int64_t width, precision; /* -1: none */
} spec;

enum { MAX_WIDTH = 100000, MAX_PRECISION = 300 };

static int64_t width_of(const dw_jstr *s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s->len; i++)
        n += ((unsigned char)s->ptr[i] & 0xc0) != 0x80;
    return n;
}

/* Appends s in a field: numbers to the right, text to the left, unless said otherwise. */
static dw_status put_field(dw_jrun *r, dw_jbuild *b, const spec *f, const dw_jstr *s, bool number)
{
    const int64_t n = width_of(s), room = f->width > n ? f->width - n : 0;
    const char align = f->align ? f->align : number ? '>' : '<';
    const int64_t left = align == '>' || align == '=' ? room : align == '^' ? room / 2 : 0;
    const size_t sign =
        align == '=' && s->len && strchr("+- ", s->ptr[0]) ? 1 : 0; /* zeros go behind the sign */
    const dw_jstr head = dw_jstr_part(s, 0, sign), tail = dw_jstr_part(s, sign, s->len);
    DW_TRY(dw_jbuild_str(r, b, &head));
    for (int64_t i = 0; i < left; i++)
        DW_TRY(dw_jbuild_str(r, b, &f->fill));
    DW_TRY(dw_jbuild_str(r, b, &tail));
    for (int64_t i = left; i < room; i++)
        DW_TRY(dw_jbuild_str(r, b, &f->fill));
    return dw_jrun_spend(r, (size_t)(room / 16 + 1));
}

static void group(char *text, size_t cap)
{
    char out[960];
    size_t digits = strspn(text, "0123456789"), m = 0;
    for (size_t i = 0; text[i] && m + 2 < sizeof out; i++) {
        out[m++] = text[i];
        if (i + 1 < digits && (digits - i - 1) % 3 == 0)
            out[m++] = ',';
    }
    out[m] = 0;
    snprintf(text, cap, "%s", out);
}

static void digits_of(uint64_t x, unsigned base, bool upper, char *out)
{
    char back[72];
    size_t n = 0, m = 0;
    do
        back[n++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[x % base];
    while (x /= base);
    while (n)
        out[m++] = back[--n];
    out[m] = 0;
}

static dw_status put_sign(dw_jrun *r, dw_jbuild *b, const spec *f, bool negative, const char *text)
{
    char all[736];
    snprintf(all, sizeof all, "%s%s",
             negative         ? "-"
             : f->sign == '+' ? "+"
             : f->sign == ' ' ? " "
                              : "",
             text);
    const dw_jstr s = {.ptr = all, .len = (uint32_t)strlen(all), .tag = DW_JMARK_LITERAL};
    return put_field(r, b, f, &s, true);
}

static dw_status put_integer(dw_jrun *r, dw_jbuild *b, const spec *f, int64_t x)
{
    char text[512] = "", digits[80];
    const unsigned base = f->type == 'x' || f->type == 'X' ? 16
                          : f->type == 'o'                 ? 8
                          : f->type == 'b'                 ? 2
                                                           : 10;
    digits_of(x < 0 ? 0 - (uint64_t)x : (uint64_t)x, base, f->type == 'X', digits);
    if (f->alternate && base != 10)
        snprintf(text, sizeof text, "0%c", f->type);
    int zeros =
        f->precision > (int64_t)strlen(digits) ? (int)(f->precision - (int64_t)strlen(digits)) : 0;
    const size_t n = strlen(text);
    size_t m = n;
    for (; zeros > 0 && m + sizeof digits < sizeof text; zeros--)
        text[m++] = '0';
    snprintf(text + m, sizeof text - m, "%s", digits);
    if (f->comma)
        group(text + n, sizeof text - n);
    return put_sign(r, b, f, x < 0, text);
}

static void write_float(char *out, size_t n, char type, int precision, double x)
{
    switch (type) {
    case 'e':
        snprintf(out, n, "%.*e", precision, x);
        break;
    case 'E':
        snprintf(out, n, "%.*E", precision, x);
        break;
    case 'g':
        snprintf(out, n, "%.*g", precision, x);
        break;
    case 'G':
        snprintf(out, n, "%.*G", precision, x);
        break;
    default:
        snprintf(out, n, "%.*f", precision, x);
        break;
    }
}

static dw_status put_float(dw_jrun *r, dw_jbuild *b, const spec *f, double x)
{
    char text[720];
    const int precision = f->precision < 0 ? 6 : (int)f->precision;
    const bool percent = f->type == '%';
    const double a = fabs(percent ? x * 100 : x);
    if (isnan(x) || isinf(x)) {
        snprintf(text, sizeof text, "%s%s", isnan(x) ? "nan" : "inf", percent ? "%" : "");
    } else if (!f->type || f->type == 'r') {
        dw_jprint_float(a, text);
    } else {
        write_float(text, sizeof text - 1, percent ? 'f' : f->type, precision, a);
        if (percent)
            snprintf(text + strlen(text), 2, "%%");
    }
    if (f->comma)
        group(text, sizeof text);
    return put_sign(r, b, f, signbit(x) && !isnan(x), text);
}

static dw_status put_text(dw_jrun *r, dw_jbuild *b, const spec *f, dw_jstr s)
{
    if (f->precision >= 0) {
        size_t at = 0;
        int len;
        for (int64_t i = 0; i < f->precision && at < s.len; i++) {
            (void)dw_unicode_at(s.ptr + at, s.len - at, &len);
            at += (size_t)len;
        }
        s = dw_jstr_part(&s, 0, at);
    }
    return put_field(r, b, f, &s, false);
}

/* ---- percent ---- */

typedef struct percent {
    dw_jrun *r;
    const dw_jvalue *args;
    size_t next;
} percent;

static dw_status next_arg(percent *p, dw_jvalue *out)
{
    const bool tuple = p->args->kind == DW_J_TUPLE;
    const size_t n = tuple ? p->args->list->n : 1;
    if (p->next >= n)
        return dw_jfail(p->r, DW_E_INPUT, "not enough arguments for format string");
    *out = tuple ? p->args->list->item[p->next] : *p->args;
    p->next++;
    return DW_OK;
}

static dw_status star_or_number(percent *p, const char **s, const char *end, int64_t *out)
{
    dw_jvalue v;
    if (*s < end && **s == '*') {
        ++*s;
        DW_TRY(next_arg(p, &v));
        if (v.kind != DW_J_INT)
            return dw_jfail(p->r, DW_E_INPUT, "* wants int");
        *out = v.i;
    } else {
        for (*out = 0; *s < end && **s >= '0' && **s <= '9' && *out <= MAX_WIDTH; ++*s)
            *out = *out * 10 + (**s - '0');
    }
    if (*out > MAX_WIDTH)
        return dw_jfail(p->r, DW_E_LIMIT, "a field of more than %d characters", MAX_WIDTH);
    return DW_OK;
}

static dw_status percent_value(percent *p, dw_jbuild *b, spec *f, const dw_jvalue *v)
{
    dw_jbuild t = {0};
    switch (f->type) {
    case 's':
        DW_TRY(dw_jprint_str(p->r, &t, v));
        return put_text(p->r, b, f, dw_jbuild_done(p->r, &t).s);
    case 'r':
    case 'a':
        DW_TRY(dw_jprint_repr(p->r, &t, v));
        return put_text(p->r, b, f, dw_jbuild_done(p->r, &t).s);
    case 'c':
        if (v->kind == DW_J_STR && width_of(&v->s) == 1)
            return put_text(p->r, b, f, v->s);
        return dw_jfail(p->r, DW_E_INPUT, "%%c requires int or char");
    default:
        break;
    }
    if (!dw_jvalue_is_number(v))
        return dw_jfail(p->r, DW_E_INPUT, "%%%c format: a real number is required, not %s", f->type,
                        dw_jtype(v));
    if (strchr("eEfFgG", f->type))
        return put_float(p->r, b, f, dw_jvalue_number(v));
    if (v->kind == DW_J_FLOAT && (strchr("xXo", f->type) || fabs(v->f) >= 9e18 || isnan(v->f)))
        return dw_jfail(p->r, DW_E_INPUT, "%%%c format: an integer is required, not float",
                        f->type);
    return put_integer(p->r, b, f,
                       v->kind == DW_J_FLOAT  ? (int64_t)v->f
                       : v->kind == DW_J_BOOL ? v->b
                                              : v->i);
}

/* "%" stands at *s - 1. */
static dw_status percent_one(percent *p, const dw_jstr *whole, const char **s, dw_jbuild *b)
{
    const char *end = whole->ptr + whole->len;
    spec f = {.fill = {.ptr = " ", .len = 1}, .width = -1, .precision = -1, .align = '>'};
    dw_jvalue v = {0}, *found;
    if (*s < end && **s == '(') {
        const char *close = memchr(*s, ')', (size_t)(end - *s));
        if (!close || p->args->kind != DW_J_DICT)
            return dw_jfail(p->r, DW_E_INPUT,
                            close ? "format requires a mapping" : "incomplete format key");
        const dw_jvalue key = dw_jtext(*s + 1, (size_t)(close - *s - 1), 0);
        DW_TRY(dw_jdict_find(p->r, p->args->dict, &key, &found));
        if (!found)
            return dw_jfail(p->r, DW_E_INPUT, "no key '%.*s' for the format", (int)key.s.len,
                            key.s.ptr);
        v = *found;
        p->next = SIZE_MAX;
        *s = close + 1;
    }
    for (; *s < end && **s && strchr("-+ #0", **s); ++*s) {
        f.align = **s == '-' ? '<' : f.align;
        f.sign = **s == '+' || (**s == ' ' && f.sign != '+') ? **s : f.sign;
        f.alternate = f.alternate || **s == '#';
        f.zero = f.zero || **s == '0';
    }
    DW_TRY(star_or_number(p, s, end, &f.width));
    if (*s < end && **s == '.') {
        ++*s;
        DW_TRY(star_or_number(p, s, end, &f.precision));
    }
    f.type = *s < end ? *(*s)++ : 0;
    if (f.type == '%')
        return dw_jbuild_add(p->r, b, "%", 1, dw_jstr_mark(whole, (size_t)(*s - 1 - whole->ptr)));
    if (!f.type || !strchr("srcdiuxXoeEfFgGa", f.type) || f.precision > MAX_PRECISION)
        return dw_jfail(p->r, DW_E_INPUT, "unsupported format character");
    if (f.zero && f.align != '<' && !strchr("srac", f.type)) {
        f.fill.ptr = "0";
        f.align = '=';
    }
    if (v.kind == DW_J_MISSING)
        DW_TRY(next_arg(p, &v));
    return percent_value(p, b, &f, &v);
}

dw_status dw_jformat_percent(dw_jrun *r, const dw_jstr *f, const dw_jvalue *args, dw_jvalue *out)
{
    percent p = {r, args, 0};
    dw_jbuild b = {0};
    const char *s = f->ptr, *end = f->ptr + f->len;
    while (s < end) {
        const char *at = memchr(s, '%', (size_t)(end - s));
        const dw_jstr plain =
            dw_jstr_part(f, (size_t)(s - f->ptr), (size_t)((at ? at : end) - f->ptr));
        DW_TRY(dw_jbuild_str(r, &b, &plain));
        s = at ? at + 1 : end;
        if (at)
            DW_TRY(percent_one(&p, f, &s, &b));
    }
    const bool all = args->kind == DW_J_TUPLE
                         ? p.next >= args->list->n
                         : p.next > 0 || args->kind == DW_J_DICT || args->kind == DW_J_LIST;
    if (!all)
        return dw_jfail(r, DW_E_INPUT, "not all arguments converted during string formatting");
    *out = dw_jbuild_done(r, &b);
    out->s.markup = f->markup;
    return DW_OK;
}

/* ---- braces ---- */

typedef struct braces {
    dw_jrun *r;
    const dw_jargs *a;
    size_t next;
} braces;

static dw_status first_value(braces *p, const char *name, size_t n, dw_jvalue *out)
{
    size_t index = 0, i = 0;
    while (i < n && name[i] >= '0' && name[i] <= '9' && index < 1000)
        index = index * 10 + (size_t)(name[i++] - '0');
    if (i == n) {
        index = n ? index : p->next++;
        if (index >= p->a->n)
            return dw_jfail(p->r, DW_E_INPUT, "Replacement index %zu out of range", index);
        *out = p->a->v[index];
        return DW_OK;
    }
    for (i = 0; i < p->a->n_kw; i++)
        if (strlen(p->a->kw[i].name) == n && !memcmp(p->a->kw[i].name, name, n)) {
            *out = p->a->kw[i].value;
            return DW_OK;
        }
    return dw_jfail(p->r, DW_E_INPUT, "format has no argument '%.*s'", (int)n, name);
}

/* name.attribute[item] */
static dw_status field_value(braces *p, const char *s, const char *end, dw_jvalue *out)
{
    const char *q = s;
    while (q < end && *q != '.' && *q != '[')
        q++;
    DW_TRY(first_value(p, s, (size_t)(q - s), out));
    while (q < end) {
        const bool item = *q == '[';
        const char *from = q + 1, *to = from;
        while (to < end && (item ? *to != ']' : *to != '.' && *to != '['))
            to++;
        const char *name = dw_jrun_strndup(p->r, from, (size_t)(to - from));
        if (!name)
            return DW_E_LIMIT;
        dw_jvalue key = dw_jtext(name, (size_t)(to - from), 0);
        if (item && *name && strspn(name, "0123456789") == strlen(name) && strlen(name) < 10)
            key = dw_jint(strtoll(name, NULL, 10));
        const dw_jvalue of = *out;
        DW_TRY(item ? dw_jattr_item(p->r, &of, &key, out) : dw_jattr_get(p->r, &of, name, out));
        q = to + (item && to < end);
    }
    return DW_OK;
}

static dw_status read_spec(dw_jrun *r, const char *s, const char *end, spec *f)
{
    int len = 0;
    if (s < end)
        (void)dw_unicode_at(s, (size_t)(end - s), &len);
    if (s < end && s + len < end && strchr("<>=^", s[len])) {
        f->fill = (dw_jstr){.ptr = s, .len = (uint32_t)len};
        f->align = s[len];
        s += len + 1;
    } else if (s < end && *s && strchr("<>=^", *s)) {
        f->align = *s++;
    }
    if (s < end && *s && strchr("+- ", *s))
        f->sign = *s++;
    f->alternate = s < end && *s == '#' && s++;
    if (s < end && *s == '0') {
        f->fill.ptr = f->align ? f->fill.ptr : "0";
        f->align = f->align ? f->align : '=';
        s++;
    }
    for (; s < end && *s >= '0' && *s <= '9' && f->width <= MAX_WIDTH; s++)
        f->width = (f->width < 0 ? 0 : f->width) * 10 + (*s - '0');
    f->comma = s < end && *s == ',' && s++;
    if (s < end && *s == '.') {
        f->precision = 0;
        for (s++; s < end && *s >= '0' && *s <= '9' && f->precision <= MAX_PRECISION; s++)
            f->precision = f->precision * 10 + (*s - '0');
    }
    f->type = s < end ? *s++ : 0;
    if (s != end || f->width > MAX_WIDTH || f->precision > MAX_PRECISION ||
        (f->type && !strchr("sdxXobeEfFgG%", f->type)))
        return dw_jfail(r, DW_E_INPUT, "a format specification that is not supported");
    return DW_OK;
}

static dw_status brace_value(dw_jrun *r, dw_jbuild *b, spec *f, const dw_jvalue *v)
{
    dw_jstr text;
    if (v->kind == DW_J_STR || !dw_jvalue_is_number(v) || (v->kind == DW_J_BOOL && !f->type)) {
        if (f->type && f->type != 's')
            return dw_jfail(r, DW_E_INPUT, "Unknown format code '%c' for object of type '%s'",
                            f->type, dw_jtype(v));
        DW_TRY(dw_jprint_string(r, v, &text));
        return put_text(r, b, f, text);
    }
    if (f->type == 's')
        return dw_jfail(r, DW_E_INPUT, "Unknown format code 's' for object of type '%s'",
                        dw_jtype(v));
    if (v->kind == DW_J_FLOAT || (f->type && strchr("eEfFgG%", f->type))) {
        if (f->type && strchr("dxXob", f->type))
            return dw_jfail(r, DW_E_INPUT, "Unknown format code '%c' for object of type 'float'",
                            f->type);
        if (!f->type && f->precision >= 0)
            return dw_jfail(r, DW_E_INPUT, "a precision needs one of e, f, g");
        return put_float(r, b, f, dw_jvalue_number(v));
    }
    if (f->precision >= 0)
        return dw_jfail(r, DW_E_INPUT, "Precision not allowed in integer format specifier");
    return put_integer(r, b, f, v->kind == DW_J_BOOL ? v->b : v->i);
}

/* The inside of one pair of braces. */
static dw_status brace_field(braces *p, dw_jbuild *b, const char *s, const char *end)
{
    spec f = {.fill = {.ptr = " ", .len = 1}, .width = -1, .precision = -1};
    dw_jvalue v;
    dw_jbuild t = {0};
    const char *colon = memchr(s, ':', (size_t)(end - s));
    const char *name_end = colon ? colon : end, *bang = memchr(s, '!', (size_t)(name_end - s));
    DW_TRY(field_value(p, s, bang ? bang : name_end, &v));
    if (bang && (name_end - bang != 2 || !strchr("rs", bang[1])))
        return dw_jfail(p->r, DW_E_INPUT, "a conversion that is not supported");
    if (bang) {
        DW_TRY(bang[1] == 'r' ? dw_jprint_repr(p->r, &t, &v) : dw_jprint_str(p->r, &t, &v));
        v = dw_jbuild_done(p->r, &t);
    }
    if (colon)
        DW_TRY(read_spec(p->r, colon + 1, end, &f));
    return brace_value(p->r, b, &f, &v);
}

dw_status dw_jformat_braces(dw_jrun *r, const dw_jstr *f, const dw_jargs *a, dw_jvalue *out)
{
    braces p = {r, a, 0};
    dw_jbuild b = {0};
    for (size_t i = 0; i < f->len;) {
        const char c = f->ptr[i];
        if (c != '{' && c != '}') {
            const size_t from = i;
            while (i < f->len && f->ptr[i] != '{' && f->ptr[i] != '}')
                i++;
            const dw_jstr plain = dw_jstr_part(f, from, i);
            DW_TRY(dw_jbuild_str(r, &b, &plain));
            continue;
        }
        if (i + 1 < f->len && f->ptr[i + 1] == c) {
            DW_TRY(dw_jbuild_add(r, &b, &c, 1, dw_jstr_mark(f, i)));
            i += 2;
            continue;
        }
        const char *close = c == '{' ? memchr(f->ptr + i, '}', f->len - i) : NULL;
        if (!close)
            return dw_jfail(r, DW_E_INPUT, "Single '%c' encountered in format string", c);
        DW_TRY(brace_field(&p, &b, f->ptr + i + 1, close));
        i = (size_t)(close - f->ptr) + 1;
    }
    *out = dw_jbuild_done(r, &b);
    out->s.markup = f->markup;
    return DW_OK;
}
