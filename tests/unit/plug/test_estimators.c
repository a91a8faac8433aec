/* The estimators apart from losses: groups, returns, process rewards. Expected numbers were
 * computed apart from this code, straight from the formulas. */
#include "credit.h"

static batch *twos(dw_arena *a, uint32_t n, const double *reward)
{
    uint32_t len[CREDIT_SEQS];
    for (uint32_t s = 0; s < n; s++)
        len[s] = 2;
    return answers(a, n, len, reward);
}

/* The advantage of every answer's last token. */
static void expect_answers(const credits *c, const batch *t, const double *want, double tol)
{
    for (uint32_t s = 0; s < t->b.n_seq; s++)
        near(c->advantage[t->start[s + 1] - 1], want[s], tol);
}

static void check(fixture *f, const char *id, const char *options, batch *t, const double *want)
{
    credits c;
    dw_instance *i = instance_make(f, id, options, NULL);
    credit_of(i, t, 0, &c);
    expect_answers(&c, t, want, 1e-8);
    dw_instance_destroy(i);
}

/* ---- group ---- */

static void test_b3_group(void **state)
{
    fixture *f = *state;
    const double r[] = {1, 0, 0, 1, 0.5};
    batch *t = twos(&f->arena, 5, r);
    check(f, "group", "{}", t, (double[]){0.99980004, -0.99980004, -0.99980004, 0.99980004, 0});
    check(f, "group", "{\"baseline\":\"leave_one_out\",\"scale\":\"none\"}", t,
          (double[]){0.625, -0.625, -0.625, 0.625, 0});
    check(f, "group", "{\"scale\":\"none\"}", t, (double[]){0.5, -0.5, -0.5, 0.5, 0});
}

static void test_length_baseline(void **state)
{
    fixture *f = *state;
    batch *t = answers(&f->arena, 5, (uint32_t[]){1, 2, 3, 4, 4}, (double[]){1, 0, 0, 1, 0.5});
    check(f, "group", "{\"baseline\":\"length\",\"scale\":\"none\"}", t,
          (double[]){0.5, -0.5, -0.5, 0.5, 0});
    t->mask[0] = 0; /* an answer without a token weighs nothing */
    credits c;
    dw_instance *i =
        instance_make(f, "group", "{\"baseline\":\"length\",\"scale\":\"none\"}", NULL);
    credit_of(i, t, 0, &c);
    near(c.advantage[1], -6.0 / 13, 1e-12);
    assert_int_equal(c.keep[0], 0);
    dw_instance_destroy(i);
}

static void test_best_only(void **state)
{
    fixture *f = *state;
    const char *options = "{\"baseline\":\"best\"}";
    check(f, "group", options, twos(&f->arena, 3, (double[]){0.2, 0.9, 0.5}),
          (double[]){0, 1.138665362902893, 0});
    check(f, "group", options, twos(&f->arena, 3, (double[]){0.9, 0.9, 0.5}), (double[]){0, 0, 0});
}

/* T22: the share of prompts that teach nothing is by prompt, whatever the scale. */
static void test_t22_batch_scale(void **state)
{
    fixture *f = *state;
    const double a = 1.09961148, b = 0.2199223;
    metrics m = {0};
    credits c;
    dw_instance *i = instance_make(f, "group", "{\"scale\":\"batch\"}", &m);
    batch *t = twos(&f->arena, 6, (double[]){1, 0, 0, 1, 0.5, 0.7});
    t->group[4] = t->group[5] = 1;
    credit_of(i, t, 0, &c);
    expect_answers(&c, t, (double[]){a, -a, -a, a, -b, b}, 1e-7);
    near(metric_of(&m, "frac_reward_zero_std"), 0, 0);
    dw_instance_destroy(i);

    metrics half = {0};
    i = instance_make(f, "group", "{\"scale\":\"batch\"}", &half);
    t = twos(&f->arena, 4, (double[]){1, 0, 0.3, 0.3});
    t->group[2] = t->group[3] = 1;
    credit_of(i, t, 0, &c);
    near(metric_of(&half, "frac_reward_zero_std"), 0.5, 0);
    assert_true(c.advantage[4] == 0 && c.advantage[6] == 0);
    dw_instance_destroy(i);
}

