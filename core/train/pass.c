/* Runs a set of sequences through model and objectives, micro-batch by micro-batch. */
#include "train/pass.h"

#include <math.h>
#include <string.h>

#include "train/batch.h"
#include "train/reference.h"

/* ---- gradients of several objectives, summed per token or mark ---- */

typedef struct grads {
    double *x[DW_N_SEEN_GRAD]; /* in the shapes of dw_observed; NULL where nobody writes */
} grads;

static uint32_t width_of(const dw_live_task *t, int seen)
{
    switch (seen) {
    case DW_SEEN_VALUE:
        return t->value_width;
    case DW_SEEN_SCORE:
        return t->score_width;
    case DW_SEEN_CHOICES:
        return (uint32_t)t->n_choice;
    default:
        return 1;
    }
}

static grads grads_make(dw_arena *a, const dw_live_task *t, size_t n_tok, size_t n_mark)
{
    grads g = {{0}};
    for (int s = 0; s < DW_N_SEEN_GRAD; s++)
        if (t->moved & DOWEL_BIT(dw_seen_column[s]))
            g.x[s] = dw_arena_alloc(
                a, ((dw_seen_by_mark(s) ? n_mark : n_tok) * width_of(t, s) + 1) * sizeof(double));
    return g;
}

/* Adds w times what an objective wrote. */
static void grads_add(grads *g, const dw_batch *b, const dw_use *u, double w)
{
    for (int s = 0; s < DW_N_SEEN_GRAD; s++) {
        size_t rows = dw_seen_by_mark(s) ? b->n_mark : b->b.n_tok, width = width_of(u->task, s);
        if (!b->grad[s])
            continue;
        if (s == DW_SEEN_CHOICES) {
            for (size_t i = 0; i < rows; i++)
                for (uint32_t k = 0; k < u->n_choice; k++)
                    g->x[s][i * width + u->choice[k]] += w * b->grad[s][i * u->n_choice + k];
            continue;
        }
        for (size_t i = 0; i < rows * width; i++)
            g->x[s][i] += w * b->grad[s][i];
    }
}

/* Tokens that do not count have no gradient, whatever a plugin wrote there. */
static void silence(grads *g, const dw_live_task *t, const uint8_t *mask, size_t n)
{
    for (int s = 0; s < DW_N_SEEN_GRAD; s++) {
        size_t width = width_of(t, s);
        for (size_t i = 0; g->x[s] && !dw_seen_by_mark(s) && i < n; i++)
            if (!mask[i])
                memset(g->x[s] + i * width, 0, width * sizeof(double));
    }
}

/* ---- who is asked ---- */

static dw_status view_make(dw_pass *p, dw_view *v, dw_err *err)
{
    dw_live_task *t = p->set->task;
    bool value = t->critic && (t->columns & DOWEL_BIT(DOWEL_VALUE));
    *v = (dw_view){.columns = t->columns,
                   .e = t->model->e,
                   .moves = dw_models_moves(t->model, p->job->step),
                   .wants = {(t->moved & DOWEL_BIT(DOWEL_ENTROPY)) != 0,
                             (t->moved & DOWEL_BIT(DOWEL_MEAN_LOGP)) != 0},
                   .critic = value ? t->critic->e : NULL,
                   .critic_moves = value && dw_models_moves(t->critic, p->job->step),
                   .value_by = t->value_by,
                   .value_width = t->value_width,
                   .score_width = t->score_width,
                   .divergence = t->divergence,
                   .choice = t->choice,
                   .n_choice = (uint32_t)t->n_choice,
                   .temperature = p->set->temperature};
    if (!p->backward)
        v->wants = (dw_head_wants){.entropy_grad = false};
    if (!(t->columns & DOWEL_BIT(DOWEL_DIVERGENCE)))
        return DW_OK;
    if (t->against == DOWEL_TEACHER)
        p->teacher_pack = dw_set_teacher_packs(p->set);
    dw_reference *q = t->against == DOWEL_TEACHER ? t->teacher : t->reference;
    return dw_reference_engine(q, &v->divergence.other, &v->other_flags, err);
}

