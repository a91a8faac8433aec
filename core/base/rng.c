/* Philox4x32-10: ten rounds of multiply and swap over a 128-bit counter with a 64-bit key. */
#include "base/rng.h"

#include <math.h>

__extension__ typedef unsigned __int128 wide;

static uint64_t scramble(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t dw_random(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b)
{
    uint64_t key = scramble(scramble(seed) ^ purpose);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)a, c1 = (uint32_t)(a >> 32), c2 = (uint32_t)b, c3 = (uint32_t)(b >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p = (uint64_t)0xD2511F53u * c0, q = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(q >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)q;
        c3 = (uint32_t)p;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (uint64_t)c1 << 32 | c0;
}

double dw_random_unit(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b)
{
    return (double)(dw_random(seed, purpose, a, b) >> 11) * 0x1p-53;
}

double dw_random_normal(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b)
{
    /* Box and Muller on two halves of one draw; 32 bits each put the tail beyond 6 sigma. */
    uint64_t r = dw_random(seed, purpose, a, b);
    double u = ((double)(r >> 32) + 1) * 0x1p-32, v = (double)(uint32_t)r * 0x1p-32;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

uint64_t dw_random_below(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint64_t n)
{
    return (uint64_t)(((wide)dw_random(seed, purpose, a, b) * n) >> 64);
}
