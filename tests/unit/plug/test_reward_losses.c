/* Reward, cost and process models as loaded plugins: golden vectors, ties, soft labels, lists,
 * what is asked for and refused. */
#include "batch.h"

static void put(double *x, size_t n, const double *v)
{
    memcpy(x, v, n * sizeof *v);
}

/* n answers of two tokens, each judged at its last one. */
static batch *scored(dw_arena *a, uint32_t n, const double *score)
{
    uint32_t len[16], one[16];
    for (uint32_t s = 0; s < n; s++) {
        len[s] = 2;
        one[s] = 1;
    }
    batch *t = batch_make(a, n, len);
    mark_last(t, one);
    put(column(a, t, DOWEL_SCORE, true), n, score);
    column(a, t, DOWEL_WEIGHT, false);
    return t;
}

static batch *scored_pair(dw_arena *a, double c, double r)
{
    batch *t = scored(a, 2, (double[]){c, r});
    put(column(a, t, DOWEL_LABEL, false), 2, (double[]){1, -1});
    t->mate[0] = 1;
    t->mate[1] = 0;
    return t;
}

static batch *scored_list(dw_arena *a, uint32_t n, const double *score, const double *rank)
{
    batch *t = scored(a, n, score);
    put(column(a, t, DOWEL_RANK, false), n, rank);
    return t;
}

/* Loss and derivatives of the scores, with the metrics if wanted. */
static double run(fixture *f, const char *id, const char *options, batch *t, metrics *m)
{
    dw_instance *i = instance_make(f, id, options, m);
    survey_of(i, t, &f->arena);
    double loss = loss_of(i, t);
    dw_instance_destroy(i);
    return loss;
}

static void expect(fixture *f, const char *id, const char *options, batch *t, double loss,
                   const double *grad)
{
    const dowel_column *c = t->col[DOWEL_SCORE].x ? &t->col[DOWEL_SCORE] : &t->col[DOWEL_CHOICES];
    near(run(f, id, options, t, NULL), loss, 1e-9);
    for (uint32_t k = 0; k < c->rows * c->width; k++)
        near(c->grad[k], grad[k], 1e-9);
}

/* ---- golden vectors ---- */

static void test_bradley_terry(void **state)
{
    fixture *f = *state;
    batch *t = scored_pair(&f->arena, 0.8, 0.3);
    column(&f->arena, t, DOWEL_MARGIN, false)[0] = 0.25;
    expect(f, "reward", "{\"center\":0.01}", t, 0.58803942, (double[]){-0.415823499, 0.459823499});

    t = scored_pair(&f->arena, 0.8, 0.3);
    put(column(&f->arena, t, DOWEL_TARGET, false), 2, (double[]){0.7, 0.7});
    expect(f, "reward", NULL, t, 0.624076984, (double[]){-0.0775406688, 0.0775406688});
    /* smoothing by 0.3 makes the same of a hard label, and a soft one softer */
    batch *hard = scored_pair(&f->arena, 0.8, 0.3);
    expect(f, "reward", "{\"label_smoothing\":0.3}", hard, 0.624076984,
           (double[]){-0.0775406688, 0.0775406688});
    put((double *)t->col[DOWEL_TARGET].x, 2, (double[]){0.8, 0.8});
    double twice = run(f, "reward", "{\"label_smoothing\":0.1}", t, NULL);
    put((double *)t->col[DOWEL_TARGET].x, 2, (double[]){0.74, 0.74});
    near(run(f, "reward", NULL, t, NULL), twice, 1e-14);
    /* no opinion is full confidence */
    put((double *)t->col[DOWEL_TARGET].x, 2, (double[]){NAN, NAN});
    near(run(f, "reward", NULL, t, NULL), run(f, "reward", NULL, hard, NULL), 0);
}

