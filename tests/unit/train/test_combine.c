/* Combining gradients through their Gram matrix, against the methods done on the vectors
 * themselves, and constraints against their formulas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "train/combine.h"
#include "train/constraint.h"

enum { DIM = 7, MOST = 5 };

/* cmocka compares floats; these are doubles. */
static void near(double got, double want, double within)
{
    if (!(fabs(got - want) <= within))
        fail_msg("%.17g is not within %g of %.17g", got, within, want);
}

typedef struct setup {
    double v[MOST][DIM], gram[MOST * MOST], weight[MOST];
    size_t k;
} setup;

static double dot(const double *a, const double *b)
{
    double s = 0;
    for (int i = 0; i < DIM; i++)
        s += a[i] * b[i];
    return s;
}

static setup draw(size_t k, uint64_t seed)
{
    setup s = {.k = k};
    for (size_t i = 0; i < k; i++) {
        s.weight[i] = 1;
        for (size_t j = 0; j < DIM; j++)
            s.v[i][j] = dw_random_normal(seed, DW_RNG_TEST, i, j) * (double)(i + 1);
    }
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            s.gram[i * k + j] = dot(s.v[i], s.v[j]);
    return s;
}

static void sum(const setup *s, const double *c, double *out)
{
    memset(out, 0, DIM * sizeof *out);
    for (size_t i = 0; i < s->k; i++)
        for (int j = 0; j < DIM; j++)
            out[j] += c[i] * s->v[i][j];
}

static void combined(const setup *s, const dw_combine_spec *spec, double *c)
{
    double reference = 0;
    dw_combine(spec, s->gram, s->weight, s->k, 11, 3, &reference, c);
}

/* Two gradients leave no choice of order: the textbook form. */
static void pcgrad_is_the_projection(void **state)
{
    const dw_combine_spec spec = {.kind = DW_COMBINE_PCGRAD};
    int conflicts = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        setup s = draw(2, seed);
        double c[2], got[DIM], d = s.gram[1];
        combined(&s, &spec, c);
        sum(&s, c, got);
        conflicts += d < 0;
        for (int j = 0; j < DIM; j++) {
            double a = s.v[0][j], b = s.v[1][j];
            double want = d < 0 ? a - d / s.gram[3] * b + b - d / s.gram[0] * a : a + b;
            near(got[j], want, 1e-12 * (1 + fabs(want)));
        }
        /* nothing points against either any more */
        if (d < 0)
            for (int i = 0; i < 2; i++)
                assert_true(dot(got, s.v[i]) > -1e-9);
    }
    assert_true(conflicts > 8 && conflicts < 32);
}

/* Every order of projections is one of the k! textbook runs; with three, all are tried. */
static void pcgrad_of_three(void **state)
{
    const dw_combine_spec spec = {.kind = DW_COMBINE_PCGRAD};
    static const int order[2][2] = {{0, 1}, {1, 0}};
    for (uint64_t seed = 0; seed < 25; seed++) {
        setup s = draw(3, seed);
        double c[3], got[DIM];
        bool found = false;
        combined(&s, &spec, c);
        sum(&s, c, got);
        for (int pick = 0; pick < 8 && !found; pick++) {
            double want[DIM] = {0};
            for (int i = 0; i < 3; i++) {
                double g[DIM];
                memcpy(g, s.v[i], sizeof g);
                for (int n = 0; n < 2; n++) {
                    int j = (i + 1 + order[pick >> i & 1][n]) % 3;
                    double d = dot(g, s.v[j]);
                    for (int m = 0; d < 0 && m < DIM; m++)
                        g[m] -= d / dot(s.v[j], s.v[j]) * s.v[j][m];
                }
                for (int m = 0; m < DIM; m++)
                    want[m] += g[m];
            }
            double off = 0;
            for (int m = 0; m < DIM; m++)
                off = fmax(off, fabs(want[m] - got[m]));
            found = off < 1e-10;
        }
        assert_true(found);
    }
}

static void mgda_of_two_is_the_formula(void **state)
{
    const dw_combine_spec spec = {.kind = DW_COMBINE_MGDA};
    for (uint64_t seed = 0; seed < 40; seed++) {
        setup s = draw(2, seed);
        double c[2];
        double t = (s.gram[3] - s.gram[1]) / (s.gram[0] + s.gram[3] - 2 * s.gram[1]);
        t = fmin(fmax(t, 0), 1);
        combined(&s, &spec, c);
        near(c[0], 2 * t, 1e-7);
        near(c[1], 2 * (1 - t), 1e-7);
    }
}

