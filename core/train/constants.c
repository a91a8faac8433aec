/* Fills the columns that frozen models and the critic give before a step begins. */
#include "train/constants.h"

#include <string.h>

#include "train/observe.h"
#include "train/reference.h"

static double *column(dw_set *s, size_t width)
{
    return dw_arena_alloc(s->arena, (s->n_tok * width + 1) * sizeof(double));
}

static dw_status fill_value(dw_set *s, dw_err *err)
{
    const dw_live_task *t = s->task;
    const dw_view v = {.columns = DOWEL_BIT(DOWEL_VALUE),
                       .e = t->critic->e,
                       .critic = t->critic->e,
                       .value_by = t->value_by,
                       .value_width = t->value_width,
                       .temperature = s->temperature};
    dw_arena a = {0};
    dw_status st = DW_OK;
    s->old_value = column(s, t->value_width);
    for (size_t i = 0; i < s->n_seq && st >= 0;) {
        size_t end = dw_pack_cut(s->pack, s->n_seq, i, t->job->plan->micro_tokens);
        dw_pack p;
        dw_observed seen;
        dw_pack_build(&a, s->pack + i, end - i, &p);
        st = dw_observe(&v, &a, &p, NULL, false, &seen, err);
        if (st >= 0)
            memcpy(s->old_value + (size_t)s->seq[i].tok * t->value_width, seen.x[DW_SEEN_VALUE],
                   p.n_tok * t->value_width * sizeof(double));
        dw_arena_reset(&a);
        i = end;
    }
    dw_arena_finish(&a);
    if (st < 0)
        dw_err_prefix(err, "asking the critic");
    return st;
}

dw_status dw_constants_fill(dw_set *s, bool keep, dw_err *err)
{
    const dw_live_task *t = s->task;
    if (t->columns & DOWEL_BIT(DOWEL_REF_LOGP)) {
        s->ref_logp = column(s, 1);
        DW_TRY(dw_reference_fill(t->reference, s, s->pack, keep, s->ref_logp, err));
    }
    if (t->columns & DOWEL_BIT(DOWEL_TEACHER_LOGP)) {
        s->teacher_logp = column(s, 1);
        DW_TRY(
            dw_reference_fill(t->teacher, s, dw_set_teacher_packs(s), keep, s->teacher_logp, err));
        dw_set_untaught(s, 0, s->n_seq, s->teacher_logp);
    }
    if (t->critic && t->plan->rollout)
        DW_TRY(fill_value(s, err));
    return DW_OK;
}
