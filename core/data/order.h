/* In which order rows come, and on which side of a split they are. */
#ifndef DW_DATA_ORDER_H
#define DW_DATA_ORDER_H

#include "data/dataset.h"

/* What comes at a place of the endless order over the whole run; of a mixture every source has its
 * own order and epochs. */
const dw_row *dw_dataset_at(const dw_dataset *d, uint64_t seed, bool shuffle, uint64_t place);

/* Row number `n` (counted from 0 over the whole run) of the endless shuffled order: epoch
 * n / len in an order that depends on (seed, epoch) alone. */
size_t dw_shuffle_at(uint64_t seed, size_t len, uint64_t n);
enum { DW_MIXTURE_MAX = 16 };
/* The source of row number `place` of a mixture of n sources, and how many rows of that source came
 * before it. Shares sum to 1, the first is the largest. In every 256 rows each source has its share
 * to within one row. */
size_t dw_mixture_at(uint64_t seed, const double *share, size_t n, uint64_t place, uint64_t *nth);

/* Rows of `held` that `train` has, too. */
typedef struct dw_overlap {
    uint64_t rows, prompts; /* the same tokens; only the same prompt */
    char at[512];           /* the first of them: "file:line and file:line" */
} dw_overlap;
/* Drops those rows from `held` where `drop`. */
void dw_dataset_overlap(const dw_dataset *train, dw_dataset *held, bool drop, dw_overlap *out);
/* 0 .. 1 by the text alone, the same in every release. */
double dw_prompt_share(dw_text prompt);

#endif
