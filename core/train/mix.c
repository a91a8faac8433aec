/* Keeps the numbers of the past and what follows from them: weights, multipliers, limits. */
#include "train/mix.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"

/* A metric that is late: how many steps of its task went by without it. */
enum { PATIENCE = 8 };

typedef struct constraint {
    const dw_plan_constraint *plan;
    dw_constraint_state state;
    uint32_t late;
    dw_instance *inst; /* whose option it is; NULL: a task's weight */
    size_t task;
} constraint;

typedef struct limit {
    const dw_plan_limit *plan;
    dw_constraint_state state; /* its window of values */
    bool beyond;
    uint32_t late;
} limit;

struct dw_mix {
    dw_job *job;
    dw_arena arena;
    dw_metrics past; /* plain values */
    constraint *constraint;
    limit *limit;
    size_t n_constraint, n_limit;
    double *weight, *multiplier; /* [n_task] */
    double reference;
    char stop[256];
};

/* ---- making ---- */

static dw_status find_option(dw_mix *m, constraint *c, dw_err *err)
{
    const dw_plan_constraint *p = c->plan;
    dw_job *job = m->job;
    for (size_t i = 0; i < job->n_task; i++) {
        const dw_live_task *t = &job->task[i];
        if (strcmp(t->plan->name, p->owner) != 0)
            continue;
        for (size_t k = 0; k < t->n_objective; k++)
            if (!strcmp(t->objective[k].plan->name, p->objective))
                c->inst = t->objective[k].inst;
    }
    if (!c->inst)
        return dw_fail(err, DW_E_RECIPE, "constraints.%s: task '%s' has no objective '%s'", p->name,
                       p->owner, p->objective);
    dw_status st = dw_instance_set(c->inst, p->option, p->spec.start, err);
    if (st < 0) {
        dw_err_prefix(err, "constraints.%s", p->name);
        return DW_E_RECIPE;
    }
    return DW_OK;
}

static dw_status add_constraint(dw_mix *m, const dw_plan_constraint *p, dw_err *err)
{
    constraint *c = &m->constraint[m->n_constraint++];
    c->plan = p;
    dw_constraint_start(&p->spec, dw_arena_alloc(&m->arena, p->spec.window * sizeof(double)),
                        &c->state);
    if (p->option)
        return find_option(m, c, err);
    while (strcmp(m->job->task[c->task].plan->name, p->task) != 0) /* the plan knows it is there */
        c->task++;
    return DW_OK;
}

static void apply_multipliers(dw_mix *m)
{
    for (size_t i = 0; i < m->job->n_task; i++)
        m->multiplier[i] = 1;
    for (size_t i = 0; i < m->n_constraint; i++)
        if (!m->constraint[i].inst)
            m->multiplier[m->constraint[i].task] *= m->constraint[i].state.multiplier;
}

dw_status dw_mix_create(dw_job *job, dw_mix **out, dw_err *err)
{
    const dw_plan_mix *p = &job->plan->mix;
    dw_mix *m = *out = dw_zalloc(1, sizeof *m);
    m->job = job;
    m->weight = dw_arena_alloc(&m->arena, (job->n_task + 1) * sizeof(double));
    m->multiplier = dw_arena_alloc(&m->arena, (job->n_task + 1) * sizeof(double));
    for (size_t i = 0; i < job->n_task; i++)
        m->weight[i] = NAN;
    m->constraint = dw_arena_alloc(&m->arena, (p->n_constraint + 1) * sizeof *m->constraint);
    m->limit = dw_arena_alloc(&m->arena, (p->n_limit + 1) * sizeof *m->limit);
    for (size_t i = 0; i < p->n_constraint; i++)
        DW_TRY(add_constraint(m, &p->constraint[i], err));
    for (size_t i = 0; i < p->n_limit; i++) {
        limit *l = &m->limit[m->n_limit++];
        l->plan = &p->limit[i];
        l->state = (dw_constraint_state){
            .value = dw_arena_alloc(&m->arena, l->plan->window * sizeof(double)), .last = NAN};
    }
    apply_multipliers(m);
    return DW_OK;
}

void dw_mix_destroy(dw_mix *m)
{
    if (!m)
        return;
    dw_metrics_finish(&m->past);
    dw_arena_finish(&m->arena);
    dw_free(m);
}

/* ---- before a step ---- */

