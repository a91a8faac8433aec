/* What a model says of any number of sequences, micro-batch by micro-batch, without gradients. */
#ifndef DW_TRAIN_SWEEP_H
#define DW_TRAIN_SWEEP_H

#include "train/observe.h"

/* The columns that v asks for over n packables, one after the other in their order: rows of tokens
 * (of pack[i].n_completion), or of marks. mark: [all tokens], or NULL. Memory from a. */
dw_status dw_sweep(const dw_view *v, const dw_packable *pack, size_t n, uint32_t micro_tokens,
                   const uint8_t *mark, dw_arena *a, dw_observed *out, dw_err *err);

#endif
