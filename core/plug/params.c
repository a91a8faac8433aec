/* Option tables: one parser and one range check for defaults, recipes and schedules. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "plug/internal.h"

size_t dw_param_bytes(uint32_t type)
{
    switch (type) {
    case DOWEL_BOOL:
        return sizeof(bool);
    case DOWEL_INT:
    case DOWEL_CHOICE:
        return sizeof(int64_t);
    case DOWEL_REAL:
        return sizeof(double);
    case DOWEL_STR:
    case DOWEL_PATH:
    case DOWEL_JSON:
        return sizeof(const char *);
    default:
        return 0;
    }
}

const char *dw_param_type_name(uint32_t type)
{
    static const char *const name[] = {"?", "bool", "int", "real", "str", "path", "choice", "json"};
    return type < sizeof name / sizeof *name ? name[type] : name[0];
}

bool dw_param_numeric(const dowel_param *p)
{
    return p->type == DOWEL_INT || p->type == DOWEL_REAL;
}

const dowel_param *dw_param_find(const dowel_plugin *p, const char *name)
{
    for (uint32_t i = 0; i < p->n_params; i++)
        if (!strcmp(p->params[i].name, name))
            return &p->params[i];
    return NULL;
}

dw_status dw_param_range(const dowel_param *p, double x, dw_err *err)
{
    if (!(x >= p->min && x <= p->max))
        return dw_fail(err, DW_E_RECIPE, "%s: %.15g is outside %g .. %g", p->name, x, p->min,
                       p->max);
    return DW_OK;
}

static dw_status choose(const dowel_param *p, const char *text, dw_value *v, dw_err *err)
{
    for (v->i = 0; p->choices[v->i]; v->i++)
        if (!strcmp(p->choices[v->i], text))
            return DW_OK;
    dw_buf list = {0};
    for (size_t i = 0; p->choices[i]; i++)
        dw_buf_printf(&list, "%s'%s'", i ? ", " : "", p->choices[i]);
    const char *near = dw_nearest(text, p->choices);
    dw_fail(err, DW_E_RECIPE, "%s: no choice '%.100s'%s%s%s, expected one of %.1000s", p->name,
            text, near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "", list.ptr);
    dw_buf_finish(&list);
    return DW_E_RECIPE;
}

/* Any JSON, rewritten with sorted keys so that equal values are equal texts. */
static dw_status canonical(const dowel_param *p, const char *text, dw_arena *a, dw_value *v,
                           dw_err *err)
{
    dw_json *j;
    dw_buf b = {0};
    if (dw_json_parse(text, strlen(text), DW_JSON_DEPTH_HEADER, 1, &j, err) < 0) {
        dw_err_prefix(err, "%s", p->name);
        return DW_E_RECIPE;
    }
    dw_json_put(&b, j, true, 0);
    v->s = dw_arena_strndup(a, b.ptr, b.len);
    dw_buf_finish(&b);
    dw_json_free(j);
    return DW_OK;
}

static dw_status not_a(const dowel_param *p, const char *wanted, const char *text, dw_err *err)
{
    return dw_fail(err, DW_E_RECIPE, "%s: expected %s, got '%.100s'", p->name, wanted, text);
}

dw_status dw_param_from_text(const dowel_param *p, const char *text, dw_arena *a, dw_value *v,
                             dw_err *err)
{
    char *end = NULL;
    *v = (dw_value){0};
    errno = 0;
    switch (p->type) {
    case DOWEL_BOOL:
        v->i = !strcmp(text, "true");
        return v->i || !strcmp(text, "false") ? DW_OK : not_a(p, "true or false", text, err);
    case DOWEL_INT:
        v->i = strtoll(text, &end, 10);
        if (end == text || *end || errno)
            return not_a(p, "an integer", text, err);
        return dw_param_range(p, (double)v->i, err);
    case DOWEL_REAL:
        v->r = strtod(text, &end);
        if (end == text || *end || !isfinite(v->r))
            return not_a(p, "a number", text, err);
        return dw_param_range(p, v->r, err);
    case DOWEL_CHOICE:
        return choose(p, text, v, err);
    case DOWEL_JSON:
        return canonical(p, text, a, v, err);
    default:
        v->s = dw_arena_strdup(a, text);
        return DW_OK;
    }
}

static dw_status wrong_kind(const dowel_param *p, const char *wanted, const dw_json *given,
                            dw_err *err)
{
    return dw_fail(err, DW_E_RECIPE, "%s: expected %s, got %s", p->name, wanted,
                   dw_json_kind_name(given));
}

static dw_status text_from_json(const dowel_param *p, const dw_json *given, dw_arena *a,
                                const char **out, dw_err *err)
{
    static const char *const wanted[] = {
        [DOWEL_STR] = "a string", [DOWEL_PATH] = "a path", [DOWEL_CHOICE] = "one of its choices"};
    if (dw_json_kind(given) != DW_JSON_STRING)
        return wrong_kind(p, wanted[p->type], given, err);
    dw_text t = dw_json_str(given);
    if (memchr(t.ptr, 0, t.len))
        return dw_fail(err, DW_E_RECIPE, "%s: the text holds a NUL byte; take it out", p->name);
    *out = dw_arena_strndup(a, t.ptr, t.len);
    return DW_OK;
}

