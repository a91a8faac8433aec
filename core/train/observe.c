/* Turns engine outputs into columns, and column derivatives into what the engines' backward takes.
 */
#include "train/observe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const int dw_seen_column[DW_N_SEEN] = {DOWEL_LOGP,     DOWEL_ENTROPY,   DOWEL_MEAN_LOGP,
                                       DOWEL_VALUE,    DOWEL_SCORE,     DOWEL_DIVERGENCE,
                                       DOWEL_CHOICES,  DOWEL_TOP1,      DOWEL_COLLISION,
                                       DOWEL_TOP_PROB, DOWEL_MEAN_LOGIT};

static const uint64_t of_head = DW_HEAD_COLUMNS;
static const uint64_t of_policy =
    DW_HEAD_COLUMNS | DOWEL_BIT(DOWEL_SCORE) | DOWEL_BIT(DOWEL_DIVERGENCE);

dw_view dw_view_logp(dw_engine *e, unsigned flags, double temperature)
{
    return (dw_view){
        .columns = DOWEL_BIT(DOWEL_LOGP), .e = e, .flags = flags, .temperature = temperature};
}

static double *take(dw_arena *a, size_t n)
{
    return dw_arena_alloc(a, (n + 1) * sizeof(double));
}

static bool wanted(const dw_view *v, int seen)
{
    return (v->columns & DOWEL_BIT(dw_seen_column[seen])) != 0;
}

static size_t rows_of(const dw_observed *o, int seen)
{
    return dw_seen_by_mark(seen) ? o->n_mark : o->n_tok;
}

/* ---- where to look ---- */

static uint32_t *mark_rows(dw_arena *a, const dw_pack *p, const uint8_t *mark, size_t *n)
{
    uint32_t *row = dw_arena_alloc(a, (p->n_tok + 1) * sizeof *row);
    *n = 0;
    for (size_t t = 0; mark && t < p->n_tok; t++)
        if (mark[t])
            row[(*n)++] = p->row_of[t];
    return row;
}

/* Rows that the tokens are predicted from. */
static uint32_t *rows_before(dw_arena *a, const dw_pack *p)
{
    uint32_t *row = dw_arena_alloc(a, (p->n_tok + 1) * sizeof *row);
    for (size_t t = 0; t < p->n_tok; t++)
        row[t] = p->pair[p->pair_of[t]].row;
    return row;
}

typedef struct ask {
    dw_head_pair pair;
    uint32_t from; /* pair of the pack, or n_tok + number of the choice */
} ask;

static int by_row(const void *x, const void *y)
{
    const ask *a = x, *b = y;
    if (a->pair.row != b->pair.row)
        return a->pair.row < b->pair.row ? -1 : 1;
    return a->from < b->from ? -1 : a->from > b->from;
}

/* The pack's pairs, and one for each choice at each mark, in one list sorted by row. */
static dw_head_pair *all_pairs(const dw_view *v, dw_arena *a, const dw_pack *p,
                               const uint32_t *mark_row, dw_observed *out)
{
    size_t n_choice = wanted(v, DW_SEEN_CHOICES) ? out->n_mark * v->n_choice : 0;
    size_t n = p->n_tok + n_choice;
    ask *list = dw_arena_alloc(a, (n + 1) * sizeof *list);
    dw_head_pair *pair = dw_arena_alloc(a, (n + 1) * sizeof *pair);
    uint32_t *at = dw_arena_alloc(a, (n + 1) * sizeof *at);
    for (size_t i = 0; i < p->n_tok; i++)
        list[i] = (ask){p->pair[i], (uint32_t)i};
    for (size_t i = 0; i < n_choice; i++)
        list[p->n_tok + i] = (ask){{mark_row[i / v->n_choice], v->choice[i % v->n_choice]},
                                   (uint32_t)(p->n_tok + i)};
    if (n_choice > 0)
        qsort(list, n, sizeof *list, by_row);
    for (size_t i = 0; i < n; i++) {
        pair[i] = list[i].pair;
        at[list[i].from] = (uint32_t)i;
    }
    out->pair_at = dw_arena_alloc(a, (p->n_tok + 1) * sizeof *out->pair_at);
    for (size_t t = 0; t < p->n_tok; t++)
        out->pair_at[t] = at[p->pair_of[t]];
    out->choice_at = at + p->n_tok;
    out->n_pair = n;
    return pair;
}

/* ---- forward ---- */

static double *head_column(const dw_view *v, dw_arena *a, int seen, size_t n)
{
    return wanted(v, seen) ? take(a, n) : NULL;
}