/* The smallest value over a grid of the simplex of three. */
static double grid(const setup *s, double (*f)(const setup *, const double *, double), double arg)
{
    enum { N = 400 };
    double best = INFINITY;
    for (int i = 0; i <= N; i++)
        for (int j = 0; i + j <= N; j++) {
            double w[3] = {(double)i / N, (double)j / N, (double)(N - i - j) / N};
            best = fmin(best, f(s, w, arg));
        }
    return best;
}

static double length(const setup *s, const double *w, double unused)
{
    double g[DIM];
    sum(s, w, g);
    return dot(g, g);
}

static void mgda_of_three_is_the_shortest(void **state)
{
    const dw_combine_spec spec = {.kind = DW_COMBINE_MGDA};
    for (uint64_t seed = 0; seed < 12; seed++) {
        setup s = draw(3, seed);
        double c[3], w[3];
        combined(&s, &spec, c);
        for (int i = 0; i < 3; i++)
            w[i] = c[i] / 3;
        near(w[0] + w[1] + w[2], 1, 1e-12);
        double got = length(&s, w, 0), best = grid(&s, length, 0);
        assert_true(got <= best + 1e-9);
        assert_true(got >= best * 0.98 - 1e-3);
    }
}

static double averse(const setup *s, const double *w, double c)
{
    double g0[DIM], gw[DIM];
    const double third[3] = {1.0 / 3, 1.0 / 3, 1.0 / 3};
    sum(s, third, g0);
    sum(s, w, gw);
    return dot(g0, gw) + c * sqrt(dot(g0, g0) * dot(gw, gw));
}

static void cagrad_is_the_best_worst_case(void **state)
{
    const dw_combine_spec spec = {.kind = DW_COMBINE_CAGRAD, .c = 0.4};
    for (uint64_t seed = 0; seed < 12; seed++) {
        setup s = draw(3, seed);
        double c[3], got[DIM], g0[DIM], worst = INFINITY;
        const double third[3] = {1.0 / 3, 1.0 / 3, 1.0 / 3};
        combined(&s, &spec, c);
        sum(&s, c, got);
        sum(&s, third, g0);
        for (int j = 0; j < DIM; j++)
            got[j] *= (1 + 0.4) / 3; /* back to the paper's scale */
        /* inside the ball around the mean, on its edge */
        double off = 0;
        for (int j = 0; j < DIM; j++)
            off += (got[j] - g0[j]) * (got[j] - g0[j]);
        near(sqrt(off), 0.4 * sqrt(dot(g0, g0)), 1e-6);
        for (int i = 0; i < 3; i++)
            worst = fmin(worst, dot(got, s.v[i]));
        /* strong duality: the best worst case is the dual's minimum */
        near(worst, grid(&s, averse, 0.4), 0.02 * (1 + fabs(worst)));
    }
}

static void norms_are_balanced(void **state)
{
    dw_combine_spec spec = {.kind = DW_COMBINE_NORM};
    setup s = draw(3, 5);
    double c[3], reference = 0, mean = 0;
    for (size_t i = 0; i < 3; i++) { /* weights 1, 2, 4 are in the gradients already */
        s.weight[i] = (double)(1 << i);
        mean += sqrt(s.gram[i * 3 + i]) / s.weight[i] / 3;
    }
    dw_combine(&spec, s.gram, s.weight, 3, 1, 1, &reference, c);
    near(reference, mean, 1e-12);
    for (size_t i = 0; i < 3; i++)
        near(c[i] * sqrt(s.gram[i * 3 + i]), s.weight[i] * mean, 1e-9);
    spec.decay = 0.75;
    reference = 8;
    dw_combine(&spec, s.gram, s.weight, 3, 1, 1, &reference, c);
    near(reference, 0.75 * 8 + 0.25 * mean, 1e-12);
}

static void equal_gradients_give_the_sum(void **state)
{
    for (int kind = DW_COMBINE_SUM; kind <= DW_COMBINE_CAGRAD; kind++) {
        for (int normalize = 0; normalize < 2; normalize++) {
            const dw_combine_spec spec = {
                .kind = (dw_combine_kind)kind, .c = 0.4, .normalize = normalize};
            const double gram[] = {4, 4, 4, 4}, weight[] = {1, 1};
            double c[2], reference = 0;
            dw_combine(&spec, gram, weight, 2, 1, 1, &reference, c);
            near(c[0] + c[1], 2, 1e-9);
        }
    }
}

