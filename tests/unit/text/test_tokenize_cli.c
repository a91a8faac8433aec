/* dowel tokenize as another program sees it: rows in, rows out, exit codes. */
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

#include "base/file.h"

static char root[] = "/tmp/dowel-test-XXXXXX";
static dw_arena arena;

static char *in_root(const char *name)
{
    return dw_path_join(&arena, root, name);
}

static void put(const char *name, const char *text)
{
    dw_err err;
    assert_int_equal(dw_file_write(in_root(name), text, strlen(text), &err), 0);
}

static int setup(void **state)
{
    (void)state;
    dw_err err;
    const char *tests = getenv("DOWEL_TESTS");
    if (!tests || !getenv("DOWEL_BIN") || !mkdtemp(root))
        return -1;
    if (dw_copy_file(dw_arena_printf(&arena, "%s/golden/text/llama3.json", tests),
                     in_root("tokenizer.json"), &err))
        return -1;
    put("tokenizer_config.json", "{\"bos_token\":\"<|im_start|>\",\"eos_token\":\"<|im_end|>\"}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dw_err err;
    int bad = dw_remove_tree(root, &err) < 0;
    dw_arena_finish(&arena);
    return bad;
}

/* Runs `dowel tokenize <root> <root>/in <options>`; stderr goes to <root>/err. */
static int run(const char *input, const char *options, dw_buf *out, dw_buf *errors)
{
    dw_err err;
    char chunk[4096];
    size_t n;
    put("in", input);
    FILE *p = popen(dw_arena_printf(&arena, "cd %s && %s tokenize . in %s 2>err", root,
                                    getenv("DOWEL_BIN"), options),
                    "r");
    assert_non_null(p);
    dw_buf_clear(out);
    dw_buf_clear(errors);
    while ((n = fread(chunk, 1, sizeof chunk, p)) > 0)
        dw_buf_add(out, chunk, n);
    int status = pclose(p);
    assert_true(WIFEXITED(status));
    assert_int_equal(dw_file_read(in_root("err"), 1 << 20, errors, &err), 0);
    dw_buf_add(out, "", 0);
    dw_buf_add(errors, "", 0);
    return WEXITSTATUS(status);
}

typedef struct row {
    const char *options, *in, *out, *err;
    int exit;
} row;

static const row rows[] = {
    {"", "{\"text\":\"ab\"}\n", "{\"text\":\"ab\",\"ids\":[1,67,68]}\n", "", 0},
    {"--no-special", "{\"text\":\"ab\"}", "{\"text\":\"ab\",\"ids\":[67,68]}\n", "", 0},
    /* Special tokens in a text are text. */
    {"--no-special --parse-special", "{\"text\":\"<|im_end|>a\"}\n",
     "{\"text\":\"<|im_end|>a\",\"ids\":[2,67]}\n", "", 0},
    {"--no-special", "{\"text\":\"<|\"}\n", "{\"text\":\"<|\",\"ids\":[30,94]}\n", "", 0},
    /* Other keys keep their bytes and their places; a key of the output is replaced in place. */
    {"--no-special",
     "{ \"n\" : 1.50, \"\\u0069d\" : [ 1,  2 ],\"ids\":null, \"text\" : \"\\u0061\",\"z\":{\"k\": "
     "1e5}}\r\n\n  \n{\"text\":\"\"}\n",
     "{\"n\":1.50,\"\\u0069d\":[ 1,  2 ],\"ids\":[67],\"text\":\"\\u0061\",\"z\":{\"k\": 1e5}}\n"
     "{\"text\":\"\",\"ids\":[]}\n",
     "", 0},
    {"--decode", "{\"ids\":[1,67,2],\"k\":\"\xc3\xa9\"}\n",
     "{\"ids\":[1,67,2],\"k\":\"\xc3\xa9\",\"text\":\"<|im_start|>a<|im_end|>\"}\n", "", 0},
    {"--decode --no-special", "{\"ids\":[1,67,2]}\n", "{\"ids\":[1,67,2],\"text\":\"a\"}\n", "", 0},
    {"", "", "", "", 0},
    /* An array of rows. */
    {"--no-special", "[{\"text\":\"a\"},\n {\"text\":\"b\"}]\n",
     "{\"text\":\"a\",\"ids\":[67]}\n{\"text\":\"b\",\"ids\":[68]}\n", "", 0},
    /* A bad row ends with 4 after the rows before it. */
    {"--no-special", "{\"text\":\"a\"}\n{\"txt\":1}\n{\"text\":\"b\"}\n",
     "{\"text\":\"a\",\"ids\":[67]}\n", "dowel: in:2: \"text\": wanted a string, found nothing\n",
     4},
    {"--no-special", "{\"text\":\"a\"}\n\n{\"text\":\"b\"} x\n", "{\"text\":\"a\",\"ids\":[67]}\n",
     "dowel: in:3:14: found 'x', wanted nothing after the value\n", 4},
    {"--no-special", "{\"text\":\"a\"}\n7\n", "{\"text\":\"a\",\"ids\":[67]}\n",
     "dowel: in:2:1: wanted an object, found a number\n", 4},
    {"--decode", "{\"ids\":[67,999999]}\n", "",
     "dowel: in:1: \"ids\"[1]: id 999999 is outside the vocabulary (0 .. 562)\n", 4},
    {"--decode", "{\"ids\":[67,1.5]}\n", "",
     "dowel: in:1: \"ids\"[1]: wanted an integer, found a fraction\n", 4},
    {"--no-special", "[{\"text\":\"a\"} {\"text\":\"b\"}]", "{\"text\":\"a\",\"ids\":[67]}\n",
     "dowel: in:1:15: wanted ',' or ']' after an element, found byte 0x7b\n", 4},
    {"--no-special", "[{\"text\":\"a\"},]", "{\"text\":\"a\",\"ids\":[67]}\n",
     "dowel: in:1:15: wanted a value, found byte 0x5d\n", 4},
    {"--no-special", "[{\"text\":\"a\"}", "{\"text\":\"a\",\"ids\":[67]}\n",
     "dowel: in:1:14: wanted ',' or ']' after an element, found the end of the file\n", 4},
    /* Skipping. */
    {"--no-special --on-bad-row skip", "{\"k\":1,\"txt\":2}\n{\"text\":\"a\"}\n[]\n",
     "{\"k\":1,\"txt\":2,\"error\":\"\\\"text\\\": wanted a string, found nothing\"}\n"
     "{\"text\":\"a\",\"ids\":[67]}\n"
     "{\"error\":\"in:3:1: wanted an object, found an array\"}\n",
     "", 0},
    /* Usage. */
    {"--on-bad-row never", "", "", "dowel: --on-bad-row: wanted error or skip, found 'never'\n", 2},
    {"--decod", "", "", "dowel: no option '--decod', did you mean '--decode'?\n", 2},
    {"--decode=1", "", "", "dowel: --decode takes no value\n", 2},
    {"--on-bad-row", "", "", "dowel: --on-bad-row needs a value (error|skip)\n", 2},
    {"x", "", "", "dowel: unexpected 'x' (usage: dowel tokenize MODEL FILE)\n", 2},
};

static void rows_come_out_as_stated(void **state)
{
    (void)state;
    dw_buf out = {0}, errors = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int code = run(rows[i].in, rows[i].options, &out, &errors);
        assert_string_equal(errors.ptr, rows[i].err);
        assert_string_equal(out.ptr, rows[i].out);
        assert_int_equal(code, rows[i].exit);
    }
    dw_buf_finish(&out);
    dw_buf_finish(&errors);
}

