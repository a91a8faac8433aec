/* The estimators of steps: process rewards in a group, PURE, implicit rewards. Expected numbers
 * were computed apart from this code, straight from the formulas. */
#include "credit.h"

/* Two answers: four tokens with steps that end at 1 and 3, five with one that ends at 2. */
static batch *steps(dw_arena *a, double first, double second, double third, const double *outcome)
{
    batch *t = answers(a, 2, (uint32_t[]){4, 5}, outcome);
    double *r = wide_column(a, t, DOWEL_TOKEN_REWARD, 1, false, NAN);
    r[1] = first;
    r[3] = second;
    r[6] = third;
    return t;
}

static void test_process_group(void **state)
{
    fixture *f = *state;
    const double nothing[] = {NAN, NAN}, a = 1.07195669, b = -0.90704027, d = -0.16491641;
    metrics m = {0};
    credits c;
    dw_instance *i = instance_make(f, "process", NULL, &m);
    credit_of(i, steps(&f->arena, 0.9, 0.1, 0.4, nothing), 0, &c);
    credit_expect(&c, (double[]){a + b, a + b, b, b, d, d, d, 0, 0}, 9, 1e-7);
    near(metric_of(&m, "steps/mean"), 1.5, 1e-12);
    near(metric_of(&m, "steps/tokens"), 7.0 / 3, 1e-12);
    near(metric_of(&m, "steps/reward"), 1.4 / 3, 1e-12);
    dw_instance_destroy(i);

    /* outcomes of +-1 / sqrt 2 on top, and nothing at the ends of steps */
    i = instance_make(f, "process", "{\"eps\":0,\"outcome_weight\":2,\"zero_step_ends\":true}",
                      NULL);
    credit_of(i, steps(&f->arena, 0.5, 0.5, 0.5, (double[]){1, 0}), 0, &c);
    const double o = sqrt(2);
    credit_expect(&c, (double[]){o, 0, o, 0, -o, -o, 0, -o, -o}, 9, 1e-12);
    dw_instance_destroy(i);
}

static void test_b3_pure(void **state)
{
    fixture *f = *state;
    credits c;
    batch *t = answers(&f->arena, 1, (uint32_t[]){4}, (double[]){NAN});
    credit_put(wide_column(&f->arena, t, DOWEL_TOKEN_REWARD, 1, false, NAN), 4,
               (double[]){0.9, 0.2, -0.6, 0.7});
    dw_instance *i = instance_make(f, "process", "{\"scheme\":\"min\"}", NULL);
    credit_of(i, t, 0, &c);
    const double want[] = {-0.5997283244501445, -0.5997285996692, -0.599795669523, 1.58169593e-06};
    credit_expect(&c, want, 4, 1e-9);
    near(c.advantage[0] - c.advantage[1], 2.75219056e-07, 1e-13);
    near(c.advantage[1] - c.advantage[2], 6.7069854e-05, 1e-11);
    dw_instance_destroy(i);

    /* cold: the least reward, and no overflow */
    i = instance_make(f, "process", "{\"scheme\":\"min\",\"step_temperature\":1e-6}", NULL);
    credit_of(i, t, 0, &c);
    credit_expect(&c, (double[]){-0.6, -0.6, -0.6, 0}, 4, 1e-12);
    dw_instance_destroy(i);
}

/* The price is per token of the others, times the tokens of the step. */
static void test_price_per_token(void **state)
{
    fixture *f = *state;
    const double nothing[] = {NAN, NAN};
    credits c;
    dw_instance *i =
        instance_make(f, "process", "{\"scheme\":\"sum\",\"baseline\":\"leave_one_out\"}", NULL);
    credit_of(i, steps(&f->arena, 0.5, 0.7, 0.2, nothing), 0, &c);
    credit_expect(&c, (double[]){1.04, 1.04, 0.62, 0.62, -0.7, -0.7, -0.7, 0, 0}, 9, 1e-12);
    dw_instance_destroy(i);
}

static void test_other_schemes(void **state)
{
    fixture *f = *state;
    const double out[] = {1, NAN};
    credits c;
    dw_instance *i = instance_make(
        f, "process", "{\"scheme\":\"delta\",\"start\":0.1,\"outcome_weight\":0}", NULL);
    credit_of(i, steps(&f->arena, 0.5, 0.7, 0.2, out), 0, &c);
    credit_expect(&c, (double[]){0.6, 0.6, 0.2, 0.2, 0.1, 0.1, 0.1, 0, 0}, 9, 1e-12);
    dw_instance_destroy(i);
    i = instance_make(f, "process", "{\"scheme\":\"clip\",\"eta\":0.6}", NULL);
    credit_of(i, steps(&f->arena, 0.5, 0.7, 0.2, out), 0, &c);
    credit_expect(&c, (double[]){0.9, 0.9, 1, 1, -0.4, -0.4, -0.4, 0, 0}, 9, 1e-12);
    dw_instance_destroy(i);
}

/* No steps: the outcome alone; neither: not trained. A step that ends on a token of the environment
 * belongs to the token before it. */
