/* The functions that every template has: range, dict, namespace, raise_exception, strftime_now. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/jinja/exec.h"

static dw_status make_range(dw_jrun *r, dw_jargs *a, dw_jvalue *out)
{
    int64_t v[3] = {0, 0, 1};
    if (a->n < 1 || a->n > 3 || a->n_kw)
        return dw_jfail(r, DW_E_INPUT, "range: wanted 1 to 3 numbers");
    for (size_t i = 0; i < a->n; i++) {
        if (a->v[i].kind == DW_J_NONE)
            return dw_jfail(r, DW_E_INPUT, "range: wanted an int, found NoneType");
        DW_TRY(dw_jcall_int(r, "range", &a->v[i], 0, &v[i]));
    }
    if (a->n == 1) {
        v[1] = v[0];
        v[0] = 0;
    }
    if (!v[2])
        return dw_jfail(r, DW_E_INPUT, "range() arg 3 must not be zero");
    const bool some = v[2] > 0 ? v[1] > v[0] : v[1] < v[0];
    const uint64_t gap =
        v[2] > 0 ? (uint64_t)v[1] - (uint64_t)v[0] : (uint64_t)v[0] - (uint64_t)v[1];
    const uint64_t step = v[2] > 0 ? (uint64_t)v[2] : 0 - (uint64_t)v[2];
    const uint64_t n = some ? (gap - 1) / step + 1 : 0;
    if (n > DW_JLIMIT_RANGE)
        return dw_jfail(r, DW_E_LIMIT,
                        "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).",
                        DW_JLIMIT_RANGE);
    dw_jrange *g = dw_jrun_alloc(r, sizeof *g);
    if (!g)
        return DW_E_LIMIT;
    *g = (dw_jrange){v[0], v[2], (int64_t)n, v[1]};
    *out = (dw_jvalue){.kind = DW_J_RANGE, .range = g};
    return DW_OK;
}

/* From a mapping or pairs, then from keywords. */
static dw_status fill(dw_jrun *r, dw_jargs *a, dw_jdict *d)
{
    if (a->n > 1)
        return dw_jfail(r, DW_E_INPUT, "dict expected at most 1 argument, got %zu", a->n);
    if (a->n && (a->v[0].kind == DW_J_DICT || a->v[0].kind == DW_J_NAMESPACE)) {
        for (size_t i = 0; i < a->v[0].dict->n; i++)
            DW_TRY(dw_jdict_set(r, d, a->v[0].dict->pair[i].key, a->v[0].dict->pair[i].value));
    } else if (a->n) {
        dw_jiter it;
        dw_jvalue pair, two;
        bool more;
        DW_TRY(dw_jiter_start(r, &a->v[0], &it));
        for (;;) {
            DW_TRY(dw_jiter_next(r, &it, &pair, &more));
            if (!more)
                break;
            DW_TRY(dw_jiter_list(r, &pair, &two));
            if (two.list->n != 2)
                return dw_jfail(r, DW_E_INPUT,
                                "dictionary update sequence element has length %zu; "
                                "2 is required",
                                two.list->n);
            DW_TRY(dw_jdict_set(r, d, two.list->item[0], two.list->item[1]));
        }
    }
    for (size_t i = 0; i < a->n_kw; i++)
        DW_TRY(dw_jdict_set(r, d, dw_jtext(a->kw[i].name, strlen(a->kw[i].name), DW_JMARK_LITERAL),
                            a->kw[i].value));
    return DW_OK;
}

static dw_status make_dict(dw_jrun *r, dw_jargs *a, dw_jvalue *out)
{
    DW_TRY(dw_jdict_new(r, DW_J_DICT, out));
    return fill(r, a, out->dict);
}

static dw_status make_namespace(dw_jrun *r, dw_jargs *a, dw_jvalue *out)
{
    DW_TRY(dw_jdict_new(r, DW_J_NAMESPACE, out));
    DW_TRY(fill(r, a, out->dict));
    for (size_t i = 0; i < out->dict->n; i++) {
        const dw_jvalue *k = &out->dict->pair[i].key;
        if (k->kind == DW_J_STR && k->s.len && k->s.ptr[0] == '_')
            return dw_jfail(r, DW_E_INPUT,
                            "a namespace stores no name that begins with an underscore: '%.*s'",
                            (int)k->s.len, k->s.ptr);
    }
    return DW_OK;
}

