/* The training loop: steps, evaluations, saves, signals. */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "train/eval.h"
#include "train/live.h"
#include "train/mix.h"
#include "train/stages.h"

enum { MAX_SKIPPED = 3, STALE_STEPS = 20 };

/* ---- signals ---- */

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
    static const char once[] = "\nstopping after this step\n";
    static const char again[] = "\nstopping after this step (Ctrl-C again: quit now)\n";
    if (sig == SIGINT && caught == SIGINT)
        _exit(130);
    caught = sig == SIGHUP ? SIGTERM : sig;
    ssize_t ignored = sig == SIGINT ? write(STDERR_FILENO, again, sizeof again - 1)
                                    : write(STDERR_FILENO, once, sizeof once - 1);
    (void)ignored;
}

typedef struct handlers {
    struct sigaction was[3];
} handlers;
static const int watched[3] = {SIGINT, SIGTERM, SIGHUP};

static void watch_signals(handlers *h)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    caught = 0;
    sigemptyset(&sa.sa_mask);
    for (int i = 0; i < 3; i++)
        sigaction(watched[i], &sa, &h->was[i]);
}

static void unwatch_signals(const handlers *h)
{
    for (int i = 0; i < 3; i++)
        sigaction(watched[i], &h->was[i], NULL);
}

/* ---- logs ---- */

static void put_epochs(const dw_job *job, dw_buf *b)
{
    for (size_t i = 0; i < job->n_task; i++) {
        const dw_live_task *t = &job->task[i];
        dw_buf_printf(b, ",\"%sepoch\":", t->prefix);
        dw_json_put_sig(b, (double)t->cursor / (double)dw_dataset_len(t->data), 6);
    }
}

static void put_number(dw_buf *b, const char *key, double v)
{
    dw_buf_printf(b, ",\"%s\":", key);
    dw_json_put_num(b, v);
}

typedef struct step_numbers {
    double loss, norm, lr, seconds;
    bool skipped;
} step_numbers;

/* The models beside the lead that train. */
static void put_further(const dw_job *job, bool skipped, dw_buf *b)
{
    char key[128];
    for (size_t i = 0; i < job->n_models; i++) {
        const dw_live_model *m = &job->models[i];
        if (!m->plan->trains || !m->prefix[0])
            continue;
        snprintf(key, sizeof key, "%sgrad_norm", m->prefix);
        put_number(b, key, skipped ? NAN : m->norm);
        snprintf(key, sizeof key, "%slearning_rate", m->prefix);
        put_number(b, key, m->lr);
    }
}

static dw_status write_step(dw_live *l, const step_numbers *n, dw_err *err)
{
    dw_buf b = {0};
    dw_buf_printf(&b, "{\"step\":%" PRIu64, l->job.step);
    put_epochs(&l->job, &b);
    put_number(&b, "loss", n->loss);
    put_number(&b, "grad_norm", n->norm);
    put_number(&b, "learning_rate", n->lr);
    put_further(&l->job, n->skipped, &b);
    put_number(&b, "num_tokens", (double)l->state.n_tokens);
    if (n->skipped)
        dw_buf_adds(&b, ",\"skipped\":1");
    dw_metrics_put(&l->metrics, &b);
    put_number(&b, "step_time", n->seconds);
    dw_buf_adds(&b, "}\n");
    dw_status st = dw_writer_put(l->metrics_log, b.ptr, b.len, err);
    if (st >= 0)
        st = dw_writer_flush(l->metrics_log, err);
    if (st >= 0 && l->samples_log && l->samples.len > 0) {
        st = dw_writer_put(l->samples_log, l->samples.ptr, l->samples.len, err);
        if (st >= 0)
            st = dw_writer_flush(l->samples_log, err);
    }
    dw_buf_clear(&l->samples);
    dw_buf_finish(&b);
    return st;
}

