/* The inner loops for AVX2 and FMA. */
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
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* ---- product ---- */

enum { ROWS = 6, PANELS = 4, HALVES = 2 }; /* of the largest tiles; two vectors make a panel */

#define TILE_ARGS                                                                                  \
    const float *a, size_t lda, size_t k, const void *b, size_t ldb, float *c, size_t ldc, bool acc

/* Eight weights of a panel from element i on; `half`: of bf16. */
INLINE __m256 load8(const bool half, const void *b, size_t i)
{
    if (!half)
        return _mm256_loadu_ps((const float *)b + i);
    const __m128i h = _mm_loadu_si128((const __m128i *)(const void *)((const uint16_t *)b + i));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

/* Element i of panels of either type. */
INLINE const void *at(const bool half, const void *b, size_t i)
{
    return (const char *)b + i * (half ? sizeof(uint16_t) : sizeof(float));
}

/* One step along k of the tile below. Two addresses with multiples of lda reach all six rows. */
INLINE void tile_step(const bool half, const int rows, const int panels, const float *a,
                      const float *a3, size_t lda, const void *b, size_t ldb,
                      __m256 s[ROWS][PANELS * HALVES])
{
    const int vectors = panels * HALVES;
    __m256 v[PANELS * HALVES];
    UNROLL
    for (int p = 0; p < vectors; p++)
        v[p] = load8(half, b, (size_t)(p / HALVES) * ldb + (size_t)(p % HALVES) * 8);
    UNROLL
    for (int r = 0; r < rows; r++) {
        const __m256 x = _mm256_broadcast_ss(r < 3 ? a + r * lda : a3 + (r - 3) * lda);
        UNROLL
        for (int p = 0; p < vectors; p++)
            s[r][p] = _mm256_fmadd_ps(x, v[p], s[r][p]);
    }
}

/* `rows` x `panels` x 2 accumulators. Rows and panels are constants where this is inlined, and
 * every loop over them is unrolled, or the accumulators would live in memory at half the speed. */
INLINE void tile(const bool half, const int rows, const int panels, TILE_ARGS)
{
    __m256 s[ROWS][PANELS * HALVES];
    const int vectors = panels * HALVES;
    const float *a3 = rows > 3 ? a + 3 * lda : a;
    __asm__("" : "+r"(a3)); /* or gcc computes it again in every step */
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
    for (int p = 0; p < vectors; p++)
        s[r][p] = acc ? _mm256_loadu_ps(c + r * ldc + p * 8) : _mm256_setzero_ps();
    /* Not unrolled: gcc would spill. */
    for (size_t i = 0; i < k; i++, a++, a3++, b = at(half, b, 16))
        tile_step(half, rows, panels, a, a3, lda, b, ldb, s);
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
    for (int p = 0; p < vectors; p++)
        _mm256_storeu_ps(c + r * ldc + p * 8, s[r][p]);
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
TILE(1, 1)
TILE(2, 1)
TILE(3, 1)
TILE(4, 1)
TILE(5, 1)
TILE(6, 1)
TILE(1, 4)
TILE(2, 2)
TILE(3, 2)

/* By number of rows: over one panel, and over as many as the registers hold; of floats, of bf16. */
static const struct {
    tile_fn *one, *many;
    size_t panels;
} tiles[2][ROWS + 1] = {
    {{NULL, NULL, 0},
     {tile1x1, tile1x4, 4},
     {tile2x1, tile2x2, 2},
     {tile3x1, tile3x2, 2},
     {tile4x1, tile4x1, 1},
     {tile5x1, tile5x1, 1},
     {tile6x1, tile6x1, 1}},
    {{NULL, NULL, 0},
     {half1x1, half1x4, 4},
     {half2x1, half2x2, 2},
     {half3x1, half3x2, 2},
     {half4x1, half4x1, 1},
     {half5x1, half5x1, 1},
     {half6x1, half6x1, 1}},
};

/* The last panel when it is cut: through a full tile on the stack. */
static void cut_panel(bool half, const float *a, size_t lda, size_t rows, size_t k, const void *b,
                      size_t n, float *c, size_t ldc, bool acc)
{
    float t[ROWS * 16] = {0};
    if (acc)
        for (size_t r = 0; r < rows; r++)
            memcpy(t + r * 16, c + r * ldc, n * sizeof *t);
    tiles[half][rows].one(a, lda, k, b, 0, t, 16, acc);
    for (size_t r = 0; r < rows; r++)
        memcpy(c + r * ldc, t + r * 16, n * sizeof *t);
}

/* At most ROWS rows against all panels. */
static void few_rows(bool half, const float *a, size_t lda, size_t rows, size_t k, const void *b,
                     size_t n_out, float *c, size_t ldc, bool acc)
{
    size_t j = 0, step = 16 * tiles[half][rows].panels;
    for (; j + step <= n_out; j += step)
        tiles[half][rows].many(a, lda, k, at(half, b, j * k), 16 * k, c + j, ldc, acc);
    for (; j + 16 <= n_out; j += 16)
        tiles[half][rows].one(a, lda, k, at(half, b, j * k), 0, c + j, ldc, acc);
    if (j < n_out)
        cut_panel(half, a, lda, rows, k, at(half, b, j * k), n_out - j, c + j, ldc, acc);
}

INLINE void any_product(const bool half, const float *a, size_t lda, size_t rows, size_t k,
                        const void *panels, size_t n_out, float *c, size_t ldc, bool acc)
{
    const size_t full = rows / ROWS * ROWS;
    /* Panel by panel, so that one stays in cache while the rows go by. */
    for (size_t j = 0; j < n_out; j += 16) {
        const void *b = at(half, panels, j * k);
        for (size_t i = 0; i < full; i += ROWS)
            if (n_out - j >= 16)
                (half ? half6x1 : tile6x1)(a + i * lda, lda, k, b, 0, c + i * ldc + j, ldc, acc);
            else
                cut_panel(half, a + i * lda, lda, ROWS, k, b, n_out - j, c + i * ldc + j, ldc, acc);
    }
    if (full < rows)
        few_rows(half, a + full * lda, lda, rows - full, k, panels, n_out, c + full * ldc, ldc,
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
    for (size_t i = 0; i < n; i += 8)
        _mm256_storeu_ps(out + i, load8(true, in, i));
}

/* ---- exponentials ---- */

static __m256i tail_mask(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* exp(x) = 2^n exp(r), |r| <= ln 2 / 2, with ln 2 in two parts and a polynomial of degree 6 for
 * (exp(r) - 1 - r) / r^2; 2^n is applied in two halves so that results reach the subnormals and
 * infinity. About 1 ulp. */
INLINE __m256 exp8(__m256 x)
{
    /* The constant comes first: these two return the second operand when one is not a number. */
    x = _mm256_min_ps(_mm256_set1_ps(89.0F), x);
    x = _mm256_max_ps(_mm256_set1_ps(-105.0F), x);
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504F)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375F), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4F), r);
    __m256 p = _mm256_set1_ps(1.9875691500e-4F);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1F));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r);
    p = _mm256_add_ps(p, _mm256_set1_ps(1.0F));
    __m256i e = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(e, 1);
    __m256i rest = _mm256_sub_epi32(e, half), bias = _mm256_set1_epi32(127);
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
    return _mm256_mul_ps(p,
                         _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}

