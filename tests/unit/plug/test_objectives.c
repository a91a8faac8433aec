/* The objectives as loaded plugins, against golden vectors computed from their formulas. */
#include "batch.h"

static void put(double *x, size_t n, const double *v)
{
    memcpy(x, v, n * sizeof *v);
}

/* One pair with log-ratio sums 1.25 (5 tokens) and -0.5 (8 tokens). */
static batch *golden_pair(dw_arena *a)
{
    batch *t = batch_make(a, 2, (uint32_t[]){5, 8});
    double *l = column(a, t, DOWEL_LOGP, true), *ref = column(a, t, DOWEL_REF_LOGP, false);
    for (uint32_t k = 0; k < 13; k++) {
        ref[k] = -1 - 0.1 * k;
        l[k] = ref[k] + (k < 5 ? 1.25 / 5 : -0.5 / 8);
    }
    column(a, t, DOWEL_WEIGHT, false);
    put(column(a, t, DOWEL_LABEL, false), 2, (double[]){1, -1});
    t->mate[0] = 1;
    t->mate[1] = 0;
    return t;
}

static void check_pair(fixture *f, const char *options, double loss, double slope)
{
    metrics m = {0};
    dw_instance *i = instance_make(f, "dpo", options, &m);
    batch *t = golden_pair(&f->arena);
    near(loss_of(i, t), loss, 1e-9);
    for (uint32_t k = 0; k < 13; k++)
        near(t->col[DOWEL_LOGP].grad[k], k < 5 ? slope : -slope, 1e-9);
    near(metric_of(&m, "rewards/chosen"), 0.125, 1e-12);
    near(metric_of(&m, "rewards/rejected"), -0.05, 1e-12);
    near(metric_of(&m, "rewards/margins"), 0.175, 1e-12);
    near(metric_of(&m, "rewards/accuracies"), 1, 0);
    near(metric_of(&m, "logps/chosen"), -6 + 1.25, 1e-12);
    near(metric_of(&m, "logps/rejected"), -14.8 - 0.5, 1e-12);
    dw_instance_destroy(i);
}

static void test_dpo_golden(void **state)
{
    check_pair(*state, "{}", 0.609470431, -0.0456361313);
    check_pair(*state, "{\"loss\":\"cdpo\"}", 0.609470431, -0.0456361313);
    check_pair(*state, "{\"loss\":\"cdpo\",\"label_smoothing\":0.1}", 0.626970431, -0.0356361313);
}

/* Identical halves: log 2, derivatives that cancel, and a tie that is no success. */
static void test_dpo_tie(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    dw_instance *i = instance_make(f, "dpo", NULL, &m);
    batch *t = golden_pair(&f->arena);
    memcpy((double *)t->col[DOWEL_LOGP].x, t->col[DOWEL_REF_LOGP].x, 13 * sizeof(double));
    near(loss_of(i, t), log(2), 1e-15);
    near(metric_of(&m, "rewards/accuracies"), 0, 0);
    dw_instance_destroy(i);
}

static batch *golden_rollout(dw_arena *a)
{
    batch *t = batch_make(a, 2, (uint32_t[]){3, 2});
    put(column(a, t, DOWEL_LOGP, true), 5, (double[]){-0.5, -1, -2, -1.2, -0.3});
    put(column(a, t, DOWEL_OLD_LOGP, false), 5, (double[]){-0.7, -0.9, -2.05, -0.8, -0.7});
    put(column(a, t, DOWEL_REF_LOGP, false), 5, (double[]){-0.6, -1.1, -1.8, -1.0, -0.5});
    put(column(a, t, DOWEL_ADVANTAGE, false), 5, (double[]){0.8, 0.8, 0.8, -1.2, -1.2});
    put(column(a, t, DOWEL_ENTROPY, false), 5, (double[]){0.1, 0.5, 0.9, 1.2, 0.3});
    column(a, t, DOWEL_WEIGHT, false);
    return t;
}

