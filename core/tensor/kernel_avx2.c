/* The inner loops for AVX2 and FMA. */
#include <immintrin.h>
#include <string.h>

#include "tensor/kernels.h"

#define INLINE static inline __attribute__((always_inline))

static bool supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* ---- product ---- */

/* The accumulators of the tiles below have names, two vectors (16 outputs) for each row and panel:
 * gcc 12 keeps an array of them in memory and halves the speed. */
#define LOAD(r, p)                                                                                 \
    __m256 s##r##p##0 = acc ? _mm256_loadu_ps(c + (r)*ldc + (p)*16) : _mm256_setzero_ps(),         \
           s##r##p##1 = acc ? _mm256_loadu_ps(c + (r)*ldc + (p)*16 + 8) : _mm256_setzero_ps()
#define STORE(r, p)                                                                                \
    _mm256_storeu_ps(c + (r)*ldc + (p)*16, s##r##p##0);                                            \
    _mm256_storeu_ps(c + (r)*ldc + (p)*16 + 8, s##r##p##1)
#define PANEL(p)                                                                                   \
    const __m256 b##p##0 = _mm256_loadu_ps(b + (p)*ldb + i * 16),                                  \
                 b##p##1 = _mm256_loadu_ps(b + (p)*ldb + i * 16 + 8)
#define ROW(r) const __m256 a##r = _mm256_broadcast_ss(a + (r)*lda + i)
#define FMA(r, p)                                                                                  \
    s##r##p##0 = _mm256_fmadd_ps(a##r, b##p##0, s##r##p##0);                                       \
    s##r##p##1 = _mm256_fmadd_ps(a##r, b##p##1, s##r##p##1)

#define TILE_ARGS                                                                                  \
    const float *a, size_t lda, size_t k, const float *b, size_t ldb, float *c, size_t ldc, bool acc

static void tile6x1(TILE_ARGS)
{
    (void)ldb;
    LOAD(0, 0);
    LOAD(1, 0);
    LOAD(2, 0);
    LOAD(3, 0);
    LOAD(4, 0);
    LOAD(5, 0);
    const float *a3 = a + 3 * lda;
    for (size_t i = 0; i < k; i++) {
        PANEL(0);
        ROW(0);
        FMA(0, 0);
        ROW(1);
        FMA(1, 0);
        ROW(2);
        FMA(2, 0);
        const __m256 r3 = _mm256_broadcast_ss(a3 + i);
        s300 = _mm256_fmadd_ps(r3, b00, s300);
        s301 = _mm256_fmadd_ps(r3, b01, s301);
        const __m256 r4 = _mm256_broadcast_ss(a3 + lda + i);
        s400 = _mm256_fmadd_ps(r4, b00, s400);
        s401 = _mm256_fmadd_ps(r4, b01, s401);
        const __m256 r5 = _mm256_broadcast_ss(a3 + 2 * lda + i);
        s500 = _mm256_fmadd_ps(r5, b00, s500);
        s501 = _mm256_fmadd_ps(r5, b01, s501);
    }
    STORE(0, 0);
    STORE(1, 0);
    STORE(2, 0);
    STORE(3, 0);
    STORE(4, 0);
    STORE(5, 0);
}

static void tile5x1(TILE_ARGS)
{
    (void)ldb;
    LOAD(0, 0);
    LOAD(1, 0);
    LOAD(2, 0);
    LOAD(3, 0);
    LOAD(4, 0);
    for (size_t i = 0; i < k; i++) {
        PANEL(0);
        ROW(0);
        FMA(0, 0);
        ROW(1);
        FMA(1, 0);
        ROW(2);
        FMA(2, 0);
        ROW(3);
        FMA(3, 0);
        ROW(4);
        FMA(4, 0);
    }
    STORE(0, 0);
    STORE(1, 0);
    STORE(2, 0);
    STORE(3, 0);
    STORE(4, 0);
}

static void tile4x1(TILE_ARGS)
{
    (void)ldb;
    LOAD(0, 0);
    LOAD(1, 0);
    LOAD(2, 0);
    LOAD(3, 0);
    for (size_t i = 0; i < k; i++) {
        PANEL(0);
        ROW(0);
        FMA(0, 0);
        ROW(1);
        FMA(1, 0);
        ROW(2);
        FMA(2, 0);
        ROW(3);
        FMA(3, 0);
    }
    STORE(0, 0);
    STORE(1, 0);
    STORE(2, 0);
    STORE(3, 0);
}

static void tile3x1(TILE_ARGS)
{
    (void)ldb;
    LOAD(0, 0);
    LOAD(1, 0);
    LOAD(2, 0);
    for (size_t i = 0; i < k; i++) {
        PANEL(0);
        ROW(0);
        FMA(0, 0);
        ROW(1);
        FMA(1, 0);
        ROW(2);
        FMA(2, 0);
    }
    STORE(0, 0);
    STORE(1, 0);
    STORE(2, 0);
}

static void tile3x2(TILE_ARGS)
{
    LOAD(0, 0);
    LOAD(0, 1);
    LOAD(1, 0);
    LOAD(1, 1);
    LOAD(2, 0);
    LOAD(2, 1);
    for (size_t i = 0; i < k; i++) {
        PANEL(0);
        PANEL(1);
        ROW(0);
        FMA(0, 0);
        FMA(0, 1);
        ROW(1);
        FMA(1, 0);
        FMA(1, 1);
        ROW(2);
        FMA(2, 0);
        FMA(2, 1);
    }
    STORE(0, 0);
    STORE(0, 1);
    STORE(1, 0);
    STORE(1, 1);
    STORE(2, 0);
    STORE(2, 1);
}

static void tile2x1(TILE_ARGS)
{
    (void)ldb;
    LOAD(0, 0);
    LOAD(1, 0);
    for (size_t i = 0; i < k; i++) {
        PANEL(0);
        ROW(0);
        FMA(0, 0);
        ROW(1);
        FMA(1, 0);
    }
    STORE(0, 0);
    STORE(1, 0);
}

static void tile2x2(TILE_ARGS)
{
    LOAD(0, 0);
    LOAD(0, 1);
    LOAD(1, 0);
    LOAD(1, 1);
    for (size_t i = 0; i < k; i++) {
        PANEL(0);
        PANEL(1);
        ROW(0);
        FMA(0, 0);
        FMA(0, 1);
        ROW(1);
        FMA(1, 0);
        FMA(1, 1);
    }
    STORE(0, 0);
    STORE(0, 1);
    STORE(1, 0);
    STORE(1, 1);
}

static void tile1x1(TILE_ARGS)
{
    (void)ldb;
    LOAD(0, 0);
    for (size_t i = 0; i < k; i++) {
        PANEL(0);
        ROW(0);
        FMA(0, 0);
    }
    STORE(0, 0);
}

static void tile1x4(TILE_ARGS)
{
    LOAD(0, 0);
    LOAD(0, 1);
    LOAD(0, 2);
    LOAD(0, 3);
    for (size_t i = 0; i < k; i++) {
        PANEL(0);
        PANEL(1);
        PANEL(2);
        PANEL(3);
        ROW(0);
        FMA(0, 0);
        FMA(0, 1);
        FMA(0, 2);
        FMA(0, 3);
    }
    STORE(0, 0);
    STORE(0, 1);
    STORE(0, 2);
    STORE(0, 3);
}

enum { ROWS = 6 }; /* of the largest tile */

typedef void tile_fn(TILE_ARGS);
typedef struct tile_set {
    tile_fn *one, *many; /* over one panel; over `panels` of them, for few rows */
    size_t panels;
} tile_set;
static const tile_set tiles[ROWS + 1] = {{0},
                                         {tile1x1, tile1x4, 4},
                                         {tile2x1, tile2x2, 2},
                                         {tile3x1, tile3x2, 2},
                                         {tile4x1, tile4x1, 1},
                                         {tile5x1, tile5x1, 1},
                                         {tile6x1, tile6x1, 1}};

/* The last panel when it is cut: through a full tile on the stack. */
static void cut_panel(tile_fn *tile, const float *a, size_t lda, size_t rows, size_t k,
                      const float *b, size_t n, float *c, size_t ldc, bool acc)
{
    float t[ROWS * 16] = {0};
    if (acc)
        for (size_t r = 0; r < rows; r++)
            memcpy(t + r * 16, c + r * ldc, n * sizeof *t);
    tile(a, lda, k, b, 0, t, 16, acc);
    for (size_t r = 0; r < rows; r++)
        memcpy(c + r * ldc, t + r * 16, n * sizeof *t);
}

/* At most ROWS rows against all panels. */
static void few_rows(const float *a, size_t lda, size_t rows, size_t k, const float *b,
                     size_t n_out, float *c, size_t ldc, bool acc)
{
    const tile_set *t = &tiles[rows];
    size_t j = 0, step = 16 * t->panels;
    for (; j + step <= n_out; j += step)
        t->many(a, lda, k, b + j * k, 16 * k, c + j, ldc, acc);
    for (; j + 16 <= n_out; j += 16)
        t->one(a, lda, k, b + j * k, 16 * k, c + j, ldc, acc);
    if (j < n_out)
        cut_panel(t->one, a, lda, rows, k, b + j * k, n_out - j, c + j, ldc, acc);
}

static void product(const float *a, size_t lda, size_t rows, size_t k, const float *panels,
                    size_t n_out, float *c, size_t ldc, bool acc)
{
    size_t full = rows / ROWS * ROWS;
    if (full > ROWS || rows == full)
        for (size_t j = 0; j < n_out; j += 16)
            for (size_t i = 0; i < full; i += ROWS)
                if (n_out - j >= 16)
                    tile6x1(a + i * lda, lda, k, panels + j * k, 0, c + i * ldc + j, ldc, acc);
                else
                    cut_panel(tile6x1, a + i * lda, lda, ROWS, k, panels + j * k, n_out - j,
                              c + i * ldc + j, ldc, acc);
    else if (full > 0)
        few_rows(a, lda, ROWS, k, panels, n_out, c, ldc, acc);
    if (full < rows)
        few_rows(a + full * lda, lda, rows - full, k, panels, n_out, c + full * ldc, ldc, acc);
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

static void adamw(const dw_adamw_terms *t, dw_real *restrict w, const dw_real *restrict g,
                  dw_real *restrict m, dw_real *restrict v, size_t n)
{
    const dw_adamw_terms c = *t;
    for (size_t i = 0; i < n; i++) {
        dw_real gi = g[i] * c.grad_scale;
        dw_real mi = m[i] + c.beta1_rest * (gi - m[i]);
        dw_real vi = c.beta2 * v[i] + c.beta2_rest * (gi * gi);
        m[i] = mi;
        v[i] = vi;
        w[i] = w[i] * c.keep - c.step * (mi / (dw_rsqrt_(vi) * c.root + c.eps));
    }
}

const struct dw_kernels dw_kernels_avx2 = {
    .name = "avx2",
    .supported = supported,
    .product = product,
    .vexp = vexp,
    .vmax = vmax,
    .axpy = axpy,
    .dot = dot,
    .vsigmoid = vsigmoid,
    .adamw = adamw,
};
