/* ppo and gae: generalised advantages, shaped rewards, controllers, and the losses of policy and
 * critic. */
#include "credit.h"

/* One answer of three tokens: rewards -0.01, 0.02, 1, values 0.1, 0.2, 0.3. */
static batch *golden(dw_arena *a)
{
    batch *t = batch_make(a, 1, (uint32_t[]){3});
    credit_put(wide_column(a, t, DOWEL_TOKEN_REWARD, 1, false, NAN), 2, (double[]){-0.01, 0.02});
    column(a, t, DOWEL_REWARD, false)[0] = 1;
    credit_put(column(a, t, DOWEL_OLD_VALUE, false), 3, (double[]){0.1, 0.2, 0.3});
    return t;
}

static void check_gae(fixture *f, const char *id, const char *options, const double *want)
{
    credits c;
    dw_instance *i = instance_make(f, id, options, NULL);
    credit_of(i, golden(&f->arena), 1, &c);
    credit_expect(&c, want, 3, 1e-8);
    credit_put(c.advantage, 3, c.ret);
    credit_expect(&c, (double[]){0.93575, 0.985, 1}, 3, 1e-12);
    dw_instance_destroy(i);
}

static void test_b3_gae(void **state)
{
    const char *const id[] = {"gae", "ppo"};
    for (int k = 0; k < 2; k++) {
        check_gae(*state, id[k], "{\"kl\":0,\"whiten\":false}", (double[]){0.83575, 0.785, 0.7});
        check_gae(*state, id[k], "{\"kl\":0,\"whiten_population\":true}",
                  (double[]){1.11002633, 0.203852021, -1.31387835});
        check_gae(*state, id[k], "{\"kl\":0}", (double[]){0.906333187, 0.166444567, -1.07277775});
    }
}

static void test_b3_value_loss(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    dw_instance *i = instance_make(f, "ppo", "{\"value_coef\":1}", &m);
    batch *t = batch_make(&f->arena, 1, (uint32_t[]){3});
    dw_arena *a = &f->arena;
    column(a, t, DOWEL_LOGP, true);
    column(a, t, DOWEL_OLD_LOGP, false);
    column(a, t, DOWEL_ADVANTAGE, false);
    column(a, t, DOWEL_WEIGHT, false);
    credit_put(column(a, t, DOWEL_VALUE, true), 3, (double[]){0.35, 0.1, 0.9});
    credit_put(column(a, t, DOWEL_OLD_VALUE, false), 3, (double[]){0.1, 0.2, 0.3});
    credit_put(column(a, t, DOWEL_RETURN, false), 3, (double[]){0.93575, 0.985, 1});
    near(loss_of(i, t), 0.239567177, 1e-9);
    near(t->col[DOWEL_VALUE].grad[0], 0, 0);
    near(t->col[DOWEL_VALUE].grad[1], -0.295, 1e-12);
    near(t->col[DOWEL_VALUE].grad[2], 0, 0);
    near(metric_of(&m, "loss/value_avg"), 0.239567177, 1e-9);
    near(metric_of(&m, "val/clipfrac_avg"), 2.0 / 3, 1e-12);
    dw_instance_destroy(i);
}

/* ---- the estimator ---- */

/* Three trained tokens with one of the environment between them; d = 0.3, -0.2, 0.5; score 2. */
static batch *shaped(dw_arena *a)
{
    batch *t = batch_make(a, 1, (uint32_t[]){4});
    column(a, t, DOWEL_REWARD, false)[0] = 2;
    credit_put(column(a, t, DOWEL_OLD_VALUE, false), 4, (double[]){0.1, 9, 0.2, 0.3});
    credit_put(column(a, t, DOWEL_OLD_LOGP, false), 4, (double[]){-1, -9, -2, -0.5});
    credit_put(column(a, t, DOWEL_REF_LOGP, false), 4, (double[]){-1.3, -1, -1.8, -1});
    t->mask[1] = 0;
    t->stop[0] = DOWEL_STOP_EOS;
    return t;
}

