/* Distillation and supervised losses as loaded plugins: golden vectors, the traps of their kind,
 * what is asked for and refused. */
#include "batch.h"

static void put(double *x, size_t n, const double *v)
{
    memcpy(x, v, n * sizeof *v);
}

static batch *golden(dw_arena *a)
{
    batch *t = batch_make(a, 2, (uint32_t[]){3, 2});
    put(column(a, t, DOWEL_LOGP, true), 5, (double[]){-0.5, -1, -2, -1.2, -0.3});
    put(column(a, t, DOWEL_OLD_LOGP, false), 5, (double[]){-0.7, -0.9, -2.05, -0.8, -0.7});
    put(column(a, t, DOWEL_TEACHER_LOGP, false), 5, (double[]){-0.6, -1.3, -1.2, -1, -0.9});
    put(column(a, t, DOWEL_ENTROPY, false), 5, (double[]){0.1, 0.5, 0.9, 1.2, 0.3});
    put(column(a, t, DOWEL_DIVERGENCE, true), 5, (double[]){0.2, 0.4, 0.1, 0.5, 0.3});
    column(a, t, DOWEL_WEIGHT, false);
    return t;
}

static double run(fixture *f, const char *id, const char *options, batch *t, metrics *m)
{
    dw_instance *i = instance_make(f, id, options, m);
    survey_of(i, t, &f->arena);
    double loss = loss_of(i, t);
    dw_instance_destroy(i);
    return loss;
}

static dowel_request asked(fixture *f, const char *id, const char *options)
{
    dw_err err = {{0}};
    dowel_request ask;
    dw_instance *i = instance_make(f, id, options, NULL);
    if (dw_call_observe(i, false, &ask, &err) < 0)
        fail_msg("%s", err.text);
    dw_instance_destroy(i);
    return ask;
}

/* ---- golden vectors ---- */

typedef struct row {
    const char *id, *options;
    double loss, grad[5];
} row;

static const row rows[] = {
    {"sft",
     "{\"dft\":true}",
     0.3050987716,
     {-0.1213061319, -0.07357588823, -0.02706705665, -0.06023884238, -0.1481636441}},
    {"self_distill",
     "{\"mode\":\"sampled_token\"}",
     0.1980058232,
     {0.02035671264, 0.0452418709, -0.1401694795, -0.0335160023, 0.2237737046}},
    {"self_distill",
     "{\"mode\":\"sampled_token\",\"correction\":1.2}",
     0.2113162909,
     {0.02, 0.0452418709, -0.1401694795, -0.0335160023, 0.18}},
    {"opd",
     "{\"loss\":\"top1\"}",
     0.06877270221,
     {0.02873521018, 0.03240945498, -0.02741808822, -0.01808928628, 0.2116354928}},
    {"iw_opd", "{}", 0.258, {-0.03, 0.117037037, -0.2235185185, 0.06, 0.05}},
};

static void test_golden(void **state)
{
    fixture *f = *state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        batch *t = golden(&f->arena);
        near(run(f, rows[r].id, rows[r].options, t, NULL), rows[r].loss, 1e-9);
        for (int k = 0; k < 5; k++)
            near(t->col[DOWEL_LOGP].grad[k], rows[r].grad[k], 1e-9);
    }
}

