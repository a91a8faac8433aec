/* The parts of a plan that say how several objectives share one step. */
#ifndef DW_TRAIN_PLAN_MIX_H
#define DW_TRAIN_PLAN_MIX_H

#include "train/combine.h"
#include "train/constraint.h"
#include "train/fields.h"

/* "combine": { "kind": "sum"|"norm"|"pcgrad"|"mgda"|"cagrad", "c": 0.4, "decay": 0.9,
 *              "normalize": true }
 * "gradients_every": 0        // report norms and cosines of the objectives' gradients so often
 * "constraints": { "NAME": { "metric": "who/loss", "bound": 1.2, "at_least": false,
 *      "task": "who",         // its weight is multiplied, or
 *      "option": "sums.objectives.grpo.kl",  // a tunable option is set to the multiplier
 *      "kind": "dual"|"log"|"pid", "lr": 0.05, "start": 1.0, "max": 100, "window": 1,
 *      "kp": 0.1, "ki": 0.01, "kd": 0.01 } }
 * "limits": { "NAME": { "metric": "kl", "bound": 0.5, "at_least": false, "action": "stop"|"slow",
 *      "factor": 0.5, "window": 1 } }        // slow: the learning rate times factor, while beyond
 */
typedef struct dw_plan_constraint {
    const char *name, *metric;
    dw_constraint_spec spec;
    const char *task;      /* or NULL: then an option */
    const char *objective; /* of task `owner` */
    const char *owner, *option;
} dw_plan_constraint;

typedef struct dw_plan_limit {
    const char *name, *metric;
    double bound, factor;
    bool at_least, stop;
    uint32_t window;
} dw_plan_limit;

typedef struct dw_plan_mix {
    dw_combine_spec combine;
    uint32_t gradients_every;
    dw_plan_constraint *constraint;
    dw_plan_limit *limit;
    size_t n_constraint, n_limit;
} dw_plan_mix;

/* Reads the four members of a plan's root. Task and objective names are checked by the caller's
 * list of tasks (NULL-terminated). */
dw_status dw_plan_mix_parse(const dw_fields *root, const char *const *tasks, dw_plan_mix *out);
/* Appends ,"combine":...,"limits":... */
void dw_plan_mix_print(const dw_plan_mix *m, dw_buf *out);

#endif
