/* Takes what a task trains on in one step: rows, or sampled answers with their rewards. */
#include "train/gather.h"

#include "train/constants.h"
#include "train/credit.h"
#include "train/reward.h"
#include "train/rollout.h"

static dw_status gather_rollout(dw_live_task *t, dw_arena *a, uint64_t step, dw_set *out,
                                dw_err *err)
{
    dw_job *job = t->job;
    DW_TRY(dw_rollout_step(t, a, t->cursor, step, out, err));
    if (job->sink)
        dw_rollout_metrics(out, t->prefix, job->sink);
    DW_TRY(dw_constants_fill(out, false, err));
    DW_TRY(dw_reward_score(out, err));
    DW_TRY(dw_credit_assign(out, err));
    if (job->sink)
        dw_reward_metrics(out, t->prefix, job->sink);
    if (job->samples)
        dw_reward_log(out, step + 1, job->samples);
    dw_set_compact(out);
    return DW_OK;
}

dw_status dw_gather(dw_live_task *t, dw_arena *a, uint64_t step, dw_set *out, dw_err *err)
{
    if (t->plan->rollout)
        return gather_rollout(t, a, step, out, err);
    DW_TRY(dw_set_from_rows(out, t, a, t->cursor, t->plan->rows, step, err));
    return dw_constants_fill(out, true, err);
}
