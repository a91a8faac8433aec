/* Settings of a plugin's options for `dowel check`: the defaults, every choice and bound by itself,
 * and random ones. */
#include <math.h>
#include <string.h>

#include "plug/check.h"

/* ---- one option's values, as JSON ---- */

static void put_number(dw_buf *b, const dowel_param *p, double x)
{
    x = fmin(fmax(x, p->min), p->max);
    if (p->type == DOWEL_INT)
        x = fmin(fmax(nearbyint(x), ceil(p->min)), floor(p->max));
    dw_json_put_num(b, x);
}

static double fallback_of(const dowel_param *p)
{
    dw_arena a = {0};
    dw_value v = {0};
    dw_err err;
    if (p->fallback)
        dw_param_from_text(p, p->fallback, &a, &v, &err);
    dw_arena_finish(&a);
    return p->type == DOWEL_REAL ? v.r : (double)v.i;
}

static uint32_t n_choices(const dowel_param *p)
{
    uint32_t n = 0;
    while (p->choices && p->choices[n])
        n++;
    return n;
}

/* Of the size that the default has, so that a loss stays one that can be differentiated by hand. */
static double near_default(const dw_check *c, const dowel_param *p, uint64_t key, uint64_t i)
{
    double d = fallback_of(p);
    if (dw_check_below(c, key, i, 3) == 0)
        return d;
    if (d != 0 && !(p->min < 0 && d < 0))
        return d * exp(dw_check_uniform(c, key + 1, i, -1.5, 1.5));
    double hi = fmin(p->max, p->type == DOWEL_INT ? 8 : 2), lo = fmax(p->min, -1);
    return dw_check_uniform(c, key + 1, i, lo, fmax(hi, lo));
}

static double anywhere(const dw_check *c, const dowel_param *p, uint64_t key, uint64_t i)
{
    switch (dw_check_below(c, key, i, 5)) {
    case 0:
        return p->min;
    case 1:
        return p->max;
    case 2:
        return fallback_of(p);
    default:
        if (p->min >= 0 && p->max > 10 * (p->min + 1e-3))
            return exp(dw_check_uniform(c, key + 1, i, log(p->min + 1e-3), log(p->max)));
        return dw_check_uniform(c, key + 1, i, p->min, p->max);
    }
}

/* One random value; for texts there is none but the name of the option. */
static void put_random(dw_buf *b, const dw_check *c, const dowel_param *p, uint64_t key, uint64_t i,
                       bool extreme)
{
    switch (p->type) {
    case DOWEL_BOOL:
        dw_buf_adds(b, dw_check_below(c, key, i, 2) ? "true" : "false");
        return;
    case DOWEL_CHOICE:
        dw_json_put_cstr(b, p->choices[dw_check_below(c, key, i, n_choices(p))]);
        return;
    case DOWEL_INT:
    case DOWEL_REAL:
        put_number(b, p, extreme ? anywhere(c, p, key, i) : near_default(c, p, key, i));
        return;
    default:
        dw_json_put_cstr(b, p->name);
    }
}

/* ---- lists of settings ---- */

typedef struct list {
    dw_check *c;
    dw_setting *s;
    size_t n, cap;
} list;

/* Options that must be given are: a number in the middle, a text that is the option's own name. */
static void put_required(dw_buf *b, const dw_check *c, const char *except)
{
    const dowel_plugin *p = &c->info->plugin;
    for (uint32_t k = 0; k < p->n_params; k++) {
        if (p->params[k].fallback || (except && !strcmp(except, p->params[k].name)))
            continue;
        dw_buf_printf(b, "%s\"%s\":", b->len > 1 ? "," : "", p->params[k].name);
        if (dw_param_numeric(&p->params[k]))
            put_number(b, &p->params[k], fmin(fmax(1, p->params[k].min), p->params[k].max));
        else
            put_random(b, c, &p->params[k], 1, k, false);
    }
}

