/* Reward, cost and process models, whatever the numbers: derivatives, cuts, masks, extremes. */
#include "batch.h"

enum { PAIRS, LISTS, RATINGS, STEPS };

/* Loss and derivatives of the scores, with the metrics if wanted. */
static double run(fixture *f, const char *id, const char *options, batch *t, metrics *m)
{
    dw_instance *i = instance_make(f, id, options, m);
    survey_of(i, t, &f->arena);
    double loss = loss_of(i, t);
    dw_instance_destroy(i);
    return loss;
}

typedef struct subject {
    const char *id, *options;
    int kind;
    uint32_t column, width;
} subject;

static const subject subjects[] = {
    {"reward", "{\"center\":0.05}", PAIRS, DOWEL_SCORE, 1},
    {"reward", "{\"label_smoothing\":0.1}", PAIRS, DOWEL_SCORE, 1},
    {"reward", "{\"loss\":\"difference\"}", PAIRS, DOWEL_SCORE, 1},
    {"reward", "{\"loss\":\"cost\",\"sign_weight\":0.7,\"decay\":0.1}", PAIRS, DOWEL_SCORE, 1},
    {"reward", "{\"loss\":\"choose_two\",\"center\":0.02}", LISTS, DOWEL_SCORE, 1},
    {"reward", "{\"loss\":\"plackett_luce\"}", LISTS, DOWEL_SCORE, 1},
    {"reward", "{\"loss\":\"pick_best\"}", LISTS, DOWEL_SCORE, 3},
    {"reward", "{\"loss\":\"rating\"}", RATINGS, DOWEL_SCORE, 1},
    {"prm", "{}", STEPS, DOWEL_SCORE, 2},
    {"prm", "{\"head\":\"one_channel\"}", STEPS, DOWEL_SCORE, 1},
    {"prm", "{\"head\":\"tokens\"}", STEPS, DOWEL_CHOICES, 2},
    {"prm", "{\"train_on_last_step_only\":true}", STEPS, DOWEL_SCORE, 2},
};
enum { N_SUBJECT = sizeof subjects / sizeof *subjects, N_SEQ = 12 };

static void data_columns(dw_arena *a, batch *t, const subject *s, uint64_t key)
{
    double *weight = column(a, t, DOWEL_WEIGHT, false);
    for (uint32_t q = 0; q < N_SEQ; q++) {
        weight[q] = uniform(key, (s->kind == LISTS ? q / 4 : q / 2) + 100, 0.5, 2);
        t->group[q] = (int32_t)(s->kind == LISTS ? q / 4 : s->kind == PAIRS ? q / 2 : q);
        if (s->kind == PAIRS) {
            t->mate[q] = (int32_t)(q ^ 1);
            column(a, t, DOWEL_LABEL, false)[q] = q % 2 ? -1 : 1;
            column(a, t, DOWEL_MARGIN, false)[q] = uniform(key, q / 2 + 200, 0, 1);
            column(a, t, DOWEL_TARGET, false)[q] = uniform(key, q / 2 + 300, 0, 1);
            double *unsafe = column_wide(a, t, DOWEL_FIELD, 2, false) + (size_t)2 * q;
            unsafe[0] = q / 2 % 3 == 0 ? NAN : (double)(q / 2 % 2);
            unsafe[1] = q / 2 % 2;
        }
        if (s->kind == LISTS)
            column(a, t, DOWEL_RANK, false)[q] =
                q == 5 ? NAN : (double)dw_random_below(7, DW_RNG_TEST, key + 3, q, 4);
        if (s->kind == RATINGS)
            column_wide(a, t, DOWEL_FIELD, 1, false)[q] = q == 5 ? NAN : uniform(key, q, -3, 3);
    }
    if (s->kind != STEPS)
        return;
    double *label = column(a, t, DOWEL_MARK_LABEL, false);
    for (uint32_t k = 0; k < t->mark_start[N_SEQ]; k++)
        label[k] = k % 5 == 0 ? NAN : uniform(key, k + 500, 0, 1);
}

