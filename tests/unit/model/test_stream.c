/* Text that appears piece by piece is never cut inside a character. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/stream.h"

/* Feeds byte by byte; what has been shown must be whole characters after every byte. */
static void feed(const char *bytes, size_t n, const char *want)
{
    dw_buf pending = {0}, shown = {0};
    for (size_t i = 0; i < n; i++) {
        dw_buf_addc(&pending, bytes[i]);
        dw_stream_take(&pending, &shown, false);
        assert_true(!shown.len || dw_utf8_valid(shown.ptr, shown.len));
        assert_true(pending.len < 4);
    }
    dw_stream_take(&pending, &shown, true);
    assert_int_equal(pending.len, 0);
    assert_int_equal(shown.len, strlen(want));
    assert_memory_equal(shown.ptr, want, shown.len);
    dw_buf_finish(&pending);
    dw_buf_finish(&shown);
}

static void test_bytes(void **state)
{
    (void)state;
    feed("plain", 5, "plain");
    feed("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!", 10, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!");
    feed("a\xf0\x9f\x98", 4, "a\xef\xbf\xbd"); /* the end of the answer cuts a character */
    feed("\xf0\x9f\x98z", 4, "\xef\xbf\xbdz");
    feed("\xff\xfe", 2, "\xef\xbf\xbd\xef\xbf\xbd");
    feed("\x80q", 2, "\xef\xbf\xbdq");
    feed("\xe0\x80\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* overlong */
    feed("\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* surrogate */
    feed("\xe2\x82\xe2\x82\xac", 5, "\xef\xbf\xbd\xe2\x82\xac");
    feed("\xc2", 1, "\xef\xbf\xbd");
}

static void test_holds_back(void **state)
{
    dw_buf pending = {0}, shown = {0};
    (void)state;
    dw_buf_adds(&pending, "ab\xe2\x82");
    dw_stream_take(&pending, &shown, false);
    assert_int_equal(shown.len, 2);
    assert_int_equal(pending.len, 2);
    dw_buf_adds(&pending, "\xac");
    dw_stream_take(&pending, &shown, false);
    assert_int_equal(shown.len, 5);
    dw_buf_finish(&pending);
    dw_buf_finish(&shown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes),
                                       cmocka_unit_test(test_holds_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