static void test_kl_in_rewards(void **state)
{
    fixture *f = *state;
    static const char *const name[] = {"k1", "k2", "k3"};
    const double want[][3] = {
        {0.97016, 1.278, 1.65}, {0.99926, 1.283, 1.6875}, {1.00053463, 1.28418952, 1.68934693}};
    for (int k = 0; k < 3; k++) {
        char options[160];
        credits c;
        snprintf(options, sizeof options,
                 "{\"kl\":0.1,\"kl_estimator\":\"%s\",\"gamma\":0.9,\"lambda\":0.8,"
                 "\"whiten\":false}",
                 name[k]);
        dw_instance *i = instance_make(f, "gae", options, NULL);
        credit_of(i, shaped(&f->arena), 1, &c);
        credit_expect(&c, (double[]){want[k][0], 0, want[k][1], want[k][2]}, 4, 1e-8);
        near(c.ret[0], want[k][0] + 0.1, 1e-8);
        assert_true(c.ret[1] == 0);
        near(c.ret[2], want[k][1] + 0.2, 1e-8);
        near(c.ret[3], want[k][2] + 0.3, 1e-8);
        dw_instance_destroy(i);
    }
}

/* T1: the last trained token sees the whole score, not lambda times it. T2: so does one that is the
 * end of the sequence, and one that is followed by tokens that do not count. */
static void test_t1_t2_score_position(void **state)
{
    fixture *f = *state;
    for (int tail = 0; tail < 2; tail++) {
        credits c;
        dw_instance *i = instance_make(
            f, "gae", "{\"kl\":0,\"whiten\":false,\"lambda\":0.5,\"gamma\":0.5}", NULL);
        batch *t = batch_make(&f->arena, 1, (uint32_t[]){3});
        column(&f->arena, t, DOWEL_REWARD, false)[0] = 8;
        column(&f->arena, t, DOWEL_OLD_VALUE, false);
        t->stop[0] = DOWEL_STOP_EOS;
        t->mask[2] = !tail;
        credit_of(i, t, 1, &c);
        credit_expect(&c, tail ? (double[]){2, 8, 0} : (double[]){0.5, 2, 8}, 3, 1e-15);
        dw_instance_destroy(i);
    }
}

/* T8: the target is in nats per answer, summed over its tokens; every answer counts once. */
static void test_t8_controller(void **state)
{
    fixture *f = *state;
    const char *options = "{\"kl\":0.1,\"kl_target\":2,\"kl_horizon\":10,\"whiten\":false}";
    metrics m[3] = {{.n = 0}};
    dw_buf saved = {0};
    dw_err err;
    credits c;
    dw_instance *i = instance_make(f, "gae", options, &m[0]);
    credit_of(i, shaped(&f->arena), 1, &c); /* 0.6 nats: far below, so a fifth of 1/10 less */
    near(metric_of(&m[0], "objective/kl_coef"), 0.1, 1e-15);
    near(metric_of(&m[0], "objective/kl"), 0.6, 1e-12);
    assert_int_equal(dw_instance_save(i, &saved, &err), 0);
    dw_instance_destroy(i);

    i = instance_make(f, "gae", options, &m[1]);
    assert_int_equal(dw_instance_load(i, saved.ptr, saved.len, 1, &err), 0);
    batch *t = shaped(&f->arena);
    ((double *)t->col[DOWEL_REF_LOGP].x)[0] = -3; /* 2.3 nats: 15 % above, within the limit */
    credit_of(i, t, 1, &c);
    near(metric_of(&m[1], "objective/kl_coef"), 0.098, 1e-15);
    near(c.advantage[3], 2 - 0.098 * 0.5 - 0.3, 1e-12);
    dw_instance_destroy(i);
    dw_buf_finish(&saved);

    /* 2.3 / 2 - 1 = 0.15 of a tenth more */
    i = instance_make(f, "gae", options, &m[2]);
    credit_of(i, t, 1, &c);
    memset(&m[2], 0, sizeof m[2]);
    credit_of(i, t, 1, &c);
    near(metric_of(&m[2], "objective/kl_coef"), 0.1015, 1e-12);
    dw_instance_destroy(i);
}