static bool complete(list *l, dw_buf *text, bool defaults)
{
    dw_err err = {{0}};
    dw_json *given = NULL, *full = NULL;
    dw_buf all = {0};
    dw_status s = dw_json_parse(text->ptr, text->len, DW_JSON_DEPTH_HEADER, 1, &given, &err);
    if (s == DW_OK)
        s = dw_options_check(l->c->info, given, "/", &all, &err);
    if (s == DW_OK)
        s = dw_json_parse(all.ptr, all.len, DW_JSON_DEPTH_HEADER, 1, &full, &err);
    if (s == DW_OK) {
        if (l->n == l->cap) {
            size_t cap = l->cap ? 2 * l->cap : 32;
            dw_setting *more = dw_arena_alloc(&l->c->arena, cap * sizeof *more);
            if (l->n)
                memcpy(more, l->s, l->n * sizeof *more);
            l->s = more;
            l->cap = cap;
        }
        l->s[l->n++] = (dw_setting){dw_arena_strdup(&l->c->arena, text->ptr), full, defaults};
    }
    dw_json_free(given);
    dw_buf_finish(&all);
    if (s < 0)
        return dw_check_fail(l->c, "options %s: %s", text->ptr, err.text);
    return true;
}

/* The defaults but for one option. */
static bool add_one(list *l, const dowel_param *p, const char *value)
{
    dw_buf b = {0};
    dw_buf_addc(&b, '{');
    put_required(&b, l->c, p ? p->name : NULL);
    if (p)
        dw_buf_printf(&b, "%s\"%s\":%s", b.len > 1 ? "," : "", p->name, value);
    dw_buf_addc(&b, '}');
    bool good = complete(l, &b, !p);
    dw_buf_finish(&b);
    return good;
}

static bool add_choices(list *l, const dowel_param *p)
{
    bool good = true;
    for (uint32_t k = 0; good && p->type == DOWEL_CHOICE && k < n_choices(p); k++) {
        dw_buf v = {0};
        dw_json_put_cstr(&v, p->choices[k]);
        good = add_one(l, p, v.ptr);
        dw_buf_finish(&v);
    }
    if (p->type == DOWEL_BOOL)
        good = add_one(l, p, "true") && add_one(l, p, "false");
    return good;
}

static bool add_bounds(list *l, const dowel_param *p)
{
    bool good = true;
    if (p->type != DOWEL_INT && p->type != DOWEL_REAL)
        return true;
    for (int side = 0; good && side < 2; side++) {
        dw_buf v = {0};
        put_number(&v, p, side ? p->max : p->min);
        good = add_one(l, p, v.ptr);
        dw_buf_finish(&v);
    }
    return good;
}

static bool add_random(list *l, uint64_t nth, bool extreme)
{
    const dowel_plugin *p = &l->c->info->plugin;
    dw_buf b = {0};
    dw_buf_addc(&b, '{');
    for (uint32_t k = 0; k < p->n_params; k++) {
        const dowel_param *q = &p->params[k];
        bool text = q->type == DOWEL_STR || q->type == DOWEL_PATH || q->type == DOWEL_JSON;
        if (q->flags & DOWEL_DEPRECATED)
            continue;
        /* half of them, or most settings would be combinations that a plugin refuses */
        if (q->fallback && (q->type == DOWEL_JSON || q->type == DOWEL_PATH ||
                            dw_check_below(l->c, 700 + nth, k, text ? 4 : 2) > 0))
            continue;
        dw_buf_printf(&b, "%s\"%s\":", b.len > 1 ? "," : "", q->name);
        put_random(&b, l->c, q, 900 + 2 * nth, k, extreme);
    }
    dw_buf_addc(&b, '}');
    bool good = complete(l, &b, false);
    dw_buf_finish(&b);
    return good;
}

