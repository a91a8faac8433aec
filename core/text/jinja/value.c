/* Values: types, truth, equality, order, iteration, what JSON becomes. */
#include "text/jinja/value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja/call.h"
#include "text/jinja/run.h"
#include "text/unicode.h"

dw_jvalue dw_jundefined(dw_jwhy why, dw_jkind of, const char *name)
{
    return (dw_jvalue){.kind = DW_J_UNDEFINED, .undef = {name, why, of}};
}

const char *dw_jtype(const dw_jvalue *v)
{
    static const char *const name[] = {
        [DW_J_MISSING] = "missing",
        [DW_J_UNDEFINED] = "Undefined",
        [DW_J_NONE] = "NoneType",
        [DW_J_BOOL] = "bool",
        [DW_J_INT] = "int",
        [DW_J_BIG] = "int",
        [DW_J_FLOAT] = "float",
        [DW_J_STR] = "str",
        [DW_J_LIST] = "list",
        [DW_J_TUPLE] = "tuple",
        [DW_J_GENERATOR] = "generator",
        [DW_J_VIEW] = "dict_view",
        [DW_J_RANGE] = "range",
        [DW_J_DICT] = "dict",
        [DW_J_NAMESPACE] = "Namespace",
        [DW_J_FUNCTION] = "function",
        [DW_J_METHOD] = "method",
        [DW_J_MACRO] = "Macro",
        [DW_J_LOOP] = "LoopContext",
        [DW_J_CYCLER] = "Cycler",
        [DW_J_JOINER] = "Joiner",
    };
    return v->kind == DW_J_VIEW && v->list->name ? v->list->name : name[v->kind];
}

bool dw_jvalue_truth(const dw_jvalue *v)
{
    switch (v->kind) {
    case DW_J_MISSING:
    case DW_J_UNDEFINED:
    case DW_J_NONE:
        return false;
    case DW_J_BOOL:
        return v->b;
    case DW_J_INT:
        return v->i != 0;
    case DW_J_FLOAT:
        return v->f != 0;
    case DW_J_STR:
        return v->s.len > 0;
    case DW_J_LIST:
    case DW_J_TUPLE:
    case DW_J_VIEW:
        return v->list->n > 0;
    case DW_J_RANGE:
        return v->range->n > 0;
    case DW_J_DICT:
        return v->dict->n > 0;
    default: /* objects without a length, generators among them */
        return true;
    }
}

bool dw_jvalue_is_number(const dw_jvalue *v)
{
    return v->kind == DW_J_BOOL || v->kind == DW_J_INT || v->kind == DW_J_FLOAT;
}

double dw_jvalue_number(const dw_jvalue *v)
{
    return v->kind == DW_J_FLOAT ? v->f : v->kind == DW_J_BOOL ? v->b : (double)v->i;
}

/* ---- equality and order ---- */

static dw_status deeper(dw_jrun *r, int depth)
{
    if (depth > DW_JLIMIT_VALUE_DEPTH)
        return dw_jfail(r, DW_E_LIMIT, "values nested deeper than %d", DW_JLIMIT_VALUE_DEPTH);
    return dw_jrun_spend(r, 1);
}

static dw_status equal(dw_jrun *r, const dw_jvalue *a, const dw_jvalue *b, int depth, bool *out);

static dw_status equal_dicts(dw_jrun *r, const dw_jdict *a, const dw_jdict *b, int depth, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; i < a->n && *out; i++) {
        dw_jvalue *other;
        DW_TRY(dw_jdict_find(r, b, &a->pair[i].key, &other));
        *out = other != NULL;
        if (other)
            DW_TRY(equal(r, &a->pair[i].value, other, depth + 1, out));
    }
    return DW_OK;
}

static dw_status equal_lists(dw_jrun *r, const dw_jlist *a, const dw_jlist *b, int depth, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; i < a->n && *out; i++)
        DW_TRY(equal(r, &a->item[i], &b->item[i], depth + 1, out));
    return DW_OK;
}

