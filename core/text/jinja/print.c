/* str() and repr() of values, as Python prints them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja/call.h"
#include "text/jinja/chars.h"
#include "text/jinja/exec.h"
#include "text/unicode.h"

/* The digits of the shortest form that reads back the same, and the decimal exponent. */
static int shortest(double x, char *digits)
{
    char text[40];
    for (int n = 1; n <= 17; n++) {
        snprintf(text, sizeof text, "%.*e", n - 1, x);
        if (strtod(text, NULL) == x)
            break;
    }
    char *e = strchr(text, 'e');
    size_t m = 0;
    for (char *p = text; p < e; p++)
        if (*p >= '0' && *p <= '9')
            digits[m++] = *p;
    while (m > 1 && digits[m - 1] == '0')
        m--;
    digits[m] = 0;
    return (int)strtol(e + 1, NULL, 10);
}

void dw_jprint_float(double x, char *out)
{
    char digits[24] = "0";
    if (isnan(x) || isinf(x)) {
        snprintf(out, 8, "%s", isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
        return;
    }
    if (signbit(x))
        *out++ = '-';
    x = fabs(x);
    const int e = x == 0 ? 0 : shortest(x, digits);
    const int n = (int)strlen(digits);
    if (e < -4 || e >= 16)
        sprintf(out, "%c%s%se%c%02d", digits[0], n > 1 ? "." : "", digits + 1, e < 0 ? '-' : '+',
                abs(e));
    else if (e < 0)
        sprintf(out, "0.%.*s%s", -e - 1, "000000", digits);
    else if (n <= e + 1)
        sprintf(out, "%s%.*s.0", digits, e + 1 - n, "0000000000000000");
    else
        sprintf(out, "%.*s.%s", e + 1, digits, digits + e + 1);
}

static dw_status put(dw_jrun *r, dw_jbuild *b, const char *s)
{
    return dw_jbuild_add(r, b, s, strlen(s), 0);
}

static dw_status repr_string(dw_jrun *r, dw_jbuild *b, const dw_jstr *s)
{
    const char quote =
        s->len && memchr(s->ptr, '\'', s->len) && !memchr(s->ptr, '"', s->len) ? '"' : '\'';
    size_t plain = 0;
    if (s->markup)
        DW_TRY(put(r, b, "Markup("));
    DW_TRY(dw_jbuild_add(r, b, &quote, 1, 0));
    for (size_t i = 0; i < s->len;) {
        int len;
        const uint32_t c = dw_unicode_at(s->ptr + i, s->len - i, &len);
        char e[16] = "";
        if (c == (uint32_t)quote || c == '\\')
            snprintf(e, sizeof e, "\\%c", (char)c);
        else if (c == '\n' || c == '\r' || c == '\t')
            snprintf(e, sizeof e, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (!dw_jchars_printable(c))
            snprintf(e, sizeof e, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        if (*e) {
            const dw_jstr before = dw_jstr_part(s, plain, i);
            DW_TRY(dw_jbuild_str(r, b, &before));
            DW_TRY(dw_jbuild_add(r, b, e, strlen(e), dw_jstr_mark(s, i)));
            plain = i + (size_t)len;
        }
        i += (size_t)len;
    }
    const dw_jstr rest = dw_jstr_part(s, plain, s->len);
    DW_TRY(dw_jbuild_str(r, b, &rest));
    DW_TRY(dw_jbuild_add(r, b, &quote, 1, 0));
    return s->markup ? put(r, b, ")") : DW_OK;
}

static dw_status print(dw_jrun *r, dw_jbuild *b, const dw_jvalue *v, bool repr, int depth);

static dw_status print_items(dw_jrun *r, dw_jbuild *b, const dw_jlist *l, const char *open,
                             const char *close, int depth)
{
    DW_TRY(put(r, b, open));
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            DW_TRY(put(r, b, ", "));
        DW_TRY(print(r, b, &l->item[i], true, depth + 1));
    }
    return put(r, b, close);
}

static dw_status print_dict(dw_jrun *r, dw_jbuild *b, const dw_jdict *d, int depth)
{
    DW_TRY(put(r, b, "{"));
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            DW_TRY(put(r, b, ", "));
        DW_TRY(print(r, b, &d->pair[i].key, true, depth + 1));
        DW_TRY(put(r, b, ": "));
        DW_TRY(print(r, b, &d->pair[i].value, true, depth + 1));
    }
    return put(r, b, "}");
}

static dw_status print_number(dw_jrun *r, dw_jbuild *b, const dw_jvalue *v)
{
    char text[64];
    if (v->kind == DW_J_FLOAT)
        dw_jprint_float(v->f, text);
    else
        snprintf(text, sizeof text, "%lld", (long long)v->i);
    /* A number cannot hold a special token, and templates count their own with it. */
    return dw_jbuild_add(r, b, text, strlen(text), DW_JMARK_LITERAL);
}

static dw_status print_range(dw_jrun *r, dw_jbuild *b, const dw_jrange *g)
{
    char text[96];
    snprintf(text, sizeof text, g->step == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)",
             (long long)g->start, (long long)g->stop, (long long)g->step);
    return put(r, b, text);
}

