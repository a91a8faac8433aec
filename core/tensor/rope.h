/* Rotary position embedding (Su et al. 2021), in place. */
#ifndef DW_TENSOR_ROPE_H
#define DW_TENSOR_ROPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor/exec.h"

/* Turns the first 2 * n_freq elements of every head; element i pairs with i + n_freq (the
 * half-split order of Hugging Face), or with its neighbour where `adjacent`. x[rows][heads *
 * head_dim]; pos [rows]; inv_freq [n_freq]; factor multiplies cos and sin (YaRN; else 1). inverse:
 * the transpose, for gradients. Angles are computed in double. */
void dw_rope(const dw_exec *x, dw_real *v, size_t ld, size_t rows, const uint32_t *pos,
             size_t heads, size_t head_dim, const double *inv_freq, size_t n_freq, double factor,
             bool adjacent, bool inverse);

#endif
