/* Counter-based randomness: Philox4x32-10 (Salmon et al. 2011). No state, so no order dependence.
 */
#ifndef DW_BASE_RNG_H
#define DW_BASE_RNG_H

#include <stdint.h>

/* What a number is drawn for; numbers are never reused, they are part of stored runs. */
enum dw_purpose {
    DW_RNG_INIT = 1,      /* random weights */
    DW_RNG_SHUFFLE = 2,   /* order of rows */
    DW_RNG_SAMPLE = 3,    /* next-token choice */
    DW_RNG_LORA = 4,      /* adapter initialisation */
    DW_RNG_PLUGIN = 5,    /* dowel_host.random */
    DW_RNG_SCRIPT = 6,    /* math.random of a recipe */
    DW_RNG_BOOTSTRAP = 7, /* confidence intervals */
    DW_RNG_COMBINE = 8,   /* order of projections between gradients */
    DW_RNG_MINIBATCH = 9, /* order of groups in an epoch over a rollout */
    DW_RNG_TEST = 100,
};

/* 64 random bits: a pure function of its four arguments. */
uint64_t dw_random(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b);
double dw_random_unit(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b); /* [0, 1) */
double dw_random_normal(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b);
/* Uniform in [0, n), n > 0, by rejection-free multiplication of 64 bits. */
uint64_t dw_random_below(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint64_t n);

#endif
