/* The gradients of a step's objectives one by one, of the model that a run is about (further models
 * get the plain sum): their norms and angles, and what they are combined to. Costs one
 * parameter-sized buffer and one forward and backward pass per objective. */
#ifndef DW_TRAIN_COMPONENT_H
#define DW_TRAIN_COMPONENT_H

#include "train/mix.h"

typedef struct dw_components {
    dw_job *job;
    dw_params *p;
    dw_arena arena; /* of names */
    struct dw_component {
        const char *name; /* "who", "sums/grpo" */
        double weight;    /* of task and objective */
        dw_real *g;       /* [p->n] */
    } * item;
    size_t n, cap;
} dw_components;

/* Does the job's current step take its objectives apart? */
bool dw_components_wanted(const dw_job *job);
/* Does any step? */
bool dw_components_ever(const dw_job *job);
/* How many objectives a plan has: each may need a buffer. */
size_t dw_components_most(const dw_job *job);

/* p->g is zero. DW_E_LIMIT with the bytes when memory is gone. Between begin and end p->g is not
 * the step's gradient. */
dw_status dw_components_begin(dw_components *c, dw_job *job, dw_err *err);
/* What comes into p->g from here on belongs to this objective. */
void dw_components_next(dw_components *c, const char *name, double weight);
/* Writes the combined gradient to p->g, reports gradients/NAME/norm, gradients/NAME/coefficient,
 * gradients/A~B/cosine and gradients/conflict_rate to the job's sink, and frees. */
void dw_components_end(dw_components *c);

#endif
