/* Statements: what they write, and the frames in which names live meanwhile. */
#include "text/jinja/exec.h"

#include <string.h>

/* ---- frames ---- */

dw_jvalue dw_jframe_find(const dw_jrun *r, const dw_jframe *f, int name)
{
    for (; f; f = f->outer)
        for (size_t i = 0; i < f->scope->n; i++)
            if (f->scope->slot[i].name == name)
                return f->slot[i];
    const dw_jvalue *v = dw_jdict_get(r->context, r->t->names[name]);
    if (v)
        return *v;
    const int function = dw_jfunction_find(r->t->names[name]);
    return function < 0 ? (dw_jvalue){0} : (dw_jvalue){.kind = DW_J_FUNCTION, .function = function};
}

void dw_jframe_set(dw_jframe *f, int name, dw_jvalue v)
{
    for (size_t i = 0; i < f->scope->n; i++)
        if (f->scope->slot[i].name == name)
            f->slot[i] = v;
}

dw_status dw_jframe_reset(dw_jrun *r, dw_jframe *f)
{
    for (size_t i = 0; i < f->scope->n; i++) {
        const dw_jslot *s = &f->scope->slot[i];
        f->slot[i] = s->init == DW_JINIT_MISSING
                         ? (dw_jvalue){0}
                         : dw_jframe_find(r, s->init == DW_JINIT_OUTER ? f->outer : NULL, s->name);
    }
    return dw_jrun_spend(r, f->scope->n / 4);
}

dw_status dw_jframe_enter(dw_jrun *r, const dw_jscope *scope, dw_jframe *outer, dw_jframe **out)
{
    dw_jframe *f = dw_jrun_alloc(r, sizeof *f + scope->n * sizeof(dw_jvalue));
    if (!f)
        return DW_E_LIMIT;
    f->outer = outer;
    f->scope = scope;
    f->slot = (dw_jvalue *)(void *)(f + 1);
    *out = f;
    return dw_jframe_reset(r, f);
}

dw_status dw_jexec_deeper(dw_jrun *r)
{
    if (++r->depth > DW_JLIMIT_DEPTH)
        return dw_jfail(r, DW_E_LIMIT, "an expression nested deeper than the interpreter goes");
    return DW_OK;
}

/* ---- macros ---- */

static dw_status bind(dw_jrun *r, dw_jmacro *m, dw_jargs *a, dw_jframe *f)
{
    const dw_jnode *n = m->node;
    size_t i = 0, used = 0;
    bool caller_used = false;
    for (const dw_jnode *p = n->other; p; p = p->next, i++) {
        dw_jvalue v = i < a->n ? a->v[i] : (dw_jvalue){0};
        for (size_t k = 0; k < a->n_kw && i >= a->n; k++)
            if (!strcmp(a->kw[k].name, r->t->names[p->name])) {
                v = a->kw[k].value;
                a->kw[k].value.kind = DW_J_MISSING;
                used++;
            }
        dw_jframe_set(f, p->name, v);
        caller_used = caller_used || p->name == r->t->n_caller;
    }
    for (size_t k = 0; k < a->n_kw && n->wants_caller && !caller_used; k++)
        if (!strcmp(a->kw[k].name, "caller") && a->kw[k].value.kind != DW_J_MISSING) {
            dw_jframe_set(f, r->t->n_caller, a->kw[k].value);
            a->kw[k].value.kind = DW_J_MISSING;
            used++;
            caller_used = true;
        }
    if (n->wants_caller && !caller_used)
        dw_jframe_set(f, r->t->n_caller, dw_jundefined(DW_JWHY_HINT, 0, "No caller defined"));
    if (n->wants_kwargs) {
        dw_jvalue kw;
        DW_TRY(dw_jdict_new(r, DW_J_DICT, &kw));
        for (size_t k = 0; k < a->n_kw; k++)
            if (a->kw[k].value.kind != DW_J_MISSING)
                DW_TRY(dw_jdict_set(
                    r, kw.dict, dw_jtext(a->kw[k].name, strlen(a->kw[k].name), DW_JMARK_LITERAL),
                    a->kw[k].value));
        dw_jframe_set(f, r->t->n_kwargs, kw);
    } else if (used < a->n_kw) {
        return dw_jfail(r, DW_E_INPUT, "macro '%s' takes no such keyword argument", m->name);
    }
    if (n->wants_varargs) {
        dw_jvalue rest;
        DW_TRY(dw_jlist_new(r, DW_J_TUPLE, a->n > i ? a->n - i : 0, &rest));
        for (size_t k = i; k < a->n; k++)
            rest.list->item[k - i] = a->v[k];
        dw_jframe_set(f, r->t->n_varargs, rest);
    } else if (a->n > i) {
        return dw_jfail(r, DW_E_INPUT, "macro '%s' takes not more than %zu argument(s)", m->name,
                        i);
    }
    return DW_OK;
}

