/* Filters that look at lists, mappings and attributes, and the way to a filter by its name. */
#include <string.h>

#include "text/jinja/call.h"
#include "text/jinja/node.h"

/* ---- what several of them share ---- */

/* The value that attribute "a.b.0" names in v; postprocessed: text in lower case. */
static dw_status by_path(dw_jrun *r, const dw_jvalue *v, const dw_jvalue *path, dw_jvalue *out)
{
    *out = *v;
    if (path->kind == DW_J_MISSING || path->kind == DW_J_NONE)
        return DW_OK;
    if (path->kind != DW_J_STR) {
        const dw_jvalue of = *out;
        return dw_jattr_item(r, &of, path, out);
    }
    for (size_t at = 0; at <= path->s.len;) {
        const char *p = path->s.ptr + at, *dot = memchr(p, '.', path->s.len - at);
        const size_t n = dot ? (size_t)(dot - p) : path->s.len - at;
        dw_jvalue key = dw_jstring(dw_jstr_part(&path->s, at, at + n));
        int64_t index = 0;
        size_t i = 0;
        for (; i < n && i < 9 && p[i] >= '0' && p[i] <= '9'; i++)
            index = index * 10 + (p[i] - '0');
        if (n && i == n)
            key = dw_jint(index);
        const dw_jvalue of = *out;
        DW_TRY(dw_jattr_item(r, &of, &key, out));
        at += n + 1;
    }
    return DW_OK;
}

static dw_status without_case(dw_jrun *r, dw_jvalue *v)
{
    const dw_jvalue s = *v;
    return v->kind == DW_J_STR ? dw_jstrings_case(r, &s.s, "lower", v) : DW_OK;
}

typedef struct sort_by {
    dw_jvalue *key; /* [n] */
    size_t *order, *spare;
    bool reverse;
} sort_by;

/* Merge sort: stable, also when reversed, as Python's. */
static dw_status merge_sort(dw_jrun *r, sort_by *s, size_t from, size_t to)
{
    if (to - from < 2)
        return DW_OK;
    const size_t mid = from + (to - from) / 2;
    DW_TRY(merge_sort(r, s, from, mid));
    DW_TRY(merge_sort(r, s, mid, to));
    size_t i = from, j = mid, k = from;
    while (i < mid && j < to) {
        int c;
        DW_TRY(dw_jvalue_compare(r, &s->key[s->order[j]], &s->key[s->order[i]], "<", &c));
        s->spare[k++] = s->order[(s->reverse ? c > 0 : c < 0) ? j++ : i++];
    }
    while (i < mid)
        s->spare[k++] = s->order[i++];
    while (j < to)
        s->spare[k++] = s->order[j++];
    memcpy(s->order + from, s->spare + from, (to - from) * sizeof *s->order);
    return DW_OK;
}

static dw_status sort_items(dw_jrun *r, dw_jlist *items, dw_jvalue *key, bool reverse)
{
    const size_t n = items->n;
    dw_jvalue sorted;
    sort_by s = {.key = key, .reverse = reverse};
    s.order = dw_jrun_alloc(r, (n + 1) * sizeof *s.order);
    s.spare = dw_jrun_alloc(r, (n + 1) * sizeof *s.spare);
    if (!s.order || !s.spare)
        return DW_E_LIMIT;
    for (size_t i = 0; i < n; i++)
        s.order[i] = i;
    DW_TRY(merge_sort(r, &s, 0, n));
    DW_TRY(dw_jlist_new(r, DW_J_LIST, n, &sorted));
    for (size_t i = 0; i < n; i++)
        sorted.list->item[i] = items->item[s.order[i]];
    *items = *sorted.list;
    return DW_OK;
}

