/* What every objective must satisfy whatever the numbers: derivatives are those of the loss, a step
 * may be cut and reordered, what does not count has no effect, extremes stay finite. */
#include <pthread.h>

#include "batch.h"

typedef struct subject {
    const char *id, *options;
    bool pairs, stop_gradient; /* stop_gradient: the derivative is not the loss's on purpose */
} subject;

static const subject subjects[] = {
    {"sft", "{}", false, false},
    {"sft", "{\"label_smoothing\":0.2}", false, false},
    {"sft", "{\"dft\":true}", false, true},
    {"dpo", "{\"beta\":0.3}", true, false},
    {"dpo", "{\"loss\":\"cdpo\",\"label_smoothing\":0.2}", true, false},
    {"grpo", "{}", false, false},
    {"grpo", "{\"normalizer\":\"sequence\",\"clip_high\":0.28,\"kl\":0.1}", false, false},
    {"grpo", "{\"normalizer\":\"constant\",\"kl\":0.1,\"kl_estimator\":\"k3\"}", false, false},
    {"grpo", "{\"clip\":0.1,\"kl\":0.5,\"kl_estimator\":\"k3_weighted\"}", false, false},
};
enum { N_SUBJECT = sizeof subjects / sizeof *subjects, N_SEQ = 12 };

/* Ratios stay away from the edges of the clip ranges, where there is no derivative. */
static double ratio_log(uint64_t key, uint64_t t)
{
    static const double zone[][2] = {{-0.6, -0.3}, {-0.09, 0.09}, {0.3, 0.6}};
    size_t z = (size_t)dw_random_below(7, DW_RNG_TEST, key + 1, t, 3);
    return uniform(key, t, zone[z][0], zone[z][1]);
}

/* Random lengths, about a fifth of the tokens masked, one sequence wholly so. */
static batch *random_batch(dw_arena *a, const subject *s, uint64_t key)
{
    uint32_t len[N_SEQ];
    for (uint32_t q = 0; q < N_SEQ; q++)
        len[q] = 1 + (uint32_t)dw_random_below(7, DW_RNG_TEST, key, q, 9);
    batch *t = batch_make(a, N_SEQ, len);
    double *l = column(a, t, DOWEL_LOGP, true), *u = column(a, t, DOWEL_MEAN_LOGP, true);
    double *old = column(a, t, DOWEL_OLD_LOGP, false), *ref = column(a, t, DOWEL_REF_LOGP, false);
    double *adv = column(a, t, DOWEL_ADVANTAGE, false), *h = column(a, t, DOWEL_ENTROPY, false);
    double *hit = column(a, t, DOWEL_TOP1, false), *w = column(a, t, DOWEL_WEIGHT, false);
    for (uint32_t k = 0; k < t->b.n_tok; k++) {
        l[k] = uniform(key + 100, k, -4, -0.1);
        u[k] = uniform(key + 200, k, -9, -5);
        old[k] = l[k] - ratio_log(key + 300, k);
        ref[k] = l[k] - uniform(key + 500, k, -1, 1);
        h[k] = uniform(key + 600, k, 0, 3);
        hit[k] = (double)(k % 3 == 0);
        t->mask[k] = dw_random_below(7, DW_RNG_TEST, key + 700, k, 5) > 0;
    }
    for (uint32_t q = 0; q < N_SEQ; q++) {
        w[q] = uniform(key + 800, q, 0.5, 2);
        double av = uniform(key + 900, q, 0.2, 2) * (q % 3 ? 1 : -1);
        for (uint32_t k = t->start[q]; k < t->start[q + 1]; k++)
            adv[k] = av;
        t->group[q] = (int32_t)(q / 4);
        if (s->pairs) {
            t->mate[q] = (int32_t)(q ^ 1);
            column(a, t, DOWEL_LABEL, false)[q] = q % 2 ? -1 : 1;
        }
    }
    if (!s->pairs)
        memset(t->mask + t->start[5], 0, len[5]);
    batch_count(t);
    return t;
}

