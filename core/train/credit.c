/* Calls the estimator with the whole rollout. */
#include "train/credit.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "train/batch.h"
#include "train/reward.h"
#include "train/sweep.h"

static void drop(dw_set *s, size_t i)
{
    s->seq[i].keep = false;
    if (s->seq[i].mate >= 0)
        s->seq[s->seq[i].mate].keep = false;
}

static dw_status apply_mates(dw_set *s, const dowel_credit *c, dw_err *err)
{
    bool pairs = false;
    int32_t n = (int32_t)s->n_seq;
    for (int32_t i = 0; i < n; i++) {
        int32_t m = c->mate[i];
        if (m < 0)
            continue;
        if (s->seq[i].role == DOWEL_GREEDY)
            return dw_fail(err, DW_E_PLUGIN,
                           "tasks.%s.estimator: sequence %d is a greedy answer and cannot be half "
                           "of a pair, since it is not trained",
                           s->task->plan->name, i);
        if (m >= n || m == i || c->mate[m] != i)
            return dw_fail(err, DW_E_PLUGIN,
                           "tasks.%s.estimator: sequence %d names %d as its mate, which does not "
                           "name it back",
                           s->task->plan->name, i, m);
        pairs = true;
    }
    for (int32_t i = 0; pairs && i < n; i++) {
        s->seq[i].mate = c->mate[i];
        if (c->mate[i] < 0)
            s->seq[i].keep = false;
    }
    return DW_OK;
}

static dw_status apply(dw_set *s, const dowel_credit *c, dw_err *err)
{
    for (size_t i = 0; i < s->n_seq; i++) {
        s->seq[i].weight = c->weight[i];
        s->seq[i].label = c->label[i];
    }
    DW_TRY(apply_mates(s, c, err));
    for (size_t i = 0; i < s->n_seq; i++)
        if (!c->keep[i])
            drop(s, i);
    return DW_OK;
}

/* What the policy says of the tokens now, for an estimator that asks; NULL: it does not. */
static dw_status observe(const dw_set *s, const dw_observed **out, dw_err *err)
{
    const dw_live_task *t = s->task;
    dw_view v = dw_view_logp(t->model->e, 0, s->temperature);
    dw_observed *all = dw_arena_alloc(s->arena, sizeof *all);
    *out = NULL;
    v.columns = t->estimator.ask.columns & DW_HEAD_COLUMNS;
    if (!v.columns)
        return DW_OK;
    dw_status st =
        dw_sweep(&v, s->pack, s->n_seq, t->job->plan->micro_tokens, NULL, s->arena, all, err);
    *out = all;
    return st;
}

static bool unscored(const dw_set *s, size_t i)
{
    return s->seq[i].reward && isnan(dw_reward_told(s, i, 0));
}

/* What stands in a return before the estimator writes it: a NaN that no arithmetic makes. */
static const uint64_t unwritten = UINT64_C(0x7ff8000000d03e11);

static bool is_unwritten(double x)
{
    return dw_bits(x) == unwritten;
}

static void prepare_returns(dw_set *s, dowel_credit *c)
{
    size_t n = s->n_tok * s->task->value_width;
    c->ret_width = s->task->value_width;
    c->ret = s->ret = dw_arena_alloc(s->arena, (n + 1) * sizeof *c->ret);
    for (size_t i = 0; i < n; i++)
        memcpy(&c->ret[i], &unwritten, sizeof unwritten);
}

/* Whether every token that is trained on has its returns. */
static bool has_returns(const dw_set *s, const dw_seq *q, size_t n)
{
    size_t width = s->task->value_width;
    for (size_t t = q->tok; t < q->tok + n; t++)
        for (size_t k = 0; s->mask[t] && k < width; k++)
            if (is_unwritten(s->ret[t * width + k]))
                return false;
    return true;
}

/* An estimator need not know of critics; an objective that learns values would then learn zeros. */
static dw_status finish_returns(dw_set *s, dw_err *err)
{
    const dw_live_task *t = s->task;
    const char *reader = NULL;
    for (size_t k = 0; k < t->n_objective; k++)
        if (t->objective[k].ask.columns & DOWEL_BIT(DOWEL_RETURN))
            reader = dw_instance_name(t->objective[k].inst);
    for (size_t i = 0; reader && i < s->n_seq; i++)
        if (s->seq[i].keep && !has_returns(s, &s->seq[i], s->pack[i].n_completion))
            return dw_fail(err, DW_E_RECIPE,
                           "%s learns values from returns, and %s makes none; "
                           "take gae, or an objective without values",
                           reader, dw_instance_name(t->estimator.inst));
    for (size_t i = 0; i < s->n_tok * t->value_width; i++)
        if (is_unwritten(s->ret[i]))
            s->ret[i] = 0;
    return DW_OK;
}

dw_status dw_credit_assign(dw_set *s, dw_err *err)
{
    dw_live_task *t = s->task;
    size_t n = s->n_seq;
    const dw_observed *seen;
    s->advantage = dw_arena_alloc(s->arena, (s->n_tok + 1) * sizeof(double));
    if (t->estimator.inst) {
        dowel_credit c = {.size = sizeof c,
                          .advantage = s->advantage,
                          .weight = dw_arena_alloc(s->arena, (n + 1) * sizeof(double)),
                          .label = dw_arena_alloc(s->arena, (n + 1) * sizeof(double)),
                          .mate = dw_arena_alloc(s->arena, (n + 1) * sizeof(int32_t)),
                          .keep = dw_arena_alloc(s->arena, n + 1)};
        for (size_t i = 0; i < n; i++) {
            c.weight[i] = 1;
            c.mate[i] = -1;
            c.keep[i] = 1;
        }
        if (t->critic)
            prepare_returns(s, &c);
        dw_batch b;
        DW_TRY(observe(s, &seen, err));
        dw_batch_build(&b, s->arena, s, 0, n, seen, &t->estimator);
        DW_TRY(dw_call_estimate(t->estimator.inst, &b.b, &c, err));
        DW_TRY(apply(s, &c, err));
    }
    for (size_t i = 0; i < n; i++)
        if (unscored(s, i) || s->seq[i].role == DOWEL_GREEDY)
            drop(s, i);
    return s->ret ? finish_returns(s, err) : DW_OK;
}