/* The objective's choice of up to three numbers per task. */
static void shown_numbers(const dw_live *l, dw_buf *b)
{
    for (size_t i = 0; i < l->job.n_task; i++) {
        const dw_live_task *t = &l->job.task[i];
        for (size_t k = 0; k < t->n_objective; k++) {
            const dw_use *u = &t->objective[k];
            const char *const *s = dw_instance_info(u->inst)->objective.shown;
            for (int j = 0; s && s[j] && j < 3; j++) {
                char name[256];
                snprintf(name, sizeof name, "%s%s", u->prefix, s[j]);
                const dw_metric *m = dw_metrics_find(&l->metrics, name);
                if (m)
                    dw_buf_printf(b, "  %s %.3g", name, dw_metric_value(m));
            }
        }
    }
}

static void show_step(dw_live *l, const step_numbers *n, uint64_t tokens)
{
    dw_buf b = {0};
    if (n->skipped)
        dw_buf_adds(&b, "skipped");
    else
        dw_buf_printf(&b, "loss %.4g", n->loss);
    shown_numbers(l, &b);
    if (!n->skipped)
        dw_buf_printf(&b, "  gnorm %.3g  lr %.2g", n->norm, n->lr);
    dw_progress_step(&l->progress, l->job.step, n->seconds, tokens, b.ptr);
    dw_buf_finish(&b);
}

static double step_value(const dw_live *l, const char *prefix, const char *name)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const dw_metric *m = dw_metrics_find(&l->metrics, full);
    return m ? dw_metric_value(m) : NAN;
}

/* Groups whose answers all score alike teach nothing; so do answers without a score. */
static void warn_when_stale(dw_live *l)
{
    for (size_t i = 0; i < l->job.n_task; i++) {
        const dw_live_task *t = &l->job.task[i];
        if (!t->plan->rollout)
            continue;
        double flat = step_value(l, t->estimator.inst ? t->estimator.prefix : t->prefix,
                                 "frac_reward_zero_std");
        double silent = step_value(l, t->prefix, "frac_unscored");
        l->stale[i] = flat > 0.8 || silent > 0.8 ? l->stale[i] + 1 : 0;
        if (l->stale[i] == STALE_STEPS)
            dw_log(DW_WARN, "train",
                   "task %s: for %d steps more than 80 %% of %s; the rewards hardly tell answers "
                   "apart (see samples.jsonl)",
                   t->plan->name, STALE_STEPS,
                   silent > 0.8 ? "the answers had no score" : "the groups scored all alike");
    }
}

/* ---- one step ---- */

/* The gradient, or a reason to leave the step out: DW_E_NUMERIC, or DW_E_INPUT when no sampled
 * answer may be trained on. */
static dw_status try_step(dw_live *l, dw_step_result *r, double *norm, dw_err *err)
{
    const dw_live_model *bad;
    DW_TRY(dw_step_gradient(&l->job, r, err));
    if (r->trained_tokens == 0)
        return dw_fail(err, DW_E_INPUT,
                       "no sampled answer may be trained on (all unscored, rejected by the "
                       "estimator or, with rollout.dynamic, scored like the rest of their group); "
                       "samples.jsonl holds them");
    bool finite = dw_models_norms(&l->job, &bad);
    *norm = dw_models_lead(&l->job)->norm;
    if (!finite && bad->prefix[0])
        return dw_fail(err, DW_E_NUMERIC, "loss is %g and the norm of the gradient of '%s' is %g",
                       r->loss, bad->plan->name, bad->norm);
    if (!finite || !isfinite(r->loss))
        return dw_fail(err, DW_E_NUMERIC, "loss is %g and the gradient's norm is %g", r->loss,
                       *norm);
    return DW_OK;
}

/* Only whole steps of these kinds may be left out; anything else stops the run. */
static bool may_skip(dw_status st, const dw_step_result *r)
{
    return st == DW_E_NUMERIC || (st == DW_E_INPUT && r->tokens > 0 && r->trained_tokens == 0);
}

