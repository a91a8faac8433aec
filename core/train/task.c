/* Opens the tasks of a plan: data, plugin instances, and the union of what they ask for. */
#include "train/task.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "train/asks.h"
#include "train/feeds.h"
#include "train/gather.h"
#include "train/mix.h"
#include "train/reward_model.h"
#include "train/talk.h"

/* FNV-1a. */
uint64_t dw_task_hash(const char *s)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * UINT64_C(1099511628211);
    return h;
}

static void on_metric(void *ctx, const char *instance, const char *name, uint32_t fold,
                      double value, double weight)
{
    (void)instance;
    dw_use *u = ctx;
    dw_metrics *sink = u->task->job->sink;
    if (!sink)
        return;
    dw_buf full = {0};
    dw_buf_printf(&full, "%s%s", u->prefix, name);
    dw_metrics_add(sink, full.ptr, fold, value, weight);
    dw_buf_finish(&full);
}

/* ---- instances ---- */

static bool is_tunable(const dw_plugin_info *info, const char *option)
{
    for (uint32_t i = 0; i < info->plugin.n_params; i++)
        if (!strcmp(info->plugin.params[i].name, option))
            return info->plugin.params[i].flags & DOWEL_TUNABLE;
    return false;
}

static dw_status find_schedules(dw_job *job, dw_use *u, dw_err *err)
{
    const dw_plugin_info *info = dw_instance_info(u->inst);
    size_t n = dw_json_len(u->options);
    u->scheduled = dw_arena_alloc(&job->arena, (n + 1) * sizeof *u->scheduled);
    for (const dw_json *v = dw_json_first(u->options); v; v = dw_json_next(v)) {
        if (dw_json_kind(v) != DW_JSON_OBJECT || !dw_json_get(v, "schedule"))
            continue;
        if (!is_tunable(info, dw_json_key(v)))
            continue; /* an option of type JSON */
        dw_scheduled *s = &u->scheduled[u->n_scheduled];
        s->option = dw_json_key(v);
        DW_TRY(dw_schedule_parse(v, s->option, &s->at, err));
        u->n_scheduled++;
    }
    return DW_OK;
}

/* Adds texts that an instance asks for to the task's list; gives their places in it. */
static uint32_t *name_texts(dw_use *u, const char *const *asked, uint32_t *n_asked,
                            const char ***list, size_t *n_list)
{
    dw_arena *a = &u->task->job->arena;
    size_t n = 0;
    while (asked && asked[n])
        n++;
    uint32_t *place = dw_arena_alloc(a, (n + 1) * sizeof *place);
    const char **all = dw_arena_alloc(a, (*n_list + n + 1) * sizeof *all);
    if (*n_list)
        memcpy(all, *list, *n_list * sizeof *all);
    *list = all;
    *n_asked = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        while (at < *n_list && strcmp(all[at], asked[i]) != 0)
            at++;
        if (at == *n_list)
            all[(*n_list)++] = dw_arena_strdup(a, asked[i]);
        place[i] = (uint32_t)at;
    }
    return place;
}

static void name_fields(dw_use *u)
{
    dw_live_task *t = u->task;
    u->field = name_texts(u, u->ask.fields, &u->n_field, &t->field, &t->n_field);
}

static void name_choices(dw_use *u)
{
    dw_live_task *t = u->task;
    u->choice = name_texts(u, u->ask.choices, &u->n_choice, &t->choice_text, &t->n_choice);
}

static dw_status ask(dw_use *u, bool estimator, dw_err *err)
{
    u->ask = (dowel_request){.size = sizeof u->ask};
    DW_TRY(dw_call_observe(u->inst, estimator, &u->ask, err));
    name_fields(u);
    name_choices(u);
    if ((u->ask.columns & DOWEL_BIT(DOWEL_CHOICES)) && !u->n_choice)
        return dw_fail(err, DW_E_PLUGIN, "%s asks for CHOICES and lists no tokens",
                       dw_instance_name(u->inst));
    return DW_OK;
}

