/* Small arithmetic on sizes, and the bits of numbers. */
#ifndef DW_BASE_SIZE_H
#define DW_BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline size_t dw_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* a / b, rounded up; a + b must fit. */
static inline size_t dw_div_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* To compare NaNs with each other, and 0 with -0. */
static inline uint64_t dw_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

#endif
