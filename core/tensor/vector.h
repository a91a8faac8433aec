/* Whole-arena passes: norms, scaling, optimiser updates. Sums run in double over fixed blocks. */
#ifndef DW_TENSOR_VECTOR_H
#define DW_TENSOR_VECTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "tensor/exec.h"

double dw_vec_sumsq(const dw_exec *x, const dw_real *v, size_t n);
double dw_vec_dot(const dw_exec *x, const dw_real *a, const dw_real *b, size_t n);
bool dw_vec_finite(const dw_exec *x, const dw_real *v, size_t n);
void dw_vec_zero(const dw_exec *x, dw_real *v, size_t n);
void dw_vec_scale(const dw_exec *x, dw_real *v, dw_real a, size_t n);
void dw_vec_add(const dw_exec *x, dw_real *y, const dw_real *v, dw_real a, size_t n); /* y += a v */

/* AdamW with decoupled decay (Loshchilov and Hutter 2019), as torch.optim.AdamW:
 * w -= lr * decay * w; m, v updated with g * grad_scale; w -= lr * mhat / (sqrt(vhat) + eps).
 * step counts from 1. */
typedef struct dw_adamw {
    double lr, beta1, beta2, eps, decay, grad_scale;
    long step;
} dw_adamw;
void dw_vec_adamw(const dw_exec *x, const dw_adamw *o, dw_real *w, const dw_real *g, dw_real *m,
                  dw_real *v, size_t n);
/* w -= lr * (g * grad_scale + decay * w); with momentum: buf = momentum * buf + g..., as
 * torch.optim.SGD. m may be NULL when momentum is 0. */
typedef struct dw_sgd {
    double lr, momentum, decay, grad_scale;
    long step; /* from 1: the first step sets the buffer to the gradient */
} dw_sgd;
void dw_vec_sgd(const dw_exec *x, const dw_sgd *o, dw_real *w, const dw_real *g, dw_real *m,
                size_t n);

#endif