/* T10: sums over trained tokens only. T11: the divergence is added, being negative already. */
static void test_t10_t11_metrics(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    credits c;
    dw_instance *i = instance_make(f, "ppo", "{\"kl\":0.1,\"missing_eos\":\"subtract\"}", &m);
    batch *t = batch_make(&f->arena, 2, (uint32_t[]){3, 2});
    dw_arena *a = &f->arena;
    credit_put(column(a, t, DOWEL_REWARD, false), 2, (double[]){2, 1});
    credit_put(column(a, t, DOWEL_OLD_VALUE, false), 5, (double[]){1, 2, 3, 1, 7});
    credit_put(column(a, t, DOWEL_OLD_LOGP, false), 5, (double[]){-1, -2, 50, -1, 50});
    credit_put(column(a, t, DOWEL_REF_LOGP, false), 5, (double[]){-1.5, -2.5, 1, -1, 1});
    t->mask[2] = t->mask[4] = 0;
    t->stop[0] = DOWEL_STOP_EOS;
    t->stop[1] = DOWEL_STOP_LENGTH;
    credit_of(i, t, 1, &c);
    near(metric_of(&m, "objective/scores"), 1, 1e-12);
    near(metric_of(&m, "objective/entropy"), 2, 1e-12);
    near(metric_of(&m, "objective/kl"), 0.5, 1e-12);
    near(metric_of(&m, "objective/non_score_reward"), -0.05, 1e-12);
    near(metric_of(&m, "objective/rlhf_reward"), 0.95, 1e-12);
    near(metric_of(&m, "val/num_eos_tokens"), 1, 0);
    assert_true(c.advantage[2] == 0 && c.advantage[4] == 0);
    dw_instance_destroy(i);
}

static void test_var_explained(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    credits c;
    dw_instance *i = instance_make(f, "gae", "{\"kl\":0,\"lambda\":1}", &m);
    batch *t = batch_make(&f->arena, 3, (uint32_t[]){1, 1, 1});
    credit_put(column(&f->arena, t, DOWEL_REWARD, false), 3, (double[]){1, 2, 6});
    credit_put(column(&f->arena, t, DOWEL_OLD_VALUE, false), 3, (double[]){1, 3, 5});
    credit_of(i, t, 1, &c); /* errors 0, 1, 1; returns vary by 4 + 1 + 9 */
    near(metric_of(&m, "val/var_explained"), 1 - 2.0 / 14, 1e-12);
    dw_instance_destroy(i);
}

static void test_whitening(void **state)
{
    fixture *f = *state;
    credits c;
    /* one token: nothing to compare with */
    dw_instance *i = instance_make(f, "gae", "{\"kl\":0}", NULL);
    batch *t = batch_make(&f->arena, 1, (uint32_t[]){1});
    column(&f->arena, t, DOWEL_REWARD, false)[0] = 3;
    column(&f->arena, t, DOWEL_OLD_VALUE, false);
    credit_of(i, t, 1, &c);
    assert_true(c.advantage[0] == 0 && c.ret[0] == 3);
    dw_instance_destroy(i);

    /* rewards 1 and 3 of one token each, by sqrt 2, the mean stays 2 */
    i = instance_make(f, "gae", "{\"kl\":0,\"whiten\":false,\"whiten_rewards\":true}", NULL);
    t = batch_make(&f->arena, 2, (uint32_t[]){1, 1});
    credit_put(column(&f->arena, t, DOWEL_REWARD, false), 2, (double[]){1, 3});
    column(&f->arena, t, DOWEL_OLD_VALUE, false);
    credit_of(i, t, 1, &c);
    credit_expect(&c, (double[]){2 - sqrt(0.5), 2 + sqrt(0.5)}, 2, 1e-8);
    dw_instance_destroy(i);
}

/* An answer without a score, or without a token, takes no part; neither does anyone else's. A
 * missing score is not replaced by that of a missing end. */
static void test_left_out(void **state)
{
    fixture *f = *state;
    credits c;
    dw_instance *i = instance_make(f, "gae", "{\"kl\":0,\"missing_eos\":\"replace\"}", NULL);
    batch *t = batch_make(&f->arena, 5, (uint32_t[]){1, 1, 1, 1, 1});
    credit_put(column(&f->arena, t, DOWEL_REWARD, false), 5, (double[]){1, 3, NAN, 100, 100});
    column(&f->arena, t, DOWEL_OLD_VALUE, false);
    t->mask[3] = 0;
    t->role[4] = DOWEL_GREEDY;
    t->stop[2] = DOWEL_STOP_LENGTH;
    credit_of(i, t, 1, &c);
    credit_expect(&c, (double[]){-sqrt(0.5), sqrt(0.5), 0, 0, 0}, 5, 1e-8);
    assert_int_equal(c.keep[2], 0);
    assert_int_equal(c.keep[3], 0);
    dw_instance_destroy(i);
}

