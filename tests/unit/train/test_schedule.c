/* Schedules: values at given steps, and refusals. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "train/schedule.h"

static dw_schedule parse(const char *json)
{
    dw_json *v;
    dw_err err = {{0}};
    dw_schedule s;
    assert_int_equal(dw_json_parse(json, strlen(json), 8, 1, &v, &err), 0);
    if (dw_schedule_parse(v, "lr", &s, &err) < 0)
        fail_msg("%s", err.text);
    dw_json_free(v);
    return s;
}

static void refused(const char *json, const char *message)
{
    dw_json *v;
    dw_err err = {{0}};
    dw_schedule s;
    assert_int_equal(dw_json_parse(json, strlen(json), 8, 1, &v, &err), 0);
    assert_int_equal(dw_schedule_parse(v, "lr", &s, &err), DW_E_RECIPE);
    assert_string_equal(err.text, message);
    dw_json_free(v);
}

static void near(double a, double b)
{
    if (fabs(a - b) > 1e-15 * fmax(1.0, fabs(b)))
        fail_msg("%.17g is not %.17g", a, b);
}

static void test_number(void **state)
{
    dw_schedule s = parse("0.25");
    for (uint64_t i = 0; i < 5; i++)
        near(dw_schedule_at(&s, i, 4), 0.25);
}

static void test_constant_warms_up(void **state)
{
    dw_schedule s = parse("{\"schedule\":\"constant\",\"value\":2,\"warmup\":4}");
    near(dw_schedule_at(&s, 0, 10), 0.5);
    near(dw_schedule_at(&s, 3, 10), 2.0);
    near(dw_schedule_at(&s, 9, 10), 2.0);
}

/* transformers.get_linear_schedule_with_warmup at the same step count: (N - s) / (N - w). */
static void test_linear(void **state)
{
    dw_schedule s = parse("{\"schedule\":\"linear\",\"from\":1,\"to\":0,\"warmup\":2}");
    near(dw_schedule_at(&s, 0, 10), 0.5);
    near(dw_schedule_at(&s, 1, 10), 1.0);
    near(dw_schedule_at(&s, 2, 10), 1.0);
    near(dw_schedule_at(&s, 6, 10), 0.5);
    near(dw_schedule_at(&s, 9, 10), 0.125);
    near(dw_schedule_at(&s, 10, 10), 0.0);
    s = parse("{\"schedule\":\"linear\",\"from\":0.05,\"to\":0.2}");
    near(dw_schedule_at(&s, 5, 10), 0.125);
}

static void test_cosine(void **state)
{
    dw_schedule s = parse("{\"schedule\":\"cosine\",\"peak\":3,\"final\":1,\"warmup\":2}");
    near(dw_schedule_at(&s, 0, 12), 1.5);
    near(dw_schedule_at(&s, 2, 12), 3.0);
    near(dw_schedule_at(&s, 7, 12), 2.0);
    near(dw_schedule_at(&s, 12, 12), 1.0);
    near(dw_schedule_at(&s, 4, 12), 1.0 + 1.0 + cos(0.2 * acos(-1.0)));
}

static void test_only_warmup(void **state)
{
    dw_schedule s = parse("{\"schedule\":\"cosine\",\"peak\":1,\"warmup\":8}");
    near(dw_schedule_at(&s, 3, 4), 0.5);
    near(dw_schedule_at(&s, 8, 4), 0.0);
}

static void test_refusals(void **state)
{
    refused("\"x\"", "lr: expected a number or a schedule, got a string");
    refused("{\"from\":1}", "lr: expected a number or a schedule, got an object");
    refused("{\"schedule\":\"linaer\"}", "lr: no schedule 'linaer' (there are constant, linear, "
                                         "cosine), did you mean 'linear'?");
    refused("{\"schedule\":\"linear\",\"from\":1}", "lr.to: expected a number, got nothing");
    refused("{\"schedule\":\"cosine\",\"paek\":1}",
            "lr: a cosine schedule has no key 'paek', did you mean 'peak'?");
    refused("{\"schedule\":\"cosine\",\"peak\":1,\"warmup\":-1}",
            "lr.warmup: expected a whole number of steps from 0 up, got -1");
    refused("{\"schedule\":\"cosine\",\"peak\":1,\"warmup\":2.5}",
            "lr.warmup: expected a whole number of steps from 0 up, got 2.5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number),   cmocka_unit_test(test_constant_warms_up),
        cmocka_unit_test(test_linear),   cmocka_unit_test(test_cosine),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_only_warmup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
