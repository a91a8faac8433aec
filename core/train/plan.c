/* Reads a plan: structure, types, ranges and cross references, everything but plugins and files. */
#include "train/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "train/fields.h"
#include "train/plan_models.h"
#include "train/plan_task.h"

enum { MAX_PLAN_BYTES = 64 << 20 };
static const int64_t max_steps = 1000000000;

static dw_status parse_tasks(const dw_fields *root, dw_plan *p)
{
    const dw_json *v = dw_fields_get(root, "tasks");
    if (!v || dw_json_kind(v) != DW_JSON_OBJECT || !dw_json_len(v))
        return dw_fields_fail(root, "tasks", "expected a table of at least one task, got %s",
                              v && dw_json_kind(v) == DW_JSON_OBJECT ? "an empty one"
                                                                     : dw_json_kind_name(v));
    dw_fields f = {v, "tasks", root->arena, root->err};
    const dw_json **member = dw_plan_sorted(root, v, &p->n_task);
    p->task = dw_arena_alloc(root->arena, p->n_task * sizeof *p->task);
    for (size_t i = 0; i < p->n_task; i++)
        DW_TRY(dw_plan_task_parse(&f, member[i], dw_fields_get(root, "functions"), &p->task[i]));
    return DW_OK;
}

static dw_status parse_weights(const dw_fields *phase, dw_plan *p, dw_plan_phase *out)
{
    const char **names = dw_arena_alloc(phase->arena, (p->n_task + 1) * sizeof *names);
    for (size_t t = 0; t < p->n_task; t++)
        names[t] = p->task[t].name;
    dw_fields f;
    bool any = false;
    DW_TRY(dw_fields_open(phase, dw_fields_get(phase, "weights"), dw_fields_path(phase, "weights"),
                          names, &f));
    out->weight = dw_arena_alloc(phase->arena, p->n_task * sizeof *out->weight);
    out->weight_fn = dw_arena_alloc(phase->arena, p->n_task * sizeof *out->weight_fn);
    for (size_t t = 0; t < p->n_task; t++) {
        const dw_json *v = dw_fields_get(&f, names[t]);
        if (!v)
            continue;
        if (dw_json_kind(v) == DW_JSON_OBJECT && dw_json_get(v, "lua")) {
            static const char *const keys[] = {"lua", NULL};
            dw_fields w;
            DW_TRY(dw_fields_open(&f, v, dw_fields_path(&f, names[t]), keys, &w));
            DW_TRY(dw_fields_str(&w, "lua", NULL, &out->weight_fn[t]));
            DW_TRY(dw_plan_function(&w, "lua", dw_json_get(p->root, "functions"), out->weight_fn[t],
                                    "weight"));
            out->weight[t].from = out->weight[t].to = 1; /* until it is asked */
            any = true;
            continue;
        }
        DW_TRY(dw_plan_schedule(&f, names[t], &out->weight[t]));
        any = any || out->weight[t].from > 0 || out->weight[t].to > 0;
    }
    return any ? DW_OK : dw_fields_fail(&f, NULL, "no task has a weight above 0 in this phase");
}

static dw_status parse_phases(const dw_fields *root, dw_plan *p)
{
    static const char *const keys[] = {"steps", "epochs", "weights", NULL};
    const dw_json *v = dw_fields_get(root, "schedule");
    if (!v || dw_json_kind(v) != DW_JSON_ARRAY || !dw_json_len(v))
        return dw_fields_fail(root, "schedule", "expected a list of at least one phase, got %s",
                              v && dw_json_kind(v) == DW_JSON_ARRAY ? "an empty one"
                                                                    : dw_json_kind_name(v));
    p->phase = dw_arena_alloc(root->arena, dw_json_len(v) * sizeof *p->phase);
    for (const dw_json *e = dw_json_first(v); e; e = dw_json_next(e)) {
        dw_plan_phase *phase = &p->phase[p->n_phase];
        dw_fields f;
        int64_t steps;
        DW_TRY(dw_fields_open(root, e, dw_arena_printf(root->arena, "schedule.%zu", p->n_phase),
                              keys, &f));
        if (!dw_fields_get(&f, "steps"))
            return dw_fields_fail(&f, "steps", "missing");
        DW_TRY(dw_fields_int(&f, "steps", 1, 1, max_steps, &steps));
        phase->steps = (uint64_t)steps;
        DW_TRY(dw_fields_num(&f, "epochs", 0, 0, 1e6, &phase->epochs));
        if (phase->epochs > 0 && (p->n_task != 1 || dw_json_len(v) != 1))
            return dw_fields_fail(&f, "epochs", "only one task in one phase is counted in epochs");
        DW_TRY(parse_weights(&f, p, phase));
        p->steps += phase->steps;
        p->n_phase++;
    }
    for (size_t t = 0; t < p->n_task; t++) {
        bool used = false;
        for (size_t i = 0; i < p->n_phase; i++)
            used = used || p->phase[i].weight[t].from > 0 || p->phase[i].weight[t].to > 0;
        if (!used && !p->task[t].eval) /* with one it is a task that is only measured */
            return dw_fields_fail(root, "schedule",
                                  "task '%s' has no weight in any phase, and no eval to measure",
                                  p->task[t].name);
    }
    return DW_OK;
}

void dw_plan_settle(dw_plan *p, size_t rows)
{
    dw_plan_phase *phase = &p->phase[0];
    if (phase->epochs <= 0)
        return;
    double steps = ceil(phase->epochs * (double)rows / p->task[0].rows);
    phase->steps = p->steps = (uint64_t)fmin(fmax(steps, 1), (double)max_steps);
}

