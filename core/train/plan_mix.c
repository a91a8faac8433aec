/* Reads and prints how several objectives share one step. */
#include "train/plan_mix.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "train/plan_task.h"

static const char *const combine_kinds[] = {"sum", "norm", "pcgrad", "mgda", "cagrad", NULL};
static const char *const constraint_kinds[] = {"dual", "log", "pid", NULL};
static const char *const actions[] = {"stop", "slow", NULL};

static dw_status parse_combine(const dw_fields *root, dw_combine_spec *s)
{
    static const char *const keys[] = {"kind", "c", "decay", "normalize", NULL};
    dw_fields f;
    int kind;
    *s = (dw_combine_spec){.c = 0.4, .decay = 0.9, .normalize = true};
    if (!dw_fields_get(root, "combine"))
        return DW_OK;
    DW_TRY(dw_fields_open(root, dw_fields_get(root, "combine"), "combine", keys, &f));
    DW_TRY(dw_fields_choice(&f, "kind", combine_kinds, 0, &kind));
    s->kind = (dw_combine_kind)kind;
    DW_TRY(dw_fields_num(&f, "c", 0.4, 0, 0.999999, &s->c));
    DW_TRY(dw_fields_num(&f, "decay", 0.9, 0, 0.999999, &s->decay));
    return dw_fields_bool(&f, "normalize", true, &s->normalize);
}

