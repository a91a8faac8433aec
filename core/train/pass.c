/* Runs a set of sequences through model and objectives, micro-batch by micro-batch. */
#include "train/pass.h"

#include <math.h>
#include <string.h>

#include "train/batch.h"

/* ---- gradients of several objectives, summed per token ---- */

typedef struct grads {
    double *logp, *entropy, *mean_logp; /* [n_tok]; NULL where nobody writes */
} grads;

static grads grads_make(dw_arena *a, const dw_live_task *t, size_t n)
{
    size_t bytes = (n + 1) * sizeof(double);
    return (grads){.logp = dw_arena_alloc(a, bytes),
                   .entropy = t->entropy_grad ? dw_arena_alloc(a, bytes) : NULL,
                   .mean_logp = t->mean_logp_grad ? dw_arena_alloc(a, bytes) : NULL};
}

static void add_scaled(double *to, const double *from, double w, size_t n)
{
    if (!to || !from)
        return;
    for (size_t i = 0; i < n; i++)
        to[i] += w * from[i];
}

/* Tokens that do not count have no gradient, whatever a plugin wrote there. */
static void silence(grads *g, const uint8_t *mask, size_t n)
{
    double *all[] = {g->logp, g->entropy, g->mean_logp};
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; all[k] && i < n; i++)
            if (!mask[i])
                all[k][i] = 0;
}

/* ---- one slice ---- */

typedef struct slice {
    size_t first, n, tok;
    dw_pack pack;
} slice;

static slice slice_make(const dw_pass *p, dw_arena *a, size_t first, size_t end)
{
    slice s = {.first = first, .n = end - first, .tok = p->set->seq[first].tok};
    dw_pack_build(a, p->set->pack + first, s.n, &s.pack);
    return s;
}

/* Calls every objective on sequences first .. first + n - 1; seen and g start at the first. */
static dw_status call_losses(dw_pass *p, dw_arena *a, size_t first, size_t n,
                             const dw_observed *seen, grads *g, dw_err *err)
{
    dw_live_task *t = p->set->task;
    for (size_t k = 0; k < t->n_objective; k++) {
        dw_use *u = &t->objective[k];
        if (p->only && p->only != u)
            continue;
        dw_batch b;
        double loss = 0, w = p->weight * u->plan->weight;
        dw_batch_build(&b, a, p->set, first, n, seen, u);
        if (!p->backward) /* an evaluation leaves no trace in the tallies */
            b.b.tally = dw_arena_alloc(a, (dw_instance_info(u->inst)->objective.n_tally + 1) *
                                              sizeof(double));
        DW_TRY(dw_call_loss(u->inst, &b.b, &loss, err));
        if (!isfinite(loss))
            return dw_fail(err, DW_E_NUMERIC, "%s: the loss is %g", dw_instance_name(u->inst),
                           loss);
        p->loss += w * loss;
        if (p->job->sink) {
            dw_buf name = {0};
            dw_buf_printf(&name, "%sloss", u->prefix);
            bool whole = t->n_objective == 1 && p->job->n_task == 1 && p->backward;
            if (!whole) /* "loss" itself is the step's weighted sum */
                dw_metrics_add(p->job->sink, name.ptr, p->each_unit ? DOWEL_MEAN : DOWEL_SUM,
                               p->each_unit ? loss * p->set->step_seqs / (double)n : loss,
                               p->each_unit ? (double)n : 1);
            dw_buf_finish(&name);
        }
        if (!g)
            continue;
        add_scaled(g->logp, b.grad_logp, w, b.b.n_tok);
        add_scaled(g->entropy, b.grad_entropy, w, b.b.n_tok);
        add_scaled(g->mean_logp, b.grad_mean_logp, w, b.b.n_tok);
    }
    if (g && n > 0)
        silence(g, p->set->mask + p->set->seq[first].tok,
                p->set->seq[first + n - 1].tok + p->set->pack[first + n - 1].n_completion -
                    p->set->seq[first].tok);
    return DW_OK;
}

static void shift(dw_observed *o, size_t by)
{
    double **all[] = {&o->logp,       &o->entropy,  &o->mean_logp, &o->collision,
                      &o->mean_logit, &o->top_prob, &o->top1};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (*all[k])
            *all[k] += by;
}

static dw_status call_by_unit(dw_pass *p, dw_arena *a, const slice *s, const dw_observed *seen,
                              dw_err *err)
{
    for (size_t i = 0; i < s->n;) {
        size_t end = i + 1;
        while (end < s->n && p->set->pack[s->first + end].unit == p->set->pack[s->first + i].unit)
            end++;
        dw_observed here = *seen;
        shift(&here, s->pack.start[i]);
        DW_TRY(call_losses(p, a, s->first + i, end - i, &here, NULL, err));
        i = end;
    }
    return DW_OK;
}

