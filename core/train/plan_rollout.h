/* Reading how a task samples; used by plan_task.c alone. */
#ifndef DW_TRAIN_PLAN_ROLLOUT_H
#define DW_TRAIN_PLAN_ROLLOUT_H

#include "train/plan_task.h"

/* *out stays NULL where the task samples nothing. */
dw_status dw_plan_rollout_parse(const dw_fields *task, const dw_json *functions,
                                const dw_plan_rollout **out);
/* The rewards that it names are the task's. */
dw_status dw_plan_rollout_check(const dw_fields *task, const dw_plan_task *t);

#endif