static const char *weight_function(const dw_plan *p, size_t task, uint64_t step)
{
    uint64_t first = 0;
    for (size_t i = 0; i < p->n_phase; i++) {
        if (step < first + p->phase[i].steps || i + 1 == p->n_phase)
            return p->phase[i].weight_fn[task];
        first += p->phase[i].steps;
    }
    return NULL;
}

static dw_status ask_weight(dw_mix *m, size_t i, dw_err *err)
{
    const dw_job *job = m->job;
    const char *fn = weight_function(job->plan, i, job->step);
    m->weight[i] = NAN;
    if (!fn)
        return DW_OK;
    if (!job->cb || !job->cb->weight)
        return dw_fail(err, DW_E_BUG, "weight of task %s: no Lua state to call",
                       job->task[i].plan->name);
    return job->cb->weight(job->cb->ctx, fn, job->step, &m->past, &m->weight[i], err);
}

dw_status dw_mix_before(dw_mix *m, dw_err *err)
{
    for (size_t i = 0; i < m->job->n_task; i++)
        DW_TRY(ask_weight(m, i, err));
    for (size_t i = 0; i < m->n_constraint; i++) {
        const constraint *c = &m->constraint[i];
        if (c->inst)
            DW_TRY(dw_instance_set(c->inst, c->plan->option, c->state.multiplier, err));
    }
    return DW_OK;
}

double dw_mix_multiplier(const dw_mix *m, size_t task)
{
    return m->multiplier[task];
}

double dw_mix_weight(const dw_mix *m, size_t task)
{
    return m->weight[task];
}

double dw_mix_rate(const dw_mix *m)
{
    double rate = 1;
    for (size_t i = 0; i < m->n_limit; i++)
        if (m->limit[i].beyond && !m->limit[i].plan->stop)
            rate *= m->limit[i].plan->factor;
    return rate;
}

const char *dw_mix_stop(const dw_mix *m)
{
    return m->stop[0] ? m->stop : NULL;
}

double *dw_mix_reference(dw_mix *m)
{
    return &m->reference;
}

/* ---- after a step ---- */

static void remember(dw_mix *m, const dw_metrics *from)
{
    for (size_t i = 0; i < from->n; i++)
        if (isfinite(dw_metric_value(&from->item[i])))
            dw_metrics_set(&m->past, from->item[i].name, dw_metric_value(&from->item[i]));
}

static bool is_eval(const char *name)
{
    return strstr(name, "eval_") != NULL;
}

/* Whether the numbers that just came could have held it: those of a task's step come when it takes
 * part, those of its eval when it is evaluated. */
static bool due(const dw_mix *m, const char *name, const dw_metrics *now, bool eval)
{
    size_t own = 0;
    for (size_t i = 0; i < m->job->n_task && m->job->n_task > 1; i++) {
        const char *task = m->job->task[i].plan->name;
        size_t len = strlen(task);
        if (strncmp(name, task, len) == 0 && name[len] == '/')
            own = len + 1;
    }
    for (size_t i = 0; i < now->n; i++)
        if (is_eval(now->item[i].name) == is_eval(name) &&
            strncmp(now->item[i].name, name, own) == 0)
            return eval == is_eval(name);
    return false;
}

static dw_status missing(const dw_mix *m, const char *what, const char *who, const char *metric,
                         bool refuse, dw_err *err)
{
    dw_buf have = {0};
    dw_status st = DW_OK;
    for (size_t i = 0; i < m->past.n; i++)
        dw_buf_printf(&have, "%s%s", i ? ", " : "", m->past.item[i].name);
    const char *list = have.ptr ? have.ptr : "nothing";
    if (refuse)
        st = dw_fail(err, DW_E_RECIPE, "%s.%s.metric: '%s' is not among what the run measures: %s",
                     what, who, metric, list);
    else
        dw_log(DW_WARN, "train",
               "%s.%s.metric: '%s' is not among what its first step measured: %s; the run ends if "
               "it is not there after %d steps",
               what, who, metric, list, PATIENCE);
    dw_buf_finish(&have);
    return st;
}

/* Some numbers need more than a step: both kinds of labels, say. A number that never comes would
 * make a constraint that never acts, so the wait has an end, the run's last step at the latest. */
