/* best: which answers are kept and how they weigh, and the statistics of best-of-n against counting
 * every subset. */
#include "batch.h"

typedef struct credit {
    dowel_credit c;
    double advantage[256], weight[64], label[64];
    int32_t mate[64];
    uint8_t keep[64];
} credit;

/* n answers of one token in groups of g, with these rewards. */
static batch *rollout(dw_arena *a, uint32_t n, uint32_t g, const double *reward)
{
    uint32_t len[64];
    for (uint32_t s = 0; s < n; s++)
        len[s] = 1;
    batch *t = batch_make(a, n, len);
    memcpy(column(a, t, DOWEL_REWARD, false), reward, n * sizeof *reward);
    for (uint32_t s = 0; s < n; s++)
        t->group[s] = (int32_t)(s / g);
    return t;
}

static void estimate(fixture *f, const char *options, batch *t, credit *c, metrics *m)
{
    dw_err err = {{0}};
    dw_instance *i = instance_make(f, "best", options, m);
    memset(c, 0, sizeof *c);
    for (uint32_t s = 0; s < 64; s++) {
        c->weight[s] = 1;
        c->mate[s] = -1;
        c->keep[s] = 1;
    }
    c->c = (dowel_credit){.size = sizeof c->c,
                          .advantage = c->advantage,
                          .weight = c->weight,
                          .label = c->label,
                          .mate = c->mate,
                          .keep = c->keep};
    t->b.host = dw_instance_host(i);
    if (dw_call_estimate(i, &t->b, &c->c, &err) < 0)
        fail_msg("%s", err.text);
    dw_instance_destroy(i);
}

static void kept(const credit *c, uint32_t n, const char *want)
{
    for (uint32_t s = 0; s < n; s++)
        if (c->keep[s] != (want[s] == 'x'))
            fail_msg("answer %u of %s: keep is %d", s, want, c->keep[s]);
}

static const double rewards[] = {0.2, 0.9, 0.9, NAN, -1, -2, -3, -0.5};

static void test_selections(void **state)
{
    fixture *f = *state;
    credit c;
    metrics m = {0};
    batch *t = rollout(&f->arena, 8, 4, rewards);
    estimate(f, NULL, t, &c, &m);
    kept(&c, 8, ".x.....x"); /* of equals the first */
    near(c.weight[1], 1, 0);
    near(metric_of(&m, "coverage"), 1, 0);
    near(metric_of(&m, "kept"), 2.0 / 7, 1e-15);
    near(metric_of(&m, "reward"), -4.5 / 7, 1e-15);
    near(metric_of(&m, "reward_kept"), 0.2, 1e-15);

    estimate(f, "{\"k\":2}", t, &c, NULL);
    kept(&c, 8, ".xx.x..x");
    estimate(f, "{\"k\":9}", t, &c, NULL);
    kept(&c, 8, "xxx.xxxx"); /* the unscored one never */

    memset(&m, 0, sizeof m);
    estimate(f, "{\"select\":\"all\",\"at_least\":0.2}", t, &c, &m);
    kept(&c, 8, "xxx.....");
    near(metric_of(&m, "coverage"), 0.5, 0); /* nothing passed for the second prompt */
    estimate(f, "{\"at_least\":0.2}", t, &c, NULL);
    kept(&c, 8, ".x......");
}

/* Weights are 1 on average, so that softening the choice does not change the step's size. */
static void test_softmax(void **state)
{
    fixture *f = *state;
    credit c;
    batch *t = rollout(&f->arena, 8, 4, rewards);
    estimate(f, "{\"select\":\"softmax\",\"temperature\":0.5}", t, &c, NULL);
    kept(&c, 8, "xxx.xxxx");
    double sum = exp(0.4) + 2 * exp(1.8);
    near(c.weight[0], 3 * exp(0.4) / sum, 1e-14);
    near(c.weight[1], 3 * exp(1.8) / sum, 1e-14);
    near(c.weight[4] + c.weight[5] + c.weight[6] + c.weight[7], 4, 1e-14);
    near(c.weight[4] / c.weight[5], exp(2), 1e-14);
    const double far[] = {1e4, -1e4};
    t = rollout(&f->arena, 2, 2, far);
    estimate(f, "{\"select\":\"softmax\",\"temperature\":1e-6}", t, &c, NULL);
    near(c.weight[0], 2, 0);
    near(c.weight[1], 0, 0);
}

/* Whatever the order of the rollout, the same answers are chosen. */
static void test_order(void **state)
{
    fixture *f = *state;
    credit c;
    const uint32_t order[] = {6, 2, 7, 0, 3, 5, 1, 4};
    batch *t = batch_part(&f->arena, rollout(&f->arena, 8, 4, rewards), order, 8);
    estimate(f, NULL, t, &c, NULL);
    for (uint32_t s = 0; s < 8; s++)
        assert_int_equal(c.keep[s], order[s] == 1 || order[s] == 7);
}

