/* One pass of a set through the models and every objective of its task. */
#ifndef DW_TRAIN_PASS_H
#define DW_TRAIN_PASS_H

#include "train/set.h"

/* One objective pass over a set: losses go to *loss unweighted, metrics to the job's sink. */
typedef struct dw_pass {
    dw_job *job;
    dw_set *set;
    double weight;      /* of the task; gradients are scaled by it and the objective's own */
    const dw_use *only; /* one objective of the task, or NULL: all */
    bool backward;
    bool each_unit; /* evaluation: one loss call per row, so that metrics have parts */
    double loss;    /* out: weighted sum */
    const dw_packable *teacher_pack; /* inside: what the other model of a divergence reads */
} dw_pass;
dw_status dw_pass_run(dw_pass *p, dw_err *err);

#endif