static dw_status defaults(dw_jrun *r, const dw_jnode *n, dw_jframe *f)
{
    for (const dw_jnode *p = n->other; p; p = p->next) {
        dw_jvalue v;
        if (dw_jframe_find(r, f, p->name).kind != DW_J_MISSING)
            continue;
        if (p->a)
            DW_TRY(dw_jeval(r, p->a, &v));
        else
            v = dw_jundefined(DW_JWHY_NAME, 0, r->t->names[p->name]);
        dw_jframe_set(f, p->name, v);
    }
    return DW_OK;
}

dw_status dw_jcall_macro(dw_jrun *r, dw_jmacro *m, dw_jargs *a, dw_jvalue *out)
{
    dw_jframe *f, *back = r->frame;
    dw_jflow flow = DW_JFLOW_NEXT;
    const uint8_t speaking = r->speaking;
    const size_t from = r->out.len;
    if (++r->calls > DW_JLIMIT_NESTING)
        return dw_jfail(r, DW_E_LIMIT, "macros that call each other deeper than %d",
                        DW_JLIMIT_NESTING);
    DW_TRY(dw_jframe_enter(r, m->node->scope, m->outer, &f));
    DW_TRY(bind(r, m, a, f));
    r->frame = f;
    DW_TRY(defaults(r, m->node, f));
    r->speaking = 0; /* the text is marked where it is written */
    DW_TRY(dw_jexec(r, m->node->list, &flow));
    r->speaking = speaking;
    r->frame = back;
    r->calls--;
    return dw_jrun_cut(r, from, out);
}

static dw_status make_macro(dw_jrun *r, const dw_jnode *n, const char *name, dw_jvalue *out)
{
    dw_jmacro *m = dw_jrun_alloc(r, sizeof *m);
    if (!m)
        return DW_E_LIMIT;
    *m = (dw_jmacro){name, n, r->frame};
    *out = (dw_jvalue){.kind = DW_J_MACRO, .macro = m};
    return DW_OK;
}

/* ---- statements ---- */

static dw_status print(dw_jrun *r, const dw_jvalue *v)
{
    dw_jstr s;
    DW_TRY(dw_jprint_string(r, v, &s));
    return dw_jrun_write(r, &s);
}

/* The block's body in a frame of its own, as a value. */
static dw_status captured(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    dw_jframe *f, *back = r->frame;
    dw_jflow flow = DW_JFLOW_NEXT;
    const uint8_t speaking = r->speaking;
    const size_t from = r->out.len;
    DW_TRY(dw_jframe_enter(r, n->scope, back, &f));
    r->frame = f;
    r->speaking = 0;
    DW_TRY(dw_jexec(r, n->list, &flow));
    r->speaking = speaking;
    r->frame = back;
    DW_TRY(dw_jrun_cut(r, from, out));
    if (flow != DW_JFLOW_NEXT)
        return dw_jfail(r, DW_E_INPUT, "a break or continue out of a block is not supported");
    return DW_OK;
}

/* The body through the block's filters. */
static dw_status filtered(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    const dw_jvalue outer = r->body;
    dw_jvalue body;
    DW_TRY(captured(r, n, &body));
    r->body = body;
    DW_TRY(dw_jeval(r, n->b, out));
    r->body = outer;
    return DW_OK;
}

