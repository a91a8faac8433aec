/* The for statement and its `loop`, which looks ahead only when it is asked to. */
#include <string.h>

#include "text/jinja/exec.h"

/* The next item that the loop's filter lets through; missing at the end. */
static dw_status pull(dw_jrun *r, dw_jloop *l, dw_jvalue *out)
{
    dw_jframe *back = r->frame;
    bool more;
    for (;;) {
        *out = (dw_jvalue){0};
        if (l->ended)
            return DW_OK;
        DW_TRY(dw_jiter_next(r, &l->it, out, &more));
        if (!more) {
            l->ended = true;
            continue;
        }
        if (!l->test)
            return DW_OK;
        dw_jvalue yes;
        DW_TRY(dw_jframe_reset(r, l->test));
        DW_TRY(dw_jeval_assign(r, l->node->a, l->test, *out));
        r->frame = l->test;
        DW_TRY(dw_jeval(r, l->node->c, &yes));
        r->frame = back;
        if (dw_jvalue_truth(&yes))
            return DW_OK;
    }
}

static dw_status peek(dw_jrun *r, dw_jloop *l)
{
    return l->after.kind == DW_J_MISSING ? pull(r, l, &l->after) : DW_OK;
}

static dw_status length(dw_jrun *r, dw_jloop *l)
{
    bool has = false;
    if (l->length >= 0)
        return DW_OK;
    if (!l->test)
        DW_TRY(dw_jvalue_length(r, &l->it.of, &l->length, &has));
    if (has)
        return DW_OK;
    /* All that is left, kept for the iterations to come. */
    dw_jvalue rest, one;
    size_t n = 0;
    l->length = -1;
    DW_TRY(dw_jlist_new(r, DW_J_LIST, 8, &rest));
    for (;;) {
        DW_TRY(pull(r, l, &one));
        if (one.kind == DW_J_MISSING)
            break;
        if (n == rest.list->n) {
            dw_jvalue more;
            DW_TRY(dw_jlist_new(r, DW_J_LIST, n * 2, &more));
            memcpy(more.list->item, rest.list->item, n * sizeof one);
            rest = more;
        }
        rest.list->item[n++] = one;
    }
    rest.list->n = n;
    l->length = (int64_t)n + l->index0 + 1 + (l->after.kind != DW_J_MISSING);
    l->it = (dw_jiter){.of = rest};
    l->test = NULL;
    l->ended = false;
    return DW_OK;
}

dw_status dw_jloop_attr(dw_jrun *r, dw_jloop *l, const char *name, dw_jvalue *out, bool *known)
{
    *known = true;
    *out = dw_jbool(l->index0 == 0);
    if (!strcmp(name, "first"))
        return DW_OK;
    *out = dw_jint(l->index0);
    if (!strcmp(name, "index0"))
        return DW_OK;
    *out = dw_jint(l->index0 + 1);
    if (!strcmp(name, "index"))
        return DW_OK;
    *out = dw_jint(l->depth0);
    if (!strcmp(name, "depth0"))
        return DW_OK;
    *out = dw_jint(l->depth0 + 1);
    if (!strcmp(name, "depth"))
        return DW_OK;
    if (!strcmp(name, "last") || !strcmp(name, "nextitem")) {
        DW_TRY(peek(r, l));
        const bool none = l->after.kind == DW_J_MISSING;
        *out = *name == 'l' ? dw_jbool(none)
               : none       ? dw_jundefined(DW_JWHY_HINT, 0, "there is no next item")
                            : l->after;
        return DW_OK;
    }
    if (!strcmp(name, "previtem")) {
        *out = l->index0 ? l->before : dw_jundefined(DW_JWHY_HINT, 0, "there is no previous item");
        return DW_OK;
    }
    if (!strcmp(name, "length") || !strcmp(name, "revindex") || !strcmp(name, "revindex0")) {
        DW_TRY(length(r, l));
        *out = dw_jint(*name == 'l'     ? l->length
                       : name[8] == '0' ? l->length - l->index0 - 1
                                        : l->length - l->index0);
        return DW_OK;
    }
    *known = false;
    return DW_OK;
}