static dw_status parse_functions(const dw_fields *root, dw_plan *p)
{
    const dw_json *v = dw_fields_get(root, "functions");
    if (!v)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_OBJECT)
        return dw_fields_fail(root, "functions", "expected a table, got %s", dw_json_kind_name(v));
    static const char *const kinds[] = {"reward", "row", "value", "weight"};
    for (const dw_json *m = dw_json_first(v); m; m = dw_json_next(m)) {
        bool known = false;
        for (size_t i = 0; dw_json_kind(m) == DW_JSON_STRING && i < sizeof kinds / sizeof *kinds;
             i++)
            known |= dw_text_is(dw_json_str(m), kinds[i]);
        if (!known)
            return dw_fields_fail(root, "functions",
                                  "'%s' must be 'reward', 'row', 'value' or 'weight'",
                                  dw_json_key(m));
        p->has_functions = true;
    }
    return DW_OK;
}

bool dw_plan_name_ok(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= 100 && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == n;
}

bool dw_plan_is_ref(const char *path)
{
    return !strncmp(path, "stage:", 6);
}

static dw_status parse_rest(const dw_fields *f, dw_plan *p)
{
    static const char *const dtypes[] = {"source", "float32", "bfloat16", "float16", NULL};
    int64_t n;
    int dtype;
    DW_TRY(dw_fields_str(f, "name", "run", &p->name));
    if (!dw_plan_name_ok(p->name))
        return dw_fields_fail(
            f, "name", "'%s' holds more than letters, digits, '_', '-' and '.' (it names a folder)",
            p->name);
    DW_TRY(dw_fields_int(f, "seed", 0, 0, INT64_C(1) << 53, &n));
    p->seed = (uint64_t)n;
    DW_TRY(dw_fields_list(f, "plugin_dirs", &p->plugin_dir, &p->n_plugin_dir));
    for (size_t i = 0; i < p->n_plugin_dir; i++)
        if (p->plugin_dir[i][0] != '/')
            return dw_fields_fail(f, "plugin_dirs", "'%s' is not an absolute path",
                                  p->plugin_dir[i]);
    DW_TRY(dw_fields_int(f, "threads", 0, 0, 1024, &n));
    p->threads = (int)n;
    DW_TRY(dw_fields_int(f, "micro_tokens", 4096, 16, 1 << 24, &n));
    p->micro_tokens = (uint32_t)n;
    DW_TRY(dw_fields_int(f, "save_every", 0, 0, INT32_MAX, &n));
    p->save_every = (uint32_t)n;
    DW_TRY(dw_fields_int(f, "keep", 2, 0, INT32_MAX, &n));
    p->keep = (uint32_t)n;
    DW_TRY(dw_fields_choice(f, "save_dtype", dtypes, 0, &dtype));
    p->save_dtype = (dw_save_dtype)dtype;
    return dw_fields_bool(f, "save_merged", false, &p->save_merged);
}

static dw_status parse_mix(const dw_fields *root, dw_plan *p)
{
    const char **names = dw_arena_alloc(root->arena, (p->n_task + 1) * sizeof *names);
    for (size_t i = 0; i < p->n_task; i++)
        names[i] = p->task[i].name;
    return dw_plan_mix_parse(root, names, &p->mix);
}

static dw_status parse_root(dw_plan *p, dw_err *err)
{
    static const char *const keys[] = {"dowel",
                                       "name",
                                       "seed",
                                       "model",
                                       "plugin_dirs",
                                       "threads",
                                       "tasks",
                                       "schedule",
                                       "optimizer",
                                       "save_every",
                                       "keep",
                                       "micro_tokens",
                                       "functions",
                                       "save_dtype",
                                       "save_merged",
                                       "combine",
                                       "gradients_every",
                                       "constraints",
                                       "limits",
                                       "models",
                                       NULL};
    dw_fields none = {NULL, "", &p->arena, err}, f;
    int64_t version;
    DW_TRY(dw_fields_open(&none, p->root, "", keys, &f));
    if (!dw_fields_get(&f, "dowel"))
        return dw_fields_fail(&f, "dowel", "missing: a plan starts with its version, 1");
    DW_TRY(dw_fields_int(&f, "dowel", 0, 1, 1, &version));
    DW_TRY(parse_rest(&f, p));
    DW_TRY(dw_plan_models_parse(&f, p));
    DW_TRY(parse_functions(&f, p));
    DW_TRY(parse_tasks(&f, p));
    DW_TRY(dw_plan_roles_parse(&f, p));
    DW_TRY(parse_phases(&f, p));
    DW_TRY(dw_plan_optimizer_parse(&f, p));
    DW_TRY(parse_mix(&f, p));
    if (p->save_merged && !p->model[0].has_lora)
        return dw_fields_fail(&f, "save_merged", "there is no adapter to merge");
    return DW_OK;
}

dw_status dw_plan_parse(dw_json *root, dw_plan **out, dw_err *err)
{
    dw_plan *p = dw_zalloc(1, sizeof *p);
    p->root = root;
    *out = NULL;
    dw_status st = parse_root(p, err);
    if (st < 0) {
        dw_plan_free(p);
        return st;
    }
    *out = p;
    return DW_OK;
}

dw_status dw_plan_read(const char *path, dw_plan **out, dw_err *err)
{
    dw_json *root;
    *out = NULL;
    DW_TRY(dw_json_read(path, MAX_PLAN_BYTES, &root, err));
    dw_status st = dw_plan_parse(root, out, err);
    if (st < 0)
        dw_err_prefix(err, "%s", path);
    return st;
}

void dw_plan_free(dw_plan *p)
{
    if (!p)
        return;
    dw_json_free(p->root);
    dw_arena_finish(&p->arena);
    dw_free(p);
}