static bool equal_ranges(const dw_jrange *a, const dw_jrange *b)
{
    return a->n == b->n && (!a->n || (a->start == b->start && (a->n == 1 || a->step == b->step)));
}

static dw_status equal(dw_jrun *r, const dw_jvalue *a, const dw_jvalue *b, int depth, bool *out)
{
    *out = false;
    DW_TRY(deeper(r, depth));
    if (dw_jvalue_is_number(a) && dw_jvalue_is_number(b)) {
        *out = a->kind == DW_J_FLOAT || b->kind == DW_J_FLOAT
                   ? dw_jvalue_number(a) == dw_jvalue_number(b)
                   : (a->kind == DW_J_BOOL ? a->b : a->i) == (b->kind == DW_J_BOOL ? b->b : b->i);
        return DW_OK;
    }
    if (a->kind != b->kind)
        return DW_OK;
    switch (a->kind) {
    case DW_J_MISSING:
    case DW_J_UNDEFINED:
    case DW_J_NONE:
        *out = true;
        return DW_OK;
    case DW_J_STR:
    case DW_J_BIG:
        *out = a->s.len == b->s.len && !memcmp(a->s.ptr, b->s.ptr, a->s.len);
        return *out ? dw_jrun_spend_bytes(r, a->s.len) : DW_OK;
    case DW_J_LIST:
    case DW_J_TUPLE:
        return equal_lists(r, a->list, b->list, depth, out);
    case DW_J_DICT:
        return equal_dicts(r, a->dict, b->dict, depth, out);
    case DW_J_RANGE:
        *out = equal_ranges(a->range, b->range);
        return DW_OK;
    case DW_J_FUNCTION:
        *out = a->function == b->function;
        return DW_OK;
    default:
        *out = a->list == b->list; /* the same object */
        return DW_OK;
    }
}

dw_status dw_jvalue_equal(dw_jrun *r, const dw_jvalue *a, const dw_jvalue *b, bool *out)
{
    return equal(r, a, b, 0, out);
}

static dw_status compare(dw_jrun *r, const dw_jvalue *a, const dw_jvalue *b, const char *op,
                         int depth, int *out)
{
    DW_TRY(deeper(r, depth));
    if (dw_jvalue_is_number(a) && dw_jvalue_is_number(b)) {
        if (a->kind == DW_J_INT && b->kind == DW_J_INT) {
            *out = a->i < b->i ? -1 : a->i > b->i;
        } else {
            const double x = dw_jvalue_number(a), y = dw_jvalue_number(b);
            *out = x < y ? -1 : x > y;
        }
        return DW_OK;
    }
    if (a->kind == DW_J_STR && b->kind == DW_J_STR) {
        const size_t n = a->s.len < b->s.len ? a->s.len : b->s.len;
        DW_TRY(dw_jrun_spend_bytes(r, n));
        const int c = n ? memcmp(a->s.ptr, b->s.ptr, n) : 0;
        *out = c ? c : a->s.len < b->s.len ? -1 : a->s.len > b->s.len;
        return DW_OK;
    }
    if (a->kind == b->kind && (a->kind == DW_J_LIST || a->kind == DW_J_TUPLE)) {
        const dw_jlist *x = a->list, *y = b->list;
        for (size_t i = 0; i < x->n && i < y->n; i++) {
            bool same;
            DW_TRY(equal(r, &x->item[i], &y->item[i], depth + 1, &same));
            if (!same)
                return compare(r, &x->item[i], &y->item[i], op, depth + 1, out);
        }
        *out = x->n < y->n ? -1 : x->n > y->n;
        return DW_OK;
    }
    if (a->kind == DW_J_UNDEFINED || b->kind == DW_J_UNDEFINED)
        return dw_jcall_undefined(r, a->kind == DW_J_UNDEFINED ? a : b);
    return dw_jfail(r, DW_E_INPUT, "'%s' not supported between instances of '%s' and '%s'", op,
                    dw_jtype(a), dw_jtype(b));
}

