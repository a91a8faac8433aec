/* Schedules: reads the JSON forms and gives the value at a step. */
#include "train/schedule.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

static const char *const constant_keys[] = {"schedule", "value", "warmup", NULL};
static const char *const linear_keys[] = {"schedule", "from", "to", "warmup", NULL};
static const char *const cosine_keys[] = {"schedule", "peak", "final", "warmup", NULL};
static const char *const shape_names[] = {"constant", "linear", "cosine", NULL};

static dw_status check_keys(const dw_json *v, const char *shape, const char *const *keys,
                            const char *name, dw_err *err)
{
    for (const dw_json *m = dw_json_first(v); m; m = dw_json_next(m)) {
        const char *const *k = keys;
        while (*k && strcmp(*k, dw_json_key(m)) != 0)
            k++;
        if (*k)
            continue;
        const char *near = dw_nearest(dw_json_key(m), keys);
        return dw_fail(err, DW_E_RECIPE, "%s: a %s schedule has no key '%s'%s%s%s", name, shape,
                       dw_json_key(m), near ? ", did you mean '" : "", near ? near : "",
                       near ? "'?" : "");
    }
    return DW_OK;
}

/* fallback NaN: the key must be there. */
static dw_status number(const dw_json *v, const char *key, double fallback, const char *name,
                        double *out, dw_err *err)
{
    const dw_json *x = dw_json_get(v, key);
    if (!x && !isnan(fallback)) {
        *out = fallback;
        return DW_OK;
    }
    if (!x || dw_json_kind(x) != DW_JSON_NUMBER)
        return dw_fail(err, DW_E_RECIPE, "%s.%s: expected a number, got %s", name, key,
                       dw_json_kind_name(x));
    *out = dw_json_num(x);
    return DW_OK;
}

static dw_status warmup(const dw_json *v, const char *name, uint64_t *out, dw_err *err)
{
    const dw_json *x = dw_json_get(v, "warmup");
    int64_t n = 0;
    *out = 0;
    if (!x)
        return DW_OK;
    if (dw_json_kind(x) != DW_JSON_NUMBER)
        return dw_fail(err, DW_E_RECIPE, "%s.warmup: expected a whole number of steps, got %s",
                       name, dw_json_kind_name(x));
    if (!dw_json_int(x, &n) || n < 0)
        return dw_fail(err, DW_E_RECIPE,
                       "%s.warmup: expected a whole number of steps from 0 up, got %.17g", name,
                       dw_json_num(x));
    *out = (uint64_t)n;
    return DW_OK;
}

dw_status dw_schedule_parse(const dw_json *v, const char *name, dw_schedule *out, dw_err *err)
{
    memset(out, 0, sizeof *out);
    if (v && dw_json_kind(v) == DW_JSON_NUMBER) {
        out->from = out->to = dw_json_num(v);
        return DW_OK;
    }
    const dw_json *s = v && dw_json_kind(v) == DW_JSON_OBJECT ? dw_json_get(v, "schedule") : NULL;
    if (!s || dw_json_kind(s) != DW_JSON_STRING)
        return dw_fail(err, DW_E_RECIPE, "%s: expected a number or a schedule, got %s", name,
                       dw_json_kind_name(v));
    dw_text shape = dw_json_str(s);
    if (dw_text_is(shape, "constant")) {
        out->shape = DW_CONSTANT;
        DW_TRY(check_keys(v, "constant", constant_keys, name, err));
        DW_TRY(number(v, "value", NAN, name, &out->from, err));
        out->to = out->from;
    } else if (dw_text_is(shape, "linear")) {
        out->shape = DW_LINEAR;
        DW_TRY(check_keys(v, "linear", linear_keys, name, err));
        DW_TRY(number(v, "from", NAN, name, &out->from, err));
        DW_TRY(number(v, "to", NAN, name, &out->to, err));
    } else if (dw_text_is(shape, "cosine")) {
        out->shape = DW_COSINE;
        DW_TRY(check_keys(v, "cosine", cosine_keys, name, err));
        DW_TRY(number(v, "peak", NAN, name, &out->from, err));
        DW_TRY(number(v, "final", 0.0, name, &out->to, err));
    } else {
        const char *near = dw_nearest(shape.ptr, shape_names);
        return dw_fail(
            err, DW_E_RECIPE, "%s: no schedule '%s' (there are constant, linear, cosine)%s%s%s",
            name, shape.ptr, near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return warmup(v, name, &out->warmup, err);
}

double dw_schedule_at(const dw_schedule *s, uint64_t step, uint64_t steps)
{
    if (step < s->warmup)
        return s->from * ((double)(step + 1) / (double)s->warmup);
    if (s->shape == DW_CONSTANT)
        return s->from;
    if (step >= steps)
        return s->to;
    double t = (double)(step - s->warmup) / (double)(steps - s->warmup);
    if (s->shape == DW_LINEAR)
        return s->from + (s->to - s->from) * t;
    return s->to + (s->from - s->to) * 0.5 * (1.0 + cos(pi * t));
}