/* The plain policy gradient: -A l, A = teacher - old, whatever the ratio. */
static void test_opd(void **state)
{
    fixture *f = *state;
    const double a[] = {0.1, -0.4, 0.85, -0.2, -0.2};
    const double l[] = {-0.5, -1, -2, -1.2, -0.3}, old[] = {-0.7, -0.9, -2.05, -0.8, -0.7};
    batch *t = golden(&f->arena);
    metrics m = {0};
    double want = 0;
    for (int k = 0; k < 5; k++)
        want -= a[k] * l[k] / 5;
    near(run(f, "opd", NULL, t, &m), want, 1e-14);
    near(metric_of(&m, "entropy"), 0.6, 1e-14);
    for (int k = 0; k < 5; k++)
        near(t->col[DOWEL_LOGP].grad[k], -a[k] / 5, 1e-14);
    t->mask[4] = 0;
    memset(&m, 0, sizeof m);
    run(f, "opd", NULL, t, &m);
    near(metric_of(&m, "teacher_kl"), (0.1 + 0.3 - 0.8 - 0.2) / 4, 1e-14);
    t->mask[4] = 1;

    /* ratios 1.22 with A > 0 and 0.67 with A < 0 are in the flat part; 1.49 with A < 0 is not */
    memset(&m, 0, sizeof m);
    near(run(f, "opd", "{\"loss\":\"clipped\",\"normalizer\":\"sequence\"}", t, &m),
         (-1.2 * 0.1 + 0.4 * exp(-0.1) - 0.85 * exp(0.05)) / 6 + (0.8 * 0.2 + 0.2 * exp(0.4)) / 4,
         1e-14);
    for (int k = 0; k < 5; k++)
        near(t->col[DOWEL_LOGP].grad[k],
             k == 0 || k == 3 ? 0 : -a[k] * exp(l[k] - old[k]) / (k < 3 ? 6 : 4), 1e-14);
    near(metric_of(&m, "clip_ratio/region_mean"), 0.4, 1e-14);
}

static void test_iw_metrics(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    batch *t = golden(&f->arena);
    put((double *)t->col[DOWEL_OLD_LOGP].x, 5, (double[]){-0.5, -1, -2, -1.2, -0.3});
    run(f, "iw_opd", "{\"gamma\":2}", t, &m); /* |A| = .1 .3 .8, .2 .6 */
    near(metric_of(&m, "iw_opd/max_weight"), 3, 1e-14);
    near(metric_of(&m, "iw_opd/min_weight"), 1 + 2 * (1 - 0.4 / 1.2), 1e-14);
    near(metric_of(&m, "iw_opd/mean_abs_advantage"), 0.4, 1e-14);
    double w[] = {3, 1 + 2 * (1 - 0.1 / 1.2), 1 + 2 * (1 - 0.4 / 1.2), 3, 1 + 2 * 0.75};
    near(metric_of(&m, "iw_opd/mean_weight"), (w[0] + w[1] + w[2] + w[3] + w[4]) / 5, 1e-14);
    near(metric_of(&m, "iw_opd/mean_advantage"),
         (-0.1 * w[0] - 0.3 * w[1] + 0.8 * w[2] + 0.2 * w[3] - 0.6 * w[4]) / 5, 1e-14);
    /* teacher and student agree: the weight is the largest and the advantage 0 */
    put((double *)t->col[DOWEL_OLD_LOGP].x, 5, t->col[DOWEL_TEACHER_LOGP].x);
    near(run(f, "iw_opd", NULL, t, NULL), 0, 0);
}

/* ---- minillm ---- */

static const char exact_off[] = "{\"loss\":\"policy_gradient\",\"gamma\":0.5,\"single_step\":false,"
                                "\"length_normalization\":false}";

/* T31: a later token is discounted by its distance, not by its place in the answer, and the
 * advantage has no derivative. */
static void test_t31_reward_to_go(void **state)
{
    fixture *f = *state;
    const double r[] = {0.1, -0.4, 0.85, -0.2, -0.2};
    const double to_go[] = {r[0] + 0.5 * r[1] + 0.25 * r[2], r[1] + 0.5 * r[2], r[2],
                            r[3] + 0.5 * r[4], r[4]};
    const double discounts[] = {1.75, 1.5, 1, 1.5, 1};
    batch *t = golden(&f->arena);
    run(f, "minillm", exact_off, t, NULL);
    for (int k = 0; k < 5; k++)
        near(t->col[DOWEL_LOGP].grad[k], -to_go[k] / 5, 1e-14);
    run(f, "minillm", "{\"loss\":\"policy_gradient\",\"gamma\":0.5,\"single_step\":false}", t,
        NULL);
    for (int k = 0; k < 5; k++)
        near(t->col[DOWEL_LOGP].grad[k], -to_go[k] / discounts[k] / 5, 1e-14);
    /* gamma = 0 is opd: no term beside -A */
    run(f, "minillm", "{\"loss\":\"policy_gradient\",\"gamma\":0,\"single_step\":false}", t, NULL);
    for (int k = 0; k < 5; k++)
        near(t->col[DOWEL_LOGP].grad[k], -r[k] / 5, 1e-14);
}