static void check_derivative(dw_instance *i, batch *t, uint32_t c, dw_arena *a)
{
    const double step = 1e-6;
    double *x = column(a, t, c, true);
    double *grad = dw_arena_alloc(a, (t->b.n_tok + 1) * sizeof *grad);
    loss_of(i, t);
    memcpy(grad, t->col[c].grad, t->b.n_tok * sizeof *grad);
    for (uint32_t k = 0; k < t->b.n_tok; k++) {
        double at = x[k];
        x[k] = at + step;
        double up = loss_of(i, t);
        x[k] = at - step;
        double down = loss_of(i, t);
        x[k] = at;
        near(grad[k], (up - down) / (2 * step), 1e-6);
        if (!t->mask[k])
            assert_true(grad[k] == 0);
    }
}

static void test_derivatives(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++) {
        if (subjects[s].stop_gradient)
            continue;
        dw_instance *i = instance_make(f, subjects[s].id, subjects[s].options, NULL);
        for (uint64_t round = 0; round < 5; round++) {
            batch *t = random_batch(&f->arena, &subjects[s], 1000 * round);
            check_derivative(i, t, DOWEL_LOGP, &f->arena);
            check_derivative(i, t, DOWEL_MEAN_LOGP, &f->arena);
        }
        dw_instance_destroy(i);
    }
}

/* Loss, derivatives and metrics of the sequences in `order`, dealt over n batches. */
static double cut_loss(fixture *f, const subject *s, batch *t, const uint32_t *order, uint32_t n,
                       double *grad, metrics *m)
{
    dw_instance *i = instance_make(f, s->id, s->options, m);
    double loss = 0;
    uint32_t unit = s->pairs ? 2 : 1, units = N_SEQ / unit;
    memset(grad, 0, t->b.n_tok * sizeof *grad);
    survey_of(i, t, &f->arena);
    for (uint32_t p = 0; p < n; p++) {
        uint32_t from = p * units / n * unit, to = (p + 1) * units / n * unit;
        batch *part = batch_part(&f->arena, t, order + from, to - from);
        loss += loss_of(i, part);
        gather(part, DOWEL_LOGP, t, grad);
    }
    dw_instance_destroy(i);
    return loss;
}

static void check_cuts(fixture *f, const subject *s, batch *t)
{
    const uint32_t plain[N_SEQ] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    const uint32_t mixed[N_SEQ] = {8, 9, 0, 1, 11, 10, 4, 5, 2, 3, 7, 6};
    const uint32_t parts[] = {2, 3, s->pairs ? N_SEQ / 2 : N_SEQ, 1, 2};
    double *grad[2];
    metrics m[2];
    for (int k = 0; k < 2; k++)
        grad[k] = dw_arena_alloc(&f->arena, (t->b.n_tok + 1) * sizeof(double));
    memset(&m[0], 0, sizeof m[0]);
    double loss = cut_loss(f, s, t, plain, 1, grad[0], &m[0]);
    assert_true(loss != 0 && m[0].n > 0);
    for (size_t c = 0; c < sizeof parts / sizeof *parts; c++) {
        memset(&m[1], 0, sizeof m[1]);
        near(cut_loss(f, s, t, c < 3 ? plain : mixed, parts[c], grad[1], &m[1]), loss, 1e-12);
        for (uint32_t k = 0; k < t->b.n_tok; k++)
            near(grad[1][k], grad[0][k], 1e-12);
        assert_int_equal(m[0].n, m[1].n);
        for (size_t k = 0; k < m[0].n; k++)
            near(metric_of(&m[1], m[0].m[k].name), metric_of(&m[0], m[0].m[k].name), 1e-12);
    }
}

static void test_cut_and_order(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++)
        for (uint64_t round = 0; round < 5; round++)
            check_cuts(f, &subjects[s], random_batch(&f->arena, &subjects[s], 1000 * round));
}