static dw_status wait_for(const dw_mix *m, const char *what, const char *who, const char *metric,
                          uint32_t *late, dw_err *err)
{
    bool last = m->job->step + 1 >= m->job->plan->steps;
    ++*late;
    if (*late > 1 && *late < PATIENCE && !last && !is_eval(metric))
        return DW_OK;
    return missing(m, what, who, metric, *late >= PATIENCE || last || is_eval(metric), err);
}

/* The metric among the numbers that just came; NaN: not there, and it may still come. */
static dw_status look_for(const dw_mix *m, const char *what, const char *who, const char *metric,
                          const dw_metrics *now, bool eval, uint32_t *late, double *value,
                          dw_err *err)
{
    const dw_metric *x = dw_metrics_find(now, metric);
    *value = x ? dw_metric_value(x) : NAN;
    if (x || dw_metrics_find(&m->past, metric) || !due(m, metric, now, eval))
        return DW_OK;
    return wait_for(m, what, who, metric, late, err);
}

static void report(dw_metrics *to, const constraint *c, double violation)
{
    char name[256];
    if (!to)
        return;
    snprintf(name, sizeof name, "constraints/%s/multiplier", c->plan->name);
    dw_metrics_set(to, name, c->state.multiplier);
    snprintf(name, sizeof name, "constraints/%s/violation", c->plan->name);
    if (isfinite(violation))
        dw_metrics_set(to, name, violation);
}

static void look_at(dw_mix *m, limit *l, double value)
{
    dw_constraint_state *s = &l->state;
    const dw_plan_limit *p = l->plan;
    double sum = 0;
    s->value[s->at] = value;
    s->at = (s->at + 1) % p->window;
    s->n += s->n < p->window;
    for (uint32_t i = 0; i < s->n; i++)
        sum += s->value[i];
    double mean = sum / s->n;
    bool was = l->beyond;
    l->beyond = p->at_least ? mean < p->bound : mean > p->bound;
    if (!l->beyond || s->n < p->window)
        return;
    if (p->stop)
        snprintf(m->stop, sizeof m->stop, "limits.%s: %s is %.4g, %s %.4g", p->name, p->metric,
                 mean, p->at_least ? "below" : "beyond", p->bound);
    else if (!was)
        dw_log(DW_WARN, "train",
               "limits.%s: %s is %.4g, %s %.4g: the learning rate is multiplied by %g", p->name,
               p->metric, mean, p->at_least ? "below" : "beyond", p->bound, p->factor);
}

static dw_status take(dw_mix *m, const dw_metrics *now, bool eval, dw_metrics *to, dw_err *err)
{
    double value;
    for (size_t i = 0; i < m->n_constraint; i++) {
        constraint *c = &m->constraint[i];
        double v = NAN;
        DW_TRY(look_for(m, "constraints", c->plan->name, c->plan->metric, now, eval, &c->late,
                        &value, err));
        if (isfinite(value))
            v = dw_constraint_update(&c->plan->spec, &c->state, value);
        report(to, c, v);
    }
    for (size_t i = 0; i < m->n_limit; i++) {
        limit *l = &m->limit[i];
        DW_TRY(look_for(m, "limits", l->plan->name, l->plan->metric, now, eval, &l->late, &value,
                        err));
        if (isfinite(value))
            look_at(m, l, value);
    }
    apply_multipliers(m);
    return DW_OK;
}

dw_status dw_mix_after(dw_mix *m, dw_metrics *step, double loss, double norm, dw_err *err)
{
    dw_metrics now = {0};
    for (size_t i = 0; i < step->n; i++)
        dw_metrics_set(&now, step->item[i].name, dw_metric_value(&step->item[i]));
    dw_metrics_set(&now, "loss", loss);
    dw_metrics_set(&now, "grad_norm", norm);
    remember(m, &now);
    dw_status st = take(m, &now, false, step, err);
    dw_metrics_finish(&now);
    return st;
}

dw_status dw_mix_measured(dw_mix *m, const dw_metrics *eval, dw_err *err)
{
    remember(m, eval);
    return take(m, eval, true, NULL, err);
}

/* ---- checkpoints ---- */

