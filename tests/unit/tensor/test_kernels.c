/* The table of inner loops: every kernel against a scalar reference, and the promise that a row's
 * bits depend on nothing but the row. */
#include <float.h>

#include "tensor/kernels.h"
#include "tensor/linear.h"
#include "tensors.h"

static void for_each_kernel(void (*fn)(const dw_exec *))
{
    for (const char *const *k = dw_exec_kernel_names(); *k != NULL; k++) {
        dw_exec x = test_exec(1, *k);
        fn(&x);
        dw_exec_finish(&x);
    }
}

static dw_real *pack(const dw_exec *x, const dw_real *w, size_t n_out, size_t k)
{
    dw_real *data = aligned_alloc(64, dw_panels_bytes(n_out, k, DW_PANEL_REAL));
    assert_non_null(data);
    dw_panels p = {data, n_out, k, DW_PANEL_REAL, NULL};
    dw_panels_pack(x, &p, w, k);
    return data;
}

enum { GUARD = 5 }; /* elements between rows of C that nobody may touch */

/* One shape: against doubles, and every cut in rows and panels against the whole, to the bit. */
static void product_shape(const dw_exec *x, size_t rows, size_t n_out, size_t k, bool accumulate)
{
    const size_t lda = k + 3, ldc = n_out + GUARD;
    dw_real *a = test_array(rows * lda, 1), *w = test_array(n_out * k, 2);
    dw_real *before = test_array(rows * ldc, 3), *panels = pack(x, w, n_out, k);
    dw_real *want = test_copy(before, rows * ldc), *c = test_copy(before, rows * ldc);
    dw_real *cut = test_zeros(rows * ldc);
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < n_out; o++) {
            double s = accumulate ? (double)before[r * ldc + o] : 0;
            for (size_t i = 0; i < k; i++)
                s += (double)a[r * lda + i] * (double)w[o * k + i];
            want[r * ldc + o] = (dw_real)s;
        }
    x->kernels->product(a, lda, rows, k, panels, n_out, c, ldc, accumulate);
    assert_true(dw_close(x->kernels->name, c, want, rows * ldc, TEST_REL,
                         TEST_REL * 0.5 * sqrt((double)k)));
    for (size_t r0 = 0; r0 < rows; r0++)
        for (size_t r1 = r0 + 1; r1 <= rows; r1++) {
            memcpy(cut, c, rows * ldc * sizeof *c);
            memcpy(cut + r0 * ldc, before + r0 * ldc, (r1 - r0) * ldc * sizeof *c);
            /* Also cut between panels, at a place that moves. */
            size_t at = (r0 * 7 + r1) % (n_out / DW_PANEL + 1) * DW_PANEL;
            if (at > 0)
                x->kernels->product(a + r0 * lda, lda, r1 - r0, k, panels, at, cut + r0 * ldc, ldc,
                                    accumulate);
            if (at < n_out)
                x->kernels->product(a + r0 * lda, lda, r1 - r0, k, panels + at * k, n_out - at,
                                    cut + r0 * ldc + at, ldc, accumulate);
            assert_true(dw_same(x->kernels->name, cut, c, rows * ldc));
        }
    free(a);
    free(w);
    free(before);
    free(panels);
    free(want);
    free(c);
    free(cut);
}

static void product_of(const dw_exec *x)
{
    for (size_t rows = 1; rows <= 32; rows += rows < 20 ? 1 : 5) {
        product_shape(x, rows, 16, 1, false);
        product_shape(x, rows, 64, 64, true);
        product_shape(x, rows, 131, 37, rows % 2);
        product_shape(x, rows, 5, 200, !(rows % 2));
    }
    product_shape(x, 29, 49, 576, false);
}

static void product(void **state)
{
    for_each_kernel(product_of);
}

/* The first columns of a matrix give the same bits as the matrix cut there, wherever that is. */
static void n_out_of(const dw_exec *x)
{
    enum { ROWS = 13, N = 100, K = 50 };
    dw_real *a = test_array((size_t)ROWS * K, 1), *w = test_array((size_t)N * K, 2);
    dw_real *panels = pack(x, w, N, K), c[ROWS * N], cut[ROWS * N];
    x->kernels->product(a, K, ROWS, K, panels, N, c, N, false);
    for (size_t n = 1; n < N; n++) {
        memcpy(cut, c, sizeof c);
        for (size_t r = 0; r < ROWS; r++)
            memset(cut + r * N, 0x5a, n * sizeof *cut);
        x->kernels->product(a, K, ROWS, K, panels, n, cut, N, false);
        assert_true(dw_same(x->kernels->name, cut, c, (size_t)ROWS * N));
    }
    /* And K cut in two, the second half added to the first. */
    dw_real *w1 = test_zeros((size_t)N * 20), *w2 = test_zeros((size_t)N * 30);
    for (size_t o = 0; o < N; o++) {
        memcpy(w1 + o * 20, w + o * K, 20 * sizeof *w);
        memcpy(w2 + o * 30, w + o * K + 20, 30 * sizeof *w);
    }
    dw_real *p1 = pack(x, w1, N, 20), *p2 = pack(x, w2, N, 30);
    x->kernels->product(a, K, ROWS, 20, p1, N, cut, N, false);
    x->kernels->product(a + 20, K, ROWS, 30, p2, N, cut, N, true);
    assert_true(dw_same("k in two parts", cut, c, (size_t)ROWS * N));
    free(a);
    free(w);
    free(w1);
    free(w2);
    free(panels);
    free(p1);
    free(p2);
}

static void product_columns(void **state)
{
    for_each_kernel(n_out_of);
}