/* Keys of the items: by an attribute (several with commas where `many`), case put aside. */
static dw_status keys_of(dw_jrun *r, const dw_jlist *items, const dw_jvalue *attribute, bool many,
                         bool case_sensitive, dw_jvalue **out)
{
    dw_jvalue keys;
    DW_TRY(dw_jlist_new(r, DW_J_LIST, items->n, &keys));
    *out = keys.list->item;
    many = many && attribute->kind == DW_J_STR &&
           memchr(attribute->s.ptr, ',', attribute->s.len) != NULL;
    dw_jvalue paths = {0}, comma = dw_jtext(",", 1, 0);
    dw_jargs by = {.v = &comma, .n = 1};
    if (many)
        DW_TRY(dw_jstrings_call(r, &attribute->s, "split", &by, &paths));
    for (size_t i = 0; i < items->n; i++) {
        dw_jvalue *k = &(*out)[i];
        if (!many) {
            DW_TRY(by_path(r, &items->item[i], attribute, k));
            if (!case_sensitive)
                DW_TRY(without_case(r, k));
            continue;
        }
        DW_TRY(dw_jlist_new(r, DW_J_LIST, paths.list->n, k));
        for (size_t p = 0; p < paths.list->n; p++) {
            DW_TRY(by_path(r, &items->item[i], &paths.list->item[p], &k->list->item[p]));
            if (!case_sensitive)
                DW_TRY(without_case(r, &k->list->item[p]));
        }
    }
    return DW_OK;
}

/* ---- filters ---- */

static dw_status length(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    int64_t n;
    bool has;
    DW_TRY(dw_jcall_bind(r, "length", a, "", 0, o));
    DW_TRY(dw_jvalue_length(r, v, &n, &has));
    if (!has && v->kind == DW_J_LOOP)
        return dw_jloop_attr(r, v->loop, "length", out, &has);
    if (!has)
        return dw_jfail(r, DW_E_INPUT, "object of type '%s' has no len()", dw_jtype(v));
    *out = dw_jint(n);
    return DW_OK;
}

static dw_status by_default(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    DW_TRY(dw_jcall_bind(r, "default", a, "default_value boolean", 0, o));
    *out = *v;
    if (v->kind == DW_J_UNDEFINED || (dw_jvalue_truth(&o[1]) && !dw_jvalue_truth(v)))
        *out = o[0].kind == DW_J_MISSING ? dw_jtext("", 0, 0) : o[0];
    return DW_OK;
}

static dw_status list(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    DW_TRY(dw_jcall_bind(r, "list", a, "", 0, out));
    return dw_jiter_list(r, v, out);
}

static dw_status items(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    DW_TRY(dw_jcall_bind(r, "items", a, "", 0, out));
    if (v->kind == DW_J_UNDEFINED)
        return dw_jlist_new(r, DW_J_GENERATOR, 0, out);
    if (v->kind != DW_J_DICT)
        return dw_jfail(r, DW_E_INPUT, "Can only get item pairs from a mapping.");
    DW_TRY(dw_jmethod_call(r, v, "items", a, out));
    out->kind = DW_J_GENERATOR;
    return DW_OK;
}

static dw_status first(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jiter it;
    bool more;
    DW_TRY(dw_jcall_bind(r, "first", a, "", 0, out));
    DW_TRY(dw_jiter_start(r, v, &it));
    DW_TRY(dw_jiter_next(r, &it, out, &more));
    if (!more)
        *out = dw_jundefined(DW_JWHY_HINT, 0, "No first item, sequence was empty.");
    return DW_OK;
}

static dw_status last(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue all;
    DW_TRY(dw_jcall_bind(r, "last", a, "", 0, out));
    if (v->kind == DW_J_UNDEFINED || v->kind == DW_J_GENERATOR)
        return dw_jfail(r, DW_E_INPUT, "'%s' object is not reversible", dw_jtype(v));
    DW_TRY(dw_jiter_list(r, v, &all));
    *out = all.list->n ? all.list->item[all.list->n - 1]
                       : dw_jundefined(DW_JWHY_HINT, 0, "No last item, sequence was empty.");
    return DW_OK;
}

