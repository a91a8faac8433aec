/* Folding, intervals, and what reaches metrics.jsonl. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <dowel/plugin.h>

#include "train/metrics.h"

static double value(const dw_metrics *m, const char *name)
{
    const dw_metric *x = dw_metrics_find(m, name);
    return x ? dw_metric_value(x) : NAN;
}

static void a_mean_does_not_depend_on_the_cut(void **state)
{
    const double v[] = {1, 4, 2, 8, 5, 7};
    for (int cut = 1; cut <= 6; cut++) {
        dw_metrics m = {0};
        for (int i = 0; i < 6; i += cut) {
            double sum = 0, n = 0;
            for (int k = i; k < i + cut && k < 6; k++, n++)
                sum += v[k];
            dw_metrics_add(&m, "x", DOWEL_MEAN, sum / n, n);
        }
        assert_true(fabs(value(&m, "x") - 4.5) < 1e-15);
        dw_metrics_finish(&m);
    }
}

static void other_folds(void **state)
{
    dw_metrics m = {0};
    for (int i = 1; i <= 3; i++) {
        dw_metrics_add(&m, "sum", DOWEL_SUM, i, 9);
        dw_metrics_add(&m, "min", DOWEL_MIN, -i, 0);
        dw_metrics_add(&m, "max", DOWEL_MAX, -i, 0);
    }
    dw_metrics_add(&m, "none", DOWEL_MEAN, 5, 0);
    assert_true(value(&m, "sum") == 6 && value(&m, "min") == -3 && value(&m, "max") == -1);
    assert_true(isnan(value(&m, "none")));
    dw_buf b = {0};
    dw_metrics_put(&m, &b);
    assert_string_equal(b.ptr, ",\"sum\":6,\"min\":-3,\"max\":-1");
    dw_buf_finish(&b);
    dw_metrics_clear(&m);
    assert_null(dw_metrics_find(&m, "sum"));
    dw_metrics_finish(&m);
}

static void intervals(void **state)
{
    const double v[] = {1.5, 2.5, 4.0, 8.0};
    dw_metrics m = {.keep_parts = true};
    for (int i = 0; i < 4; i++)
        dw_metrics_add(&m, "x", DOWEL_MEAN, v[i], 1);
    /* 1.959964 * sd / sqrt(n), sd = 2.857738 */
    assert_true(fabs(dw_metric_ci95(dw_metrics_find(&m, "x")) - 2.800532) < 1e-5);
    for (int i = 0; i < 50; i++)
        dw_metrics_add(&m, "yes", DOWEL_MEAN, i < 35, 1);
    /* Agresti and Coull, 35 of 50: (0.562, 0.809) around 0.6857 */
    assert_true(fabs(dw_metric_ci95(dw_metrics_find(&m, "yes")) - 0.123947) < 1e-4);
    dw_metrics_add(&m, "one", DOWEL_MEAN, 3, 1);
    assert_true(isnan(dw_metric_ci95(dw_metrics_find(&m, "one"))));
    dw_metrics_finish(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_mean_does_not_depend_on_the_cut),
                                       cmocka_unit_test(other_folds), cmocka_unit_test(intervals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
