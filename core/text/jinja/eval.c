/* Expressions, worked out. */
#include <stdio.h>
#include <string.h>

#include "text/jinja/exec.h"

static dw_status make_list(dw_jrun *r, const dw_jnode *n, dw_jkind kind, dw_jvalue *out)
{
    size_t count = 0;
    for (const dw_jnode *c = n->list; c; c = c->next)
        count++;
    DW_TRY(dw_jlist_new(r, kind, count, out));
    count = 0;
    for (const dw_jnode *c = n->list; c; c = c->next)
        DW_TRY(dw_jeval(r, c, &out->list->item[count++]));
    return DW_OK;
}

static dw_status make_dict(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    dw_jvalue key, value;
    DW_TRY(dw_jdict_new(r, DW_J_DICT, out));
    for (const dw_jnode *c = n->list; c; c = c->next->next) {
        DW_TRY(dw_jeval(r, c, &key));
        DW_TRY(dw_jeval(r, c->next, &value));
        DW_TRY(dw_jdict_set(r, out->dict, key, value));
    }
    return DW_OK;
}

static dw_status concat(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    dw_jvalue v;
    dw_jstr s;
    *out = dw_jtext("", 0, 0);
    for (const dw_jnode *c = n->list; c; c = c->next) {
        const dw_jstr so_far = out->s;
        DW_TRY(dw_jeval(r, c, &v));
        DW_TRY(dw_jprint_string(r, &v, &s));
        s.markup = false;
        if (!so_far.len)
            *out = dw_jstring(s);
        else
            DW_TRY(dw_jbuild_concat(r, &so_far, &s, out));
    }
    return DW_OK;
}

static dw_status compare(dw_jrun *r, dw_jop op, const dw_jvalue *a, const dw_jvalue *b, bool *out)
{
    static const char *const sign[] = {
        [DW_JOP_LT] = "<", [DW_JOP_LE] = "<=", [DW_JOP_GT] = ">", [DW_JOP_GE] = ">="};
    int c;
    if (op == DW_JOP_EQ || op == DW_JOP_NE) {
        DW_TRY(dw_jvalue_equal(r, a, b, out));
        *out = *out == (op == DW_JOP_EQ);
        return DW_OK;
    }
    if (op == DW_JOP_IN || op == DW_JOP_NOTIN) {
        DW_TRY(dw_jvalue_contains(r, b, a, out));
        *out = *out == (op == DW_JOP_IN);
        return DW_OK;
    }
    DW_TRY(dw_jvalue_compare(r, a, b, sign[op], &c));
    *out = op == DW_JOP_LT ? c < 0 : op == DW_JOP_LE ? c <= 0 : op == DW_JOP_GT ? c > 0 : c >= 0;
    return DW_OK;
}

static dw_status compare_chain(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    dw_jvalue left, right;
    bool yes = true;
    DW_TRY(dw_jeval(r, n->a, &left));
    for (const dw_jnode *o = n->list; o && yes; o = o->next) {
        DW_TRY(dw_jeval(r, o->a, &right));
        r->at = o;
        DW_TRY(compare(r, o->op, &left, &right, &yes));
        left = right;
    }
    *out = dw_jbool(yes);
    return DW_OK;
}

static dw_status logic(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    DW_TRY(dw_jeval(r, n->a, out));
    if (n->kind == DW_JN_NOT) {
        *out = dw_jbool(!dw_jvalue_truth(out));
        return DW_OK;
    }
    return dw_jvalue_truth(out) == (n->kind == DW_JN_AND) ? dw_jeval(r, n->b, out) : DW_OK;
}

static dw_status sign(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    const dw_jvalue zero = dw_jint(0);
    dw_jvalue v;
    DW_TRY(dw_jeval(r, n->a, &v));
    r->at = n;
    if (v.kind == DW_J_UNDEFINED)
        return dw_jcall_undefined(r, &v);
    if (!dw_jvalue_is_number(&v))
        return dw_jfail(r, DW_E_INPUT, "bad operand type for unary %s: '%s'",
                        n->kind == DW_JN_NEG ? "-" : "+", dw_jtype(&v));
    if (v.kind == DW_J_FLOAT) {
        *out = dw_jfloat(n->kind == DW_JN_NEG ? -v.f : v.f);
        return DW_OK;
    }
    return dw_joperate(r, n->kind == DW_JN_NEG ? DW_JOP_SUB : DW_JOP_ADD, &zero, &v, out);
}

static dw_status item(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    dw_jvalue of, key, part[3] = {{0}, {0}, {0}};
    DW_TRY(dw_jeval(r, n->a, &of));
    if (n->b->kind != DW_JN_SLICE) {
        DW_TRY(dw_jeval(r, n->b, &key));
        r->at = n;
        return dw_jattr_item(r, &of, &key, out);
    }
    const dw_jnode *bound[3] = {n->b->a, n->b->b, n->b->c};
    for (int i = 0; i < 3; i++)
        if (bound[i])
            DW_TRY(dw_jeval(r, bound[i], &part[i]));
    r->at = n;
    return dw_jattr_slice(r, &of, part, out);
}