/* ---- under a constraint ---- */

static batch *constrained(dw_arena *a)
{
    static const char *const part[] = {"help", "harm"};
    static const double weight[] = {1, -2};
    batch *t = batch_make(a, 1, (uint32_t[]){2});
    credit_put(wide_column(a, t, DOWEL_REWARD, 3, false, 0), 3, (double[]){0, 1, 0.5});
    credit_put(wide_column(a, t, DOWEL_OLD_VALUE, 2, false, 0), 4, (double[]){0.1, 0.3, 0.2, 0.4});
    credit_put(column(a, t, DOWEL_OLD_LOGP, false), 2, (double[]){-1, -2});
    credit_put(column(a, t, DOWEL_REF_LOGP, false), 2, (double[]){-1.3, -1.8});
    t->b.part = part;
    t->b.part_weight = weight;
    return t;
}

#define LAG "{\"cost\":\"harm\",\"kl\":0.1,\"cost_limit\":0.2,\"whiten\":false"

static void test_lagrangian(void **state)
{
    fixture *f = *state;
    static const char *const options[] = {LAG "}", LAG ",\"update\":\"projected\"}"};
    const double lambda[] = {1.030454533953517, 1.03};
    const double want[][2] = {{0.31358809, 0.36325051}, {0.31370443, 0.36334975}};
    for (int k = 0; k < 2; k++) {
        metrics m = {0};
        credits c;
        dw_instance *i = instance_make(f, "ppo_lag", options[k], &m);
        credit_of(i, constrained(&f->arena), 2, &c);
        credit_expect(&c, want[k], 2, 1e-8);
        near(metric_of(&m, "lambda"), lambda[k], 1e-12);
        near(metric_of(&m, "cost"), 0.5, 1e-12);
        near(metric_of(&m, "objective/scores"), 1, 1e-12);
        const double ret[] = {0.949, 0.506, 1.02, 0.48};
        for (int j = 0; j < 4; j++)
            near(c.ret[j], ret[j], 1e-12);
        dw_instance_destroy(i);
    }
}

/* The mix of an answer on which the cost alone has an opinion is that cost: taken out of it again,
 * 0 is left, which nobody said. */
static void test_lagrangian_missing(void **state)
{
    fixture *f = *state;
    credits c;
    dw_instance *i = instance_make(f, "ppo_lag", LAG "}", NULL);
    batch *t = constrained(&f->arena);
    credit_put((double *)t->col[DOWEL_REWARD].x, 3, (double[]){-1, NAN, 0.5});
    credit_of(i, t, 2, &c);
    assert_int_equal(c.keep[0], 0);
    dw_instance_destroy(i);
}

/* With rewards and costs of 0, what is left is the divergence, at the same weight whatever the
 * multiplier is. */
static void test_lagrangian_kl_weight(void **state)
{
    fixture *f = *state;
    static const char *const start[] = {"0.01", "1", "4"};
    for (int k = 0; k < 3; k++) {
        char options[200];
        credits c;
        snprintf(options, sizeof options,
                 "{\"cost\":\"harm\",\"kl\":0.1,\"whiten\":false,\"lambda\":1,\"multiplier\":%s}",
                 start[k]);
        dw_instance *i = instance_make(f, "ppo_lag", options, NULL);
        batch *t = constrained(&f->arena);
        memset((double *)t->col[DOWEL_REWARD].x, 0, 3 * sizeof(double));
        memset((double *)t->col[DOWEL_OLD_VALUE].x, 0, 4 * sizeof(double));
        credit_of(i, t, 2, &c);
        credit_expect(&c, (double[]){-0.01, 0.02}, 2, 1e-12);
        dw_instance_destroy(i);
    }
}

