/* RUN/manifest.json: what a run was made of and ran under. */
#ifndef DW_TRAIN_MANIFEST_H
#define DW_TRAIN_MANIFEST_H

#include "base/hash.h"
#include "train/task.h"

/* Writes path: version, kernel, BLAS, threads, and hashes of plan (paths and threads left out),
 * model, every data file list and every plugin. */
dw_status dw_manifest_write(const dw_job *job, const char *path, dw_err *err);
/* Compares with what is open now: another plan, model, data or plugin is DW_E_INPUT and named; a
 * different version, kernel, BLAS or number of threads is a warning. */
dw_status dw_manifest_check(const dw_job *job, const char *path, dw_err *err);
void dw_manifest_plan_hash(const dw_plan *p, char out[65]);
/* Adds names and contents of everything below a folder; nothing when it is not there. */
void dw_manifest_add_folder(dw_sha256 *h, dw_arena *a, const char *dir);

#endif
