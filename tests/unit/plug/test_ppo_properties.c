/* ppo, ppo_lag, a2po and prime: what holds whatever the numbers. */
#include "credit.h"

enum { N_SEQ = 8 };

/* Ratios and values stay away from the edges of their ranges, where there is no derivative. */
static batch *random_batch(dw_arena *a, uint32_t heads, uint64_t key)
{
    static const double ratio[] = {-0.5, -0.05, 0.06, 0.5, 1.5}, move[] = {-0.4, -0.1, 0.1, 0.4};
    uint32_t len[N_SEQ];
    for (uint32_t q = 0; q < N_SEQ; q++)
        len[q] = 1 + (uint32_t)dw_random_below(7, DW_RNG_TEST, key, q, 6);
    batch *t = batch_make(a, N_SEQ, len);
    double *l = column(a, t, DOWEL_LOGP, true), *h = column(a, t, DOWEL_ENTROPY, true);
    double *old = column(a, t, DOWEL_OLD_LOGP, false), *w = column(a, t, DOWEL_WEIGHT, false);
    double *adv = column(a, t, DOWEL_ADVANTAGE, false);
    double *ref = column(a, t, DOWEL_REF_LOGP, false);
    double *v = wide_column(a, t, DOWEL_VALUE, heads, true, 0);
    double *old_v = wide_column(a, t, DOWEL_OLD_VALUE, heads, false, 0);
    double *ret = wide_column(a, t, DOWEL_RETURN, heads, false, 0);
    for (uint32_t k = 0; k < t->b.n_tok; k++) {
        l[k] = uniform(key + 1, k, -4, -0.1);
        old[k] = l[k] - ratio[dw_random_below(7, DW_RNG_TEST, key + 2, k, 5)];
        ref[k] = l[k] - uniform(key + 3, k, -1, 1);
        adv[k] = uniform(key + 4, k, 0.2, 2) * (k % 3 ? 1 : -1);
        h[k] = uniform(key + 5, k, 0, 3);
        t->mask[k] = dw_random_below(7, DW_RNG_TEST, key + 6, k, 5) > 0;
        for (uint32_t n = 0; n < heads; n++) {
            uint32_t at = k * heads + n;
            v[at] = uniform(key + 7, at, -1, 1);
            old_v[at] = v[at] - move[dw_random_below(7, DW_RNG_TEST, key + 8, at, 4)];
            ret[at] = uniform(key + 9, at, -2, 2);
        }
    }
    for (uint32_t q = 0; q < N_SEQ; q++) {
        w[q] = uniform(key + 10, q, 0.5, 2);
        column(a, t, DOWEL_LABEL, false)[q] = q % 3 == 0 ? 0 : q % 2 ? 1 : -1;
        column(a, t, DOWEL_REWARD, false)[q] = uniform(key + 11, q, 0, 1);
    }
    memset(t->mask + t->start[3], 0, len[3]);
    batch_count(t);
    return t;
}

typedef struct subject {
    const char *id, *options;
    uint32_t heads;
} subject;

static const subject subjects[] = {
    {"ppo", "{\"value_coef\":0.7}", 1},
    {"ppo", "{\"dual_clip\":3,\"entropy_coef\":0.1,\"normalizer\":\"sequence\"}", 1},
    {"ppo", "{\"value_clip\":0,\"clip_high\":0.8,\"normalizer\":\"constant\"}", 1},
    {"ppo_lag", "{\"cost\":\"c\",\"value_clip\":0.2,\"value_coef\":0.5}", 2},
    {"a2po", "{\"beta2\":0.3}", 1},
    {"prime", "{\"beta\":0.4}", 1},
    {"prime", "{\"beta\":0.4,\"soft\":true}", 1},
};
enum { N_SUBJECT = sizeof subjects / sizeof *subjects };

static void check_derivative(dw_instance *i, batch *t, uint32_t c, dw_arena *a)
{
    const double step = 1e-6;
    const dowel_column *k = &t->col[c];
    size_t n = (size_t)k->rows * k->width;
    double *x = (double *)k->x, *grad = dw_arena_alloc(a, (n + 1) * sizeof *grad);
    loss_of(i, t);
    memcpy(grad, k->grad, n * sizeof *grad);
    for (size_t j = 0; j < n; j++) {
        double at = x[j];
        x[j] = at + step;
        double up = loss_of(i, t);
        x[j] = at - step;
        double down = loss_of(i, t);
        x[j] = at;
        near(grad[j], (up - down) / (2 * step), 1e-6);
        if (!t->mask[j / k->width])
            assert_true(grad[j] == 0);
    }
}

