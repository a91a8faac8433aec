/* Writes a plan back as canonical JSON with every default in place. */
#include <inttypes.h>

#include "train/plan.h"
#include "train/plan_task.h"

static void put_key(dw_buf *b, const char *key)
{
    if (b->ptr[b->len - 1] != '{')
        dw_buf_addc(b, ',');
    dw_json_put_cstr(b, key);
    dw_buf_addc(b, ':');
}

static void put_str(dw_buf *b, const char *key, const char *value)
{
    put_key(b, key);
    if (value)
        dw_json_put_cstr(b, value);
    else
        dw_buf_adds(b, "null");
}

static void put_num(dw_buf *b, const char *key, double value)
{
    put_key(b, key);
    dw_json_put_num(b, value);
}

static void put_int(dw_buf *b, const char *key, uint64_t value)
{
    put_key(b, key);
    dw_buf_printf(b, "%" PRIu64, value);
}

static void put_bool(dw_buf *b, const char *key, bool value)
{
    put_key(b, key);
    dw_buf_adds(b, value ? "true" : "false");
}

static void put_list(dw_buf *b, const char *key, const char *const *item, size_t n)
{
    put_key(b, key);
    dw_buf_addc(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            dw_buf_addc(b, ',');
        dw_json_put_cstr(b, item[i]);
    }
    dw_buf_addc(b, ']');
}

static void put_schedule(dw_buf *b, const char *key, const dw_schedule *s)
{
    put_key(b, key);
    if (s->shape == DW_CONSTANT && !s->warmup) {
        dw_json_put_num(b, s->from);
        return;
    }
    if (s->shape == DW_CONSTANT) {
        dw_buf_adds(b, "{\"schedule\":\"constant\"");
        put_num(b, "value", s->from);
    } else {
        bool linear = s->shape == DW_LINEAR;
        dw_buf_adds(b, linear ? "{\"schedule\":\"linear\"" : "{\"schedule\":\"cosine\"");
        put_num(b, linear ? "from" : "peak", s->from);
        put_num(b, linear ? "to" : "final", s->to);
    }
    put_int(b, "warmup", s->warmup);
    dw_buf_addc(b, '}');
}

static void put_column(dw_buf *b, bool *any, const char *key, const dw_column *c)
{
    const char *kind = c->field ? "field" : c->format ? "format" : c->lua ? "lua" : NULL;
    if (!kind)
        return;
    dw_buf_printf(b, "%s\"%s\":{\"%s\":", *any ? "," : "", key, kind);
    dw_json_put_cstr(b, c->field ? c->field : c->format ? c->format : c->lua);
    dw_buf_addc(b, '}');
    *any = true;
}

static void put_source(dw_buf *b, const dw_plan_data *d)
{
    const dw_data_spec *s = &d->spec;
    bool any = false;
    dw_buf_printf(b, "{\"type\":\"%s\"", dw_plan_types[s->type]);
    put_list(b, "files", s->file, s->n_file);
    put_key(b, "columns");
    dw_buf_addc(b, '{');
    for (int c = 0; c < DW_N_DATA_COLUMN; c++)
        put_column(b, &any, dw_data_column_name((dw_data_column)c), &s->column[c]);
    dw_buf_addc(b, '}');
    put_str(b, "map", s->map);
    put_str(b, "split_marker", s->split_marker);
    if (s->type == DW_STEPS)
        put_str(b, "separator", s->separator);
    put_bool(b, "add_eos", s->add_eos);
    put_bool(b, "add_bos", s->add_bos);
    put_int(b, "max_tokens", s->max_tokens);
    put_int(b, "max_rows", s->max_rows);
    put_str(b, "on_bad_row", dw_plan_on_bad[s->on_bad]);
    put_num(b, "max_bad", s->max_bad);
    put_str(b, "split", s->split);
    put_num(b, "holdout", s->holdout);
    put_bool(b, "held", s->held);
    put_str(b, "duplicates", dw_plan_duplicates[s->on_duplicate]);
    put_str(b, "overlap", dw_plan_overlaps[d->overlap]);
    put_str(b, "on_long", dw_plan_on_long[s->on_long]);
    put_str(b, "template", s->template_file);
    put_str(b, "layout", dw_plan_layouts[s->layout]);
    put_str(b, "role_key", s->role_key);
    put_str(b, "content_key", s->content_key);
    put_str(b, "loss_on", dw_plan_loss_on[s->loss_on]);
    put_bool(b, "shuffle", d->shuffle);
    put_num(b, "fraction", d->fraction);
    put_key(b, "also");
    dw_buf_addc(b, '[');
    for (size_t i = 0; i < d->n_also; i++) {
        if (i)
            dw_buf_addc(b, ',');
        put_source(b, &d->also[i]);
    }
    dw_buf_adds(b, "]}");
}