static batch *two_rewards(dw_arena *a, const double *weight, const double *x, uint32_t n)
{
    static const char *const part[] = {"right", "short"};
    batch *t = twos(a, n, (double[CREDIT_SEQS]){0});
    double *r = wide_column(a, t, DOWEL_REWARD, 3, false, 0);
    credit_put(r, 3 * n, x);
    t->b.part = part;
    t->b.part_weight = weight;
    return t;
}

static void test_b3_gdpo(void **state)
{
    fixture *f = *state;
    const double w[] = {1, 0.5};
    const double x[] = {1.1, 1, 0.2, 0.4, 0, 0.8, 0.25, 0, 0.5, 1.05, 1, 0.1};
    batch *t = two_rewards(&f->arena, w, x, 4);
    check(f, "group", "{\"normalize_parts\":true}", t,
          (double[]){0.9467333182, -0.4023222078, -1.218938873, 0.674527763});
    check(f, "group", "{}", t, (double[]){0.9134557372, -0.6850918029, -1.027637704, 0.79927377});

    /* equal answers are exactly 0, whatever the mean of the others rounds to */
    const double z[] = {0, 0.1, 0.7, 0, 0.7, 0.1, 0, 0.45, 0.33, 0, 0.3, 0.3, 0, 0.3, 0.3};
    credits e;
    dw_instance *j = instance_make(f, "group", "{\"normalize_parts\":true}", NULL);
    t = two_rewards(&f->arena, w, z, 5);
    t->group[3] = t->group[4] = 1;
    credit_of(j, t, 0, &e);
    assert_true(e.advantage[0] != 0 && e.advantage[6] == 0 && e.advantage[8] == 0);
    dw_instance_destroy(j);

    /* a second prompt with equal answers, and a missing opinion, change no other's zero */
    const double y[] = {1.1, 1, 0.2, 0.4, 0, 0.8, 0.3, 0.3, NAN, 0.3, 0.3, NAN, NAN, NAN, NAN};
    credits c;
    dw_instance *i = instance_make(f, "group", "{\"normalize_parts\":true}", NULL);
    t = two_rewards(&f->arena, w, y, 5);
    t->group[2] = t->group[3] = t->group[4] = 1;
    credit_of(i, t, 0, &c);
    assert_true(c.advantage[0] > 0.4 && c.advantage[2] < -0.4);
    assert_true(c.advantage[4] == 0 && c.advantage[6] == 0);
    assert_int_equal(c.keep[3], 1);
    assert_int_equal(c.keep[4], 0);
    dw_instance_destroy(i);
}

/* T6: equal rewards of any size and number are exactly 0, with any baseline and scale. */
static void test_t6_equal_rewards(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *id, *options;
    } forms[] = {
        {"group", "{\"eps\":0}"},
        {"group", "{\"eps\":1e-9,\"baseline\":\"leave_one_out\"}"},
        {"group", "{\"eps\":1e-9,\"baseline\":\"length\"}"},
        {"group", "{\"eps\":1e-9,\"baseline\":\"best\",\"scale\":\"batch\"}"},
        {"group", "{\"scale\":\"none\",\"baseline\":\"leave_one_out\"}"},
        {"returns", "{\"baseline\":\"mean\"}"},
        {"returns", "{\"baseline\":\"leave_one_out\"}"},
        {"process", "{\"eps\":0}"},
        {"process", "{\"scheme\":\"min\",\"baseline\":\"leave_one_out\"}"},
    };
    const double value[] = {0.1, 0.3, 0.7, 0.9};
    for (size_t k = 0; k < sizeof forms / sizeof *forms; k++) {
        dw_instance *i = instance_make(f, forms[k].id, forms[k].options, NULL);
        for (size_t v = 0; v < 4; v++) {
            for (uint32_t g = 1; g <= 16; g++) {
                double r[16];
                credits c;
                for (uint32_t s = 0; s < g; s++)
                    r[s] = value[v];
                credit_of(i, twos(&f->arena, g, r), 0, &c);
                for (uint32_t t = 0; t < 2 * g; t++)
                    if (c.advantage[t] != 0)
                        fail_msg("%s: %g for %u answers of %g", forms[k].options, c.advantage[t], g,
                                 value[v]);
            }
        }
        dw_instance_destroy(i);
    }
}