static dw_status join(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST], one, part;
    dw_jstr with = {.ptr = "", .len = 0};
    dw_jiter it;
    dw_jbuild b = {0};
    bool more;
    DW_TRY(dw_jcall_bind(r, "join", a, "d attribute", 0, o));
    if (o[0].kind != DW_J_MISSING)
        DW_TRY(dw_jprint_string(r, &o[0], &with));
    DW_TRY(dw_jiter_start(r, v, &it));
    for (size_t i = 0;; i++) {
        DW_TRY(dw_jiter_next(r, &it, &one, &more));
        if (!more)
            break;
        if (i)
            DW_TRY(dw_jbuild_str(r, &b, &with));
        DW_TRY(by_path(r, &one, &o[1], &part));
        DW_TRY(dw_jprint_str(r, &b, &part));
    }
    *out = dw_jbuild_done(r, &b);
    return DW_OK;
}

static dw_status reverse(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    DW_TRY(dw_jcall_bind(r, "reverse", a, "", 0, out));
    if (v->kind == DW_J_STR) {
        const dw_jvalue part[3] = {{0}, {0}, dw_jint(-1)};
        return dw_jattr_slice(r, v, part, out);
    }
    const bool lazy = v->kind != DW_J_GENERATOR && v->kind != DW_J_UNDEFINED;
    DW_TRY(dw_jiter_list(r, v, out));
    for (size_t i = 0, n = out->list->n; i < n / 2; i++) {
        const dw_jvalue t = out->list->item[i];
        out->list->item[i] = out->list->item[n - 1 - i];
        out->list->item[n - 1 - i] = t;
    }
    if (lazy)
        out->kind = DW_J_GENERATOR;
    return DW_OK;
}

static dw_status dictsort(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST], *key;
    dw_jargs none = {0};
    DW_TRY(dw_jcall_bind(r, "dictsort", a, "case_sensitive by reverse", 0, o));
    if (v->kind == DW_J_UNDEFINED)
        return dw_jcall_undefined(r, v);
    if (v->kind != DW_J_DICT)
        return dw_jfail(r, DW_E_INPUT, "'%s' object has no attribute 'items'", dw_jtype(v));
    int64_t place = 0;
    if (o[1].kind != DW_J_MISSING) {
        const dw_text by = {o[1].kind == DW_J_STR ? o[1].s.ptr : "",
                            o[1].kind == DW_J_STR ? o[1].s.len : 0};
        place = dw_text_is(by, "value");
        if (!place && !dw_text_is(by, "key"))
            return dw_jfail(r, DW_E_INPUT, "You can only sort by either \"key\" or \"value\"");
    }
    DW_TRY(dw_jmethod_call(r, v, "items", &none, out));
    out->kind = DW_J_LIST;
    const dw_jvalue index = dw_jint(place);
    DW_TRY(keys_of(r, out->list, &index, false, dw_jvalue_truth(&o[0]), &key));
    return sort_items(r, out->list, key, dw_jvalue_truth(&o[2]));
}

static dw_status sort(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST], *key;
    DW_TRY(dw_jcall_bind(r, "sort", a, "reverse case_sensitive attribute", 0, o));
    DW_TRY(dw_jiter_list(r, v, out));
    DW_TRY(keys_of(r, out->list, &o[2], true, dw_jvalue_truth(&o[1]), &key));
    return sort_items(r, out->list, key, dw_jvalue_truth(&o[0]));
}

static dw_status unique(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST], all, seen, *key, *found;
    size_t n = 0;
    DW_TRY(dw_jcall_bind(r, "unique", a, "case_sensitive attribute", 0, o));
    DW_TRY(dw_jiter_list(r, v, &all));
    DW_TRY(keys_of(r, all.list, &o[1], false, dw_jvalue_truth(&o[0]), &key));
    DW_TRY(dw_jdict_new(r, DW_J_DICT, &seen));
    DW_TRY(dw_jlist_new(r, DW_J_GENERATOR, all.list->n, out));
    for (size_t i = 0; i < all.list->n; i++) {
        DW_TRY(dw_jdict_find(r, seen.dict, &key[i], &found));
        if (found)
            continue;
        DW_TRY(dw_jdict_set(r, seen.dict, key[i], dw_jnone()));
        out->list->item[n++] = all.list->item[i];
    }
    out->list->n = n;
    return DW_OK;
}

