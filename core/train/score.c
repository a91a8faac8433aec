/* Runs answers through a model with a score head. */
#include "train/score.h"

#include <math.h>
#include <string.h>

#include "train/observe.h"

/* Sequences whose last token has a row, cut like any others. */
static dw_packable *packables(const dw_set *s, dw_arena *a)
{
    dw_packable *p = dw_arena_alloc(a, (s->n_seq + 1) * sizeof *p);
    for (size_t i = 0; i < s->n_seq; i++) {
        p[i] = s->pack[i];
        p[i].unit = (uint32_t)i;
        p[i].with_last = 1;
    }
    return p;
}

static const uint8_t *last_tokens(const dw_set *s, dw_arena *a)
{
    uint8_t *mark = dw_arena_alloc(a, s->n_tok + 1);
    for (size_t i = 0; i < s->n_seq; i++)
        mark[s->seq[i].tok + s->pack[i].n_completion - 1] = 1;
    return mark;
}

dw_status dw_score_marks(const dw_job *job, size_t model, const dw_set *s, const uint8_t *mark,
                         double *out, dw_err *err)
{
    const dw_live_model *m = &job->models[model];
    uint32_t width = dw_model_score_width(m->m);
    const dw_view v = {
        .columns = DOWEL_BIT(DOWEL_SCORE), .e = m->e, .score_width = width, .temperature = 1};
    dw_arena whole = {0}, call = {0};
    dw_status st = DW_OK;
    const dw_packable *pack = packables(s, &whole);
    if (!mark)
        mark = last_tokens(s, &whole);
    for (size_t i = 0; i < s->n_seq && st >= 0;) {
        size_t end = dw_pack_cut(pack, s->n_seq, i, job->plan->micro_tokens);
        dw_pack p;
        dw_observed seen;
        dw_pack_build(&call, pack + i, end - i, &p);
        st = dw_observe(&v, &call, &p, mark + s->seq[i].tok, false, &seen, err);
        if (st >= 0) {
            memcpy(out, seen.x[DW_SEEN_SCORE], seen.n_mark * width * sizeof *out);
            out += seen.n_mark * width;
        }
        dw_arena_reset(&call);
        i = end;
    }
    dw_arena_finish(&call);
    dw_arena_finish(&whole);
    if (st < 0)
        dw_err_prefix(err, "scoring with the model '%s'", m->plan->name);
    return st;
}

double dw_score_number(const dw_model *m, const double *channel)
{
    if (dw_model_top(m) != DW_TOP_TOKEN)
        return channel[0];
    double x = dw_model_score_width(m) == 1 ? channel[0] : channel[1] - channel[0];
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}