static void put_state(dw_buf *b, const dw_constraint_state *s)
{
    dw_buf_adds(b, "{\"multiplier\":");
    dw_json_put_num(b, s->multiplier);
    dw_buf_adds(b, ",\"integral\":");
    dw_json_put_num(b, s->integral);
    dw_buf_adds(b, ",\"last\":");
    dw_json_put_num(b, s->last);
    dw_buf_printf(b, ",\"at\":%" PRIu32 ",\"values\":[", s->at);
    for (uint32_t i = 0; i < s->n; i++) {
        dw_buf_adds(b, i ? "," : "");
        dw_json_put_num(b, s->value[i]);
    }
    dw_buf_adds(b, "]}");
}

void dw_mix_put(const dw_mix *m, dw_buf *b)
{
    dw_buf_adds(b, "{\"reference\":");
    dw_json_put_num(b, m->reference);
    dw_buf_adds(b, ",\"past\":{");
    for (size_t i = 0; i < m->past.n; i++) {
        dw_buf_adds(b, i ? "," : "");
        dw_json_put_cstr(b, m->past.item[i].name);
        dw_buf_addc(b, ':');
        dw_json_put_num(b, dw_metric_value(&m->past.item[i]));
    }
    dw_buf_adds(b, "},\"constraints\":[");
    for (size_t i = 0; i < m->n_constraint; i++) {
        dw_buf_adds(b, i ? "," : "");
        put_state(b, &m->constraint[i].state);
    }
    dw_buf_adds(b, "],\"limits\":[");
    for (size_t i = 0; i < m->n_limit; i++) {
        dw_buf_adds(b, i ? "," : "");
        dw_buf_printf(b, "{\"beyond\":%s,\"state\":", m->limit[i].beyond ? "true" : "false");
        put_state(b, &m->limit[i].state);
        dw_buf_addc(b, '}');
    }
    dw_buf_adds(b, "]}");
}

static double number_or_nan(const dw_json *v)
{
    return dw_json_kind(v) == DW_JSON_NUMBER ? dw_json_num(v) : NAN;
}

static dw_status get_state(const dw_json *v, uint32_t window, dw_constraint_state *s, dw_err *err)
{
    const dw_json *values = dw_json_get(v, "values");
    int64_t at;
    if (dw_json_len(values) > window)
        return dw_fail(err, DW_E_INPUT, "mix: more values than the window of %" PRIu32, window);
    DW_TRY(dw_json_get_int(v, "at", 0, 0, (int64_t)window - 1, &at, err));
    s->at = (uint32_t)at;
    s->multiplier = number_or_nan(dw_json_get(v, "multiplier"));
    s->integral = number_or_nan(dw_json_get(v, "integral"));
    s->last = number_or_nan(dw_json_get(v, "last"));
    if (!isfinite(s->multiplier) || !isfinite(s->integral))
        return dw_fail(err, DW_E_INPUT, "mix: a multiplier is missing");
    s->n = 0;
    for (const dw_json *x = dw_json_first(values); x; x = dw_json_next(x))
        s->value[s->n++] = number_or_nan(x);
    return DW_OK;
}

dw_status dw_mix_get(dw_mix *m, const dw_json *v, dw_err *err)
{
    const dw_json *c = dw_json_first(dw_json_get(v, "constraints"));
    const dw_json *l = dw_json_first(dw_json_get(v, "limits"));
    DW_TRY(dw_json_get_num(v, "reference", 0, 0, 1e300, &m->reference, err));
    for (const dw_json *x = dw_json_first(dw_json_get(v, "past")); x; x = dw_json_next(x))
        dw_metrics_set(&m->past, dw_json_key(x), number_or_nan(x));
    for (size_t i = 0; i < m->n_constraint; i++, c = dw_json_next(c)) {
        if (!c)
            return dw_fail(err, DW_E_INPUT, "mix: constraint '%s' is missing",
                           m->constraint[i].plan->name);
        DW_TRY(get_state(c, m->constraint[i].plan->spec.window, &m->constraint[i].state, err));
    }
    for (size_t i = 0; i < m->n_limit; i++, l = dw_json_next(l)) {
        if (!l)
            return dw_fail(err, DW_E_INPUT, "mix: limit '%s' is missing", m->limit[i].plan->name);
        DW_TRY(dw_json_get_bool(l, "beyond", false, &m->limit[i].beyond, err));
        DW_TRY(
            get_state(dw_json_get(l, "state"), m->limit[i].plan->window, &m->limit[i].state, err));
    }
    apply_multipliers(m);
    return DW_OK;
}