dw_status dw_jvalue_compare(dw_jrun *r, const dw_jvalue *a, const dw_jvalue *b, const char *op,
                            int *out)
{
    return compare(r, a, b, op, 0, out);
}

dw_status dw_jvalue_contains(dw_jrun *r, const dw_jvalue *box, const dw_jvalue *item, bool *out)
{
    *out = false;
    if (box->kind == DW_J_STR) {
        if (item->kind != DW_J_STR)
            return dw_jfail(r, DW_E_INPUT, "'in <string>' requires string as left operand, not %s",
                            dw_jtype(item));
        DW_TRY(dw_jrun_spend_bytes(r, box->s.len));
        *out = !item->s.len || memmem(box->s.ptr, box->s.len, item->s.ptr, item->s.len);
        return DW_OK;
    }
    if (box->kind == DW_J_DICT) {
        dw_jvalue *found;
        DW_TRY(dw_jdict_find(r, box->dict, item, &found));
        *out = found != NULL;
        return DW_OK;
    }
    if (!dw_jiter_can(box))
        return dw_jfail(r, DW_E_INPUT, "argument of type '%s' is not iterable", dw_jtype(box));
    dw_jiter it;
    bool more;
    dw_jvalue one;
    DW_TRY(dw_jiter_start(r, box, &it));
    for (;;) {
        DW_TRY(dw_jiter_next(r, &it, &one, &more));
        if (!more)
            return DW_OK;
        DW_TRY(equal(r, &one, item, 0, out));
        if (*out)
            return DW_OK;
    }
}

dw_status dw_jvalue_length(dw_jrun *r, const dw_jvalue *v, int64_t *out, bool *has)
{
    *has = true;
    *out = 0;
    switch (v->kind) {
    case DW_J_UNDEFINED:
        return DW_OK;
    case DW_J_STR:
        for (size_t i = 0; i < v->s.len; i++)
            *out += ((unsigned char)v->s.ptr[i] & 0xc0) != 0x80;
        return dw_jrun_spend_bytes(r, v->s.len);
    case DW_J_LIST:
    case DW_J_TUPLE:
    case DW_J_VIEW:
        *out = (int64_t)v->list->n;
        return DW_OK;
    case DW_J_RANGE:
        *out = v->range->n;
        return DW_OK;
    case DW_J_DICT:
        *out = (int64_t)v->dict->n;
        return DW_OK;
    default:
        *has = false;
        return DW_OK;
    }
}

/* ---- making ---- */

dw_status dw_jlist_new(dw_jrun *r, dw_jkind kind, size_t n, dw_jvalue *out)
{
    if (n > DW_JLIMIT_MEMORY / sizeof(dw_jvalue))
        n = DW_JLIMIT_MEMORY / sizeof(dw_jvalue) + 1; /* refused below */
    DW_TRY(dw_jrun_spend(r, n / 16));
    dw_jlist *l = dw_jrun_alloc(r, sizeof *l + n * sizeof(dw_jvalue));
    if (!l)
        return DW_E_LIMIT;
    l->item = (dw_jvalue *)(void *)(l + 1);
    l->n = n;
    *out = (dw_jvalue){.kind = kind, .list = l};
    return DW_OK;
}

dw_status dw_jdict_new(dw_jrun *r, dw_jkind kind, dw_jvalue *out)
{
    dw_jdict *d = dw_jrun_alloc(r, sizeof *d);
    *out = (dw_jvalue){.kind = kind, .dict = d};
    return d ? DW_OK : DW_E_LIMIT;
}

static bool hashable(const dw_jvalue *v)
{
    if (v->kind == DW_J_TUPLE)
        for (size_t i = 0; i < v->list->n; i++)
            if (!hashable(&v->list->item[i]))
                return false;
    return v->kind != DW_J_LIST && v->kind != DW_J_DICT && v->kind != DW_J_VIEW;
}