/* The mean is of the last answers, across rollouts and a save; the multiplier keeps its limits. */
static void test_lagrangian_state(void **state)
{
    fixture *f = *state;
    const char *options = LAG ",\"window\":2,\"update\":\"projected\",\"multiplier_max\":1.05}";
    metrics m[3] = {{.n = 0}};
    dw_buf saved = {0};
    dw_err err;
    credits c;
    dw_instance *i = instance_make(f, "ppo_lag", options, &m[0]);
    batch *t = constrained(&f->arena);
    credit_of(i, t, 2, &c);
    assert_int_equal(dw_instance_save(i, &saved, &err), 0);
    dw_instance_destroy(i);

    i = instance_make(f, "ppo_lag", options, &m[1]);
    assert_int_equal(dw_instance_load(i, saved.ptr, saved.len, 1, &err), 0);
    ((double *)t->col[DOWEL_REWARD].x)[2] = 0.3;
    credit_of(i, t, 2, &c);
    near(metric_of(&m[1], "cost_window"), 0.4, 1e-12);
    near(metric_of(&m[1], "lambda"), 1.05, 1e-12);
    ((double *)t->col[DOWEL_REWARD].x)[2] = -100;
    memset(&m[1], 0, sizeof m[1]);
    credit_of(i, t, 2, &c);
    near(metric_of(&m[1], "cost_window"), (0.3 - 100) / 2, 1e-12);
    near(metric_of(&m[1], "lambda"), 0, 0);
    dw_instance_destroy(i);
    dw_buf_finish(&saved);
}

/* ---- regression on the optimal advantage ---- */

static void test_b7_a2po(void **state)
{
    fixture *f = *state;
    dw_arena *a = &f->arena;
    const double r[] = {1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1};
    uint32_t len[11];
    metrics m = {0};
    credits c;
    for (uint32_t s = 0; s < 11; s++)
        len[s] = 1;
    dw_instance *i = instance_make(f, "a2po", "{\"beta2\":0.1}", &m);
    batch *t = batch_make(a, 11, len);
    credit_put(column(a, t, DOWEL_REWARD, false), 11, r);
    for (uint32_t s = 2; s < 10; s++) {
        t->role[s] = DOWEL_OTHER;
        t->group[s] = s >= 6;
    }
    t->group[1] = 1;
    t->group[10] = 2; /* no answers of the reference */
    credit_of(i, t, 0, &c);
    near(c.advantage[0], 1 - 0.7168904152, 1e-9);
    near(c.advantage[1], 0 - 0.4772292964, 1e-9);
    near(metric_of(&m, "v_star"), (0.7168904152 + 0.4772292964) / 2, 1e-9);
    near(metric_of(&m, "reward"), 0.5, 1e-12);
    near(metric_of(&m, "frac_dropped"), 1.0 / 3, 1e-12);
    for (uint32_t s = 0; s < 11; s++)
        assert_int_equal(c.keep[s], s < 2);

    t = batch_make(a, 2, (uint32_t[]){1, 1});
    credit_put(column(a, t, DOWEL_LOGP, true), 2, (double[]){-1, -2});
    credit_put(column(a, t, DOWEL_REF_LOGP, false), 2, (double[]){-2.25, -1.5});
    credit_put(column(a, t, DOWEL_ADVANTAGE, false), 2, c.advantage);
    column(a, t, DOWEL_WEIGHT, false);
    near(loss_of(i, t), 0.1037617562, 1e-9);
    near(t->col[DOWEL_LOGP].grad[0], -0.01581095848, 1e-9);
    near(t->col[DOWEL_LOGP].grad[1], 0.04272292964, 1e-9);
    near(metric_of(&m, "implicit_reward"), 0.0375, 1e-12);
    dw_instance_destroy(i);
}

/* Prompts that the reference never solves are dropped, unless they are to stay: then V is 0. */
static void test_a2po_hopeless(void **state)
{
    fixture *f = *state;
    static const char *const options[] = {"{}", "{\"drop_hopeless\":false}"};
    for (int k = 0; k < 2; k++) {
        credits c;
        dw_instance *i = instance_make(f, "a2po", options[k], NULL);
        batch *t = batch_make(&f->arena, 3, (uint32_t[]){1, 1, 1});
        column(&f->arena, t, DOWEL_REWARD, false)[0] = 1;
        t->role[1] = t->role[2] = DOWEL_OTHER;
        credit_of(i, t, 0, &c);
        assert_int_equal(c.keep[0], k);
        near(c.advantage[0], k, 1e-12);
        dw_instance_destroy(i);
    }
}

