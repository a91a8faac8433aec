/* Passes over arenas against scalar loops; AdamW and SGD against ten steps of PyTorch (in
 * golden/optim) and against a scalar loop in double. */
#include <stdio.h>

#include "tensor/vector.h"
#include "tensors.h"

enum { N_BIG = 70001 }; /* several blocks and a remainder */

static const size_t sizes[] = {0, 1, 7, 8, 4096, 4097, N_BIG, 1100003};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

static void sums(void **state)
{
    for (int s = 0; s < N_SIZES; s++) {
        const size_t n = sizes[s];
        dw_real *a = test_array(n, 1), *b = test_array(n, 2);
        long double dot = 0, sumsq = 0;
        for (size_t i = 0; i < n; i++) {
            dot += (long double)a[i] * (long double)b[i];
            sumsq += (long double)a[i] * (long double)a[i];
        }
        double first = 0;
        for (int threads = 1; threads <= 3; threads++) {
            dw_exec x = test_exec(threads, NULL);
            double got = dw_vec_dot(&x, a, b, n), sq = dw_vec_sumsq(&x, a, n);
            first = threads == 1 ? got : first;
            assert_memory_equal(&got, &first, sizeof got);
            assert_true(fabs(got - (double)dot) <= 1e-14 * (double)(sumsq + 1));
            assert_true(fabs(sq - (double)sumsq) <= 1e-14 * (double)sumsq);
            dw_exec_finish(&x);
        }
        free(a);
        free(b);
    }
}

static void finite_or_not(void **state)
{
    dw_exec x = test_exec(2, NULL);
    dw_real *v = test_array(N_BIG, 1);
    assert_true(dw_vec_finite(&x, v, 0));
    assert_true(dw_vec_finite(&x, v, N_BIG));
    const dw_real bad[] = {(dw_real)NAN, (dw_real)INFINITY, -(dw_real)INFINITY};
    const size_t at[] = {0, 13, 4095, 4096, N_BIG - 2, N_BIG - 1};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        for (size_t j = 0; j < sizeof bad / sizeof *bad; j++) {
            dw_real was = v[at[i]];
            v[at[i]] = bad[j];
            assert_false(dw_vec_finite(&x, v, N_BIG));
            v[at[i]] = was;
        }
    free(v);
    dw_exec_finish(&x);
}

typedef struct vec_case {
    size_t n;
    dw_real *in, *out;
} vec_case;

static void elementwise_run(const dw_exec *x, void *ctx)
{
    vec_case *c = ctx;
    memcpy(c->out, c->in, c->n * sizeof *c->in);
    dw_vec_add(x, c->out, c->in, (dw_real)-0.25, c->n);
    dw_vec_scale(x, c->out, 3, c->n);
    dw_vec_add(x, c->out, c->in, 2, c->n);
}

static void elementwise(void **state)
{
    for (int s = 0; s < N_SIZES; s++) {
        vec_case c = {.n = sizes[s]};
        c.in = test_array(c.n, 3);
        c.out = test_zeros(c.n);
        test_everywhere("scale and add", elementwise_run, &c, c.out, c.n, TEST_REL, TEST_REL);
        dw_real *want = test_zeros(c.n);
        for (size_t i = 0; i < c.n; i++)
            want[i] = (dw_real)(4.25 * (double)c.in[i]);
        assert_true(dw_close("scale and add", c.out, want, c.n, TEST_REL, TEST_REL));
        dw_exec x = test_exec(2, NULL);
        c.out[c.n] = 5;
        dw_vec_zero(&x, c.out, c.n);
        for (size_t i = 0; i < c.n; i++)
            assert_true(c.out[i] == 0);
        assert_true(c.out[c.n] == 5);
        dw_exec_finish(&x);
        free(want);
        free(c.in);
        free(c.out);
    }
}

/* ---- optimisers ---- */

enum { N_TORCH = 11, STEPS = 10, CASES = 4 };

typedef struct torch_case {
    char name[16];
    double lr, beta1, beta2, eps, decay, momentum, grad_scale;
} torch_case;

static void read_numbers(FILE *f, double *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(fscanf(f, "%la", &v[i]), 1);
}

static void step(const dw_exec *x, const torch_case *c, long number, dw_real *w, const dw_real *g,
                 dw_real *m, dw_real *v, size_t n)
{
    if (strcmp(c->name, "adamw") == 0) {
        dw_adamw o = {c->lr, c->beta1, c->beta2, c->eps, c->decay, c->grad_scale, number};
        dw_vec_adamw(x, &o, w, g, m, v, n);
    } else {
        dw_sgd o = {c->lr, c->momentum, c->decay, c->grad_scale, number};
        dw_vec_sgd(x, &o, w, g, c->momentum == 0 ? NULL : m, n);
    }
}

