/* Files that cannot be trained on, one a line in bad_files.tsv: a name, a type of data, the bytes
 * (\n \t \r \\ \xNN, and \{N:TEXT} for N times TEXT) and the exact message. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "datafile.h"

static dw_tokenizer *tok;

static int setup(void **state)
{
    if (test_root_make(state))
        return -1;
    tok = test_tokenizer("gpt2");
    return 0;
}

static int teardown(void **state)
{
    dw_tokenizer_free(tok);
    return test_root_remove(state);
}

static const char *escape(const char *p, dw_buf *out)
{
    char *end;
    if (*p == 'x') {
        const char hex[3] = {p[1], p[2], 0};
        dw_buf_addc(out, (char)strtol(hex, NULL, 16));
        return p + 3;
    }
    if (*p == '{') {
        const long n = strtol(p + 1, &end, 10);
        const char *close = strchr(end, '}');
        for (long i = 0; i < n; i++)
            dw_buf_add(out, end + 1, (size_t)(close - end - 1));
        return close + 1;
    }
    dw_buf_addc(out, *p == 'n' ? '\n' : *p == 't' ? '\t' : *p == 'r' ? '\r' : *p);
    return p + 1;
}

static void bytes_of(const char *p, size_t n, dw_buf *out)
{
    const char *end = p + n;
    dw_buf_clear(out);
    dw_buf_adds(out, "");
    while (p < end) {
        if (*p != '\\') {
            dw_buf_addc(out, *p++);
            continue;
        }
        p = escape(p + 1, out);
    }
}

static dw_data_type type_of(const char *name)
{
    for (int t = 0; t < DW_N_DATA_TYPE; t++)
        if (!strcmp(dw_data_type_name((dw_data_type)t), name))
            return (dw_data_type)t;
    fail_msg("no type %s", name);
    return DW_TEXTS;
}

/* What the load says, with the folder left out. */
static void message_of(const char *path, dw_data_type type, dw_buf *out)
{
    const char *file[1] = {path};
    dw_data_spec s = {.type = type, .file = file, .n_file = 1, .add_eos = type != DW_STEPS};
    dw_err err = {{0}};
    dw_dataset *d;
    dw_buf_clear(out);
    dw_buf_adds(out, "");
    if (!dw_dataset_load(&s, tok, 0, NULL, NULL, &d, &err)) {
        dw_buf_printf(out, "%zu rows", dw_dataset_len(d));
        dw_dataset_free(d);
        return;
    }
    const size_t n = strlen(test_root);
    for (const char *p = err.text; *p; p++)
        if (!strncmp(p, test_root, n) && p[n] == '/')
            p += n;
        else
            dw_buf_addc(out, *p);
}

static void every_file_has_its_message(void **state)
{
    (void)state;
    dw_buf text = {0}, bytes = {0}, got = {0};
    dw_err err;
    char *path = dw_arena_printf(&test_arena, "%s/unit/data/bad_files.tsv", getenv("DOWEL_TESTS"));
    size_t cases = 0, wrong = 0;
    assert_int_equal(dw_file_read(path, 1 << 20, &text, &err), 0);
    for (char *line = strtok(text.ptr, "\n"); line; line = strtok(NULL, "\n")) {
        char *cell[4] = {line};
        for (int i = 1; i < 4; i++) {
            cell[i] = strchr(cell[i - 1], '\t');
            assert_non_null(cell[i]);
            *cell[i]++ = 0;
        }
        bytes_of(cell[2], strlen(cell[2]), &bytes);
        message_of(test_file(cell[0], bytes.ptr, bytes.len), type_of(cell[1]), &got);
        cases++;
        if (strcmp(got.ptr, cell[3]) != 0) {
            print_error("%s\t%s\t%s\n wanted %s\n    got %s\n", cell[0], cell[1], cell[2], cell[3],
                        got.ptr);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
    assert_true(cases >= 150);
    dw_buf_finish(&text);
    dw_buf_finish(&bytes);
    dw_buf_finish(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_file_has_its_message)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
