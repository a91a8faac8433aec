/* Runs answers through a model with a score head. */
#include "train/score.h"

#include <math.h>
#include <string.h>

#include "train/sweep.h"

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
    dw_arena a = {0};
    dw_observed seen;
    dw_status st = dw_sweep(&v, packables(s, &a), s->n_seq, job->plan->micro_tokens,
                            mark ? mark : last_tokens(s, &a), &a, &seen, err);
    if (st >= 0 && seen.n_mark > 0)
        memcpy(out, seen.x[DW_SEEN_SCORE], seen.n_mark * width * sizeof *out);
    dw_arena_finish(&a);
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