dw_status dw_jdict_find(dw_jrun *r, const dw_jdict *d, const dw_jvalue *key, dw_jvalue **out)
{
    *out = NULL;
    if (key->kind == DW_J_STR) { /* nearly always */
        for (size_t i = 0; i < d->n; i++) {
            const dw_jvalue *k = &d->pair[i].key;
            if (k->kind == DW_J_STR && k->s.len == key->s.len &&
                !memcmp(k->s.ptr, key->s.ptr, key->s.len)) {
                *out = &d->pair[i].value;
                break;
            }
        }
        return d->n < 16 ? DW_OK : dw_jrun_spend(r, d->n / 16);
    }
    if (!hashable(key))
        return dw_jfail(r, DW_E_INPUT, "unhashable type: '%s'", dw_jtype(key));
    for (size_t i = 0; i < d->n; i++) {
        bool same;
        DW_TRY(equal(r, &d->pair[i].key, key, 0, &same));
        if (same) {
            *out = &d->pair[i].value;
            break;
        }
    }
    return DW_OK;
}

static dw_status append_pair(dw_jrun *r, dw_jdict *d, dw_jvalue key, dw_jvalue value)
{
    if (d->n == d->cap || !d->pair) {
        const size_t cap = d->cap ? d->cap * 2 : 8;
        dw_jpair *more = dw_jrun_alloc(r, cap * sizeof *more);
        if (!more)
            return DW_E_LIMIT;
        if (d->n && d->pair)
            memcpy(more, d->pair, d->n * sizeof *more);
        d->pair = more;
        d->cap = cap;
    }
    d->pair[d->n++] = (dw_jpair){key, value};
    return DW_OK;
}

dw_status dw_jdict_set(dw_jrun *r, dw_jdict *d, dw_jvalue key, dw_jvalue value)
{
    dw_jvalue *found;
    DW_TRY(dw_jdict_find(r, d, &key, &found));
    if (!found)
        return append_pair(r, d, key, value);
    *found = value;
    return DW_OK;
}

dw_jvalue *dw_jdict_get(const dw_jdict *d, const char *key)
{
    const size_t n = strlen(key);
    for (size_t i = 0; i < d->n; i++) {
        const dw_jvalue *k = &d->pair[i].key;
        if (k->kind == DW_J_STR && k->s.len == n && !memcmp(k->s.ptr, key, n))
            return &d->pair[i].value;
    }
    return NULL;
}

static dw_status number_from_json(dw_jrun *r, const dw_json *v, dw_jvalue *out)
{
    const double x = dw_json_num(v);
    const dw_text spelt = dw_json_spelling(v);
    (void)r;
    if (!spelt.len) {
        *out = x == floor(x) && fabs(x) <= 9007199254740992.0 ? dw_jint((int64_t)x) : dw_jfloat(x);
    } else if (memchr(spelt.ptr, '.', spelt.len) || memchr(spelt.ptr, 'e', spelt.len) ||
               memchr(spelt.ptr, 'E', spelt.len)) {
        *out = dw_jfloat(x);
    } else if (fabs(x) < 9e18) {
        *out = dw_jint(strtoll(spelt.ptr, NULL, 10));
    } else {
        *out = dw_jtext(spelt.ptr, spelt.len, 0);
        out->kind = DW_J_BIG;
    }
    return DW_OK;
}