static dw_status known_task(const dw_fields *f, const char *key, const char *name,
                            const char *const *tasks)
{
    for (size_t i = 0; tasks[i]; i++)
        if (!strcmp(tasks[i], name))
            return DW_OK;
    const char *near = dw_nearest(name, tasks);
    return dw_fields_fail(f, key, "no task '%s' in this recipe%s%s%s", name,
                          near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* "TASK.objectives.NAME.OPTION" */
static dw_status parse_option(const dw_fields *f, const char *const *tasks, dw_plan_constraint *c)
{
    static const char mid[] = ".objectives.";
    const char *at = strstr(c->option, mid), *name = at ? at + sizeof mid - 1 : NULL;
    const char *dot = name ? strrchr(name, '.') : NULL;
    if (!at || !dot || at == c->option || dot == name || !dot[1])
        return dw_fields_fail(f, "option", "expected 'TASK.objectives.NAME.OPTION', got '%s'",
                              c->option);
    c->owner = dw_arena_strndup(f->arena, c->option, (size_t)(at - c->option));
    c->objective = dw_arena_strndup(f->arena, name, (size_t)(dot - name));
    c->option = dot + 1;
    return known_task(f, "option", c->owner, tasks);
}

static dw_status parse_constraint(const dw_fields *f, const char *const *tasks,
                                  dw_plan_constraint *c)
{
    dw_constraint_spec *s = &c->spec;
    int kind;
    int64_t window;
    DW_TRY(dw_fields_str(f, "metric", NULL, &c->metric));
    if (!dw_fields_get(f, "bound"))
        return dw_fields_fail(f, "bound", "missing");
    DW_TRY(dw_fields_num(f, "bound", 0, -1e300, 1e300, &s->bound));
    DW_TRY(dw_fields_bool(f, "at_least", false, &s->at_least));
    DW_TRY(dw_fields_choice(f, "kind", constraint_kinds, 0, &kind));
    s->kind = (dw_constraint_kind)kind;
    DW_TRY(dw_fields_num(f, "lr", 0.05, 0, 1e6, &s->lr));
    DW_TRY(dw_fields_num(f, "max", 100, 1e-12, 1e12, &s->max));
    DW_TRY(dw_fields_num(f, "start", 1, 0, s->max, &s->start));
    if (s->kind == DW_LOG && s->start == 0)
        return dw_fields_fail(f, "start", "a 'log' multiplier never leaves 0; start above it");
    DW_TRY(dw_fields_num(f, "kp", 0.1, 0, 1e6, &s->kp));
    DW_TRY(dw_fields_num(f, "ki", 0.01, 0, 1e6, &s->ki));
    DW_TRY(dw_fields_num(f, "kd", 0.01, 0, 1e6, &s->kd));
    DW_TRY(dw_fields_int(f, "window", 1, 1, DW_CONSTRAINT_WINDOW, &window));
    s->window = (uint32_t)window;
    if (!dw_fields_get(f, "task") == !dw_fields_get(f, "option"))
        return dw_fields_fail(f, NULL,
                              "expected one of 'task', whose weight follows the multiplier, and "
                              "'option', which is set to it");
    if (dw_fields_get(f, "task")) {
        DW_TRY(dw_fields_str(f, "task", NULL, &c->task));
        return known_task(f, "task", c->task, tasks);
    }
    DW_TRY(dw_fields_str(f, "option", NULL, &c->option));
    return parse_option(f, tasks, c);
}

static dw_status parse_limit(const dw_fields *f, dw_plan_limit *l)
{
    int action;
    int64_t window;
    DW_TRY(dw_fields_str(f, "metric", NULL, &l->metric));
    if (!dw_fields_get(f, "bound"))
        return dw_fields_fail(f, "bound", "missing");
    DW_TRY(dw_fields_num(f, "bound", 0, -1e300, 1e300, &l->bound));
    DW_TRY(dw_fields_bool(f, "at_least", false, &l->at_least));
    DW_TRY(dw_fields_choice(f, "action", actions, 0, &action));
    l->stop = action == 0;
    DW_TRY(dw_fields_num(f, "factor", 0.5, 0, 1, &l->factor));
    DW_TRY(dw_fields_int(f, "window", 1, 1, DW_CONSTRAINT_WINDOW, &window));
    l->window = (uint32_t)window;
    return DW_OK;
}

/* The members of a table of named things, sorted by name as everything in a plan is. */
static dw_status named(const dw_fields *root, const char *key, const dw_json ***out, size_t *n)
{
    const dw_json *v = dw_fields_get(root, key);
    *n = 0;
    *out = NULL;
    if (!v)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_OBJECT)
        return dw_fields_fail(root, key, "expected a table of named ones, got %s",
                              dw_json_kind_name(v));
    *out = dw_plan_sorted(root, v, n);
    for (size_t i = 0; i < *n; i++)
        if (!dw_fields_is_name(dw_json_key((*out)[i])))
            return dw_fields_fail(root, key, "'%s' is not a name (letters, digits, '_' and '-')",
                                  dw_json_key((*out)[i]));
    return DW_OK;
}

dw_status dw_plan_mix_parse(const dw_fields *root, const char *const *tasks, dw_plan_mix *out)
{
    static const char *const constraint_keys[] = {"metric", "bound", "at_least", "task", "option",
                                                  "kind",   "lr",    "start",    "max",  "window",
                                                  "kp",     "ki",    "kd",       NULL};
    static const char *const limit_keys[] = {"metric", "bound",  "at_least", "action",
                                             "factor", "window", NULL};
    const dw_json **member;
    int64_t every;
    DW_TRY(parse_combine(root, &out->combine));
    DW_TRY(dw_fields_int(root, "gradients_every", 0, 0, INT32_MAX, &every));
    out->gradients_every = (uint32_t)every;
    DW_TRY(named(root, "constraints", &member, &out->n_constraint));
    out->constraint =
        dw_arena_alloc(root->arena, (out->n_constraint + 1) * sizeof *out->constraint);
    for (size_t i = 0; i < out->n_constraint; i++) {
        dw_fields f;
        out->constraint[i].name = dw_json_key(member[i]);
        DW_TRY(
            dw_fields_open(root, member[i],
                           dw_arena_printf(root->arena, "constraints.%s", out->constraint[i].name),
                           constraint_keys, &f));
        DW_TRY(parse_constraint(&f, tasks, &out->constraint[i]));
    }
    DW_TRY(named(root, "limits", &member, &out->n_limit));
    out->limit = dw_arena_alloc(root->arena, (out->n_limit + 1) * sizeof *out->limit);
    for (size_t i = 0; i < out->n_limit; i++) {
        dw_fields f;
        out->limit[i].name = dw_json_key(member[i]);
        DW_TRY(dw_fields_open(root, member[i],
                              dw_arena_printf(root->arena, "limits.%s", out->limit[i].name),
                              limit_keys, &f));
        DW_TRY(parse_limit(&f, &out->limit[i]));
    }
    return DW_OK;
}

/* ---- printing ---- */

static void put_num(dw_buf *b, const char *key, double v)
{
    dw_buf_printf(b, ",\"%s\":", key);
    dw_json_put_num(b, v);
}

static void put_head(dw_buf *b, size_t i, const char *name, const char *metric)
{
    dw_buf_adds(b, i ? "," : "");
    dw_json_put_cstr(b, name);
    dw_buf_adds(b, ":{\"metric\":");
    dw_json_put_cstr(b, metric);
}

static void put_constraint(dw_buf *b, const dw_plan_constraint *c)
{
    const dw_constraint_spec *s = &c->spec;
    put_num(b, "bound", s->bound);
    dw_buf_printf(b, ",\"at_least\":%s,\"kind\":\"%s\"", s->at_least ? "true" : "false",
                  constraint_kinds[s->kind]);
    put_num(b, "lr", s->lr);
    put_num(b, "start", s->start);
    put_num(b, "max", s->max);
    put_num(b, "kp", s->kp);
    put_num(b, "ki", s->ki);
    put_num(b, "kd", s->kd);
    dw_buf_printf(b, ",\"window\":%" PRIu32, s->window);
    if (c->task) {
        dw_buf_adds(b, ",\"task\":");
        dw_json_put_cstr(b, c->task);
    } else {
        dw_buf name = {0};
        dw_buf_printf(&name, "%s.objectives.%s.%s", c->owner, c->objective, c->option);
        dw_buf_adds(b, ",\"option\":");
        dw_json_put_cstr(b, name.ptr);
        dw_buf_finish(&name);
    }
    dw_buf_addc(b, '}');
}

void dw_plan_mix_print(const dw_plan_mix *m, dw_buf *b)
{
    dw_buf_printf(b, ",\"combine\":{\"kind\":\"%s\"", combine_kinds[m->combine.kind]);
    put_num(b, "c", m->combine.c);
    put_num(b, "decay", m->combine.decay);
    dw_buf_printf(b, ",\"normalize\":%s},\"gradients_every\":%" PRIu32 ",\"constraints\":{",
                  m->combine.normalize ? "true" : "false", m->gradients_every);
    for (size_t i = 0; i < m->n_constraint; i++) {
        put_head(b, i, m->constraint[i].name, m->constraint[i].metric);
        put_constraint(b, &m->constraint[i]);
    }
    dw_buf_adds(b, "},\"limits\":{");
    for (size_t i = 0; i < m->n_limit; i++) {
        const dw_plan_limit *l = &m->limit[i];
        put_head(b, i, l->name, l->metric);
        put_num(b, "bound", l->bound);
        dw_buf_printf(b, ",\"at_least\":%s,\"action\":\"%s\"", l->at_least ? "true" : "false",
                      actions[l->stop ? 0 : 1]);
        put_num(b, "factor", l->factor);
        dw_buf_printf(b, ",\"window\":%" PRIu32 "}", l->window);
    }
    dw_buf_addc(b, '}');
}