typedef struct golden {
    const char *options;
    double loss, grad[5];
    bool no_advantage;
} golden;

static const golden rows[] = {
    {"{\"normalizer\":\"sequence\"}",
     0.266732941,
     {0, -0.120644989, -0.14016948, 0, 0.447547409},
     false},
    {"{\"clip_high\":0.28}",
     0.0416361238,
     {-0.195424441, -0.144773987, -0.168203375, 0, 0.358037927},
     false},
    {"{}", 0.04506056513, {0, -0.144773987, -0.168203375, 0, 0.358037927}, false},
    {"{\"normalizer\":\"constant\"}",
     0.0112651413,
     {0, -0.0361934967, -0.0420508439, 0, 0.0895094819},
     false},
    {"{\"kl\":1,\"kl_estimator\":\"k2\"}", 0.014, {0.02, 0.02, -0.04, -0.04, 0.04}, true},
    {"{\"kl\":1,\"kl_estimator\":\"k3\"}",
     0.0142422211,
     {0.0190325164, 0.0190325164, -0.0442805516, -0.0442805516, 0.0362538494},
     true},
    {"{\"kl\":1,\"kl_estimator\":\"k3_weighted\"}",
     0.0150150623,
     {0.0244280552, 0.0180967484, -0.0420508439, -0.0268128018, 0.0596729879},
     true},
};

static void test_grpo_golden(void **state)
{
    fixture *f = *state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        metrics m = {0};
        dw_instance *i = instance_make(f, "grpo", rows[r].options, &m);
        batch *t = golden_rollout(&f->arena);
        if (rows[r].no_advantage)
            memset((double *)t->col[DOWEL_ADVANTAGE].x, 0, 5 * sizeof(double));
        near(loss_of(i, t), rows[r].loss, 1e-8);
        for (uint32_t k = 0; k < 5; k++)
            near(t->col[DOWEL_LOGP].grad[k], rows[r].grad[k], 1e-8);
        near(metric_of(&m, "entropy"), 0.6, 1e-12);
        if (rows[r].no_advantage)
            near(metric_of(&m, "kl"), 0.0142422211, 1e-8);
        dw_instance_destroy(i);
    }
}

/* Ratios 1.22 (A > 0, beyond 1.2) and 0.67 (A < 0, below 0.8) are clipped: one token of each
 * sequence. */
static void test_grpo_clip_metrics(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    dw_instance *i = instance_make(f, "grpo", NULL, &m);
    loss_of(i, golden_rollout(&f->arena));
    near(metric_of(&m, "clip_ratio/high_mean"), 0.2, 1e-12);
    near(metric_of(&m, "clip_ratio/low_mean"), 0.2, 1e-12);
    near(metric_of(&m, "clip_ratio/region_mean"), 0.4, 1e-12);
    near(metric_of(&m, "clip_ratio/low_min"), 0, 0);
    near(metric_of(&m, "clip_ratio/high_max"), 1.0 / 3, 1e-12);
    dw_instance_destroy(i);
}

/* On fresh samples the ratio is 1 and the derivative is -A times the normaliser. */
static void test_grpo_fresh(void **state)
{
    fixture *f = *state;
    dw_instance *i = instance_make(f, "grpo", NULL, NULL);
    batch *t = golden_rollout(&f->arena);
    memcpy((double *)t->col[DOWEL_OLD_LOGP].x, t->col[DOWEL_LOGP].x, 5 * sizeof(double));
    loss_of(i, t);
    for (uint32_t k = 0; k < 5; k++)
        near(t->col[DOWEL_LOGP].grad[k], -t->col[DOWEL_ADVANTAGE].x[k] / 5, 1e-15);
    dw_instance_destroy(i);
}

