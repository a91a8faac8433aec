/* bfloat16, the upper half of a float: exact on the way out, nearest even on the way in. Private to
 * tensor/ and to the readers and writers of checkpoints. */
#ifndef DW_TENSOR_BF16_H
#define DW_TENSOR_BF16_H

#include <stdint.h>
#include <string.h>

static inline float dw_bf16_widen(uint16_t h)
{
    const uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Overflow gives infinity, and a NaN stays one. */
static inline uint16_t dw_bf16_round(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffff) > 0x7f800000) {
        const uint32_t cut = u >> 16;
        return (uint16_t)(cut & 0x7f ? cut : cut | 0x40);
    }
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

#endif
