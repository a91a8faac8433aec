/* The strict reader: what it refuses and how it says so, and what it keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

static const struct {
    const char *text, *message;
} refused[] = {
    {"", "line 1, column 1: found the end of the text, wanted a value"},
    {"{\"a\":1,}", "line 1, column 8: found '}', wanted a key after ','"},
    {"[1,]", "line 1, column 4: found ']', wanted a value after ','"},
    {"{\"a\" 1}", "line 1, column 6: found '1', wanted ':' after the key"},
    {"{\"a\":1 \"b\":2}", "line 1, column 8: found '\"', wanted ',' or '}' after a value"},
    {"[1 2]", "line 1, column 4: found '2', wanted ',' or ']' after a value"},
    {"{a:1}", "line 1, column 2: found 'a', wanted a key in double quotes"},
    {"{\"a\":1,\"b\":2,\"a\":3}", "line 1, column 14: key \"a\" appears twice in one object"},
    {"{\"a\":1,\"\\u0061\":3}", "line 1, column 8: key \"\\u0061\" appears twice in one object"},
    {"{\"a\\u0000b\":1}", "line 1, column 2: key with U+0000"},
    {"\"a\nb\"", "line 1, column 3: control character 0x0a in a string must be escaped"},
    {"\"\xff\"", "line 1, column 2: byte 0xff is not UTF-8"},
    {"\"\xc0\x80\"", "line 1, column 2: byte 0xc0 is not UTF-8"},
    {"\"\xed\xa0\x80\"", "line 1, column 2: byte 0xed is not UTF-8"},
    {"\"\\ud800\"", "line 1, column 2: lone high surrogate in a string"},
    {"\"\\ude00\"", "line 1, column 2: lone low surrogate in a string"},
    {"\"\\x\"", "line 1, column 2: unknown escape in a string"},
    {"\"\\u12g4\"", "line 1, column 2: \\u wants four hexadecimal digits"},
    {"\"abc", "line 1, column 1: string is never closed"},
    {"01", "line 1, column 1: number with a leading zero"},
    {"-", "line 1, column 2: found the end of the text, wanted a digit"},
    {"1.", "line 1, column 3: found the end of the text, wanted a digit after the point"},
    {"1e", "line 1, column 3: found the end of the text, wanted a digit of the exponent"},
    {"1e999", "line 1, column 1: number is too large"},
    {"+1", "line 1, column 1: found '+', wanted a value"},
    {"nul", "line 1, column 1: found 'n', wanted a value"},
    {"NaN", "line 1, column 1: found 'N', wanted a value"},
    {"1 2", "line 1, column 3: found '2', wanted nothing after the value"},
    {"{\n\"a\":\n  x}", "line 3, column 3: found 'x', wanted a value"},
    {"\xef\xbb\xbf{}",
     "line 1, column 1: starts with a byte order mark; save it as UTF-8 without one"},
    {"\xff\xfe{", "line 1, column 1: this is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"},
    {"\xfe\xff", "line 1, column 1: this is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"},
    {"[[[[[[[[[", "line 1, column 9: nested deeper than 8 levels"},
};

static void refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        dw_json *v;
        dw_err err;
        assert_int_equal(dw_json_parse(refused[i].text, strlen(refused[i].text), 8, 1, &v, &err),
                         DW_E_INPUT);
        assert_string_equal(err.text, refused[i].message);
        assert_null(v);
    }
}

static void keeps_nul_in_strings(void **state)
{
    (void)state;
    const char text[] = "{\"a\":\"x\\u0000\\\\u0000y\",\"b\":[\"\\u0000\",\"plain\"]}";
    dw_json *v;
    dw_err err;
    assert_int_equal(dw_json_parse(text, sizeof text - 1, 64, 1, &v, &err), DW_OK);
    dw_text a = dw_json_str(dw_json_get(v, "a"));
    assert_int_equal(a.len, 9);
    assert_memory_equal(a.ptr, "x\0\\u0000y", 9);
    assert_int_equal(dw_json_str(dw_json_path(v, "b.0")).len, 1);
    assert_int_equal(dw_json_str(dw_json_path(v, "b.1")).len, 5);
    const char *c;
    assert_int_equal(dw_json_get_cstr(v, "a", NULL, &c, &err), DW_E_INPUT);
    dw_buf out = {0};
    dw_json_put(&out, v, true, 0);
    assert_string_equal(out.ptr, "{\"a\":\"x\\u0000\\\\u0000y\",\"b\":[\"\\u0000\",\"plain\"]}");
    dw_buf_finish(&out);
    dw_json_free(v);
}

static void members_are_raw(void **state)
{
    (void)state;
    const char text[] = " { \"id\" : 12345678901234567890 , \"x\":1.10,\"s\\u0041\":\"}\\\"\","
                        "\"o\":{\"k\":[1, 2]} } ";
    dw_arena a = {0};
    dw_json_member *m;
    assert_int_equal(dw_json_members(&a, text, sizeof text - 1, &m), 4);
    assert_true(dw_text_is(m[0].key, "id") && dw_text_is(m[0].raw, "12345678901234567890"));
    assert_true(dw_text_is(m[1].raw, "1.10"));
    assert_true(dw_text_is(m[2].key, "sA") && dw_text_is(m[2].raw, "\"}\\\"\""));
    assert_true(dw_text_is(m[3].raw, "{\"k\":[1, 2]}"));
    assert_int_equal(dw_json_members(&a, "{}", 2, &m), 0);
    dw_arena_finish(&a);
}

static void typed_access(void **state)
{
    (void)state;
    const char text[] = "{\"i\":3,\"f\":2.5,\"s\":\"x\",\"n\":null,\"big\":9007199254740994}";
    dw_json *v;
    dw_err err;
    int64_t i;
    double x;
    assert_int_equal(dw_json_parse(text, sizeof text - 1, 64, 1, &v, &err), DW_OK);
    assert_int_equal(dw_json_get_int(v, "i", 0, 0, 10, &i, &err), DW_OK);
    assert_int_equal(i, 3);
    assert_int_equal(dw_json_get_int(v, "n", 7, 0, 10, &i, &err), DW_OK);
    assert_int_equal(i, 7);
    assert_int_equal(dw_json_get_int(v, "f", 0, 0, 10, &i, &err), DW_E_INPUT);
    assert_string_equal(err.text, "f: wanted an integer, found 2.5");
    assert_int_equal(dw_json_get_int(v, "i", 0, 4, 10, &i, &err), DW_E_INPUT);
    assert_string_equal(err.text, "i: 3 is outside 4 .. 10");
    assert_int_equal(dw_json_get_num(v, "s", 0, 0, 10, &x, &err), DW_E_INPUT);
    assert_string_equal(err.text, "s: wanted a number, found a string");
    assert_int_equal(dw_json_get_int(v, "big", 0, 0, INT64_MAX, &i, &err), DW_E_INPUT);
    dw_json_free(v);
}

static void numbers_round_trip(void **state)
{
    (void)state;
    const double x[] = {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -72, 1e21};
    const char *const s[] = {"0.1",  "0.3333333333333333", "4.94065645841247e-324", NULL, "-72",
                             "1e+21"};
    dw_buf b = {0};
    for (size_t i = 0; i < 6; i++) {
        dw_buf_clear(&b);
        dw_json_put_num(&b, x[i]);
        assert_true(strtod(b.ptr, NULL) == x[i]);
        if (s[i])
            assert_string_equal(b.ptr, s[i]);
    }
    dw_buf_finish(&b);
}

static void writes_only_utf8(void **state)
{
    static const char bad[] = "a\xc3\xa9\xc3z\xff\n\xe2\x82";
    dw_buf out = {0};
    (void)state;
    dw_json_put_str(&out, bad, sizeof bad - 1);
    assert_string_equal(out.ptr,
                        "\"a\xc3\xa9\xef\xbf\xbdz\xef\xbf\xbd\\n\xef\xbf\xbd\xef\xbf\xbd\"");
    dw_buf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses),
        cmocka_unit_test(keeps_nul_in_strings),
        cmocka_unit_test(members_are_raw),
        cmocka_unit_test(typed_access),
        cmocka_unit_test(numbers_round_trip),
        cmocka_unit_test(writes_only_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
