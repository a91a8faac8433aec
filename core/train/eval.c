/* Held-out evaluation: the same columns and objectives, nothing trained. */
#include "train/eval.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "train/constants.h"
#include "train/pass.h"
#include "train/progress.h"
#include "train/reward.h"
#include "train/rollout.h"

/* ---- measuring ---- */

static dw_status eval_given(dw_live_task *t, dw_arena *a, dw_err *err)
{
    dw_set s;
    DW_TRY(dw_set_from_eval(&s, t, a, err));
    s.step = t->job->step;
    DW_TRY(dw_constants_fill(&s, true, err));
    dw_pass p = {.job = t->job, .set = &s, .weight = 1, .each_unit = !t->by_step};
    DW_TRY(dw_pass_run(&p, err));
    if (t->n_objective > 1) { /* beside the losses of each */
        char name[512];
        snprintf(name, sizeof name, "%sloss", t->prefix);
        dw_metrics_set(t->job->sink, name, p.loss);
    }
    return DW_OK;
}

/* The mean over a prompt's answers is one observation. */
static void add_prompt_means(const dw_set *s, uint32_t samples, dw_metrics *to)
{
    const dw_live_task *t = s->task;
    for (size_t part = 0; part <= t->n_reward; part++) {
        char name[512];
        if (part == 0)
            snprintf(name, sizeof name, "%sreward", t->prefix);
        else
            snprintf(name, sizeof name, "%srewards/%s/mean", t->prefix, t->part[part - 1]);
        for (size_t i = 0; i < s->n_seq; i += samples) {
            double sum = 0, n = 0;
            for (size_t k = i; k < i + samples && k < s->n_seq; k++)
                if (!isnan(dw_reward_told(s, k, part))) {
                    sum += dw_reward_told(s, k, part);
                    n++;
                }
            if (n > 0)
                dw_metrics_add(to, name, DOWEL_MEAN, sum / n, 1);
        }
    }
}

static dw_status eval_prompts(dw_live_task *t, dw_arena *a, dw_err *err)
{
    enum { CHUNK = 64 };
    uint32_t samples = t->plan->eval->samples ? t->plan->eval->samples : 1;
    size_t n = dw_dataset_len(t->eval);
    const dw_row **row = dw_arena_alloc(a, (n + 1) * sizeof *row);
    uint64_t *number = dw_arena_alloc(a, (n + 1) * sizeof *number);
    for (size_t i = 0; i < n; i++) {
        row[i] = dw_dataset_row(t->eval, i);
        number[i] = (UINT64_C(1) << 40) + i; /* apart from every row of the training order */
    }
    dw_arena call = {0};
    dw_status st = DW_OK;
    for (size_t at = 0; at < n && st >= 0; at += CHUNK) {
        dw_set s;
        dw_rollout_spec r = {.row = row + at,
                             .number = number + at,
                             .n = n - at < CHUNK ? n - at : CHUNK,
                             .samples = samples,
                             .greedy = samples == 1,
                             .seed = t->seed};
        st = dw_rollout(t, &call, &r, t->job->step, &s, err);
        if (st >= 0)
            st = dw_reward_score(&s, err);
        if (st >= 0 && t->n_reward > 0)
            add_prompt_means(&s, samples, t->job->sink);
        if (st >= 0)
            dw_rollout_metrics(&s, t->prefix, t->job->sink);
        dw_arena_reset(&call);
    }
    dw_arena_finish(&call);
    return st;
}

/* "arith/reward" -> "arith/eval_reward" */
static void rename_into(const dw_live_task *t, const dw_metrics *from, dw_metrics *to)
{
    size_t skip = strlen(t->prefix);
    for (size_t i = 0; i < from->n; i++) {
        const dw_metric *x = &from->item[i];
        dw_buf name = {0};
        dw_buf_printf(&name, "%seval_%s", t->prefix, x->name + skip);
        to->keep_parts = true;
        if (x->fold != DOWEL_MEAN && x->weight > 0)
            dw_metrics_add(to, name.ptr, x->fold, x->sum, 1);
        for (size_t k = 0; k < x->n_part; k++)
            dw_metrics_add(to, name.ptr, DOWEL_MEAN, x->part[k].value, x->part[k].weight);
        dw_buf_finish(&name);
    }
    dw_buf rows = {0};
    dw_buf_printf(&rows, "%seval_rows", t->prefix);
    dw_metrics_set(to, rows.ptr, (double)dw_dataset_len(t->eval));
    dw_buf_finish(&rows);
}

dw_status dw_eval_task(dw_live_task *t, dw_metrics *out, dw_err *err)
{
    dw_job *job = t->job;
    dw_metrics here = {.keep_parts = true}, *outer = job->sink;
    dw_arena a = {0};
    bool prompts = t->plan->eval->data.spec.type == DW_PROMPTS;
    if (prompts && !t->plan->rollout)
        return dw_fail(err, DW_E_RECIPE,
                       "tasks.%s.eval: prompts can only be evaluated where the task has a rollout",
                       t->plan->name);
    if (job->progress)
        dw_progress_phase(job->progress, "evaluating", 0, dw_dataset_len(t->eval));
    job->sink = &here;
    dw_status st = prompts ? eval_prompts(t, &a, err) : eval_given(t, &a, err);
    job->sink = outer;
    if (st >= 0)
        rename_into(t, &here, out);
    else
        dw_err_prefix(err, "evaluating task %s", t->plan->name);
    dw_metrics_finish(&here);
    dw_arena_finish(&a);
    return st;
}

