/* Running a plan: the training loop, and its folder.
 *
 * RUN/ holds plan.json, manifest.json (versions, kernel, BLAS, threads, hashes of model, data,
 * plugins), recipe/ (the sources), metrics.jsonl, samples.jsonl, checkpoint-N/ (trainer state;
 * complete or absent), best/ (the best by eval, with its export), final/ (the export: a Hugging
 * Face folder, or an adapter; of further models that train in final-NAME/), and reference.cache. */
#ifndef DW_TRAIN_RUN_H
#define DW_TRAIN_RUN_H

#include "plug/plug.h"
#include "train/metrics.h"
#include "train/plan.h"

/* Lua callbacks, provided by script/ through this table; NULL where the plan has none. */
typedef struct dw_callbacks {
    void *ctx;
    dw_row_fn row;
    /* One sample -> number, NaN for no opinion (nil); why may be appended to. */
    dw_status (*reward)(void *ctx, const char *fn, const dowel_sample *s, double *value,
                        dw_buf *why, dw_err *err);
    /* A task's weight at a step (from 0), from the numbers of the step before: those of
     * metrics.jsonl and of the newest evaluations; empty at the first. At least 0. */
    dw_status (*weight)(void *ctx, const char *fn, uint64_t step, const dw_metrics *past,
                        double *value, dw_err *err);
} dw_callbacks;

typedef struct dw_run_options {
    const char *out;    /* RUN folder */
    int threads;        /* 0: all */
    const char *kernel; /* NULL: auto */
    bool quiet;
    const char *const *source; /* files to keep in RUN/recipe: the recipe and what it required */
    const char *const *source_name; /* their names there */
    size_t n_source;
    const char *const *plugin_dir; /* --plugin-dir, absolute; before the plan's */
    size_t n_plugin_dir;
    const char *from; /* recorded rollouts: a file or a folder; NULL: answers are sampled */
    bool score_again,
        record;       /* recorded ones are scored anew; rollouts are written to RUN/rollouts */
    uint64_t stop_at; /* tests: stop as if interrupted after this many steps; 0 never */
} dw_run_options;

/* 0; DW_E_SIGINT or DW_E_SIGTERM when stopped with the state saved; other errors with a message. */
dw_status dw_run(dw_plan *p, const dw_callbacks *cb, const dw_run_options *o, dw_err *err);
/* Continues RUN from its newest complete checkpoint, bit for bit. */
dw_status dw_run_resume(dw_plan *p, const dw_callbacks *cb, const dw_run_options *o, dw_err *err);
/* Loads data and model headers, counts tokens and memory, prints, trains nothing. */
dw_status dw_run_dry(dw_plan *p, const dw_callbacks *cb, const dw_run_options *o, dw_buf *out,
                     dw_err *err);
/* `dowel show RUN`: curves, samples, what is left. */
dw_status dw_run_show(const char *run, dw_buf *out, dw_err *err);

#endif