/* Each prompt with the answer of another row takes a second row. */
static dw_status check_mismatched(const dw_use *u, bool rollout, dw_err *err)
{
    const dw_plan_task *p = u->task->plan;
    const char *who = dw_instance_name(u->inst);
    if (rollout || p->data.spec.type == DW_TEXTS)
        return dw_fail(
            err, DW_E_RECIPE,
            "%s sets each prompt beside the answer of another row, so it needs rows with "
            "prompts and answers; this task has %s",
            who, rollout ? "a rollout" : "texts");
    if (p->rows < 2)
        return dw_fail(err, DW_E_RECIPE,
                       "%s sets each prompt beside the answer of another row of the step, and a "
                       "step of this task has one row; give it batch = { rows = 2 } or more",
                       who);
    return DW_OK;
}

/* Answers that somebody has to sample. */
static dw_status check_extras(const dw_use *u, bool rollout, dw_err *err)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } sampled[] = {{DOWEL_WITH_GREEDY, "the greedy answer to each prompt"},
                   {DOWEL_WITH_REFERENCE, "answers of the reference"},
                   {DOWEL_WITH_MIXTURE, "answers of a mixture with the reference"}};
    const char *who = dw_instance_name(u->inst);
    uint32_t left = u->ask.extras & ~(uint32_t)DOWEL_WITH_MISMATCHED;
    for (size_t i = 0; i < sizeof sampled / sizeof *sampled; i++) {
        if ((left & sampled[i].bit) && !rollout)
            return dw_fail(err, DW_E_RECIPE,
                           "%s asks for %s, but the task trains on given answers; give the task a "
                           "rollout or another objective",
                           who, sampled[i].name);
        left &= ~sampled[i].bit;
    }
    if (left)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s asks for extra sequences (mask 0x%x) that this version does not know",
                       who, left);
    return DW_OK;
}

static dw_status check_ask(const dw_use *u, bool rollout, dw_err *err)
{
    const char *who = dw_instance_name(u->inst);
    if (u->ask.extras & DOWEL_WITH_MISMATCHED)
        DW_TRY(check_mismatched(u, rollout, err));
    DW_TRY(check_extras(u, rollout, err));
    uint64_t rolled =
        DOWEL_BIT(DOWEL_SAMPLER_LOGP) | DOWEL_BIT(DOWEL_ADVANTAGE) | DOWEL_BIT(DOWEL_RETURN);
    if (!rollout && (u->ask.columns & rolled))
        return dw_fail(err, DW_E_RECIPE,
                       "%s needs rollouts, but the task trains on given answers; give the task a "
                       "rollout or another objective",
                       who);
    return DW_OK;
}

/* A recipe's plan has every option; one written by hand may leave defaults out. */
static dw_status complete_options(dw_use *u, const dw_plugin_info *info, dw_err *err)
{
    dw_buf full = {0};
    dw_status st = dw_options_check(info, u->plan->options, NULL, &full, err);
    if (st >= 0)
        st = dw_json_parse(full.ptr, full.len, DW_JSON_DEPTH_HEADER, 1, &u->options, err);
    dw_buf_finish(&full);
    return st;
}

static dw_status open_use(dw_live_task *t, dw_use *u, const dw_plan_use *plan, const char *kind,
                          dw_err *err)
{
    dw_job *job = t->job;
    u->plan = plan;
    u->task = t;
    u->prefix = t->prefix;
    if (!plan->plugin)
        return DW_OK; /* Lua */
    const dw_plugin_info *info = NULL;
    DW_TRY(dw_registry_find(job->reg, plan->plugin, NULL, &info, err));
    char *name = dw_arena_printf(&job->arena, "%s.%s.%s", t->plan->name, kind, plan->name);
    DW_TRY(complete_options(u, info, err));
    dw_instance_spec s = {.info = info,
                          .name = name,
                          .options = u->options,
                          .seed = job->plan->seed,
                          .metric = on_metric,
                          .metric_ctx = u};
    DW_TRY(dw_instance_create(&s, &u->inst, err));
    return find_schedules(job, u, err);
}

