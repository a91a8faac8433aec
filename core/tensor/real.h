/* The number type of the engine. Everything in tensor/ and model/ is written in dw_real, so that
 * tests can compile the plain kernels a second time on doubles (DW_DOUBLE) and check gradients by
 * finite differences to 1e-7. */
#ifndef DW_TENSOR_REAL_H
#define DW_TENSOR_REAL_H

#include <math.h>

#ifdef DW_DOUBLE
typedef double dw_real;
#define DW_RC(x)  x
#define dw_rexp   exp
#define dw_rlog   log
#define dw_rsqrt_ sqrt
#define dw_rtanh  tanh
#define dw_rerf   erf
#else
typedef float dw_real;
#define DW_RC(x)  x##f
#define dw_rexp   expf
#define dw_rlog   logf
#define dw_rsqrt_ sqrtf
#define dw_rtanh  tanhf
#define dw_rerf   erff
#endif

#endif