bool dw_check_settings(dw_check *c, unsigned which, size_t random, dw_setting **out, size_t *n)
{
    const dowel_plugin *p = &c->info->plugin;
    list l = {.c = c};
    bool good = add_one(&l, NULL, NULL);
    for (uint32_t k = 0; good && k < p->n_params; k++) {
        if (which & DW_CHECK_CHOICES)
            good = add_choices(&l, &p->params[k]);
        if (good && (which & DW_CHECK_BOUNDS))
            good = add_bounds(&l, &p->params[k]);
    }
    for (size_t k = 0; good && p->n_params && k < random; k++)
        good = add_random(&l, k, (which & DW_CHECK_EXTREME) != 0);
    *out = l.s;
    *n = l.n;
    return good;
}

/* ---- instances ---- */

dw_opened dw_check_open(dw_check *c, const dw_setting *s, dw_check_metrics *m, dw_instance **out)
{
    dw_err err = {{0}};
    dowel_request ask;
    dw_instance_spec spec = {.info = c->info,
                             .name = "check",
                             .options = s->full,
                             .seed = c->seed,
                             .metric = m ? dw_check_collect : NULL,
                             .metric_ctx = m};
    dw_check_now(c, "create and observe with options %s", s->text);
    dw_status st = dw_instance_create(&spec, out, &err);
    if (st == DW_OK && c->info->plugin.objective)
        st = dw_call_observe(*out, false, &ask, &err);
    if (st == DW_OK && c->info->plugin.estimator)
        st = dw_call_observe(*out, true, &ask, &err);
    if (st == DW_OK)
        return DW_CHECK_OPEN;
    if (!s->defaults && st == DW_E_PLUGIN)
        return DW_CHECK_REFUSED;
    dw_check_fail(c, "options %s: %s", s->text, err.text);
    return DW_CHECK_BROKEN;
}

/* ---- tests ---- */

/* Everything the plugin can do, once; true where it may also refuse. */
static bool try_once(dw_check *c, const dw_setting *s, size_t *refused)
{
    dw_instance *i = NULL;
    dw_result r = {0};
    dw_opened o = dw_check_open(c, s, NULL, &i);
    if (o == DW_CHECK_BROKEN)
        return false;
    if (o == DW_CHECK_REFUSED) {
        ++*refused;
        return true;
    }
    int done = dw_check_episode(c, i, s, 0, 1, &r);
    if (done < 0)
        return false;
    *refused += done == 0;
    if (done == 0 && s->defaults)
        return false; /* found says what it refused */
    dw_instance_destroy(i);
    return true;
}

static bool try_settings(dw_check *c, unsigned which, size_t random)
{
    dw_setting *s;
    size_t n, refused = 0;
    if (!dw_check_settings(c, which, random, &s, &n))
        return false;
    for (size_t k = 0; k < n; k++)
        if (!try_once(c, &s[k], &refused))
            return false;
    c->found = NULL;
    dw_check_note(c, "%zu settings, %zu of them refused in words", n, refused);
    return true;
}

bool dw_test_params_default(dw_check *c)
{
    dw_buf help = {0};
    const dowel_plugin *p = &c->info->plugin;
    dw_plugin_describe(c->info, &help);
    for (uint32_t k = 0; k < p->n_params; k++)
        if (!help.ptr || !strstr(help.ptr, p->params[k].name))
            return dw_check_fail(c, "the help does not mention option %s", p->params[k].name);
    dw_buf_finish(&help);
    return try_settings(c, 0, 0);
}

bool dw_test_params_bounds(dw_check *c)
{
    if (!c->info->plugin.n_params)
        return dw_check_skip(c, "it has no options");
    return try_settings(c, DW_CHECK_BOUNDS | DW_CHECK_CHOICES, 0);
}

bool dw_test_params_random(dw_check *c)
{
    if (!c->info->plugin.n_params)
        return dw_check_skip(c, "it has no options");
    return try_settings(c, DW_CHECK_EXTREME, 50);
}

