/* grpo's estimator: group advantages, unscored answers, groups without a difference. */
#include "batch.h"

typedef struct credit {
    dowel_credit c;
    double advantage[256], weight[64], label[64];
    int32_t mate[64];
    uint8_t keep[64];
} credit;

/* n answers of two tokens in groups of g, with these rewards. */
static batch *rollout(dw_arena *a, uint32_t n, uint32_t g, const double *reward)
{
    uint32_t len[64];
    for (uint32_t s = 0; s < n; s++)
        len[s] = 2;
    batch *t = batch_make(a, n, len);
    memcpy(column(a, t, DOWEL_REWARD, false), reward, n * sizeof *reward);
    for (uint32_t s = 0; s < n; s++)
        t->group[s] = (int32_t)(s / g);
    return t;
}

static void estimate(dw_instance *i, batch *t, credit *c)
{
    dw_err err = {{0}};
    memset(c, 0, sizeof *c);
    for (uint32_t s = 0; s < 64; s++) {
        c->weight[s] = 1;
        c->mate[s] = -1;
        c->keep[s] = 1;
    }
    c->c = (dowel_credit){.size = sizeof c->c,
                          .advantage = c->advantage,
                          .weight = c->weight,
                          .label = c->label,
                          .mate = c->mate,
                          .keep = c->keep};
    t->b.host = dw_instance_host(i);
    if (dw_call_estimate(i, &t->b, &c->c, &err) < 0)
        fail_msg("%s", err.text);
}

static void test_golden(void **state)
{
    fixture *f = *state;
    const double r[] = {1, 0, 0, 1, 0.5};
    const double want[] = {0.99980004, -0.99980004, -0.99980004, 0.99980004, 0};
    metrics m = {0};
    credit c;
    dw_instance *i = instance_make(f, "grpo", NULL, &m);
    batch *t = rollout(&f->arena, 5, 5, r);
    t->mask[1] = 0;
    estimate(i, t, &c);
    for (uint32_t s = 0; s < 5; s++) {
        near(c.advantage[2 * s], want[s], 1e-8);
        near(c.advantage[2 * s + 1], s == 0 ? 0 : want[s], 1e-8);
        assert_int_equal(c.keep[s], 1);
    }
    near(metric_of(&m, "reward"), 0.5, 1e-15);
    near(metric_of(&m, "reward_std"), 0.5, 1e-15);
    near(metric_of(&m, "frac_reward_zero_std"), 0, 0);
    dw_instance_destroy(i);
}

static void test_scales(void **state)
{
    fixture *f = *state;
    const double r[] = {1, 3, 10, 10.5};
    credit c;
    dw_instance *i = instance_make(f, "grpo", "{\"scale_rewards\":\"none\"}", NULL);
    estimate(i, rollout(&f->arena, 4, 2, r), &c);
    near(c.advantage[0], -1, 1e-15);
    near(c.advantage[6], 0.25, 1e-15);
    dw_instance_destroy(i);

    double mean = 24.5 / 4, sq = 0;
    for (int k = 0; k < 4; k++)
        sq += (r[k] - mean) * (r[k] - mean);
    i = instance_make(f, "grpo", "{\"scale_rewards\":\"batch\",\"eps\":0}", NULL);
    estimate(i, rollout(&f->arena, 4, 2, r), &c);
    near(c.advantage[0], -1 / sqrt(sq / 3), 1e-14);
    near(c.advantage[6], 0.25 / sqrt(sq / 3), 1e-14);
    dw_instance_destroy(i);
}

/* Sums in another order give a tiny deviation, and that divided by a tiny eps is not tiny. */
static void test_equal_rewards(void **state)
{
    fixture *f = *state;
    const double value[] = {0.1, 0.3, 0.7, 0.9, 0, -1e6 / 3};
    dw_instance *i = instance_make(f, "grpo", "{\"eps\":0}", NULL);
    for (size_t v = 0; v < sizeof value / sizeof *value; v++) {
        for (uint32_t g = 1; g <= 16; g++) {
            double r[16];
            credit c;
            for (uint32_t s = 0; s < g; s++)
                r[s] = value[v] * (1 + 1e-16 * s);
            estimate(i, rollout(&f->arena, g, g, r), &c);
            for (uint32_t k = 0; k < 2 * g; k++)
                assert_true(c.advantage[k] == 0);
        }
    }
    dw_instance_destroy(i);
}

static void test_unscored(void **state)
{
    fixture *f = *state;
    const double r[] = {1, NAN, 0, NAN, NAN, 5};
    metrics m = {0};
    credit c;
    dw_instance *i = instance_make(f, "grpo", "{\"eps\":0}", &m);
    estimate(i, rollout(&f->arena, 6, 3, r), &c);
    near(c.advantage[0], sqrt(0.5), 1e-15);
    near(c.advantage[4], -sqrt(0.5), 1e-15);
    for (uint32_t s = 0; s < 6; s++) {
        assert_int_equal(c.keep[s], !isnan(r[s]));
        if (s == 1 || s > 2)
            assert_true(c.advantage[2 * s] == 0);
    }
    near(metric_of(&m, "reward"), 2, 1e-15);
    near(metric_of(&m, "frac_reward_zero_std"), 0.5, 1e-15);

    /* the first group's advantages do not depend on how much of the second is unscored */
    credit d;
    const double all[] = {1, NAN, 0, NAN, NAN, NAN};
    estimate(i, rollout(&f->arena, 6, 3, all), &d);
    for (uint32_t k = 0; k < 6; k++)
        assert_true(d.advantage[k] == c.advantage[k]);
    dw_instance_destroy(i);

    metrics none = {0};
    i = instance_make(f, "grpo", NULL, &none);
    const double nothing[] = {NAN, NAN};
    estimate(i, rollout(&f->arena, 2, 2, nothing), &d);
    assert_int_equal(none.n, 0);
    dw_instance_destroy(i);
}

/* Members of a group need not stand together, and a greedy answer belongs to none. */
static void test_interleaved(void **state)
{
    fixture *f = *state;
    const double r[] = {1, 7, 0, 9, 100};
    credit c;
    dw_instance *i = instance_make(f, "grpo", "{\"scale_rewards\":\"none\"}", NULL);
    batch *t = rollout(&f->arena, 5, 5, r);
    memcpy(t->group, (int32_t[]){3, 1, 3, 1, 3}, 5 * sizeof(int32_t));
    t->role[4] = DOWEL_GREEDY;
    estimate(i, t, &c);
    near(c.advantage[0], 0.5, 1e-15);
    near(c.advantage[2], -1, 1e-15);
    near(c.advantage[6], 1, 1e-15);
    assert_true(c.advantage[8] == 0);
    dw_instance_destroy(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_equal_rewards), cmocka_unit_test(test_unscored),
        cmocka_unit_test(test_interleaved),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