static dw_status after_skip(dw_live *l, dw_status why, const dw_err *reason, dw_err *err)
{
    dw_log(DW_WARN, "train", "step %" PRIu64 " is left out, weights unchanged: %s", l->job.step,
           reason->text);
    if (++l->state.skipped_in_a_row < MAX_SKIPPED)
        return DW_OK;
    dw_err save_err = {{0}};
    if (dw_live_save(l, &save_err) < 0)
        dw_log(DW_ERROR, "train", "%s", save_err.text);
    return dw_fail(err, why,
                   "%d steps in a row could not be applied; the last one, %" PRIu64
                   ": %s. The state is saved; lower the learning rate or look at the rows",
                   MAX_SKIPPED, l->job.step, reason->text);
}

/* What ends the run has not touched the weights: the steps before it are kept. */
static void save_before_end(dw_live *l)
{
    dw_err err = {{0}};
    if (l->job.step == 0 || l->job.step == l->saved_step)
        return;
    if (dw_live_save(l, &err) < 0)
        dw_log(DW_ERROR, "train", "%s", err.text);
    else
        dw_log(DW_WARN, "train", "the %" PRIu64 " steps so far are saved; dowel resume %s",
               l->job.step, dw_stages_whole(&l->job.arena, l->o->out));
}

static dw_status one_step(dw_live *l, dw_err *err)
{
    double begun = dw_now();
    dw_job *job = &l->job;
    dw_step_result r;
    dw_err reason = {{0}};
    const dw_live_model *lead = dw_models_lead(job);
    step_numbers n = {.loss = NAN, .norm = NAN};
    dw_metrics_clear(&l->metrics);
    job->sink = &l->metrics;
    dw_status st = try_step(l, &r, &n.norm, &reason);
    job->sink = NULL;
    n.skipped = may_skip(st, &r);
    if (st < 0 && !n.skipped) {
        *err = reason;
        dw_err_prefix(err, "step %" PRIu64, job->step + 1);
        save_before_end(l);
        return st;
    }
    n.lr = dw_models_rate(job, lead, job->step);
    if (!n.skipped) {
        n.loss = r.loss;
        dw_models_update(job, job->step);
        dw_references_stepped(job);
        DW_TRY(dw_step_end(job, job->step, err));
        DW_TRY(dw_mix_after(job->mix, &l->metrics, n.loss, n.norm, err));
        l->state.skipped_in_a_row = 0;
    }
    job->step++;
    l->state.n_tokens += r.tokens;
    n.seconds = dw_now() - begun;
    DW_TRY(write_step(l, &n, err));
    show_step(l, &n, r.tokens);
    warn_when_stale(l);
    return n.skipped ? after_skip(l, st, &reason, err) : DW_OK;
}

/* ---- evaluation ---- */

static dw_status keep_best(dw_live *l, const dw_live_task *t, dw_err *err)
{
    dw_buf b = {0};
    dw_buf_printf(&b, "{\"step\":%" PRIu64 ",\"task\":", l->job.step);
    dw_json_put_cstr(&b, t->plan->name);
    dw_buf_adds(&b, ",\"metric\":");
    dw_json_put_cstr(&b, t->plan->eval->metric);
    dw_buf_adds(&b, ",\"value\":");
    dw_json_put_num(&b, t->best);
    dw_buf_adds(&b, "}\n");
    dw_status st = dw_live_export(l, dw_models_lead(&l->job), "best", "best.json", &b, err);
    dw_buf_finish(&b);
    return st;
}

static dw_status write_eval(dw_live *l, const dw_metrics *m, double seconds, dw_err *err)
{
    dw_buf b = {0};
    dw_buf_printf(&b, "{\"step\":%" PRIu64, l->job.step);
    dw_metrics_put(m, &b);
    put_number(&b, "eval_time", seconds);
    dw_buf_adds(&b, "}\n");
    dw_status st = dw_writer_put(l->metrics_log, b.ptr, b.len, err);
    if (st >= 0)
        st = dw_writer_flush(l->metrics_log, err);
    dw_buf_finish(&b);
    return st;
}