/* ---- the divergence in the reward ---- */

static batch *with_divergence(dw_arena *a)
{
    batch *t = twos(a, 2, (double[]){1, 0});
    credit_put(column(a, t, DOWEL_OLD_LOGP, false), 4, (double[]){-1, -2, -0.5, -3});
    credit_put(column(a, t, DOWEL_REF_LOGP, false), 4, (double[]){-1.3, -1.8, -1, -3.1});
    return t;
}

static void test_group_kl(void **state)
{
    fixture *f = *state;
    static const char *const options[] = {
        "{\"scale\":\"none\",\"kl\":0.1}",
        "{\"scale\":\"none\",\"kl\":0.1,\"kl_estimator\":\"k2\"}",
        "{\"scale\":\"none\",\"kl\":0.1,\"kl_estimator\":\"k3\"}"};
    const double want[] = {0.525, 0.50325, 0.50245735}, kl[] = {0.35, 0.0975, 0.08679452829524033};
    for (int k = 0; k < 3; k++) {
        metrics m = {0};
        credits c;
        dw_instance *i = instance_make(f, "group", options[k], &m);
        batch *t = with_divergence(&f->arena);
        credit_of(i, t, 0, &c);
        expect_answers(&c, t, (double[]){want[k], -want[k]}, 1e-8);
        near(metric_of(&m, "objective/kl"), kl[k], 1e-12);
        near(metric_of(&m, "objective/kl_k1"), kl[0], 1e-12);
        near(metric_of(&m, "objective/kl_k2"), kl[1], 1e-12);
        near(metric_of(&m, "objective/kl_k3"), kl[2], 1e-12);
        near(metric_of(&m, "reward"), 0.5, 1e-15);
        dw_instance_destroy(i);
    }
}

static void test_needs(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *id, *options;
        uint64_t columns;
        uint32_t extras;
    } want[] = {
        {"group", "{}", 0, 0},
        {"group", "{\"kl\":0.1}", DOWEL_BIT(DOWEL_OLD_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP), 0},
        {"returns", "{}", 0, 0},
        {"returns", "{\"baseline\":\"greedy\"}", 0, DOWEL_WITH_GREEDY},
        {"returns", "{\"baseline\":\"optimal\"}",
         DOWEL_BIT(DOWEL_OLD_LOGP) | DOWEL_BIT(DOWEL_COLLISION), 0},
        {"gae", "{\"kl\":0}", DOWEL_BIT(DOWEL_OLD_VALUE), 0},
        {"process", "{}", 0, 0},
        {"implicit", "{\"source\":\"tokens\"}", 0, 0},
        {"implicit", "{}", DOWEL_BIT(DOWEL_TEACHER_LOGP) | DOWEL_BIT(DOWEL_REF_LOGP), 0},
        {"a2po", "{}", 0, DOWEL_WITH_REFERENCE},
    };
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
        dw_err err;
        dowel_request ask;
        dw_instance *i = instance_make(f, want[k].id, want[k].options, NULL);
        assert_int_equal(dw_call_observe(i, true, &ask, &err), 0);
        assert_true(ask.columns == want[k].columns);
        assert_int_equal(ask.extras, want[k].extras);
        dw_instance_destroy(i);
    }
}

