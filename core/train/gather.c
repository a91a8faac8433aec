/* Takes what a task trains on in one step: rows, or sampled answers with their rewards. */
#include "train/gather.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "train/constants.h"
#include "train/credit.h"
#include "train/demonstrate.h"
#include "train/extras.h"
#include "train/held.h"
#include "train/reward.h"
#include "train/rollout.h"
#include "train/store.h"

/* ---- dynamic sampling: groups whose answers all score alike teach nothing ---- */

static int part_of(const dw_live_task *t, const char *name)
{
    for (size_t i = 0; name[0] && i < t->n_reward; i++)
        if (!strcmp(t->part[i], name))
            return 1 + (int)i;
    return 0;
}

/* Does the group of sequence i hold two different scores? */
static bool spreads(const dw_set *s, size_t i, int part)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t k = 0; k < s->n_seq; k++) {
        if (s->seq[k].group != s->seq[i].group || s->seq[k].role != DOWEL_TRAINED)
            continue;
        double r = s->seq[k].reward[part];
        low = fmin(low, isnan(r) ? low : r);
        high = fmax(high, isnan(r) ? high : r);
    }
    return high - low > 1e-8 * fmax(1, fabs(high));
}

/* Marks what is dropped; how many groups stay. */
static uint32_t filter(dw_set *s, int part)
{
    uint32_t kept = 0;
    for (size_t i = 0; i < s->n_seq; i++) {
        bool first = i == 0 || s->seq[i].group != s->seq[i - 1].group;
        s->seq[i].keep = first ? spreads(s, i, part) : s->seq[i - 1].keep;
        kept += first && s->seq[i].keep;
    }
    return kept;
}

static void put_metric(dw_live_task *t, const char *name, double value)
{
    char full[256];
    if (!t->job->sink)
        return;
    snprintf(full, sizeof full, "%s%s", t->prefix, name);
    dw_metrics_set(t->job->sink, full, value);
}

static dw_status sample(dw_live_task *t, dw_arena *a, uint64_t first, uint32_t n, uint64_t step,
                        dw_set *out, dw_err *err)
{
    DW_TRY(dw_rollout_step(t, a, first, n, step, out, err));
    if (t->job->sink)
        dw_rollout_metrics(out, t->prefix, t->job->sink);
    return dw_reward_score(out, err);
}

/* Samples until `rows` groups differ in themselves, or the tries are used up. */
static dw_status sample_dynamic(dw_live_task *t, dw_arena *a, uint64_t step, dw_set *out,
                                uint64_t *used, dw_err *err)
{
    const dw_plan_rollout *r = t->plan->rollout;
    dw_set *some = dw_arena_alloc(a, (r->tries + 1) * sizeof *some);
    uint32_t kept = 0, tries = 0;
    size_t n = 0;
    for (*used = 0; tries < r->tries && kept < t->plan->rows; tries++) {
        uint32_t need = t->plan->rows - kept;
        dw_set *s = &some[tries];
        DW_TRY(sample(t, a, t->cursor + *used, need, step, s, err));
        *used += need;
        kept += filter(s, part_of(t, r->dynamic));
        if (t->job->samples) {
            dw_set dropped = *s;
            dw_reward_log(&dropped, step + 1, true, t->job->samples);
        }
        dw_set_compact(s);
        n += s->n_seq;
    }
    put_metric(t, "dynamic/prompts", (double)*used);
    put_metric(t, "dynamic/frac_dropped", 1 - (double)kept / (double)*used);
    dw_pick *pick = dw_arena_alloc(a, (n + 1) * sizeof *pick);
    size_t at = 0;
    for (uint32_t k = 0; k < tries; k++)
        for (size_t i = 0; i < some[k].n_seq; i++)
            pick[at++] = (dw_pick){&some[k], i};
    if (n == 0)
        *out = some[0];
    else
        dw_set_pick(out, a, pick, n);
    out->step = step;
    return DW_OK;
}

/* ---- recorded rollouts ---- */

/* What was recorded for another recipe may lack the answers that this one's plugins ask for. */
static dw_status check_extras(const dw_live_task *t, const dw_set *s, dw_err *err)
{
    dw_draw draw[DW_MAX_DRAWS];
    size_t n = dw_extras_list(t, draw);
    for (size_t k = 0; k < n; k++) {
        size_t i = 0;
        while (i < s->n_seq && s->seq[i].role != draw[k].role)
            i++;
        if (i == s->n_seq)
            return dw_fail(err, DW_E_INPUT,
                           "tasks.%s: the recipe's plugins ask for %s beside the policy's own, and "
                           "the recorded rollout has none; record one with such a recipe",
                           t->plan->name,
                           draw[k].role == DOWEL_GREEDY ? "greedy answers"
                                                        : "answers of the reference");
    }
    return DW_OK;
}

static dw_status replay(dw_live_task *t, dw_arena *a, uint64_t step, dw_set *out, dw_err *err)
{
    const dw_tokenizer *tok = dw_model_tokenizer(t->model->m);
    const dw_job *job = t->job;
    DW_TRY(dw_store_take(job->replay, t, t->rollouts, false, a, out, err));
    DW_TRY(check_extras(t, out, err));
    out->step = step;
    for (size_t i = 0; i < out->n_seq; i++) {
        dw_seq *q = &out->seq[i];
        dw_buf text = {0};
        if (q->completion_len > 0)
            continue;
        dw_buf_adds(&text, "");
        dw_status st = dw_tokenizer_decode(tok, out->pack[i].completion, out->pack[i].n_completion,
                                           true, &text, err);
        q->completion_text = dw_arena_strndup(a, text.ptr, text.len);
        q->completion_len = text.len;
        dw_buf_finish(&text);
        DW_TRY(st);
    }
    if (job->sink)
        dw_rollout_metrics(out, t->prefix, job->sink);
    return job->score_again ? dw_reward_score(out, err) : DW_OK;
}