static dw_status call_block(dw_jrun *r, const dw_jnode *n)
{
    dw_jargs a;
    dw_jvalue callee, caller, text;
    DW_TRY(make_macro(r, n, "caller", &caller));
    DW_TRY(dw_jeval(r, n->a->a, &callee));
    DW_TRY(dw_jeval_args(r, n->a->list, &a));
    dw_jkeyword *kw = dw_jrun_alloc(r, (a.n_kw + 1) * sizeof *kw);
    if (!kw)
        return DW_E_LIMIT;
    if (a.n_kw)
        memcpy(kw, a.kw, a.n_kw * sizeof *kw);
    kw[a.n_kw++] = (dw_jkeyword){"caller", caller};
    a.kw = kw;
    r->at = n;
    DW_TRY(dw_jcall_value(r, &callee, &a, &text));
    return print(r, &text);
}

static dw_status generation(dw_jrun *r, const dw_jnode *n)
{
    dw_jframe *f, *back = r->frame;
    dw_jflow flow = DW_JFLOW_NEXT;
    const uint8_t speaking = r->speaking;
    DW_TRY(dw_jframe_enter(r, n->scope, back, &f));
    r->frame = f;
    r->speaking = DW_JMARK_ASSISTANT;
    DW_TRY(dw_jexec(r, n->list, &flow));
    r->speaking = speaking;
    r->frame = back;
    return DW_OK;
}

static dw_status with(dw_jrun *r, const dw_jnode *n, dw_jflow *flow)
{
    dw_jframe *f, *back = r->frame;
    dw_jvalue v;
    DW_TRY(dw_jframe_enter(r, n->scope, back, &f));
    for (const dw_jnode *s = n->other; s; s = s->next) {
        DW_TRY(dw_jeval(r, s->b, &v));
        DW_TRY(dw_jeval_assign(r, s->a, f, v));
    }
    r->frame = f;
    DW_TRY(dw_jexec(r, n->list, flow));
    r->frame = back;
    return DW_OK;
}

static dw_status choose(dw_jrun *r, const dw_jnode *n, dw_jflow *flow)
{
    dw_jvalue v;
    for (;;) {
        DW_TRY(dw_jeval(r, n->a, &v));
        if (dw_jvalue_truth(&v))
            return dw_jexec(r, n->list, flow);
        if (!n->flag)
            return dw_jexec(r, n->other, flow);
        n = n->other;
    }
}

static dw_status exec_one(dw_jrun *r, const dw_jnode *n, dw_jflow *flow)
{
    dw_jvalue v;
    switch (n->kind) {
    case DW_JN_DATA:
        return dw_jrun_write(r, &n->value.s);
    case DW_JN_PRINT:
        DW_TRY(dw_jeval(r, n->a, &v));
        return print(r, &v);
    case DW_JN_IF:
        return choose(r, n, flow);
    case DW_JN_FOR:
        DW_TRY(dw_jeval(r, n->b, &v));
        r->at = n;
        return dw_jexec_loop(r, n, r->frame, &v, 0);
    case DW_JN_SET:
        DW_TRY(dw_jeval(r, n->b, &v));
        r->at = n;
        return dw_jeval_assign(r, n->a, r->frame, v);
    case DW_JN_SET_BLOCK:
        DW_TRY(filtered(r, n, &v));
        return dw_jeval_assign(r, n->a, r->frame, v);
    case DW_JN_FILTER_BLOCK:
        DW_TRY(filtered(r, n, &v));
        return print(r, &v);
    case DW_JN_MACRO:
        DW_TRY(make_macro(r, n, r->t->names[n->name], &v));
        dw_jframe_set(r->frame, n->name, v);
        return DW_OK;
    case DW_JN_CALL_BLOCK:
        return call_block(r, n);
    case DW_JN_GENERATION:
        return generation(r, n);
    case DW_JN_WITH:
        return with(r, n, flow);
    case DW_JN_BREAK:
    case DW_JN_CONTINUE:
        *flow = n->kind == DW_JN_BREAK ? DW_JFLOW_BREAK : DW_JFLOW_CONTINUE;
        return DW_OK;
    default:
        return dw_jfail(r, DW_E_BUG, "an expression where a statement should be");
    }
}

dw_status dw_jexec(dw_jrun *r, const dw_jnode *list, dw_jflow *flow)
{
    DW_TRY(dw_jexec_deeper(r));
    for (const dw_jnode *n = list; n && *flow == DW_JFLOW_NEXT; n = n->next) {
        r->at = n;
        DW_TRY(dw_jrun_spend(r, 1));
        DW_TRY(exec_one(r, n, flow));
    }
    r->depth--;
    return DW_OK;
}
