/* AdamW and SGD over a model's arenas: decay by tensor, clipping, against a plain loop. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "train/optim.h"

enum { N = 40 };

static dw_weight weights[] = {{.name = "a", .offset = 0, .rows = 4, .cols = 4, .decay = true},
                              {.name = "b", .offset = 16, .rows = 8, .cols = 1, .decay = false},
                              {.name = "c", .offset = 24, .rows = 2, .cols = 8, .decay = true}};

static bool decayed(int i)
{
    return i < 16 || i >= 24;
}

static double grad_at(int step, int i)
{
    return sin(step * 1.7 + i * 0.9) * (1 + i % 3);
}

static void run(const dw_plan_optimizer *plan, double *want)
{
    dw_real w[N], g[N];
    double m[N] = {0}, v[N] = {0}, ref[N];
    dw_exec x;
    dw_err err;
    dw_optim o;
    dw_params p = {.weight = weights, .n_weight = 3, .n = N, .w = w, .g = g};
    assert_int_equal(dw_exec_init(&x, 1, NULL, &err), DW_OK);
    assert_int_equal(dw_optim_init(&o, &x, &p, plan, &err), DW_OK);
    for (int i = 0; i < N; i++)
        ref[i] = w[i] = (dw_real)cos(i);
    bool adam = !strcmp(plan->kind, "adamw");
    for (int step = 1; step <= 10; step++) {
        double lr = 0.01 * step, norm = 0;
        for (int i = 0; i < N; i++) {
            g[i] = (dw_real)grad_at(step, i);
            norm += (double)g[i] * (double)g[i];
        }
        norm = sqrt(norm);
        assert_true(fabs(dw_optim_norm(&o) - norm) < 1e-5 * norm);
        dw_optim_update(&o, lr, dw_optim_norm(&o));
        double scale = fmin(1, plan->clip / (norm + 1e-6));
        for (int i = 0; i < N; i++) {
            double gi = (double)g[i] * scale, wd = decayed(i) ? plan->weight_decay : 0;
            if (adam) {
                m[i] = plan->beta1 * m[i] + (1 - plan->beta1) * gi;
                v[i] = plan->beta2 * v[i] + (1 - plan->beta2) * gi * gi;
                double mh = m[i] / (1 - pow(plan->beta1, step));
                double vh = v[i] / (1 - pow(plan->beta2, step));
                ref[i] = ref[i] * (1 - lr * wd) - lr * mh / (sqrt(vh) + plan->eps);
            } else {
                gi += wd * ref[i];
                m[i] = step == 1 ? gi : plan->momentum * m[i] + gi;
                ref[i] -= lr * m[i];
            }
        }
    }
    for (int i = 0; i < N; i++) {
        if (fabs((double)w[i] - ref[i]) > 2e-5 * (1 + fabs(ref[i])))
            fail_msg("element %d: %.9g, expected %.9g", i, (double)w[i], ref[i]);
        want[i] = ref[i];
    }
    dw_optim_finish(&o);
    dw_exec_finish(&x);
}

static void adamw(void **state)
{
    double with[N], without[N];
    dw_plan_optimizer p = {
        .kind = "adamw", .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1, .clip = 2};
    run(&p, with);
    p.weight_decay = 0;
    run(&p, without);
    for (int i = 0; i < N; i++) /* the vector in the middle is never decayed */
        assert_true((with[i] == without[i]) == !decayed(i));
}

static void sgd(void **state)
{
    double unused[N];
    dw_plan_optimizer p = {.kind = "sgd", .momentum = 0.8, .weight_decay = 0.1, .clip = 1};
    run(&p, unused);
}

static void a_gradient_that_is_not_finite_shows_in_the_norm(void **state)
{
    dw_real w[N] = {0}, g[N] = {0};
    dw_exec x;
    dw_err err;
    dw_optim o;
    dw_plan_optimizer plan = {.kind = "sgd"};
    dw_params p = {.weight = weights, .n_weight = 3, .n = N, .w = w, .g = g};
    assert_int_equal(dw_exec_init(&x, 1, NULL, &err), DW_OK);
    assert_int_equal(dw_optim_init(&o, &x, &p, &plan, &err), DW_OK);
    assert_true(isfinite(dw_optim_norm(&o)));
    g[7] = (dw_real)INFINITY;
    assert_false(isfinite(dw_optim_norm(&o)));
    g[7] = (dw_real)NAN;
    assert_false(isfinite(dw_optim_norm(&o)));
    dw_optim_finish(&o);
    dw_exec_finish(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw), cmocka_unit_test(sgd),
        cmocka_unit_test(a_gradient_that_is_not_finite_shows_in_the_norm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