/* ---- one slice ---- */

typedef struct slice {
    size_t first, n, tok; /* sequences, and where its tokens begin in the set */
    const uint8_t *mark;
    dw_pack pack, teacher; /* teacher: with its prompts; empty where they are the same */
} slice;

static size_t count_marks(const dw_set *s, size_t from, size_t end)
{
    size_t n = 0;
    for (size_t t = from; s->mark && t < end; t++)
        n += s->mark[t];
    return n;
}

static slice slice_make(const dw_pass *p, dw_arena *a, size_t first, size_t end)
{
    slice s = {.first = first, .n = end - first, .tok = p->set->seq[first].tok};
    s.mark = p->set->mark ? p->set->mark + s.tok : NULL;
    dw_pack_build(a, p->set->pack + first, s.n, &s.pack);
    if (p->teacher_pack && p->teacher_pack != p->set->pack)
        dw_pack_build(a, p->teacher_pack + first, s.n, &s.teacher);
    return s;
}

static dw_status observe(const dw_pass *p, const dw_view *v, dw_arena *a, const slice *s, bool save,
                         dw_observed *seen, dw_err *err)
{
    dw_view here = *v;
    here.other_pack = s->teacher.n_tok ? &s->teacher : NULL;
    DW_TRY(dw_observe(&here, a, &s->pack, s->mark, save, seen, err));
    if (seen->x[DW_SEEN_DIVERGENCE] && p->set->task->against == DOWEL_TEACHER)
        dw_set_untaught(p->set, s->first, s->n, seen->x[DW_SEEN_DIVERGENCE]);
    return DW_OK;
}

static void report_loss(const dw_pass *p, const dw_use *u, double loss, size_t n)
{
    const dw_live_task *t = u->task;
    dw_buf name = {0};
    bool whole = t->n_objective == 1 && p->job->n_task == 1 && p->backward;
    if (!p->job->sink || whole) /* "loss" itself is the step's weighted sum */
        return;
    dw_buf_printf(&name, "%sloss", u->prefix);
    dw_metrics_add(p->job->sink, name.ptr, p->each_unit ? DOWEL_MEAN : DOWEL_SUM,
                   p->each_unit ? loss * p->set->step_seqs / (double)n : loss,
                   p->each_unit ? (double)n : 1);
    dw_buf_finish(&name);
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
        report_loss(p, u, loss, n);
        if (g)
            grads_add(g, &b, u, w);
    }
    if (g && n > 0)
        silence(g, t, p->set->mask + p->set->seq[first].tok,
                p->set->seq[first + n - 1].tok + p->set->pack[first + n - 1].n_completion -
                    p->set->seq[first].tok);
    return DW_OK;
}

/* The columns from a token (and its first mark) on. */
static dw_observed shifted(const dw_observed *o, size_t tok, size_t mark)
{
    dw_observed out = *o;
    for (int s = 0; s < DW_N_SEEN; s++)
        if (out.x[s])
            out.x[s] += (dw_seen_by_mark(s) ? mark : tok) * out.width[s];
    return out;
}

static dw_status call_by_unit(dw_pass *p, dw_arena *a, const slice *s, const dw_observed *seen,
                              dw_err *err)
{
    size_t mark = 0;
    for (size_t i = 0; i < s->n;) {
        size_t end = i + 1, tok = s->pack.start[i];
        while (end < s->n && p->set->pack[s->first + end].unit == p->set->pack[s->first + i].unit)
            end++;
        dw_observed here = shifted(seen, tok, mark);
        DW_TRY(call_losses(p, a, s->first + i, end - i, &here, NULL, err));
        mark += count_marks(p->set, s->tok + tok, s->tok + s->pack.start[end]);
        i = end;
    }
    return DW_OK;
}

