/* Rearranges tiles of queries, keys and values into panels, four by four elements at a time. */
#include "tensor/attention_pack.h"

#include <string.h>

typedef dw_real v4 __attribute__((vector_size(4 * sizeof(dw_real))));

/* Not by value: returning a wide vector depends on the instruction set. */
static inline void load4(v4 *v, const dw_real *p)
{
    memcpy(v, p, sizeof *v);
}

/* dst[4][ld] = the transpose of the four rows r0 .. r3. */
static inline void transpose4(const dw_real *r0, const dw_real *r1, const dw_real *r2,
                              const dw_real *r3, dw_real *dst, size_t ld)
{
    v4 a, b, c, d;
    load4(&a, r0);
    load4(&b, r1);
    load4(&c, r2);
    load4(&d, r3);
    v4 ab_lo = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    v4 ab_hi = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    v4 cd_lo = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    v4 cd_hi = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    v4 o0 = __builtin_shufflevector(ab_lo, cd_lo, 0, 1, 4, 5);
    v4 o1 = __builtin_shufflevector(ab_lo, cd_lo, 2, 3, 6, 7);
    v4 o2 = __builtin_shufflevector(ab_hi, cd_hi, 0, 1, 4, 5);
    v4 o3 = __builtin_shufflevector(ab_hi, cd_hi, 2, 3, 6, 7);
    memcpy(dst, &o0, sizeof o0);
    memcpy(dst + ld, &o1, sizeof o1);
    memcpy(dst + 2 * ld, &o2, sizeof o2);
    memcpy(dst + 3 * ld, &o3, sizeof o3);
}

void dw_attention_pack_transposed(const dw_real *const *row, size_t n, size_t k, dw_real *dst)
{
    for (size_t p = 0; p < n; p += DW_PANEL, dst += DW_PANEL * k) {
        size_t m = n - p < DW_PANEL ? n - p : DW_PANEL, m4 = m / 4 * 4, k4 = k / 4 * 4;
        const dw_real *const *r = row + p;
        if (m < DW_PANEL)
            memset(dst, 0, DW_PANEL * k * sizeof *dst);
        for (size_t i = 0; i < k4; i += 4)
            for (size_t j = 0; j < m4; j += 4)
                transpose4(r[j] + i, r[j + 1] + i, r[j + 2] + i, r[j + 3] + i,
                           dst + i * DW_PANEL + j, DW_PANEL);
        for (size_t j = 0; j < m; j++)
            for (size_t i = j < m4 ? k4 : 0; i < k; i++)
                dst[i * DW_PANEL + j] = r[j][i];
    }
}

void dw_attention_pack_straight(const dw_real *const *row, size_t n, size_t n_out, dw_real *dst)
{
    size_t full = n_out / DW_PANEL * DW_PANEL, rest = n_out - full;
    for (size_t i = 0; i < n; i++) {
        dw_real *to = dst + i * DW_PANEL;
        for (size_t p = 0; p < full; p += DW_PANEL)
            memcpy(to + p * n, row[i] + p, DW_PANEL * sizeof *to);
        if (rest > 0) {
            memcpy(to + full * n, row[i] + full, rest * sizeof *to);
            memset(to + full * n + rest, 0, (DW_PANEL - rest) * sizeof *to);
        }
    }
}

void dw_attention_transpose(const dw_real *src, size_t ld_src, size_t m, size_t n, dw_real *dst,
                            size_t ld_dst)
{
    size_t m4 = m / 4 * 4, n4 = n / 4 * 4;
    for (size_t i = 0; i < m4; i += 4)
        for (size_t j = 0; j < n4; j += 4) {
            const dw_real *s = src + i * ld_src + j;
            transpose4(s, s + ld_src, s + 2 * ld_src, s + 3 * ld_src, dst + j * ld_dst + i, ld_dst);
        }
    for (size_t i = 0; i < m; i++)
        for (size_t j = i < m4 ? n4 : 0; j < n; j++)
            dst[j * ld_dst + i] = src[i * ld_src + j];
}
