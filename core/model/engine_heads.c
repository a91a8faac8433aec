/* What the engine reads from the final rows: the vocabulary head, the score head, the value head.
 */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "model/engine_internal.h"
#include "model/frozen.h"
#include "tensor/readout.h"

dw_status dw_engine_head(dw_engine *e, const dw_head_pair *pair, size_t n_pair, double temperature,
                         dw_head_wants wants, dw_head_out *out, dw_err *err)
{
    dw_assert(e->ran && n_pair > 0);
    DW_TRY(dw_model_speaks(e->m, err));
    size_t rows = 0;
    for (size_t i = 0; i < n_pair; i++) {
        dw_assert(pair[i].row < e->n_row && (!i || pair[i - 1].row <= pair[i].row));
        rows += !i || pair[i].row != pair[i - 1].row;
        if (pair[i].target < 0 || (uint32_t)pair[i].target >= e->m->desc.vocab)
            return dw_fail(err, DW_E_INPUT,
                           "token id %d is outside of the model's vocabulary of %u", pair[i].target,
                           e->m->desc.vocab);
    }
    DW_TRY(dw_frozen_need(e->m, &e->m->head, err));
    e->pair = dw_engine_room(e->pair, n_pair, sizeof *e->pair, &e->cap_pair);
    memcpy(e->pair, pair, n_pair * sizeof *pair);
    e->n_pair = n_pair;
    e->temperature = temperature;
    const dw_head_spec h = dw_head_of(e->m, temperature);
    DW_TRY(dw_head_forward(e->m->x, &h, e->plan.hidden, e->m->desc.d, e->pair, n_pair,
                           dw_engine_head_mode(e, rows), wants, out, &e->head, err));
    e->head_ran = true;
    return DW_OK;
}

static dw_status check_divergence(const dw_engine *e, const dw_divergence *d, dw_err *err)
{
    const dw_model *q = d->other->m;
    DW_TRY(dw_model_speaks(e->m, err));
    DW_TRY(dw_model_speaks(q, err));
    if (q->desc.vocab != e->m->desc.vocab)
        return dw_fail(err, DW_E_INPUT,
                       "a divergence needs one vocabulary: this model has %u tokens, the other one "
                       "(%s) %u",
                       e->m->desc.vocab, q->dir ? q->dir : "no folder", q->desc.vocab);
    if (d->kind < DW_FORWARD_KL || d->kind > DW_JENSEN_SHANNON)
        return dw_fail(err, DW_E_INPUT, "divergence kind %d is not known", d->kind);
    if (d->kind == DW_JENSEN_SHANNON && !(d->beta >= 0 && d->beta <= 1))
        return dw_fail(err, DW_E_INPUT, "beta of the divergence is %g, wanted 0 .. 1", d->beta);
    if (!(d->temperature > 0) || !isfinite(d->temperature))
        return dw_fail(err, DW_E_INPUT, "temperature of the divergence is %g, wanted above 0",
                       d->temperature);
    return DW_OK;
}

dw_status dw_engine_divergence(dw_engine *e, const dw_head_pair *pair, size_t n_pair,
                               const dw_divergence *d, double *out, dw_err *err)
{
    dw_engine *q = d->other;
    dw_assert(e->ran && q->ran && n_pair > 0);
    DW_TRY(check_divergence(e, d, err));
    DW_TRY(dw_frozen_need(e->m, &e->m->head, err));
    DW_TRY(dw_frozen_need(q->m, &q->m->head, err));
    e->mine_row = dw_engine_room(e->mine_row, n_pair, sizeof *e->mine_row, &e->cap_mine);
    e->other_row = dw_engine_room(e->other_row, n_pair, sizeof *e->other_row, &e->cap_other);
    for (size_t i = 0; i < n_pair; i++) {
        e->mine_row[i] = pair[i].row;
        e->other_row[i] = d->other_row ? d->other_row[i] : pair[i].row;
        dw_assert(e->mine_row[i] < e->n_row && e->other_row[i] < q->n_row);
    }
    e->divergence = (dw_divergence_call){
        .spec = {d->kind, d->beta, d->temperature, d->top_k, d->tail},
        .mine = {dw_head_of(e->m, 1), e->plan.hidden, e->m->desc.d, e->mine_row},
        .other = {dw_head_of(q->m, 1), q->plan.hidden, q->m->desc.d, e->other_row},
        .n = n_pair};
    DW_TRY(dw_divergence_forward(e->m->x, &e->divergence, dw_engine_head_mode(e, n_pair), out,
                                 &e->divergence_state, err));
    e->divergence_ran = true;
    return DW_OK;
}

/* ---- small heads ---- */

const dw_small_head *dw_engine_small_head(const dw_engine *e, dw_read which)
{
    const dw_model *m = e->m;
    const bool adapter = m->has_adapter && !(e->flags & DW_PASS_NO_ADAPTER);
    if (which == DW_READ_VALUE)
        return adapter ? &m->adapter_value : &m->value;
    return adapter ? &m->adapter_score : &m->score;
}

dw_status dw_engine_read(dw_engine *e, dw_read which, const uint32_t *row, size_t n, double *out,
                         dw_err *err)
{
    const dw_small_head *h = dw_engine_small_head(e, which);
    dw_read_rows *r = &e->read[which];
    dw_assert(e->ran && n > 0);
    if (!h->w.w)
        return dw_fail(err, DW_E_USAGE, "%s: there is no %s head",
                       e->m->dir ? e->m->dir : "the model",
                       which == DW_READ_VALUE ? "value" : "score");
    for (size_t i = 0; i < n; i++)
        dw_assert(row[i] < e->n_row);
    r->row = dw_engine_room(r->row, n, sizeof *row, &r->cap);
    memcpy(r->row, row, n * sizeof *row);
    r->n = n;
    r->ran = true;
    const dw_readout o = {h->w.w, h->bias.w, h->w.rows, h->w.cols};
    dw_readout_forward(e->m->x, &o, e->plan.hidden, e->m->desc.d, row, n, out);
    return DW_OK;
}
