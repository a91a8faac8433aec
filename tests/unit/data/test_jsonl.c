/* Rows of files: lines, arrays, places, odd bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "data/jsonl.h"
#include "datafile.h"

/* "line:column:text" of every row that parses, or the first error. */
static void read_all(const char *bytes, size_t n, dw_buf *out)
{
    dw_rows *r;
    dw_err err = {{0}};
    dw_buf_clear(out);
    dw_buf_adds(out, "");
    if (dw_rows_open(test_file("rows", bytes, n), &r, &err)) {
        dw_buf_adds(out, strstr(err.text, "rows:"));
        return;
    }
    for (;;) {
        dw_text row;
        uint32_t number, line, column;
        bool more;
        dw_json *v;
        dw_status st = dw_rows_next(r, &row, &number, &more, &err);
        if (!st && !more)
            break;
        if (!st)
            st = dw_rows_parse(r, row, &v, &err);
        if (st) {
            dw_buf_printf(out, "! %s", strstr(err.text, "rows:"));
            break;
        }
        dw_json_free(v);
        dw_rows_where(r, &line, &column);
        dw_buf_printf(out, "%u=%u:%u %.*s|", number, line, column, (int)row.len, row.ptr);
    }
    dw_rows_close(r);
}

#define IN(literal) (literal), sizeof(literal) - 1
static const struct {
    const char *in;
    size_t n;
    const char *want;
} files[] = {
    {IN(""), ""},
    {IN("\n\n \t\r\n"), ""},
    {IN("{\"a\":1}"), "1=1:1 {\"a\":1}|"},
    {IN("{}\n[]\n7"), "1=1:1 {}|2=2:1 []|3=3:1 7|"},
    {IN("{}\r\n\r\n{}\r\n"), "1=1:1 {}\r|3=3:1 {}\r|"},
    {IN("\n\n{}\n\n\n{}"), "3=3:1 {}|6=6:1 {}|"},
    {IN("[]"), ""},
    {IN(" \n [ ] \n"), ""},
    {IN("[{},\n  {\"a\":\n1}, 3]"), "1=1:2 {}|2=2:3 {\"a\":\n1}|3=3:5 3|"},
    {IN("[\"]\", \"\\\"]\", {\"a\":\"}\"}]"), "1=1:2 \"]\"|2=1:7 \"\\\"]\"|3=1:14 {\"a\":\"}\"}|"},
    /* Broken ones: file, line and column. */
    {IN("{}\n{\"a\":}\n"), "1=1:1 {}|! rows:2:6: found '}', wanted a value"},
    {IN("{}\n{\"a\":1} {}\n"), "1=1:1 {}|! rows:2:9: found '{', wanted nothing after the value"},
    {IN("{\"a\":1,\"a\":2}"), "! rows:1:8: key \"a\" appears twice in one object"},
    {IN("{\"a\":\n1}\n"), "! rows:1:6: found the end of the text, wanted a value"},
    {IN("[{},{\"a\" 1}]"), "1=1:2 {}|! rows:1:10: found '1', wanted ':' after the key"},
    {IN("[{}\n,\n{\"a\":\n[1 2]}]"),
     "1=1:2 {}|! rows:4:4: found '2', wanted ',' or ']' after a value"},
    {IN("[{},"), "1=1:2 {}|! rows:1:5: wanted a value, found the end of the file"},
    {IN("[{}"), "1=1:2 {}|! rows:1:4: wanted ',' or ']' after an element, found the end of the "
                "file"},
    {IN("[{}}"), "1=1:2 {}|! rows:1:4: wanted ',' or ']' after an element, found byte 0x7d"},
    {IN("[{}] {}"), "1=1:2 {}|! rows:1:6: wanted nothing after the array, found byte 0x7b"},
    {IN("[,{}]"), "! rows:1:2: wanted a value, found byte 0x2c"},
    {IN("[{\"a\":\"x]"), "! rows:1:7: string is never closed"},
    {IN("\xef\xbb\xbf{}\n"), "1=1:1 {}|"},
    {IN("\xff\xfe{\0}\0"), "rows:1:1: this is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"},
    {IN("{\"a\":\"\xe9\"}"), "! rows:1:7: byte 0xe9 is not UTF-8"},
    {IN("{\"a\":\"\\ud800\"}"), "! rows:1:7: lone high surrogate in a string"},
    {IN("{\"a\":\"\0\"}"), "! rows:1:7: control character 0x00 in a string must be escaped"},
    {IN("\x1f\x8b\x08"), "rows: the compressed data ends too early: the file is not whole"},
    {IN("\x28\xb5\x2f\xfd"), "rows: the compressed data ends too early: the file is not whole"},
};

