/* Opens the models of a plan with the heads that its tasks ask for, and moves those that train. */
#include "train/models.h"

#include <math.h>
#include <string.h>

#include "tensor/vector.h"
#include "train/mix.h"
#include "train/observe.h"
#include "train/task.h"

/* ---- what the tasks want of one model ---- */

typedef struct need {
    const dw_live_task *words, *score, *value; /* a task that asks for it; NULL: none */
    const char *scorer;                        /* or the reward that it is */
} need;

static const char *task_name(const dw_live_task *t)
{
    return t->plan->name;
}

static bool reads_words(const dw_live_task *t)
{
    uint64_t own = DW_HEAD_COLUMNS | DOWEL_BIT(DOWEL_DIVERGENCE);
    if (t->plan->reference == DW_NO_MODEL)
        own |= DOWEL_BIT(DOWEL_REF_LOGP);
    if (t->plan->teacher == DW_MODEL_SELF)
        own |= DOWEL_BIT(DOWEL_TEACHER_LOGP);
    return (t->columns & own) != 0 || t->plan->rollout != NULL;
}

static dw_status differ(const dw_live_model *m, const char *head, const dw_live_task *a,
                        uint32_t na, const dw_live_task *b, uint32_t nb, dw_err *err)
{
    return dw_fail(err, DW_E_RECIPE,
                   "model '%s': task %s asks for %u channels of its %s head and task %s for %u",
                   m->plan->name, task_name(a), na, head, task_name(b), nb);
}

static bool reads_score(const dw_live_task *t)
{
    return (t->columns & DOWEL_BIT(DOWEL_SCORE)) != 0;
}

static bool is_steps(const dw_live_task *t)
{
    return t->plan->data.spec.type == DW_STEPS;
}

static dw_status add_score(const dw_live_model *m, const dw_live_task *t, need *n, dw_err *err)
{
    if (n->score && is_steps(n->score) != is_steps(t))
        return dw_fail(err, DW_E_RECIPE,
                       "model '%s': task %s scores steps and task %s whole answers; these are two "
                       "kinds of model",
                       m->plan->name, task_name(is_steps(t) ? t : n->score),
                       task_name(is_steps(t) ? n->score : t));
    if (n->score && n->score->score_width != t->score_width)
        return differ(m, "score", n->score, n->score->score_width, t, t->score_width, err);
    n->score = t;
    return DW_OK;
}

static dw_status add_task(const dw_job *job, size_t i, const dw_live_task *t, need *n, dw_err *err)
{
    const dw_live_model *m = &job->models[i];
    bool mine = (size_t)t->plan->model == i;
    bool critic = t->plan->critic == DW_NO_MODEL ? mine : (size_t)t->plan->critic == i;
    if (mine && reads_words(t))
        n->words = t;
    if (mine && reads_score(t))
        DW_TRY(add_score(m, t, n, err));
    if (critic && (t->columns & DW_VALUE_COLUMNS)) {
        if (n->value && n->value->value_width != t->value_width)
            return differ(m, "value", n->value, n->value->value_width, t, t->value_width, err);
        n->value = t;
    }
    if ((size_t)t->plan->reference == i || (size_t)t->plan->teacher == i)
        n->words = t;
    for (size_t k = 0; k < t->n_reward; k++)
        if ((size_t)t->plan->reward[k].model == i) {
            if (t->plan->reward[k].implicit)
                n->words = t;
            else
                n->scorer = t->plan->reward[k].name;
        }
    return DW_OK;
}

static dw_status need_of(const dw_job *job, size_t i, need *n, dw_err *err)
{
    const char *name = job->models[i].plan->name;
    *n = (need){0};
    for (size_t t = 0; t < job->n_task; t++)
        DW_TRY(add_task(job, i, &job->task[t], n, err));
    if (n->words && n->score && n->words == n->score)
        return dw_fail(err, DW_E_RECIPE,
                       "tasks.%s reads both scores and log-probabilities of the model '%s'; a "
                       "model has a score head or a vocabulary head, not both",
                       task_name(n->words), name);
    if (n->words && n->score)
        return dw_fail(err, DW_E_RECIPE,
                       "model '%s': task %s reads its scores and task %s its log-probabilities; a "
                       "model has a score head or a vocabulary head, not both",
                       name, task_name(n->score), task_name(n->words));
    if (n->words && n->scorer)
        return dw_fail(err, DW_E_RECIPE,
                       "model '%s': it is the reward %s, which reads its score head, and task %s "
                       "reads its log-probabilities",
                       name, n->scorer, task_name(n->words));
    return DW_OK;
}

