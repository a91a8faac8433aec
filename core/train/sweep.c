/* Runs any number of sequences through a model that does not learn from them. */
#include "train/sweep.h"

#include <string.h>

static size_t tokens_of(const dw_packable *pack, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += pack[i].n_completion;
    return sum;
}

static void append(dw_observed *all, const dw_observed *from, dw_arena *a, size_t n_tok,
                   size_t n_mark)
{
    for (int k = 0; k < DW_N_SEEN; k++) {
        bool by_mark = dw_seen_by_mark(k);
        size_t width = from->width[k], rows = by_mark ? from->n_mark : from->n_tok;
        if (!from->x[k])
            continue;
        if (!all->x[k]) {
            all->width[k] = (uint32_t)width;
            all->x[k] =
                dw_arena_alloc(a, ((by_mark ? n_mark : n_tok) * width + 1) * sizeof(double));
        }
        memcpy(all->x[k] + (by_mark ? all->n_mark : all->n_tok) * width, from->x[k],
               rows * width * sizeof(double));
    }
    all->n_tok += from->n_tok;
    all->n_mark += from->n_mark;
}

dw_status dw_sweep(const dw_view *v, const dw_packable *pack, size_t n, uint32_t micro_tokens,
                   const uint8_t *mark, dw_arena *a, dw_observed *out, dw_err *err)
{
    size_t n_tok = tokens_of(pack, n), n_mark = 0;
    dw_arena call = {0};
    dw_status st = DW_OK;
    *out = (dw_observed){.n_tok = 0};
    for (size_t t = 0; mark && t < n_tok; t++)
        n_mark += mark[t] != 0;
    for (size_t i = 0; i < n && st >= 0;) {
        size_t end = dw_pack_cut(pack, n, i, micro_tokens);
        dw_pack p;
        dw_observed seen;
        dw_pack_build(&call, pack + i, end - i, &p);
        st = dw_observe(v, &call, &p, mark ? mark + out->n_tok : NULL, false, &seen, err);
        if (st >= 0)
            append(out, &seen, a, n_tok, n_mark);
        dw_arena_reset(&call);
        i = end;
    }
    dw_arena_finish(&call);
    return st;
}