/* ---- the implicit process model ---- */

static void test_prime(void **state)
{
    fixture *f = *state;
    dw_arena *a = &f->arena;
    metrics m = {0};
    dw_instance *i = instance_make(f, "prime", "{\"beta\":0.5}", &m);
    batch *t = batch_make(a, 3, (uint32_t[]){2, 1, 1});
    credit_put(column(a, t, DOWEL_LOGP, true), 4, (double[]){-1, -1, -3, -1});
    credit_put(column(a, t, DOWEL_REF_LOGP, false), 4, (double[]){-2, -2, -2, -2});
    credit_put(column(a, t, DOWEL_REWARD, false), 3, (double[]){1, 0.5, NAN});
    column(a, t, DOWEL_WEIGHT, false);
    /* x = 1 for a right answer, -0.5 for a wrong one; the third has no outcome */
    const double p = 1 / (1 + exp(-1)), q = 1 / (1 + exp(0.5));
    near(loss_of(i, t), (-log(p) - log(1 - q)) / 3, 1e-12);
    near(t->col[DOWEL_LOGP].grad[0], 0.5 * (p - 1) / 3, 1e-12);
    near(t->col[DOWEL_LOGP].grad[1], 0.5 * (p - 1) / 3, 1e-12);
    near(t->col[DOWEL_LOGP].grad[2], 0.5 * q / 3, 1e-12);
    assert_true(t->col[DOWEL_LOGP].grad[3] == 0);
    near(metric_of(&m, "prm/accuracy"), 1, 0);
    near(metric_of(&m, "prm/loss"), (-log(p) - log(1 - q)) / 2, 1e-12);

    /* a label goes before a reward */
    credit_put(column(a, t, DOWEL_LABEL, false), 3, (double[]){-1, 0, 0});
    near(loss_of(i, t), (-log(1 - p) - log(1 - q)) / 3, 1e-12);
    dw_instance_destroy(i);
}

/* ---- corners that the cases above leave open ---- */

/* A span that ends on a token of the environment belongs to the trained one before it. */
static void test_span_on_masked(void **state)
{
    fixture *f = *state;
    credits c;
    dw_instance *i = instance_make(f, "gae", "{\"kl\":0,\"whiten\":false,\"gamma\":0.5}", NULL);
    batch *t = batch_make(&f->arena, 1, (uint32_t[]){3});
    wide_column(&f->arena, t, DOWEL_TOKEN_REWARD, 1, false, NAN)[1] = 4;
    column(&f->arena, t, DOWEL_OLD_VALUE, false);
    t->mask[1] = 0;
    credit_of(i, t, 1, &c);
    credit_expect(&c, (double[]){4, 0, 0}, 3, 1e-15);
    assert_int_equal(c.keep[0], 1);
    dw_instance_destroy(i);
}

/* Two answers act twice as much as one. */
static void test_t8_two_answers(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    credits c;
    dw_instance *i = instance_make(f, "gae", "{\"kl\":0.1,\"kl_target\":2,\"kl_horizon\":10}", &m);
    batch *t = batch_make(&f->arena, 2, (uint32_t[]){1, 1});
    credit_put(column(&f->arena, t, DOWEL_OLD_LOGP, false), 2, (double[]){-1, -1});
    credit_put(column(&f->arena, t, DOWEL_REF_LOGP, false), 2, (double[]){-1.1, -1.6});
    column(&f->arena, t, DOWEL_REWARD, false);
    column(&f->arena, t, DOWEL_OLD_VALUE, false);
    credit_of(i, t, 1, &c);
    memset(&m, 0, sizeof m);
    credit_of(i, t, 1, &c);
    near(metric_of(&m, "objective/kl_coef"), 0.096, 1e-12);
    dw_instance_destroy(i);
}

