/* Linear layers against sums in double, for every kernel and number of threads; gradients by finite
 * differences when compiled on doubles. */
#include "tensor/linear.h"
#include "tensors.h"

typedef struct layer {
    size_t rows, n_out, k, ld_in, ld_out;
    dw_real *in, *w, *bias, *d_out; /* inputs */
    dw_real *out;                   /* y, dx, dw, db one behind the other */
    size_t n;                       /* of out */
    dw_real *y, *dx, *dw, *db;      /* in out */
    size_t ny, nx, nw;
    bool with_bias, accumulate;
    dw_real scale;
} layer;

static layer layer_make(size_t rows, size_t n_out, size_t k, bool with_bias, bool accumulate)
{
    layer l = {.rows = rows,
               .n_out = n_out,
               .k = k,
               .ld_in = k + 2,
               .ld_out = n_out + 3,
               .with_bias = with_bias,
               .accumulate = accumulate,
               .scale = (dw_real)0.5};
    l.ny = rows * l.ld_out;
    l.nx = rows * l.ld_in;
    l.nw = n_out * k;
    l.n = l.ny + l.nx + l.nw + n_out;
    l.in = test_array(l.nx, 1);
    l.w = test_array(l.nw, 2);
    l.bias = test_array(n_out, 3);
    l.d_out = test_array(l.ny, 4);
    l.out = test_zeros(l.n);
    l.y = l.out;
    l.dx = l.y + l.ny;
    l.dw = l.dx + l.nx;
    l.db = l.dw + l.nw;
    return l;
}

static void layer_free(layer *l)
{
    free(l->in);
    free(l->w);
    free(l->bias);
    free(l->d_out);
    free(l->out);
}

/* What stands in the outputs before; the gaps between rows must keep it. */
static void layer_reset(layer *l)
{
    uint64_t seed = 5;
    for (size_t i = 0; i < l->n; i++)
        l->out[i] = test_random(&seed);
}

static void layer_forward(const dw_exec *x, layer *l)
{
    dw_panels p = {NULL, l->n_out, l->k, DW_PANEL_REAL, NULL};
    size_t bytes = dw_panels_bytes(l->n_out, l->k, DW_PANEL_REAL);
    p.data = dw_tensor_map(bytes);
    assert_non_null(p.data);
    dw_panels_pack(x, &p, l->w, l->k);
    dw_linear_forward(x, l->in, l->ld_in, l->rows, &p, l->with_bias ? l->bias : NULL, l->y,
                      l->ld_out, l->accumulate);
    dw_tensor_unmap(p.data, bytes);
}

static void layer_run(const dw_exec *x, void *ctx)
{
    layer *l = ctx;
    layer_reset(l);
    layer_forward(x, l);
    dw_linear_backward_input(x, l->d_out, l->ld_out, l->rows, l->w, l->k, l->n_out, l->k, l->dx,
                             l->ld_in, l->accumulate);
    dw_linear_backward_weight(x, l->d_out, l->ld_out, l->in, l->ld_in, l->rows, l->n_out, l->k,
                              l->scale, l->dw, l->k);
    dw_linear_backward_bias(x, l->d_out, l->ld_out, l->rows, l->n_out, l->db);
}

static void layer_reference(layer *l)
{
    layer_reset(l);
    for (size_t r = 0; r < l->rows; r++)
        for (size_t o = 0; o < l->n_out; o++) {
            dw_real *y = &l->y[r * l->ld_out + o];
            double s = l->with_bias ? (double)l->bias[o] : l->accumulate ? (double)*y : 0;
            for (size_t i = 0; i < l->k; i++)
                s += (double)l->in[r * l->ld_in + i] * (double)l->w[o * l->k + i];
            *y = (dw_real)s;
        }
    for (size_t r = 0; r < l->rows; r++)
        for (size_t i = 0; i < l->k; i++) {
            dw_real *d = &l->dx[r * l->ld_in + i];
            double s = l->accumulate ? (double)*d : 0;
            for (size_t o = 0; o < l->n_out; o++)
                s += (double)l->d_out[r * l->ld_out + o] * (double)l->w[o * l->k + i];
            *d = (dw_real)s;
        }
    for (size_t o = 0; o < l->n_out; o++) {
        double b = (double)l->db[o];
        for (size_t r = 0; r < l->rows; r++)
            b += (double)l->d_out[r * l->ld_out + o];
        l->db[o] = (dw_real)b;
        for (size_t i = 0; i < l->k; i++) {
            double s = 0;
            for (size_t r = 0; r < l->rows; r++)
                s += (double)l->d_out[r * l->ld_out + o] * (double)l->in[r * l->ld_in + i];
            dw_real *d = &l->dw[o * l->k + i];
            *d = (dw_real)((double)*d + (double)l->scale * s);
        }
    }
}

