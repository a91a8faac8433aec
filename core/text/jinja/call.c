/* Arguments to parameters, and calls of whatever can be called. */
#include "text/jinja/call.h"

#include <string.h>

#include "text/jinja/exec.h"

dw_status dw_jcall_undefined(dw_jrun *r, const dw_jvalue *v)
{
    const dw_jundef *u = &v->undef;
    const dw_jvalue of = {.kind = u->of == DW_J_VIEW ? DW_J_GENERATOR : u->of};
    switch (u->why) {
    case DW_JWHY_NAME:
        return dw_jfail(r, DW_E_INPUT, "'%s' is undefined", u->name);
    case DW_JWHY_ATTRIBUTE:
        return dw_jfail(r, DW_E_INPUT, "'%s object' has no attribute '%s'", dw_jtype(&of), u->name);
    case DW_JWHY_UNSAFE:
        return dw_jfail(r, DW_E_INPUT, "access to attribute '%s' of '%s' object is unsafe.",
                        u->name, dw_jtype(&of));
    default:
        return dw_jfail(r, DW_E_INPUT, "%s", u->name);
    }
}

/* Does the word `name` stand at p, which goes on to the next blank? */
static bool word_is(const char *p, size_t n, const char *name)
{
    return strlen(name) == n && !memcmp(p, name, n);
}

dw_status dw_jcall_bind(dw_jrun *r, const char *what, const dw_jargs *a, const char *names,
                        size_t required, dw_jvalue *out)
{
    size_t n = 0, used = 0;
    for (const char *p = names; *p; n++) {
        const size_t len = strcspn(p, " ");
        out[n] = (dw_jvalue){0};
        if (n < a->n)
            out[n] = a->v[n];
        for (size_t i = 0; i < a->n_kw; i++) {
            if (!word_is(p, len, a->kw[i].name))
                continue;
            if (n < a->n)
                return dw_jfail(r, DW_E_INPUT, "%s: two values for '%s'", what, a->kw[i].name);
            out[n] = a->kw[i].value;
            used++;
        }
        if (n < required && out[n].kind == DW_J_MISSING)
            return dw_jfail(r, DW_E_INPUT, "%s: argument '%.*s' is missing", what, (int)len, p);
        p += len;
        p += strspn(p, " ");
    }
    if (a->n > n)
        return dw_jfail(r, DW_E_INPUT, "%s: %zu arguments, it takes at most %zu", what, a->n, n);
    if (used < a->n_kw)
        return dw_jfail(r, DW_E_INPUT, "%s: an argument of a name that it does not have", what);
    return DW_OK;
}

dw_status dw_jcall_int(dw_jrun *r, const char *what, const dw_jvalue *v, int64_t fallback,
                       int64_t *out)
{
    *out = fallback;
    if (v->kind == DW_J_MISSING || v->kind == DW_J_NONE)
        return DW_OK;
    if (v->kind == DW_J_UNDEFINED)
        return dw_jcall_undefined(r, v);
    if (v->kind != DW_J_INT && v->kind != DW_J_BOOL)
        return dw_jfail(r, DW_E_INPUT, "%s: wanted an int, found %s", what, dw_jtype(v));
    *out = v->kind == DW_J_BOOL ? v->b : v->i;
    return DW_OK;
}

dw_status dw_jcall_str(dw_jrun *r, const char *what, const dw_jvalue *v, dw_jstr *out)
{
    if (v->kind != DW_J_STR)
        return dw_jfail(r, DW_E_INPUT, "%s: wanted a str, found %s", what, dw_jtype(v));
    *out = v->s;
    return DW_OK;
}

dw_status dw_jcall_value(dw_jrun *r, const dw_jvalue *callee, dw_jargs *a, dw_jvalue *out)
{
    switch (callee->kind) {
    case DW_J_FUNCTION:
        return dw_jfunction_call(r, callee->function, a, out);
    case DW_J_MACRO:
        return dw_jcall_macro(r, callee->macro, a, out);
    case DW_J_METHOD:
        return dw_jmethod_call(r, &callee->method->self, callee->method->name, a, out);
    case DW_J_LOOP:
        return dw_jloop_call(r, callee->loop, "", a, out);
    case DW_J_JOINER:
        /* the separator, but not the first time */
        *out = callee->list->at++ ? callee->list->item[0] : dw_jtext("", 0, 0);
        return DW_OK;
    case DW_J_UNDEFINED:
        return dw_jcall_undefined(r, callee);
    default:
        return dw_jfail(r, DW_E_INPUT, "'%s' object is not callable", dw_jtype(callee));
    }
}