/* ---- the best so far ---- */

dw_status dw_eval_book(dw_live_task *t, const dw_metrics *m, uint64_t step, bool *gained,
                       dw_err *err)
{
    const dw_plan_eval *e = t->plan->eval;
    dw_buf name = {0};
    dw_buf_printf(&name, "%seval_%s", t->prefix, e->metric);
    const dw_metric *x = dw_metrics_find(m, name.ptr);
    dw_buf_finish(&name);
    *gained = false;
    if (!x) {
        dw_buf have = {0};
        for (size_t i = 0; i < m->n; i++)
            dw_buf_printf(&have, "%s%s", i ? ", " : "", m->item[i].name);
        dw_status st = dw_fail(err, DW_E_RECIPE,
                               "tasks.%s.eval.metric: '%s' is not among what the evaluation "
                               "gives: %s",
                               t->plan->name, e->metric, have.ptr ? have.ptr : "nothing");
        dw_buf_finish(&have);
        return st;
    }
    double v = dw_metric_value(x);
    if (!isnan(v) && (isnan(t->best) || (e->greater ? v > t->best : v < t->best))) {
        t->best = v;
        t->best_step = step;
        t->without_gain = 0;
        *gained = true;
    } else {
        t->without_gain++;
    }
    return DW_OK;
}

/* ---- before and after ---- */

typedef struct column {
    char *name;
    double first, last, ci_first, ci_last;
    uint64_t n;
} column;

typedef struct table {
    column *col;
    size_t n, cap;
    double step_first, step_last;
} table;

static column *column_of(table *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (!strcmp(t->col[i].name, name))
            return &t->col[i];
    DW_GROW(t->col, t->n, t->cap);
    t->col[t->n] = (column){.name = dw_strdup(name), .ci_first = NAN, .ci_last = NAN};
    return &t->col[t->n++];
}

static bool is_eval(const char *key)
{
    const char *at = strstr(key, "eval_");
    return at && (at == key || at[-1] == '/');
}

static double ci_of(const dw_json *row, const char *key)
{
    dw_buf name = {0};
    dw_buf_printf(&name, "%s_ci95", key);
    const dw_json *v = dw_json_get(row, name.ptr);
    dw_buf_finish(&name);
    return dw_json_kind(v) == DW_JSON_NUMBER ? dw_json_num(v) : NAN;
}

static void take_row(table *t, const dw_json *row)
{
    double step = 0;
    const dw_json *s = dw_json_get(row, "step");
    if (dw_json_kind(s) == DW_JSON_NUMBER)
        step = dw_json_num(s);
    for (const dw_json *v = dw_json_first(row); v; v = dw_json_next(v)) {
        const char *key = dw_json_key(v);
        size_t len = strlen(key);
        if (dw_json_kind(v) != DW_JSON_NUMBER || !is_eval(key) || !strcmp(key, "eval_time") ||
            (len > 5 && !strcmp(key + len - 5, "_ci95")))
            continue;
        column *c = column_of(t, key);
        if (c->n++ == 0) {
            c->first = dw_json_num(v);
            c->ci_first = ci_of(row, key);
            t->step_first = step;
        }
        c->last = dw_json_num(v);
        c->ci_last = ci_of(row, key);
        t->step_last = step;
    }
}

static void put_value(dw_buf *out, double v, double ci)
{
    char text[64];
    if (isfinite(ci))
        snprintf(text, sizeof text, "%.4g +- %.2g", v, ci);
    else
        snprintf(text, sizeof text, "%.4g", v);
    dw_buf_printf(out, "  %-20s", text);
}

static void put_table(const table *t, dw_buf *out)
{
    char before[32], after[32];
    snprintf(before, sizeof before, "step %.0f", t->step_first);
    snprintf(after, sizeof after, "step %.0f", t->step_last);
    dw_buf_printf(out, "%-36s  %-20s  %-20s\n", "held out", before, after);
    for (size_t i = 0; i < t->n; i++) {
        const column *c = &t->col[i];
        dw_buf_printf(out, "%-36s", c->name);
        put_value(out, c->first, c->ci_first);
        put_value(out, c->last, c->ci_last);
        dw_buf_addc(out, '\n');
    }
}

void dw_eval_table(const char *metrics_path, dw_buf *out)
{
    dw_buf file = {0};
    dw_err err = {{0}};
    table t = {0};
    if (dw_file_read(metrics_path, SIZE_MAX / 2, &file, &err) >= 0) {
        for (size_t at = 0; at < file.len;) {
            const char *end = memchr(file.ptr + at, '\n', file.len - at);
            size_t n = end ? (size_t)(end - file.ptr) - at : file.len - at;
            dw_json *row = NULL;
            if (n > 0 && dw_json_parse(file.ptr + at, n, DW_JSON_DEPTH_HEADER, 1, &row, &err) >= 0)
                take_row(&t, row);
            dw_json_free(row);
            at += n + 1;
        }
    }
    if (t.n > 0)
        put_table(&t, out);
    for (size_t i = 0; i < t.n; i++)
        dw_free(t.col[i].name);
    dw_free(t.col);
    dw_buf_finish(&file);
}
