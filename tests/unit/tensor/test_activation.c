/* Activations, gated and plain, against their definitions in double; gradients by finite
 * differences when compiled on doubles. */
#include "tensor/activation.h"
#include "tensors.h"

static const dw_act acts[] = {DW_ACT_SILU, DW_ACT_GELU_TANH, DW_ACT_GELU_ERF, DW_ACT_RELU};
static const char *const names[] = {"silu", "gelu_tanh", "gelu_erf", "relu"};
enum { N_ACTS = 4 };

typedef struct act_case {
    dw_act act;
    bool gated;
    size_t rows, n, n_in, n_out;
    dw_real *in, *d_out;
    dw_real *out, *y, *dx; /* y and dx lie in out */
} act_case;

static act_case act_make(dw_act act, bool gated, size_t rows, size_t n)
{
    act_case c = {.act = act, .gated = gated, .rows = rows, .n = n};
    c.n_out = rows * n;
    c.n_in = c.n_out * (gated ? 2 : 1);
    c.in = test_array(c.n_in, 1);
    for (size_t i = 0; i < c.n_in; i++) /* from -6 to 6, where the curves bend */
        c.in[i] *= 6;
    c.d_out = test_array(c.n_out, 2);
    c.out = test_zeros(c.n_out + c.n_in);
    c.y = c.out;
    c.dx = c.y + c.n_out;
    return c;
}

static void act_free(act_case *c)
{
    free(c->in);
    free(c->d_out);
    free(c->out);
}

static void act_forward(const dw_exec *x, act_case *c)
{
    (c->gated ? dw_gated_forward : dw_act_forward)(x, c->act, c->in, c->rows, c->n, c->y);
}

static void act_run(const dw_exec *x, void *ctx)
{
    act_case *c = ctx;
    act_forward(x, c);
    (c->gated ? dw_gated_backward : dw_act_backward)(x, c->act, c->in, c->rows, c->n, c->d_out,
                                                     c->dx);
}

static double value(dw_act act, double x)
{
    switch (act) {
    case DW_ACT_SILU:
        return x / (1 + exp(-x));
    case DW_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case DW_ACT_GELU_ERF:
        return 0.5 * x * erfc(-x / sqrt(2));
    default:
        return x > 0 ? x : 0;
    }
}

static double slope(dw_act act, double x)
{
    const double s = 1 / (1 + exp(-x)), r = sqrt(2 / M_PI);
    const double t = tanh(r * (x + 0.044715 * x * x * x));
    switch (act) {
    case DW_ACT_SILU:
        return s + x * s * (1 - s);
    case DW_ACT_GELU_TANH:
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * r * (1 + 3 * 0.044715 * x * x);
    case DW_ACT_GELU_ERF:
        return 0.5 * erfc(-x / sqrt(2)) + x * exp(-x * x / 2) / sqrt(2 * M_PI);
    default:
        return x > 0 ? 1 : 0;
    }
}

static void act_reference(act_case *c)
{
    for (size_t r = 0; r < c->rows; r++)
        for (size_t i = 0; i < c->n; i++) {
            size_t at = r * c->n + i, g = c->gated ? r * 2 * c->n + i : at;
            double x = (double)c->in[g], up = c->gated ? (double)c->in[g + c->n] : 1;
            double d = (double)c->d_out[at];
            c->y[at] = (dw_real)(value(c->act, x) * up);
            c->dx[g] = (dw_real)(slope(c->act, x) * up * d);
            if (c->gated)
                c->dx[g + c->n] = (dw_real)(value(c->act, x) * d);
        }
}

static void definitions(void **state)
{
    for (int i = 0; i < N_ACTS; i++)
        for (int gated = 0; gated < 2; gated++)
            for (int big = 0; big < 2; big++) {
                act_case c = act_make(acts[i], gated, big ? 41 : 3, big ? 777 : 5);
                act_reference(&c);
                dw_real *want = test_copy(c.out, c.n_out + c.n_in);
                test_everywhere(names[i], act_run, &c, c.out, c.n_out + c.n_in, 4 * TEST_REL,
                                8 * TEST_REL);
                assert_true(
                    dw_close(names[i], c.out, want, c.n_out + c.n_in, 4 * TEST_REL, 8 * TEST_REL));
                free(want);
                act_free(&c);
            }
}

static void far_out(void **state)
{
    dw_exec x = test_exec(1, NULL);
    const dw_real far = (dw_real)1e4;
    dw_real in[2] = {-far, far}, out[2], d[2], one[2] = {1, 1};
    for (int i = 0; i < N_ACTS; i++) {
        dw_act_forward(&x, acts[i], in, 1, 2, out);
        dw_act_backward(&x, acts[i], in, 1, 2, one, d);
        assert_true(out[0] == 0 && out[1] == far && d[0] == 0 && d[1] == 1);
    }
    dw_exec_finish(&x);
}

#ifdef DW_DOUBLE
typedef struct loss {
    dw_exec x;
    act_case *c;
} loss;

static double loss_of(void *ctx)
{
    loss *f = ctx;
    act_forward(&f->x, f->c);
    double s = 0;
    for (size_t i = 0; i < f->c->n_out; i++)
        s += f->c->y[i] * f->c->d_out[i];
    return s;
}

static void finite_differences(void **state)
{
    for (int i = 0; i < N_ACTS; i++)
        for (int gated = 0; gated < 2; gated++) {
            act_case c = act_make(acts[i], gated, 3, 17);
            loss f = {test_exec(2, NULL), &c};
            act_run(&f.x, &c);
            test_gradient(names[i], loss_of, &f, c.in, c.dx, c.n_in);
            dw_exec_finish(&f.x);
            act_free(&c);
        }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(definitions),
        cmocka_unit_test(far_out),
#ifdef DW_DOUBLE
        cmocka_unit_test(finite_differences),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
