/* Arithmetic: Python's + - * / // % ** on numbers, text and lists. */
#include <math.h>
#include <string.h>

#include "text/jinja/call.h"
#include "text/jinja/node.h"

static const char *const sign[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

static dw_status overflow(dw_jrun *r)
{
    return dw_jfail(r, DW_E_LIMIT, "an integer beyond 64 bits");
}

static dw_status power(dw_jrun *r, int64_t a, int64_t b, dw_jvalue *out)
{
    int64_t x = 1;
    if (b < 0) {
        if (!a)
            return dw_jfail(r, DW_E_INPUT, "0.0 cannot be raised to a negative power");
        *out = dw_jfloat(pow((double)a, (double)b));
        return DW_OK;
    }
    if (a == 0 || a == 1 || a == -1)
        b = b ? 2 - (b & 1) : 0; /* the same result */
    for (; b > 0; b--)
        if (__builtin_mul_overflow(x, a, &x))
            return overflow(r);
    *out = dw_jint(x);
    return DW_OK;
}

static dw_status integers(dw_jrun *r, int op, int64_t a, int64_t b, dw_jvalue *out)
{
    int64_t x = 0;
    bool bad = false;
    if (!b && (op == DW_JOP_DIV || op == DW_JOP_FLOORDIV || op == DW_JOP_MOD))
        return dw_jfail(r, DW_E_INPUT,
                        op == DW_JOP_DIV ? "division by zero"
                                         : "integer division or modulo by zero");
    switch (op) {
    case DW_JOP_ADD:
        bad = __builtin_add_overflow(a, b, &x);
        break;
    case DW_JOP_SUB:
        bad = __builtin_sub_overflow(a, b, &x);
        break;
    case DW_JOP_MUL:
        bad = __builtin_mul_overflow(a, b, &x);
        break;
    case DW_JOP_DIV:
        *out = dw_jfloat((double)a / (double)b);
        return DW_OK;
    case DW_JOP_POW:
        return power(r, a, b, out);
    default: /* rounds down, and the remainder has the divisor's sign */
        bad = a == INT64_MIN && b == -1 && op == DW_JOP_FLOORDIV;
        if (bad)
            break;
        x = b == -1 || b == 0 ? 0 : a % b;
        if (op == DW_JOP_MOD)
            x += x && (x < 0) != (b < 0) ? b : 0;
        else
            x = b == -1 || b == 0 ? -a : a / b - (x && (x < 0) != (b < 0));
        break;
    }
    *out = dw_jint(x);
    return bad ? overflow(r) : DW_OK;
}

static dw_status floats(dw_jrun *r, int op, double a, double b, dw_jvalue *out)
{
    double x = 0;
    if (b == 0 && (op == DW_JOP_DIV || op == DW_JOP_FLOORDIV || op == DW_JOP_MOD))
        return dw_jfail(r, DW_E_INPUT,
                        op == DW_JOP_DIV ? "float division by zero" : "float modulo");
    switch (op) {
    case DW_JOP_ADD:
        x = a + b;
        break;
    case DW_JOP_SUB:
        x = a - b;
        break;
    case DW_JOP_MUL:
        x = a * b;
        break;
    case DW_JOP_DIV:
        x = a / b;
        break;
    case DW_JOP_POW:
        x = pow(a, b);
        if ((a == 0 && b < 0) || (isnan(x) && !isnan(a) && !isnan(b)))
            return dw_jfail(r, DW_E_INPUT, "a power that is not a real number");
        if (isinf(x) && !isinf(a) && !isinf(b))
            return dw_jfail(r, DW_E_INPUT, "Numerical result out of range");
        break;
    default: { /* as CPython's float_divmod */
        double m = fmod(a, b), d = (a - m) / b;
        if (m != 0 && (b < 0) != (m < 0)) {
            m += b;
            d -= 1;
        } else if (m == 0) {
            m = copysign(0, b);
        }
        const double down = d != 0 ? floor(d) : copysign(0, a / b);
        x = op == DW_JOP_MOD ? m : d - down > 0.5 ? down + 1 : down;
        break;
    }
    }
    *out = dw_jfloat(x);
    return DW_OK;
}

static dw_status repeat(dw_jrun *r, const dw_jvalue *v, int64_t n, dw_jvalue *out)
{
    if (n < 0)
        n = 0;
    if (v->kind == DW_J_STR) {
        dw_jbuild b = {0};
        if (v->s.len && n > DW_JLIMIT_MEMORY / v->s.len)
            return dw_jfail(r, DW_E_LIMIT, "the template takes more than %d MiB of memory",
                            DW_JLIMIT_MEMORY >> 20);
        for (int64_t i = 0; i < n && v->s.len; i++) {
            DW_TRY(dw_jbuild_str(r, &b, &v->s));
            if (i % 16 == 0)
                DW_TRY(dw_jrun_spend(r, 1));
        }
        *out = dw_jbuild_done(r, &b);
        out->s.markup = v->s.markup;
        return DW_OK;
    }
    const size_t m = v->list->n;
    if (m && n > (int64_t)(DW_JLIMIT_MEMORY / m))
        n = (int64_t)(DW_JLIMIT_MEMORY / m); /* refused below */
    DW_TRY(dw_jlist_new(r, v->kind, m * (size_t)n, out));
    for (size_t i = 0; i < m * (size_t)n; i++)
        out->list->item[i] = v->list->item[i % m];
    return DW_OK;
}

static dw_status join_lists(dw_jrun *r, const dw_jvalue *a, const dw_jvalue *b, dw_jvalue *out)
{
    DW_TRY(dw_jlist_new(r, a->kind, a->list->n + b->list->n, out));
    if (a->list->n)
        memcpy(out->list->item, a->list->item, a->list->n * sizeof *a);
    if (b->list->n)
        memcpy(out->list->item + a->list->n, b->list->item, b->list->n * sizeof *b);
    return DW_OK;
}

static dw_status join_texts(dw_jrun *r, const dw_jvalue *a, const dw_jvalue *b, dw_jvalue *out)
{
    dw_jvalue x = *a, y = *b;
    const bool markup = a->s.markup || b->s.markup;
    if (markup) {
        DW_TRY(dw_jstrings_escape(r, &a->s, &x));
        DW_TRY(dw_jstrings_escape(r, &b->s, &y));
    }
    DW_TRY(dw_jbuild_concat(r, &x.s, &y.s, out));
    out->s.markup = markup;
    return DW_OK;
}

static bool is_list(const dw_jvalue *v)
{
    return v->kind == DW_J_LIST || v->kind == DW_J_TUPLE;
}

static bool is_int(const dw_jvalue *v)
{
    return v->kind == DW_J_INT || v->kind == DW_J_BOOL;
}

static int64_t int_of(const dw_jvalue *v)
{
    return v->kind == DW_J_BOOL ? v->b : v->i;
}

dw_status dw_joperate(dw_jrun *r, int op, const dw_jvalue *a, const dw_jvalue *b, dw_jvalue *out)
{
    if (is_int(a) && is_int(b))
        return integers(r, op, int_of(a), int_of(b), out);
    if (dw_jvalue_is_number(a) && dw_jvalue_is_number(b))
        return floats(r, op, dw_jvalue_number(a), dw_jvalue_number(b), out);
    if (op == DW_JOP_MOD && a->kind == DW_J_STR)
        return dw_jformat_percent(r, &a->s, b, out);
    if (a->kind == DW_J_UNDEFINED || b->kind == DW_J_UNDEFINED)
        return dw_jcall_undefined(r, a->kind == DW_J_UNDEFINED ? a : b);
    if (op == DW_JOP_ADD && a->kind == DW_J_STR && b->kind == DW_J_STR)
        return join_texts(r, a, b, out);
    if (op == DW_JOP_ADD && is_list(a) && a->kind == b->kind)
        return join_lists(r, a, b, out);
    if (op == DW_JOP_MUL && (a->kind == DW_J_STR || is_list(a)) && is_int(b))
        return repeat(r, a, int_of(b), out);
    if (op == DW_JOP_MUL && is_int(a) && (b->kind == DW_J_STR || is_list(b)))
        return repeat(r, b, int_of(a), out);
    if (a->kind == DW_J_BIG || b->kind == DW_J_BIG)
        return overflow(r);
    if (op == DW_JOP_ADD && a->kind == DW_J_STR)
        return dw_jfail(r, DW_E_INPUT, "can only concatenate str (not \"%s\") to str", dw_jtype(b));
    if (op == DW_JOP_ADD && is_list(a))
        return dw_jfail(r, DW_E_INPUT, "can only concatenate %s (not \"%s\") to %s", dw_jtype(a),
                        dw_jtype(b), dw_jtype(a));
    return dw_jfail(r, DW_E_INPUT, "unsupported operand type(s) for %s: '%s' and '%s'", sign[op],
                    dw_jtype(a), dw_jtype(b));
}