static dw_status run_slice(dw_pass *p, dw_arena *a, slice *s, dw_err *err)
{
    const dw_live_task *t = p->set->task;
    dw_observed seen;
    dw_head_wants wants = {p->backward && t->entropy_grad, p->backward && t->mean_logp_grad};
    DW_TRY(dw_observe(p->engine, a, &s->pack, p->set->temperature, t->columns,
                      p->backward ? DW_PASS_SAVE : 0, wants, &seen, err));
    if (p->each_unit)
        return call_by_unit(p, a, s, &seen, err);
    if (!p->backward)
        return call_losses(p, a, s->first, s->n, &seen, NULL, err);
    grads g = grads_make(a, t, s->pack.n_tok);
    DW_TRY(call_losses(p, a, s->first, s->n, &seen, &g, err));
    dw_observed_grad back = {g.logp, g.entropy, g.mean_logp};
    return dw_observe_backward(p->engine, a, &s->pack, &back, err);
}

/* ---- survey: totals over the whole step, from data columns alone ---- */

static dw_status survey(dw_pass *p, dw_arena *a, dw_err *err)
{
    dw_live_task *t = p->set->task;
    for (size_t k = 0; k < t->n_objective; k++) {
        dw_use *u = &t->objective[k];
        if (p->only && p->only != u)
            continue;
        const dowel_objective *o = &dw_instance_info(u->inst)->objective;
        memset(u->total, 0, o->n_total * sizeof(double));
        if (!o->survey || o->n_total == 0)
            continue;
        double *sum = dw_arena_alloc(a, (o->n_total + 1) * sizeof *sum);
        dw_batch b;
        dw_batch_build(&b, a, p->set, 0, p->set->n_seq, NULL, u);
        DW_TRY(dw_call_survey(u->inst, &b.b, sum, err));
        memcpy(u->total, sum, o->n_total * sizeof(double));
    }
    return DW_OK;
}

/* ---- both modes ---- */

static size_t next_cut(const dw_pass *p, size_t from)
{
    return dw_pack_cut(p->set->pack, p->set->n_loss, from, p->job->plan->micro_tokens);
}

static dw_status one_pass(dw_pass *p, dw_arena *a, dw_err *err)
{
    for (size_t i = 0; i < p->set->n_loss;) {
        size_t end = next_cut(p, i);
        slice s = slice_make(p, a, i, end);
        DW_TRY(run_slice(p, a, &s, err));
        dw_arena_reset(a);
        i = end;
    }
    return DW_OK;
}

static void append(double *to, const double *from, size_t at, size_t n)
{
    if (to && from)
        memcpy(to + at, from, n * sizeof *to);
}

/* A loss that couples the whole step: observe all of it, call once, then go through it again. */
static dw_status two_passes(dw_pass *p, dw_arena *a, dw_err *err)
{
    const dw_live_task *t = p->set->task;
    size_t n = p->set->n_tok;
    dw_arena whole = {0};
    dw_observed all = {0};
    double **column[] = {&all.logp,       &all.entropy,  &all.mean_logp, &all.collision,
                         &all.mean_logit, &all.top_prob, &all.top1};
    for (size_t k = 0; k < sizeof column / sizeof *column; k++)
        *column[k] = dw_arena_alloc(&whole, (n + 1) * sizeof(double));
    grads g = grads_make(&whole, t, n);
    dw_status st = DW_OK;
    for (size_t i = 0; i < p->set->n_loss && st >= 0;) {
        size_t end = next_cut(p, i);
        slice s = slice_make(p, a, i, end);
        dw_observed seen;
        st = dw_observe(p->engine, a, &s.pack, p->set->temperature, t->columns, 0,
                        (dw_head_wants){0}, &seen, err);
        const double *from[] = {seen.logp,       seen.entropy,  seen.mean_logp, seen.collision,
                                seen.mean_logit, seen.top_prob, seen.top1};
        for (size_t k = 0; st >= 0 && k < sizeof from / sizeof *from; k++)
            append(*column[k], from[k], s.tok, s.pack.n_tok);
        dw_arena_reset(a);
        i = end;
    }
    if (st >= 0)
        st = call_losses(p, &whole, 0, p->set->n_loss, &all, p->backward ? &g : NULL, err);
    for (size_t i = 0; p->backward && i < p->set->n_loss && st >= 0;) {
        size_t end = next_cut(p, i);
        slice s = slice_make(p, a, i, end);
        dw_observed seen;
        dw_head_wants wants = {t->entropy_grad, t->mean_logp_grad};
        st = dw_observe(p->engine, a, &s.pack, p->set->temperature, t->columns, DW_PASS_SAVE, wants,
                        &seen, err);
        dw_observed_grad back = {g.logp + s.tok, g.entropy ? g.entropy + s.tok : NULL,
                                 g.mean_logp ? g.mean_logp + s.tok : NULL};
        if (st >= 0)
            st = dw_observe_backward(p->engine, a, &s.pack, &back, err);
        dw_arena_reset(a);
        i = end;
    }
    dw_arena_finish(&whole);
    return st;
}

dw_status dw_pass_run(dw_pass *p, dw_err *err)
{
    dw_arena a = {0};
    p->loss = 0;
    dw_status st = survey(p, &a, err);
    dw_arena_reset(&a);
    if (st >= 0)
        st = p->set->task->by_step ? two_passes(p, &a, err) : one_pass(p, &a, err);
    dw_arena_finish(&a);
    return st;
}