/* ---- opening ---- */

static dw_model_options options_of(const dw_live_model *m)
{
    return (dw_model_options){.trainable = m->plan->trains,
                              .lora = m->plan->has_lora ? &m->plan->lora : NULL,
                              .writable = m->plan->writable,
                              .storage = m->plan->storage,
                              .seed = m->seed,
                              .no_tokenizer = true};
}

/* A critic that starts from a score model keeps that head: it is the value. */
static dw_status find_top(const dw_job *job, const dw_live_model *m, dw_top *top, dw_err *err)
{
    dw_model *outline = NULL;
    dw_model_options o = options_of(m);
    *top = DW_TOP_LM;
    if (m->plan->init)
        return DW_OK;
    DW_TRY(dw_model_outline(job->x, m->plan->path, &o, &outline, err));
    *top = dw_model_top(outline);
    dw_model_free(outline);
    return DW_OK;
}

static dw_status open_one(dw_job *job, size_t i, dw_err *err)
{
    dw_live_model *m = &job->models[i];
    dw_model_options o = options_of(m);
    dw_top top = DW_TOP_LM;
    need n;
    DW_TRY(need_of(job, i, &n, err));
    if (n.score) {
        o.top = is_steps(n.score) ? DW_TOP_TOKEN : DW_TOP_SEQUENCE;
        o.score_width = n.score->score_width;
    }
    if (n.value && !n.words && !n.score)
        DW_TRY(find_top(job, m, &top, err));
    if (n.value && top == DW_TOP_LM)
        o.value_width = n.value->value_width;
    if (m->plan->init)
        DW_TRY(dw_model_init(job->x, m->plan->path, &o, &m->m, err));
    else
        DW_TRY(dw_model_open(job->x, m->plan->path, &o, &m->m, err));
    if (m->plan->eos_token) {
        dw_status st = dw_model_add_stop(m->m, m->plan->eos_token, err);
        if (st < 0) {
            dw_err_prefix(err, "model '%s': eos_token", m->plan->name);
            return st;
        }
    }
    if (n.words && dw_model_top(m->m) != DW_TOP_LM)
        return dw_fail(err, DW_E_RECIPE,
                       "model '%s' (%s) has a score head and no vocabulary head, but task %s reads "
                       "its log-probabilities",
                       m->plan->name, dw_model_dir(m->m), task_name(n.words));
    if (n.value && top != DW_TOP_LM && dw_model_score_width(m->m) != n.value->value_width)
        return dw_fail(err, DW_E_RECIPE,
                       "model '%s' (%s) has %u scores, but as the critic of task %s it needs %u",
                       m->plan->name, dw_model_dir(m->m), dw_model_score_width(m->m),
                       task_name(n.value), n.value->value_width);
    if (n.scorer && dw_model_top(m->m) == DW_TOP_LM)
        return dw_fail(err, DW_E_RECIPE,
                       "model '%s' (%s) has no score head, and the reward %s reads one; it wants a "
                       "sequence- or token-classification model, such as a task with "
                       "d.objective \"bt\" trains",
                       m->plan->name, dw_model_dir(m->m), n.scorer);
    return DW_OK;
}

/* ---- the tasks' models ---- */

static dw_status check_vocabulary(const dw_live_task *t, const char *role, const dw_live_model *m,
                                  dw_err *err)
{
    if (!m || m == t->model)
        return DW_OK;
    uint32_t a = dw_model_description(t->model->m)->vocab, b = dw_model_description(m->m)->vocab;
    if (a == b)
        return DW_OK;
    return dw_fail(err, DW_E_RECIPE,
                   "tasks.%s: the model '%s' has a vocabulary of %u tokens and its %s '%s' one of "
                   "%u; they must share a tokenizer",
                   task_name(t), t->model->plan->name, a, role, m->plan->name, b);
}

static dw_live_model *number(dw_job *job, int i)
{
    return i >= 0 ? &job->models[i] : NULL;
}

static dw_status give_models(dw_job *job, dw_live_task *t, dw_err *err)
{
    const dw_plan_task *p = t->plan;
    t->model = number(job, p->model);
    if (t->columns & DW_VALUE_COLUMNS) {
        t->critic = p->critic == DW_NO_MODEL ? t->model : number(job, p->critic);
        t->value_by = dw_model_value_width(t->critic->m) ? DW_READ_VALUE : DW_READ_SCORE;
    }
    DW_TRY(check_vocabulary(t, "critic", t->critic, err));
    DW_TRY(check_vocabulary(t, "reference", number(job, p->reference), err));
    DW_TRY(check_vocabulary(t, "teacher", number(job, p->teacher), err));
    for (size_t k = 0; k < t->n_reward; k++)
        DW_TRY(check_vocabulary(t, "reward", number(job, p->reward[k].model), err));
    return DW_OK;
}