static void put_data(dw_buf *b, const dw_plan_data *d)
{
    put_key(b, "data");
    put_source(b, d);
}

static void put_demonstrate(dw_buf *b, const dw_plan_demonstrate *d)
{
    bool any = false;
    put_key(b, "demonstrate");
    if (!d) {
        dw_buf_adds(b, "null");
        return;
    }
    dw_buf_addc(b, '{');
    put_column(b, &any, "prompt", &d->prompt);
    put_str(b, "part", d->part);
    put_num(b, "at_least", d->at_least);
    put_bool(b, "own", d->own);
    put_str(b, "feedback", d->feedback);
    dw_buf_addc(b, '}');
}

static void put_rollout(dw_buf *b, const dw_plan_rollout *r)
{
    put_key(b, "rollout");
    if (!r) {
        dw_buf_adds(b, "null");
        return;
    }
    dw_buf_printf(b, "{\"samples\":%" PRIu32, r->samples);
    put_int(b, "max_tokens", r->max_tokens);
    put_int(b, "top_k", r->top_k);
    put_num(b, "temperature", r->temperature);
    put_num(b, "top_p", r->top_p);
    put_num(b, "min_p", r->min_p);
    put_list(b, "stop", r->stop, r->n_stop);
    put_int(b, "epochs", r->epochs);
    put_int(b, "minibatches", r->minibatches);
    put_num(b, "max_kl", r->max_kl);
    put_key(b, "dynamic");
    if (r->dynamic) {
        dw_buf_addc(b, '{');
        put_str(b, "part", r->dynamic[0] ? r->dynamic : NULL);
        put_int(b, "tries", r->tries);
        dw_buf_addc(b, '}');
    } else {
        dw_buf_adds(b, "null");
    }
    put_demonstrate(b, r->demonstrate);
    dw_buf_addc(b, '}');
}

static void put_use(dw_buf *b, const dw_plan *p, const dw_plan_use *u, bool weighted)
{
    dw_buf_addc(b, '{');
    bool model = u->model != DW_NO_MODEL;
    put_str(b,
            u->lua  ? "lua"
            : model ? "model"
                    : "plugin",
            u->lua  ? u->lua
            : model ? p->model[u->model].name
                    : u->plugin);
    if (weighted)
        put_num(b, "weight", u->weight);
    if (model) {
        put_str(b, "separator", u->separator);
        put_bool(b, "signed", u->is_signed);
        put_str(b, "steps", dw_plan_step_totals[u->steps]);
        put_bool(b, "implicit", u->implicit);
    }
    if (!u->lua && !model) {
        put_key(b, "options");
        if (u->options)
            dw_json_put(b, u->options, true, 0);
        else
            dw_buf_adds(b, "{}");
    }
    dw_buf_addc(b, '}');
}

static void put_uses(dw_buf *b, const dw_plan *p, const char *key, const dw_plan_use *u, size_t n)
{
    put_key(b, key);
    dw_buf_addc(b, '{');
    for (size_t i = 0; i < n; i++) {
        if (i)
            dw_buf_addc(b, ',');
        dw_json_put_cstr(b, u[i].name);
        dw_buf_addc(b, ':');
        put_use(b, p, &u[i], true);
    }
    dw_buf_addc(b, '}');
}

