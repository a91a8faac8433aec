/* kto and bco: golden vectors, the baseline from mismatched answers, the running mean and its
 * state. */
#include "batch.h"

/* Nine printed digits. */
static void close_to(double got, double want)
{
    if (!(fabs(got - want) <= 1e-8 * fabs(want) + 1e-15))
        fail_msg("got %.12g, wanted %.12g", got, want);
}

/* A wanted answer of 5 tokens with D = 1.25, an unwanted one of 8 with -0.5, and behind them two
 * mismatched answers of 2 tokens with the given log-ratio sums. */
static batch *labelled_batch(dw_arena *a, double z1, double z2)
{
    static const double d[] = {1.25, -0.5};
    batch *t = batch_make(a, 4, (uint32_t[]){5, 8, 2, 2});
    double *l = column(a, t, DOWEL_LOGP, true), *ref = column(a, t, DOWEL_REF_LOGP, false);
    double *label = column(a, t, DOWEL_LABEL, false);
    column(a, t, DOWEL_WEIGHT, false);
    for (uint32_t s = 0; s < 4; s++) {
        double n = t->start[s + 1] - t->start[s], sum = s < 2 ? d[s] : s == 2 ? z1 : z2;
        for (uint32_t k = t->start[s]; k < t->start[s + 1]; k++) {
            l[k] = -1 - 0.1 * k;
            ref[k] = l[k] - sum / n;
        }
        t->role[s] = s < 2 ? DOWEL_TRAINED : DOWEL_MISMATCHED;
        label[s] = s % 2 ? -1 : 1;
    }
    t->b.step_seqs = 2;
    t->b.step_toks = 13;
    return t;
}

/* What loss() sees of it. */
static batch *trained_part(dw_arena *a, dw_instance *i, batch *t)
{
    survey_of(i, t, a);
    return batch_part(a, t, (uint32_t[]){0, 1}, 2);
}

static void check(fixture *f, const char *id, const char *options, batch *t, double loss,
                  double chosen, double rejected, metrics *m)
{
    dw_instance *i = instance_make(f, id, options, m);
    batch *p = trained_part(&f->arena, i, t);
    close_to(loss_of(i, p), loss);
    for (uint32_t k = 0; k < 13; k++)
        close_to(p->col[DOWEL_LOGP].grad[k], k < 5 ? chosen : rejected);
    dw_instance_destroy(i);
}

static void test_kto_golden(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    batch *t = labelled_batch(&f->arena, 0.7, -0.1); /* z = 0.3 */
    check(f, "kto", "{}", t, 0.478139253, -0.0124718392, 0.0124800213, &m);
    close_to(metric_of(&m, "kl"), 0.3);
    close_to(metric_of(&m, "rewards/chosen"), 0.125); /* beta D, without z */
    close_to(metric_of(&m, "rewards/rejected"), -0.05);
    close_to(metric_of(&m, "rewards/margins"), 0.175);
    close_to(metric_of(&m, "logps/chosen"), -6);
    check(f, "kto", "{\"loss\":\"apo_zero_unpaired\"}", t, 0.4781466151, -0.01245129875,
          0.01249219075, NULL);
    /* weights 2 and 3 on the two sides */
    double up = 1 / (1 + exp(0.095)), down = 1 / (1 + exp(0.08));
    check(f, "kto", "{\"desirable_weight\":2,\"undesirable_weight\":3}", t, up + 1.5 * down,
          2 * -0.0124718392, 3 * 0.0124800213, NULL);
}

/* z is clamped at 0, as the mean and not answer by answer. */
static void test_kto_clamp(void **state)
{
    fixture *f = *state;
    check(f, "kto", "{}", labelled_batch(&f->arena, 0.5, -0.9), 0.4781466151, -0.01245129875,
          0.01249219075, NULL);
    check(f, "kto", "{}", labelled_batch(&f->arena, -0.5, 1.1), 0.478139253, -0.0124718392,
          0.0124800213, NULL);
}