static uint32_t task_feed(const dw_live_task *t)
{
    /* An estimator may make pairs of what was sampled. */
    uint32_t made = t->plan->rollout && t->estimator.inst ? DOWEL_PAIRS : 0;
    return dw_feed_of(t->plan->data.spec.type) | made;
}

/* An option that a constraint will move is asked about at its largest value. */
static dw_status reach(const dw_use *u, dw_err *err)
{
    const dw_plan_mix *m = &u->task->job->plan->mix;
    for (size_t i = 0; i < m->n_constraint; i++) {
        const dw_plan_constraint *c = &m->constraint[i];
        if (!c->option || strcmp(c->owner, u->task->plan->name) != 0 ||
            strcmp(c->objective, u->plan->name) != 0)
            continue;
        dw_status st = dw_instance_set(u->inst, c->option, c->spec.max, err);
        if (st < 0) {
            dw_err_prefix(err, "constraints.%s, at its max", c->name);
            return st;
        }
    }
    return DW_OK;
}

static dw_status open_objectives(dw_live_task *t, dw_err *err)
{
    dw_job *job = t->job;
    const dw_plan_task *p = t->plan;
    t->n_objective = p->n_objective;
    t->objective = dw_arena_alloc(&job->arena, (p->n_objective + 1) * sizeof *t->objective);
    for (size_t i = 0; i < p->n_objective; i++) {
        dw_use *u = &t->objective[i];
        DW_TRY(open_use(t, u, &p->objective[i], "objectives", err));
        if (p->n_objective > 1)
            u->prefix = dw_arena_printf(&job->arena, "%s%s/", t->prefix, p->objective[i].name);
        const dowel_objective *o = &dw_instance_info(u->inst)->objective;
        if (!o->loss)
            return dw_fail(err, DW_E_RECIPE, "objectives.%s: the plugin %s is not an objective",
                           p->objective[i].name, p->objective[i].plugin);
        DW_TRY(reach(u, err));
        DW_TRY(ask(u, false, err));
        DW_TRY(check_ask(u, p->rollout != NULL, err));
        u->total = dw_arena_alloc(&job->arena, (o->n_total + 1) * sizeof(double));
        u->tally = dw_arena_alloc(&job->arena, (o->n_tally + 1) * sizeof(double));
    }
    return DW_OK;
}

/* Without an estimator of its own: the first objective that is one as well, by name. */
static void share_estimator(dw_live_task *t)
{
    size_t i = 0;
    while (i < t->n_objective && !dw_instance_info(t->objective[i].inst)->estimator.estimate)
        i++;
    if (i == t->n_objective)
        return; /* losses that need no advantages */
    t->estimator = t->objective[i];
    t->estimator.shared = true;
    t->estimator.ask = (dowel_request){0};
    t->estimator.n_field = t->estimator.n_choice = 0;
}

/* Advantages come from rewards, by an estimator. */
static dw_status check_estimator(const dw_live_task *t, dw_err *err)
{
    const uint64_t made = DOWEL_BIT(DOWEL_ADVANTAGE) | DOWEL_BIT(DOWEL_RETURN);
    if (!t->plan->rollout)
        return DW_OK;
    if (t->estimator.inst && t->plan->n_reward == 0)
        return dw_fail(err, DW_E_RECIPE,
                       "rewards: %s credits answers by their rewards, and the "
                       "task has none",
                       dw_instance_name(t->estimator.inst));
    for (size_t i = 0; i < t->n_objective && !t->estimator.inst; i++)
        if (t->objective[i].ask.columns & made)
            return dw_fail(err, DW_E_RECIPE,
                           "estimator: %s trains on advantages, and nothing in "
                           "this task makes them",
                           dw_instance_name(t->objective[i].inst));
    return DW_OK;
}