static const char *absolute(const char *path, const char *base_dir, dw_arena *a)
{
    if (!*path)
        return path; /* an empty path means none */
    return dw_path_absolute(a, base_dir ? dw_path_join(a, base_dir, path) : path);
}

static dw_status number_from_json(const dowel_param *p, const dw_json *given, dw_value *v,
                                  dw_err *err)
{
    if (dw_json_kind(given) != DW_JSON_NUMBER)
        return wrong_kind(p, p->type == DOWEL_INT ? "an integer" : "a number", given, err);
    v->r = dw_json_num(given);
    if (p->type == DOWEL_INT && !dw_json_int(given, &v->i))
        return dw_fail(err, DW_E_RECIPE, "%s: expected an integer, got %.15g", p->name, v->r);
    return dw_param_range(p, v->r, err);
}

dw_status dw_param_from_json(const dowel_param *p, const dw_json *given, const char *base_dir,
                             dw_arena *a, dw_value *v, dw_err *err)
{
    const char *text = "";
    dw_buf b = {0};
    *v = (dw_value){0};
    switch (p->type) {
    case DOWEL_BOOL:
        if (dw_json_kind(given) != DW_JSON_BOOL)
            return wrong_kind(p, "true or false", given, err);
        v->i = dw_json_bool(given);
        return DW_OK;
    case DOWEL_INT:
    case DOWEL_REAL:
        return number_from_json(p, given, v, err);
    case DOWEL_JSON:
        dw_json_put(&b, given, true, 0);
        v->s = dw_arena_strndup(a, b.ptr, b.len);
        dw_buf_finish(&b);
        return DW_OK;
    default:
        DW_TRY(text_from_json(p, given, a, &text, err));
        if (p->type == DOWEL_CHOICE)
            return choose(p, text, v, err);
        v->s = p->type == DOWEL_PATH ? absolute(text, base_dir, a) : text;
        return DW_OK;
    }
}

void dw_param_store(const dowel_param *p, const dw_value *v, void *config)
{
    char *field = (char *)config + p->offset;
    bool flag = v->i != 0;
    switch (p->type) {
    case DOWEL_BOOL:
        memcpy(field, &flag, sizeof flag);
        break;
    case DOWEL_INT:
    case DOWEL_CHOICE:
        memcpy(field, &v->i, sizeof v->i);
        break;
    case DOWEL_REAL:
        memcpy(field, &v->r, sizeof v->r);
        break;
    default:
        memcpy(field, &v->s, sizeof v->s);
        break;
    }
}

/* ---- schedules ---- */

static dw_status schedule_key(const dowel_param *p, const dw_json *given, const char *key,
                              bool required, double *out, dw_err *err)
{
    const dw_json *v = dw_json_get(given, key);
    if (!v && !required)
        return DW_OK;
    if (!v || dw_json_kind(v) != DW_JSON_NUMBER)
        return dw_fail(err, DW_E_RECIPE, "%s.%s: expected a number, got %s", p->name, key,
                       dw_json_kind_name(v));
    *out = dw_json_num(v);
    return DW_OK;
}

static dw_status schedule_keys(const dowel_param *p, const dw_json *given, const char *const *known,
                               dw_err *err)
{
    for (const dw_json *m = dw_json_first(given); m; m = dw_json_next(m)) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], dw_json_key(m)) != 0)
            i++;
        if (known[i])
            continue;
        const char *near = dw_nearest(dw_json_key(m), known);
        return dw_fail(err, DW_E_RECIPE, "%s: a schedule has no key '%.64s'%s%s%s", p->name,
                       dw_json_key(m), near ? ", did you mean '" : "", near ? near : "",
                       near ? "'?" : "");
    }
    return DW_OK;
}

dw_status dw_param_schedule(const dowel_param *p, const dw_json *given, dw_param_span *out,
                            dw_err *err)
{
    static const char *const keys[3][5] = {{"schedule", "warmup", "value", NULL},
                                           {"schedule", "warmup", "from", "to", NULL},
                                           {"schedule", "warmup", "peak", "final", NULL}};
    static const char *const shapes[] = {"constant", "linear", "cosine", NULL};
    if (!(p->flags & DOWEL_TUNABLE) || !dw_param_numeric(p))
        return dw_fail(err, DW_E_RECIPE,
                       "%s: cannot follow a schedule (it is not tunable); give one value", p->name);
    const dw_json *shape = dw_json_get(given, "schedule");
    if (!shape || dw_json_kind(shape) != DW_JSON_STRING)
        return dw_fail(err, DW_E_RECIPE,
                       "%s: expected a number or a schedule, got an object without \"schedule\"",
                       p->name);
    size_t k = 0;
    while (shapes[k] && !dw_text_is(dw_json_str(shape), shapes[k]))
        k++;
    if (!shapes[k])
        return dw_fail(err, DW_E_RECIPE,
                       "%s: no schedule '%.64s', expected constant, linear or cosine", p->name,
                       dw_json_str(shape).ptr);
    DW_TRY(schedule_keys(p, given, keys[k], err));
    double first = 0, last = 0, warmup = 0;
    DW_TRY(schedule_key(p, given, keys[k][2], true, &first, err));
    last = first;
    if (keys[k][3])
        DW_TRY(schedule_key(p, given, keys[k][3], true, &last, err));
    DW_TRY(schedule_key(p, given, "warmup", false, &warmup, err));
    if (!(warmup >= 0 && warmup <= 1e15) || floor(warmup) != warmup)
        return dw_fail(err, DW_E_RECIPE, "%s.warmup: expected a number of steps, got %.15g",
                       p->name, warmup);
    DW_TRY(dw_param_range(p, first, err));
    DW_TRY(dw_param_range(p, last, err));
    double start = warmup > 0 ? first / warmup : first; /* what the first step sees */
    DW_TRY(dw_param_range(p, start, err));
    *out = (dw_param_span){start, fmin(fmin(first, last), start), fmax(fmax(first, last), start)};
    return DW_OK;
}

