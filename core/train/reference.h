/* Log-probabilities under the frozen reference, cached by content.
 *
 * With an adapter the reference is the same model, adapter off. In full training it is the model
 * the run started from: rows of data are scored once, before the first step, and kept in
 * RUN/reference.cache; what is missing later (sampled answers, or the file) is scored by a second,
 * frozen copy that is opened from the plan's model when it is first needed. */
#ifndef DW_TRAIN_REFERENCE_H
#define DW_TRAIN_REFERENCE_H

#include "train/set.h"

typedef struct dw_reference dw_reference;

/* e: the engine that trains. pristine: the trained weights are still those of the start. */
dw_reference *dw_reference_create(dw_job *job, dw_engine *e, bool pristine);
void dw_reference_destroy(dw_reference *r); /* accepts NULL */
/* The weights have moved: from now on the training engine is not the reference. */
void dw_reference_moved(dw_reference *r);
/* Fills set.ref_logp. keep: remember the result (rows of data, not sampled answers). */
dw_status dw_reference_fill(dw_reference *r, dw_set *s, bool keep, dw_err *err);
/* Scores every row that the run will touch; full training, before the first step. */
dw_status dw_reference_prepare(dw_reference *r, dw_err *err);
dw_status dw_reference_save(const dw_reference *r, const char *path, dw_err *err);
/* A missing file is fine; one that is damaged is DW_E_INPUT. */
dw_status dw_reference_load(dw_reference *r, const char *path, dw_err *err);

#endif