/* More rows than a batch holds, through a pipe, in order. */
static void order_is_kept_through_a_pipe(void **state)
{
    (void)state;
    dw_buf in = {0};
    char line[256];
    for (int i = 0; i < 1000; i++)
        dw_buf_printf(&in, "{\"i\":%d,\"text\":\"a\"}\n", i);
    put("many", in.ptr);
    FILE *p = popen(dw_arena_printf(&arena, "cd %s && cat many | %s tokenize . - --no-special",
                                    root, getenv("DOWEL_BIN")),
                    "r");
    assert_non_null(p);
    for (int i = 0; i < 1000; i++) {
        assert_non_null(fgets(line, sizeof line, p));
        assert_string_equal(line,
                            dw_arena_printf(&arena, "{\"i\":%d,\"text\":\"a\",\"ids\":[67]}\n", i));
    }
    assert_null(fgets(line, sizeof line, p));
    assert_int_equal(pclose(p), 0);
    dw_buf_finish(&in);
}

/* A program that sends a row and waits for its answer before it sends the next. */
static void answers_a_program_that_waits(void **state)
{
    (void)state;
    int to[2], from[2];
    char line[256];
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[0]);
        close(to[1]);
        close(from[0]);
        close(from[1]);
        execl(getenv("DOWEL_BIN"), "dowel", "tokenize", root, "-", (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    FILE *answers = fdopen(from[0], "r");
    alarm(20);
    for (int i = 0; i < 3; i++) {
        static const char ask[] = "{\"text\":\"a\"}\n";
        assert_int_equal(write(to[1], ask, sizeof ask - 1), (ssize_t)(sizeof ask - 1));
        assert_non_null(fgets(line, sizeof line, answers));
        assert_string_equal(line, "{\"text\":\"a\",\"ids\":[1,67]}\n");
    }
    alarm(0);
    close(to[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    fclose(answers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_out_as_stated),
        cmocka_unit_test(order_is_kept_through_a_pipe),
        cmocka_unit_test(answers_a_program_that_waits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