/* cycle, changed, and the loop itself where it is recursive. */
dw_status dw_jloop_call(dw_jrun *r, dw_jloop *l, const char *name, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    if (*name && a->n_kw)
        return dw_jfail(r, DW_E_INPUT, "loop.%s takes no keyword arguments", name);
    if (!strcmp(name, "cycle")) {
        if (!a->n)
            return dw_jfail(r, DW_E_INPUT, "no items for cycling given");
        *out = a->v[(size_t)l->index0 % a->n];
        return DW_OK;
    }
    if (!strcmp(name, "changed")) {
        dw_jvalue now;
        bool same = false;
        DW_TRY(dw_jlist_new(r, DW_J_TUPLE, a->n, &now));
        if (a->n)
            memcpy(now.list->item, a->v, a->n * sizeof now);
        if (l->changed.kind != DW_J_MISSING)
            DW_TRY(dw_jvalue_equal(r, &l->changed, &now, &same));
        l->changed = now;
        *out = dw_jbool(!same);
        return DW_OK;
    }
    DW_TRY(dw_jcall_bind(r, "loop", a, "iterable", 1, o));
    if (!l->node->flag)
        return dw_jfail(r, DW_E_INPUT,
                        "The loop must have the 'recursive' marker to be called recursively.");
    if (++r->calls > DW_JLIMIT_NESTING)
        return dw_jfail(r, DW_E_LIMIT, "a loop that calls itself deeper than %d",
                        DW_JLIMIT_NESTING);
    const size_t from = r->out.len;
    const uint8_t speaking = r->speaking;
    r->speaking = 0;
    DW_TRY(dw_jexec_loop(r, l->node, l->outer, &o[0], l->depth0 + 1));
    r->speaking = speaking;
    r->calls--;
    return dw_jrun_cut(r, from, out);
}

static dw_status otherwise(dw_jrun *r, const dw_jnode *n, dw_jframe *outer)
{
    dw_jframe *f, *back = r->frame;
    dw_jflow flow = DW_JFLOW_NEXT;
    if (!n->other)
        return DW_OK;
    DW_TRY(dw_jframe_enter(r, n->scope3, outer, &f));
    r->frame = f;
    DW_TRY(dw_jexec(r, n->other, &flow));
    r->frame = back;
    return DW_OK;
}

dw_status dw_jexec_loop(dw_jrun *r, const dw_jnode *n, dw_jframe *outer, const dw_jvalue *over,
                        int64_t depth0)
{
    dw_jframe *f, *back = r->frame;
    dw_jflow flow = DW_JFLOW_NEXT;
    bool any = false;
    dw_jloop *l = dw_jrun_alloc(r, sizeof *l);
    if (!l)
        return DW_E_LIMIT;
    *l = (dw_jloop){.node = n, .outer = outer, .index0 = -1, .length = -1, .depth0 = depth0};
    DW_TRY(dw_jiter_start(r, over, &l->it));
    if (n->c)
        DW_TRY(dw_jframe_enter(r, n->scope2, outer, &l->test));
    DW_TRY(dw_jframe_enter(r, n->scope, outer, &f));
    const dw_jvalue self = {.kind = DW_J_LOOP, .loop = l};
    while (flow != DW_JFLOW_BREAK) {
        dw_jvalue item = l->after;
        l->after = (dw_jvalue){0};
        if (item.kind == DW_J_MISSING)
            DW_TRY(pull(r, l, &item));
        if (item.kind == DW_J_MISSING)
            break;
        l->index0++;
        l->before = l->current;
        l->current = item;
        any = true;
        flow = DW_JFLOW_NEXT;
        DW_TRY(dw_jframe_reset(r, f));
        dw_jframe_set(f, r->t->n_loop, self);
        r->at = n;
        DW_TRY(dw_jeval_assign(r, n->a, f, item));
        r->frame = f;
        DW_TRY(dw_jexec(r, n->list, &flow));
        r->frame = back;
    }
    return any ? DW_OK : otherwise(r, n, outer);
}