/* Long answers: gamma^t would have underflowed to 0 / 0 at the end of this one. */
static void test_t31_long_answer(void **state)
{
    fixture *f = *state;
    enum { N = 3000 };
    batch *t = batch_make(&f->arena, 1, (uint32_t[]){N});
    double *l = column(&f->arena, t, DOWEL_LOGP, true);
    double *old = column(&f->arena, t, DOWEL_OLD_LOGP, false);
    double *tea = column(&f->arena, t, DOWEL_TEACHER_LOGP, false);
    column(&f->arena, t, DOWEL_WEIGHT, false);
    for (int k = 0; k < N; k++) {
        l[k] = old[k] = -1;
        tea[k] = -1.5;
    }
    run(f, "minillm", "{\"loss\":\"policy_gradient\",\"gamma\":0.5,\"single_step\":false}", t,
        NULL);
    for (int k = 0; k < N; k++)
        near(t->col[DOWEL_LOGP].grad[k], 0.5 / N, 1e-14);
}

/* A token's own part is the exact divergence, and what is left begins with the next token; masked
 * tokens neither count nor discount. */
static void test_minillm_single_step(void **state)
{
    fixture *f = *state;
    batch *t = golden(&f->arena);
    metrics m = {0};
    t->mask[1] = 0;
    batch_count(t);
    const char *options = "{\"loss\":\"policy_gradient\",\"gamma\":0.5,\"length_normalization\":"
                          "false,\"normalizer\":\"sequence\"}";
    double want = (-0.5 * 0.85 * -0.5 + 0.2 + 0.1) / 4 + (-0.5 * -0.2 * -1.2 + 0.5 + 0.3) / 4;
    near(run(f, "minillm", options, t, &m), want, 1e-14);
    const double slope[] = {-0.5 * 0.85 / 4, 0, 0, 0.5 * 0.2 / 4, 0};
    for (int k = 0; k < 5; k++) {
        near(t->col[DOWEL_LOGP].grad[k], slope[k], 1e-14);
        near(t->col[DOWEL_DIVERGENCE].grad[k], k == 1 ? 0 : 0.25, 1e-14);
    }
    near(metric_of(&m, "divergence"), 1.1 / 4, 1e-14);

    /* both sums of the mean begin with the next token */
    t->mask[1] = 1;
    batch_count(t);
    run(f, "minillm", "{\"loss\":\"policy_gradient\",\"gamma\":0.5}", t, NULL);
    const double mean[] = {(-0.4 + 0.5 * 0.85) / 1.5, 0.85, 0, -0.2, 0};
    for (int k = 0; k < 5; k++)
        near(t->col[DOWEL_LOGP].grad[k], -mean[k] / 5, 1e-14);
    dowel_request ask = asked(f, "minillm", NULL);
    assert_int_equal(ask.divergence, DOWEL_REVERSE_KL);
    assert_int_equal(ask.against, DOWEL_TEACHER);
    ask = asked(f, "minillm", exact_off);
    assert_false(ask.columns & DOWEL_BIT(DOWEL_DIVERGENCE));
}

/* ---- gkd and self-distillation through the divergence ---- */

static void test_gkd(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    batch *t = golden(&f->arena);
    near(run(f, "gkd", NULL, t, &m), 0.3, 1e-15);
    for (int k = 0; k < 5; k++) {
        near(t->col[DOWEL_DIVERGENCE].grad[k], 0.2, 1e-15);
        near(t->col[DOWEL_LOGP].grad[k], 0, 0);
    }
    near(metric_of(&m, "divergence"), 0.3, 1e-15);
    near(metric_of(&m, "entropy"), 0.6, 1e-15);
    ((double *)t->col[DOWEL_WEIGHT].x)[1] = 3;
    near(run(f, "gkd", NULL, t, NULL), (0.7 + 3 * 0.8) / 5, 1e-15);
    near(t->col[DOWEL_DIVERGENCE].grad[3], 0.6, 1e-15);
}

/* T30: the ends are divergences of their own; between them the loss is Jensen-Shannon's as it
 * stands, or divided so that it goes over into both. */
