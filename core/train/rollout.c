/* Samples answers with the engine that will train on them. */
#include "train/rollout.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "train/progress.h"

typedef struct watch {
    dw_job *job;
    dw_gen_item *item;
    size_t n, done, tokens;
} watch;

static bool on_token(void *ctx, const dw_gen_item *it, size_t item)
{
    (void)item;
    watch *w = ctx;
    w->tokens++;
    if (it->finish)
        w->done++;
    if (w->job->progress && w->tokens % 64 == 0)
        dw_progress_phase(w->job->progress, "sampling", w->done, w->n);
    return true;
}

static dw_status add_sequence(dw_set *s, const dw_row *row, const dw_gen_item *it, size_t i,
                              const dw_rollout_spec *r, dw_err *err)
{
    const dw_tokenizer *tok = dw_model_tokenizer(s->task->model->m);
    dw_buf text = {0};
    dw_buf_adds(&text, "");
    dw_status st = dw_tokenizer_decode(tok, it->id, it->n, true, &text, err);
    dw_seq q = {.row = row,
                .id = r->number[i / r->samples] * r->samples + i % r->samples,
                .weight = 1,
                .target = 1,
                .rank = NAN,
                .mate = -1,
                .group = (int32_t)(i / r->samples),
                .place = (uint32_t)i,
                .stop = (uint8_t)it->finish};
    q.completion_text = dw_arena_strndup(s->arena, text.ptr ? text.ptr : "", text.len);
    q.completion_len = text.len;
    dw_buf_finish(&text);
    if (st < 0)
        return st;
    int32_t *id = dw_arena_alloc(s->arena, (it->n + 1) * sizeof *id);
    memcpy(id, it->id, it->n * sizeof *id);
    if (it->n == 0 || !dw_set_add(s, &q, row->prompt, row->n_prompt, id, it->n))
        return dw_fail(err, DW_E_INPUT, "prompt %zu gave an empty answer or is empty itself", i);
    return DW_OK;
}

static dw_status collect(dw_set *s, dw_gen_item *item, const dw_rollout_spec *r, dw_err *err)
{
    size_t n = r->n * r->samples;
    for (size_t i = 0; i < n; i++)
        DW_TRY(add_sequence(s, r->row[i / r->samples], &item[i], i, r, err));
    s->old_logp = dw_arena_alloc(s->arena, (s->n_tok + 1) * sizeof(double));
    for (size_t i = 0; i < n; i++)
        memcpy(s->old_logp + s->seq[i].tok, item[i].logp, item[i].n * sizeof(double));
    s->sampler_logp = dw_arena_alloc(s->arena, (s->n_tok + 1) * sizeof(double));
    memcpy(s->sampler_logp, s->old_logp, s->n_tok * sizeof(double));
    dw_set_seal(s);
    return DW_OK;
}

static dw_sampling sampling(const dw_live_task *t, const dw_rollout_spec *r)
{
    const dw_plan_rollout *p = t->plan->rollout;
    dw_sampling s = {.greedy = r->greedy,
                     .temperature = p->temperature,
                     .top_k = p->top_k,
                     .top_p = p->top_p,
                     .min_p = p->min_p,
                     .max_new = p->max_tokens,
                     .stop_string = p->stop,
                     .n_stop_string = p->n_stop,
                     .seed = r->seed};
    s.n_stop = dw_model_stops(t->model->m, &s.stop);
    return s;
}

dw_status dw_rollout(dw_live_task *t, dw_arena *a, const dw_rollout_spec *r, uint64_t step,
                     dw_set *out, dw_err *err)
{
    dw_job *job = t->job;
    size_t n = r->n * r->samples;
    if (!t->model->gen)
        DW_TRY(dw_generator_create(t->model->m, &t->model->gen, err));
    dw_gen_item *item = dw_zalloc(n + 1, sizeof *item);
    for (size_t i = 0; i < n; i++) {
        const dw_row *row = r->row[i / r->samples];
        item[i].prompt = row->prompt;
        item[i].n_prompt = row->n_prompt;
        item[i].key = dw_random(t->seed, DW_RNG_SAMPLE, r->number[i / r->samples], i % r->samples);
    }
    watch w = {.job = job, .item = item, .n = n};
    dw_sampling s = sampling(t, r);
    dw_status st = dw_generate(t->model->gen, &s, item, n, on_token, &w, err);
    if (st >= 0) {
        dw_set_init(out, t, a, n, step);
        out->temperature = r->greedy ? 1 : s.temperature;
        st = collect(out, item, r, err);
        out->max_tok = s.max_new;
    }
    for (size_t i = 0; i < n; i++)
        dw_gen_item_finish(&item[i]);
    dw_free(item);
    return st;
}

dw_status dw_rollout_step(dw_live_task *t, dw_arena *a, uint64_t first, uint32_t n, uint64_t step,
                          dw_set *out, dw_err *err)
{
    const dw_row **row = dw_arena_alloc(a, n * sizeof *row);
    uint64_t *number = dw_arena_alloc(a, n * sizeof *number);
    for (size_t i = 0; i < n; i++) {
        number[i] = first + i;
        row[i] = dw_set_row(t, first + i);
    }
    dw_rollout_spec r = {.row = row,
                         .number = number,
                         .n = n,
                         .samples = t->plan->rollout->samples,
                         .seed = t->seed};
    return dw_rollout(t, a, &r, step, out, err);
}

static void add(dw_metrics *to, const char *prefix, const char *name, uint32_t fold, double value)
{
    dw_buf full = {0};
    dw_buf_printf(&full, "%scompletions/%s", prefix, name);
    dw_metrics_add(to, full.ptr, fold, value, 1);
    dw_buf_finish(&full);
}

void dw_rollout_metrics(const dw_set *s, const char *prefix, dw_metrics *to)
{
    for (size_t i = 0; i < s->n_seq; i++) {
        double n = s->pack[i].n_completion;
        bool cut = s->seq[i].stop == DOWEL_STOP_LENGTH;
        add(to, prefix, "mean_length", DOWEL_MEAN, n);
        add(to, prefix, "min_length", DOWEL_MIN, n);
        add(to, prefix, "max_length", DOWEL_MAX, n);
        add(to, prefix, "clipped_ratio", DOWEL_MEAN, cut);
        if (cut)
            continue;
        add(to, prefix, "mean_terminated_length", DOWEL_MEAN, n);
        add(to, prefix, "min_terminated_length", DOWEL_MIN, n);
        add(to, prefix, "max_terminated_length", DOWEL_MAX, n);
    }
}
