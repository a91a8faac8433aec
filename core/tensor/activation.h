/* Feed-forward activations. */
#ifndef DW_TENSOR_ACTIVATION_H
#define DW_TENSOR_ACTIVATION_H

#include <stddef.h>

#include "tensor/exec.h"

typedef enum dw_act { DW_ACT_SILU, DW_ACT_GELU_TANH, DW_ACT_GELU_ERF, DW_ACT_RELU } dw_act;

/* Gated: in[rows][2 * n] holds gate then up, out[rows][n] = act(gate) * up. */
void dw_gated_forward(const dw_exec *x, dw_act act, const dw_real *in, size_t rows, size_t n,
                      dw_real *out);
/* d_in[rows][2 * n] is written. d_in may not overlap d_out. */
void dw_gated_backward(const dw_exec *x, dw_act act, const dw_real *in, size_t rows, size_t n,
                       const dw_real *d_out, dw_real *d_in);
/* Plain: out[rows][n] = act(in). */
void dw_act_forward(const dw_exec *x, dw_act act, const dw_real *in, size_t rows, size_t n,
                    dw_real *out);
void dw_act_backward(const dw_exec *x, dw_act act, const dw_real *in, size_t rows, size_t n,
                     const dw_real *d_out, dw_real *d_in);

#endif
