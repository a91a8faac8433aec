/* Reads the models of a plan, their optimisers, and which task uses which of them for what. */
#include "train/plan_models.h"

#include <math.h>
#include <string.h>

#include "train/plan_task.h"

static const char *const lora_targets[] = {"q",  "k",    "v",   "o",       "gate",
                                           "up", "down", "qkv", "gate_up", NULL};

/* ---- one model ---- */

static dw_status parse_adapter(const dw_fields *model, dw_plan_model *m)
{
    static const char *const keys[] = {"rank", "alpha", "rslora", "targets", NULL};
    const dw_json *v = dw_fields_get(model, "adapter");
    if (!v)
        return DW_OK;
    dw_fields f;
    int64_t rank;
    const char *const *target;
    size_t n;
    DW_TRY(dw_fields_open(model, v, dw_fields_path(model, "adapter"), keys, &f));
    DW_TRY(dw_fields_int(&f, "rank", 16, 1, 4096, &rank));
    m->lora.rank = (uint32_t)rank;
    DW_TRY(dw_fields_num(&f, "alpha", 2.0 * (double)rank, 1e-6, 1e6, &m->lora.alpha));
    DW_TRY(dw_fields_bool(&f, "rslora", false, &m->lora.rslora));
    DW_TRY(dw_fields_list(&f, "targets", &target, &n));
    m->lora.targets = dw_fields_get(&f, "targets") ? 0 : DW_LORA_ALL;
    for (size_t i = 0; i < n; i++) {
        uint32_t k = 0;
        while (lora_targets[k] && strcmp(lora_targets[k], target[i]) != 0)
            k++;
        if (!lora_targets[k])
            return dw_fields_fail(
                &f, "targets",
                "no matrix '%s' (there are q, k, v, o, gate, up, down; qkv, gate_up where they are "
                "one)",
                target[i]);
        m->lora.targets |= 1u << k;
    }
    if (!m->lora.targets)
        return dw_fields_fail(&f, "targets", "expected at least one matrix");
    m->has_lora = true;
    return DW_OK;
}

static dw_status parse_range(const dw_fields *f, const dw_json *v, uint64_t out[2])
{
    int64_t end[2] = {-1, -1};
    size_t n = 0;
    for (const dw_json *e = dw_json_first(v); e && n < 2; e = dw_json_next(e))
        if (!dw_json_int(e, &end[n++]))
            end[0] = -1;
    if (dw_json_kind(v) != DW_JSON_ARRAY || dw_json_len(v) != 2 || end[0] < 0 || end[1] <= end[0])
        return dw_fields_fail(f, "freeze",
                              "expected ranges of steps [from, to), whole numbers with 0 <= from < "
                              "to, as in [[0, 100]]");
    out[0] = (uint64_t)end[0];
    out[1] = (uint64_t)end[1];
    return DW_OK;
}

static dw_status parse_freeze(const dw_fields *f, dw_plan_model *m)
{
    const dw_json *v = dw_fields_get(f, "freeze");
    if (!v)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_ARRAY)
        return dw_fields_fail(f, "freeze", "expected a list of ranges of steps, got %s",
                              dw_json_kind_name(v));
    m->freeze = dw_arena_alloc(f->arena, (dw_json_len(v) + 1) * sizeof *m->freeze);
    for (const dw_json *e = dw_json_first(v); e; e = dw_json_next(e))
        DW_TRY(parse_range(f, e, m->freeze[m->n_freeze++]));
    return DW_OK;
}

static dw_status parse_model(const dw_fields *f, dw_plan_model *m)
{
    DW_TRY(dw_fields_str(f, "path", NULL, &m->path));
    if (m->path[0] != '/' && !dw_plan_is_ref(m->path))
        return dw_fields_fail(f, "path", "'%s' is not an absolute path", m->path);
    DW_TRY(dw_fields_bool(f, "init", false, &m->init));
    int storage = DW_STORE_SOURCE;
    DW_TRY(dw_fields_choice(f, "storage", dw_storage_names, DW_STORE_SOURCE, &storage));
    m->storage = (dw_storage)storage;
    if (dw_fields_get(f, "eos_token"))
        DW_TRY(dw_fields_str(f, "eos_token", NULL, &m->eos_token));
    DW_TRY(parse_adapter(f, m));
    if (m->init && m->has_lora)
        return dw_fields_fail(f, "adapter", "a model with random weights is trained in full");
    return parse_freeze(f, m);
}

/* ---- optimisers ---- */

dw_status dw_plan_schedule(const dw_fields *f, const char *key, dw_schedule *out)
{
    DW_TRY(dw_schedule_parse(dw_fields_get(f, key), dw_fields_path(f, key), out, f->err));
    if (!(out->from >= 0 && out->to >= 0))
        return dw_fields_fail(f, key, "expected numbers from 0 up, got %g",
                              out->from >= 0 ? out->to : out->from);
    return DW_OK;
}

