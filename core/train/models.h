/* The models of a plan while it runs: what sits on each follows from what the tasks ask for; each
 * that trains has an optimiser of its own. */
#ifndef DW_TRAIN_MODELS_H
#define DW_TRAIN_MODELS_H

#include "model/engine.h"
#include "model/generate.h"
#include "train/optim.h"

struct dw_job;

typedef struct dw_live_model {
    const dw_plan_model *plan;
    uint64_t seed;
    const char *prefix; /* of its metrics: "" for the lead, else "NAME/" */
    dw_model *m;
    dw_engine *e;      /* NULL before dw_models_arm */
    dw_generator *gen; /* made on first use */
    dw_optim optim;    /* of one that trains */
    bool armed;        /* optim is there */
    double norm, lr;   /* of the current step; 0 while it is frozen */
} dw_live_model;

/* Opens every model with the heads that the job's tasks want, and gives the tasks theirs. The
 * plugins of the tasks have been asked. DW_E_RECIPE names what does not go together. */
dw_status dw_models_open(struct dw_job *job, dw_err *err);
/* Engines and optimisers. */
dw_status dw_models_arm(struct dw_job *job, dw_err *err);
void dw_models_close(struct dw_job *job);

/* The model that a run is about, which goes to final/: the policy, or the first one that trains. */
dw_live_model *dw_models_lead(const struct dw_job *job);
/* Does it train, and is it not frozen at this step (from 0)? */
bool dw_models_moves(const dw_live_model *m, uint64_t step);
/* Opens another copy of the model as it was at the start, without gradients, for a reference;
 * writable: one that will follow. */
dw_status dw_models_open_start(const struct dw_job *job, const dw_live_model *m, bool writable,
                               dw_model **out, dw_err *err);

/* Before a step: every gradient to zero. */
void dw_models_zero(struct dw_job *job);
/* The norms of all gradients; false when one is not finite (*bad is then its model). */
bool dw_models_norms(struct dw_job *job, const dw_live_model **bad);
/* Its learning rate at a step: the schedule's, slowed by limits; 0 while it is frozen. */
double dw_models_rate(const struct dw_job *job, const dw_live_model *m, uint64_t step);
/* Moves every model that is not frozen at the step: its optimiser, its schedule. */
void dw_models_update(struct dw_job *job, uint64_t step);

#endif
