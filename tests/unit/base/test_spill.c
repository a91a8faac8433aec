/* Memory in a file: what was written is there, whatever the kernel has dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/spill.h"

/* Resident memory of this process without pages of files, in KiB. */
static long anonymous(void)
{
    char line[128];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "RssAnon:", 8))
            kib = atol(line + 8);
    if (f)
        fclose(f);
    return kib;
}

static void bytes_stay(void **state)
{
    (void)state;
    enum { N = 20000, BYTES = 3001 };
    static unsigned char *at[N];
    dw_spill s = {0};
    dw_err err = {{0}};
    const long before = anonymous();
    for (int i = 0; i < N; i++) {
        at[i] = dw_spill_alloc(&s, BYTES, &err);
        if (!at[i])
            fail_msg("%s", err.text);
        assert_int_equal((uintptr_t)at[i] % 16, 0);
        assert_true(!at[i][0] && !at[i][BYTES - 1]);
        memset(at[i], i % 251 + 1, BYTES);
    }
    assert_true(s.used >= (size_t)N * BYTES);
    if (s.fd > 0) /* 60 MB, of which no more than the first blocks are memory of our own */
        assert_true(anonymous() - before < 12 << 10);
    dw_spill_rest(&s);
    for (int i = 0; i < N; i++)
        assert_true(at[i][0] == i % 251 + 1 && at[i][BYTES - 1] == i % 251 + 1);
    dw_spill_finish(&s);
}

static void large_pieces_have_blocks_of_their_own(void **state)
{
    (void)state;
    dw_spill s = {0};
    dw_err err = {{0}};
    unsigned char *big = dw_spill_alloc(&s, 40 << 20, &err), *small = dw_spill_alloc(&s, 1, &err);
    assert_non_null(big);
    assert_non_null(small);
    memset(big, 7, 40 << 20);
    *small = 9;
    dw_spill_rest(&s);
    assert_true(big[(40 << 20) - 1] == 7 && *small == 9);
    dw_spill_finish(&s);
}

/* Where a file would be held in memory itself none is made. */
static void no_file_on_a_tmpfs(void **state)
{
    (void)state;
    dw_spill s = {0};
    dw_err err = {{0}};
    setenv("TMPDIR", "/dev/shm", 1);
    assert_non_null(dw_spill_alloc(&s, 20 << 20, &err));
    char link[64], where[256] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", s.fd);
    if (s.fd > 0)
        assert_true(readlink(link, where, sizeof where - 1) > 0);
    assert_null(strstr(where, "/dev/shm"));
    unsetenv("TMPDIR");
    dw_spill_finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_stay),
        cmocka_unit_test(large_pieces_have_blocks_of_their_own),
        cmocka_unit_test(no_file_on_a_tmpfs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
