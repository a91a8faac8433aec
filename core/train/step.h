/* The gradient of one step: every task's sequences through its models, every objective's loss,
 * every derivative back. */
#ifndef DW_TRAIN_STEP_H
#define DW_TRAIN_STEP_H

#include "train/pass.h"

typedef struct dw_step_result {
    double loss;           /* weighted sum over tasks and objectives */
    uint64_t tokens;       /* input tokens: shared prompts once, completions */
    double trained_tokens; /* that some loss counted */
    bool interrupted;
} dw_step_result;

/* All tasks of the job's current step (job->step, from 0). Zeroes every model's gradient and
 * adds the whole of it. Cursors move. Tallies are in the uses. DW_E_NUMERIC: something was not
 * finite. */
dw_status dw_step_gradient(dw_job *job, dw_step_result *out, dw_err *err);
/* step_end of every objective that took part (weight > 0 at the step). */
dw_status dw_step_end(dw_job *job, uint64_t step, dw_err *err);

#endif
