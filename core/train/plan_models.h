/* Reading the models of a plan and who uses them; used by plan.c alone. */
#ifndef DW_TRAIN_PLAN_MODELS_H
#define DW_TRAIN_PLAN_MODELS_H

#include "train/fields.h"
#include "train/plan.h"

/* A schedule whose ends are not negative. */
dw_status dw_plan_schedule(const dw_fields *f, const char *key, dw_schedule *out);
/* "model" and "models". */
dw_status dw_plan_models_parse(const dw_fields *root, dw_plan *p);
/* "optimizer", and a copy of it for every model that has none of its own. */
dw_status dw_plan_optimizer_parse(const dw_fields *root, dw_plan *p);
/* The tasks' models, critics, references, teachers and reward models, by number; and what does not
 * fit together. The tasks are read. */
dw_status dw_plan_roles_parse(const dw_fields *root, dw_plan *p);

#endif
