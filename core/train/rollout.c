/* Samples answers with the engine that will train on them. */
#include "train/rollout.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "train/extras.h"
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

/* A number for the k-th answer of a draw to a prompt: kept in stored runs, so it may never change.
 */
static uint64_t id_of(const dw_rollout_spec *r, const dw_draw *d, size_t row, size_t k)
{
    return (uint64_t)d->kind << 56 | (r->number[row] * d->per_prompt + k);
}

static dw_status add_sequence(dw_set *s, const dw_rollout_spec *r, const dw_draw *d, size_t row,
                              size_t k, dw_err *err)
{
    const dw_tokenizer *tok = dw_model_tokenizer(s->task->model->m);
    const dw_row *from = r->row[row];
    const dw_gen_item *it = &d->item[row * d->per_prompt + k];
    dw_buf text = {0};
    dw_buf_adds(&text, "");
    dw_status st = dw_tokenizer_decode(tok, it->id, it->n, true, &text, err);
    dw_seq q = {.row = from,
                .id = id_of(r, d, row, k),
                .weight = 1,
                .target = 1,
                .rank = NAN,
                .mate = -1,
                .group = (int32_t)row,
                .place = (uint32_t)s->n_seq,
                .role = d->role,
                .stop = (uint8_t)it->finish};
    q.completion_text = dw_arena_strndup(s->arena, text.ptr ? text.ptr : "", text.len);
    q.completion_len = text.len;
    dw_buf_finish(&text);
    if (st < 0)
        return st;
    int32_t *id = dw_arena_alloc(s->arena, (it->n + 1) * sizeof *id);
    memcpy(id, it->id, it->n * sizeof *id);
    if (it->n == 0 || !dw_set_add(s, &q, from->prompt, from->n_prompt, id, it->n))
        return dw_fail(err, DW_E_INPUT, "prompt %zu gave an empty answer or is empty itself", row);
    return DW_OK;
}

static void put_logp(dw_set *s, const dw_rollout_spec *r, const dw_draw *d, size_t n_draw)
{
    size_t at = 0;
    for (size_t row = 0; row < r->n; row++)
        for (size_t i = 0; i < n_draw; i++)
            for (size_t k = 0; k < d[i].per_prompt; k++) {
                const dw_gen_item *it = &d[i].item[row * d[i].per_prompt + k];
                memcpy(s->sampler_logp + s->seq[at++].tok, it->logp, it->n * sizeof(double));
            }
}

/* Prompt after prompt: the policy's answers, then the others. */
static dw_status collect(dw_set *s, const dw_rollout_spec *r, const dw_draw *d, size_t n_draw,
                         dw_err *err)
{
    for (size_t row = 0; row < r->n; row++)
        for (size_t i = 0; i < n_draw; i++)
            for (size_t k = 0; k < d[i].per_prompt; k++)
                DW_TRY(add_sequence(s, r, &d[i], row, k, err));
    s->old_logp = dw_arena_alloc(s->arena, (s->n_tok + 1) * sizeof(double));
    s->sampler_logp = dw_arena_alloc(s->arena, (s->n_tok + 1) * sizeof(double));
    put_logp(s, r, d, n_draw);
    memcpy(s->old_logp, s->sampler_logp, s->n_tok * sizeof(double));
    dw_set_seal(s);
    return n_draw > 1 ? dw_extras_score(s, err) : DW_OK;
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

static dw_status sample(dw_live_task *t, const dw_rollout_spec *r, dw_draw *d, dw_err *err)
{
    size_t n = r->n * d->per_prompt;
    dw_generator *gen;
    dw_sampling s = sampling(t, r);
    DW_TRY(dw_extras_sampler(t, d->kind, &s, &gen, err));
    d->item = dw_zalloc(n + 1, sizeof *d->item);
    for (size_t i = 0; i < n; i++) {
        size_t row = i / d->per_prompt;
        uint64_t k = (uint64_t)d->kind << 32 | i % d->per_prompt;
        d->item[i].prompt = r->row[row]->prompt;
        d->item[i].n_prompt = r->row[row]->n_prompt;
        d->item[i].key = dw_random(t->seed, DW_RNG_SAMPLE, r->number[row], k);
    }
    watch w = {.job = t->job, .item = d->item, .n = n};
    return dw_generate(gen, &s, d->item, n, on_token, &w, err);
}

static void draws_finish(dw_draw *d, size_t n_draw, size_t rows)
{
    for (size_t i = 0; i < n_draw; i++) {
        for (size_t k = 0; d[i].item && k < rows * d[i].per_prompt; k++)
            dw_gen_item_finish(&d[i].item[k]);
        dw_free(d[i].item);
    }
}

dw_status dw_rollout(dw_live_task *t, dw_arena *a, const dw_rollout_spec *r, uint64_t step,
                     dw_set *out, dw_err *err)
{
    dw_draw d[DW_MAX_DRAWS] = {{.role = DOWEL_TRAINED, .per_prompt = r->samples}};
    size_t n_draw = 1, n = 0;
    dw_status st = DW_OK;
    if (r->extras)
        n_draw += dw_extras_list(t, d + 1);
    for (size_t i = 0; i < n_draw && st >= 0; i++) {
        st = sample(t, r, &d[i], err);
        n += r->n * d[i].per_prompt;
    }
    if (st >= 0) {
        dw_set_init(out, t, a, n, step);
        out->temperature = r->greedy ? 1 : t->plan->rollout->temperature;
        st = collect(out, r, d, n_draw, err);
        out->max_tok = t->plan->rollout->max_tokens;
    }
    draws_finish(d, n_draw, r->n);
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
                         .extras = true,
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
        if (s->seq[i].role != DOWEL_TRAINED)
            continue;
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