static void test_without_steps(void **state)
{
    fixture *f = *state;
    credits c;
    dw_instance *i = instance_make(f, "process", "{\"scheme\":\"sum\"}", NULL);
    batch *t = steps(&f->arena, NAN, NAN, 0.2, (double[]){3, NAN});
    t->mask[6] = 0;
    credit_of(i, t, 0, &c);
    credit_expect(&c, (double[]){3, 3, 3, 3, 0.2, 0.2, 0, 0, 0}, 9, 1e-12);
    assert_int_equal(c.keep[0] + c.keep[1], 2);
    credit_of(i, steps(&f->arena, NAN, NAN, 0.2, (double[]){NAN, NAN}), 0, &c);
    assert_int_equal(c.keep[0], 0);
    assert_int_equal(c.keep[1], 1);
    dw_instance_destroy(i);
}

static void test_part_of_steps(void **state)
{
    fixture *f = *state;
    static const char *const part[] = {"right", "prm"};
    dw_err err = {{0}};
    credits c;
    batch *t = answers(&f->arena, 1, (uint32_t[]){2}, (double[]){NAN});
    double *r = wide_column(&f->arena, t, DOWEL_TOKEN_REWARD, 3, false, NAN);
    credit_put(r, 6, (double[]){9, 8, NAN, 7, 6, 0.5});
    t->b.part = part;
    dw_instance *i = instance_make(f, "process", "{\"scheme\":\"sum\",\"part\":\"prm\"}", NULL);
    credit_of(i, t, 0, &c);
    credit_expect(&c, (double[]){0.5, 0.5}, 2, 1e-15);
    dw_instance_destroy(i);
    i = instance_make(f, "process", "{\"scheme\":\"sum\",\"part\":\"critic\"}", NULL);
    assert_true(credit_call(i, t, 0, &c, &err) < 0);
    assert_non_null(strstr(err.text, "critic"));
    dw_instance_destroy(i);
}

/* ---- implicit ---- */

static void test_implicit(void **state)
{
    fixture *f = *state;
    const double q[] = {0.2, -0.1, 0.4, 0.3, 0.1};
    credits c;
    batch *t = answers(&f->arena, 2, (uint32_t[]){3, 2}, (double[]){1, 0});
    double *tea = column(&f->arena, t, DOWEL_TEACHER_LOGP, false);
    double *ref = column(&f->arena, t, DOWEL_REF_LOGP, false);
    for (int k = 0; k < 5; k++) {
        ref[k] = -2 - k;
        tea[k] = ref[k] + q[k];
    }
    dw_instance *i = instance_make(f, "implicit", "{\"whiten\":false}", NULL);
    credit_of(i, t, 0, &c);
    credit_expect(&c,
                  (double[]){0.9, 0.866666666667, 1.433333333333, -0.933333333333, -1.166666666667},
                  5, 1e-11);
    dw_instance_destroy(i);
    i = instance_make(f, "implicit", NULL, NULL);
    credit_of(i, t, 0, &c);
    credit_expect(&c, (double[]){0.57440865, 0.54625136, 1.02492523, -0.97424211, -1.17134312}, 5,
                  1e-8);
    dw_instance_destroy(i);
    /* divided by 0.5, the largest sum to an end; without the outcome, and both discounts */
    i = instance_make(f, "implicit", "{\"whiten\":false,\"batch_norm\":true,\"outcome_weight\":0}",
                      NULL);
    credit_of(i, t, 0, &c);
    credit_expect(&c, (double[]){-0.2, -0.266666666667, 0.866666666667}, 3, 1e-11);
    for (int k = 0; k < 5; k++)
        tea[k] = ref[k] - q[k];
    credit_of(i, t, 0, &c); /* sums below 0 count by their size */
    credit_expect(&c, (double[]){0.2, 0.266666666667, -0.866666666667}, 3, 1e-11);
    dw_instance_destroy(i);
    i = instance_make(f, "implicit",
                      "{\"whiten\":false,\"process_gamma\":0.5,\"outcome_weight\":0}", NULL);
    credit_of(i, t, 0, &c); /* -(2 q - 11/30), halved from token to token */
    credit_expect(&c,
                  (double[]){-0.033333333333 + 0.283333333333 - 0.108333333333,
                             0.566666666667 - 0.216666666667, -0.433333333333},
                  3, 1e-11);
    dw_instance_destroy(i);
    i = instance_make(f, "implicit",
                      "{\"whiten\":false,\"process_weight\":0,\"outcome_gamma\":0.5}", NULL);
    credit_of(i, t, 0, &c);
    credit_expect(&c, (double[]){0.25, 0.5, 1, -0.5, -1}, 5, 1e-12);
    dw_instance_destroy(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process_group),   cmocka_unit_test(test_b3_pure),
        cmocka_unit_test(test_price_per_token), cmocka_unit_test(test_other_schemes),
        cmocka_unit_test(test_without_steps),   cmocka_unit_test(test_part_of_steps),
        cmocka_unit_test(test_implicit),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
