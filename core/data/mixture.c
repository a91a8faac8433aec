/* Which row of which source comes at a place of a mixture: by counting alone, so that a run goes on
 * anywhere. */
#include "base/rng.h"
#include "data/order.h"

enum { BLOCK = 256 };

/* Rows of source s in the first b blocks. Every source but the first has the whole part of its
 * share; the first, which is to be the heaviest, has the rest. */
static uint64_t taken(const double *share, size_t n, size_t s, uint64_t b)
{
    if (s)
        return (uint64_t)((double)b * BLOCK * share[s]);
    uint64_t rest = b * BLOCK;
    for (size_t i = 1; i < n; i++)
        rest -= (uint64_t)((double)b * BLOCK * share[i]);
    return rest;
}

/* The source at place i of block b, before the block is shuffled: sources one after the other. */
static size_t source_at(const double *share, size_t n, uint64_t b, uint64_t i)
{
    for (size_t s = 0; s + 1 < n; s++) {
        const uint64_t own = taken(share, n, s, b + 1) - taken(share, n, s, b);
        if (i < own)
            return s;
        i -= own;
    }
    return n - 1;
}

size_t dw_mixture_at(uint64_t seed, const double *share, size_t n, uint64_t place, uint64_t *nth)
{
    const uint64_t b = place / BLOCK, i = place % BLOCK;
    const uint64_t key = dw_random(seed, DW_RNG_SHUFFLE, UINT64_MAX, 0);
    const size_t s = source_at(share, n, b, dw_shuffle_at(key, BLOCK, b * BLOCK + i));
    *nth = taken(share, n, s, b);
    for (uint64_t k = 0; k < i; k++)
        *nth += source_at(share, n, b, dw_shuffle_at(key, BLOCK, b * BLOCK + k)) == s;
    return s;
}