static void test_refused(void **state)
{
    fixture *f = *state;
    static const char *const bad[][3] = {
        {"group", "{\"kl_target\":6}", "kl above 0"},
        {"group", "{\"reward_min\":2,\"reward_max\":1}", "above reward_max"},
        {"group", "{\"normalize_parts\":true,\"kl\":0.1}", "normalize_parts"},
        {"process", "{\"baseline\":\"leave_one_out\"}", "leave baseline out"},
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        dw_err err = {{0}};
        dowel_request ask;
        dw_instance *i = instance_make(f, bad[k][0], bad[k][1], NULL);
        assert_true(dw_call_observe(i, true, &ask, &err) < 0);
        assert_non_null(strstr(err.text, bad[k][2]));
        dw_instance_destroy(i);
    }
}

/* ---- scores before they are credited ---- */

static void test_missing_end(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *options;
        double want;
    } rule[] = {
        {"{\"scale\":\"none\"}", 1},
        {"{\"scale\":\"none\",\"missing_eos\":\"subtract\"}", 0.5},
        {"{\"scale\":\"none\",\"missing_eos\":\"replace\",\"missing_eos_value\":-1}", 0},
        {"{\"scale\":\"none\",\"missing_eos\":\"scale\",\"missing_eos_value\":0.5}", 0.5},
        {"{\"scale\":\"none\",\"reward_max\":1.5}", 0.75},
        {"{\"scale\":\"none\",\"mask_truncated\":true}", 1},
    };
    for (size_t k = 0; k < sizeof rule / sizeof *rule; k++) {
        credits c;
        dw_instance *i = instance_make(f, "group", rule[k].options, NULL);
        batch *t = twos(&f->arena, 2, (double[]){2, 0});
        t->stop[0] = DOWEL_STOP_LENGTH;
        t->stop[1] = DOWEL_STOP_EOS;
        /* the rules touch the first answer: 2 becomes 1, -1 or 1 against 0 */
        credit_of(i, t, 0, &c);
        near(c.advantage[0], k == 2 ? -0.5 : rule[k].want, 1e-12);
        assert_int_equal(c.keep[0], k != 5);
        assert_int_equal(c.keep[1], 1);
        dw_instance_destroy(i);
    }
}

/* Statistics are of all scores so far, as they came; they survive a save. */
static void test_running_normaliser(void **state)
{
    fixture *f = *state;
    const char *options = "{\"baseline\":\"none\",\"whiten\":false,\"normalize_rewards\":true}";
    credits c;
    dw_err err;
    dw_buf saved = {0};
    dw_instance *i = instance_make(f, "returns", options, NULL);
    batch *t = twos(&f->arena, 2, (double[]){1, 2});
    credit_of(i, t, 0, &c);
    expect_answers(&c, t, (double[]){-0.70710678, 0.70710678}, 1e-8);
    assert_int_equal(dw_instance_save(i, &saved, &err), 0);
    dw_instance_destroy(i);

    i = instance_make(f, "returns", options, NULL);
    assert_int_equal(dw_instance_load(i, saved.ptr, saved.len, 1, &err), 0);
    t = twos(&f->arena, 2, (double[]){4, 6});
    credit_of(i, t, 0, &c);
    expect_answers(&c, t, (double[]){0.33824071, 1.24021595}, 1e-8);
    dw_instance_destroy(i);

    i = instance_make(f, "returns", options, NULL);
    assert_true(dw_instance_load(i, saved.ptr, saved.len - 8, 1, &err) < 0);
    double damaged[4];
    memcpy(damaged, saved.ptr, sizeof damaged);
    damaged[3] = NAN;
    assert_true(dw_instance_load(i, damaged, sizeof damaged, 1, &err) < 0);
    dw_instance_destroy(i);
    dw_buf_finish(&saved);
}

/* ---- returns ---- */

