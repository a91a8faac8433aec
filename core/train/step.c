/* Adds up the gradient of one step over all tasks. */
#include "train/step.h"

#include <string.h>

#include "train/gather.h"

static void clear_tallies(dw_live_task *t)
{
    for (size_t k = 0; k < t->n_objective; k++) {
        const dowel_objective *o = &dw_instance_info(t->objective[k].inst)->objective;
        memset(t->objective[k].tally, 0, o->n_tally * sizeof(double));
    }
}

static dw_status step_task(dw_job *job, dw_live_task *t, double weight, dw_step_result *out,
                           dw_err *err)
{
    dw_arena a = {0};
    dw_set s;
    clear_tallies(t);
    dw_status st = dw_gather(t, &a, job->step, &s, err);
    if (st >= 0) {
        out->tokens += s.input_tokens;
        out->trained_tokens += s.step_toks;
    }
    if (st >= 0 && s.n_seq > 0) {
        dw_pass p = {.job = job, .set = &s, .weight = weight, .backward = true};
        st = dw_pass_run(&p, err);
        out->loss += p.loss;
    }
    dw_arena_finish(&a);
    return st;
}

dw_status dw_step_gradient(dw_job *job, dw_step_result *out, dw_err *err)
{
    *out = (dw_step_result){0};
    dw_models_zero(job);
    DW_TRY(dw_task_schedule(job, job->step, err));
    dw_status st = DW_OK;
    for (size_t i = 0; i < job->n_task && st >= 0; i++) {
        double w = dw_task_weight(job, i, job->step);
        if (w > 0)
            st = step_task(job, &job->task[i], w, out, err);
    }
    if (st < 0 && st != DW_E_NUMERIC)
        return st;
    /* A step that came out as NaN is left behind with its rows. */
    for (size_t i = 0; i < job->n_task; i++)
        if (dw_task_weight(job, i, job->step) > 0)
            job->task[i].cursor += job->task[i].plan->rows;
    return st;
}

dw_status dw_step_end(dw_job *job, uint64_t step, dw_err *err)
{
    for (size_t i = 0; i < job->n_task; i++) {
        dw_live_task *t = &job->task[i];
        if (dw_task_weight(job, i, step) <= 0)
            continue;
        for (size_t k = 0; k < t->n_objective; k++)
            DW_TRY(dw_call_step_end(t->objective[k].inst, step, t->objective[k].tally, err));
    }
    return DW_OK;
}
