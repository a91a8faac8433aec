/* Norms against sums in double, for every kernel and number of threads; gradients by finite
 * differences when compiled on doubles. */
#include "tensor/norm.h"
#include "tensors.h"

typedef struct norm_case {
    dw_norm n;
    size_t rows, ld, na;
    dw_real *in, *w, *b, *d_out;
    dw_real *out, *y, *rstd, *mean, *dx, *dw, *db; /* the rest lies in out */
    size_t n_out;
    bool accumulate, bias;
} norm_case;

static norm_case norm_make(bool layer, bool unit_offset, bool bias, size_t rows, size_t width,
                           bool accumulate)
{
    norm_case c = {.rows = rows, .ld = width + 3, .accumulate = accumulate, .bias = bias};
    c.na = rows * c.ld;
    c.n_out = 2 * c.na + 2 * rows + 2 * width;
    c.in = test_array(c.na, 1);
    c.w = test_array(width, 2);
    c.b = test_array(width, 3);
    c.d_out = test_array(c.na, 4);
    c.out = test_zeros(c.n_out);
    c.y = c.out;
    c.dx = c.y + c.na;
    c.rstd = c.dx + c.na;
    c.mean = c.rstd + rows;
    c.dw = c.mean + rows;
    c.db = c.dw + width;
    c.n = (dw_norm){layer, unit_offset, (dw_real)1e-5, width, c.w, bias ? c.b : NULL};
    return c;
}

static void norm_free(norm_case *c)
{
    free(c->in);
    free(c->w);
    free(c->b);
    free(c->d_out);
    free(c->out);
}

static void norm_run(const dw_exec *x, void *ctx)
{
    norm_case *c = ctx;
    uint64_t seed = 9;
    for (size_t i = 0; i < c->n_out; i++)
        c->out[i] = test_random(&seed);
    dw_norm_forward(x, &c->n, c->in, c->ld, c->rows, c->y, c->ld, c->rstd, c->mean);
    dw_norm_backward(x, &c->n, c->in, c->ld, c->rows, c->rstd, c->mean, c->d_out, c->ld, c->dx,
                     c->ld, c->accumulate, c->dw, c->bias ? c->db : NULL);
}

static void norm_reference(norm_case *c)
{
    const size_t width = c->n.width;
    uint64_t seed = 9;
    for (size_t i = 0; i < c->n_out; i++)
        c->out[i] = test_random(&seed);
    for (size_t r = 0; r < c->rows; r++) {
        const dw_real *x = c->in + r * c->ld, *dy = c->d_out + r * c->ld;
        double mean = 0, ss = 0, g_sum = 0, gh_sum = 0;
        for (size_t i = 0; i < width && c->n.layer; i++)
            mean += (double)x[i] / (double)width;
        for (size_t i = 0; i < width; i++)
            ss += ((double)x[i] - mean) * ((double)x[i] - mean);
        double rstd = 1 / sqrt(ss / (double)width + (double)c->n.eps);
        for (size_t i = 0; i < width; i++) {
            double w = (double)c->n.w[i] + (c->n.unit_offset ? 1 : 0);
            double h = ((double)x[i] - mean) * rstd;
            c->y[r * c->ld + i] = (dw_real)(h * w + (c->n.b != NULL ? (double)c->n.b[i] : 0));
            g_sum += (double)dy[i] * w;
            gh_sum += (double)dy[i] * w * h;
        }
        for (size_t i = 0; i < width; i++) {
            double w = (double)c->n.w[i] + (c->n.unit_offset ? 1 : 0);
            double h = ((double)x[i] - mean) * rstd;
            double d = rstd * ((double)dy[i] * w - (c->n.layer ? g_sum / (double)width : 0) -
                               h * gh_sum / (double)width);
            dw_real *dx = &c->dx[r * c->ld + i];
            *dx = (dw_real)((c->accumulate ? (double)*dx : 0) + d);
            c->dw[i] = (dw_real)((double)c->dw[i] + (double)dy[i] * h);
            if (c->bias)
                c->db[i] = (dw_real)((double)c->db[i] + (double)dy[i]);
        }
        c->rstd[r] = (dw_real)rstd;
        if (c->n.layer)
            c->mean[r] = (dw_real)mean;
    }
}

static void norm_check(norm_case c)
{
    norm_reference(&c);
    dw_real *want = test_copy(c.out, c.n_out);
    test_everywhere("norm", norm_run, &c, c.out, c.n_out, 4 * TEST_REL, 8 * TEST_REL);
    dw_exec x = test_exec(2, NULL);
    norm_run(&x, &c);
    assert_true(dw_close("norm against double", c.out, want, c.n_out, 4 * TEST_REL, 8 * TEST_REL));
    /* In place, without statistics, one row at a time: the same bits. */
    dw_real *all = test_copy(c.out, c.n_out), *in = test_copy(c.in, c.na);
    for (size_t r = 0; r < c.rows; r++) {
        dw_real *row = in + r * c.ld;
        dw_norm_forward(&x, &c.n, row, c.ld, 1, row, c.ld, NULL, NULL);
        assert_true(dw_same("norm in place", row, all + r * c.ld, c.n.width));
    }
    dw_exec_finish(&x);
    free(all);
    free(in);
    free(want);
    norm_free(&c);
}

static void rms(void **state)
{
    norm_check(norm_make(false, false, false, 1, 1, false));
    norm_check(norm_make(false, false, false, 37, 70, false));
    norm_check(norm_make(false, true, false, 50, 129, true));
}

static void layer(void **state)
{
    norm_check(norm_make(true, false, true, 37, 70, false));
    norm_check(norm_make(true, false, false, 3, 17, true));
    norm_check(norm_make(true, true, true, 50, 200, true));
}

#ifdef DW_DOUBLE
typedef struct loss {
    dw_exec x;
    norm_case *c;
} loss;

static double loss_of(void *ctx)
{
    loss *f = ctx;
    norm_case *c = f->c;
    dw_norm_forward(&f->x, &c->n, c->in, c->ld, c->rows, c->y, c->ld, NULL, NULL);
    double s = 0;
    for (size_t r = 0; r < c->rows; r++)
        for (size_t i = 0; i < c->n.width; i++)
            s += c->y[r * c->ld + i] * c->d_out[r * c->ld + i];
    return s;
}

static void gradient_of(norm_case c)
{
    loss f = {test_exec(2, NULL), &c};
    memset(c.out, 0, c.n_out * sizeof *c.out);
    dw_norm_forward(&f.x, &c.n, c.in, c.ld, c.rows, c.y, c.ld, c.rstd, c.mean);
    dw_norm_backward(&f.x, &c.n, c.in, c.ld, c.rows, c.rstd, c.mean, c.d_out, c.ld, c.dx, c.ld,
                     false, c.dw, c.db);
    test_gradient("norm dx", loss_of, &f, c.in, c.dx, c.na);
    test_gradient("norm dw", loss_of, &f, c.w, c.dw, c.n.width);
    if (c.bias)
        test_gradient("norm db", loss_of, &f, c.b, c.db, c.n.width);
    dw_exec_finish(&f.x);
    norm_free(&c);
}

static void finite_differences(void **state)
{
    gradient_of(norm_make(false, false, false, 4, 21, false));
    gradient_of(norm_make(false, true, false, 4, 21, false));
    gradient_of(norm_make(true, false, true, 4, 21, false));
    gradient_of(norm_make(true, true, false, 4, 21, false));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rms),
        cmocka_unit_test(layer),
#ifdef DW_DOUBLE
        cmocka_unit_test(finite_differences),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