/* One mismatched answer is the row's own: refused. Without the baseline one row is enough. */
static void trap_t14_kl_batch_of_one(void **state)
{
    fixture *f = *state;
    dw_err err = {{0}};
    double loss = 0;
    batch *t = labelled_batch(&f->arena, 0.7, -0.1);
    memset(t->mask + t->start[3], 0, 2);
    dw_instance *i = instance_make(f, "kto", NULL, NULL);
    batch *p = trained_part(&f->arena, i, t);
    p->b.host = dw_instance_host(i);
    assert_true(dw_call_loss(i, &p->b, &loss, &err) < 0);
    assert_non_null(strstr(err.text, "the baseline needs at least 2"));
    dw_instance_destroy(i);
    i = instance_make(f, "kto", "{\"loss\":\"apo_zero_unpaired\"}", NULL);
    loss_of(i, trained_part(&f->arena, i, t));
    dowel_request ask;
    assert_int_equal(dw_call_observe(i, false, &ask, &err), 0);
    assert_int_equal(ask.extras, 0);
    dw_instance_destroy(i);
}

/* delta is the mean of everything seen, this step's answers included. */
static void test_bco_golden(void **state)
{
    fixture *f = *state;
    dw_err err = {{0}};
    dowel_request ask;
    metrics m = {0};
    batch *t = labelled_batch(&f->arena, 0, 0);
    double tally[2] = {0};
    dw_instance *i = instance_make(f, "bco", NULL, &m);
    assert_int_equal(dw_call_observe(i, false, &ask, &err), 0);
    assert_int_equal(ask.together, DOWEL_BY_STEP);
    batch *p = trained_part(&f->arena, i, t);
    /* two answers seen before with a mean of 0.0625 make delta 0.05 */
    assert_int_equal(dw_call_step_end(i, 0, (double[]){2, 0.125}, &err), 0);
    p->b.tally = tally;
    close_to(loss_of(i, p), 1.3007468 / 2);
    close_to(metric_of(&m, "delta"), 0.05);
    close_to(metric_of(&m, "rewards/margins"), 0.175);
    for (uint32_t k = 0; k < 13; k++)
        close_to(p->col[DOWEL_LOGP].grad[k], (k < 5 ? -0.0481258784 : 0.0475020813) / 2);
    near(tally[0], 2, 0);
    near(tally[1], 0.075, 1e-15);
    dw_instance_destroy(i);
}

/* The unwanted row's weight is its density ratio. */
static void trap_t15_bco_has_a_shift(void **state)
{
    fixture *f = *state;
    batch *t = labelled_batch(&f->arena, 0, 0);
    column(&f->arena, t, DOWEL_WEIGHT, false)[1] = 3;
    dw_instance *i = instance_make(f, "bco", NULL, NULL);
    batch *p = trained_part(&f->arena, i, t);
    double delta = 0.0375; /* mean of 0.125 and -0.05 */
    double up = log1p(exp(-(0.125 - delta))), down = log1p(exp(-0.05 - delta));
    close_to(loss_of(i, p), (up + 3 * down) / 2);
    dw_instance_destroy(i);
}

static void test_bco_state(void **state)
{
    fixture *f = *state;
    dw_err err = {{0}};
    dw_buf saved = {0};
    double tally[] = {7, 3.5};
    dw_instance *i = instance_make(f, "bco", NULL, NULL), *j = instance_make(f, "bco", NULL, NULL);
    for (uint64_t s = 0; s < 3; s++)
        assert_int_equal(dw_call_step_end(i, s, tally, &err), 0);
    assert_int_equal(dw_instance_save(i, &saved, &err), 0);
    batch *t = labelled_batch(&f->arena, 0, 0);
    double before = loss_of(j, trained_part(&f->arena, j, t));
    assert_int_equal(dw_instance_load(j, saved.ptr, saved.len, 1, &err), 0);
    double want = loss_of(i, trained_part(&f->arena, i, t));
    assert_true(want != before);
    assert_true(loss_of(j, trained_part(&f->arena, j, t)) == want);
    assert_true(dw_instance_load(j, saved.ptr, saved.len, 2, &err) < 0);
    dw_buf_finish(&saved);
    dw_instance_destroy(i);
    dw_instance_destroy(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kto_golden),          cmocka_unit_test(test_kto_clamp),
        cmocka_unit_test(trap_t14_kl_batch_of_one), cmocka_unit_test(test_bco_golden),
        cmocka_unit_test(trap_t15_bco_has_a_shift), cmocka_unit_test(test_bco_state),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
