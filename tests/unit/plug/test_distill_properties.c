/* Distillation and supervised losses, whatever the numbers: derivatives, cuts, masks, extremes. */
#include "batch.h"

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

typedef struct subject {
    const char *id, *options;
    bool stop_gradient; /* the derivative is not the loss's on purpose */
} subject;

static const subject subjects[] = {
    {"sft", "{\"divisor\":\"weights\",\"label_smoothing\":0.1}", false},
    {"gkd", "{\"beta\":0.3,\"continuous\":true}", false},
    {"opd", "{}", false},
    {"opd", "{\"loss\":\"clipped\",\"normalizer\":\"constant\"}", false},
    {"opd", "{\"loss\":\"top1\",\"normalizer\":\"sequence\"}", false},
    {"iw_opd", "{}", false},
    {"minillm", "{}", false},
    {"minillm", "{\"gamma\":0.9,\"single_step\":false,\"loss\":\"policy_gradient\"}", false},
    {"self_distill", "{\"correction\":0,\"skip\":1}", false},
    {"self_distill", "{\"correction\":1.5,\"normalizer\":\"token\",\"skip\":1}", false},
    {"self_distill", "{\"mode\":\"sampled_token\"}", true},
};
enum { N_SUBJECT = sizeof subjects / sizeof *subjects, N_SEQ = 12 };
static const uint32_t moved[] = {DOWEL_LOGP, DOWEL_DIVERGENCE, DOWEL_MEAN_LOGP};

/* Which columns have a derivative follows observe(), as in the host. */
static batch *random_batch(fixture *f, const subject *s, uint64_t key)
{
    dw_arena *a = &f->arena;
    dowel_request ask = asked(f, s->id, s->options);
    uint32_t len[N_SEQ];
    for (uint32_t q = 0; q < N_SEQ; q++)
        len[q] = 1 + (uint32_t)dw_random_below(7, DW_RNG_TEST, key, q, 9);
    batch *t = batch_make(a, N_SEQ, len);
    uint64_t live = ask.columns & ~ask.detached;
    double *l = column(a, t, DOWEL_LOGP, live & DOWEL_BIT(DOWEL_LOGP));
    double *d = column(a, t, DOWEL_DIVERGENCE, live & DOWEL_BIT(DOWEL_DIVERGENCE));
    double *u = column(a, t, DOWEL_MEAN_LOGP, live & DOWEL_BIT(DOWEL_MEAN_LOGP));
    double *old = column(a, t, DOWEL_OLD_LOGP, false), *h = column(a, t, DOWEL_ENTROPY, false);
    double *tea = column(a, t, DOWEL_TEACHER_LOGP, false), *w = column(a, t, DOWEL_WEIGHT, false);
    for (uint32_t k = 0; k < t->b.n_tok; k++) {
        static const double zone[][2] = {{-0.6, -0.3}, {-0.09, 0.09}, {0.3, 0.6}};
        size_t z = (size_t)dw_random_below(7, DW_RNG_TEST, key + 1, k, 3);
        l[k] = uniform(key + 100, k, -4, -0.1);
        old[k] = l[k] - uniform(key + 200, k, zone[z][0], zone[z][1]);
        tea[k] = fmin(l[k] - uniform(key + 300, k, -1, 1), -0.01);
        d[k] = uniform(key + 400, k, 0, 2);
        u[k] = uniform(key + 500, k, -9, -5);
        h[k] = uniform(key + 600, k, 0, 3);
        t->mask[k] = dw_random_below(7, DW_RNG_TEST, key + 700, k, 5) > 0;
    }
    for (uint32_t q = 0; q < N_SEQ; q++)
        w[q] = uniform(key + 800, q, 0.5, 2);
    memset(t->mask + t->start[5], 0, len[5]);
    batch_count(t);
    return t;
}

static void check_derivative(dw_instance *i, batch *t, uint32_t c)
{
    double *x = (double *)t->col[c].x, *grad = t->col[c].grad;
    if (!grad)
        return;
    for (uint32_t k = 0; k < t->b.n_tok; k++) {
        double at = x[k];
        x[k] = at + 1e-6;
        double up = loss_of(i, t);
        x[k] = at - 1e-6;
        double down = loss_of(i, t);
        x[k] = at;
        loss_of(i, t);
        near(grad[k], (up - down) / 2e-6, 1e-6);
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
        for (uint64_t round = 0; round < 4; round++) {
            batch *t = random_batch(f, &subjects[s], 1000 * round);
            survey_of(i, t, &f->arena);
            for (int c = 0; c < 3; c++)
                check_derivative(i, t, moved[c]);
        }
        dw_instance_destroy(i);
    }
}