static dw_status open_estimator(dw_live_task *t, dw_err *err)
{
    const dw_plan_task *p = t->plan;
    if (!p->rollout)
        return DW_OK;
    if (p->estimator) {
        DW_TRY(open_use(t, &t->estimator, p->estimator, "estimator", err));
        if (!dw_instance_info(t->estimator.inst)->estimator.estimate)
            return dw_fail(err, DW_E_RECIPE, "estimator: the plugin %s is not an estimator",
                           p->estimator->plugin);
    } else {
        share_estimator(t);
    }
    if (!t->estimator.inst)
        return DW_OK;
    if (dw_instance_info(t->estimator.inst)->estimator.observe) {
        DW_TRY(ask(&t->estimator, true, err));
        DW_TRY(check_ask(&t->estimator, true, err));
    }
    /* Everything known before the loss; of the policy what it says of each token. */
    uint64_t later = DOWEL_BIT(DOWEL_VALUE) | DOWEL_BIT(DOWEL_SCORE) | DOWEL_BIT(DOWEL_DIVERGENCE) |
                     DOWEL_BIT(DOWEL_CHOICES) | DOWEL_BIT(DOWEL_ADVANTAGE) |
                     DOWEL_BIT(DOWEL_RETURN);
    if (t->estimator.ask.columns & later)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s asks for columns that estimators cannot have in this version (mask "
                       "0x%llx)",
                       dw_instance_name(t->estimator.inst),
                       (unsigned long long)(t->estimator.ask.columns & later));
    return DW_OK;
}

static dw_status open_rewards(dw_live_task *t, dw_err *err)
{
    const dw_plan_task *p = t->plan;
    dw_arena *a = &t->job->arena;
    t->n_reward = p->n_reward;
    t->reward = dw_arena_alloc(a, (p->n_reward + 1) * sizeof *t->reward);
    t->part = dw_arena_alloc(a, (p->n_reward + 1) * sizeof *t->part);
    t->part_weight = dw_arena_alloc(a, (p->n_reward + 1) * sizeof *t->part_weight);
    for (size_t i = 0; i < p->n_reward; i++) {
        dw_use *u = &t->reward[i];
        DW_TRY(open_use(t, u, &p->reward[i], "rewards", err));
        if (u->inst && !dw_instance_info(u->inst)->reward.score)
            return dw_fail(err, DW_E_RECIPE, "rewards.%s: the plugin %s is not a reward",
                           p->reward[i].name, p->reward[i].plugin);
        if (!u->inst && u->plan->lua && (!t->job->cb || !t->job->cb->reward))
            return dw_fail(err, DW_E_BUG, "rewards.%s: no Lua state to call", p->reward[i].name);
        t->part[i] = p->reward[i].name;
        t->part_weight[i] = p->reward[i].weight;
    }
    return DW_OK;
}

/* ---- tasks ---- */

static dw_status check_feeds(const dw_live_task *t, dw_err *err)
{
    uint32_t feed = task_feed(t);
    for (size_t i = 0; i < t->n_objective; i++) {
        const dw_plugin_info *info = dw_instance_info(t->objective[i].inst);
        if (info->objective.feeds_on & feed)
            continue;
        dw_buf wanted = {0};
        dw_feeds_print(info->objective.feeds_on, &wanted);
        dw_status st = dw_fail(
            err, DW_E_RECIPE, "objectives.%s: %s does not train on %s%s, but on %s",
            t->plan->objective[i].name, info->plugin.id, dw_data_type_name(t->plan->data.spec.type),
            t->plan->rollout ? " with a rollout" : "", wanted.ptr);
        dw_buf_finish(&wanted);
        return st;
    }
    return DW_OK;
}

static dw_status load_data(const dw_live_task *t, const dw_plan_data *d, dw_chat **chat,
                           dw_dataset **out, dw_err *err)
{
    const dw_job *job = t->job;
    dw_data_spec s = d->spec, also[DW_MIXTURE_MAX];
    dw_data_source source[DW_MIXTURE_MAX] = {{&s, d->fraction}};
    s.field = t->field;
    s.n_field = t->n_field;
    const dw_model *m = t->model->m;
    const dw_tokenizer *tok = dw_model_tokenizer(m);
    if (!tok)
        return dw_fail(err, DW_E_INPUT, "%s has no tokenizer.json, which training needs",
                       dw_model_dir(m));
    dw_status st = dw_task_chat(t, &s, chat, err);
    if (st < 0 && s.template_file)
        return st;
    if (st < 0) /* in the way of messages only */
        s.chat_why = dw_arena_strdup(&t->job->arena, err->text);
    s.chat = *chat;
    for (size_t i = 0; i < d->n_also; i++) {
        also[i] = d->also[i].spec;
        also[i].field = s.field;
        also[i].n_field = s.n_field;
        also[i].chat = s.chat;
        source[1 + i] = (dw_data_source){&also[i], d->also[i].fraction};
    }
    DW_TRY(dw_dataset_load_mixture(
        source, 1 + d->n_also, tok, dw_model_description(m)->max_positions,
        job->cb ? job->cb->row : NULL, job->cb ? job->cb->ctx : NULL, out, err));
    return dw_task_check_talk(t, &s, *out, err);
}