static void gather(dw_observed *o, dw_arena *a, int seen, const double *by_pair)
{
    if (!by_pair)
        return;
    o->width[seen] = 1;
    o->x[seen] = take(a, o->n_tok);
    for (size_t t = 0; t < o->n_tok; t++)
        o->x[seen][t] = by_pair[o->pair_at[t]];
}

static dw_status run_head(const dw_view *v, dw_arena *a, const dw_pack *p, const uint32_t *mark_row,
                          dw_observed *out, dw_err *err)
{
    const dw_head_pair *pair = all_pairs(v, a, p, mark_row, out);
    size_t n = out->n_pair;
    dw_head_out h = {.logp = take(a, n),
                     .entropy = head_column(v, a, DW_SEEN_ENTROPY, n),
                     .mean_logp = head_column(v, a, DW_SEEN_MEAN_LOGP, n),
                     .collision = head_column(v, a, DW_SEEN_COLLISION, n),
                     .mean_logit = head_column(v, a, DW_SEEN_MEAN_LOGIT, n),
                     .top_prob = head_column(v, a, DW_SEEN_TOP_PROB, n)};
    if (wanted(v, DW_SEEN_TOP1))
        h.top1 = dw_arena_alloc(a, n + 1);
    DW_TRY(dw_engine_head(v->e, pair, n, v->temperature, v->wants, &h, err));
    gather(out, a, DW_SEEN_LOGP, h.logp);
    gather(out, a, DW_SEEN_ENTROPY, h.entropy);
    gather(out, a, DW_SEEN_MEAN_LOGP, h.mean_logp);
    gather(out, a, DW_SEEN_COLLISION, h.collision);
    gather(out, a, DW_SEEN_MEAN_LOGIT, h.mean_logit);
    gather(out, a, DW_SEEN_TOP_PROB, h.top_prob);
    if (h.top1) {
        out->width[DW_SEEN_TOP1] = 1;
        out->x[DW_SEEN_TOP1] = take(a, out->n_tok);
        for (size_t t = 0; t < out->n_tok; t++)
            out->x[DW_SEEN_TOP1][t] = h.top1[out->pair_at[t]];
    }
    if (wanted(v, DW_SEEN_CHOICES)) {
        size_t n_choice = out->n_mark * v->n_choice;
        out->width[DW_SEEN_CHOICES] = v->n_choice;
        out->x[DW_SEEN_CHOICES] = take(a, n_choice);
        for (size_t i = 0; i < n_choice; i++)
            out->x[DW_SEEN_CHOICES][i] = h.logp[out->choice_at[i]];
    }
    return DW_OK;
}

static dw_status run_read(dw_engine *e, dw_read which, dw_arena *a, int seen, uint32_t width,
                          const uint32_t *row, dw_observed *out, dw_err *err)
{
    size_t n = rows_of(out, seen);
    out->width[seen] = width;
    out->x[seen] = take(a, n * width);
    return n ? dw_engine_read(e, which, row, n, out->x[seen], err) : DW_OK;
}

/* Pairs of the pack are one per token, so its order needs no choices. */
static dw_status run_divergence(const dw_view *v, dw_arena *a, const dw_pack *p, dw_observed *out,
                                dw_err *err)
{
    dw_divergence d = v->divergence;
    double *by_pair = take(a, p->n_tok);
    const dw_pack *q = v->other_pack;
    uint32_t *row = dw_arena_alloc(a, (p->n_tok + 1) * sizeof *row);
    for (size_t t = 0; q && t < p->n_tok; t++)
        row[p->pair_of[t]] = q->pair[q->pair_of[t]].row;
    d.other_row = q ? row : NULL;
    if (d.temperature == 0)
        d.temperature = v->temperature;
    DW_TRY(dw_engine_forward(d.other, q ? &q->forest : &p->forest, v->other_flags, err));
    DW_TRY(dw_engine_divergence(v->e, p->pair, p->n_tok, &d, by_pair, err));
    out->width[DW_SEEN_DIVERGENCE] = 1;
    out->x[DW_SEEN_DIVERGENCE] = take(a, p->n_tok);
    for (size_t t = 0; t < p->n_tok; t++)
        out->x[DW_SEEN_DIVERGENCE][t] = by_pair[p->pair_of[t]];
    return DW_OK;
}

static bool asks_policy(const dw_view *v)
{
    return (v->columns & of_policy) != 0 || (wanted(v, DW_SEEN_VALUE) && v->critic == v->e);
}