static double cut_loss(fixture *f, const subject *s, batch *t, const uint32_t *order, uint32_t size,
                       double *grad, metrics *m)
{
    dw_instance *i = instance_make(f, s->id, s->options, m);
    double loss = 0, *sum = dw_arena_alloc(&f->arena, sizeof *sum);
    memset(grad, 0, 3 * (size_t)t->b.n_tok * sizeof *grad);
    memset(m, 0, sizeof *m);
    for (uint32_t first = 0; first < N_SEQ; first += size) {
        batch *part = batch_part(&f->arena, t, order + first, size);
        survey_of(i, part, &f->arena);
        *sum += part->b.total[0];
    }
    t->b.total = sum;
    for (uint32_t first = 0; first < N_SEQ; first += size) {
        batch *part = batch_part(&f->arena, t, order + first, size);
        loss += loss_of(i, part);
        for (size_t c = 0; c < 3; c++)
            gather(part, moved[c], t, grad + c * t->b.n_tok);
    }
    dw_instance_destroy(i);
    return loss;
}

static void test_cut_and_order(void **state)
{
    fixture *f = *state;
    const uint32_t plain[N_SEQ] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    const uint32_t mixed[N_SEQ] = {9, 8, 11, 4, 2, 3, 0, 1, 7, 6, 5, 10};
    for (size_t s = 0; s < N_SUBJECT; s++) {
        batch *t = random_batch(f, &subjects[s], 77);
        size_t n = 3 * (size_t)t->b.n_tok;
        double *grad[2];
        metrics m[2];
        for (int k = 0; k < 2; k++)
            grad[k] = dw_arena_alloc(&f->arena, (n + 1) * sizeof(double));
        double loss = cut_loss(f, &subjects[s], t, plain, 12, grad[0], &m[0]);
        assert_true(loss != 0 && m[0].n > 0);
        for (uint32_t c = 0; c < 3; c++) {
            near(
                cut_loss(f, &subjects[s], t, c < 1 ? plain : mixed, c < 2 ? 1 : 12, grad[1], &m[1]),
                loss, 1e-12);
            for (size_t k = 0; k < n; k++)
                near(grad[1][k], grad[0][k], 1e-12);
            assert_int_equal(m[0].n, m[1].n);
            for (size_t k = 0; k < m[0].n; k++)
                near(metric_of(&m[1], m[0].m[k].name), metric_of(&m[0], m[0].m[k].name), 1e-12);
        }
    }
}

static void test_nothing_counts(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++) {
        batch *t = random_batch(f, &subjects[s], 4);
        memset(t->mask, 0, t->b.n_tok);
        batch_count(t);
        assert_true(run(f, subjects[s].id, subjects[s].options, t, NULL) == 0);
        for (int c = 0; c < 3; c++)
            for (uint32_t k = 0; t->col[moved[c]].grad && k < t->b.n_tok; k++)
                assert_true(t->col[moved[c]].grad[k] == 0);
        batch *none = batch_make(&f->arena, 0, NULL);
        column(&f->arena, none, DOWEL_WEIGHT, false);
        assert_true(run(f, subjects[s].id, subjects[s].options, none, NULL) == 0);
    }
}

/* dw_call_loss refuses anything that is not finite, so loss_of() succeeding is the assertion. */
static void test_extremes(void **state)
{
    fixture *f = *state;
    const double far[] = {1e4, -1e4, 200, -200, 1e-9, 0};
    for (size_t s = 0; s < N_SUBJECT; s++) {
        for (size_t e = 0; e < sizeof far / sizeof *far; e++) {
            batch *t = random_batch(f, &subjects[s], 5);
            double *l = (double *)t->col[DOWEL_LOGP].x, *d = (double *)t->col[DOWEL_DIVERGENCE].x;
            double *old = (double *)t->col[DOWEL_OLD_LOGP].x;
            double *tea = (double *)t->col[DOWEL_TEACHER_LOGP].x;
            for (uint32_t k = 0; k < t->b.n_tok; k++) {
                l[k] = far[e] < 0 ? far[e] : -1e-9 * (k % 4);
                old[k] = l[k] - far[e] * (k % 2 ? 1 : -1);
                tea[k] = k % 3 ? -fabs(far[e]) : 0;
                d[k] = fabs(far[e]);
            }
            run(f, subjects[s].id, subjects[s].options, t, NULL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derivatives),
        cmocka_unit_test(test_cut_and_order),
        cmocka_unit_test(test_nothing_counts),
        cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