static dw_status record(dw_live_task *t, dw_set *s, uint64_t step, dw_err *err)
{
    dw_arena a = {0};
    dw_buf b = {0};
    DW_TRY(dw_mkdirs(t->job->record, err));
    dw_store_put(s, step + 1, &b);
    char *name = dw_arena_printf(&a, "%s-%08" PRIu64 ".jsonl", t->plan->name, step + 1);
    dw_status st =
        dw_file_write(dw_path_join(&a, t->job->record, name), b.ptr ? b.ptr : "", b.len, err);
    dw_buf_finish(&b);
    dw_arena_finish(&a);
    return st;
}

/* ---- a rollout, ready to train on ---- */

static dw_status collect(dw_live_task *t, dw_arena *a, uint64_t step, dw_set *out, uint64_t *used,
                         dw_err *err)
{
    dw_job *job = t->job;
    *used = t->plan->rows;
    if (job->replay)
        DW_TRY(replay(t, a, step, out, err));
    else if (t->plan->rollout->dynamic)
        DW_TRY(sample_dynamic(t, a, step, out, used, err));
    else
        DW_TRY(sample(t, a, t->cursor, t->plan->rows, step, out, err));
    if (job->record)
        DW_TRY(record(t, out, step, err));
    if (out->n_seq == 0)
        return DW_OK;
    if (t->plan->rollout->demonstrate)
        DW_TRY(dw_demonstrate(out, err));
    DW_TRY(dw_constants_fill(out, false, err));
    DW_TRY(dw_credit_assign(out, err));
    if (job->sink)
        dw_reward_metrics(out, t->prefix, job->sink);
    if (job->samples)
        dw_reward_log(out, step + 1, false, job->samples);
    dw_set_compact(out);
    return DW_OK;
}

static dw_status gather_rollout(dw_live_task *t, dw_arena *a, uint64_t step, dw_set *out,
                                dw_err *err)
{
    const dw_plan_rollout *r = t->plan->rollout;
    if (r->epochs * r->minibatches == 1)
        return collect(t, a, step, out, &t->used, err);
    if (!t->held)
        t->held = dw_zalloc(1, sizeof *t->held);
    dw_held *h = t->held;
    uint64_t sampled = 0;
    if (!h->live) {
        dw_held_clear(h);
        DW_TRY(collect(t, &h->arena, step, &h->set, &t->used, err));
        if (h->set.n_seq == 0) {
            *out = h->set;
            return DW_OK;
        }
        dw_held_begin(h, t, t->used, t->rollouts);
        sampled = h->set.input_tokens;
    }
    dw_held_part(h, a, step, out);
    out->input_tokens = sampled;
    return DW_OK;
}

dw_status dw_gather(dw_live_task *t, dw_arena *a, uint64_t step, dw_set *out, dw_err *err)
{
    if (t->plan->rollout)
        return gather_rollout(t, a, step, out, err);
    DW_TRY(dw_set_from_rows(out, t, a, t->cursor, t->plan->rows, step, err));
    return dw_constants_fill(out, true, err);
}

/* ---- going on ---- */

/* The policy has left the one that sampled: the rest of the rollout would teach it wrong. */
static bool drifted(const dw_live_task *t, const dw_set *s)
{
    double most = t->plan->rollout->max_kl;
    return s && most > 0 && s->drift_tokens > 0 && s->drift / s->drift_tokens > most;
}

void dw_gather_advance(dw_live_task *t, const dw_set *trained)
{
    dw_held *h = t->held;
    if (!t->plan->rollout) {
        t->cursor += t->plan->rows;
        return;
    }
    if (h && h->live) {
        if (trained && trained->drift_tokens > 0)
            put_metric(t, "drift_kl", trained->drift / trained->drift_tokens);
        h->at++;
        if (h->at < h->of && !drifted(t, trained))
            return;
        put_metric(t, "rollout_steps", h->at);
        t->used = h->rows;
        dw_held_clear(h);
    }
    t->cursor += t->used;
    t->rollouts++;
}

/* ---- checkpoints ---- */

static const char *file_of(dw_arena *a, const dw_live_task *t, const char *dir)
{
    return dw_path_join(a, dir, dw_arena_printf(a, "held-%s.jsonl", t->plan->name));
}

dw_status dw_gather_save(dw_live_task *t, const char *dir, dw_err *err)
{
    dw_arena a = {0};
    dw_buf b = {0};
    if (!t->held || !t->held->live)
        return DW_OK;
    dw_store_put(&t->held->set, t->rollouts + 1, &b);
    dw_status st = dw_file_write(file_of(&a, t, dir), b.ptr, b.len, err);
    dw_buf_finish(&b);
    dw_arena_finish(&a);
    return st;
}

dw_status dw_gather_restore(dw_live_task *t, const char *dir, uint32_t at, uint64_t rows,
                            dw_err *err)
{
    dw_arena a = {0};
    dw_store *s = NULL;
    if (!t->held)
        t->held = dw_zalloc(1, sizeof *t->held);
    dw_held *h = t->held;
    dw_held_clear(h);
    dw_status st = dw_store_open(file_of(&a, t, dir), &s, err);
    if (st >= 0)
        st = dw_store_take(s, t, 0, true, &h->arena, &h->set, err);
    if (st >= 0) {
        dw_held_begin(h, t, rows, t->rollouts);
        h->at = at;
    }
    dw_store_close(s);
    dw_arena_finish(&a);
    return st;
}

void dw_gather_close(dw_live_task *t)
{
    if (t->held)
        dw_held_clear(t->held);
    dw_free(t->held);
    t->held = NULL;
}