static void put_eval(dw_buf *b, const dw_plan_eval *e)
{
    put_key(b, "eval");
    if (!e) {
        dw_buf_adds(b, "null");
        return;
    }
    dw_buf_printf(b, "{\"every\":%" PRIu32, e->every);
    put_int(b, "patience", e->patience);
    put_int(b, "samples", e->samples);
    put_str(b, "metric", e->metric);
    put_bool(b, "greater", e->greater);
    put_bool(b, "at_start", e->at_start);
    put_data(b, &e->data);
    dw_buf_addc(b, '}');
}

static void put_update(dw_buf *b, const char *key, const dw_plan_update *u)
{
    if (u->kind == DW_UPDATE_NONE) {
        put_str(b, key, NULL);
        return;
    }
    put_key(b, key);
    dw_buf_printf(b, "{\"every\":%" PRIu32, u->every);
    put_str(b, "kind", u->kind == DW_UPDATE_MIX ? "mix" : "bema");
    if (u->kind == DW_UPDATE_MIX) {
        put_num(b, "alpha", u->alpha);
    } else {
        put_num(b, "kappa", u->kappa);
        put_num(b, "eta", u->eta);
        put_num(b, "rho", u->rho);
        put_num(b, "gamma", u->gamma);
        put_num(b, "beta_min", u->beta_min);
    }
    dw_buf_addc(b, '}');
}

static void put_roles(dw_buf *b, const dw_plan *p, const dw_plan_task *t)
{
    const struct {
        const char *key;
        int model;
    } roles[] = {{"model", t->model},
                 {"critic", t->critic},
                 {"reference", t->reference},
                 {"teacher", t->teacher}};
    for (size_t i = 0; i < 4; i++)
        put_str(b, roles[i].key,
                roles[i].model >= 0               ? p->model[roles[i].model].name
                : roles[i].model == DW_MODEL_SELF ? "self"
                                                  : NULL);
    put_update(b, "reference_update", &t->reference_update);
    put_update(b, "teacher_update", &t->teacher_update);
}

static void put_tasks(dw_buf *b, const dw_plan *p)
{
    put_key(b, "tasks");
    dw_buf_addc(b, '{');
    for (size_t i = 0; i < p->n_task; i++) {
        const dw_plan_task *t = &p->task[i];
        if (i)
            dw_buf_addc(b, ',');
        dw_json_put_cstr(b, t->name);
        dw_buf_printf(b, ":{\"rows\":%" PRIu32, t->rows);
        put_roles(b, p, t);
        put_data(b, &t->data);
        put_rollout(b, t->rollout);
        put_uses(b, p, "rewards", t->reward, t->n_reward);
        put_key(b, "estimator");
        if (t->estimator)
            put_use(b, p, t->estimator, false);
        else
            dw_buf_adds(b, "null");
        put_uses(b, p, "objectives", t->objective, t->n_objective);
        put_eval(b, t->eval);
        dw_buf_addc(b, '}');
    }
    dw_buf_addc(b, '}');
}

static void put_phases(dw_buf *b, const dw_plan *p)
{
    put_key(b, "schedule");
    dw_buf_addc(b, '[');
    for (size_t i = 0; i < p->n_phase; i++) {
        dw_buf_printf(b, "%s{", i ? "," : "");
        if (p->phase[i].epochs > 0) {
            dw_buf_adds(b, "\"epochs\":");
            dw_json_put_num(b, p->phase[i].epochs);
            dw_buf_addc(b, ',');
        }
        dw_buf_printf(b, "\"steps\":%" PRIu64 ",\"weights\":{", p->phase[i].steps);
        for (size_t t = 0; t < p->n_task; t++) {
            if (p->phase[i].weight_fn[t]) {
                put_key(b, p->task[t].name);
                dw_buf_addc(b, '{');
                put_str(b, "lua", p->phase[i].weight_fn[t]);
                dw_buf_addc(b, '}');
            } else {
                put_schedule(b, p->task[t].name, &p->phase[i].weight[t]);
            }
        }
        dw_buf_adds(b, "}}");
    }
    dw_buf_addc(b, ']');
}