static dw_status check_overlap(dw_live_task *t, dw_err *err)
{
    const size_t policy = t->plan->eval->data.overlap;
    dw_dataset_overlap(t->data, t->eval, policy == DW_OVERLAP_DROP, &t->overlap);
    const dw_overlap *o = &t->overlap;
    if (policy != DW_OVERLAP_ERROR || (!o->rows && !o->prompts))
        return DW_OK;
    return dw_fail(err, DW_E_INPUT,
                   "eval: %llu rows are in the training data and %llu more have a prompt of it "
                   "(%s), and overlap = \"error\"",
                   (unsigned long long)o->rows, (unsigned long long)o->prompts, o->at);
}

void dw_task_print_overlap(const dw_live_task *t, dw_buf *out)
{
    const dw_overlap *o = &t->overlap;
    if (t->eval && (o->rows || o->prompts))
        dw_buf_printf(out,
                      "%s eval: %llu rows are in the training data and %llu more have a prompt of "
                      "it, %s (%s)\n",
                      t->plan->name, (unsigned long long)o->rows, (unsigned long long)o->prompts,
                      t->plan->eval->data.overlap == DW_OVERLAP_DROP ? "dropped" : "kept", o->at);
}

static dw_status open_data(dw_live_task *t, dw_err *err)
{
    const dw_plan_task *p = t->plan;
    DW_TRY(load_data(t, &p->data, &t->chat[0], &t->data, err));
    if (dw_dataset_len(t->data) == 0)
        return dw_fail(err, DW_E_INPUT, "data: no row is left to train on (%llu read from %s)",
                       (unsigned long long)dw_dataset_counts(t->data)->rows, p->data.spec.file[0]);
    if (!p->eval)
        return DW_OK;
    DW_TRY(load_data(t, &p->eval->data, &t->chat[1], &t->eval, err));
    DW_TRY(check_overlap(t, err));
    if (dw_dataset_len(t->eval) == 0)
        return dw_fail(err, DW_E_INPUT, "eval: no row is left to evaluate on (%s)",
                       p->eval->data.spec.file[0]);
    if (t->mismatched && dw_dataset_len(t->eval) < 2)
        return dw_fail(err, DW_E_INPUT,
                       "eval: one row is left of %s, and an objective sets each prompt beside the "
                       "answer of another row",
                       p->eval->data.spec.file[0]);
    return DW_OK;
}

static dw_status open_task(dw_live_task *t, dw_err *err)
{
    dw_job *job = t->job;
    t->seed = job->plan->seed ^ dw_task_hash(t->plan->name);
    t->best = NAN;
    t->prefix = job->n_task > 1 ? dw_arena_printf(&job->arena, "%s/", t->plan->name) : "";
    DW_TRY(open_objectives(t, err));
    DW_TRY(open_estimator(t, err));
    DW_TRY(check_estimator(t, err));
    DW_TRY(open_rewards(t, err));
    DW_TRY(check_feeds(t, err));
    return dw_asks_sum(t, err);
}

/* The models are open. */
static dw_status fill_task(dw_live_task *t, dw_err *err)
{
    DW_TRY(dw_asks_choices(t, err));
    DW_TRY(dw_reward_model_check(t, err));
    return open_data(t, err);
}