static void test_lists(void **state)
{
    fixture *f = *state;
    const double s[] = {-0.5, 1.0, 0.2}, rank[] = {3, 1, 2}; /* not given in order */
    batch *t = scored_list(&f->arena, 3, s, rank);
    expect(f, "reward", "{\"loss\":\"plackett_luce\"}", t, 0.917481122,
           (double[]){0.465226646, -0.402078062, -0.063148583});
    expect(f, "reward", "{\"loss\":\"choose_two\"}", t, 0.325233331,
           (double[]){0.171412584, -0.164150348, -0.00726223632});
    double sum = exp(-0.5) + exp(1.0) + exp(0.2);
    expect(f, "reward", "{\"loss\":\"pick_best\"}", t, log(sum) - 1,
           (double[]){exp(-0.5) / sum, exp(1.0) / sum - 1, exp(0.2) / sum});
}

static void test_cost(void **state)
{
    fixture *f = *state;
    /* chosen 0.4 is safe, rejected 0.9 unsafe: z = 0.5, g s = -0.4 and 0.9 */
    batch *t = scored_pair(&f->arena, 0.4, 0.9);
    put(column_wide(&f->arena, t, DOWEL_FIELD, 2, false), 4, (double[]){0, 1, 0, 1});
    double lose = 1 / (1 + exp(0.5)), lo = 1 / (1 + exp(-0.4)), hi = 1 / (1 + exp(0.9));
    double value =
        -log(1 - lose) + 0.5 * (-log(1 - lo) - log(1 - hi)) + 0.2 * (0.4 * 0.4 + 0.9 * 0.9) / 2;
    expect(f, "reward", "{\"loss\":\"cost\",\"sign_weight\":0.5,\"decay\":0.2}", t, value,
           (double[]){lose + 0.5 * lo + 0.08, -lose - 0.5 * hi + 0.18});
    metrics m = {0};
    run(f, "reward", "{\"loss\":\"cost\"}", t, &m);
    near(metric_of(&m, "accuracy"), 1, 0); /* the rejected one costs more */
    near(metric_of(&m, "margin"), 0.5, 1e-15);
    near(metric_of(&m, "sign_accuracy"), 0.5, 0);

    put((double *)t->col[DOWEL_FIELD].x, 4, (double[]){NAN, NAN, NAN, NAN});
    expect(f, "reward", "{\"loss\":\"cost\"}", t, -log(1 - lose), (double[]){lose, -lose});
}

static void test_regression(void **state)
{
    fixture *f = *state;
    batch *t = scored(&f->arena, 3, (double[]){0.5, 2, 7});
    put(column_wide(&f->arena, t, DOWEL_FIELD, 1, false), 3, (double[]){1, -1, NAN});
    metrics m = {0};
    near(run(f, "reward", "{\"loss\":\"rating\"}", t, &m), (0.25 + 9) / 2, 1e-15);
    near(t->col[DOWEL_SCORE].grad[0], -0.5, 1e-15);
    near(t->col[DOWEL_SCORE].grad[1], 3, 1e-15);
    near(t->col[DOWEL_SCORE].grad[2], 0, 0);
    near(metric_of(&m, "mean_absolute_error"), 1.75, 1e-15);

    t = scored_pair(&f->arena, 0.5, 2);
    put(column(&f->arena, t, DOWEL_MARGIN, false), 2, (double[]){1, 1});
    expect(f, "reward", "{\"loss\":\"difference\"}", t, 6.25, (double[]){-5, 5});
}

static batch *two_steps(dw_arena *a, uint32_t c, uint32_t width, const double *x, const double *q)
{
    batch *t = batch_make(a, 1, (uint32_t[]){5});
    mark_last(t, (uint32_t[]){2});
    put(column_wide(a, t, c, width, true), (size_t)2 * width, x);
    put(column(a, t, DOWEL_MARK_LABEL, false), 2, q);
    column(a, t, DOWEL_WEIGHT, false);
    return t;
}