static void silent_objectives_are_left_out(void **state)
{
    for (int kind = DW_COMBINE_SUM; kind <= DW_COMBINE_CAGRAD; kind++) {
        const dw_combine_spec spec = {.kind = (dw_combine_kind)kind, .c = 0.4, .normalize = true};
        const double gram[] = {4, 0, -1, 0, 0, 0, -1, 0, 1}, two[] = {4, -1, -1, 1};
        const double weight[] = {1, 1, 1};
        double c[3], without[2], r = 0, q = 0;
        dw_combine(&spec, gram, weight, 3, 1, 1, &r, c);
        dw_combine(&spec, two, weight, 2, 1, 1, &q, without);
        for (int i = 0; i < 3; i++)
            assert_true(isfinite(c[i]));
        near(c[0], without[0], 1e-12);
        near(c[2], without[1], 1e-12);
    }
}

/* ---- constraints ---- */

static void dual_ascent(void **state)
{
    const dw_constraint_spec s = {
        .kind = DW_DUAL, .bound = 1, .lr = 0.5, .start = 1, .max = 3, .window = 2};
    double room[2];
    dw_constraint_state c;
    dw_constraint_start(&s, room, &c);
    near(dw_constraint_update(&s, &c, 2), 1, 0);
    near(c.multiplier, 1.5, 0);
    near(dw_constraint_update(&s, &c, 4), 2, 0); /* mean of 2 and 4 */
    near(c.multiplier, 2.5, 0);
    dw_constraint_update(&s, &c, 4);
    near(c.multiplier, 3, 0); /* its max */
    dw_constraint_update(&s, &c, -20);
    near(c.multiplier, 0, 0); /* never below 0 */
}

static void at_least_turns_the_sign(void **state)
{
    const dw_constraint_spec s = {.kind = DW_DUAL,
                                  .bound = 0.8,
                                  .at_least = true,
                                  .lr = 1,
                                  .start = 0,
                                  .max = 9,
                                  .window = 1};
    double room[1];
    dw_constraint_state c;
    dw_constraint_start(&s, room, &c);
    dw_constraint_update(&s, &c, 0.5);
    near(c.multiplier, 0.3, 1e-15);
    dw_constraint_update(&s, &c, 1.0);
    near(c.multiplier, 0.1, 1e-15);
}

static void in_log_space(void **state)
{
    const dw_constraint_spec s = {
        .kind = DW_LOG, .bound = 0, .lr = 0.1, .start = 2, .max = 5, .window = 1};
    double room[1];
    dw_constraint_state c;
    dw_constraint_start(&s, room, &c);
    dw_constraint_update(&s, &c, 3);
    near(c.multiplier, 2 * exp(0.1 * 2 * 3), 1e-12);
    dw_constraint_update(&s, &c, 30);
    near(c.multiplier, 5, 1e-12);
    dw_constraint_update(&s, &c, -1000);
    assert_true(c.multiplier > 0);
}

static void pid(void **state)
{
    const dw_constraint_spec s = {.kind = DW_PID,
                                  .bound = 0,
                                  .max = 1000,
                                  .kp = 1,
                                  .ki = 0.5,
                                  .kd = 2,
                                  .start = 1,
                                  .window = 1};
    double room[1];
    dw_constraint_state c;
    dw_constraint_start(&s, room, &c);
    dw_constraint_update(&s, &c, 2);
    near(c.multiplier, 2 + 0.5 * 2, 1e-15); /* no difference before the first */
    dw_constraint_update(&s, &c, 3);
    near(c.multiplier, 3 + 0.5 * 5 + 2 * 1, 1e-15);
    dw_constraint_update(&s, &c, 1);
    near(c.multiplier, 1 + 0.5 * 6 + 0, 1e-15); /* a fall is not rewarded */
    dw_constraint_update(&s, &c, -50);
    near(c.multiplier, 0, 0);
    dw_constraint_update(&s, &c, 1);
    near(c.multiplier, 1 + 0.5 * 1 + 2 * 51, 1e-12); /* the sum began again at 0 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pcgrad_is_the_projection),
        cmocka_unit_test(pcgrad_of_three),
        cmocka_unit_test(mgda_of_two_is_the_formula),
        cmocka_unit_test(mgda_of_three_is_the_shortest),
        cmocka_unit_test(cagrad_is_the_best_worst_case),
        cmocka_unit_test(norms_are_balanced),
        cmocka_unit_test(equal_gradients_give_the_sum),
        cmocka_unit_test(silent_objectives_are_left_out),
        cmocka_unit_test(dual_ascent),
        cmocka_unit_test(at_least_turns_the_sign),
        cmocka_unit_test(in_log_space),
        cmocka_unit_test(pid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
