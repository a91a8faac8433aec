/* Fills the columns that frozen models and the critic give before a step begins. */
#include "train/constants.h"

#include "train/reference.h"
#include "train/sweep.h"

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
    dw_observed seen;
    dw_status st =
        dw_sweep(&v, s->pack, s->n_seq, t->job->plan->micro_tokens, NULL, s->arena, &seen, err);
    s->old_value = st >= 0 && s->n_tok > 0 ? seen.x[DW_SEEN_VALUE] : column(s, t->value_width);
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