static void say_eval(dw_live *l, const dw_live_task *t, const dw_metrics *m)
{
    char name[512];
    snprintf(name, sizeof name, "%seval_%s", t->prefix, t->plan->eval->metric);
    const dw_metric *x = dw_metrics_find(m, name);
    double ci = x ? dw_metric_ci95(x) : NAN;
    char interval[32] = "";
    if (isfinite(ci))
        snprintf(interval, sizeof interval, " +- %.2g", ci);
    dw_progress_say(&l->progress, "step %" PRIu64 "  %s %.4g%s over %zu rows%s", l->job.step, name,
                    x ? dw_metric_value(x) : NAN, interval, dw_dataset_len(t->eval),
                    t->best_step == l->job.step ? "  (best so far)" : "");
}

/* best/ follows the first task that is evaluated. */
static bool leads(const dw_job *job, const dw_live_task *t)
{
    for (size_t i = 0; i < job->n_task; i++)
        if (job->task[i].eval)
            return &job->task[i] == t;
    return false;
}

static dw_status eval_one(dw_live *l, dw_live_task *t, dw_err *err)
{
    dw_metrics m = {0};
    double begun = dw_now();
    bool gained = false;
    dw_status st = dw_eval_task(t, &m, err);
    if (st >= 0)
        st = dw_eval_book(t, &m, l->job.step, &gained, err);
    if (st >= 0)
        st = dw_mix_measured(l->job.mix, &m, err);
    if (st >= 0)
        st = write_eval(l, &m, dw_now() - begun, err);
    if (st >= 0) {
        say_eval(l, t, &m);
        uint32_t patience = t->plan->eval->patience;
        if (patience > 0 && t->without_gain >= patience)
            l->state.stopped_early = true;
    }
    if (st >= 0 && gained && l->job.step > 0 && leads(&l->job, t))
        st = keep_best(l, t, err);
    dw_metrics_finish(&m);
    return st;
}

static bool eval_due(const dw_live *l, const dw_live_task *t)
{
    const dw_plan_eval *e = t->plan->eval;
    uint64_t step = l->job.step;
    if (!t->eval)
        return false;
    if (step == 0)
        return e->at_start;
    return step == l->job.plan->steps || (e->every > 0 && step % e->every == 0);
}

static dw_status eval_due_tasks(dw_live *l, dw_err *err)
{
    for (size_t i = 0; i < l->job.n_task; i++)
        if (eval_due(l, &l->job.task[i]))
            DW_TRY(eval_one(l, &l->job.task[i], err));
    return DW_OK;
}

static dw_status eval_all(dw_live *l, dw_err *err)
{
    if (l->state.seen_eval_step == l->job.step + 1)
        return DW_OK;
    dw_status st = eval_due_tasks(l, err);
    if (st >= 0)
        l->state.seen_eval_step = l->job.step + 1;
    else
        save_before_end(l);
    return st;
}

/* ---- saving ---- */

/* A periodic save may fail once: the run goes on and tries again at the next one. */
static dw_status save_or_warn(dw_live *l, dw_err *err)
{
    dw_status st = dw_live_save(l, err);
    if (st >= 0) {
        l->failed_saves = 0;
        return DW_OK;
    }
    if (++l->failed_saves >= 2)
        return st;
    dw_log(DW_WARN, "train", "checkpoint-%" PRIu64 " was not saved: %s; training goes on",
           l->job.step, err->text);
    err->text[0] = 0;
    return DW_OK;
}

static dw_status stop_saved(dw_live *l, int sig, dw_err *err)
{
    DW_TRY(dw_live_save(l, err));
    dw_progress_say(&l->progress,
                    "saved %s/checkpoint-%" PRIu64 "\n  resume with:  dowel resume %s", l->o->out,
                    l->job.step, dw_stages_whole(&l->job.arena, l->o->out));
    err->text[0] = 0;
    return sig == SIGTERM ? DW_E_SIGTERM : DW_E_SIGINT;
}

static dw_status export_merged(dw_live *l, const dw_live_model *m, dw_err *err)
{
    dw_stage s;
    DW_TRY(dw_stage_begin(&s, dw_live_path(l, "merged"), true, err));
    dw_status st = dw_model_save(m->m, s.path, l->job.plan->save_dtype, err);
    if (st < 0) {
        dw_stage_abort(&s);
        return st;
    }
    return dw_stage_commit(&s, err);
}