static void as_torch_on(const dw_exec *x, FILE *f)
{
    rewind(f);
    for (int i = 0; i < CASES; i++) {
        torch_case c = {0};
        double o[7], d[N_TORCH];
        dw_real w[N_TORCH], g[N_TORCH], want[N_TORCH], m[N_TORCH] = {0}, v[N_TORCH] = {0};
        assert_int_equal(fscanf(f, "%15s", c.name), 1);
        read_numbers(f, o, 7);
        c.lr = o[0], c.beta1 = o[1], c.beta2 = o[2], c.eps = o[3], c.decay = o[4];
        c.momentum = o[5], c.grad_scale = o[6];
        read_numbers(f, d, N_TORCH);
        for (int j = 0; j < N_TORCH; j++)
            w[j] = (dw_real)d[j];
        for (long s = 1; s <= STEPS; s++) {
            read_numbers(f, d, N_TORCH);
            for (int j = 0; j < N_TORCH; j++)
                g[j] = (dw_real)d[j];
            step(x, &c, s, w, g, m, v, N_TORCH);
            read_numbers(f, d, N_TORCH);
            for (int j = 0; j < N_TORCH; j++)
                want[j] = (dw_real)d[j];
            assert_true(dw_close(c.name, w, want, N_TORCH, TEST_REL, TEST_REL));
        }
    }
}

static void as_torch(void **state)
{
    char path[4096];
    const char *tests = getenv("DOWEL_TESTS");
    assert_non_null(tests);
    (void)snprintf(path, sizeof path, "%s/golden/optim/optim.txt", tests);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (const char *const *k = dw_exec_kernel_names(); *k != NULL; k++) {
        dw_exec x = test_exec(2, *k);
        as_torch_on(&x, f);
        dw_exec_finish(&x);
    }
    (void)fclose(f);
}

typedef struct optim_case {
    torch_case o;
    dw_real *w0, *g, *out; /* out: w, m, v */
} optim_case;

static void optim_run(const dw_exec *x, void *ctx)
{
    optim_case *c = ctx;
    dw_real *w = c->out, *m = w + N_BIG, *v = m + N_BIG;
    memset(c->out, 0, 3 * (size_t)N_BIG * sizeof *w);
    memcpy(w, c->w0, N_BIG * sizeof *w);
    for (long s = 1; s <= 3; s++)
        step(x, &c->o, s, w, c->g, m, v, N_BIG);
}

/* The definition, element by element in double, three steps with the same gradient. */
static void optim_reference(const optim_case *c, dw_real *out)
{
    const torch_case *o = &c->o;
    const bool adamw = strcmp(o->name, "adamw") == 0;
    for (size_t i = 0; i < N_BIG; i++) {
        double w = (double)c->w0[i], m = 0, v = 0, g = (double)c->g[i] * o->grad_scale;
        for (int s = 1; s <= 3; s++)
            if (adamw) {
                w -= o->lr * o->decay * w;
                m = o->beta1 * m + (1 - o->beta1) * g;
                v = o->beta2 * v + (1 - o->beta2) * g * g;
                w -= o->lr * (m / (1 - pow(o->beta1, s))) /
                     (sqrt(v / (1 - pow(o->beta2, s))) + o->eps);
            } else {
                double d = g + o->decay * w;
                m = o->momentum * m + d;
                w -= o->lr * (o->momentum == 0 ? d : m);
            }
        out[i] = (dw_real)w;
        out[N_BIG + i] = (dw_real)(adamw || o->momentum != 0 ? m : 0);
        out[2 * N_BIG + i] = (dw_real)v;
    }
}

static void optimisers(void **state)
{
    static const torch_case cases[] = {
        {"adamw", 1e-2, 0.9, 0.999, 1e-8, 0.1, 0, 0.5},
        {"sgd", 1e-2, 0, 0, 0, 0.1, 0, 0.5},
        {"sgd", 1e-2, 0, 0, 0, 0.1, 0.9, 0.5},
    };
    for (int i = 0; i < 3; i++) {
        optim_case c = {.o = cases[i]};
        c.w0 = test_array(N_BIG, 1);
        c.g = test_array(N_BIG, 2);
        c.out = test_zeros(3 * (size_t)N_BIG);
        dw_real *want = test_zeros(3 * (size_t)N_BIG);
        optim_reference(&c, want);
        test_everywhere(c.o.name, optim_run, &c, c.out, 3 * (size_t)N_BIG, TEST_REL, TEST_REL);
        assert_true(dw_close(c.o.name, c.out, want, 3 * (size_t)N_BIG, 2 * TEST_REL, 2 * TEST_REL));
        free(c.w0);
        free(c.g);
        free(c.out);
        free(want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums),     cmocka_unit_test(finite_or_not), cmocka_unit_test(elementwise),
        cmocka_unit_test(as_torch), cmocka_unit_test(optimisers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
