/* Builds the table of columns that an objective or estimator reads. */
#include "train/batch.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static void put(dw_batch *out, int column, const double *x, size_t rows, uint32_t width)
{
    out->col[column] = (dowel_column){.x = x, .rows = (uint32_t)rows, .width = width};
}

static bool asked(const dw_use *u, int column)
{
    return (u->ask.columns & DOWEL_BIT(column)) != 0;
}

static const double *nans(dw_arena *a, size_t n)
{
    double *x = dw_arena_alloc(a, (n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = NAN;
    return x;
}

/* Of the choices that a task reads, those of this instance. */
static const double *own_choices(dw_arena *a, const dw_observed *seen, const dw_use *u, size_t rows)
{
    const double *all = seen->x[DW_SEEN_CHOICES];
    double *x = dw_arena_alloc(a, (rows * u->n_choice + 1) * sizeof *x);
    for (size_t i = 0; i < rows; i++)
        for (uint32_t k = 0; k < u->n_choice; k++)
            x[i * u->n_choice + k] = all[i * seen->width[DW_SEEN_CHOICES] + u->choice[k]];
    return x;
}

static uint32_t width_of(const dw_use *u, int seen)
{
    switch (seen) {
    case DW_SEEN_VALUE:
        return u->task->value_width;
    case DW_SEEN_SCORE:
        return u->task->score_width;
    case DW_SEEN_CHOICES:
        return u->n_choice;
    default:
        return 1;
    }
}

static void put_model(dw_batch *out, dw_arena *a, const dw_observed *seen, const dw_use *u)
{
    for (int s = 0; s < DW_N_SEEN; s++) {
        int column = dw_seen_column[s];
        size_t rows = dw_seen_by_mark(s) ? out->n_mark : out->b.n_tok;
        uint32_t width = width_of(u, s);
        if (!asked(u, column))
            continue;
        const double *x = !seen                  ? nans(a, rows * width)
                          : s == DW_SEEN_CHOICES ? own_choices(a, seen, u, rows)
                                                 : seen->x[s];
        put(out, column, x, rows, width);
        if (s < DW_N_SEEN_GRAD && !(u->ask.detached & DOWEL_BIT(column)))
            out->col[column].grad = out->grad[s] =
                dw_arena_alloc(a, (rows * width + 1) * sizeof(double));
    }
}

static void put_token_constants(dw_batch *out, const dw_set *s, size_t tok, const dw_observed *seen,
                                const dw_use *u, size_t n)
{
    uint32_t heads = s->task->value_width;
    const struct {
        const double *x;
        int column;
        uint32_t width;
    } all[] = {{s->ref_logp, DOWEL_REF_LOGP, 1},         {s->old_logp, DOWEL_OLD_LOGP, 1},
               {s->sampler_logp, DOWEL_SAMPLER_LOGP, 1}, {s->teacher_logp, DOWEL_TEACHER_LOGP, 1},
               {s->old_value, DOWEL_OLD_VALUE, heads},   {s->ret, DOWEL_RETURN, heads},
               {s->advantage, DOWEL_ADVANTAGE, 1}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (asked(u, all[i].column) && all[i].x)
            put(out, all[i].column, all[i].x + tok * all[i].width, n, all[i].width);
    /* Given answers: every step is the first update on its batch, so the old policy is this one. */
    if (asked(u, DOWEL_OLD_LOGP) && !s->old_logp)
        put(out, DOWEL_OLD_LOGP, seen ? seen->x[DW_SEEN_LOGP] : NULL, n, 1);
    if (asked(u, DOWEL_HELD_LOGP) && seen)
        put(out, DOWEL_HELD_LOGP, seen->x[DW_SEEN_LOGP], n, 1);
    if (asked(u, DOWEL_OLD_VALUE) && !s->old_value)
        put(out, DOWEL_OLD_VALUE, seen ? seen->x[DW_SEEN_VALUE] : NULL, n, heads);
    uint32_t parts = 1 + (uint32_t)s->task->n_reward;
    if (s->token_reward)
        put(out, DOWEL_TOKEN_REWARD, s->token_reward + tok * parts, n, parts);
}

typedef struct seq_column {
    int column;
    size_t at; /* of the double in dw_seq */
} seq_column;

/* Numbers of the sequence: WEIGHT and LABEL always, the others where the data has them. */
static void put_numbers(dw_batch *out, dw_arena *a, const dw_set *s, size_t first, size_t n)
{
    static const seq_column all[] = {{DOWEL_WEIGHT, offsetof(dw_seq, weight)},
                                     {DOWEL_LABEL, offsetof(dw_seq, label)},
                                     {DOWEL_TARGET, offsetof(dw_seq, target)},
                                     {DOWEL_MARGIN, offsetof(dw_seq, margin)},
                                     {DOWEL_RANK, offsetof(dw_seq, rank)}};
    uint64_t given = s->given | DOWEL_BIT(DOWEL_WEIGHT) | DOWEL_BIT(DOWEL_LABEL);
    for (size_t c = 0; c < sizeof all / sizeof *all; c++) {
        if (!(given & DOWEL_BIT(all[c].column)))
            continue;
        double *x = dw_arena_alloc(a, (n + 1) * sizeof *x);
        for (size_t i = 0; i < n; i++)
            memcpy(&x[i], (const char *)&s->seq[first + i] + all[c].at, sizeof *x);
        put(out, all[c].column, x, n, 1);
    }
}

/* The numbers of the rows that this instance asked for, in its order. */
static void put_fields(dw_batch *out, dw_arena *a, const dw_set *s, size_t first, size_t n,
                       const dw_use *u)
{
    if (!u->n_field)
        return;
    double *x = dw_arena_alloc(a, (n + 1) * u->n_field * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        const dw_row *r = s->seq[first + i].row;
        for (uint32_t k = 0; k < u->n_field; k++)
            x[i * u->n_field + k] = r ? r->field[u->field[k]] : NAN;
    }
    put(out, DOWEL_FIELD, x, n, u->n_field);
}

static void put_rewards(dw_batch *out, dw_arena *a, const dw_set *s, size_t first, size_t n)
{
    uint32_t width = 1 + (uint32_t)s->task->n_reward;
    if (n == 0 || !s->seq[first].reward)
        return;
    double *reward = dw_arena_alloc(a, n * width * sizeof *reward);
    for (size_t i = 0; i < n; i++)
        memcpy(reward + i * width, s->seq[first + i].reward, width * sizeof *reward);
    put(out, DOWEL_REWARD, reward, n, width);
}

/* Which tokens carry a mark, how many each sequence has, and the labels of steps. */
static void put_marks(dw_batch *out, dw_arena *a, const dw_set *s, size_t tok)
{
    dowel_batch *b = &out->b;
    uint32_t *start = dw_arena_alloc(a, (b->n_seq + (size_t)1) * sizeof *start);
    b->mark_start = start;
    b->mark = s->mark ? s->mark + tok : dw_arena_alloc(a, (size_t)b->n_tok + 1);
    for (uint32_t i = 0; i < b->n_seq; i++) {
        start[i + 1] = start[i];
        for (uint32_t t = b->start[i]; t < b->start[i + 1]; t++)
            start[i + 1] += b->mark[t];
    }
    out->n_mark = start[b->n_seq];
    if (!s->mark_label)
        return;
    double *label = dw_arena_alloc(a, (start[b->n_seq] + (size_t)1) * sizeof *label);
    size_t m = 0;
    for (uint32_t t = 0; t < b->n_tok; t++)
        if (b->mark[t])
            label[m++] = s->mark_label[tok + t];
    put(out, DOWEL_MARK_LABEL, label, m, 1);
}

static void put_structure(dw_batch *out, dw_arena *a, const dw_set *s, size_t first, size_t n)
{
    uint32_t *start = dw_arena_alloc(a, (n + 1) * sizeof *start);
    int32_t *mate = dw_arena_alloc(a, (n + 1) * sizeof *mate);
    int32_t *group = dw_arena_alloc(a, (n + 1) * sizeof *group);
    uint8_t *stop = dw_arena_alloc(a, n + 1), *role = dw_arena_alloc(a, n + 1);
    uint64_t *id = dw_arena_alloc(a, (n + 1) * sizeof *id);
    for (size_t i = 0; i < n; i++) {
        const dw_seq *q = &s->seq[first + i];
        start[i + 1] = start[i] + s->pack[first + i].n_completion;
        mate[i] = q->mate < 0 ? -1 : q->mate - (int32_t)first;
        group[i] = q->group;
        stop[i] = q->stop;
        role[i] = q->role;
        id[i] = q->id;
    }
    dowel_batch *b = &out->b;
    b->n_tok = start[n];
    b->start = start;
    b->mate = mate;
    b->group = group;
    b->stop = stop;
    b->role = role;
    b->id = id;
}

void dw_batch_build(dw_batch *out, dw_arena *a, const dw_set *s, size_t first, size_t n,
                    const dw_observed *seen, const dw_use *use)
{
    *out = (dw_batch){.b = {.size = sizeof(dowel_batch),
                            .n_seq = (uint32_t)n,
                            .n_col = DW_N_COLUMN,
                            .step = s->step,
                            .step_seqs = s->step_seqs > 0 ? s->step_seqs : 1,
                            .step_toks = s->step_toks > 0 ? s->step_toks : 1,
                            .max_tok = s->max_tok,
                            .temperature = s->temperature}};
    size_t tok = n > 0 ? s->seq[first].tok : 0;
    put_structure(out, a, s, first, n);
    size_t n_tok = out->b.n_tok;
    put_marks(out, a, s, tok);
    put_model(out, a, seen, use);
    put_token_constants(out, s, tok, seen, use, n_tok);
    put_numbers(out, a, s, first, n);
    put_fields(out, a, s, first, n, use);
    put_rewards(out, a, s, first, n);
    out->b.mask = s->mask + tok;
    out->b.part = s->task->part;
    out->b.part_weight = s->task->part_weight;
    out->b.total = use->total;
    out->b.tally = use->tally;
    out->b.col = out->col;
    out->b.host = dw_instance_host(use->inst);
}
