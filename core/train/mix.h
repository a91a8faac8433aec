/* What several objectives in one step owe to the numbers measured so far: weights that are Lua
 * functions, Lagrangian multipliers, limits. State of a run; part of its checkpoints. */
#ifndef DW_TRAIN_MIX_H
#define DW_TRAIN_MIX_H

#include "train/task.h"

typedef struct dw_mix dw_mix;

/* After the tasks are open. DW_E_RECIPE when a constraint names an option that does not exist or
 * may not change; messages start with "constraints.NAME". */
dw_status dw_mix_create(dw_job *job, dw_mix **out, dw_err *err);
void dw_mix_destroy(dw_mix *m); /* accepts NULL */

/* Before step job->step, after scheduled options were written: asks weight functions, writes
 * multipliers into options. */
dw_status dw_mix_before(dw_mix *m, dw_err *err);
/* What a task's scheduled weight is multiplied with, and what a function said of it (NaN: the
 * schedule holds). */
double dw_mix_multiplier(const dw_mix *m, size_t task);
double dw_mix_weight(const dw_mix *m, size_t task);
/* Of the learning rate, 1 unless a limit slows the run. */
double dw_mix_rate(const dw_mix *m);

/* After an applied step: remembers its numbers, moves multipliers, looks at limits; adds
 * constraints/NAME/multiplier and /violation to `step`. loss and norm belong to the numbers. A
 * metric that no step has is DW_E_RECIPE, with those there are. */
dw_status dw_mix_after(dw_mix *m, dw_metrics *step, double loss, double norm, dw_err *err);
/* The same for an evaluation's numbers. */
dw_status dw_mix_measured(dw_mix *m, const dw_metrics *eval, dw_err *err);
/* Which limit ends the run ("limits.NAME: kl is 0.61, beyond 0.5"), or NULL. */
const char *dw_mix_stop(const dw_mix *m);
/* The moving mean of gradient norms that balanced combination keeps. */
double *dw_mix_reference(dw_mix *m);

/* A JSON object for state.json, and back. */
void dw_mix_put(const dw_mix *m, dw_buf *out);
dw_status dw_mix_get(dw_mix *m, const dw_json *v, dw_err *err);

#endif