static void test_t30_ends(void **state)
{
    fixture *f = *state;
    const struct {
        const char *options;
        uint32_t kind;
        double factor;
    } end[] = {
        {"{\"beta\":0}", DOWEL_FORWARD_KL, 1},
        {"{\"beta\":1}", DOWEL_REVERSE_KL, 1},
        {"{\"beta\":0.01}", DOWEL_JENSEN_SHANNON, 1},
        {"{\"beta\":0,\"continuous\":true}", DOWEL_FORWARD_KL, 1},
        {"{\"beta\":1,\"continuous\":true}", DOWEL_REVERSE_KL, 1},
        {"{\"beta\":0.01,\"continuous\":true}", DOWEL_JENSEN_SHANNON, 1 / (0.01 * 0.99)},
    };
    for (size_t k = 0; k < sizeof end / sizeof *end; k++) {
        dowel_request ask = asked(f, "gkd", end[k].options);
        assert_int_equal(ask.divergence, end[k].kind);
        assert_int_equal(ask.against, DOWEL_TEACHER);
        near(run(f, "gkd", end[k].options, golden(&f->arena), NULL), 0.3 * end[k].factor, 1e-14);
    }
    /* near either end the divided loss is near the divergence there */
    const double p[] = {0.5, 0.3, 0.2}, q[] = {0.2, 0.2, 0.6};
    for (int side = 0; side < 2; side++) {
        double b = side ? 1 - 1e-4 : 1e-4, j = 0, kl = 0;
        for (int v = 0; v < 3; v++) {
            double mix = b * q[v] + (1 - b) * p[v];
            j += b * q[v] * log(q[v] / mix) + (1 - b) * p[v] * log(p[v] / mix);
            kl += side ? p[v] * log(p[v] / q[v]) : q[v] * log(q[v] / p[v]);
        }
        batch *t = golden(&f->arena);
        for (int k = 0; k < 5; k++)
            ((double *)t->col[DOWEL_DIVERGENCE].x)[k] = j;
        char options[80];
        snprintf(options, sizeof options, "{\"beta\":%.17g,\"continuous\":true}", b);
        near(run(f, "gkd", options, t, NULL), kl, 1e-3);
    }
}

/* T37: the divisor is the step's trained tokens, whichever slice of them is seen. */
static void test_t37_divisor(void **state)
{
    fixture *f = *state;
    const char *const ids[] = {"gkd", "iw_opd", "opd"};
    for (int k = 0; k < 3; k++) {
        batch *t = golden(&f->arena);
        double once = run(f, ids[k], NULL, t, NULL);
        t->b.step_toks = 20;
        near(run(f, ids[k], NULL, t, NULL), once / 4, 1e-15);
    }
}

static void test_sparse_requests(void **state)
{
    fixture *f = *state;
    dowel_request ask =
        asked(f, "gkd", "{\"top_k\":8,\"temperature\":2,\"against\":\"reference\"}");
    assert_int_equal(ask.top_k, 8);
    assert_int_equal(ask.tail, 1);
    assert_int_equal(ask.against, DOWEL_REFERENCE);
    near(ask.temperature, 2, 0);
    near(ask.beta, 0.5, 0);
    ask = asked(f, "self_distill", NULL);
    assert_int_equal(ask.top_k, 100);
    assert_int_equal(ask.tail, 0);
    assert_int_equal(ask.divergence, DOWEL_JENSEN_SHANNON);
    assert_true(ask.detached == DOWEL_BIT(DOWEL_LOGP));
    ask = asked(f, "self_distill", "{\"correction\":0,\"alpha\":1}");
    assert_true(ask.columns == DOWEL_BIT(DOWEL_DIVERGENCE));
    assert_int_equal(ask.divergence, DOWEL_REVERSE_KL);
    ask = asked(f, "self_distill", "{\"mode\":\"sampled_token\",\"correction\":0}");
    assert_true(ask.columns == (DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_HELD_LOGP) |
                                DOWEL_BIT(DOWEL_TEACHER_LOGP)));
}

