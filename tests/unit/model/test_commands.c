/* dowel score and dowel generate as other programs see them: rows in, rows out, exit codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"

static char model[1024], in[64], errors[64];

static int setup(void **state)
{
    const char *tests = getenv("DOWEL_TESTS");
    (void)state;
    snprintf(model, sizeof model, "%s/golden/llama/tied", tests ? tests : ".");
    snprintf(in, sizeof in, "/tmp/dowel-rows-%d", (int)getpid());
    snprintf(errors, sizeof errors, "/tmp/dowel-errors-%d", (int)getpid());
    return getenv("DOWEL_BIN") ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    (void)remove(in);
    (void)remove(errors);
    return 0;
}

static void read_all(FILE *from, dw_buf *out)
{
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, from)) > 0)
        dw_buf_add(out, piece, n);
}

/* Runs "dowel COMMAND MODEL FILE ARGS" on these rows; the exit code. */
static int run(const char *command, const char *args, const char *rows, dw_buf *out, dw_buf *err)
{
    char line[4096];
    FILE *f = fopen(in, "w");
    assert_non_null(f);
    fputs(rows, f);
    assert_int_equal(fclose(f), 0);
    snprintf(line, sizeof line, "'%s' %s '%s' '%s' %s 2>'%s'", getenv("DOWEL_BIN"), command, model,
             in, args, errors);
    dw_buf_clear(out);
    dw_buf_clear(err);
    FILE *p = popen(line, "r");
    assert_non_null(p);
    read_all(p, out);
    const int status = pclose(p);
    f = fopen(errors, "r");
    assert_non_null(f);
    read_all(f, err);
    fclose(f);
    dw_buf_addc(out, '\0');
    dw_buf_addc(err, '\0');
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_score(void **state)
{
    dw_buf out = {0}, err = {0}, one = {0};
    (void)state;
    static const char *const rows[] = {"{\"note\":{\"b\": 1.50},\"ids\":[3,4,5,6],\"z\":null}\n",
                                       "{\"ids\":[5]}\n",
                                       "{\"ids\": [63,0,1,2,60,61,62,7,8,9,10,11]}\n"};
    char all[512];
    snprintf(all, sizeof all, "%s%s%s", rows[0], rows[1], rows[2]);
    assert_int_equal(run("score", "", all, &out, &err), 0);
    assert_non_null(strstr(out.ptr, "{\"note\":{\"b\": 1.50},\"ids\":[3,4,5,6],\"z\":null,"
                                    "\"logps\":[null,-"));
    assert_non_null(strstr(out.ptr, "\n{\"ids\":[5],\"logps\":[null]}\n"));
    char *at = out.ptr;
    for (int i = 0; i < 3; i++) { /* a row's output does not depend on its neighbours */
        assert_int_equal(run("score", "--threads 1", rows[i], &one, &err), 0);
        assert_int_equal(strncmp(at, one.ptr, strlen(one.ptr)), 0);
        at += strlen(one.ptr);
    }
    assert_string_equal(at, "");
    dw_buf_finish(&out);
    dw_buf_finish(&err);
    dw_buf_finish(&one);
}

static void test_bad_rows(void **state)
{
    dw_buf out = {0}, err = {0};
    (void)state;
    const char *rows = "{\"ids\":[3,4]}\n{\"ids\":[]}\n{\"ids\":[64]}\n{\"text\":\"a\"}\n"
                       "{\"x\":1}\n{\"ids\":[5]}\n";
    assert_int_equal(run("score", "", rows, &out, &err), 4);
    assert_int_equal(strncmp(out.ptr, "{\"ids\":[3,4],\"logps\":[null,-", 28), 0);
    assert_null(strchr(strchr(out.ptr, '\n') + 1, '\n'));
    assert_non_null(strstr(err.ptr, ":2: no tokens: the text or the list of ids is empty"));
    assert_int_equal(run("score", "--on-bad-row skip", rows, &out, &err), 0);
    assert_non_null(strstr(out.ptr, "\n{\"ids\":[],\"error\":\"no tokens: "));
    assert_non_null(strstr(out.ptr, "\n{\"ids\":[64],\"error\":\""));
    assert_non_null(strstr(out.ptr, "needs a tokenizer"));
    assert_non_null(strstr(out.ptr, "{\"x\":1,\"error\":\"none of \\\"ids\\\", \\\"text\\\", "
                                    "\\\"messages\\\", or \\\"prompt\\\" and \\\"completion\\\" is "
                                    "there\"}\n{\"ids\":[5],\"logps\":[null]}\n"));
    assert_int_equal(run("generate", "--on-bad-row skip", "{\"x\":1}\n", &out, &err), 0);
    assert_string_equal(out.ptr, "{\"x\":1,\"error\":\"none of \\\"ids\\\", \\\"text\\\" and "
                                 "\\\"messages\\\" is there\"}\n");
    char longer[1024] = "{\"ids\":[1";
    for (int i = 1; i < 128; i++)
        strcat(longer, ",1");
    strcat(longer, "]}\n");
    assert_int_equal(run("score", "", longer, &out, &err), 0);
    assert_int_equal(run("generate", "", longer, &out, &err), 4);
    assert_non_null(strstr(err.ptr, ":1: 128 tokens, the model has room for 127"));
    dw_buf_finish(&out);
    dw_buf_finish(&err);
}

/* What a row holds may be cut in the message that refuses it: the output stays JSON. */
static void test_messages(void **state)
{
    dw_buf out = {0}, err = {0};
    char key[200] = "", row[512];
    (void)state;
    for (int i = 0; i < 60; i++)
        strcat(key, "\xc3\xa9");
    snprintf(row, sizeof row, "{\"%s\":1,\"%s\":2}\n", key, key);
    assert_int_equal(run("score", "--on-bad-row skip", row, &out, &err), 0);
    assert_non_null(strstr(out.ptr, "appears twice in one object"));
    assert_true(dw_utf8_valid(out.ptr, strlen(out.ptr)));
    assert_int_equal(run("score", "", "{\"ids\":[1e300]}\n", &out, &err), 4);
    assert_non_null(
        strstr(err.ptr, ":1: \"ids\"[0]: wanted an integer, found a number beyond 2^53"));
    assert_int_equal(run("score", "", "{\"ids\":[1.5]}\n", &out, &err), 4);
    assert_non_null(strstr(err.ptr, ":1: \"ids\"[0]: wanted an integer, found a fraction"));
    dw_buf_finish(&out);
    dw_buf_finish(&err);
}

/* A message is one line, whatever stands in a name. */
static void test_one_line(void **state)
{
    char line[2048], got[256] = "";
    (void)state;
    snprintf(line, sizeof line, "'%s' score '/no\n\033[2Jmodel' - 2>&1 </dev/null",
             getenv("DOWEL_BIN"));
    FILE *p = popen(line, "r");
    assert_non_null(p);
    (void)!fread(got, 1, sizeof got - 1, p);
    assert_int_equal(WEXITSTATUS(pclose(p)), 4);
    assert_non_null(strstr(got, "dowel: /no\\n\\x1b[2Jmodel: no such folder"));
    assert_ptr_equal(strchr(got, '\n') + 1, got + strlen(got));
}

static int shell(const char *tail)
{
    char line[2048];
    snprintf(line, sizeof line, "'%s' %s", getenv("DOWEL_BIN"), tail);
    const int status = system(line);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A full disk is never mistaken for an empty answer. */
static void test_full_disk(void **state)
{
    (void)state;
    assert_int_equal(shell("--help >/dev/full 2>/dev/null"), 5);
    assert_int_equal(shell("--version >/dev/full 2>/dev/null"), 5);
    assert_int_equal(shell("score --help >/dev/full 2>/dev/null"), 5);
    assert_int_equal(shell("plugins --help >/dev/null"), 0);
}

static void test_generate(void **state)
{
    dw_buf out = {0}, err = {0}, other = {0};
    (void)state;
    const char *rows = "{\"k\":1,\"ids\":[3,4,5],\"l\":2}\n{\"ids\":[9,8]}\n";
    assert_int_equal(
        run("generate", "--samples 2 --max-new-tokens 7 --seed 5 --top-k 40", rows, &out, &err), 0);
    assert_int_equal(strncmp(out.ptr, "{\"k\":1,\"ids\":[", 14), 0);
    assert_non_null(strstr(out.ptr, "],\"l\":2,\"text\":null,\"logps\":[-"));
    assert_non_null(strstr(out.ptr, "],\"finish\":\"length\"}\n"));
    size_t lines = 0;
    for (const char *c = out.ptr; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 4);
    /* the second row alone, and with another seed */
    assert_int_equal(run("generate", "--samples 2 --max-new-tokens 7 --seed 5 --top-k 40",
                         strchr(rows, '\n') + 1, &other, &err),
                     0);
    const char *half = strchr(strchr(out.ptr, '\n') + 1, '\n') + 1;
    assert_string_equal(half, other.ptr);
    assert_int_equal(run("generate", "--samples 2 --max-new-tokens 7 --seed 6 --top-k 40",
                         strchr(rows, '\n') + 1, &other, &err),
                     0);
    assert_string_not_equal(half, other.ptr);
    assert_int_equal(run("generate", "--greedy --seed 1", rows, &out, &err), 0);
    assert_int_equal(run("generate", "--greedy --seed 2", rows, &other, &err), 0);
    assert_string_equal(out.ptr, other.ptr);
    dw_buf_finish(&out);
    dw_buf_finish(&err);
    dw_buf_finish(&other);
}

static void test_usage(void **state)
{
    dw_buf out = {0}, err = {0};
    (void)state;
    assert_int_equal(run("generate", "--top-p 2", "", &out, &err), 2);
    assert_int_equal(run("score", "--on-bad-row maybe", "", &out, &err), 2);
    assert_int_equal(run("generate", "--kernel cuda", "", &out, &err), 2);
    assert_int_equal(run("score", "", "", &out, &err), 0);
    assert_string_equal(out.ptr, "");
    char line[2048];
    snprintf(line, sizeof line, "'%s' generate '%s' </dev/null 2>/dev/null", getenv("DOWEL_BIN"),
             model);
    const int status = system(line);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    dw_buf_finish(&out);
    dw_buf_finish(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_score),     cmocka_unit_test(test_bad_rows),
        cmocka_unit_test(test_messages),  cmocka_unit_test(test_one_line),
        cmocka_unit_test(test_full_disk), cmocka_unit_test(test_generate),
        cmocka_unit_test(test_usage),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