static dw_status extreme(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, bool most, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST], all, *key;
    size_t best = 0;
    DW_TRY(dw_jcall_bind(r, most ? "max" : "min", a, "case_sensitive attribute", 0, o));
    DW_TRY(dw_jiter_list(r, v, &all));
    DW_TRY(keys_of(r, all.list, &o[1], false, dw_jvalue_truth(&o[0]), &key));
    for (size_t i = 1; i < all.list->n; i++) {
        int c;
        DW_TRY(dw_jvalue_compare(r, &key[i], &key[best], most ? ">" : "<", &c));
        best = (most ? c > 0 : c < 0) ? i : best;
    }
    *out = all.list->n ? all.list->item[best]
                       : dw_jundefined(DW_JWHY_HINT, 0, "No aggregated item, sequence was empty.");
    return DW_OK;
}

static dw_status max(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    return extreme(r, v, a, true, out);
}

static dw_status min(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    return extreme(r, v, a, false, out);
}

static dw_status sum(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST], one, part;
    dw_jiter it;
    bool more;
    DW_TRY(dw_jcall_bind(r, "sum", a, "attribute start", 0, o));
    *out = o[1].kind == DW_J_MISSING ? dw_jint(0) : o[1];
    if (out->kind == DW_J_STR)
        return dw_jfail(r, DW_E_INPUT, "sum() can't sum strings [use ''.join(seq) instead]");
    DW_TRY(dw_jiter_start(r, v, &it));
    for (;;) {
        DW_TRY(dw_jiter_next(r, &it, &one, &more));
        if (!more)
            return DW_OK;
        DW_TRY(by_path(r, &one, &o[0], &part));
        const dw_jvalue so_far = *out;
        DW_TRY(dw_joperate(r, DW_JOP_ADD, &so_far, &part, out));
    }
}

static dw_status attribute(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jstr name;
    DW_TRY(dw_jcall_bind(r, "attr", a, "name", 1, o));
    DW_TRY(dw_jcall_str(r, "attr", &o[0], &name));
    const char *s = dw_jrun_strndup(r, name.ptr, name.len);
    if (!s)
        return DW_E_LIMIT;
    if (v->kind == DW_J_DICT) { /* attributes only, never items */
        bool unsafe;
        if (!dw_jmethod_has(v, s, &unsafe)) {
            *out = dw_jundefined(DW_JWHY_ATTRIBUTE, v->kind, s);
            return DW_OK;
        }
    }
    return dw_jattr_get(r, v, s, out);
}

static dw_status batch(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST], all, row;
    int64_t size;
    DW_TRY(dw_jcall_bind(r, "batch", a, "linecount fill_with", 1, o));
    DW_TRY(dw_jcall_int(r, "batch", &o[0], 0, &size));
    if (size < 1 || size > DW_JLIMIT_RANGE)
        return dw_jfail(r, DW_E_INPUT, "batch: a line count outside of 1 .. %d", DW_JLIMIT_RANGE);
    DW_TRY(dw_jiter_list(r, v, &all));
    const size_t n = all.list->n, m = (size_t)size, rows = (n + m - 1) / m;
    const bool fill = o[1].kind != DW_J_MISSING && o[1].kind != DW_J_NONE;
    DW_TRY(dw_jlist_new(r, DW_J_GENERATOR, rows, out));
    for (size_t i = 0; i < rows; i++) {
        const size_t have = i + 1 < rows ? m : n - i * m;
        DW_TRY(dw_jlist_new(r, DW_J_LIST, fill ? m : have, &row));
        for (size_t k = 0; k < row.list->n; k++)
            row.list->item[k] = k < have ? all.list->item[i * m + k] : o[1];
        out->list->item[i] = row;
    }
    return DW_OK;
}