/* ---- the whole table ---- */

static void put_value(dw_buf *b, const dowel_param *p, const dw_value *v)
{
    switch (p->type) {
    case DOWEL_BOOL:
        dw_buf_adds(b, v->i ? "true" : "false");
        break;
    case DOWEL_INT:
        dw_buf_printf(b, "%" PRId64, v->i);
        break;
    case DOWEL_REAL:
        dw_json_put_num(b, v->r);
        break;
    case DOWEL_CHOICE:
        dw_json_put_cstr(b, p->choices[v->i]);
        break;
    case DOWEL_JSON:
        dw_buf_adds(b, v->s);
        break;
    default:
        dw_json_put_cstr(b, v->s);
        break;
    }
}

static dw_status check_one(const dw_plugin_info *pl, const dowel_param *p, const dw_json *given,
                           const char *base_dir, dw_buf *full, dw_err *err)
{
    dw_arena a = {0};
    dw_value v = {0};
    dw_status s;
    dw_param_span span;
    bool scheduled = given && p->type != DOWEL_JSON && dw_json_kind(given) == DW_JSON_OBJECT;
    if (given && (p->flags & DOWEL_DEPRECATED))
        dw_log(DW_WARN, "plugin", "%s: option '%s' is deprecated: %s", pl->plugin.id, p->name,
               p->doc);
    if (scheduled)
        s = dw_param_schedule(p, given, &span, err);
    else if (given)
        s = dw_param_from_json(p, given, base_dir, &a, &v, err);
    else if (p->fallback)
        s = dw_param_from_text(p, p->fallback, &a, &v, err);
    else
        s = dw_fail(err, DW_E_RECIPE, "%s: must be given (%s): %s", p->name,
                    dw_param_type_name(p->type), p->doc);
    if (s == DW_OK && full) {
        if (scheduled)
            dw_json_put(full, given, true, 0);
        else
            put_value(full, p, &v);
    }
    dw_arena_finish(&a);
    return s;
}

static dw_status unknown_option(const dowel_plugin *pl, const char *name, dw_err *err)
{
    const char **names = dw_zalloc(pl->n_params + 1, sizeof *names);
    for (uint32_t i = 0; i < pl->n_params; i++)
        names[i] = pl->params[i].name;
    const char *near = dw_nearest(name, names);
    dw_fail(err, DW_E_RECIPE, "%s: no option '%.64s'%s%s%s", pl->id, name,
            near ? ", did you mean '" : " (dowel plugins ", near ? near : pl->id,
            near ? "'?" : " lists them)");
    dw_free(names);
    return DW_E_RECIPE;
}

dw_status dw_options_check(const dw_plugin_info *p, const dw_json *given, const char *base_dir,
                           dw_buf *full, dw_err *err)
{
    const dowel_plugin *pl = &p->plugin;
    if (given && dw_json_kind(given) == DW_JSON_ARRAY && dw_json_len(given) == 0)
        given = NULL; /* an empty Lua table */
    if (given && dw_json_kind(given) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_RECIPE, "%s: options: expected an object, got %s", pl->id,
                       dw_json_kind_name(given));
    for (const dw_json *m = given ? dw_json_first(given) : NULL; m; m = dw_json_next(m))
        if (!dw_param_find(pl, dw_json_key(m)))
            return unknown_option(pl, dw_json_key(m), err);
    size_t start = full ? full->len : 0;
    if (full)
        dw_buf_addc(full, '{');
    for (uint32_t i = 0; i < pl->n_params; i++) {
        const dowel_param *o = &pl->params[i];
        if (full)
            dw_buf_printf(full, "%s\"%s\":", i ? "," : "", o->name);
        if (check_one(p, o, given ? dw_json_get(given, o->name) : NULL, base_dir, full, err) < 0) {
            dw_err_prefix(err, "%s", pl->id);
            if (full)
                full->ptr[full->len = start] = 0;
            return DW_E_RECIPE;
        }
    }
    if (full)
        dw_buf_addc(full, '}');
    return DW_OK;
}
