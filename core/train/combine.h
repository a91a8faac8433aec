/* From the gradients of several objectives to one: the coefficients of a linear combination, which
 * need nothing but the gradients' inner products.
 *
 * gram[j * k + i] = <g_j, g_i> over the parameters, in double, of the weighted gradients. The
 * combined gradient is sum_i c_i g_i. Every method is scaled so that k equal gradients give the
 * plain sum. An objective whose gradient is zero is left out. */
#ifndef DW_TRAIN_COMBINE_H
#define DW_TRAIN_COMBINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum dw_combine_kind {
    DW_COMBINE_SUM,    /* c = 1 */
    DW_COMBINE_NORM,   /* every gradient brought to a common norm, times its weight */
    DW_COMBINE_PCGRAD, /* conflicting parts projected away (Yu et al. 2020, 2001.06782) */
    DW_COMBINE_MGDA,   /* the shortest vector of the convex hull (Sener and Koltun 2018) */
    DW_COMBINE_CAGRAD, /* within c of the mean, the best worst case (Liu et al. 2021, 2110.14048),
                          divided by 1 + c */
} dw_combine_kind;

typedef struct dw_combine_spec {
    dw_combine_kind kind;
    double c;       /* CAGRAD: radius as a share of the mean's norm, 0 .. 1 */
    double decay;   /* NORM: of the moving average of the norms, 0: the step's own */
    bool normalize; /* MGDA: directions only, else the smallest gradient wins */
} dw_combine_spec;

/* weight [k]: what the gradients were multiplied with (NORM keeps that proportion). reference: the
 * moving mean of the unweighted norms, 0 before the first step; NORM reads and moves it. seed and
 * step decide PCGRAD's order. */
void dw_combine(const dw_combine_spec *s, const double *gram, const double *weight, size_t k,
                uint64_t seed, uint64_t step, double *reference, double *c);

#endif