static void files_give_rows_or_places(void **state)
{
    (void)state;
    dw_buf got = {0};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        read_all(files[i].in, files[i].n, &got);
        assert_string_equal(got.ptr, files[i].want);
    }
    dw_buf_finish(&got);
}

/* Faults planted in a long file are found on their lines, all of them. */
static void planted_faults_are_found(void **state)
{
    (void)state;
    enum { N = 20000, EVERY = 97 };
    dw_buf b = {0};
    dw_rows *r;
    dw_err err = {{0}};
    dw_text row;
    uint32_t number;
    bool more;
    for (int i = 1; i <= N; i++)
        dw_buf_printf(&b, i % EVERY ? "{\"i\":%d}\n" : "{\"i\":%d,}\n", i);
    assert_int_equal(dw_rows_open(test_file("long", b.ptr, b.len), &r, &err), 0);
    uint32_t rows = 0, faults = 0;
    while (!dw_rows_next(r, &row, &number, &more, &err) && more) {
        dw_json *v;
        assert_int_equal(number, ++rows);
        if (dw_rows_parse(r, row, &v, &err)) {
            char place[32];
            snprintf(place, sizeof place, "long:%u:", rows);
            assert_int_equal(rows % EVERY, 0);
            assert_non_null(strstr(err.text, place));
            faults++;
        } else {
            assert_int_not_equal(rows % EVERY, 0);
            dw_json_free(v);
        }
    }
    assert_int_equal(rows, N);
    assert_int_equal(faults, N / EVERY);
    dw_rows_close(r);
    dw_buf_finish(&b);
}

/* Pages of files that this process holds. */
static size_t file_bytes_held(void)
{
    unsigned long size = 0, resident = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu %lu", &size, &resident, &shared), 3);
    fclose(f);
    return shared * (size_t)sysconf(_SC_PAGESIZE);
}

/* What a file holds is not held in memory, neither while it is hashed nor while rows are read. */
static void a_long_file_is_let_go(void **state)
{
    (void)state;
    enum { N = 40000, LEN = 1000, MOST = 12 << 20 };
    dw_buf b = {0};
    dw_err err = {{0}};
    char words[LEN + 1], hex[65], want[65];
    memset(words, 'w', LEN);
    words[LEN] = 0;
    for (int i = 0; i < N; i++)
        dw_buf_printf(&b, "{\"text\":\"%d %s\"}\n", i, words);
    dw_sha256_of(b.ptr, b.len, want);
    const char *path = test_file("mapped", b.ptr, b.len);
    dw_buf_finish(&b);

    const size_t before = file_bytes_held();
    dw_rows *r;
    assert_int_equal(dw_rows_open(path, &r, &err), 0);
    dw_sha256 *sha = dw_sha256_create();
    dw_rows_hash(r, sha);
    dw_sha256_hex(sha, hex);
    assert_string_equal(hex, want);
    assert_true(file_bytes_held() < before + MOST);

    dw_text row;
    uint32_t number, rows = 0;
    bool more = true;
    size_t most = 0;
    while (!dw_rows_next(r, &row, &number, &more, &err) && more) {
        char start[32];
        int n = snprintf(start, sizeof start, "{\"text\":\"%u w", rows++);
        assert_memory_equal(row.ptr, start, (size_t)n);
        size_t held = rows % 1000 ? 0 : file_bytes_held();
        most = held > most ? held : most;
    }
    assert_int_equal(rows, N);
    assert_true(most < before + MOST);
    dw_rows_close(r);
}

static void missing_file_is_named(void **state)
{
    (void)state;
    dw_err err = {{0}};
    dw_rows *r;
    assert_true(dw_rows_open("/nonexistent/x.jsonl", &r, &err) < 0);
    assert_null(r);
    assert_non_null(strstr(err.text, "/nonexistent/x.jsonl"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_give_rows_or_places),
        cmocka_unit_test(planted_faults_are_found),
        cmocka_unit_test(a_long_file_is_let_go),
        cmocka_unit_test(missing_file_is_named),
    };
    (void)test_tokenizer;
    return cmocka_run_group_tests(tests, test_root_make, test_root_remove);
}