static void layer_check(size_t rows, size_t n_out, size_t k, bool with_bias, bool accumulate)
{
    layer l = layer_make(rows, n_out, k, with_bias, accumulate);
    char name[128];
    (void)snprintf(name, sizeof name, "linear %zu x %zu x %zu", rows, n_out, k);
    layer_reference(&l);
    dw_real *want = test_copy(l.out, l.n);
    double longest = (double)(rows + n_out + k);
    for (const char *const *kernel = dw_exec_kernel_names(); *kernel != NULL; kernel++) {
        dw_exec x = test_exec(2, *kernel);
        layer_run(&x, &l);
        assert_true(dw_close(name, l.out, want, l.n, TEST_REL, TEST_REL * sqrt(longest)));
        dw_exec_finish(&x);
    }
    test_everywhere(name, layer_run, &l, l.out, l.n, TEST_REL, TEST_REL * sqrt(longest));
    free(want);
    layer_free(&l);
}

static void against_double_sums(void **state)
{
    layer_check(1, 1, 1, false, false);
    layer_check(1, 333, 70, true, false);
    layer_check(3, 16, 64, false, true);
    layer_check(7, 100, 16, true, false);
    layer_check(130, 16, 96, false, false);
    layer_check(130, 96, 8, false, true);
    layer_check(300, 200, 64, true, false);
    layer_check(97, 770, 33, false, true);
}

/* Large enough for every cut: rows, panels, columns of dX and dW. */
static void threads_do_not_matter(void **state)
{
    layer l = layer_make(400, 900, 180, true, false);
    test_everywhere("linear 400 x 900 x 180", layer_run, &l, l.out, l.n, TEST_REL,
                    TEST_REL * sqrt(1480.0));
    layer_free(&l);
}

/* Rows alone, in groups and all together give the same bits. */
static void rows_do_not_meet(void **state)
{
    for (const char *const *kernel = dw_exec_kernel_names(); *kernel != NULL; kernel++) {
        dw_exec x = test_exec(2, *kernel);
        layer l = layer_make(203, 150, 90, true, false);
        layer_reset(&l);
        layer_forward(&x, &l);
        dw_real *whole = test_copy(l.y, l.ny);
        layer part = l;
        for (size_t from = 0, step = 1; from < l.rows; from += part.rows, step = step * 2 + 1) {
            part.rows = l.rows - from < step ? l.rows - from : step;
            part.in = l.in + from * l.ld_in;
            part.y = l.y + from * l.ld_out;
            for (size_t r = 0; r < part.rows; r++)
                memset(part.y + r * l.ld_out, 0x5a, l.n_out * sizeof *l.y);
            layer_forward(&x, &part);
        }
        assert_true(dw_same(*kernel, l.y, whole, l.ny));
        free(whole);
        layer_free(&l);
        dw_exec_finish(&x);
    }
}

static void no_rows_are_fine(void **state)
{
    layer l = layer_make(4, 20, 10, true, false);
    dw_exec x = test_exec(2, NULL);
    layer_reset(&l);
    dw_real *before = test_copy(l.out, l.n);
    l.rows = 0;
    layer_forward(&x, &l);
    dw_linear_backward_input(&x, l.d_out, l.ld_out, 0, l.w, l.k, l.n_out, l.k, l.dx, l.ld_in,
                             false);
    dw_linear_backward_weight(&x, l.d_out, l.ld_out, l.in, l.ld_in, 0, l.n_out, l.k, 1, l.dw, l.k);
    dw_linear_backward_bias(&x, l.d_out, l.ld_out, 0, l.n_out, l.db);
    assert_true(dw_same("no rows", l.out, before, l.n));
    free(before);
    dw_exec_finish(&x);
    layer_free(&l);
}

#ifdef DW_DOUBLE
typedef struct loss {
    dw_exec x;
    layer *l;
} loss;

/* sum of d_out * y */
static double loss_of(void *ctx)
{
    loss *f = ctx;
    layer *l = f->l;
    layer_forward(&f->x, l);
    double s = 0;
    for (size_t r = 0; r < l->rows; r++)
        for (size_t o = 0; o < l->n_out; o++)
            s += l->y[r * l->ld_out + o] * l->d_out[r * l->ld_out + o];
    return s;
}

static void finite_differences(void **state)
{
    layer l = layer_make(5, 19, 7, true, false);
    loss f = {test_exec(2, NULL), &l};
    l.scale = 1;
    memset(l.out, 0, l.n * sizeof *l.out);
    dw_linear_backward_input(&f.x, l.d_out, l.ld_out, l.rows, l.w, l.k, l.n_out, l.k, l.dx, l.ld_in,
                             false);
    dw_linear_backward_weight(&f.x, l.d_out, l.ld_out, l.in, l.ld_in, l.rows, l.n_out, l.k, l.scale,
                              l.dw, l.k);
    dw_linear_backward_bias(&f.x, l.d_out, l.ld_out, l.rows, l.n_out, l.db);
    test_gradient("dx", loss_of, &f, l.in, l.dx, l.nx);
    test_gradient("dw", loss_of, &f, l.w, l.dw, l.nw);
    test_gradient("db", loss_of, &f, l.bias, l.db, l.n_out);
    dw_exec_finish(&f.x);
    layer_free(&l);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_double_sums), cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(rows_do_not_meet),    cmocka_unit_test(no_rows_are_fine),
#ifdef DW_DOUBLE
        cmocka_unit_test(finite_differences),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
