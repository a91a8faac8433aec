/* Matrices packed alone, as floats and as bf16: whatever a frozen model asks of them, for every
 * kernel. bf16 panels give the bits of float panels that hold the same values. */
#include "tensor/bf16.h"
#include "tensor/linear.h"
#include "tensors.h"

typedef struct matrix {
    size_t n_out, k;
    dw_real *w;           /* [n_out][k], every value one of bf16 */
    dw_panels real, half; /* packed alone */
} matrix;

static matrix matrix_make(const dw_exec *x, size_t n_out, size_t k)
{
    matrix m = {.n_out = n_out, .k = k, .w = test_array(n_out * k, 7)};
    for (size_t i = 0; i < n_out * k; i++)
        m.w[i] = (dw_real)dw_bf16_widen(dw_bf16_round((float)m.w[i]));
    m.real = (dw_panels){.n_out = n_out, .k = k, .type = DW_PANEL_REAL};
    m.half = (dw_panels){.n_out = n_out, .k = k, .type = DW_PANEL_BF16};
    m.real.data = dw_tensor_map(dw_panels_bytes(n_out, k, DW_PANEL_REAL));
    m.half.data = dw_tensor_map(dw_panels_bytes(n_out, k, DW_PANEL_BF16));
    assert_true(m.real.data && m.half.data);
    dw_panels_pack(x, &m.real, m.w, k);
    dw_panels_pack(x, &m.half, m.w, k);
    return m;
}

static void matrix_free(matrix *m)
{
    dw_tensor_unmap(m->real.data, dw_panels_bytes(m->n_out, m->k, DW_PANEL_REAL));
    dw_tensor_unmap(m->half.data, dw_panels_bytes(m->n_out, m->k, DW_PANEL_BF16));
    free(m->w);
}

static const struct {
    size_t rows, n_out, k;
} shapes[] = {{1, 1, 1},     {1, 49, 300}, {5, 16, 257},   {8, 64, 40},   {15, 130, 33},
              {16, 130, 33}, {17, 200, 8}, {50, 500, 600}, {100, 33, 770}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void bf16_is_half(void **state)
{
    assert_int_equal(dw_panels_bytes(33, 7, DW_PANEL_BF16), 48 * 7 * 2);
    assert_int_equal(dw_panels_bytes(33, 7, DW_PANEL_REAL), 48 * 7 * sizeof(dw_real));
}

static void bf16_forward_has_the_bits_of_float(void **state)
{
    for (const char *const *kernel = dw_exec_kernel_names(); *kernel != NULL; kernel++) {
        dw_exec x = test_exec(2, *kernel);
        for (int s = 0; s < SHAPES; s++) {
            const size_t rows = shapes[s].rows, n = shapes[s].n_out, k = shapes[s].k;
            matrix m = matrix_make(&x, n, k);
            dw_real *in = test_array(rows * (k + 1), 2), *bias = test_array(n, 3);
            dw_real *a = test_array(rows * (n + 2), 4), *b = test_copy(a, rows * (n + 2));
            for (int add = 0; add < 2; add++) {
                const dw_real *with = add ? NULL : bias;
                dw_linear_forward(&x, in, k + 1, rows, &m.real, with, a, n + 2, add);
                dw_linear_forward(&x, in, k + 1, rows, &m.half, with, b, n + 2, add);
                assert_true(dw_same(*kernel, b, a, rows * (n + 2)));
            }
            free(in);
            free(bias);
            free(a);
            free(b);
            matrix_free(&m);
        }
        dw_exec_finish(&x);
    }
}

/* One row's bits are the same alone and among others. */
static void bf16_rows_do_not_meet(void **state)
{
    enum { ROWS = 40, N = 70, K = 300 };
    for (const char *const *kernel = dw_exec_kernel_names(); *kernel != NULL; kernel++) {
        dw_exec x = test_exec(2, *kernel);
        matrix m = matrix_make(&x, N, K);
        dw_real *in = test_array(ROWS * K, 2), *all = test_zeros(ROWS * N), part[ROWS * N];
        dw_linear_forward(&x, in, K, ROWS, &m.half, NULL, all, N, false);
        for (size_t from = 0, n = 1; from < ROWS; from += n, n = n * 2 + 1) {
            n = ROWS - from < n ? ROWS - from : n;
            dw_linear_forward(&x, in + from * K, K, n, &m.half, NULL, part, N, false);
            assert_true(dw_same(*kernel, part, all + from * N, n * N));
        }
        free(in);
        free(all);
        matrix_free(&m);
        dw_exec_finish(&x);
    }
}

/* dX of outputs out0 .. out0 + n against sums in double. */
static void check_dx(const dw_exec *x, const char *kernel, const matrix *m, size_t rows,
                     size_t out0, bool add)
{
    const size_t n = m->n_out - out0, k = m->k, ld = k + 3, ld_out = n + 1;
    dw_real *d = test_array(rows * ld_out, 5), *a = test_array(rows * ld, 6);
    dw_real *b = test_copy(a, rows * ld), *want = test_copy(a, rows * ld);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < k; c++) {
            double s = add ? (double)want[r * ld + c] : 0;
            for (size_t o = 0; o < n; o++)
                s += (double)d[r * ld_out + o] * (double)m->w[(out0 + o) * k + c];
            want[r * ld + c] = (dw_real)s;
        }
    dw_panels_backward_input(x, d, ld_out, rows, &m->real, out0, n, a, ld, add);
    dw_panels_backward_input(x, d, ld_out, rows, &m->half, out0, n, b, ld, add);
    assert_true(dw_close(kernel, a, want, rows * ld, TEST_REL, TEST_REL * sqrt((double)(n + 4))));
    assert_true(dw_same(kernel, b, a, rows * ld));
    free(d);
    free(a);
    free(b);
    free(want);
}