/* ---- calls ---- */

static dw_status keyword(dw_jrun *r, dw_jargs *a, const char *name, dw_jvalue v)
{
    for (size_t i = 0; i < a->n_kw; i++)
        if (!strcmp(a->kw[i].name, name))
            return dw_jfail(r, DW_E_INPUT, "two values for the keyword argument '%s'", name);
    dw_jkeyword *more = dw_jrun_alloc(r, (a->n_kw + 1) * sizeof *more);
    if (!more)
        return DW_E_LIMIT;
    if (a->n_kw)
        memcpy(more, a->kw, a->n_kw * sizeof *more);
    more[a->n_kw++] = (dw_jkeyword){name, v};
    a->kw = more;
    return dw_jrun_spend(r, a->n_kw / 4);
}

static dw_status keywords(dw_jrun *r, dw_jargs *a, const dw_jvalue *dict)
{
    if (dict->kind != DW_J_DICT)
        return dw_jfail(r, DW_E_INPUT, "argument after ** must be a mapping, not %s",
                        dw_jtype(dict));
    for (size_t i = 0; i < dict->dict->n; i++) {
        const dw_jpair *p = &dict->dict->pair[i];
        if (p->key.kind != DW_J_STR)
            return dw_jfail(r, DW_E_INPUT, "keywords must be strings");
        const char *name = dw_jrun_strndup(r, p->key.s.ptr, p->key.s.len);
        if (!name)
            return DW_E_LIMIT;
        DW_TRY(keyword(r, a, name, p->value));
    }
    return DW_OK;
}

dw_status dw_jeval_args(dw_jrun *r, const dw_jnode *list, dw_jargs *out)
{
    size_t n = 0;
    dw_jvalue v, rest;
    *out = (dw_jargs){0};
    for (const dw_jnode *c = list; c; c = c->next)
        n++;
    if (!n)
        return DW_OK;
    out->v = dw_jrun_alloc(r, n * sizeof *out->v);
    if (!out->v)
        return DW_E_LIMIT;
    for (const dw_jnode *c = list; c; c = c->next) {
        const bool named =
            c->kind == DW_JN_KEYWORD || c->kind == DW_JN_STAR || c->kind == DW_JN_STAR2;
        DW_TRY(dw_jeval(r, named ? c->a : c, &v));
        if (c->kind == DW_JN_KEYWORD) {
            DW_TRY(keyword(r, out, r->t->names[c->name], v));
        } else if (c->kind == DW_JN_STAR2) {
            DW_TRY(keywords(r, out, &v));
        } else if (c->kind != DW_JN_STAR) {
            out->v[out->n++] = v;
        } else { /* the last of the positional ones */
            DW_TRY(dw_jiter_list(r, &v, &rest));
            dw_jvalue *all = dw_jrun_alloc(r, (n + rest.list->n) * sizeof *all);
            if (!all)
                return DW_E_LIMIT;
            memcpy(all, out->v, out->n * sizeof *all);
            if (rest.list->n)
                memcpy(all + out->n, rest.list->item, rest.list->n * sizeof *all);
            out->v = all;
            out->n += rest.list->n;
        }
    }
    return DW_OK;
}

static dw_status call(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    dw_jvalue callee, self;
    dw_jargs a;
    const dw_jnode *f = n->a;
    bool unsafe;
    if (f->kind == DW_JN_GETATTR) { /* a method, without making a value of it first */
        DW_TRY(dw_jeval(r, f->a, &self));
        const char *name = r->t->names[f->name];
        if (dw_jmethod_has(&self, name, &unsafe) && !unsafe) {
            DW_TRY(dw_jeval_args(r, n->list, &a));
            r->at = n;
            return dw_jmethod_call(r, &self, name, &a, out);
        }
        r->at = f;
        DW_TRY(dw_jattr_get(r, &self, name, &callee));
    } else {
        DW_TRY(dw_jeval(r, f, &callee));
    }
    DW_TRY(dw_jeval_args(r, n->list, &a));
    r->at = n;
    return dw_jcall_value(r, &callee, &a, out);
}

static dw_status filter(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    dw_jvalue v;
    dw_jargs a;
    DW_TRY(dw_jeval(r, n->a, &v));
    DW_TRY(dw_jeval_args(r, n->list, &a));
    r->at = n;
    return dw_jfilter_call(r, r->t->names[n->name], &v, &a, out);
}

static dw_status test(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    dw_jvalue v;
    dw_jargs a;
    bool yes;
    DW_TRY(dw_jeval(r, n->a, &v));
    DW_TRY(dw_jeval_args(r, n->list, &a));
    r->at = n;
    DW_TRY(dw_jtest_call(r, r->t->names[n->name], &v, &a, &yes));
    *out = dw_jbool(yes);
    return DW_OK;
}