static batch *shaped(dw_arena *a)
{
    batch *t = answers(a, 2, (uint32_t[]){4, 1}, (double[]){2, 1});
    credit_put(column(a, t, DOWEL_OLD_LOGP, false), 5, (double[]){-1, -9, -2, -0.5, -1});
    credit_put(column(a, t, DOWEL_REF_LOGP, false), 5, (double[]){-1.3, -1, -1.8, -1, -1});
    t->mask[1] = 0;
    return t;
}

static void test_returns(void **state)
{
    fixture *f = *state;
    credits c;
    dw_instance *i =
        instance_make(f, "returns", "{\"gamma\":0.9,\"kl\":0.1,\"whiten\":false}", NULL);
    credit_of(i, shaped(&f->arena), 0, &c);
    credit_expect(&c, (double[]){1.5675, 0, 1.775, 1.95, 1}, 5, 1e-12);
    dw_instance_destroy(i);

    i = instance_make(f, "returns", "{\"gamma\":0.9,\"kl\":0.1}", NULL);
    credit_of(i, shaped(&f->arena), 0, &c);
    credit_expect(&c, (double[]){-0.01362538, 0, 0.48899968, 0.91290033, -1.38827464}, 5, 1e-8);
    dw_instance_destroy(i);
}

static void test_returns_baselines(void **state)
{
    fixture *f = *state;
    const double r[] = {1, 0, 0.5, 0.25};
    batch *t = twos(&f->arena, 4, r);
    check(f, "returns", "{\"baseline\":\"mean\",\"whiten\":false}", t,
          (double[]){0.5625, -0.4375, 0.0625, -0.1875});
    check(f, "returns", "{\"baseline\":\"leave_one_out\",\"whiten\":false}", t,
          (double[]){0.75, -0.75 + 1.0 / 6, 0.25 / 3, -0.25});
    t->role[3] = DOWEL_GREEDY;
    check(f, "returns", "{\"baseline\":\"greedy\",\"whiten\":false}", t,
          (double[]){0.75, -0.25, 0.25, 0});
    check(f, "returns", "{\"baseline\":\"mean\",\"whiten\":false}", t, (double[]){0.5, -0.5, 0, 0});

    credits c;
    dw_instance *i = instance_make(f, "returns", "{\"baseline\":\"greedy\"}", NULL);
    t->group[0] = 5; /* no greedy answer there */
    credit_of(i, t, 0, &c);
    assert_int_equal(c.keep[0], 0);
    assert_int_equal(c.keep[1], 1);
    ((double *)t->col[DOWEL_REWARD].x)[3] = NAN; /* and now none with a score anywhere */
    credit_of(i, t, 0, &c);
    assert_int_equal(c.keep[1], 0);
    dw_instance_destroy(i);
}

static void test_optimal_baseline(void **state)
{
    fixture *f = *state;
    batch *t = answers(&f->arena, 2, (uint32_t[]){2, 1}, (double[]){1, 0});
    credit_put(column(&f->arena, t, DOWEL_OLD_LOGP, false), 3,
               (double[]){log(0.5), log(0.8), log(0.3)});
    credit_put(column(&f->arena, t, DOWEL_COLLISION, false), 3, (double[]){0.4, 0.7, 0.25});
    credits c;
    dw_instance *i =
        instance_make(f, "returns", "{\"baseline\":\"optimal\",\"whiten\":false}", NULL);
    credit_of(i, t, 0, &c);
    credit_expect(&c, (double[]){0.61904762, 0, -0.38095238}, 3, 1e-8);
    dw_instance_destroy(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_b3_group),
        cmocka_unit_test(test_length_baseline),
        cmocka_unit_test(test_best_only),
        cmocka_unit_test(test_t22_batch_scale),
        cmocka_unit_test(test_b3_gdpo),
        cmocka_unit_test(test_t6_equal_rewards),
        cmocka_unit_test(test_group_kl),
        cmocka_unit_test(test_needs),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_missing_end),
        cmocka_unit_test(test_running_normaliser),
        cmocka_unit_test(test_returns),
        cmocka_unit_test(test_returns_baselines),
        cmocka_unit_test(test_optimal_baseline),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
