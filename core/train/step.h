/* The gradient of one step: every task's sequences through the model, every objective's loss,
 * every derivative back. */
#ifndef DW_TRAIN_STEP_H
#define DW_TRAIN_STEP_H

#include "train/reference.h"
#include "train/set.h"

typedef struct dw_step_result {
    double loss;           /* weighted sum over tasks and objectives */
    uint64_t tokens;       /* input tokens: shared prompts once, completions */
    double trained_tokens; /* that some loss counted */
    bool interrupted;
} dw_step_result;

/* One objective pass over a set: losses go to *loss unweighted, metrics to the job's sink. */
typedef struct dw_pass {
    dw_job *job;
    dw_engine *engine;
    dw_set *set;
    double weight; /* of the task; gradients are scaled by it and the objective's own */
    bool backward;
    bool each_unit; /* evaluation: one loss call per row, so that metrics have parts */
    double loss;    /* out: weighted sum */
} dw_pass;
dw_status dw_step_pass(dw_pass *p, dw_err *err);

/* Takes the task's next rows (or samples, scores and credits) without moving its cursor. The set
 * may come back empty when no sampled answer may be trained on. */
dw_status dw_step_gather(dw_live_task *t, dw_arena *a, uint64_t step, dw_set *out, dw_err *err);

/* All tasks of the job's current step (job->step, from 0). Zeroes dw_params.g and adds the whole
 * gradient to it. Cursors move. Tallies are in the uses. DW_E_NUMERIC: something was not finite. */
dw_status dw_step_gradient(dw_job *job, dw_engine *e, dw_step_result *out, dw_err *err);
/* step_end of every objective that took part (weight > 0 at the step). */
dw_status dw_step_end(dw_job *job, uint64_t step, dw_err *err);

#endif