static dw_status slice(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST], all, part;
    int64_t count;
    DW_TRY(dw_jcall_bind(r, "slice", a, "slices fill_with", 1, o));
    DW_TRY(dw_jcall_int(r, "slice", &o[0], 0, &count));
    if (count < 1 || count > DW_JLIMIT_RANGE)
        return dw_jfail(r, DW_E_INPUT, "slice: a number outside of 1 .. %d", DW_JLIMIT_RANGE);
    DW_TRY(dw_jiter_list(r, v, &all));
    const size_t m = (size_t)count, each = all.list->n / m, extra = all.list->n % m;
    const bool fill = o[1].kind != DW_J_MISSING && o[1].kind != DW_J_NONE;
    size_t at = 0;
    DW_TRY(dw_jlist_new(r, DW_J_GENERATOR, m, out));
    for (size_t i = 0; i < m; i++) {
        const size_t n = each + (i < extra), more = fill && i >= extra;
        DW_TRY(dw_jlist_new(r, DW_J_LIST, n + more, &part));
        for (size_t k = 0; k < n; k++)
            part.list->item[k] = all.list->item[at++];
        if (more)
            part.list->item[n] = o[1];
        out->list->item[i] = part;
    }
    return DW_OK;
}

static dw_status groupby(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST], all, *key, group;
    DW_TRY(dw_jcall_bind(r, "groupby", a, "attribute default case_sensitive", 1, o));
    if (o[1].kind != DW_J_MISSING && o[1].kind != DW_J_NONE)
        return dw_jfail(r, DW_E_INPUT, "groupby: a default is not supported");
    const bool cased = dw_jvalue_truth(&o[2]);
    DW_TRY(dw_jiter_list(r, v, &all));
    DW_TRY(keys_of(r, all.list, &o[0], false, cased, &key));
    DW_TRY(sort_items(r, all.list, key, false));
    DW_TRY(keys_of(r, all.list, &o[0], false, cased, &key));
    DW_TRY(dw_jlist_new(r, DW_J_LIST, all.list->n, out));
    size_t n = 0;
    for (size_t i = 0, end; i < all.list->n; i = end) {
        bool same = true;
        for (end = i + 1; end < all.list->n; end++) {
            DW_TRY(dw_jvalue_equal(r, &key[i], &key[end], &same));
            if (!same)
                break;
        }
        DW_TRY(dw_jlist_new(r, DW_J_TUPLE, 2, &group));
        DW_TRY(by_path(r, &all.list->item[i], &o[0], &group.list->item[0]));
        DW_TRY(dw_jlist_new(r, DW_J_LIST, end - i, &group.list->item[1]));
        memcpy(group.list->item[1].list->item, all.list->item + i, (end - i) * sizeof group);
        out->list->item[n++] = group;
    }
    out->list->n = n;
    return DW_OK;
}

/* ---- map, select and their like ---- */

static dw_status map(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST] = {{0}}, all;
    dw_jstr name;
    const bool path = !a->n && a->n_kw;
    DW_TRY(dw_jlist_new(r, DW_J_GENERATOR, 0, out));
    if (!dw_jvalue_truth(v))
        return DW_OK;
    if (path)
        DW_TRY(dw_jcall_bind(r, "map", a, "attribute default", 0, o));
    else if (!a->n)
        return dw_jfail(r, DW_E_INPUT, "map requires a filter argument");
    else
        DW_TRY(dw_jcall_str(r, "map", &a->v[0], &name));
    DW_TRY(dw_jiter_list(r, v, &all));
    const char *filter = path ? NULL : dw_jrun_strndup(r, name.ptr, name.len);
    if (!path && !filter)
        return DW_E_LIMIT;
    DW_TRY(dw_jlist_new(r, DW_J_GENERATOR, all.list->n, out));
    for (size_t i = 0; i < all.list->n; i++) {
        dw_jvalue *to = &out->list->item[i];
        if (path) {
            DW_TRY(by_path(r, &all.list->item[i], &o[0], to));
            if (to->kind == DW_J_UNDEFINED && o[1].kind != DW_J_MISSING && o[1].kind != DW_J_NONE)
                *to = o[1];
            continue;
        }
        dw_jargs rest = {a->v + 1, a->n - 1, a->kw, a->n_kw};
        DW_TRY(dw_jfilter_call(r, filter, &all.list->item[i], &rest, to));
    }
    return DW_OK;
}