/* Lists of texts may be copies. */
static bool same_request(const dowel_request *a, const dowel_request *b)
{
    return a->columns == b->columns && a->detached == b->detached && a->together == b->together &&
           a->extras == b->extras && a->value_width == b->value_width &&
           a->score_width == b->score_width && a->divergence == b->divergence &&
           a->against == b->against && a->beta == b->beta && a->temperature == b->temperature &&
           a->mixture == b->mixture && a->top_k == b->top_k && a->tail == b->tail &&
           a->extra_samples == b->extra_samples && !a->choices == !b->choices &&
           !a->fields == !b->fields;
}

/* A scheduled option is observed at both of its ends, one after the other. */
static bool observe_ends(dw_check *c, dw_instance *i, const dw_setting *s, bool estimator)
{
    const dowel_plugin *p = &c->info->plugin;
    for (uint32_t k = 0; k < p->n_params; k++) {
        const dowel_param *q = &p->params[k];
        dw_err err = {{0}};
        dowel_request ask;
        if (!(q->flags & DOWEL_TUNABLE) || !dw_param_numeric(q))
            continue;
        const char *field = (const char *)i->config + q->offset;
        double before =
            q->type == DOWEL_REAL ? *(const double *)field : (double)*(const int64_t *)field;
        for (int side = 0; side < 2; side++) {
            dw_check_now(c, "observe with %s at its %s", q->name, side ? "maximum" : "minimum");
            if (dw_instance_set(i, q->name, side ? q->max : q->min, &err) < 0)
                return dw_check_fail(c, "%s", err.text);
            dw_status st = dw_call_observe(i, estimator, &ask, &err);
            if (st < 0 && st != DW_E_PLUGIN)
                return dw_check_fail(c, "%s at its %s: %s", q->name, side ? "maximum" : "minimum",
                                     err.text);
        }
        if (dw_instance_set(i, q->name, before, &err) < 0)
            return dw_check_fail(c, "options %s: %s", s->text, err.text);
    }
    return true;
}

static bool observe_kind(dw_check *c, const dw_setting *s, bool estimator)
{
    dw_instance *i = NULL, *j = NULL;
    dowel_request ask[4];
    dw_err err = {{0}};
    dw_opened o = dw_check_open(c, s, NULL, &i);
    if (o != DW_CHECK_OPEN)
        return o == DW_CHECK_REFUSED;
    if (dw_check_open(c, s, NULL, &j) != DW_CHECK_OPEN)
        return dw_check_fail(c, "options %s: accepted once, refused the second time", s->text);
    memset(ask, 0, sizeof ask);
    for (int k = 0; k < 3; k++)
        if (dw_call_observe(k < 2 ? i : j, estimator, &ask[k], &err) < 0)
            return dw_check_fail(c, "options %s: %s", s->text, err.text);
    for (int k = 1; k < 3; k++) {
        if (!same_request(&ask[0], &ask[k]))
            return dw_check_fail(c,
                                 "options %s: observe asks for columns 0x%llx, then for 0x%llx, or "
                                 "differs in another field",
                                 s->text, (unsigned long long)ask[0].columns,
                                 (unsigned long long)ask[k].columns);
    }
    bool good = observe_ends(c, i, s, estimator);
    dw_instance_destroy(i);
    dw_instance_destroy(j);
    return good;
}

bool dw_test_observe(dw_check *c)
{
    dw_setting *s;
    size_t n;
    const dowel_plugin *p = &c->info->plugin;
    bool estimator = p->estimator && c->info->estimator.observe;
    if (!p->objective && !estimator)
        return dw_check_skip(c, "it asks for no columns");
    if (!dw_check_settings(c, DW_CHECK_CHOICES, 8, &s, &n))
        return false;
    for (size_t k = 0; k < n; k++)
        if ((p->objective && !observe_kind(c, &s[k], false)) ||
            (estimator && !observe_kind(c, &s[k], true)))
            return false;
    dw_check_note(c, "%zu settings", n);
    return true;
}
