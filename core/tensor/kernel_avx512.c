/* The inner loops for AVX-512 (F, DQ, BW and VL, with FMA). */
#include <immintrin.h>
#include <string.h>

#include "tensor/kernels.h"

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

static bool supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* ---- product ---- */

enum { ROWS = 8, PANELS = 4 }; /* of the largest tiles: 8 x 3 and 6 x 4 vectors */

#define TILE_ARGS                                                                                  \
    const float *a, size_t lda, size_t k, const void *b, size_t ldb, float *c, size_t ldc, bool acc

/* Sixteen weights of a panel from element i on; `half`: of bf16. */
INLINE __m512 load16(const bool half, const void *b, size_t i)
{
    if (!half)
        return _mm512_loadu_ps((const float *)b + i);
    const __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)((const uint16_t *)b + i));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* Element i of panels of either type. */
INLINE const void *at(const bool half, const void *b, size_t i)
{
    return (const char *)b + i * (half ? sizeof(uint16_t) : sizeof(float));
}

/* `rows` x `panels` accumulators, one vector each. Both are constants where this is inlined, and
 * every loop over them is unrolled, or the accumulators would live in memory. */
INLINE void tile(const bool half, const int rows, const int panels, TILE_ARGS)
{
    __m512 s[ROWS][PANELS];
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
    for (int p = 0; p < panels; p++)
        s[r][p] = acc ? _mm512_loadu_ps(c + r * ldc + p * 16) : _mm512_setzero_ps();
    for (size_t i = 0; i < k; i++) {
        __m512 v[PANELS];
        UNROLL
        for (int p = 0; p < panels; p++)
            v[p] = load16(half, b, (size_t)p * ldb + i * 16);
        UNROLL
        for (int r = 0; r < rows; r++) {
            const __m512 x = _mm512_set1_ps(a[r * lda + i]);
            UNROLL
            for (int p = 0; p < panels; p++)
                s[r][p] = _mm512_fmadd_ps(x, v[p], s[r][p]);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
    for (int p = 0; p < panels; p++)
        _mm512_storeu_ps(c + r * ldc + p * 16, s[r][p]);
}

typedef void tile_fn(TILE_ARGS);
#define TILE(r, p)                                                                                 \
    static void tile##r##x##p(TILE_ARGS)                                                           \
    {                                                                                              \
        tile(false, r, p, a, lda, k, b, ldb, c, ldc, acc);                                         \
    }                                                                                              \
    static void half##r##x##p(TILE_ARGS)                                                           \
    {                                                                                              \
        tile(true, r, p, a, lda, k, b, ldb, c, ldc, acc);                                          \
    }
#define TILES(r) TILE(r, 1) TILE(r, 2) TILE(r, 3)
TILES(1)
TILES(2)
TILES(3)
TILES(4)
TILES(5)
TILES(6)
TILES(7)
TILES(8)
TILE(1, 4)
TILE(2, 4)
TILE(3, 4)
TILE(4, 4)
TILE(5, 4)
TILE(6, 4)

/* By rows and panels, of floats and of bf16; 7 x 4 and 8 x 4 do not fit the registers. */
#define ROW_OF(t, r) NULL, t##r##x1, t##r##x2, t##r##x3
#define TILES_OF(t)                                                                                \
    {                                                                                              \
        {NULL}, {ROW_OF(t, 1), t##1x4}, {ROW_OF(t, 2), t##2x4}, {ROW_OF(t, 3), t##3x4},            \
            {ROW_OF(t, 4), t##4x4}, {ROW_OF(t, 5), t##5x4}, {ROW_OF(t, 6), t##6x4},                \
            {ROW_OF(t, 7), NULL}, {ROW_OF(t, 8), NULL},                                            \
    }
static tile_fn *const tiles[2][ROWS + 1][PANELS + 1] = {TILES_OF(tile), TILES_OF(half)};

/* The last panel when it is cut: through a full tile on the stack. */
static void cut_panel(bool half, const float *a, size_t lda, size_t rows, size_t k, const void *b,
                      size_t n, float *c, size_t ldc, bool acc)
{
    float t[ROWS * 16] = {0};
    if (acc)
        for (size_t r = 0; r < rows; r++)
            memcpy(t + r * 16, c + r * ldc, n * sizeof *t);
    tiles[half][rows][1](a, lda, k, b, 0, t, 16, acc);
    for (size_t r = 0; r < rows; r++)
        memcpy(c + r * ldc, t + r * 16, n * sizeof *t);
}

/* All rows against `panels` whole panels: these stay in cache while the rows go by. */
static void panel_group(bool half, const float *a, size_t lda, size_t rows, size_t k, const void *b,
                        size_t panels, float *c, size_t ldc, bool acc)
{
    for (size_t i = 0; i < rows; i += ROWS) {
        size_t n = rows - i < ROWS ? rows - i : ROWS;
        tiles[half][n][panels](a + i * lda, lda, k, b, 16 * k, c + i * ldc, ldc, acc);
    }
}

static void any_product(bool half, const float *a, size_t lda, size_t rows, size_t k,
                        const void *panels, size_t n_out, float *c, size_t ldc, bool acc)
{
    const size_t whole = n_out / 16, most = rows <= 6 ? 4 : 3;
    for (size_t p = 0; p < whole;) {
        size_t n = whole - p < most ? whole - p : most;
        panel_group(half, a, lda, rows, k, at(half, panels, p * 16 * k), n, c + p * 16, ldc, acc);
        p += n;
    }
    if (n_out % 16 != 0)
        for (size_t i = 0; i < rows; i += ROWS)
            cut_panel(half, a + i * lda, lda, rows - i < ROWS ? rows - i : ROWS, k,
                      at(half, panels, whole * 16 * k), n_out % 16, c + i * ldc + whole * 16, ldc,
                      acc);
}

static void product(const float *a, size_t lda, size_t rows, size_t k, const float *panels,
                    size_t n_out, float *c, size_t ldc, bool acc)
{
    any_product(false, a, lda, rows, k, panels, n_out, c, ldc, acc);
}

static void product_bf16(const float *a, size_t lda, size_t rows, size_t k, const uint16_t *panels,
                         size_t n_out, float *c, size_t ldc, bool acc)
{
    any_product(true, a, lda, rows, k, panels, n_out, c, ldc, acc);
}

static void widen(const uint16_t *in, float *out, size_t n)
{
    for (size_t i = 0; i < n; i += 16)
        _mm512_storeu_ps(out + i, load16(true, in, i));
}

/* ---- exponentials ---- */

static __mmask16 tail_mask(size_t n)
{
    return (__mmask16)((1U << n) - 1);
}

/* exp(x) = 2^n exp(r), |r| <= ln 2 / 2, with ln 2 in two parts and a polynomial of degree 6 for
 * (exp(r) - 1 - r) / r^2; scalef reaches the subnormals and infinity. About 1 ulp. */
INLINE __m512 exp16(__m512 x)
{
    /* The constant comes first: these two return the second operand when one is not a number. */
    x = _mm512_min_ps(_mm512_set1_ps(89.0F), x);
    x = _mm512_max_ps(_mm512_set1_ps(-105.0F), x);
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504F)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4F);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1F));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
    p = _mm512_add_ps(p, _mm512_set1_ps(1.0F));
    return _mm512_scalef_ps(p, n);
}

