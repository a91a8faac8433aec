/* Log-probabilities under models that stand still: references and teachers, cached by content.
 *
 * A named one is a model of the plan. Else it is the start of a model that trains: with an adapter
 * that is the same model, adapter off; in full training rows of data are scored once, before the
 * first step, and kept in RUN/reference.cache; what is missing later (sampled answers, or the file)
 * is scored by a second, frozen copy that is opened from the plan's model when it is first needed.
 * A copy that follows the model (train/refresh.h) is open from the beginning and caches nothing
 * beyond its next update. */
#ifndef DW_TRAIN_REFERENCE_H
#define DW_TRAIN_REFERENCE_H

#include "train/refresh.h"
#include "train/set.h"

typedef struct dw_reference dw_reference;

/* Makes what the job's tasks compare with and gives it to them. pristine: the trained weights are
 * still those of the start. The models are armed. */
dw_status dw_references_arm(dw_job *job, bool pristine, dw_err *err);
void dw_references_close(dw_job *job);
/* The weights have moved, without an update of what follows them: a checkpoint was read. */
void dw_references_moved(dw_job *job);
/* After an optimiser step. */
void dw_references_stepped(dw_job *job);

/* The rows' caches in RUN: reads them, and in full training before the first step scores every row
 * that the run will touch. */
dw_status dw_references_prepare(dw_job *job, const char *run, dw_err *err);
dw_status dw_references_save_caches(const dw_job *job, const char *run, dw_err *err);
/* For checkpoints: the state of a copy that follows its model, and its parameters; NULL of others.
 */
dw_refresh *dw_reference_refresh(dw_reference *r, const dw_params **copy);
/* The copy's parameters were read from a checkpoint. */
void dw_reference_restored(dw_reference *r);

/* Log-probabilities of every token of the set; pack: its own, or those with a teacher's prompts.
 * keep: remember the result (rows of data, not sampled answers). */
dw_status dw_reference_fill(dw_reference *r, const dw_set *s, const dw_packable *pack, bool keep,
                            double *logp, dw_err *err);
/* An engine for a forward pass beside the trainer's own saved one, and its flags. */
dw_status dw_reference_engine(dw_reference *r, dw_engine **e, unsigned *flags, dw_err *err);
/* A generator of the reference's own, and whether its adapter has to be left out. */
dw_status dw_reference_generator(dw_reference *r, dw_generator **gen, bool *no_adapter,
                                 dw_err *err);
/* Memory of a second copy that full training opens, in bytes; 0: none. */
size_t dw_reference_bytes(const dw_live_task *t);

#endif