static dw_status parse_betas(const dw_fields *f, dw_plan_optimizer *o)
{
    const dw_json *v = dw_fields_get(f, "betas");
    o->beta1 = 0.9;
    o->beta2 = 0.999;
    if (!v)
        return DW_OK;
    double *to[] = {&o->beta1, &o->beta2};
    size_t n = 0;
    for (const dw_json *e = dw_json_first(v); e && n < 2; e = dw_json_next(e)) {
        if (dw_json_kind(e) != DW_JSON_NUMBER || dw_json_num(e) < 0 || dw_json_num(e) >= 1)
            break;
        *to[n++] = dw_json_num(e);
    }
    if (dw_json_kind(v) != DW_JSON_ARRAY || dw_json_len(v) != 2 || n != 2)
        return dw_fields_fail(f, "betas", "expected two numbers, each from 0 to less than 1");
    return DW_OK;
}

static dw_status parse_optimizer(const dw_fields *owner, dw_plan_optimizer *o)
{
    static const char *const keys[] = {"kind",         "lr",       "betas", "eps",
                                       "weight_decay", "momentum", "clip",  NULL};
    static const char *const kinds[] = {"adamw", "sgd", NULL};
    dw_fields f;
    int kind;
    DW_TRY(dw_fields_open(owner, dw_fields_get(owner, "optimizer"),
                          dw_fields_path(owner, "optimizer"), keys, &f));
    DW_TRY(dw_fields_choice(&f, "kind", kinds, 0, &kind));
    o->kind = kinds[kind];
    DW_TRY(dw_plan_schedule(&f, "lr", &o->lr));
    DW_TRY(parse_betas(&f, o));
    DW_TRY(dw_fields_num(&f, "eps", 1e-8, 1e-30, 1.0, &o->eps));
    DW_TRY(dw_fields_num(&f, "weight_decay", 0.0, 0.0, 1e6, &o->weight_decay));
    DW_TRY(dw_fields_num(&f, "momentum", 0.0, 0.0, 0.999999, &o->momentum));
    if (kind == 0 && o->momentum != 0)
        return dw_fields_fail(&f, "momentum", "adamw has none (its betas do that work)");
    return dw_fields_num(&f, "clip", 1.0, 0.0, INFINITY, &o->clip);
}

dw_status dw_plan_optimizer_parse(const dw_fields *root, dw_plan *p)
{
    DW_TRY(parse_optimizer(root, &p->optimizer));
    for (size_t i = 0; i < p->n_model; i++)
        if (!p->model[i].own_optimizer)
            p->model[i].optimizer = p->optimizer;
    return DW_OK;
}

/* ---- all models ---- */

static dw_status parse_further(const dw_fields *models, const dw_json *v, dw_plan_model *m)
{
    static const char *const keys[] = {"path",   "init",      "adapter", "freeze", "eos_token",
                                       "trains", "optimizer", "storage", NULL};
    dw_fields f;
    m->name = dw_json_key(v);
    if (!dw_fields_is_name(m->name) || !strcmp(m->name, "policy") || !strcmp(m->name, "self") ||
        !strcmp(m->name, "ema"))
        return dw_fields_fail(models, NULL,
                              "'%s' cannot name a model (a letter, then letters, digits, _ and -; "
                              "not 'policy', which is 'model', nor 'self' or 'ema')",
                              m->name);
    DW_TRY(dw_fields_open(models, v, dw_fields_path(models, m->name), keys, &f));
    DW_TRY(parse_model(&f, m));
    m->own_optimizer = dw_fields_get(&f, "optimizer") != NULL;
    return m->own_optimizer ? parse_optimizer(&f, &m->optimizer) : DW_OK;
}

dw_status dw_plan_models_parse(const dw_fields *root, dw_plan *p)
{
    static const char *const keys[] = {"path",      "init",    "adapter", "freeze",
                                       "eos_token", "storage", NULL};
    const dw_json *v = dw_fields_get(root, "models");
    dw_fields f;
    size_t n = 0;
    if (v && dw_json_kind(v) != DW_JSON_OBJECT)
        return dw_fields_fail(root, "models", "expected a table, got %s", dw_json_kind_name(v));
    p->model = dw_arena_alloc(root->arena, (dw_json_len(v) + 1) * sizeof *p->model);
    p->model[0].name = "policy";
    p->n_model = 1;
    DW_TRY(dw_fields_open(root, dw_fields_get(root, "model"), "model", keys, &f));
    DW_TRY(parse_model(&f, &p->model[0]));
    if (!v)
        return DW_OK;
    dw_fields models = {v, "models", root->arena, root->err};
    const dw_json **member = dw_plan_sorted(root, v, &n);
    for (size_t i = 0; i < n; i++)
        DW_TRY(parse_further(&models, member[i], &p->model[p->n_model++]));
    return DW_OK;
}