static dw_status raise(dw_jrun *r, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jstr s;
    (void)out;
    DW_TRY(dw_jcall_bind(r, "raise_exception", a, "message", 1, o));
    DW_TRY(dw_jprint_string(r, &o[0], &s));
    return dw_jfail(r, DW_E_INPUT, "the template refuses: %.*s", (int)s.len, s.ptr);
}

/* Through a pointer: the compiler wants formats that are literals, and this one is the template's.
 */
static size_t (*const write_date)(char *, size_t, const char *, const struct tm *) = strftime;

/* Now, or where runs are to be reproduced the second that SOURCE_DATE_EPOCH names, in UTC. */
static dw_status strftime_now(dw_jrun *r, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    dw_jstr f;
    struct timespec now = {0};
    struct tm t;
    char text[1024];
    dw_jbuild b = {0};
    const char *fixed = getenv("SOURCE_DATE_EPOCH");
    DW_TRY(dw_jcall_bind(r, "strftime_now", a, "format", 1, o));
    DW_TRY(dw_jcall_str(r, "strftime_now", &o[0], &f));
    clock_gettime(CLOCK_REALTIME, &now);
    if (fixed && *fixed)
        now = (struct timespec){.tv_sec = (time_t)strtoll(fixed, NULL, 10)};
    if (!(fixed && *fixed ? gmtime_r(&now.tv_sec, &t) : localtime_r(&now.tv_sec, &t)))
        return dw_jfail(r, DW_E_INPUT, "strftime_now: the date cannot be worked out");
    const char *s = dw_jrun_strndup(r, f.ptr, f.len);
    if (!s)
        return DW_E_LIMIT;
    /* One directive at a time, so that no length of the whole matters. */
    while (*s) {
        char one[4] = {*s, 0, 0, 0};
        if (*s == '%' && s[1])
            one[1] = *++s;
        s++;
        if (!strcmp(one, "%f"))
            snprintf(text, sizeof text, "%06ld", now.tv_nsec / 1000);
        else if (one[0] != '%' || !one[1])
            snprintf(text, sizeof text, "%s", one);
        else if (!write_date(text, sizeof text, one, &t))
            text[0] = 0;
        DW_TRY(dw_jbuild_add(r, &b, text, strlen(text), DW_JMARK_LITERAL));
    }
    *out = dw_jbuild_done(r, &b);
    return DW_OK;
}

static dw_status make_cycler(dw_jrun *r, dw_jargs *a, dw_jvalue *out)
{
    if (!a->n || a->n_kw)
        return dw_jfail(r, DW_E_INPUT, "cycler: at least one item has to be provided");
    DW_TRY(dw_jlist_new(r, DW_J_CYCLER, a->n, out));
    memcpy(out->list->item, a->v, a->n * sizeof *a->v);
    return DW_OK;
}

static dw_status make_joiner(dw_jrun *r, dw_jargs *a, dw_jvalue *out)
{
    dw_jvalue o[DW_JCALL_MOST];
    DW_TRY(dw_jcall_bind(r, "joiner", a, "sep", 0, o));
    DW_TRY(dw_jlist_new(r, DW_J_JOINER, 1, out));
    out->list->item[0] = o[0].kind == DW_J_MISSING ? dw_jtext(", ", 2, DW_JMARK_LITERAL) : o[0];
    return DW_OK;
}

static const struct {
    const char *name;
    dw_status (*fn)(dw_jrun *r, dw_jargs *a, dw_jvalue *out);
} functions[] = {
    {"range", make_range},          {"dict", make_dict},     {"namespace", make_namespace},
    {"raise_exception", raise},     {"cycler", make_cycler}, {"joiner", make_joiner},
    {"strftime_now", strftime_now},
};

int dw_jfunction_find(const char *name)
{
    for (int i = 0; i < (int)(sizeof functions / sizeof *functions); i++)
        if (!strcmp(functions[i].name, name))
            return i;
    return -1;
}

const char *dw_jfunction_name(int f)
{
    return functions[f].name;
}

dw_status dw_jfunction_call(dw_jrun *r, int f, dw_jargs *a, dw_jvalue *out)
{
    DW_TRY(dw_jrun_spend(r, 1));
    return functions[f].fn(r, a, out);
}
