/* Scores sampled answers with models: whole ones, their steps, or their tokens. */
#include "train/reward_model.h"

#include <math.h>
#include <string.h>

#include "train/reference.h"
#include "train/score.h"
#include "train/spans.h"
#include "train/sweep.h"

static const dw_model *model_of(const dw_live_task *t, size_t k)
{
    return t->job->models[t->plan->reward[k].model].m;
}

dw_status dw_reward_model_check(const dw_live_task *t, dw_err *err)
{
    for (size_t k = 0; k < t->n_reward; k++) {
        const dw_plan_use *u = &t->plan->reward[k];
        if (u->model == DW_NO_MODEL || dw_model_top(model_of(t, k)) != DW_TOP_SEQUENCE)
            continue;
        const char *odd = u->separator                ? "separator"
                          : u->is_signed              ? "signed"
                          : u->steps != DW_STEPS_NONE ? "steps"
                                                      : NULL;
        if (odd)
            return dw_fail(err, DW_E_RECIPE,
                           "rewards.%s.%s: the model '%s' (%s) scores whole answers, and this "
                           "option is about steps; leave it out or name a token-classification "
                           "model",
                           u->name, odd, t->job->models[u->model].plan->name,
                           dw_model_dir(model_of(t, k)));
    }
    return DW_OK;
}

/* ---- whole answers ---- */

static dw_status score_answers(dw_set *s, size_t k, dw_err *err)
{
    const dw_model *m = model_of(s->task, k);
    uint32_t width = dw_model_score_width(m);
    double *out = dw_arena_alloc(s->arena, (s->n_seq * width + 1) * sizeof *out);
    DW_TRY(dw_score_marks(s->task->job, (size_t)s->task->plan->reward[k].model, s, NULL, out, err));
    for (size_t i = 0; i < s->n_seq; i++)
        s->seq[i].reward[1 + k] = dw_score_number(m, out + i * width);
    return DW_OK;
}

/* ---- steps ---- */

/* The token that byte `at` of the text lies in. */
static uint32_t token_at(const dowel_sample *x, uint64_t at)
{
    uint32_t t = 0;
    while (t + 1 < x->n_tok && x->tok_end[t] <= at)
        t++;
    return t;
}

static bool blank(const char *p, const char *end)
{
    for (; p < end; p++)
        if (!strchr(" \t\r\n", *p))
            return false;
    return true;
}

/* Marks the last token of every step; blank steps have none. */
static void mark_steps(const dowel_sample *x, const char *separator, uint8_t *mark)
{
    const char *text = x->completion.ptr, *end = text + x->completion.len, *p = text;
    size_t n = strlen(separator);
    while (p < end) {
        const char *hit = memmem(p, (size_t)(end - p), separator, n);
        const char *step_end = hit ? hit : end, *last = hit ? hit + n - 1 : end - 1;
        if (!blank(p, step_end))
            mark[token_at(x, (uint64_t)(last - text))] = 1;
        p = hit ? hit + n : end;
    }
}

/* Of the values of an answer's steps, n > 0. */
static double fold(dw_step_total how, const double *v, size_t n)
{
    double r = how == DW_STEPS_PROD ? 1 : how == DW_STEPS_MIN ? INFINITY : 0;
    for (size_t i = 0; i < n; i++)
        r = how == DW_STEPS_PROD   ? r * v[i]
            : how == DW_STEPS_MIN  ? fmin(r, v[i])
            : how == DW_STEPS_MEAN ? r + v[i] / (double)n
                                   : v[i];
    return r;
}

static dw_status score_steps(dw_set *s, size_t k, const dowel_sample *x, dw_err *err)
{
    const dw_plan_use *u = &s->task->plan->reward[k];
    const dw_model *m = model_of(s->task, k);
    uint32_t width = dw_model_score_width(m);
    uint8_t *mark = dw_arena_alloc(s->arena, s->n_tok + 1);
    double *out = dw_arena_alloc(s->arena, (s->n_tok * width + 1) * sizeof *out);
    double *v = dw_arena_alloc(s->arena, (s->n_tok + 1) * sizeof *v);
    for (size_t i = 0; i < s->n_seq; i++)
        mark_steps(&x[i], u->separator ? u->separator : "\n", mark + s->seq[i].tok);
    DW_TRY(dw_score_marks(s->task->job, (size_t)u->model, s, mark, out, err));
    for (size_t i = 0; i < s->n_seq; i++) {
        size_t n = 0;
        for (uint32_t t = 0; t < x[i].n_tok; t++) {
            if (!mark[s->seq[i].tok + t])
                continue;
            double p = dw_score_number(m, out);
            out += width;
            v[n++] = u->is_signed ? 2 * p - 1 : p;
            dw_spans_put_token(s, s->seq[i].tok + t, k, v[n - 1]);
        }
        if (n > 0 && u->steps != DW_STEPS_NONE)
            s->seq[i].reward[1 + k] = fold(u->steps, v, n);
    }
    return DW_OK;
}

/* ---- tokens ---- */

static dw_status logp_of(const dw_set *s, size_t model, const double **logp, dw_err *err)
{
    const dw_job *job = s->task->job;
    const dw_view v = dw_view_logp(job->models[model].e, 0, s->temperature);
    dw_observed seen;
    DW_TRY(dw_sweep(&v, s->pack, s->n_seq, job->plan->micro_tokens, NULL, s->arena, &seen, err));
    *logp = seen.x[DW_SEEN_LOGP];
    return DW_OK;
}

static dw_status score_tokens(dw_set *s, size_t k, dw_err *err)
{
    double *ref = s->ref_logp;
    const double *logp;
    if (!ref) {
        ref = dw_arena_alloc(s->arena, (s->n_tok + 1) * sizeof *ref);
        DW_TRY(dw_reference_fill(s->task->reference, s, s->pack, false, ref, err));
    }
    DW_TRY(logp_of(s, (size_t)s->task->plan->reward[k].model, &logp, err));
    for (size_t t = 0; t < s->n_tok; t++)
        dw_spans_put_token(s, t, k, logp[t] - ref[t]);
    return DW_OK;
}

dw_status dw_reward_model_score(dw_set *s, size_t k, const dowel_sample *x, dw_err *err)
{
    for (size_t i = 0; i < s->n_seq; i++)
        s->seq[i].reward[1 + k] = NAN;
    if (s->task->plan->reward[k].implicit)
        return score_tokens(s, k, err);
    if (dw_model_top(model_of(s->task, k)) == DW_TOP_TOKEN)
        return score_steps(s, k, x, err);
    return score_answers(s, k, err);
}
