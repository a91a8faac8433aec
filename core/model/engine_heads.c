/* What the engine reads from the final rows: the vocabulary head, the score head, the value head.
 */
#include <string.h>

#include "base/alloc.h"
#include "model/engine_internal.h"
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