dw_status dw_jvalue_from_json(dw_jrun *r, const dw_json *v, uint8_t tag, dw_jvalue *out)
{
    const dw_json_type kind = dw_json_kind(v);
    size_t i = 0;
    dw_jvalue item;
    switch (kind) {
    case DW_JSON_NULL:
        *out = dw_jnone();
        return DW_OK;
    case DW_JSON_BOOL:
        *out = dw_jbool(dw_json_bool(v));
        return DW_OK;
    case DW_JSON_NUMBER:
        return number_from_json(r, v, out);
    case DW_JSON_STRING:
        *out = dw_jtext(dw_json_str(v).ptr, dw_json_str(v).len, tag);
        return DW_OK;
    case DW_JSON_ARRAY:
        DW_TRY(dw_jlist_new(r, DW_J_LIST, dw_json_len(v), out));
        for (const dw_json *c = dw_json_first(v); c; c = dw_json_next(c))
            DW_TRY(dw_jvalue_from_json(r, c, tag, &out->list->item[i++]));
        return DW_OK;
    case DW_JSON_OBJECT:
        DW_TRY(dw_jdict_new(r, DW_J_DICT, out));
        for (const dw_json *c = dw_json_first(v); c; c = dw_json_next(c)) {
            DW_TRY(dw_jvalue_from_json(r, c, tag, &item));
            /* the reader of JSON refused a key that comes twice */
            DW_TRY(append_pair(r, out->dict, dw_jtext(dw_json_key(c), strlen(dw_json_key(c)), tag),
                               item));
        }
        return DW_OK;
    }
    return DW_OK;
}

/* ---- iteration ---- */

bool dw_jiter_can(const dw_jvalue *v)
{
    switch (v->kind) {
    case DW_J_UNDEFINED:
    case DW_J_STR:
    case DW_J_LIST:
    case DW_J_TUPLE:
    case DW_J_GENERATOR:
    case DW_J_VIEW:
    case DW_J_RANGE:
    case DW_J_DICT:
        return true;
    default:
        return false;
    }
}

dw_status dw_jiter_start(dw_jrun *r, const dw_jvalue *v, dw_jiter *out)
{
    *out = (dw_jiter){.of = *v};
    if (!dw_jiter_can(v))
        return dw_jfail(r, DW_E_INPUT, "'%s' object is not iterable", dw_jtype(v));
    return DW_OK;
}

dw_status dw_jiter_next(dw_jrun *r, dw_jiter *it, dw_jvalue *out, bool *more)
{
    const dw_jvalue *v = &it->of;
    int len;
    *more = false;
    DW_TRY(dw_jrun_spend(r, 1));
    switch (v->kind) {
    case DW_J_STR:
        if (it->at >= v->s.len)
            return DW_OK;
        (void)dw_unicode_at(v->s.ptr + it->at, v->s.len - it->at, &len);
        *out = dw_jstring(dw_jstr_part(&v->s, it->at, it->at + (size_t)len));
        it->at += (size_t)len;
        break;
    case DW_J_GENERATOR:
        if (v->list->at >= v->list->n)
            return DW_OK;
        *out = v->list->item[v->list->at++];
        break;
    case DW_J_LIST:
    case DW_J_TUPLE:
    case DW_J_VIEW:
        if (it->at >= v->list->n)
            return DW_OK;
        *out = v->list->item[it->at++];
        break;
    case DW_J_RANGE:
        if ((int64_t)it->at >= v->range->n)
            return DW_OK;
        *out = dw_jint(v->range->start + v->range->step * (int64_t)it->at++);
        break;
    case DW_J_DICT:
        if (it->at >= v->dict->n)
            return DW_OK;
        *out = v->dict->pair[it->at++].key;
        break;
    default:
        return DW_OK;
    }
    *more = true;
    return DW_OK;
}

dw_status dw_jiter_list(dw_jrun *r, const dw_jvalue *v, dw_jvalue *out)
{
    dw_jiter it;
    dw_jvalue one;
    bool more = true;
    size_t n = 0, cap = 0;
    DW_TRY(dw_jiter_start(r, v, &it));
    DW_TRY(dw_jlist_new(r, DW_J_LIST, 0, out));
    for (;;) {
        DW_TRY(dw_jiter_next(r, &it, &one, &more));
        if (!more)
            break;
        if (n == cap) {
            dw_jvalue bigger;
            cap = cap ? cap * 2 : 8;
            DW_TRY(dw_jlist_new(r, DW_J_LIST, cap, &bigger));
            if (n)
                memcpy(bigger.list->item, out->list->item, n * sizeof one);
            *out = bigger;
        }
        out->list->item[n++] = one;
    }
    out->list->n = n;
    return DW_OK;
}
