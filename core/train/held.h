/* A rollout that several optimiser steps train on: `epochs` times over it, `minibatches` steps each
 * time. Groups stay whole; their order in an epoch depends on the run's seed, the task, the place
 * of the rollout in the run and the epoch alone. */
#ifndef DW_TRAIN_HELD_H
#define DW_TRAIN_HELD_H

#include "train/set.h"

typedef struct dw_held {
    dw_arena arena;
    dw_set set;      /* scored, credited and compacted */
    bool live;       /* set is there and has steps left */
    uint32_t at, of; /* steps taken, and in all */
    uint32_t parts;  /* minibatches an epoch: at most one per group */
    uint64_t rows;   /* prompts it used up: the cursor moves by them at the end */
    uint64_t born;   /* rollouts of the task before it */
} dw_held;

/* Empties it. */
void dw_held_clear(dw_held *h);
/* After `set` was filled from memory of `arena`: how many steps it serves. */
void dw_held_begin(dw_held *h, const dw_live_task *t, uint64_t rows, uint64_t born);
/* The sequences of its next step, in memory of `a`. */
void dw_held_part(const dw_held *h, dw_arena *a, uint64_t step, dw_set *out);

#endif