/* ---- who uses what ---- */

/* *out is the number of the model that `key` names; DW_NO_MODEL without one. */
static dw_status parse_name(const dw_fields *f, const char *key, const dw_plan *p, bool self,
                            int *out)
{
    const char *name;
    *out = DW_NO_MODEL;
    if (!dw_fields_get(f, key))
        return DW_OK;
    DW_TRY(dw_fields_str(f, key, NULL, &name));
    if (self && !strcmp(name, "self")) {
        *out = DW_MODEL_SELF;
        return DW_OK;
    }
    const char **names = dw_arena_alloc(f->arena, (p->n_model + 2) * sizeof *names);
    for (size_t i = 0; i < p->n_model; i++) {
        names[i] = p->model[i].name;
        if (!strcmp(name, names[i]))
            *out = (int)i;
    }
    if (self)
        names[p->n_model] = "self";
    if (*out != DW_NO_MODEL)
        return DW_OK;
    const char *near = dw_nearest(name, names);
    if (p->n_model == 1 && !near)
        return dw_fields_fail(f, key, "no model '%s' (this plan has one model, 'policy')", name);
    return dw_fields_fail(f, key, "no model '%s' in 'models'%s%s%s", name,
                          near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static dw_status parse_update(const dw_fields *task, const char *key, bool teacher,
                              dw_plan_update *u)
{
    static const char *const keys[] = {"kind", "alpha", "every",    "kappa", "eta",
                                       "rho",  "gamma", "beta_min", NULL};
    static const char *const kinds[] = {"mix", "bema", NULL};
    static const char *const of_bema[] = {"kappa", "eta", "rho", "gamma", "beta_min"};
    const dw_json *v = dw_fields_get(task, key);
    dw_fields f;
    int kind;
    int64_t every;
    if (!v)
        return DW_OK;
    DW_TRY(dw_fields_open(task, v, dw_fields_path(task, key), keys, &f));
    DW_TRY(dw_fields_choice(&f, "kind", kinds, 0, &kind));
    bool mix = kind == 0;
    if (!mix && dw_fields_get(&f, "alpha"))
        return dw_fields_fail(&f, "alpha", "belongs to the kind 'mix'");
    for (size_t i = 0; mix && i < sizeof of_bema / sizeof *of_bema; i++)
        if (dw_fields_get(&f, of_bema[i]))
            return dw_fields_fail(&f, of_bema[i], "belongs to the kind 'bema'");
    u->kind = mix ? DW_UPDATE_MIX : DW_UPDATE_BEMA;
    DW_TRY(dw_fields_int(&f, "every", !mix ? 400 : teacher ? 1 : 512, 1, INT32_MAX, &every));
    u->every = (uint32_t)every;
    DW_TRY(dw_fields_num(&f, "alpha", teacher ? 0.05 : 0.6, 0, 1, &u->alpha));
    DW_TRY(dw_fields_num(&f, "kappa", 0.5, 0, 10, &u->kappa));
    DW_TRY(dw_fields_num(&f, "eta", 0.2, 0, 10, &u->eta));
    DW_TRY(dw_fields_num(&f, "rho", 10, 1, 1e9, &u->rho));
    DW_TRY(dw_fields_num(&f, "gamma", 1, 0, 1e9, &u->gamma));
    return dw_fields_num(&f, "beta_min", 0, 0, 1, &u->beta_min);
}

static dw_status check_update(const dw_fields *f, const char *key, const dw_plan *p,
                              const dw_plan_task *t, const dw_plan_update *u, bool follows)
{
    if (u->kind == DW_UPDATE_NONE)
        return DW_OK;
    if (!follows)
        return dw_fields_fail(f, key,
                              !strcmp(key, "teacher_update")
                                  ? "only the teacher \"self\" follows the task's model"
                                  : "only the start of the task's model can follow it, not a "
                                    "reference with a name");
    if (p->model[t->model].has_lora)
        return dw_fields_fail(f, key,
                              "not with an adapter: the average of its two factors is not the "
                              "average of the adapter; train the model in full");
    return DW_OK;
}

static dw_status parse_reward_models(const dw_fields *f, const dw_plan *p, dw_plan_task *t)
{
    const dw_json *all = dw_fields_get(f, "rewards");
    dw_fields rewards = {all, dw_fields_path(f, "rewards"), f->arena, f->err};
    dw_plan_use *use = dw_arena_alloc(f->arena, (t->n_reward + 1) * sizeof *use);
    for (size_t i = 0; i < t->n_reward; i++) {
        use[i] = t->reward[i];
        const char *path = dw_fields_path(&rewards, use[i].name);
        dw_fields one = {dw_json_get(all, use[i].name), path, f->arena, f->err};
        DW_TRY(parse_name(&one, "model", p, false, &use[i].model));
    }
    t->reward = use;
    return DW_OK;
}

static dw_status parse_task_roles(const dw_fields *tasks, const dw_plan *p, dw_plan_task *t)
{
    dw_fields f = {dw_json_get(tasks->v, t->name), dw_fields_path(tasks, t->name), tasks->arena,
                   tasks->err};
    DW_TRY(parse_name(&f, "model", p, false, &t->model));
    if (t->model == DW_NO_MODEL)
        t->model = 0;
    DW_TRY(parse_name(&f, "critic", p, false, &t->critic));
    if (t->critic == t->model)
        t->critic = DW_NO_MODEL; /* a head on the task's model, which is what null says */
    DW_TRY(parse_name(&f, "reference", p, false, &t->reference));
    DW_TRY(parse_name(&f, "teacher", p, true, &t->teacher));
    DW_TRY(parse_update(&f, "reference_update", false, &t->reference_update));
    DW_TRY(parse_update(&f, "teacher_update", true, &t->teacher_update));
    DW_TRY(check_update(&f, "reference_update", p, t, &t->reference_update,
                        t->reference == DW_NO_MODEL));
    DW_TRY(
        check_update(&f, "teacher_update", p, t, &t->teacher_update, t->teacher == DW_MODEL_SELF));
    return parse_reward_models(&f, p, t);
}

/* The task that trains model m, or NULL. */
static const char *trainer_of(const dw_plan *p, int m)
{
    for (size_t i = 0; i < p->n_task; i++)
        if (p->task[i].model == m || p->task[i].critic == m)
            return p->task[i].name;
    return NULL;
}

static bool is_used(const dw_plan *p, int m)
{
    for (size_t i = 0; i < p->n_task; i++) {
        const dw_plan_task *t = &p->task[i];
        if (t->model == m || t->critic == m || t->reference == m || t->teacher == m)
            return true;
        for (size_t k = 0; k < t->n_reward; k++)
            if (t->reward[k].model == m)
                return true;
    }
    return false;
}

static dw_status check_model(const dw_fields *root, dw_plan *p, int i)
{
    dw_plan_model *m = &p->model[i];
    const char *path = i ? dw_arena_printf(root->arena, "models.%s", m->name) : "model";
    dw_fields f = {i ? dw_json_get(dw_fields_get(root, "models"), m->name)
                     : dw_fields_get(root, "model"),
                   path, root->arena, root->err};
    const char *by = trainer_of(p, i);
    if (!is_used(p, i))
        return dw_fields_fail(&f, NULL, "no task uses this model");
    m->trains = by != NULL;
    bool wanted;
    DW_TRY(dw_fields_bool(&f, "trains", m->trains, &wanted));
    if (wanted && !by)
        return dw_fields_fail(&f, "trains",
                              "no task trains this model: none names it as its model or critic");
    if (!wanted && by)
        return dw_fields_fail(&f, "trains", "task '%s' trains this model", by);
    const char *moves = m->own_optimizer ? "optimizer" : m->n_freeze ? "freeze" : NULL;
    if (!by && m->has_lora)
        moves = "adapter";
    return by || !moves ? DW_OK : dw_fields_fail(&f, moves, "nothing trains this model");
}

static dw_status check_still(const dw_fields *tasks, const dw_plan *p, const dw_plan_task *t)
{
    dw_fields f = {NULL, dw_fields_path(tasks, t->name), tasks->arena, tasks->err};
    const struct {
        const char *key;
        int model;
    } roles[] = {{"reference", t->reference}, {"teacher", t->teacher}};
    for (size_t i = 0; i < 2; i++)
        if (roles[i].model >= 0 && p->model[roles[i].model].trains)
            return dw_fields_fail(
                &f, roles[i].key, "'%s' is trained by task '%s', and a %s stands still%s",
                p->model[roles[i].model].name, trainer_of(p, roles[i].model), roles[i].key,
                i ? " (\"self\" is the start of the task's own model)"
                  : " (null is the start of the task's own model)");
    return DW_OK;
}

dw_status dw_plan_roles_parse(const dw_fields *root, dw_plan *p)
{
    dw_fields tasks = {dw_fields_get(root, "tasks"), "tasks", root->arena, root->err};
    for (size_t i = 0; i < p->n_task; i++)
        DW_TRY(parse_task_roles(&tasks, p, &p->task[i]));
    for (size_t i = 0; i < p->n_model; i++)
        DW_TRY(check_model(root, p, (int)i));
    for (size_t i = 0; i < p->n_task; i++)
        DW_TRY(check_still(&tasks, p, &p->task[i]));
    return DW_OK;
}