/* How far the policy is from the one that sampled: exp(d) - 1 - d, d = new minus old, has the mean
 * KL(old | new) over what the old one sampled. */
static void measure_drift(dw_pass *p, const dw_observed *seen, size_t tok, size_t n)
{
    dw_set *s = p->set;
    const double *logp = seen->x[DW_SEEN_LOGP];
    if (!p->backward || !s->task->held || !s->old_logp || !logp)
        return;
    for (size_t i = 0; i < n; i++) {
        double d = fmin(logp[i] - s->old_logp[tok + i], 300);
        if (!s->mask[tok + i] || isnan(d))
            continue;
        s->drift += expm1(d) - d;
        s->drift_tokens++;
    }
}

static dw_status run_slice(dw_pass *p, const dw_view *v, dw_arena *a, slice *s, dw_err *err)
{
    dw_observed seen;
    DW_TRY(observe(p, v, a, s, p->backward, &seen, err));
    measure_drift(p, &seen, s->tok, seen.n_tok);
    if (p->each_unit)
        return call_by_unit(p, a, s, &seen, err);
    if (!p->backward)
        return call_losses(p, a, s->first, s->n, &seen, NULL, err);
    grads g = grads_make(a, p->set->task, seen.n_tok, seen.n_mark);
    DW_TRY(call_losses(p, a, s->first, s->n, &seen, &g, err));
    return dw_observe_backward(v, a, &s->pack, &seen, g.x, err);
}

/* ---- observing more than one micro-batch ---- */

/* Columns over the whole set: NaN until they are seen. */
static dw_observed whole_make(const dw_set *s, const dw_view *v, dw_arena *a)
{
    dw_observed all = {.n_tok = s->n_tok, .n_mark = count_marks(s, 0, s->n_tok)};
    for (int k = 0; k < DW_N_SEEN; k++) {
        if (!(v->columns & DOWEL_BIT(dw_seen_column[k])))
            continue;
        size_t n = (dw_seen_by_mark(k) ? all.n_mark : all.n_tok) * width_of(s->task, k);
        all.width[k] = width_of(s->task, k);
        all.x[k] = dw_arena_alloc(a, (n + 1) * sizeof(double));
        for (size_t i = 0; i < n; i++)
            all.x[k][i] = NAN;
    }
    return all;
}

static void append(dw_observed *all, const dw_observed *from, size_t tok, size_t mark)
{
    for (int k = 0; k < DW_N_SEEN; k++) {
        bool by_mark = dw_seen_by_mark(k);
        size_t at = by_mark ? mark : tok, rows = by_mark ? from->n_mark : from->n_tok;
        if (all->x[k] && from->x[k])
            memcpy(all->x[k] + at * all->width[k], from->x[k],
                   rows * all->width[k] * sizeof(double));
    }
}

/* Sequences from .. end - 1 into `all`, without gradients; a is emptied. */
static dw_status observe_range(const dw_pass *p, const dw_view *v, dw_arena *a, size_t from,
                               size_t end, dw_observed *all, dw_err *err)
{
    size_t mark = from < end ? count_marks(p->set, 0, p->set->seq[from].tok) : 0;
    for (size_t i = from; i < end;) {
        size_t cut = dw_pack_cut(p->set->pack, end, i, p->job->plan->micro_tokens);
        slice s = slice_make(p, a, i, cut);
        dw_observed seen;
        DW_TRY(observe(p, v, a, &s, false, &seen, err));
        append(all, &seen, s.tok, mark);
        mark += seen.n_mark;
        dw_arena_reset(a);
        i = cut;
    }
    return DW_OK;
}

/* ---- survey: totals over the whole step; the models' columns of MISMATCHED sequences alone ----
 */