dw_status dw_models_open(dw_job *job, dw_err *err)
{
    const dw_plan *p = job->plan;
    job->n_models = p->n_model;
    job->models = dw_arena_alloc(&job->arena, p->n_model * sizeof *job->models);
    for (size_t i = 0; i < p->n_model; i++) {
        dw_live_model *m = &job->models[i];
        m->plan = &p->model[i];
        m->seed = i ? p->seed ^ dw_task_hash(m->plan->name) : p->seed;
    }
    for (size_t i = 0; i < p->n_model; i++) {
        dw_live_model *m = &job->models[i];
        m->prefix =
            m == dw_models_lead(job) ? "" : dw_arena_printf(&job->arena, "%s/", m->plan->name);
        DW_TRY(open_one(job, i, err));
    }
    job->model = job->models[0].m;
    for (size_t i = 0; i < job->n_task; i++)
        DW_TRY(give_models(job, &job->task[i], err));
    return DW_OK;
}

dw_status dw_models_open_start(const dw_job *job, const dw_live_model *m, bool writable,
                               dw_model **out, dw_err *err)
{
    /* the same heads, so that the two have their parameters at the same places */
    dw_model_options o = {.seed = m->seed,
                          .writable = writable,
                          .no_tokenizer = true,
                          .value_width = dw_model_value_width(m->m)};
    return m->plan->init ? dw_model_init(job->x, m->plan->path, &o, out, err)
                         : dw_model_open(job->x, m->plan->path, &o, out, err);
}

dw_status dw_models_arm(dw_job *job, dw_err *err)
{
    for (size_t i = 0; i < job->n_models; i++) {
        dw_live_model *m = &job->models[i];
        DW_TRY(dw_engine_create(m->m, &m->e, err));
        if (!m->plan->trains)
            continue;
        DW_TRY(dw_optim_init(&m->optim, job->x, dw_model_trained(m->m), &m->plan->optimizer, err));
        m->armed = true;
    }
    return DW_OK;
}

void dw_models_close(dw_job *job)
{
    for (size_t i = 0; i < job->n_models; i++) {
        dw_live_model *m = &job->models[i];
        dw_generator_destroy(m->gen);
        if (m->armed)
            dw_optim_finish(&m->optim);
        dw_engine_destroy(m->e);
        dw_model_free(m->m);
    }
    job->models = NULL;
    job->n_models = 0;
    job->model = NULL;
}

/* ---- a step ---- */

dw_live_model *dw_models_lead(const dw_job *job)
{
    for (size_t i = 0; i < job->n_models; i++)
        if (job->models[i].plan->trains)
            return &job->models[i];
    return &job->models[0];
}

bool dw_models_moves(const dw_live_model *m, uint64_t step)
{
    for (size_t i = 0; i < m->plan->n_freeze; i++)
        if (step >= m->plan->freeze[i][0] && step < m->plan->freeze[i][1])
            return false;
    return m->plan->trains;
}

void dw_models_zero(dw_job *job)
{
    for (size_t i = 0; i < job->n_models; i++) {
        dw_live_model *m = &job->models[i];
        m->norm = m->lr = 0;
        if (!m->plan->trains)
            continue;
        dw_params *p = dw_model_trained(m->m);
        dw_vec_zero(job->x, p->g, p->n);
    }
}

bool dw_models_norms(dw_job *job, const dw_live_model **bad)
{
    for (size_t i = 0; i < job->n_models; i++) {
        dw_live_model *m = &job->models[i];
        if (!dw_models_moves(m, job->step))
            continue;
        m->norm = dw_optim_norm(&m->optim);
        *bad = m;
        if (!isfinite(m->norm))
            return false;
    }
    *bad = NULL;
    return true;
}

double dw_models_rate(const dw_job *job, const dw_live_model *m, uint64_t step)
{
    if (!dw_models_moves(m, step))
        return 0;
    return dw_schedule_at(&m->plan->optimizer.lr, step, job->plan->steps) * dw_mix_rate(job->mix);
}

void dw_models_update(dw_job *job, uint64_t step)
{
    for (size_t i = 0; i < job->n_models; i++) {
        dw_live_model *m = &job->models[i];
        if (!dw_models_moves(m, step))
            continue;
        m->lr = dw_models_rate(job, m, step);
        dw_optim_update(&m->optim, m->lr, m->norm);
        dw_model_changed(m->m);
    }
}
