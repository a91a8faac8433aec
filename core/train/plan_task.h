/* Reading one task of a plan; used by plan.c alone. */
#ifndef DW_TRAIN_PLAN_TASK_H
#define DW_TRAIN_PLAN_TASK_H

#include "train/fields.h"
#include "train/plan.h"

extern const char *const dw_plan_on_bad[], *const dw_plan_on_long[], *const dw_plan_types[];
extern const char *const dw_plan_layouts[], *const dw_plan_loss_on[];
extern const char *const dw_plan_splits[], *const dw_plan_duplicates[], *const dw_plan_overlaps[];

/* `functions`: the plan's object of that name (may be NULL); every Lua name must be in it. */
dw_status dw_plan_task_parse(const dw_fields *tasks, const dw_json *v, const dw_json *functions,
                             dw_plan_task *out);
/* Is `name` among the plan's functions (may be NULL) and of that kind? */
dw_status dw_plan_function(const dw_fields *f, const char *key, const dw_json *functions,
                           const char *name, const char *kind);
/* {"field"|"format"|"lua": ...} under `key`, unset where there is none; kind: of its function. */
dw_status dw_plan_column(const dw_fields *columns, const char *key, const char *kind,
                         const dw_json *functions, dw_column *out);
/* Members of an object, sorted by key; in the arena. */
const dw_json **dw_plan_sorted(const dw_fields *f, const dw_json *obj, size_t *n);

#endif
