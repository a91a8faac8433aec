/* What a task trains on in one step. */
#ifndef DW_TRAIN_GATHER_H
#define DW_TRAIN_GATHER_H

#include "train/set.h"

/* Takes the task's next rows, or samples, scores and credits, or goes on with a rollout that is
 * held, without moving the cursor. The set may come back empty when no sampled answer may be
 * trained on. */
dw_status dw_gather(dw_live_task *t, dw_arena *a, uint64_t step, dw_set *out, dw_err *err);
/* After the step, applied or left out: moves on in the held rollout, and the cursor behind it. What
 * the pass measured in `trained` may end a rollout early (rollout.max_kl); NULL: nothing. */
void dw_gather_advance(dw_live_task *t, const dw_set *trained);
/* Files of an unfinished rollout inside a checkpoint; restore finds the task's counters set. */
dw_status dw_gather_save(dw_live_task *t, const char *dir, dw_err *err);
dw_status dw_gather_restore(dw_live_task *t, const char *dir, uint32_t at, uint64_t rows,
                            dw_err *err);
void dw_gather_close(dw_live_task *t);

#endif
