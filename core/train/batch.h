/* Builds the dowel_batch that a plugin sees out of a slice of a step's sequences. */
#ifndef DW_TRAIN_BATCH_H
#define DW_TRAIN_BATCH_H

#include "train/observe.h"
#include "train/set.h"

enum { DW_N_COLUMN = 64 };

/* A batch and the memory behind its tables. */
typedef struct dw_batch {
    dowel_batch b;
    dowel_column col[DW_N_COLUMN];
    double
        *grad[DW_N_SEEN_GRAD]; /* NULL where detached or not asked; CHOICES: the instance's own */
    uint32_t n_mark;
} dw_batch;

/* Sequences first .. first + n - 1 of the set (pairs whole). seen: the models' columns in that
 * order, or NULL: NaN there (an estimator). Memory from the arena. */
void dw_batch_build(dw_batch *out, dw_arena *a, const dw_set *s, size_t first, size_t n,
                    const dw_observed *seen, const dw_use *use);

#endif
