/* Which scope owns which name, decided before anything runs: jinja2 compiles names to variables of
 * functions, and what a name means before its first assignment follows from that. */
#include <string.h>

#include "base/alloc.h"
#include "text/jinja/node.h"

typedef enum first { FIRST_LOAD, FIRST_STORE, FIRST_STORE_IN_BRANCH, FIRST_PARAMETER } first;

typedef struct ref {
    int name;
    first first;
    bool stored;
} ref;

/* The names that a scope itself mentions, inner scopes left out. */
typedef struct refs {
    const struct refs *outer;
    ref *ref;
    size_t n, cap;
    int branches;
} refs;

static ref *find(const refs *s, int name)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->ref[i].name == name)
            return &s->ref[i];
    return NULL;
}

static void mention(refs *s, int name, first how)
{
    ref *r = find(s, name);
    if (!r) {
        DW_GROW(s->ref, s->n, s->cap);
        r = &s->ref[s->n++];
        *r = (ref){name, how, false};
    }
    r->stored = r->stored || how != FIRST_LOAD;
}

static void load(refs *s, const dw_jnode *n);

static void load_list(refs *s, const dw_jnode *n)
{
    for (; n; n = n->next)
        load(s, n);
}

static void load(refs *s, const dw_jnode *n)
{
    if (!n)
        return;
    if (n->kind == DW_JN_NAME || n->kind == DW_JN_NSREF)
        mention(s, n->name, FIRST_LOAD);
    load(s, n->a);
    load(s, n->b);
    load(s, n->c);
    load_list(s, n->list);
}

static void store(refs *s, const dw_jnode *n, first how)
{
    if (n->kind == DW_JN_NAME)
        mention(s, n->name, how);
    else if (n->kind == DW_JN_NSREF)
        mention(s, n->name, FIRST_LOAD);
    for (const dw_jnode *c = n->kind == DW_JN_TUPLE ? n->list : NULL; c; c = c->next)
        store(s, c, how);
}

static void collect(refs *s, const dw_jnode *n)
{
    for (; n; n = n->next) {
        const first how = s->branches ? FIRST_STORE_IN_BRANCH : FIRST_STORE;
        switch (n->kind) {
        case DW_JN_PRINT:
        case DW_JN_CALL_BLOCK:
            load(s, n->a);
            break;
        case DW_JN_FOR:
        case DW_JN_FILTER_BLOCK:
            load(s, n->b);
            break;
        case DW_JN_IF:
            load(s, n->a);
            s->branches++;
            collect(s, n->list);
            collect(s, n->other);
            s->branches--;
            break;
        case DW_JN_SET:
            load(s, n->b);
            store(s, n->a, how);
            break;
        case DW_JN_SET_BLOCK:
            load(s, n->b);
            store(s, n->a, how);
            break;
        case DW_JN_MACRO:
            mention(s, n->name, how);
            break;
        case DW_JN_WITH:
            for (const dw_jnode *v = n->other; v; v = v->next)
                load(s, v->b);
            break;
        default:
            break;
        }
    }
}

/* Does anything below load the name? */
static bool loads(const dw_jnode *n, int name)
{
    for (; n; n = n->next)
        if ((n->kind == DW_JN_NAME && n->name == name) || loads(n->a, name) || loads(n->b, name) ||
            loads(n->c, name) || loads(n->list, name) || loads(n->other, name))
            return true;
    return false;
}

static dw_jscope *freeze(dw_jinja *t, const refs *s)
{
    dw_jscope *scope = dw_arena_alloc(&t->arena, sizeof *scope);
    scope->slot = dw_arena_alloc(&t->arena, (s->n + 1) * sizeof *scope->slot);
    for (size_t i = 0; i < s->n; i++) {
        const ref *r = &s->ref[i];
        bool outer = false;
        if (!r->stored)
            continue;
        for (const refs *o = s->outer; o && !outer; o = o->outer)
            outer = find(o, r->name) != NULL;
        scope->slot[scope->n++] = (dw_jslot){r->name, r->first == FIRST_PARAMETER ? DW_JINIT_MISSING
                                                      : outer                     ? DW_JINIT_OUTER
                                                      : r->first == FIRST_STORE   ? DW_JINIT_MISSING
                                                                                : DW_JINIT_CONTEXT};
    }
    return scope;
}

static void inner_scopes(dw_jinja *t, const refs *outer, dw_jnode *n);

/* A scope whose parameters are in s already: the names of its statements, then the scopes within.
 */
static dw_jscope *enter(dw_jinja *t, refs *s, dw_jnode *list)
{
    collect(s, list);
    dw_jscope *scope = freeze(t, s);
    inner_scopes(t, s, list);
    dw_free(s->ref);
    return scope;
}

static void parameters(dw_jinja *t, refs *s, dw_jnode *n)
{
    for (const dw_jnode *p = n->other; p; p = p->next) {
        mention(s, p->name, FIRST_PARAMETER);
        load(s, p->a);
    }
    n->wants_caller = loads(n->list, t->n_caller);
    n->wants_kwargs = loads(n->list, t->n_kwargs);
    n->wants_varargs = loads(n->list, t->n_varargs);
    if (n->wants_caller)
        mention(s, t->n_caller, FIRST_PARAMETER);
    if (n->wants_kwargs)
        mention(s, t->n_kwargs, FIRST_PARAMETER);
    if (n->wants_varargs)
        mention(s, t->n_varargs, FIRST_PARAMETER);
}

static void for_scopes(dw_jinja *t, const refs *outer, dw_jnode *n)
{
    refs body = {.outer = outer}, test = {.outer = outer}, other = {.outer = outer};
    mention(&body, t->n_loop, FIRST_PARAMETER);
    store(&body, n->a, FIRST_PARAMETER);
    n->scope = enter(t, &body, n->list);
    store(&test, n->a, FIRST_PARAMETER);
    load(&test, n->c);
    n->scope2 = enter(t, &test, NULL);
    n->scope3 = enter(t, &other, n->other);
}

static void inner_scopes(dw_jinja *t, const refs *outer, dw_jnode *n)
{
    for (; n; n = n->next) {
        refs s = {.outer = outer};
        switch (n->kind) {
        case DW_JN_IF:
            inner_scopes(t, outer, n->list);
            inner_scopes(t, outer, n->other);
            break;
        case DW_JN_FOR:
            for_scopes(t, outer, n);
            break;
        case DW_JN_MACRO:
        case DW_JN_CALL_BLOCK:
            parameters(t, &s, n);
            n->scope = enter(t, &s, n->list);
            break;
        case DW_JN_WITH:
            for (dw_jnode *v = n->other; v; v = v->next)
                store(&s, v->a, FIRST_PARAMETER);
            n->scope = enter(t, &s, n->list);
            break;
        case DW_JN_SET_BLOCK:
        case DW_JN_FILTER_BLOCK:
        case DW_JN_GENERATION:
            n->scope = enter(t, &s, n->list);
            break;
        default:
            break;
        }
    }
}

dw_status dw_jscope_resolve(dw_jinja *t, dw_err *err)
{
    refs s = {0};
    (void)err;
    t->scope = enter(t, &s, t->body);
    return DW_OK;
}
