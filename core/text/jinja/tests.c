/* The tests behind `is`. */
#include <string.h>

#include "text/jinja/call.h"
#include "text/jinja/node.h"

static bool in_list(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (!strcmp(*list, name))
            return true;
    return false;
}

/* Tests of one value that look at its kind alone. */
static bool of_kind(const char *name, const dw_jvalue *v, bool *known)
{
    *known = true;
    if (!strcmp(name, "defined"))
        return v->kind != DW_J_UNDEFINED;
    if (!strcmp(name, "undefined"))
        return v->kind == DW_J_UNDEFINED;
    if (!strcmp(name, "none"))
        return v->kind == DW_J_NONE;
    if (!strcmp(name, "boolean"))
        return v->kind == DW_J_BOOL;
    if (!strcmp(name, "true"))
        return v->kind == DW_J_BOOL && v->b;
    if (!strcmp(name, "false"))
        return v->kind == DW_J_BOOL && !v->b;
    if (!strcmp(name, "integer"))
        return v->kind == DW_J_INT || v->kind == DW_J_BIG;
    if (!strcmp(name, "float"))
        return v->kind == DW_J_FLOAT;
    if (!strcmp(name, "number"))
        return dw_jvalue_is_number(v) || v->kind == DW_J_BIG;
    if (!strcmp(name, "string"))
        return v->kind == DW_J_STR;
    if (!strcmp(name, "mapping"))
        return v->kind == DW_J_DICT;
    if (!strcmp(name, "iterable"))
        return dw_jiter_can(v) || v->kind == DW_J_LOOP;
    if (!strcmp(name, "escaped"))
        return v->kind == DW_J_STR && v->s.markup;
    if (!strcmp(name, "callable"))
        return v->kind == DW_J_FUNCTION || v->kind == DW_J_METHOD || v->kind == DW_J_MACRO ||
               v->kind == DW_J_LOOP || v->kind == DW_J_JOINER || v->kind == DW_J_UNDEFINED;
    if (!strcmp(name, "sequence"))
        return v->kind == DW_J_STR || v->kind == DW_J_LIST || v->kind == DW_J_TUPLE ||
               v->kind == DW_J_RANGE || v->kind == DW_J_DICT || v->kind == DW_J_UNDEFINED;
    *known = false;
    return false;
}

static const char *const of_two[] = {
    "==", "eq", "equalto",  "!=", "ne", ">",           "gt", "greaterthan", "ge", ">=",
    "<",  "lt", "lessthan", "<=", "le", "divisibleby", "in", "sameas",      NULL};
static const char *const of_one[] = {"odd", "even", "lower", "upper", "filter", "test", NULL};

bool dw_jtest_has(const char *name)
{
    bool known;
    const dw_jvalue none = {.kind = DW_J_NONE};
    (void)of_kind(name, &none, &known);
    return known || in_list(name, of_one) || in_list(name, of_two);
}

static dw_status compare(dw_jrun *r, const char *name, const dw_jvalue *a, const dw_jvalue *b,
                         bool *out)
{
    const bool equal = name[0] == '=' || name[0] == '!' || !strcmp(name, "eq") ||
                       !strcmp(name, "ne") || !strcmp(name, "equalto");
    if (equal) {
        DW_TRY(dw_jvalue_equal(r, a, b, out));
        *out = *out != (name[0] == '!' || name[0] == 'n');
        return DW_OK;
    }
    const bool more = name[0] == '>' || name[0] == 'g';
    const bool or_equal =
        !strcmp(name, ">=") || !strcmp(name, "<=") || !strcmp(name, "ge") || !strcmp(name, "le");
    int c;
    DW_TRY(dw_jvalue_compare(r, a, b, more ? or_equal ? ">=" : ">" : or_equal ? "<=" : "<", &c));
    *out = (more ? c > 0 : c < 0) || (or_equal && c == 0);
    return DW_OK;
}

static bool same(const dw_jvalue *a, const dw_jvalue *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case DW_J_NONE:
        return true;
    case DW_J_BOOL:
        return a->b == b->b;
    case DW_J_INT:
        return a->i == b->i && a->i >= -5 && a->i <= 256; /* those that CPython keeps */
    case DW_J_STR:
        return a->s.ptr == b->s.ptr && a->s.len == b->s.len;
    case DW_J_FLOAT:
    case DW_J_UNDEFINED:
        return false;
    default:
        return a->list == b->list;
    }
}

static dw_status two(dw_jrun *r, const char *name, const dw_jvalue *a, const dw_jvalue *b,
                     bool *out)
{
    if (!strcmp(name, "in"))
        return dw_jvalue_contains(r, b, a, out);
    if (!strcmp(name, "sameas")) {
        *out = same(a, b);
        return DW_OK;
    }
    if (strcmp(name, "divisibleby") != 0)
        return compare(r, name, a, b, out);
    dw_jvalue rest;
    const dw_jvalue zero = dw_jint(0);
    DW_TRY(dw_joperate(r, DW_JOP_MOD, a, b, &rest));
    return dw_jvalue_equal(r, &rest, &zero, out);
}

static dw_status one(dw_jrun *r, const char *name, const dw_jvalue *v, bool *out)
{
    dw_jvalue rest, want = dw_jint(name[0] == 'o');
    const dw_jvalue by = dw_jint(2);
    dw_jstr s;
    if (name[0] == 'o' || name[0] == 'e') {
        DW_TRY(dw_joperate(r, DW_JOP_MOD, v, &by, &rest));
        return dw_jvalue_equal(r, &rest, &want, out);
    }
    if (name[0] == 'f' || name[0] == 't') {
        *out = false;
        if (v->kind != DW_J_STR)
            return DW_OK;
        const char *word = dw_jrun_strndup(r, v->s.ptr, v->s.len);
        if (!word)
            return DW_E_LIMIT;
        *out = name[0] == 'f' ? dw_jfilter_has(word) : dw_jtest_has(word);
        return DW_OK;
    }
    DW_TRY(dw_jprint_string(r, v, &s));
    return dw_jstrings_is(r, &s, name[0] == 'l' ? "islower" : "isupper", out);
}

dw_status dw_jtest_call(dw_jrun *r, const char *name, const dw_jvalue *v, dw_jargs *a, bool *out)
{
    bool known;
    dw_jvalue o[DW_JCALL_MOST];
    DW_TRY(dw_jrun_spend(r, 1));
    *out = of_kind(name, v, &known);
    if (known)
        return dw_jcall_bind(r, name, a, "", 0, o);
    if (in_list(name, of_two)) {
        DW_TRY(dw_jcall_bind(r, name, a, "other", 1, o));
        return two(r, name, v, &o[0], out);
    }
    if (!in_list(name, of_one))
        return dw_jfail(r, DW_E_INPUT, "No test named '%s'.", name);
    DW_TRY(dw_jcall_bind(r, name, a, "", 0, o));
    return one(r, name, v, out);
}
