/* What a task trains on in one step. */
#ifndef DW_TRAIN_GATHER_H
#define DW_TRAIN_GATHER_H

#include "train/set.h"

/* Takes the task's next rows (or samples, scores and credits) without moving its cursor. The set
 * may come back empty when no sampled answer may be trained on. */
dw_status dw_gather(dw_live_task *t, dw_arena *a, uint64_t step, dw_set *out, dw_err *err);

#endif
