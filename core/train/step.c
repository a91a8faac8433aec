/* Adds up the gradient of one step over all tasks. */
#include "train/step.h"

#include <string.h>

#include "train/component.h"
#include "train/gather.h"

static void clear_tallies(dw_live_task *t)
{
    for (size_t k = 0; k < t->n_objective; k++) {
        const dowel_objective *o = &dw_instance_info(t->objective[k].inst)->objective;
        memset(t->objective[k].tally, 0, o->n_tally * sizeof(double));
    }
}

static dw_status each_objective(dw_pass *p, dw_components *apart, dw_err *err)
{
    dw_live_task *t = p->set->task;
    double loss = 0;
    for (size_t k = 0; k < t->n_objective; k++) {
        const dw_use *u = &t->objective[k];
        const char *name = t->n_objective == 1 ? t->plan->name
                                               : dw_arena_printf(p->set->arena, "%s/%s",
                                                                 t->plan->name, u->plan->name);
        dw_components_next(apart, name, p->weight * u->plan->weight);
        p->only = u;
        DW_TRY(dw_pass_run(p, err));
        loss += p->loss;
    }
    p->loss = loss;
    return DW_OK;
}

/* apart: NULL, or where each objective's gradient goes by itself. */
static dw_status step_task(dw_job *job, dw_live_task *t, double weight, dw_components *apart,
                           dw_step_result *out, dw_err *err)
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
        st = apart ? each_objective(&p, apart, err) : dw_pass_run(&p, err);
        out->loss += p.loss;
    }
    /* A step that came out as NaN is left behind with its rows. */
    if (st >= 0 || st == DW_E_NUMERIC)
        dw_gather_advance(t, &s);
    dw_arena_finish(&a);
    return st;
}

dw_status dw_step_gradient(dw_job *job, dw_step_result *out, dw_err *err)
{
    *out = (dw_step_result){0};
    dw_models_zero(job);
    DW_TRY(dw_task_schedule(job, job->step, err));
    DW_TRY(dw_mix_before(job->mix, err));
    dw_components apart;
    bool wanted = dw_components_wanted(job);
    if (wanted)
        DW_TRY(dw_components_begin(&apart, job, err));
    dw_status st = DW_OK;
    size_t i = 0;
    for (; i < job->n_task && st >= 0; i++) {
        double w = dw_task_weight(job, i, job->step);
        if (w > 0) /* a multiplier of 0 does not stop the measuring */
            st = step_task(job, &job->task[i], w * dw_mix_multiplier(job->mix, i),
                           wanted ? &apart : NULL, out, err);
    }
    if (wanted)
        dw_components_end(&apart);
    for (size_t k = i; k < job->n_task && st == DW_E_NUMERIC; k++) /* those behind it, too */
        if (dw_task_weight(job, k, job->step) > 0)
            dw_gather_advance(&job->task[k], NULL);
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