static void test_nothing_counts(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++) {
        metrics m = {0};
        dw_instance *i = instance_make(f, subjects[s].id, subjects[s].options, &m);
        batch *t = random_batch(&f->arena, &subjects[s], 4);
        memset(t->mask, 0, t->b.n_tok);
        batch_count(t);
        double loss = loss_of(i, t);
        assert_true(loss == 0);
        for (uint32_t k = 0; k < t->b.n_tok; k++)
            assert_true(t->col[DOWEL_LOGP].grad[k] == 0);
        batch *none = batch_make(&f->arena, 0, NULL);
        column(&f->arena, none, DOWEL_WEIGHT, false);
        column(&f->arena, none, DOWEL_LOGP, true);
        column(&f->arena, none, DOWEL_LABEL, false);
        assert_true(loss_of(i, none) == 0);
        dw_instance_destroy(i);
    }
}

/* dw_call_loss refuses anything that is not finite, so loss_of() succeeding is the assertion. */
static void test_extremes(void **state)
{
    fixture *f = *state;
    const double far[] = {1e4, -1e4, 200, -200, 1e-9, 0};
    for (size_t s = 0; s < N_SUBJECT; s++) {
        dw_instance *i = instance_make(f, subjects[s].id, subjects[s].options, NULL);
        for (size_t e = 0; e < sizeof far / sizeof *far; e++) {
            batch *t = random_batch(&f->arena, &subjects[s], 5);
            double *l = column(&f->arena, t, DOWEL_LOGP, true);
            double *old = column(&f->arena, t, DOWEL_OLD_LOGP, false);
            double *ref = column(&f->arena, t, DOWEL_REF_LOGP, false);
            for (uint32_t k = 0; k < t->b.n_tok; k++) {
                l[k] = far[e] < 0 ? far[e] : -1e-9;
                old[k] = l[k] - far[e] * (k % 2 ? 1 : -1);
                ref[k] = l[k] + far[e] * (k % 3 ? 1 : -1);
            }
            loss_of(i, t);
        }
        dw_instance_destroy(i);
    }
}

/* DPO sees differences only: a constant added to both log-ratios changes nothing. */
static void test_dpo_shift(void **state)
{
    fixture *f = *state;
    dw_instance *i = instance_make(f, "dpo", "{\"beta\":0.5}", NULL);
    batch *t = batch_make(&f->arena, 2, (uint32_t[]){4, 4});
    double *l = column(&f->arena, t, DOWEL_LOGP, true);
    double *ref = column(&f->arena, t, DOWEL_REF_LOGP, false);
    column(&f->arena, t, DOWEL_WEIGHT, false);
    memcpy(column(&f->arena, t, DOWEL_LABEL, false), (double[]){1, -1}, 2 * sizeof(double));
    t->mate[0] = 1;
    for (uint32_t k = 0; k < 8; k++) {
        l[k] = uniform(40, k, -3, 0);
        ref[k] = uniform(41, k, -3, 0);
    }
    double before = loss_of(i, t);
    for (uint32_t k = 0; k < 8; k++)
        ref[k] -= 0.25;
    near(loss_of(i, t), before, 1e-14);
    dw_instance_destroy(i);
}

/* Overlapping calls on one instance: every thread gets the loss of its own batch. */
typedef struct worker {
    dw_instance *instance;
    batch *batch;
    double want;
    int wrong;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    for (int k = 0; k < 200; k++) {
        dw_err err;
        double loss = 0;
        if (dw_call_loss(w->instance, &w->batch->b, &loss, &err) < 0 || loss != w->want)
            w->wrong++;
    }
    return NULL;
}

static void test_threads(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++) {
        metrics m = {0};
        worker w[8];
        pthread_t thread[8];
        dw_instance *i = instance_make(f, subjects[s].id, subjects[s].options, &m);
        for (uint64_t k = 0; k < 8; k++) {
            batch *t = random_batch(&f->arena, &subjects[s], 77 * k);
            survey_of(i, t, &f->arena);
            w[k] = (worker){.instance = i, .batch = t, .want = loss_of(i, t)};
        }
        for (int k = 0; k < 8; k++)
            assert_int_equal(pthread_create(&thread[k], NULL, work, &w[k]), 0);
        for (int k = 0; k < 8; k++) {
            pthread_join(thread[k], NULL);
            assert_int_equal(w[k].wrong, 0);
        }
        dw_instance_destroy(i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derivatives),    cmocka_unit_test(test_cut_and_order),
        cmocka_unit_test(test_nothing_counts), cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_dpo_shift),      cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