/* Largest error of got against want, in units in the last place of a float (of a double). */
static double ulps(dw_real got, long double want)
{
    int e;
    (void)frexpl(want, &e);
#ifdef DW_DOUBLE
    const int digits = DBL_MANT_DIG, least = DBL_MIN_EXP;
#else
    const int digits = FLT_MANT_DIG, least = FLT_MIN_EXP;
#endif
    e = e < least ? least : e;
    return (double)fabsl(((long double)got - want) / ldexpl(1, e - digits));
}

static void exp_of(const dw_exec *x)
{
    enum { N = 200003 };
    dw_real *in = test_zeros(N), *out = test_zeros(N), *sig = test_zeros(N);
    for (size_t i = 0; i < N; i++)
        in[i] = (dw_real)(-104.0 + 192.0 * (double)i / N);
    x->kernels->vexp(in, out, N);
    x->kernels->vsigmoid(in, sig, N);
    double worst = 0, worst_sig = 0;
    for (size_t i = 0; i < N; i++) {
        double u = ulps(out[i], expl((long double)in[i]));
        worst = u > worst ? u : worst;
        /* Below -87 the exponential overflows and the sigmoid is 0 instead of a subnormal. */
        if (in[i] > -87) {
            u = ulps(sig[i], 1 / (1 + expl(-(long double)in[i])));
            worst_sig = u > worst_sig ? u : worst_sig;
        }
    }
    if (worst > 2 || worst_sig > 4)
        fail_msg("%s: exp is off by %.2f ulp, sigmoid by %.2f", x->kernels->name, worst, worst_sig);
    free(in);
    free(out);
    free(sig);
}

static void exp_edges_of(const dw_exec *x)
{
    const dw_real inf = (dw_real)INFINITY;
    dw_real v[] = {-inf, 0, -1000, 1000, inf, (dw_real)NAN, 1, (dw_real)-0.0, 2, 3, 4};
    enum { N = sizeof v / sizeof *v };
    dw_real out[N], sig[N];
    x->kernels->vexp(v, out, N);
    x->kernels->vsigmoid(v, sig, N);
    assert_true(out[0] == 0 && out[1] == 1 && out[2] == 0 && out[3] == inf && out[4] == inf);
    assert_true(isnan(out[5]) && out[7] == 1);
    assert_true(sig[0] == 0 && sig[1] == (dw_real)0.5 && sig[2] == 0 && sig[3] == 1 && sig[4] == 1);
    assert_true(isnan(sig[5]) && sig[7] == (dw_real)0.5);
    /* Element results do not depend on the place: one by one, in place, the same bits; and nothing
     * is written behind the end. */
    for (size_t from = 0; from < N; from++)
        for (size_t n = 1; from + n <= N; n++) {
            dw_real w[N + 1];
            memcpy(w, v, sizeof v);
            w[N] = 7;
            x->kernels->vexp(w + from, w + from, n);
            assert_memory_equal(w, v, from * sizeof *w);
            for (size_t i = from; i < from + n; i++)
                assert_true(memcmp(&w[i], &out[i], sizeof *w) == 0 || isnan(v[i]));
            assert_memory_equal(w + from + n, v + from + n, (N - from - n) * sizeof *w);
            assert_true(w[N] == 7);
        }
}

static void exponential(void **state)
{
    for_each_kernel(exp_of);
    for_each_kernel(exp_edges_of);
}

static void reductions_of(const dw_exec *x)
{
    for (size_t n = 0; n < 200; n++) {
        dw_real *a = test_array(n, 10 + n), *b = test_array(n, 20 + n), *y = test_copy(b, n + 1);
        dw_real want[200], max = -(dw_real)INFINITY;
        double dot = 0;
        for (size_t i = 0; i < n; i++) {
            dot += (double)a[i] * (double)b[i];
            max = a[i] > max ? a[i] : max;
            want[i] = (dw_real)((double)b[i] + 0.75 * (double)a[i]);
        }
        dw_real got = x->kernels->dot(a, b, n), d = (dw_real)dot;
        assert_true(dw_close("dot", &got, &d, 1, TEST_REL, 2 * TEST_REL));
        assert_true(x->kernels->vmax(a, n) == max);
        x->kernels->axpy((dw_real)0.75, a, y, n);
        assert_true(dw_close("axpy", y, want, n, TEST_REL, TEST_REL));
        assert_true(y[n] == b[n]);
        free(a);
        free(b);
        free(y);
    }
    /* All negative and shorter than a vector: no zero of a mask may win. */
    const dw_real low[] = {-3, -2, -5};
    assert_true(x->kernels->vmax(low, 3) == -2);
}

static void reductions(void **state)
{
    for_each_kernel(reductions_of);
}

static void kernels_can_be_chosen(void **state)
{
    const char *const *name = dw_exec_kernel_names();
    assert_string_equal(name[0], "plain");
    for (; *name != NULL; name++) {
        dw_exec x = test_exec(1, *name);
        assert_string_equal(dw_exec_kernel(&x), *name);
        dw_exec_finish(&x);
    }
    dw_exec x = test_exec(1, NULL), y = test_exec(1, "auto");
    assert_string_equal(dw_exec_kernel(&x), dw_exec_kernel(&y));
    dw_exec_finish(&x);
    dw_exec_finish(&y);
    dw_err err;
    assert_int_equal(dw_exec_init(&x, 1, "neon9", &err), DW_E_USAGE);
    assert_non_null(strstr(err.text, "neon9"));
    assert_non_null(strstr(err.text, "plain"));
    char blas[128];
    dw_exec_describe(blas, sizeof blas);
    assert_non_null(strstr(blas, "OpenBLAS "));
    assert_null(strchr(blas, '?'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(product),
        cmocka_unit_test(product_columns),
        cmocka_unit_test(exponential),
        cmocka_unit_test(reductions),
        cmocka_unit_test(kernels_can_be_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