static void test_derivatives(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++) {
        dw_instance *i = instance_make(f, subjects[s].id, subjects[s].options, NULL);
        for (uint64_t round = 0; round < 4; round++) {
            batch *t = random_batch(&f->arena, subjects[s].heads, 100 * round);
            assert_true(loss_of(i, t) != 0);
            check_derivative(i, t, DOWEL_LOGP, &f->arena);
            check_derivative(i, t, DOWEL_VALUE, &f->arena);
            check_derivative(i, t, DOWEL_ENTROPY, &f->arena);
        }
        dw_instance_destroy(i);
    }
}

/* A step that is cut in two has the same loss; a step without a counted token has none. */
static void test_cuts(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++) {
        if (subjects[s].heads > 1)
            continue; /* batch_part copies columns of one value a token */
        metrics whole = {0}, cut = {0};
        dw_instance *i = instance_make(f, subjects[s].id, subjects[s].options, &whole);
        dw_instance *j = instance_make(f, subjects[s].id, subjects[s].options, &cut);
        batch *t = random_batch(&f->arena, 1, 7);
        double loss = loss_of(i, t);
        double sum = loss_of(j, batch_part(&f->arena, t, (uint32_t[]){0, 5, 3}, 3)) +
                     loss_of(j, batch_part(&f->arena, t, (uint32_t[]){1, 2, 4, 6, 7}, 5));
        near(sum, loss, 1e-12);
        for (size_t k = 0; k < whole.n; k++)
            near(metric_of(&cut, whole.m[k].name), metric_of(&whole, whole.m[k].name), 1e-12);
        memset(t->mask, 0, t->b.n_tok);
        batch_count(t);
        assert_true(loss_of(i, t) == 0);
        dw_instance_destroy(i);
        dw_instance_destroy(j);
    }
}

/* The shape of the policy loss at ratio 4 and advantage -1: -1 * -4, held at 3 by the second clip.
 */
static void test_dual_clip(void **state)
{
    fixture *f = *state;
    static const char *const options[] = {"{}", "{\"dual_clip\":3}"};
    for (int k = 0; k < 2; k++) {
        metrics m = {0};
        dw_instance *i = instance_make(f, "ppo", options[k], &m);
        batch *t = batch_make(&f->arena, 1, (uint32_t[]){1});
        column(&f->arena, t, DOWEL_LOGP, true)[0] = log(4) - 2;
        column(&f->arena, t, DOWEL_OLD_LOGP, false)[0] = -2;
        column(&f->arena, t, DOWEL_ADVANTAGE, false)[0] = -1;
        column(&f->arena, t, DOWEL_WEIGHT, false);
        column(&f->arena, t, DOWEL_VALUE, true);
        column(&f->arena, t, DOWEL_RETURN, false);
        near(loss_of(i, t), k ? 3 : 4, 1e-12);
        near(t->col[DOWEL_LOGP].grad[0], k ? 0 : 4, 1e-12);
        near(metric_of(&m, "val/ratio"), 4, 1e-12);
        near(metric_of(&m, "val/ratio_spread"), 9, 1e-12);
        near(metric_of(&m, "policy/approxkl_avg"), log(4) * log(4) / 2, 1e-12);
        dw_instance_destroy(i);
    }
    dw_err err = {{0}};
    dowel_request ask;
    dw_instance *i = instance_make(f, "ppo", "{\"dual_clip\":0.9}", NULL);
    assert_true(dw_call_observe(i, false, &ask, &err) < 0);
    dw_instance_destroy(i);
}

/* Log-ratios of +-1e4, tiny advantages, huge returns: nothing overflows. */
static void test_extremes(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++) {
        dw_instance *i = instance_make(f, subjects[s].id, subjects[s].options, NULL);
        batch *t = random_batch(&f->arena, subjects[s].heads, 3);
        double *l = (double *)t->col[DOWEL_LOGP].x;
        for (uint32_t k = 0; k < t->b.n_tok; k++) {
            l[k] = k % 2 ? 0 : -1e4;
            ((double *)t->col[DOWEL_OLD_LOGP].x)[k] = k % 2 ? -1e4 : 0;
            ((double *)t->col[DOWEL_ADVANTAGE].x)[k] = k % 3 ? -1e-9 : 1e-9;
        }
        assert_true(isfinite(loss_of(i, t)));
        dw_instance_destroy(i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derivatives),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_dual_clip),
        cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