/* The lead goes to final/, last, since that folder says that a run is finished; every other model
 * that trained to final-NAME/. */
static dw_status export_all(dw_live *l, dw_err *err)
{
    const dw_live_model *lead = dw_models_lead(&l->job);
    for (size_t i = 0; i < l->job.n_models; i++) {
        const dw_live_model *m = &l->job.models[i];
        char name[128];
        snprintf(name, sizeof name, "final-%s", m->plan->name);
        if (m != lead && m->plan->trains)
            DW_TRY(dw_live_export(l, m, name, NULL, NULL, err));
    }
    if (l->job.plan->save_merged && dw_model_has_adapter(lead->m))
        DW_TRY(export_merged(l, lead, err));
    return dw_live_export(l, lead, "final", NULL, NULL, err);
}

static void say_further(dw_live *l)
{
    const dw_live_model *lead = dw_models_lead(&l->job);
    for (size_t i = 0; i < l->job.n_models; i++) {
        const dw_live_model *m = &l->job.models[i];
        if (m != lead && m->plan->trains)
            dw_progress_say(&l->progress, "the trained %s '%s' is in %s/final-%s",
                            dw_model_has_adapter(m->m) ? "adapter" : "model", m->plan->name,
                            l->o->out, m->plan->name);
    }
}

static dw_status finish(dw_live *l, dw_err *err)
{
    const dw_live_model *lead = dw_models_lead(&l->job);
    DW_TRY(export_all(l, err));
    DW_TRY(dw_writer_flush(l->metrics_log, err));
    DW_TRY(dw_fsync_path(dw_live_path(l, "metrics.jsonl"), err));
    dw_progress_end(&l->progress);
    dw_buf table = {0};
    dw_eval_table(dw_live_path(l, "metrics.jsonl"), &table);
    if (table.len > 0)
        dw_progress_say(&l->progress, "\n%s", table.ptr);
    dw_buf_finish(&table);
    bool best = dw_dir_exists(dw_live_path(l, "best"));
    const char *limit = dw_mix_stop(l->job.mix);
    if (limit)
        dw_progress_say(&l->progress, "stopped at step %" PRIu64 ": %s", l->job.step, limit);
    else if (l->state.stopped_early)
        dw_progress_say(&l->progress,
                        "stopped at step %" PRIu64 ": no gain for as many evaluations "
                        "as the recipe allows",
                        l->job.step);
    dw_progress_say(&l->progress, "the trained %s is in %s/final%s%s%s",
                    dw_model_has_adapter(lead->m) ? "adapter" : "model", l->o->out,
                    best ? ", the best by evaluation in " : "", best ? l->o->out : "",
                    best ? "/best" : "");
    say_further(l);
    if (dw_model_top(lead->m) == DW_TOP_LM)
        dw_progress_say(&l->progress, "  next:  dowel generate %s/final   or   dowel show %s",
                        l->o->out, l->o->out);
    else
        dw_progress_say(&l->progress, "  next:  dowel show %s", l->o->out);
    return DW_OK;
}

static dw_status train(dw_live *l, dw_err *err)
{
    const dw_plan *p = l->job.plan;
    DW_TRY(eval_all(l, err));
    while (l->job.step < p->steps && !l->state.stopped_early) {
        if (caught)
            return stop_saved(l, caught, err);
        DW_TRY(one_step(l, err));
        DW_TRY(eval_all(l, err));
        if (dw_mix_stop(l->job.mix))
            l->state.stopped_early = true;
        if (l->o->stop_at && l->job.step >= l->o->stop_at)
            return stop_saved(l, SIGINT, err);
        if (caught)
            return stop_saved(l, caught, err);
        if (p->save_every > 0 && l->job.step % p->save_every == 0)
            DW_TRY(save_or_warn(l, err));
    }
    return finish(l, err);
}

dw_status dw_live_train(dw_live *l, dw_err *err)
{
    handlers h;
    watch_signals(&h);
    dw_progress_begin(&l->progress, l->job.step, l->job.plan->steps, l->o->quiet);
    dw_status st = train(l, err);
    unwatch_signals(&h);
    return st;
}