/* ---- the walk ---- */

static dw_status name(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    *out = dw_jframe_find(r, r->frame, n->name);
    if (out->kind == DW_J_MISSING)
        *out = dw_jundefined(DW_JWHY_NAME, 0, r->t->names[n->name]);
    return DW_OK;
}

static dw_status cond(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    DW_TRY(dw_jeval(r, n->b, out));
    if (dw_jvalue_truth(out))
        return dw_jeval(r, n->a, out);
    if (n->c)
        return dw_jeval(r, n->c, out);
    *out = dw_jundefined(DW_JWHY_HINT, 0,
                         "the inline if-expression evaluated to false and no else section was "
                         "defined.");
    return DW_OK;
}

static dw_status binary(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    dw_jvalue a, b;
    DW_TRY(dw_jeval(r, n->a, &a));
    DW_TRY(dw_jeval(r, n->b, &b));
    r->at = n;
    return dw_joperate(r, (int)n->op, &a, &b, out);
}

static dw_status attribute(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    dw_jvalue of;
    DW_TRY(dw_jeval(r, n->a, &of));
    r->at = n;
    return dw_jattr_get(r, &of, r->t->names[n->name], out);
}

static dw_status eval(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    switch (n->kind) {
    case DW_JN_CONST:
        *out = n->value;
        return DW_OK;
    case DW_JN_NAME:
        return name(r, n, out);
    case DW_JN_TUPLE:
        return make_list(r, n, DW_J_TUPLE, out);
    case DW_JN_LIST:
        return make_list(r, n, DW_J_LIST, out);
    case DW_JN_DICT:
        return make_dict(r, n, out);
    case DW_JN_COND:
        return cond(r, n, out);
    case DW_JN_AND:
    case DW_JN_OR:
    case DW_JN_NOT:
        return logic(r, n, out);
    case DW_JN_NEG:
    case DW_JN_POS:
        return sign(r, n, out);
    case DW_JN_BINARY:
        return binary(r, n, out);
    case DW_JN_CONCAT:
        return concat(r, n, out);
    case DW_JN_COMPARE:
        return compare_chain(r, n, out);
    case DW_JN_GETATTR:
        return attribute(r, n, out);
    case DW_JN_GETITEM:
        return item(r, n, out);
    case DW_JN_CALL:
        return call(r, n, out);
    case DW_JN_FILTER:
        return filter(r, n, out);
    case DW_JN_TEST:
        return test(r, n, out);
    case DW_JN_BODY: /* what the block wrote, put aside by the statement */
        *out = r->body;
        return DW_OK;
    default:
        return dw_jfail(r, DW_E_INPUT, "a slice outside of an index is not supported");
    }
}

dw_status dw_jeval(dw_jrun *r, const dw_jnode *n, dw_jvalue *out)
{
    r->at = n;
    DW_TRY(dw_jrun_spend(r, 1));
    DW_TRY(dw_jexec_deeper(r));
    DW_TRY(eval(r, n, out));
    r->depth--;
    r->at = n;
    return DW_OK;
}

/* ---- assignment ---- */

static dw_status unpack(dw_jrun *r, const dw_jnode *target, dw_jframe *f, dw_jvalue v)
{
    dw_jvalue all;
    size_t want = 0, i = 0;
    for (const dw_jnode *c = target->list; c; c = c->next)
        want++;
    if (!dw_jiter_can(&v))
        return dw_jfail(r, DW_E_INPUT, "cannot unpack non-iterable %s object", dw_jtype(&v));
    DW_TRY(dw_jiter_list(r, &v, &all));
    if (all.list->n != want)
        return dw_jfail(r, DW_E_INPUT, "%s values to unpack (expected %zu, got %zu)",
                        all.list->n > want ? "too many" : "not enough", want, all.list->n);
    for (const dw_jnode *c = target->list; c; c = c->next)
        DW_TRY(dw_jeval_assign(r, c, f, all.list->item[i++]));
    return DW_OK;
}

dw_status dw_jeval_assign(dw_jrun *r, const dw_jnode *target, dw_jframe *f, dw_jvalue v)
{
    if (target->kind == DW_JN_TUPLE)
        return unpack(r, target, f, v);
    if (target->kind == DW_JN_NAME) {
        dw_jframe_set(f, target->name, v);
        return DW_OK;
    }
    const dw_jvalue ns = dw_jframe_find(r, r->frame, target->name);
    const char *key = r->t->names[target->attr];
    r->at = target;
    if (ns.kind != DW_J_NAMESPACE)
        return dw_jfail(r, DW_E_INPUT, "cannot assign attribute on non-namespace object");
    if (*key == '_')
        return dw_jfail(r, DW_E_INPUT,
                        "a namespace stores no name that begins with an underscore: '%s'", key);
    return dw_jdict_set(r, ns.dict, dw_jtext(key, strlen(key), DW_JMARK_LITERAL), v);
}