static dw_status survey(dw_pass *p, const dw_view *v, dw_arena *a, dw_err *err)
{
    dw_live_task *t = p->set->task;
    dw_arena whole = {0};
    dw_observed seen = whole_make(p->set, v, &whole);
    dw_status st = observe_range(p, v, a, p->set->n_loss, p->set->n_seq, &seen, err);
    for (size_t k = 0; k < t->n_objective && st >= 0; k++) {
        dw_use *u = &t->objective[k];
        if (p->only && p->only != u)
            continue;
        const dowel_objective *o = &dw_instance_info(u->inst)->objective;
        memset(u->total, 0, o->n_total * sizeof(double));
        if (!o->survey || o->n_total == 0)
            continue;
        double *sum = dw_arena_alloc(&whole, (o->n_total + 1) * sizeof *sum);
        dw_batch b;
        dw_batch_build(&b, &whole, p->set, 0, p->set->n_seq, &seen, u);
        st = dw_call_survey(u->inst, &b.b, sum, err);
        if (st >= 0)
            memcpy(u->total, sum, o->n_total * sizeof(double));
    }
    dw_arena_finish(&whole);
    return st;
}

/* ---- both modes ---- */

static size_t next_cut(const dw_pass *p, size_t from)
{
    return dw_pack_cut(p->set->pack, p->set->n_loss, from, p->job->plan->micro_tokens);
}

static dw_status one_pass(dw_pass *p, const dw_view *v, dw_arena *a, dw_err *err)
{
    for (size_t i = 0; i < p->set->n_loss;) {
        size_t end = next_cut(p, i);
        slice s = slice_make(p, a, i, end);
        DW_TRY(run_slice(p, v, a, &s, err));
        dw_arena_reset(a);
        i = end;
    }
    return DW_OK;
}

/* Goes through the set once more with the derivatives of the one call that saw all of it. */
static dw_status second_pass(dw_pass *p, const dw_view *v, dw_arena *a, const grads *whole,
                             dw_err *err)
{
    const dw_live_task *t = p->set->task;
    size_t mark = 0;
    for (size_t i = 0; i < p->set->n_loss;) {
        size_t end = next_cut(p, i);
        slice s = slice_make(p, a, i, end);
        dw_observed seen;
        grads g = *whole;
        for (int k = 0; k < DW_N_SEEN_GRAD; k++)
            if (g.x[k])
                g.x[k] += (dw_seen_by_mark(k) ? mark : s.tok) * width_of(t, k);
        DW_TRY(observe(p, v, a, &s, true, &seen, err));
        DW_TRY(dw_observe_backward(v, a, &s.pack, &seen, g.x, err));
        mark += seen.n_mark;
        dw_arena_reset(a);
        i = end;
    }
    return DW_OK;
}

/* A loss that couples the whole step: observe all of it, call once, then go through it again. */
static dw_status two_passes(dw_pass *p, const dw_view *v, dw_arena *a, dw_err *err)
{
    dw_arena whole = {0};
    dw_observed all = whole_make(p->set, v, &whole);
    grads g = grads_make(&whole, p->set->task, all.n_tok, all.n_mark);
    dw_status st = observe_range(p, v, a, 0, p->set->n_loss, &all, err);
    if (st >= 0)
        measure_drift(p, &all, 0, all.n_tok);
    if (st >= 0)
        st = call_losses(p, &whole, 0, p->set->n_loss, &all, p->backward ? &g : NULL, err);
    if (st >= 0 && p->backward)
        st = second_pass(p, v, a, &g, err);
    dw_arena_finish(&whole);
    return st;
}

dw_status dw_pass_run(dw_pass *p, dw_err *err)
{
    dw_arena a = {0};
    dw_view v;
    p->loss = 0;
    dw_status st = view_make(p, &v, err);
    if (st >= 0)
        st = survey(p, &v, &a, err);
    dw_arena_reset(&a);
    if (st >= 0)
        st = p->set->task->by_step ? two_passes(p, &v, &a, err) : one_pass(p, &v, &a, err);
    dw_arena_finish(&a);
    return st;
}
