/* A plan while it runs: everything that is open, and the folder it writes. */
#ifndef DW_TRAIN_LIVE_H
#define DW_TRAIN_LIVE_H

#include "train/checkpoint.h"
#include "train/progress.h"
#include "train/reference.h"
#include "train/run.h"
#include "train/step.h"

typedef struct dw_live {
    dw_job job;
    const dw_run_options *o;
    dw_exec x;
    bool x_ready;
    dw_trainer_state state;
    dw_progress progress;
    dw_metrics metrics;
    dw_buf samples;
    dw_writer *metrics_log, *samples_log;
    dw_arena arena;
    int lock; /* descriptor of RUN/.lock, -1 */
    unsigned failed_saves;
    uint64_t saved_step; /* of the newest checkpoint; 0: none */
    uint32_t *stale;     /* per task: steps in a row that taught little; a warning at 20 */
} dw_live;

/* Kernels, plugins, models and data; no engines and no optimisers. */
dw_status dw_live_open(dw_live *l, dw_plan *p, const dw_callbacks *cb, const dw_run_options *o,
                       dw_err *err);
/* The engines, the optimisers' arenas, the references where somebody asks for one. */
dw_status dw_live_arm(dw_live *l, dw_err *err);
void dw_live_close(dw_live *l);

/* RUN/.lock, held until close. */
dw_status dw_live_lock(dw_live *l, dw_err *err);
const char *dw_live_path(dw_live *l, const char *name); /* RUN/name */
/* What was dropped or cut from the data, one line each. */
/* Writes bad_rows.txt of the run where rows were skipped: file, line, column and why. */
dw_status dw_live_list_bad_rows(dw_live *l, dw_err *err);
void dw_live_print_data(const dw_live *l);

/* Trains from job.step to the end of the plan; see run.h for what it returns. */
dw_status dw_live_train(dw_live *l, dw_err *err);
/* A checkpoint of the current step; old ones are pruned. */
dw_status dw_live_save(dw_live *l, dw_err *err);
/* A trained model as a folder (replaced if it exists): full, or an adapter. extra: text of
 * extra_name inside it, or NULL. */
dw_status dw_live_export(dw_live *l, const dw_live_model *m, const char *name,
                         const char *extra_name, const dw_buf *extra, dw_err *err);

#endif