static void put_optimizer(dw_buf *b, const dw_plan_optimizer *o)
{
    put_key(b, "optimizer");
    dw_buf_printf(b, "{\"kind\":\"%s\"", o->kind);
    put_schedule(b, "lr", &o->lr);
    put_key(b, "betas");
    dw_buf_addc(b, '[');
    dw_json_put_num(b, o->beta1);
    dw_buf_addc(b, ',');
    dw_json_put_num(b, o->beta2);
    dw_buf_addc(b, ']');
    put_num(b, "eps", o->eps);
    put_num(b, "weight_decay", o->weight_decay);
    put_num(b, "momentum", o->momentum);
    put_num(b, "clip", o->clip);
    dw_buf_addc(b, '}');
}

static void put_adapter(dw_buf *b, const dw_plan_model *m)
{
    static const char *const target[] = {"q", "k", "v", "o", "gate", "up", "down"};
    const char *used[7];
    size_t n = 0;
    for (size_t i = 0; i < 7; i++)
        if (m->lora.targets & (1u << i))
            used[n++] = target[i];
    put_key(b, "adapter");
    if (!m->has_lora) {
        dw_buf_adds(b, "null");
        return;
    }
    dw_buf_printf(b, "{\"rank\":%" PRIu32, m->lora.rank);
    put_num(b, "alpha", m->lora.alpha);
    put_bool(b, "rslora", m->lora.rslora);
    put_list(b, "targets", used, n);
    dw_buf_addc(b, '}');
}

static void put_model(dw_buf *b, const dw_plan_model *m, bool further)
{
    put_key(b, further ? m->name : "model");
    dw_buf_printf(b, "{\"init\":%s", m->init ? "true" : "false");
    put_str(b, "path", m->path);
    put_adapter(b, m);
    put_str(b, "eos_token", m->eos_token);
    put_str(b, "storage", dw_storage_names[m->storage]);
    put_key(b, "freeze");
    dw_buf_addc(b, '[');
    for (size_t i = 0; i < m->n_freeze; i++)
        dw_buf_printf(b, "%s[%" PRIu64 ",%" PRIu64 "]", i ? "," : "", m->freeze[i][0],
                      m->freeze[i][1]);
    dw_buf_addc(b, ']');
    if (further) {
        put_bool(b, "trains", m->trains);
        if (m->own_optimizer)
            put_optimizer(b, &m->optimizer);
        else
            put_str(b, "optimizer", NULL);
    }
    dw_buf_addc(b, '}');
}

static void put_models(dw_buf *b, const dw_plan *p)
{
    put_model(b, &p->model[0], false);
    put_key(b, "models");
    dw_buf_addc(b, '{');
    for (size_t i = 1; i < p->n_model; i++)
        put_model(b, &p->model[i], true);
    dw_buf_addc(b, '}');
}

void dw_plan_print(const dw_plan *p, dw_buf *out)
{
    static const char *const dtype[] = {"source", "float32", "bfloat16", "float16"};
    dw_buf b = {0};
    dw_buf_adds(&b, "{\"dowel\":1");
    put_str(&b, "name", p->name);
    put_int(&b, "seed", p->seed);
    put_models(&b, p);
    put_list(&b, "plugin_dirs", p->plugin_dir, p->n_plugin_dir);
    put_int(&b, "threads", (uint64_t)p->threads);
    put_tasks(&b, p);
    put_phases(&b, p);
    put_optimizer(&b, &p->optimizer);
    put_int(&b, "micro_tokens", p->micro_tokens);
    put_int(&b, "save_every", p->save_every);
    put_int(&b, "keep", p->keep);
    put_str(&b, "save_dtype", dtype[p->save_dtype]);
    put_bool(&b, "save_merged", p->save_merged);
    dw_plan_mix_print(&p->mix, &b);
    put_key(&b, "functions");
    const dw_json *functions = dw_json_get(p->root, "functions");
    if (p->has_functions)
        dw_json_put(&b, functions, true, 0);
    else
        dw_buf_adds(&b, "{}");
    dw_buf_addc(&b, '}');

    /* Written in reading order above; parsed once more, it comes out sorted and indented. */
    dw_json *root;
    dw_err err;
    dw_status st = dw_json_parse(b.ptr, b.len, DW_JSON_DEPTH_ROW, 1, &root, &err);
    dw_assert(st == DW_OK);
    dw_json_put(out, root, true, 2);
    dw_json_free(root);
    dw_buf_finish(&b);
}
