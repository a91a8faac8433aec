/* One configured plugin: its options in the plugin's own struct, its state, its name. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "plug/internal.h"

/* FNV-1a: part of what a run's random numbers depend on, so it may never change. */
static uint64_t name_hash(const char *s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    return h;
}

static dw_status fill_option(dw_instance *i, const dowel_param *p, const dw_json *given,
                             dw_err *err)
{
    dw_value v = {0};
    if (!given)
        return dw_fail(err, DW_E_BUG, "option '%s' is missing from the complete options", p->name);
    if (p->type != DOWEL_JSON && dw_json_kind(given) == DW_JSON_OBJECT) {
        dw_scheduled *s = &i->scheduled[i->n_scheduled];
        s->param = p;
        DW_TRY(dw_param_schedule(p, given, &s->span, err));
        i->n_scheduled++;
        v.r = s->span.first;
        v.i = llround(s->span.first);
    } else {
        DW_TRY(dw_param_from_json(p, given, NULL, &i->arena, &v, err));
    }
    dw_param_store(p, &v, i->config);
    return DW_OK;
}

static dw_status fill_options(dw_instance *i, const dw_json *options, dw_err *err)
{
    const dowel_plugin *p = &i->info->plugin;
    dw_json *defaults = NULL;
    dw_buf full = {0};
    dw_status s = DW_OK;
    if (!options) { /* a plugin used without a recipe */
        s = dw_options_check(i->info, NULL, NULL, &full, err);
        if (s == DW_OK)
            s = dw_json_parse(full.ptr, full.len, DW_JSON_DEPTH_HEADER, 1, &defaults, err);
        options = defaults;
    }
    for (uint32_t k = 0; s == DW_OK && k < p->n_params; k++)
        s = fill_option(i, &p->params[k], dw_json_get(options, p->params[k].name), err);
    dw_json_free(defaults);
    dw_buf_finish(&full);
    return s;
}

static dw_status call_create(dw_instance *i, dw_err *err)
{
    const dowel_plugin *p = &i->info->plugin;
    i->self = i->config;
    if (!p->create)
        return DW_OK;
    dw_call c;
    dowel_err e = dw_call_err();
    void *self = NULL;
    dw_call_begin(&c, i, "create");
    DW_TRY(dw_call_end(&c, p->create(&i->host, i->config, &self, &e), &e, err));
    i->self = self;
    i->created = true;
    return DW_OK;
}

dw_status dw_instance_create(const dw_instance_spec *s, dw_instance **out, dw_err *err)
{
    const dowel_plugin *p = &s->info->plugin;
    dw_instance *i = dw_zalloc(1, sizeof *i);
    i->info = s->info;
    i->name = dw_strdup(s->name);
    size_t n = strlen(s->name) + strlen(p->id) + 4;
    i->label = dw_alloc(n);
    snprintf(i->label, n, "%s (%s)", s->name, p->id);
    i->config = dw_zalloc(1, p->config_size ? p->config_size : 1);
    i->scheduled = dw_zalloc(p->n_params + 1, sizeof *i->scheduled);
    i->seed = dw_random(s->seed, DW_RNG_PLUGIN, name_hash(s->name), 0);
    i->metric = s->metric;
    i->metric_ctx = s->metric_ctx;
    pthread_mutex_init(&i->lock, NULL);
    dw_host_fill(i);
    dw_status st = fill_options(i, s->options, err);
    if (st < 0)
        dw_err_prefix(err, "%s", i->label);
    else
        st = call_create(i, err);
    if (st < 0) {
        dw_instance_destroy(i);
        return st;
    }
    *out = i;
    return DW_OK;
}

void dw_instance_destroy(dw_instance *i)
{
    if (!i)
        return;
    const dowel_plugin *p = &i->info->plugin;
    if (i->created && p->destroy) {
        dw_call c;
        dw_err ignored;
        dowel_err e = dw_call_err();
        dw_call_begin(&c, i, "destroy");
        p->destroy(i->self);
        dw_call_end(&c, DOWEL_OK, &e, &ignored);
    }
    pthread_mutex_destroy(&i->lock);
    dw_arena_finish(&i->arena);
    dw_arena_finish(&i->shared);
    dw_free(i->scheduled);
    dw_free(i->config);
    dw_free(i->label);
    dw_free(i->name);
    dw_free(i);
}

const dw_plugin_info *dw_instance_info(const dw_instance *i)
{
    return i->info;
}

const char *dw_instance_name(const dw_instance *i)
{
    return i->name;
}

const dowel_host *dw_instance_host(dw_instance *i)
{
    return &i->host;
}

void dw_instance_limit(dw_instance *i, double seconds)
{
    i->time_limit = seconds;
}

dw_status dw_instance_set(dw_instance *i, const char *option, double value, dw_err *err)
{
    const dowel_param *p = dw_param_find(&i->info->plugin, option);
    if (!p)
        return dw_fail(err, DW_E_RECIPE, "%s: no option '%s'", i->label, option);
    if (!(p->flags & DOWEL_TUNABLE) || !dw_param_numeric(p))
        return dw_fail(err, DW_E_RECIPE, "%s: %s: cannot change during a run (it is not tunable)",
                       i->label, option);
    /* A schedule's last bit may fall outside the ends that were checked. */
    double slack = 1e-12 * (fabs(p->min) < fabs(p->max) ? fabs(p->max) : fabs(p->min));
    if (value < p->min && value >= p->min - slack)
        value = p->min;
    if (value > p->max && value <= p->max + slack)
        value = p->max;
    if (dw_param_range(p, value, err) < 0) {
        dw_err_prefix(err, "%s", i->label);
        return DW_E_RECIPE;
    }
    dw_value v = {.i = p->type == DOWEL_INT ? llround(value) : 0, .r = value};
    dw_param_store(p, &v, i->config);
    return DW_OK;
}