static dw_status choose(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, bool attr, bool want,
                        dw_jvalue *out)
{
    dw_jvalue all, x;
    dw_jstr name;
    const size_t off = attr;
    const char *test = NULL;
    size_t n = 0;
    DW_TRY(dw_jlist_new(r, DW_J_GENERATOR, 0, out));
    if (!dw_jvalue_truth(v))
        return DW_OK;
    if (a->n < off)
        return dw_jfail(r, DW_E_INPUT, "Missing parameter for attribute name");
    if (a->n > off) {
        DW_TRY(dw_jcall_str(r, "the name of a test", &a->v[off], &name));
        test = dw_jrun_strndup(r, name.ptr, name.len);
        if (!test)
            return DW_E_LIMIT;
    }
    DW_TRY(dw_jiter_list(r, v, &all));
    DW_TRY(dw_jlist_new(r, DW_J_GENERATOR, all.list->n, out));
    for (size_t i = 0; i < all.list->n; i++) {
        dw_jargs rest = {0};
        if (test)
            rest = (dw_jargs){a->v + off + 1, a->n - off - 1, a->kw, a->n_kw};
        bool yes;
        x = all.list->item[i];
        if (attr)
            DW_TRY(by_path(r, &all.list->item[i], &a->v[0], &x));
        yes = dw_jvalue_truth(&x);
        if (test)
            DW_TRY(dw_jtest_call(r, test, &x, &rest, &yes));
        if (yes == want)
            out->list->item[n++] = all.list->item[i];
    }
    out->list->n = n;
    return DW_OK;
}

static dw_status do_select(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    return choose(r, v, a, false, true, out);
}

static dw_status reject(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    return choose(r, v, a, false, false, out);
}

static dw_status selectattr(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    return choose(r, v, a, true, true, out);
}

static dw_status rejectattr(dw_jrun *r, const dw_jvalue *v, dw_jargs *a, dw_jvalue *out)
{
    return choose(r, v, a, true, false, out);
}

const dw_jfilter dw_jfilter_lists[] = {
    {"length", length},
    {"count", length},
    {"default", by_default},
    {"d", by_default},
    {"list", list},
    {"items", items},
    {"first", first},
    {"last", last},
    {"join", join},
    {"reverse", reverse},
    {"dictsort", dictsort},
    {"sort", sort},
    {"unique", unique},
    {"max", max},
    {"min", min},
    {"sum", sum},
    {"attr", attribute},
    {"batch", batch},
    {"slice", slice},
    {"groupby", groupby},
    {"map", map},
    {"select", do_select},
    {"reject", reject},
    {"selectattr", selectattr},
    {"rejectattr", rejectattr},
    {NULL, NULL},
};

static dw_jfilter_fn find(const char *name)
{
    for (const dw_jfilter *f = dw_jfilter_lists; f->name; f++)
        if (!strcmp(f->name, name))
            return f->fn;
    for (const dw_jfilter *f = dw_jfilter_texts; f->name; f++)
        if (!strcmp(f->name, name))
            return f->fn;
    return NULL;
}

bool dw_jfilter_has(const char *name)
{
    return find(name) != NULL;
}

dw_status dw_jfilter_call(dw_jrun *r, const char *name, const dw_jvalue *v, dw_jargs *a,
                          dw_jvalue *out)
{
    dw_jfilter_fn fn = find(name);
    DW_TRY(dw_jrun_spend(r, 1));
    return fn ? fn(r, v, a, out) : dw_jfail(r, DW_E_INPUT, "No filter named '%s'.", name);
}
