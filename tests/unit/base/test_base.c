/* Buffers, maps, hashes, randomness, suggestions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/rng.h"

static void map_holds_many(void **state)
{
    (void)state;
    dw_map m = {0};
    dw_arena a = {0};
    for (int i = 0; i < 10000; i++) {
        char *k = dw_arena_printf(&a, "key %d", i);
        assert_true(dw_map_put(&m, dw_text_of(k), i));
        assert_false(dw_map_put(&m, dw_text_of(k), -1));
    }
    int64_t v;
    for (int i = 0; i < 10000; i++) {
        assert_true(dw_map_get(&m, dw_text_of(dw_arena_printf(&a, "key %d", i)), &v));
        assert_int_equal(v, i);
    }
    assert_false(dw_map_get(&m, DW_TEXT("key"), &v));
    assert_true(dw_map_put(&m, (dw_text){NULL, 0}, 5));
    assert_true(dw_map_get(&m, DW_TEXT(""), &v) && v == 5);
    dw_map_finish(&m);
    dw_arena_finish(&a);
}

static void sha256_of_abc(void **state)
{
    (void)state;
    char hex[65];
    dw_sha256_of("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void random_is_uniform_and_pure(void **state)
{
    (void)state;
    double sum = 0, sumsq = 0;
    int bucket[16] = {0};
    const int n = 64000;
    for (int i = 0; i < n; i++) {
        double z = dw_random_normal(1, DW_RNG_TEST, 2, (uint64_t)i);
        sum += z;
        sumsq += z * z;
        bucket[dw_random_below(1, DW_RNG_TEST, (uint64_t)i, 9, 16)]++;
    }
    assert_true(fabs(sum / n) < 0.02 && fabs(sumsq / n - 1) < 0.02);
    double chi = 0;
    for (int i = 0; i < 16; i++)
        chi += (bucket[i] - n / 16.0) * (bucket[i] - n / 16.0) / (n / 16.0);
    assert_true(chi < 45); /* 15 degrees of freedom: p below 1e-4 */
    assert_true(dw_random(1, 2, 3, 4) == dw_random(1, 2, 3, 4));
    assert_true(dw_random(1, 2, 3, 4) != dw_random(1, 2, 4, 3));
    assert_true(dw_random(1, 2, 3, 4) != dw_random(2, 1, 3, 4));
}

static void nearest_name(void **state)
{
    (void)state;
    const char *const names[] = {"beta", "label_smoothing", "loss", "lr", NULL};
    assert_string_equal(dw_nearest("bta", names), "beta");
    assert_string_equal(dw_nearest("lable_smoothing", names), "label_smoothing");
    assert_string_equal(dw_nearest("rl", names), "lr");
    assert_null(dw_nearest("gamma", names));
    assert_null(dw_nearest("xy", names));
}

static void utf8(void **state)
{
    (void)state;
    assert_int_equal(dw_utf8_len("\xf0\x9f\x98\x80", 4), 4);
    assert_int_equal(dw_utf8_len("\xf0\x9f\x98", 3), 0);
    assert_int_equal(dw_utf8_len("\xf4\x90\x80\x80", 4), 0);
    assert_int_equal(dw_utf8_len("\xe0\x9f\x80", 3), 0);
    assert_true(dw_utf8_valid("a\0b\xc3\xa9", 5));
    assert_false(dw_utf8_valid("\x80", 1));
}

static void error_prefix_is_bounded(void **state)
{
    (void)state;
    dw_err err;
    char big[3000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    assert_int_equal(dw_fail(&err, DW_E_INPUT, "%s", "cause"), DW_E_INPUT);
    dw_err_prefix(&err, "file.json");
    assert_string_equal(err.text, "file.json: cause");
    dw_err_prefix(&err, "%s", big);
    assert_true(strlen(err.text) < sizeof err.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_holds_many),
        cmocka_unit_test(sha256_of_abc),
        cmocka_unit_test(random_is_uniform_and_pure),
        cmocka_unit_test(nearest_name),
        cmocka_unit_test(utf8),
        cmocka_unit_test(error_prefix_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