/* T40: a single token without the others is a distribution of one, whose divergence is always 0. */
static void test_t40_top1(void **state)
{
    fixture *f = *state;
    const char *const ids[] = {"gkd", "self_distill"};
    for (int k = 0; k < 2; k++) {
        dw_err err = {{0}};
        dowel_request ask;
        dw_instance *i = instance_make(f, ids[k], "{\"top_k\":1,\"tail\":false}", NULL);
        assert_true(dw_call_observe(i, false, &ask, &err) < 0);
        assert_non_null(strstr(err.text, "always 0"));
        dw_instance_destroy(i);
        asked(f, ids[k], "{\"top_k\":1,\"tail\":true}");
    }
    /* with the others it is 0 only where the two agree, and pulls towards the teacher elsewhere */
    batch *t = golden(&f->arena);
    assert_true(run(f, "opd", "{\"loss\":\"top1\"}", t, NULL) > 0.05);
    for (int k = 0; k < 5; k++)
        assert_true((t->col[DOWEL_LOGP].grad[k] > 0) ==
                    (t->col[DOWEL_LOGP].x[k] > t->col[DOWEL_TEACHER_LOGP].x[k]));
    put((double *)t->col[DOWEL_TEACHER_LOGP].x, 5, t->col[DOWEL_LOGP].x);
    near(run(f, "opd", "{\"loss\":\"top1\"}", t, NULL), 0, 1e-15);
    for (int k = 0; k < 5; k++)
        near(t->col[DOWEL_LOGP].grad[k], 0, 1e-15);
}

static void test_self_divergence(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    batch *t = golden(&f->arena);
    const double d[] = {0.2, 0.4, 0.1, 0.5, 0.3};
    const double c[] = {exp(0.2), exp(-0.1), exp(0.05), exp(-0.4), 1.3};
    double want = 0, mean = 0;
    for (int k = 0; k < 5; k++) {
        want += c[k] * d[k] / (k < 3 ? 6 : 4);
        mean += c[k] * d[k] / 5;
    }
    near(run(f, "self_distill", "{\"correction\":1.3}", t, &m), want, 1e-14);
    for (int k = 0; k < 5; k++) {
        near(t->col[DOWEL_DIVERGENCE].grad[k], c[k] / (k < 3 ? 6 : 4), 1e-14);
        near(t->col[DOWEL_LOGP].grad[k], 0, 0);
    }
    near(metric_of(&m, "self_distillation/distillation_loss"), mean, 1e-14);
    near(metric_of(&m, "self_distillation/capped"), 0.2, 1e-14);
    near(run(f, "self_distill", "{\"correction\":0,\"normalizer\":\"token\"}", t, NULL), 0.3,
         1e-14);
}

/* The first tokens are left out of the sum and of the length; an answer without a demonstration
 * (weight 0) stays in the number of answers. */
static void test_self_skip(void **state)
{
    fixture *f = *state;
    batch *t = golden(&f->arena);
    const char *plain = "{\"correction\":0,\"skip\":1}";
    near(run(f, "self_distill", plain, t, NULL), 0.5 / 4 + 0.3 / 2, 1e-15);
    near(t->col[DOWEL_DIVERGENCE].grad[0], 0, 0);
    near(run(f, "self_distill", "{\"correction\":0,\"skip\":1,\"normalizer\":\"token\"}", t, NULL),
         0.8 / 3, 1e-15);
    near(run(f, "self_distill", "{\"correction\":0,\"skip\":2}", t, NULL), 0.1 / 2, 1e-15);
    near(run(f, "self_distill", "{\"correction\":0,\"skip\":9,\"normalizer\":\"token\"}", t, NULL),
         0, 0);
    ((double *)t->col[DOWEL_WEIGHT].x)[1] = 0;
    near(run(f, "self_distill", plain, t, NULL), 0.5 / 4, 1e-15);
    t->mask[0] = 0; /* what does not count is not skipped either */
    batch_count(t);
    near(run(f, "self_distill", plain, t, NULL), 0.1 / 2, 1e-15);
}

/* A sequence that only survey() sees is not in its totals. */
static void test_totals(void **state)
{
    fixture *f = *state;
    const char *const subject[][2] = {{"sft", "{\"divisor\":\"weights\"}"}, {"self_distill", NULL}};
    for (int k = 0; k < 2; k++) {
        dw_instance *i = instance_make(f, subject[k][0], subject[k][1], NULL);
        batch *t = golden(&f->arena);
        survey_of(i, t, &f->arena);
        near(t->b.total[0], 5, 0);
        t->role[1] = DOWEL_OTHER;
        survey_of(i, t, &f->arena);
        near(t->b.total[0], 5, 0);
        t->role[1] = DOWEL_MISMATCHED;
        survey_of(i, t, &f->arena);
        near(t->b.total[0], 3, 0);
        dw_instance_destroy(i);
    }
}