static dw_status run_policy(const dw_view *v, dw_arena *a, const dw_pack *p, const uint8_t *mark,
                            bool save, dw_observed *out, dw_err *err)
{
    const uint32_t *mark_row = mark_rows(a, p, mark, &out->n_mark);
    unsigned keep = save && v->moves ? DW_PASS_SAVE : 0;
    if (!asks_policy(v))
        return DW_OK;
    DW_TRY(dw_engine_forward(v->e, &p->forest, v->flags | keep, err));
    if (v->columns & of_head)
        DW_TRY(run_head(v, a, p, mark_row, out, err));
    if (wanted(v, DW_SEEN_SCORE))
        DW_TRY(run_read(v->e, DW_READ_SCORE, a, DW_SEEN_SCORE, v->score_width, mark_row, out, err));
    return wanted(v, DW_SEEN_DIVERGENCE) ? run_divergence(v, a, p, out, err) : DW_OK;
}

static dw_status run_critic(const dw_view *v, dw_arena *a, const dw_pack *p, bool save,
                            dw_observed *out, dw_err *err)
{
    if (!wanted(v, DW_SEEN_VALUE))
        return DW_OK;
    if (v->critic != v->e)
        DW_TRY(dw_engine_forward(v->critic, &p->forest, save && v->critic_moves ? DW_PASS_SAVE : 0,
                                 err));
    return run_read(v->critic, v->value_by, a, DW_SEEN_VALUE, v->value_width, rows_before(a, p),
                    out, err);
}

static dw_status check_finite(const dw_observed *o, dw_err *err)
{
    static const char *const name[DW_N_SEEN] = {"log-probability",
                                                "entropy",
                                                "mean log-probability",
                                                "value",
                                                "score",
                                                "divergence",
                                                "log-probability of a choice",
                                                "first rank",
                                                "collision probability",
                                                "top probability",
                                                "mean logit"};
    for (int s = 0; s < DW_N_SEEN; s++)
        for (size_t i = 0; o->x[s] && i < rows_of(o, s) * o->width[s]; i++)
            if (!isfinite(o->x[s][i]))
                return dw_fail(err, DW_E_NUMERIC,
                               "the model's %s of %s %zu of the micro-batch is %g", name[s],
                               dw_seen_by_mark(s) ? "mark" : "token", i / o->width[s], o->x[s][i]);
    return DW_OK;
}

dw_status dw_observe(const dw_view *v, dw_arena *a, const dw_pack *p, const uint8_t *mark,
                     bool save, dw_observed *out, dw_err *err)
{
    *out = (dw_observed){.n_tok = p->n_tok};
    DW_TRY(run_policy(v, a, p, mark, save, out, err));
    DW_TRY(run_critic(v, a, p, save, out, err));
    return check_finite(out, err);
}

/* ---- backward ---- */

static double *scatter(dw_arena *a, const dw_observed *o, const double *by_token)
{
    if (!by_token)
        return NULL;
    double *x = take(a, o->n_pair);
    for (size_t t = 0; t < o->n_tok; t++)
        x[o->pair_at[t]] = by_token[t];
    return x;
}

static double *scatter_logp(const dw_view *v, dw_arena *a, const dw_observed *o,
                            double *const grad[DW_N_SEEN_GRAD])
{
    const double *choices = grad[DW_SEEN_CHOICES];
    double *x = scatter(a, o, grad[DW_SEEN_LOGP]);
    if (choices && !x)
        x = take(a, o->n_pair);
    for (size_t i = 0; choices && i < o->n_mark * v->n_choice; i++)
        x[o->choice_at[i]] = choices[i];
    return x;
}

dw_status dw_observe_backward(const dw_view *v, dw_arena *a, const dw_pack *p,
                              const dw_observed *seen, double *const grad[DW_N_SEEN_GRAD],
                              dw_err *err)
{
    const double *value = grad[DW_SEEN_VALUE];
    bool apart = v->critic && v->critic != v->e;
    bool by_value = v->value_by == DW_READ_VALUE;
    if (asks_policy(v) && v->moves) {
        dw_engine_grads d = {.score = seen->n_mark ? grad[DW_SEEN_SCORE] : NULL,
                             .value = apart ? NULL : value};
        if (v->columns & of_head) {
            d.logp = scatter_logp(v, a, seen, grad);
            d.entropy = scatter(a, seen, grad[DW_SEEN_ENTROPY]);
            d.mean_logp = scatter(a, seen, grad[DW_SEEN_MEAN_LOGP]);
        }
        if (grad[DW_SEEN_DIVERGENCE]) {
            double *x = take(a, p->n_tok);
            for (size_t t = 0; t < p->n_tok; t++)
                x[p->pair_of[t]] = grad[DW_SEEN_DIVERGENCE][t];
            d.divergence = x;
        }
        DW_TRY(dw_engine_backward(v->e, &d, err));
    }
    if (!apart || !value || !v->critic_moves)
        return DW_OK;
    dw_engine_grads d = {.value = by_value ? value : NULL, .score = by_value ? NULL : value};
    return dw_engine_backward(v->critic, &d, err);
}