/* One answer of two tokens: ratio 1.5 at advantage 2, which is clipped, and 1.1 at -1. */
static void test_policy_metrics(void **state)
{
    fixture *f = *state;
    static const char *const options[] = {"{\"normalizer\":\"token\"}",
                                          "{\"normalizer\":\"sequence\"}",
                                          "{\"normalizer\":\"constant\"}"};
    const double share[] = {0.25, 0.25, 0.05}; /* of 4 tokens; of 2 answers of 2; of 2 times 10 */
    for (int k = 0; k < 3; k++) {
        metrics m = {0};
        dw_instance *i = instance_make(f, "ppo", options[k], &m);
        batch *t = batch_make(&f->arena, 1, (uint32_t[]){2});
        t->b.step_toks = 4;
        t->b.step_seqs = 2;
        credit_put(column(&f->arena, t, DOWEL_LOGP, true), 2,
                   (double[]){log(1.5) - 2, log(1.1) - 2});
        credit_put(column(&f->arena, t, DOWEL_OLD_LOGP, false), 2, (double[]){-2, -2});
        credit_put(column(&f->arena, t, DOWEL_ADVANTAGE, false), 2, (double[]){2, -1});
        column(&f->arena, t, DOWEL_WEIGHT, false);
        column(&f->arena, t, DOWEL_VALUE, true);
        column(&f->arena, t, DOWEL_RETURN, false);
        near(loss_of(i, t), (-2.4 + 1.1) * share[k], 1e-12);
        near(metric_of(&m, "loss/policy_avg"), (-2.4 + 1.1) / 2, 1e-12);
        near(metric_of(&m, "policy/clipfrac_avg"), 0.5, 0);
        dw_instance_destroy(i);
    }
}

/* log lambda moves by lr lambda (J - limit): from 2, by 0.1 * 2 * 0.3. Streams are limited. */
static void test_lagrangian_steps(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    credits c;
    dw_instance *i = instance_make(f, "ppo_lag", LAG ",\"multiplier\":2}", &m);
    credit_of(i, constrained(&f->arena), 2, &c);
    near(metric_of(&m, "lambda"), 2 * exp(0.06), 1e-12);
    dw_instance_destroy(i);

    i = instance_make(f, "ppo_lag", LAG ",\"lambda\":1,\"stream_clip\":0.25}", NULL);
    credit_of(i, constrained(&f->arena), 2, &c);
    /* rewards -0.03 and 1.02, costs 0.03 and 0.48 */
    const double ret[] = {0.22, 0.28, 0.25, 0.25};
    for (int k = 0; k < 4; k++)
        near(c.ret[k], ret[k], 1e-12);
    dw_instance_destroy(i);
}

/* A soft outcome is a probability, whatever the reward is. */
static void test_prime_soft(void **state)
{
    fixture *f = *state;
    dw_instance *i = instance_make(f, "prime", "{\"beta\":1,\"soft\":true}", NULL);
    batch *t = batch_make(&f->arena, 3, (uint32_t[]){1, 1, 1});
    column(&f->arena, t, DOWEL_LOGP, true);
    column(&f->arena, t, DOWEL_REF_LOGP, false);
    column(&f->arena, t, DOWEL_WEIGHT, false);
    credit_put(column(&f->arena, t, DOWEL_REWARD, false), 3, (double[]){1.3, -2, 0.75});
    near(loss_of(i, t), log(2), 1e-12);
    const double want[] = {-0.5, 0.5, -0.25};
    for (int k = 0; k < 3; k++)
        near(t->col[DOWEL_LOGP].grad[k], want[k] / 3, 1e-12);
    dw_instance_destroy(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_b3_gae),
        cmocka_unit_test(test_b3_value_loss),
        cmocka_unit_test(test_kl_in_rewards),
        cmocka_unit_test(test_t1_t2_score_position),
        cmocka_unit_test(test_t8_controller),
        cmocka_unit_test(test_t10_t11_metrics),
        cmocka_unit_test(test_var_explained),
        cmocka_unit_test(test_whitening),
        cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_lagrangian),
        cmocka_unit_test(test_lagrangian_missing),
        cmocka_unit_test(test_lagrangian_kl_weight),
        cmocka_unit_test(test_lagrangian_state),
        cmocka_unit_test(test_b7_a2po),
        cmocka_unit_test(test_a2po_hopeless),
        cmocka_unit_test(test_prime),
        cmocka_unit_test(test_span_on_masked),
        cmocka_unit_test(test_t8_two_answers),
        cmocka_unit_test(test_policy_metrics),
        cmocka_unit_test(test_lagrangian_steps),
        cmocka_unit_test(test_prime_soft),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
