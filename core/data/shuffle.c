/* The shuffled order: a stateless permutation of the rows for every epoch. */
#include "base/rng.h"
#include "data/order.h"

enum { SMALL = 256, ROUNDS = 8 };

/* Few rows: Fisher-Yates. A Feistel network of few bits reaches too few orders. */
static size_t small_at(uint64_t seed, size_t len, uint64_t epoch, size_t i)
{
    uint8_t order[SMALL];
    for (size_t k = 0; k < len; k++)
        order[k] = (uint8_t)k;
    for (size_t k = len - 1; k > 0; k--) {
        size_t j = (size_t)dw_random_below(seed, DW_RNG_SHUFFLE, epoch, k, k + 1);
        uint8_t t = order[k];
        order[k] = order[j];
        order[j] = t;
    }
    return order[i];
}

/* A balanced Feistel network over 2 * half bits with Philox as its round function. */
static uint64_t feistel(uint64_t seed, uint64_t epoch, unsigned half, uint64_t x)
{
    uint64_t mask = (UINT64_C(1) << half) - 1, left = x >> half, right = x & mask;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint64_t f = dw_random(seed, DW_RNG_SHUFFLE, epoch, round << 32 | right);
        uint64_t next = left ^ (f & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

size_t dw_shuffle_at(uint64_t seed, size_t len, uint64_t n)
{
    dw_assert(len > 0);
    uint64_t epoch = n / len, i = n % len;
    if (len <= SMALL)
        return small_at(seed, len, epoch, (size_t)i);
    unsigned half = 1;
    while ((UINT64_C(1) << 2 * half) < len)
        half++;
    /* Walking along the cycle until it comes back below len keeps it a permutation; the domain is
     * at most four times len, so that takes few turns. */
    do
        i = feistel(seed, epoch, half, i);
    while (i >= len);
    return (size_t)i;
}
