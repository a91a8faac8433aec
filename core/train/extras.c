/* Knows who samples the answers beside the policy's own, and what the policy says of them. */
#include "train/extras.h"

#include <string.h>

#include "train/reference.h"
#include "train/sweep.h"

size_t dw_extras_list(const dw_live_task *t, dw_draw *out)
{
    size_t n = 0;
    if (t->extras & DOWEL_WITH_GREEDY)
        out[n++] = (dw_draw){.kind = DOWEL_WITH_GREEDY, .role = DOWEL_GREEDY, .per_prompt = 1};
    if (t->extras & DOWEL_WITH_REFERENCE)
        out[n++] = (dw_draw){
            .kind = DOWEL_WITH_REFERENCE, .role = DOWEL_OTHER, .per_prompt = t->extra_samples};
    if (t->extras & DOWEL_WITH_MIXTURE)
        out[n++] = (dw_draw){
            .kind = DOWEL_WITH_MIXTURE, .role = DOWEL_OTHER, .per_prompt = t->extra_samples};
    return n;
}

dw_status dw_extras_sampler(dw_live_task *t, uint32_t kind, dw_sampling *s, dw_generator **gen,
                            dw_err *err)
{
    if (!t->model->gen)
        DW_TRY(dw_generator_create(t->model->m, &t->model->gen, err));
    *gen = t->model->gen;
    s->greedy |= kind == DOWEL_WITH_GREEDY;
    if (kind == DOWEL_WITH_REFERENCE)
        return dw_reference_generator(t->reference, gen, &s->no_adapter, err);
    if (kind != DOWEL_WITH_MIXTURE)
        return DW_OK;
    s->mixture = t->mixture;
    return dw_reference_generator(t->reference, &s->with, &s->with_no_adapter, err);
}

dw_status dw_extras_score(dw_set *s, dw_err *err)
{
    const dw_live_task *t = s->task;
    const dw_view v = dw_view_logp(t->model->e, 0, s->temperature);
    dw_packable *pack = dw_arena_alloc(s->arena, (s->n_seq + 1) * sizeof *pack);
    uint32_t *seq = dw_arena_alloc(s->arena, (s->n_seq + 1) * sizeof *seq);
    size_t n = 0;
    for (size_t i = 0; i < s->n_seq; i++) {
        if (s->seq[i].role == DOWEL_TRAINED)
            continue;
        seq[n] = (uint32_t)i;
        pack[n] = s->pack[i];
        pack[n].unit = (uint32_t)n;
        n++;
    }
    dw_observed seen;
    dw_status st = dw_sweep(&v, pack, n, t->job->plan->micro_tokens, NULL, s->arena, &seen, err);
    const double *logp = seen.x[DW_SEEN_LOGP];
    for (size_t k = 0; k < n && st >= 0; logp += pack[k++].n_completion)
        memcpy(s->old_logp + s->seq[seq[k]].tok, logp, pack[k].n_completion * sizeof(double));
    if (st < 0)
        dw_err_prefix(err, "scoring the extra answers");
    return st;
}