static void test_prm(void **state)
{
    fixture *f = *state;
    dw_arena *a = &f->arena;
    const double s[] = {0.2, -0.4, 1.1, 0.3}, hard[] = {1, 0}, soft[] = {0.9, 0.3};
    const double grad[] = {0.3228281531, -0.3228281531, -0.1550127594, 0.1550127594};
    expect(f, "prm", NULL, two_steps(a, DOWEL_SCORE, 2, s, hard), 0.7042943082, grad);
    expect(f, "prm", "{\"head\":\"tokens\"}", two_steps(a, DOWEL_CHOICES, 2, s, hard), 0.7042943082,
           grad);
    expect(f, "prm", "{\"head\":\"one_channel\"}",
           two_steps(a, DOWEL_SCORE, 1, (double[]){0.4, -0.8}, soft), 0.5820579592,
           (double[]){-0.1506561699, 0.005012759436});
}

/* ---- traps ---- */

/* T7: a soft label is a probability and not an integer. */
static void test_t7_soft_labels(void **state)
{
    fixture *f = *state;
    const double s[] = {0.2, -0.4, 1.1, 0.3}, q[] = {0.9, 0.3};
    batch *t = two_steps(&f->arena, DOWEL_SCORE, 2, s, q);
    double a = 1 / (1 + exp(0.6)), b = 1 / (1 + exp(0.8));
    double want = -0.9 * log(a) - 0.1 * log(1 - a) - 0.3 * log(b) - 0.7 * log(1 - b);
    expect(f, "prm", NULL, t, want / 2,
           (double[]){-(a - 0.9) / 2, (a - 0.9) / 2, -(b - 0.3) / 2, (b - 0.3) / 2});
    metrics m = {0};
    run(f, "prm", NULL, t, &m);
    near(metric_of(&m, "accuracy"), 0.5, 0);
    /* 0.5 has no right answer */
    put((double *)t->col[DOWEL_MARK_LABEL].x, 2, (double[]){0.5, 0.3});
    memset(&m, 0, sizeof m);
    run(f, "prm", NULL, t, &m);
    near(metric_of(&m, "accuracy"), 1, 0);
}

/* T33: equal scores are no success. */
static void test_t33_ties(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    batch *t = scored_pair(&f->arena, 0.7, 0.7);
    near(run(f, "reward", NULL, t, &m), log(2), 1e-15);
    near(metric_of(&m, "accuracy"), 0, 0);
    memset(&m, 0, sizeof m);
    run(f, "prm", NULL,
        two_steps(&f->arena, DOWEL_SCORE, 2, (double[]){1, 1, 2, 2}, (double[]){1, 0}), &m);
    near(metric_of(&m, "accuracy"), 0, 0);
}

static void test_metrics(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    batch *t = scored(&f->arena, 4, (double[]){0.8, 0.3, -1, 2});
    put(column(&f->arena, t, DOWEL_LABEL, false), 4, (double[]){1, -1, 1, -1});
    put(column(&f->arena, t, DOWEL_MARGIN, false), 4, (double[]){3, 3, 3, 3});
    for (int s = 0; s < 4; s++)
        t->mate[s] = s ^ 1;
    run(f, "reward", NULL, t, &m);
    near(metric_of(&m, "accuracy"), 0.5, 0);
    near(metric_of(&m, "margin"), -1.25, 1e-15); /* the row's own margin is not subtracted */
    near(metric_of(&m, "min_reward"), -1, 0);
    near(metric_of(&m, "max_reward"), 2, 0);
    near(metric_of(&m, "mean_reward"), 0.525, 1e-15);
}

/* ---- what counts ---- */