INLINE __m512 sigmoid16(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0F);
    return _mm512_div_ps(one, _mm512_add_ps(one, exp16(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

static void vexp(const float *in, float *out, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(out + i, exp16(_mm512_loadu_ps(in + i)));
    if (i < n) {
        __mmask16 m = tail_mask(n - i);
        _mm512_mask_storeu_ps(out + i, m, exp16(_mm512_maskz_loadu_ps(m, in + i)));
    }
}

static void vsigmoid(const float *in, float *out, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(out + i, sigmoid16(_mm512_loadu_ps(in + i)));
    if (i < n) {
        __mmask16 m = tail_mask(n - i);
        _mm512_mask_storeu_ps(out + i, m, sigmoid16(_mm512_maskz_loadu_ps(m, in + i)));
    }
}

/* ---- reductions ---- */

static float vmax(const float *in, size_t n)
{
    const __m512 low = _mm512_set1_ps(-INFINITY);
    __m512 m = low;
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        m = _mm512_max_ps(m, _mm512_loadu_ps(in + i));
    if (i < n)
        m = _mm512_max_ps(m, _mm512_mask_loadu_ps(low, tail_mask(n - i), in + i));
    return _mm512_reduce_max_ps(m);
}

static void axpy(float a, const float *x, float *y, size_t n)
{
    const __m512 va = _mm512_set1_ps(a);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(y + i,
                         _mm512_fmadd_ps(va, _mm512_loadu_ps(x + i), _mm512_loadu_ps(y + i)));
    if (i < n) {
        __mmask16 m = tail_mask(n - i);
        _mm512_mask_storeu_ps(
            y + i, m,
            _mm512_fmadd_ps(va, _mm512_maskz_loadu_ps(m, x + i), _mm512_maskz_loadu_ps(m, y + i)));
    }
}

static float dot(const float *x, const float *y, size_t n)
{
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(x + i), _mm512_loadu_ps(y + i), s0);
        s1 = _mm512_fmadd_ps(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(y + i + 16), s1);
        s2 = _mm512_fmadd_ps(_mm512_loadu_ps(x + i + 32), _mm512_loadu_ps(y + i + 32), s2);
        s3 = _mm512_fmadd_ps(_mm512_loadu_ps(x + i + 48), _mm512_loadu_ps(y + i + 48), s3);
    }
    for (; i + 16 <= n; i += 16)
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(x + i), _mm512_loadu_ps(y + i), s0);
    if (i < n) {
        __mmask16 m = tail_mask(n - i);
        s1 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, x + i), _mm512_maskz_loadu_ps(m, y + i), s1);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}

#include "tensor/kernel_rows.h"

const struct dw_kernels dw_kernels_avx512 = {
    .name = "avx512",
    .supported = supported,
    .product = product,
    .product_bf16 = product_bf16,
    .widen = widen,
    .vexp = vexp,
    .vmax = vmax,
    .axpy = axpy,
    .dot = dot,
    .vsigmoid = vsigmoid,
    DW_KERNEL_ROWS,
};