static void backward_from_panels(void **state)
{
    for (const char *const *kernel = dw_exec_kernel_names(); *kernel != NULL; kernel++) {
        dw_exec x = test_exec(2, *kernel);
        for (int s = 0; s < SHAPES; s++) {
            matrix m = matrix_make(&x, shapes[s].n_out, shapes[s].k);
            check_dx(&x, *kernel, &m, shapes[s].rows, 0, false);
            if (m.n_out > 32)
                check_dx(&x, *kernel, &m, shapes[s].rows, 32, true);
            matrix_free(&m);
        }
        dw_exec_finish(&x);
    }
}

typedef struct wide {
    size_t rows, n, k;
    dw_real *d, *w, *out;
} wide;

static void wide_run(const dw_exec *x, void *ctx)
{
    wide *v = ctx;
    dw_panels p = {.n_out = v->n, .k = v->k};
    p.data = dw_tensor_map(dw_panels_bytes(v->n, v->k, p.type));
    dw_panels_pack(x, &p, v->w, v->k);
    dw_panels_backward_input(x, v->d, v->n, v->rows, &p, 0, v->n, v->out, v->k, false);
    dw_panels_sum(x, &p, memset(v->out + v->rows * v->k, 0, v->k * sizeof *v->out));
    dw_tensor_unmap(p.data, dw_panels_bytes(v->n, v->k, p.type));
}

static void threads_do_not_matter(void **state)
{
    wide v = {.rows = 300, .n = 700, .k = 410};
    v.d = test_array(v.rows * v.n, 1);
    v.w = test_array(v.n * v.k, 2);
    v.out = test_zeros((v.rows + 1) * v.k);
    test_everywhere("dX 300 x 700 x 410", wide_run, &v, v.out, (v.rows + 1) * v.k, TEST_REL,
                    TEST_REL * sqrt(700.0));
    free(v.d);
    free(v.w);
    free(v.out);
}

static void rows_and_their_sum(void **state)
{
    enum { N = 133, K = 150 };
    dw_exec x = test_exec(2, NULL);
    matrix m = matrix_make(&x, N, K);
    dw_panels both = m.real;
    both.rows = m.w;
    const dw_panels *form[] = {&m.real, &m.half, &both};
    dw_real sum[3][K] = {{0}}, want[K] = {0}, row[K];
    dw_linear_backward_bias(&x, m.w, K, N, K, want);
    for (int f = 0; f < 3; f++) {
        for (size_t r = 0; r < N; r++) {
            dw_panels_row(form[f], r, 0, K, row);
            assert_true(dw_same("row", row, m.w + r * K, K));
            dw_panels_row(form[f], r, 100, 7, row);
            assert_true(dw_same("piece", row, m.w + r * K + 100, 7));
        }
        dw_panels_sum(&x, form[f], sum[f]);
        assert_true(dw_same("sum", sum[f], want, K));
    }
    matrix_free(&m);
    dw_exec_finish(&x);
}

static void bf16_rounds_to_nearest_even(void **state)
{
    static const struct {
        float in;
        uint16_t out;
    } c[] = {
        {1, 0x3f80},         {0x1.01p0F, 0x3f80}, {0x1.03p0F, 0x3f82},   {0x1.010002p0F, 0x3f81},
        {-0.0F, 0x8000},     {INFINITY, 0x7f80},  {0x1.fep127F, 0x7f7f}, {0x1.ffp127F, 0x7f80},
        {0x1p-149F, 0x0000}, {0x1p-133F, 0x0001}};
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        assert_int_equal(dw_bf16_round(c[i].in), c[i].out);
    assert_true(isnan(dw_bf16_widen(dw_bf16_round(NAN))));
    for (uint32_t h = 0; h < 65536; h++)
        if ((h & 0x7f80) != 0x7f80)
            assert_int_equal(dw_bf16_round(dw_bf16_widen((uint16_t)h)), h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_is_half),
        cmocka_unit_test(bf16_forward_has_the_bits_of_float),
        cmocka_unit_test(bf16_rows_do_not_meet),
        cmocka_unit_test(backward_from_panels),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(rows_and_their_sum),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