/* A pair of which one half has nothing that counts is no pair, and a third answer is none of it. */
static void test_counted_pairs(void **state)
{
    fixture *f = *state;
    batch *t = scored(&f->arena, 5, (double[]){0.8, 0.3, -1, 2, 7});
    put(column(&f->arena, t, DOWEL_LABEL, false), 5, (double[]){1, -1, 1, -1, 1});
    for (int s = 0; s < 4; s++)
        t->mate[s] = s ^ 1;
    t->role[4] = DOWEL_GOLD;
    double one = -log(1 / (1 + exp(-0.5))), other = log(1 + exp(3.0));
    near(run(f, "reward", NULL, t, NULL), (one + other) / 2, 1e-14);
    t->mask[t->start[3]] = t->mask[t->start[3] + 1] = 0;
    batch_count(t);
    near(run(f, "reward", NULL, t, NULL), one, 1e-14);
    near(t->col[DOWEL_SCORE].grad[2], 0, 0);

    /* nor is an answer that only survey() sees in a list */
    t = scored_list(&f->arena, 3, (double[]){0.8, 0.3, 5}, (double[]){1, 2, 3});
    t->role[2] = DOWEL_MISMATCHED;
    near(run(f, "reward", "{\"loss\":\"choose_two\"}", t, NULL), one, 1e-14);
}

/* Of several marks the last one judges the answer. */
static void test_last_mark(void **state)
{
    fixture *f = *state;
    batch *t = batch_make(&f->arena, 2, (uint32_t[]){3, 2});
    mark_last(t, (uint32_t[]){3, 1});
    put(column(&f->arena, t, DOWEL_SCORE, true), 4, (double[]){9, -9, 0.8, 0.3});
    put(column(&f->arena, t, DOWEL_LABEL, false), 2, (double[]){1, -1});
    column(&f->arena, t, DOWEL_WEIGHT, false);
    t->mate[0] = 1;
    t->mate[1] = 0;
    double lose = 1 / (1 + exp(0.5));
    expect(f, "reward", NULL, t, -log(1 - lose), (double[]){0, 0, -lose, lose});
}

/* Only labelled steps of trained answers are in the divisor. */
static void test_counted_steps(void **state)
{
    fixture *f = *state;
    batch *t = batch_make(&f->arena, 2, (uint32_t[]){4, 3});
    mark_last(t, (uint32_t[]){3, 1});
    put(column(&f->arena, t, DOWEL_SCORE, true), 4, (double[]){0.4, 1, -0.8, 3});
    put(column(&f->arena, t, DOWEL_MARK_LABEL, false), 4, (double[]){0.9, NAN, 0.3, 1});
    column(&f->arena, t, DOWEL_WEIGHT, false);
    t->role[1] = DOWEL_MISMATCHED;
    expect(f, "prm", "{\"head\":\"one_channel\"}", t, 0.5820579592,
           (double[]){-0.1506561699, 0, 0.005012759436, 0});
}

/* ---- lists with gaps ---- */

/* Two candidates: every list loss is Bradley-Terry, and a pair is such a list. */
static void test_list_of_two(void **state)
{
    fixture *f = *state;
    const char *const losses[] = {"{\"loss\":\"choose_two\"}", "{\"loss\":\"plackett_luce\"}",
                                  "{\"loss\":\"pick_best\"}"};
    batch *pair = scored_pair(&f->arena, -0.3, 0.9);
    double want = run(f, "reward", NULL, pair, NULL), slope = pair->col[DOWEL_SCORE].grad[0];
    for (int k = 0; k < 3; k++) {
        batch *list = scored_list(&f->arena, 2, (double[]){-0.3, 0.9}, (double[]){1, 2});
        expect(f, "reward", losses[k], list, want, (double[]){slope, -slope});
        expect(f, "reward", losses[k], pair, want, (double[]){slope, -slope});
    }
}