static batch *random_batch(dw_arena *a, const subject *s, uint64_t key)
{
    uint32_t len[N_SEQ], marks[N_SEQ];
    for (uint32_t q = 0; q < N_SEQ; q++) {
        len[q] = 4 + (uint32_t)dw_random_below(7, DW_RNG_TEST, key, q, 5);
        marks[q] = s->kind == STEPS ? (uint32_t)dw_random_below(7, DW_RNG_TEST, key, q + 50, 4) : 1;
    }
    batch *t = batch_make(a, N_SEQ, len);
    mark_last(t, marks);
    double *x = column_wide(a, t, s->column, s->width, true);
    for (uint32_t k = 0; k < t->col[s->column].rows * s->width; k++)
        x[k] = uniform(key + 9, k, -2, 2);
    for (uint32_t k = 0; k < t->b.n_tok; k++)
        t->mask[k] = dw_random_below(7, DW_RNG_TEST, key + 7, k, 4) > 0;
    memset(t->mask + t->start[2], 0, len[2]); /* an answer of which nothing counts */
    data_columns(a, t, s, key);
    batch_count(t);
    return t;
}

static void test_derivatives(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++) {
        dw_instance *i = instance_make(f, subjects[s].id, subjects[s].options, NULL);
        for (uint64_t round = 0; round < 5; round++) {
            batch *t = random_batch(&f->arena, &subjects[s], 1000 * round);
            const dowel_column *c = &t->col[subjects[s].column];
            double *x = (double *)c->x, moved = 0;
            survey_of(i, t, &f->arena);
            for (uint32_t k = 0; k < c->rows * c->width; k++) {
                double at = x[k];
                x[k] = at + 1e-6;
                double up = loss_of(i, t);
                x[k] = at - 1e-6;
                double down = loss_of(i, t);
                x[k] = at;
                loss_of(i, t);
                near(c->grad[k], (up - down) / 2e-6, 1e-6);
                moved += fabs(c->grad[k]);
            }
            assert_true(moved > 0.01);
        }
        dw_instance_destroy(i);
    }
}

/* Loss, derivatives and metrics of the sequences in `order`, cut after every `size`. */
static double cut_loss(fixture *f, const subject *s, batch *t, const uint32_t *order, uint32_t size,
                       double *grad, metrics *m)
{
    dw_instance *i = instance_make(f, s->id, s->options, m);
    double loss = 0, *sum = dw_arena_alloc(&f->arena, sizeof *sum);
    memset(grad, 0, (size_t)t->col[s->column].rows * s->width * sizeof *grad);
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
        gather(part, s->column, t, grad);
    }
    dw_instance_destroy(i);
    return loss;
}

static void test_cut_and_order(void **state)
{
    fixture *f = *state;
    const uint32_t plain[N_SEQ] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    const uint32_t mixed[N_SEQ] = {9, 8, 11, 10, 2, 3, 0, 1, 7, 6, 5, 4};
    for (size_t s = 0; s < N_SUBJECT; s++) {
        batch *t = random_batch(&f->arena, &subjects[s], 77);
        size_t n = (size_t)t->col[subjects[s].column].rows * subjects[s].width;
        double *grad[2];
        metrics m[2];
        for (int k = 0; k < 2; k++)
            grad[k] = dw_arena_alloc(&f->arena, (n + 1) * sizeof(double));
        double loss = cut_loss(f, &subjects[s], t, plain, 12, grad[0], &m[0]);
        assert_true(loss != 0 && m[0].n > 0);
        for (uint32_t c = 0; c < 3; c++) {
            near(
                cut_loss(f, &subjects[s], t, c < 1 ? plain : mixed, c < 2 ? 4 : 12, grad[1], &m[1]),
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
        batch *t = random_batch(&f->arena, &subjects[s], 4);
        const dowel_column *c = &t->col[subjects[s].column];
        memset(t->mask, 0, t->b.n_tok);
        batch_count(t);
        assert_true(run(f, subjects[s].id, subjects[s].options, t, NULL) == 0);
        for (uint32_t k = 0; k < c->rows * c->width; k++)
            assert_true(c->grad[k] == 0);
        batch *none = batch_make(&f->arena, 0, NULL);
        column(&f->arena, none, DOWEL_WEIGHT, false);
        assert_true(run(f, subjects[s].id, subjects[s].options, none, NULL) == 0);
    }
}

/* dw_call_loss refuses anything that is not finite, so loss_of() succeeding is the assertion. */
static void test_extremes(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++) {
        for (int e = 0; e < 4; e++) {
            batch *t = random_batch(&f->arena, &subjects[s], 5);
            double *x = (double *)t->col[subjects[s].column].x;
            for (uint32_t k = 0; k < t->col[subjects[s].column].rows * subjects[s].width; k++)
                x[k] = 1e4 * (e < 2 ? e * 2 - 1 : (k + (uint32_t)e) % 3 ? 1 : -1);
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
