/* Small arithmetic on sizes. */
#ifndef DW_BASE_SIZE_H
#define DW_BASE_SIZE_H

#include <stddef.h>

static inline size_t dw_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* a / b, rounded up; a + b must fit. */
static inline size_t dw_div_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

#endif