static dw_status print_object(dw_jrun *r, dw_jbuild *b, const dw_jvalue *v, int depth)
{
    char text[128];
    switch (v->kind) {
    case DW_J_VIEW:
        DW_TRY(put(r, b, dw_jtype(v)));
        return print_items(r, b, v->list, "([", "])", depth);
    case DW_J_NAMESPACE:
        DW_TRY(put(r, b, "<Namespace "));
        DW_TRY(print_dict(r, b, v->dict, depth));
        return put(r, b, ">");
    case DW_J_MACRO:
        snprintf(text, sizeof text, "<Macro '%.100s'>", v->macro->name);
        return put(r, b, text);
    case DW_J_LOOP: {
        dw_jvalue n;
        bool known;
        DW_TRY(dw_jloop_attr(r, v->loop, "length", &n, &known));
        snprintf(text, sizeof text, "<LoopContext %lld/%lld>", (long long)v->loop->index0 + 1,
                 (long long)n.i);
        return put(r, b, text);
    }
    default:
        return dw_jfail(r, DW_E_INPUT, "printing a %s: Python would print an address of memory",
                        dw_jtype(v));
    }
}

static dw_status print(dw_jrun *r, dw_jbuild *b, const dw_jvalue *v, bool repr, int depth)
{
    if (depth > DW_JLIMIT_VALUE_DEPTH)
        return dw_jfail(r, DW_E_LIMIT, "values nested deeper than %d", DW_JLIMIT_VALUE_DEPTH);
    DW_TRY(dw_jrun_spend(r, 1));
    switch (v->kind) {
    case DW_J_MISSING:
    case DW_J_UNDEFINED:
        return repr ? put(r, b, "Undefined") : DW_OK;
    case DW_J_NONE:
        return put(r, b, "None");
    case DW_J_BOOL:
        return put(r, b, v->b ? "True" : "False");
    case DW_J_INT:
    case DW_J_FLOAT:
        return print_number(r, b, v);
    case DW_J_BIG:
        return dw_jbuild_str(r, b, &v->s);
    case DW_J_STR:
        return repr ? repr_string(r, b, &v->s) : dw_jbuild_str(r, b, &v->s);
    case DW_J_LIST:
        return print_items(r, b, v->list, "[", "]", depth);
    case DW_J_TUPLE:
        return print_items(r, b, v->list, "(", v->list->n == 1 ? ",)" : ")", depth);
    case DW_J_DICT:
        return print_dict(r, b, v->dict, depth);
    case DW_J_RANGE:
        return print_range(r, b, v->range);
    default:
        return print_object(r, b, v, depth);
    }
}

dw_status dw_jprint_str(dw_jrun *r, dw_jbuild *b, const dw_jvalue *v)
{
    return print(r, b, v, false, 0);
}

dw_status dw_jprint_repr(dw_jrun *r, dw_jbuild *b, const dw_jvalue *v)
{
    return print(r, b, v, true, 0);
}

dw_status dw_jprint_string(dw_jrun *r, const dw_jvalue *v, dw_jstr *out)
{
    if (v->kind == DW_J_STR) {
        *out = v->s;
        return DW_OK;
    }
    dw_jbuild b = {0};
    DW_TRY(print(r, &b, v, false, 0));
    *out = dw_jbuild_done(r, &b).s;
    return DW_OK;
}
