/* What the plugins of a task ask for, as one. */
#ifndef DW_TRAIN_ASKS_H
#define DW_TRAIN_ASKS_H

#include "train/task.h"

/* Unites the requests of a task's instances. DW_E_RECIPE names two that contradict each other, a
 * role that is missing, and a model that the task names and nobody asks. */
dw_status dw_asks_sum(dw_live_task *t, dw_err *err);
/* The ids of the tokens that CHOICES reads; the task's model is open. */
dw_status dw_asks_choices(dw_live_task *t, dw_err *err);

#endif