/* ---- sft ---- */

static void test_sft_divisor(void **state)
{
    fixture *f = *state;
    batch *t = golden(&f->arena);
    put(column(&f->arena, t, DOWEL_WEIGHT, false), 2, (double[]){2, 0.5});
    near(run(f, "sft", NULL, t, NULL), (2 * 3.5 + 0.5 * 1.5) / 5, 1e-15);
    double by_weight = run(f, "sft", "{\"divisor\":\"weights\"}", t, NULL);
    near(by_weight, (2 * 3.5 + 0.5 * 1.5) / 7, 1e-15);
    near(t->col[DOWEL_LOGP].grad[0], -2.0 / 7, 1e-15);
    /* then only the proportions matter */
    put(column(&f->arena, t, DOWEL_WEIGHT, false), 2, (double[]){20, 5});
    near(run(f, "sft", "{\"divisor\":\"weights\"}", t, NULL), by_weight, 1e-15);
    put(column(&f->arena, t, DOWEL_WEIGHT, false), 2, (double[]){0, 0});
    near(run(f, "sft", "{\"divisor\":\"weights\"}", t, NULL), 0, 0);
}

/* A student that is certain where the teacher is not still has a derivative. */
static void test_top1_certain(void **state)
{
    fixture *f = *state;
    batch *t = golden(&f->arena);
    for (int k = 0; k < 5; k++)
        ((double *)t->col[DOWEL_LOGP].x)[k] = -1e-12;
    run(f, "opd", "{\"loss\":\"top1\"}", t, NULL);
    for (int k = 0; k < 5; k++)
        assert_true(t->col[DOWEL_LOGP].grad[k] > 1);
}

static void refused(fixture *f, const char *id, const char *options, uint32_t without,
                    const char *words)
{
    dw_err err = {{0}};
    double loss = 0;
    batch *t = golden(&f->arena);
    dw_instance *i = instance_make(f, id, options, NULL);
    survey_of(i, t, &f->arena);
    t->col[without] = (dowel_column){0};
    t->b.host = dw_instance_host(i);
    assert_true(dw_call_loss(i, &t->b, &loss, &err) < 0);
    if (!strstr(err.text, words))
        fail_msg("'%s' does not say '%s'", err.text, words);
    dw_instance_destroy(i);
}

static void test_refusals(void **state)
{
    fixture *f = *state;
    refused(f, "opd", NULL, DOWEL_TEACHER_LOGP, "no teacher");
    refused(f, "opd", NULL, DOWEL_OLD_LOGP, "give it rollouts");
    refused(f, "iw_opd", NULL, DOWEL_OLD_LOGP, "give it rollouts");
    refused(f, "minillm", NULL, DOWEL_TEACHER_LOGP, "no teacher");
    refused(f, "self_distill", NULL, DOWEL_OLD_LOGP, "give it rollouts");
    refused(f, "self_distill", "{\"mode\":\"sampled_token\"}", DOWEL_TEACHER_LOGP, "no teacher");
    refused(f, "gkd", NULL, DOWEL_DIVERGENCE, "name a teacher");
    /* given answers do without what was never sampled */
    batch *t = golden(&f->arena);
    t->col[DOWEL_OLD_LOGP] = (dowel_column){0};
    run(f, "opd", "{\"loss\":\"top1\"}", t, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_opd),
        cmocka_unit_test(test_iw_metrics),
        cmocka_unit_test(test_t31_reward_to_go),
        cmocka_unit_test(test_t31_long_answer),
        cmocka_unit_test(test_minillm_single_step),
        cmocka_unit_test(test_gkd),
        cmocka_unit_test(test_t30_ends),
        cmocka_unit_test(test_t37_divisor),
        cmocka_unit_test(test_sparse_requests),
        cmocka_unit_test(test_t40_top1),
        cmocka_unit_test(test_self_divergence),
        cmocka_unit_test(test_self_skip),
        cmocka_unit_test(test_totals),
        cmocka_unit_test(test_sft_divisor),
        cmocka_unit_test(test_top1_certain),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