/* Ties do not compete and the unranked are not there; what is left decides the divisor. */
static void test_ranks(void **state)
{
    fixture *f = *state;
    const double s[] = {0.5, 9, -0.2, 1}, rank[] = {1, NAN, 1, 2};
    batch *t = scored_list(&f->arena, 4, s, rank);
    double a = 1 / (1 + exp(0.5 - 1)), b = 1 / (1 + exp(-0.2 - 1));
    double both = -log(1 - a) - log(1 - b);
    expect(f, "reward", "{\"loss\":\"plackett_luce\"}", t, both, (double[]){-a, 0, -b, a + b});
    expect(f, "reward", "{\"loss\":\"choose_two\"}", t, both / 2,
           (double[]){-a / 2, 0, -b / 2, (a + b) / 2});
    double sum = exp(0.5) + exp(-0.2) + exp(1.0);
    expect(f, "reward", "{\"loss\":\"pick_best\"}", t, log(sum) - 0.15,
           (double[]){exp(0.5) / sum - 0.5, 0, exp(-0.2) / sum - 0.5, exp(1.0) / sum});
    metrics m = {0};
    run(f, "reward", "{\"loss\":\"choose_two\"}", t, &m);
    near(metric_of(&m, "accuracy"), 0, 0);
    near(metric_of(&m, "mean_reward"), 1.3 / 3, 1e-15);

    /* a list of equals tells nothing and is not counted */
    batch *more = scored_list(&f->arena, 6, (double[]){0.5, 9, -0.2, 1, 3, 4},
                              (double[]){1, NAN, 1, 2, 1, 1});
    more->group[4] = more->group[5] = 1;
    expect(f, "reward", "{\"loss\":\"choose_two\"}", more, both / 2,
           (double[]){-a / 2, 0, -b / 2, (a + b) / 2, 0, 0});
}

static void test_last_step_only(void **state)
{
    fixture *f = *state;
    const double s[] = {0.4, -0.8}, q[] = {0.9, 0.3}, none[] = {0.9, NAN};
    double b = 1 / (1 + exp(0.8));
    batch *t = two_steps(&f->arena, DOWEL_SCORE, 1, s, q);
    const char *options = "{\"head\":\"one_channel\",\"train_on_last_step_only\":true}";
    expect(f, "prm", options, t, -0.3 * log(b) - 0.7 * log(1 - b), (double[]){0, b - 0.3});
    expect(f, "prm", options, two_steps(&f->arena, DOWEL_SCORE, 1, s, none), 0, (double[]){0, 0});
}

/* ---- what is refused ---- */

static void refused(fixture *f, const char *id, const char *options, const char *words)
{
    dw_err err = {{0}};
    dowel_request ask;
    dw_instance *i = instance_make(f, id, options, NULL);
    assert_true(dw_call_observe(i, false, &ask, &err) < 0);
    if (!strstr(err.text, words))
        fail_msg("'%s' does not say '%s'", err.text, words);
    dw_instance_destroy(i);
}

static void refused_data(fixture *f, const char *id, const char *options, batch *t,
                         const char *words)
{
    dw_err err = {{0}};
    double sum[4] = {0};
    dw_instance *i = instance_make(f, id, options, NULL);
    t->b.host = dw_instance_host(i);
    assert_true(dw_call_survey(i, &t->b, sum, &err) < 0);
    if (!strstr(err.text, words))
        fail_msg("'%s' does not say '%s'", err.text, words);
    dw_instance_destroy(i);
}

/* A model without the head. */
static void refused_loss(fixture *f, const char *id, batch *t)
{
    dw_err err = {{0}};
    double loss = 0;
    dw_instance *i = instance_make(f, id, NULL, NULL);
    survey_of(i, t, &f->arena);
    assert_true(dw_call_loss(i, &t->b, &loss, &err) < 0);
    assert_non_null(strstr(err.text, "no scores"));
    dw_instance_destroy(i);
}

