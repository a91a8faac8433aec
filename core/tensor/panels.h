/* Positions in packed matrices, whatever their type. Private to tensor/. */
#ifndef DW_TENSOR_PANELS_H
#define DW_TENSOR_PANELS_H

#include <stdint.h>

#include "tensor/kernels.h"
#include "tensor/linear.h"

static inline size_t dw_panel_size(dw_panel_type type)
{
    return type == DW_PANEL_BF16 ? sizeof(uint16_t) : sizeof(dw_real);
}

/* The panel that starts with this output, a multiple of 16, from column c on. */
static inline const void *dw_panel_at(const dw_panels *p, size_t output, size_t c)
{
    return (const char *)p->data + (output * p->k + c * DW_PANEL) * dw_panel_size(p->type);
}

/* out[rows][n_out] (+)= in[rows][k] W^T for n_out outputs of w from out0 on, a multiple of 16; on
 * the calling thread, with the bits of one accumulator per output whatever the type and the cut. */
void dw_panels_product(const dw_kernels *kernels, const dw_panels *w, size_t out0,
                       const dw_real *in, size_t ld_in, size_t rows, size_t n_out, dw_real *out,
                       size_t ld_out, bool accumulate);

#endif