static dw_status each_task(dw_job *job, dw_status (*fn)(dw_live_task *, dw_err *), dw_err *err)
{
    for (size_t i = 0; i < job->n_task; i++) {
        dw_status st = fn(&job->task[i], err);
        if (st < 0) {
            dw_err_prefix(err, "tasks.%s", job->task[i].plan->name);
            return st;
        }
    }
    return DW_OK;
}

dw_status dw_task_open_all(dw_job *job, dw_err *err)
{
    job->n_task = job->plan->n_task;
    job->task = dw_arena_alloc(&job->arena, job->n_task * sizeof *job->task);
    for (size_t i = 0; i < job->n_task; i++) {
        dw_live_task *t = &job->task[i];
        t->job = job;
        t->plan = &job->plan->task[i];
    }
    DW_TRY(each_task(job, open_task, err));
    DW_TRY(dw_models_open(job, err));
    DW_TRY(each_task(job, fill_task, err));
    DW_TRY(dw_mix_create(job, &job->mix, err));
    return dw_task_schedule(job, 0, err);
}

static void close_use(dw_use *u)
{
    dw_instance_destroy(u->inst);
    dw_json_free(u->options);
}

void dw_task_close_all(dw_job *job)
{
    for (size_t i = 0; i < job->n_task; i++) {
        dw_live_task *t = &job->task[i];
        for (size_t k = 0; k < t->n_objective; k++)
            close_use(&t->objective[k]);
        for (size_t k = 0; k < t->n_reward; k++)
            close_use(&t->reward[k]);
        if (!t->estimator.shared)
            close_use(&t->estimator);
        dw_gather_close(t);
        dw_dataset_free(t->data);
        dw_dataset_free(t->eval);
        dw_chat_free(t->chat[0]);
        dw_chat_free(t->chat[1]);
    }
    dw_mix_destroy(job->mix);
    job->mix = NULL;
    job->task = NULL;
    job->n_task = 0;
    dw_arena_finish(&job->arena);
}

static dw_status schedule_use(const dw_job *job, dw_use *u, uint64_t step, dw_err *err)
{
    for (size_t i = 0; i < u->n_scheduled; i++)
        DW_TRY(dw_instance_set(u->inst, u->scheduled[i].option,
                               dw_schedule_at(&u->scheduled[i].at, step, job->plan->steps), err));
    return DW_OK;
}

dw_status dw_task_schedule(dw_job *job, uint64_t step, dw_err *err)
{
    for (size_t i = 0; i < job->n_task; i++) {
        dw_live_task *t = &job->task[i];
        for (size_t k = 0; k < t->n_objective; k++)
            DW_TRY(schedule_use(job, &t->objective[k], step, err));
        for (size_t k = 0; k < t->n_reward; k++)
            DW_TRY(schedule_use(job, &t->reward[k], step, err));
        if (!t->estimator.shared && t->estimator.inst)
            DW_TRY(schedule_use(job, &t->estimator, step, err));
    }
    return DW_OK;
}

double dw_task_weight(const dw_job *job, size_t task, uint64_t step)
{
    const dw_plan *p = job->plan;
    uint64_t first = 0;
    if (job->mix && step == job->step && !isnan(dw_mix_weight(job->mix, task)))
        return dw_mix_weight(job->mix, task);
    for (size_t i = 0; i < p->n_phase; i++) {
        if (step < first + p->phase[i].steps || i + 1 == p->n_phase)
            return dw_schedule_at(&p->phase[i].weight[task], step - first, p->phase[i].steps);
        first += p->phase[i].steps;
    }
    return 0;
}

void dw_task_instances(const dw_job *job, dw_each_instance fn, void *ctx)
{
    for (size_t i = 0; i < job->n_task; i++) {
        const dw_live_task *t = &job->task[i];
        for (size_t k = 0; k < t->n_objective; k++)
            fn(ctx, t->objective[k].inst, dw_instance_name(t->objective[k].inst));
        for (size_t k = 0; k < t->n_reward; k++)
            if (t->reward[k].inst)
                fn(ctx, t->reward[k].inst, dw_instance_name(t->reward[k].inst));
        if (t->estimator.inst && !t->estimator.shared)
            fn(ctx, t->estimator.inst, dw_instance_name(t->estimator.inst));
    }
}