/* Mean over all subsets of n out of N of their best. */
static double best_by_counting(const double *r, uint32_t N, uint32_t n)
{
    double sum = 0, sets = 0;
    for (uint32_t set = 0; set < 1u << N; set++) {
        double best = -INFINITY;
        if ((uint32_t)__builtin_popcount(set) != n)
            continue;
        for (uint32_t i = 0; i < N; i++)
            if (set >> i & 1)
                best = fmax(best, r[i]);
        sum += best;
        sets += 1;
    }
    return sum / sets;
}

static void test_best_of_n(void **state)
{
    fixture *f = *state;
    credit c;
    for (uint64_t round = 0; round < 20; round++) {
        enum { N = 9 };
        double r[N], pass[N];
        metrics m = {0};
        for (uint32_t s = 0; s < N; s++) {
            r[s] = uniform(round, s, -2, 2);
            pass[s] = r[s] >= 0.5;
        }
        estimate(f, "{\"at_least\":0.5}", rollout(&f->arena, N, N, r), &c, &m);
        for (uint32_t n = 2; n <= 8; n *= 2) {
            char name[20];
            snprintf(name, sizeof name, "best_of_%u", n);
            near(metric_of(&m, name), best_by_counting(r, N, n), 1e-13);
            snprintf(name, sizeof name, "pass_at_%u", n);
            near(metric_of(&m, name), best_by_counting(pass, N, n), 1e-13);
        }
    }
}

/* 1 - C(N-c, k) / C(N, k) without binomials that overflow. */
static void test_large_groups(void **state)
{
    fixture *f = *state;
    enum { N = 3000 };
    static double r[N], advantage[N], weight[N], label[N];
    static int32_t mate[N];
    static uint8_t keep[N];
    uint32_t *len = dw_arena_alloc(&f->arena, N * sizeof *len);
    metrics m = {0};
    dw_err err = {{0}};
    for (int s = 0; s < N; s++) {
        len[s] = 1;
        r[s] = s % 100 == 0;
        mate[s] = -1;
    }
    batch *t = batch_make(&f->arena, N, len);
    memcpy(column(&f->arena, t, DOWEL_REWARD, false), r, sizeof r);
    dowel_credit c = {sizeof c, 0, advantage, NULL, weight, label, mate, keep};
    dw_instance *i = instance_make(f, "best", "{\"at_least\":1}", &m);
    t->b.host = dw_instance_host(i);
    assert_int_equal(dw_call_estimate(i, &t->b, &c, &err), 0);
    dw_instance_destroy(i);
    double none = 1;
    for (int k = 0; k < 64; k++)
        none *= (N - 30.0 - k) / (N - k);
    near(metric_of(&m, "pass_at_64"), 1 - none, 1e-12);
    near(metric_of(&m, "best_of_64"), 1 - none, 1e-12);
    near(metric_of(&m, "pass_at_2048"), 1, 1e-12);
}

/* T29: log n - (n-1)/n is an upper bound, and named so: two outcomes of equal chance, of which the
 * better is taken from 16, are 0.693 apart and not 1.835. */
static void test_t29_upper_bound(void **state)
{
    fixture *f = *state;
    credit c;
    metrics m = {0};
    double r[16];
    for (int s = 0; s < 16; s++)
        r[s] = s % 2;
    estimate(f, NULL, rollout(&f->arena, 16, 16, r), &c, &m);
    near(metric_of(&m, "kl_upper_bound"), 1.8350887222397811, 1e-12);
    double p = 1 - pow(0.5, 16), exact = p * log(p / 0.5) + (1 - p) * log((1 - p) / 0.5);
    near(exact, 0.693, 1e-3);
    assert_true(metric_of(&m, "kl_upper_bound") > exact);
    memset(&m, 0, sizeof m);
    estimate(f, "{\"k\":2}", rollout(&f->arena, 16, 16, r), &c, &m);
    for (size_t k = 0; k < m.n; k++) /* the bound is that of keeping one */
        assert_string_not_equal(m.m[k].name, "kl_upper_bound");
}

/* Baselines and others' samples are not trained; nothing scored is nothing kept. */
static void test_others(void **state)
{
    fixture *f = *state;
    credit c;
    metrics m = {0};
    const double r[] = {1, 5, 0, 7}, none[] = {NAN, NAN};
    batch *t = rollout(&f->arena, 4, 4, r);
    t->role[1] = DOWEL_GREEDY;
    t->role[3] = DOWEL_OTHER;
    estimate(f, NULL, t, &c, NULL);
    kept(&c, 4, "x...");
    estimate(f, NULL, rollout(&f->arena, 2, 2, none), &c, &m);
    kept(&c, 2, "..");
    assert_int_equal(m.n, 0);
    estimate(f, NULL, batch_make(&f->arena, 0, NULL), &c, &m);
    assert_int_equal(m.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_selections),   cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_order),        cmocka_unit_test(test_best_of_n),
        cmocka_unit_test(test_large_groups), cmocka_unit_test(test_t29_upper_bound),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