INLINE __m256 sigmoid8(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0F);
    __m256 e = exp8(_mm256_sub_ps(_mm256_setzero_ps(), x));
    return _mm256_div_ps(one, _mm256_add_ps(one, e));
}

static void vexp(const float *in, float *out, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, exp8(_mm256_loadu_ps(in + i)));
    if (i < n) {
        __m256i m = tail_mask(n - i);
        _mm256_maskstore_ps(out + i, m, exp8(_mm256_maskload_ps(in + i, m)));
    }
}

static void vsigmoid(const float *in, float *out, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, sigmoid8(_mm256_loadu_ps(in + i)));
    if (i < n) {
        __m256i m = tail_mask(n - i);
        _mm256_maskstore_ps(out + i, m, sigmoid8(_mm256_maskload_ps(in + i, m)));
    }
}

/* ---- reductions ---- */

static float vmax(const float *in, size_t n)
{
    const __m256 low = _mm256_set1_ps(-INFINITY);
    __m256 m = low;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        m = _mm256_max_ps(m, _mm256_loadu_ps(in + i));
    if (i < n) {
        __m256i mask = tail_mask(n - i);
        m = _mm256_max_ps(
            m, _mm256_blendv_ps(low, _mm256_maskload_ps(in + i, mask), _mm256_castsi256_ps(mask)));
    }
    __m128 h = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    h = _mm_max_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
}

static void axpy(float a, const float *x, float *y, size_t n)
{
    const __m256 va = _mm256_set1_ps(a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i,
                         _mm256_fmadd_ps(va, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    if (i < n) {
        __m256i m = tail_mask(n - i);
        _mm256_maskstore_ps(
            y + i, m,
            _mm256_fmadd_ps(va, _mm256_maskload_ps(x + i, m), _mm256_maskload_ps(y + i, m)));
    }
}

static float dot(const float *x, const float *y, size_t n)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i), s0);
        s1 = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 8), _mm256_loadu_ps(y + i + 8), s1);
        s2 = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 16), _mm256_loadu_ps(y + i + 16), s2);
        s3 = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 24), _mm256_loadu_ps(y + i + 24), s3);
    }
    for (; i + 8 <= n; i += 8)
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i), s0);
    if (i < n) {
        __m256i m = tail_mask(n - i);
        s1 = _mm256_fmadd_ps(_mm256_maskload_ps(x + i, m), _mm256_maskload_ps(y + i, m), s1);
    }
    s0 = _mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3));
    __m128 h = _mm_add_ps(_mm256_castps256_ps128(s0), _mm256_extractf128_ps(s0, 1));
    h = _mm_add_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
}

#include "tensor/kernel_rows.h"

const struct dw_kernels dw_kernels_avx2 = {
    .name = "avx2",
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