static void test_refusals(void **state)
{
    fixture *f = *state;
    refused(f, "reward", "{\"loss\":\"plackett_luce\",\"center\":0.1}", "center");
    refused(f, "reward", "{\"loss\":\"cost\",\"label_smoothing\":0.1}", "label_smoothing");
    refused(f, "reward", "{\"loss\":\"rating\",\"rating\":\"\"}", "rating is empty");
    refused(f, "prm", "{\"head\":\"tokens\",\"good\":\"-\"}", "two tokens");
    batch *t = scored(&f->arena, 2, (double[]){1, 2});
    refused_data(f, "reward", NULL, t, "no pairs");
    refused_data(f, "reward", "{\"loss\":\"choose_two\"}", t, "no ranks");
    refused_data(f, "reward", "{\"loss\":\"rating\"}", t, "no field 'rating'");
    refused_data(f, "prm", NULL, t, "no labels of steps");
    refused_data(f, "reward", "{\"loss\":\"difference\"}", scored_pair(&f->arena, 1, 2), "margin");
    put(column(&f->arena, t, DOWEL_LABEL, false), 2, (double[]){1, -1});
    refused_data(f, "reward", NULL, t, "no other half");
    t = scored_pair(&f->arena, 1, 2);
    refused_data(f, "reward", "{\"loss\":\"cost\"}", t, "chosen_unsafe");
    near(run(f, "reward", "{\"loss\":\"cost\",\"sign_weight\":0}", t, NULL), log1p(exp(-1)), 1e-14);
    t->col[DOWEL_SCORE] = (dowel_column){0};
    refused_loss(f, "reward", t);
    const double two[] = {1, 1};
    t = two_steps(&f->arena, DOWEL_SCORE, 1, two, two);
    t->col[DOWEL_SCORE] = (dowel_column){0};
    refused_loss(f, "prm", t);
}

/* What observe() asks for follows the options. */
static void test_requests(void **state)
{
    fixture *f = *state;
    dw_err err = {{0}};
    dowel_request ask;
    dw_instance *i = instance_make(f, "reward", NULL, NULL);
    assert_int_equal(dw_call_observe(i, false, &ask, &err), 0);
    assert_true(ask.columns == DOWEL_BIT(DOWEL_SCORE) && ask.score_width == 1 && !ask.fields);
    dw_instance_destroy(i);
    i = instance_make(f, "reward", "{\"loss\":\"cost\"}", NULL);
    assert_int_equal(dw_call_observe(i, false, &ask, &err), 0);
    assert_string_equal(ask.fields[0], "chosen_unsafe");
    assert_string_equal(ask.fields[1], "rejected_unsafe");
    assert_null(ask.fields[2]);
    dw_instance_destroy(i);
    i = instance_make(f, "reward", "{\"loss\":\"rating\",\"rating\":\"stars\"}", NULL);
    assert_int_equal(dw_call_observe(i, false, &ask, &err), 0);
    assert_string_equal(ask.fields[0], "stars");
    assert_null(ask.fields[1]);
    dw_instance_destroy(i);
    i = instance_make(f, "prm", "{\"head\":\"tokens\",\"good\":\" yes\",\"bad\":\" no\"}", NULL);
    assert_int_equal(dw_call_observe(i, false, &ask, &err), 0);
    assert_true(ask.columns == (DOWEL_BIT(DOWEL_CHOICES) | DOWEL_BIT(DOWEL_MARK_LABEL)));
    assert_string_equal(ask.choices[0], " no"); /* channel 0 is label 0 */
    assert_string_equal(ask.choices[1], " yes");
    assert_null(ask.choices[2]);
    dw_instance_destroy(i);
    i = instance_make(f, "prm", NULL, NULL);
    assert_int_equal(dw_call_observe(i, false, &ask, &err), 0);
    assert_int_equal(ask.score_width, 2);
    dw_instance_destroy(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bradley_terry), cmocka_unit_test(test_lists),
        cmocka_unit_test(test_cost),          cmocka_unit_test(test_regression),
        cmocka_unit_test(test_prm),           cmocka_unit_test(test_t7_soft_labels),
        cmocka_unit_test(test_t33_ties),      cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_counted_pairs), cmocka_unit_test(test_last_mark),
        cmocka_unit_test(test_counted_steps), cmocka_unit_test(test_list_of_two),
        cmocka_unit_test(test_ranks),         cmocka_unit_test(test_last_step_only),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_requests),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