static void test_sft_values(void **state)
{
    fixture *f = *state;
    const double l[] = {-0.5, -1, -2, -1.2, -0.3}, u[] = {-3, -4, -5, -6, -7};
    metrics m = {0};
    for (int kind = 0; kind < 3; kind++) {
        static const char *const options[] = {"{}", "{\"label_smoothing\":0.1}", "{\"dft\":true}"};
        dw_instance *i = instance_make(f, "sft", options[kind], &m);
        batch *t = batch_make(&f->arena, 2, (uint32_t[]){3, 2});
        put(column(&f->arena, t, DOWEL_LOGP, true), 5, l);
        put(column(&f->arena, t, DOWEL_TOP1, false), 5, (double[]){1, 1, 0, 0, 1});
        put(column(&f->arena, t, DOWEL_WEIGHT, false), 2, (double[]){1, 3});
        if (kind == 1)
            put(column(&f->arena, t, DOWEL_MEAN_LOGP, true), 5, u);
        t->mask[1] = 0;
        batch_count(t);
        double want = 0, loss = loss_of(i, t);
        for (uint32_t k = 0; k < 5; k++) {
            double w = t->mask[k] * (k < 3 ? 1 : 3) / 4.0;
            double c = kind == 2 ? exp(l[k]) : kind == 1 ? 0.9 : 1;
            want -= w * (c * l[k] + (kind == 1 ? 0.1 * u[k] : 0));
            near(t->col[DOWEL_LOGP].grad[k], -w * c, 1e-15);
            if (kind == 1)
                near(t->col[DOWEL_MEAN_LOGP].grad[k], -w * 0.1, 1e-15);
        }
        near(loss, want, 1e-14);
        dw_instance_destroy(i);
    }
    near(metric_of(&m, "mean_token_accuracy"), 0.5, 1e-15);
}

static void test_observe(void **state)
{
    fixture *f = *state;
    dw_err err;
    dowel_request ask;
    dw_instance *i = instance_make(f, "grpo", NULL, NULL);
    assert_int_equal(dw_call_observe(i, false, &ask, &err), 0);
    assert_false(ask.columns & DOWEL_BIT(DOWEL_REF_LOGP));
    assert_true(ask.detached == DOWEL_BIT(DOWEL_ENTROPY));
    assert_int_equal(dw_call_observe(i, true, &ask, &err), 0);
    assert_true(ask.columns == 0);
    dw_instance_destroy(i);

    /* a schedule that starts at 0 needs the reference later on */
    i = instance_make(f, "grpo", "{\"kl\":{\"schedule\":\"linear\",\"from\":0,\"to\":0.1}}", NULL);
    assert_int_equal(dw_call_observe(i, false, &ask, &err), 0);
    assert_true(ask.columns & DOWEL_BIT(DOWEL_REF_LOGP));
    batch *t = golden_rollout(&f->arena);
    near(loss_of(i, t), 0.04506056513, 1e-8); /* and is still 0 */
    assert_int_equal(dw_instance_set(i, "kl", 0.1, &err), 0);
    near(loss_of(i, t), 0.04506056513 + 0.1 * 0.014, 1e-8);
    dw_instance_destroy(i);

    i = instance_make(f, "sft", "{\"label_smoothing\":0.1}", NULL);
    assert_int_equal(dw_call_observe(i, false, &ask, &err), 0);
    assert_true(ask.columns & DOWEL_BIT(DOWEL_MEAN_LOGP));
    dw_instance_destroy(i);

    i = instance_make(f, "dpo", "{\"label_smoothing\":0.1}", NULL);
    assert_int_equal(dw_call_observe(i, false, &ask, &err), DW_E_PLUGIN);
    assert_string_equal(err.text, "t (dpo): observe: label_smoothing 0.1 needs loss = 'cdpo'");
    dw_instance_destroy(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dpo_golden),  cmocka_unit_test(test_dpo_tie),
        cmocka_unit_test(test_grpo_golden), cmocka_unit_test(test_grpo_clip_metrics),
        cmocka_unit_test(test_grpo_fresh),  cmocka_unit_test(test_sft_values),
        cmocka_unit_test(test_observe),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
