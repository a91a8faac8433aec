/* Rows and columns that cannot be used: each with its exact message. */
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

static dw_status row_fn(void *ctx, const char *fn, dw_text row, dw_buf *out, bool *json,
                        dw_err *err)
{
    *json = false;
    (void)ctx;
    (void)row;
    if (!strcmp(fn, "latin1")) {
        dw_buf_adds(out, "\xe9");
        return DW_OK;
    }
    return dw_fail(err, DW_E_RECIPE, "recipe.lua:3: attempt to index a nil value");
}

typedef struct bad {
    dw_data_type type;
    const char *rows;
    dw_column column; /* of the text, or the prompt */
    const char *want;
    dw_status status;
} bad;

#define MESSAGES "[{\"role\":\"user\",\"content\":\"hi\"}]"
#define REFUSED                                                                                    \
    "the row holds messages, and the model has no chat template to write them with: name one in "  \
    "the recipe (template = \"chat.jinja\"), or build the text with a format string or a Lua "     \
    "function"

static const bad zoo[] = {
    {DW_TEXTS,
     "{\"text\":\"a\"}\n{\"text\":",
     {0},
     "rows:2:9: found the end of the text, wanted a value",
     DW_E_INPUT},
    {DW_TEXTS, "7", {0}, "rows:1:1: wanted an object, found a number", DW_E_INPUT},
    {DW_TEXTS,
     "\n{\"txt\":\"a\",\"n\":1}",
     {0},
     "rows:2:1: no field \"text\", did you mean \"txt\"? (the row has: txt, n)",
     DW_E_INPUT},
    {DW_TEXTS, "{}", {0}, "rows:1:1: no field \"text\" (the row has: nothing)", DW_E_INPUT},
    {DW_TEXTS,
     "{\"a\":1, \"text\":null}",
     {0},
     "rows:1:16: field \"text\": wanted text, found null",
     DW_E_INPUT},
    {DW_TEXTS,
     "{\"text\": {\"a\":1}}",
     {0},
     "rows:1:10: field \"text\": wanted text, found an object",
     DW_E_INPUT},
    {DW_TEXTS,
     "{\"text\":[1]}",
     {0},
     "rows:1:9: field \"text\": wanted text, found an array",
     DW_E_INPUT},
    {DW_TEXTS,
     "{\"a\":{\"b\":[1,[]]}}",
     {.field = "a.b.1"},
     "rows:1:14: field \"a.b.1\": wanted text, found an array",
     DW_E_INPUT},
    {DW_TEXTS,
     "{\"a\":{\"b\":1}}",
     {.field = "a.c"},
     "rows:1:1: no field \"a.c\" (the row has: a)",
     DW_E_INPUT},
    {DW_TEXTS,
     "{\"a\":1}",
     {.format = "{a} {b}"},
     "rows:1:1: no field \"b\", did you mean \"a\"? (the row has: a)",
     DW_E_INPUT},
    {DW_TEXTS,
     "[\n {\"text\":\"a\"},\n {\"text\":\n7.5e}\n]",
     {0},
     "rows:4:5: found '}', wanted a digit of the exponent",
     DW_E_INPUT},
    /* Conversations. */
    {DW_TEXTS, "{\"messages\":" MESSAGES "}", {0}, "rows:1:1: " REFUSED, DW_E_INPUT},
    {DW_TEXTS,
     "{\"conversations\":[{\"from\":\"human\",\"value\":\"x\"}]}",
     {0},
     "rows:1:1: " REFUSED,
     DW_E_INPUT},
    {DW_PROMPTS, "{\"prompt\":" MESSAGES "}", {0}, "rows:1:1: " REFUSED, DW_E_INPUT},
    {DW_PAIRS,
     "{\"chosen\":" MESSAGES ",\"rejected\":" MESSAGES "}",
     {0},
     "rows:1:1: " REFUSED,
     DW_E_INPUT},
    {DW_PAIRS,
     "{\"prompt\":\"x\",\"chosen\":{\"from\":\"gpt\",\"value\":\"x\"},\"rejected\":1}",
     {0},
     "rows:1:1: " REFUSED,
     DW_E_INPUT},
    /* Pairs and prompts. */
    {DW_PAIRS,
     "{\"chosen\":\"abc\",\"rejected\":\"xyz\"}",
     {0},
     "rows:1:1: chosen and rejected begin with no common prompt (name the prompt's field, or the "
     "marker it ends with)",
     DW_E_INPUT},
    {DW_PROMPTS,
     "{\"prompt\":\"\"}",
     {0},
     "rows:1:1: the prompt is empty and this tokenizer puts no token in front, so nothing predicts "
     "the first token",
     DW_E_INPUT},
    {DW_COMPLETIONS,
     "{\"prompt\":\"a\",\"output\":\"b\"}",
     {0},
     "rows:1:1: no field \"completion\" (the row has: prompt, output)",
     DW_E_INPUT},
    {DW_COMPLETIONS,
     "{\"prompt\":\"a\",\"completion\":\"\"}",
     {0},
     "rows: no row of completions is left (0 bad, 0 too long, 1 with an empty completion, 0 with "
     "equal halves)",
     DW_E_INPUT},
    {DW_TEXTS,
     "",
     {0},
     "rows: no row of texts is left (0 bad, 0 too long, 0 with an empty completion, 0 with equal "
     "halves)",
     DW_E_INPUT},
    /* Columns that are wrong whatever the row is. */
    {DW_TEXTS,
     "{}",
     {.format = "{a"},
     "text: format \"{a\": '{' at byte 1 is never closed (write '{{' for a brace)",
     DW_E_RECIPE},
    {DW_TEXTS,
     "{}",
     {.format = "a {b {c}}"},
     "text: format \"a {b {c}}\": '{' at byte 3 is never closed (write '{{' for a brace)",
     DW_E_RECIPE},
    {DW_TEXTS,
     "{}",
     {.format = "a } b"},
     "text: format \"a } b\": '}' at byte 3 closes nothing (write '}}' for a brace)",
     DW_E_RECIPE},
    {DW_TEXTS,
     "{}",
     {.format = "a {} b"},
     "text: format \"a {} b\": '{}' at byte 3 names no field",
     DW_E_RECIPE},
    {DW_TEXTS,
     "{}",
     {.lua = "f"},
     "rows:1:1: recipe.lua:3: attempt to index a nil value",
     DW_E_RECIPE},
    {DW_TEXTS, "{}", {.lua = "latin1"}, "rows:1:1: latin1: the result is not UTF-8", DW_E_INPUT},
};

static void every_row_has_its_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof zoo / sizeof *zoo; i++) {
        const char *file[1] = {test_file("rows", zoo[i].rows, strlen(zoo[i].rows))};
        dw_data_spec s = {.type = zoo[i].type, .file = file, .n_file = 1, .add_eos = true};
        dw_err err = {{0}};
        dw_dataset *d;
        if (s.type == DW_TEXTS)
            s.column[DW_COL_TEXT] = zoo[i].column;
        else
            s.column[DW_COL_PROMPT] = zoo[i].column;
        dw_status st = dw_dataset_load(&s, tok, 0, row_fn, NULL, &d, &err);
        const char *got = strstr(err.text, test_root) ? err.text + strlen(test_root) + 1 : err.text;
        assert_string_equal(got, zoo[i].want);
        assert_int_equal(st, zoo[i].status);
        assert_null(d);
    }
}

/* Conversations end the load even where bad rows are skipped: no row will do. */
static void conversations_are_not_skipped(void **state)
{
    (void)state;
    static const char rows[] = "{\"prompt\":" MESSAGES "}\n{\"prompt\":\"a\"}\n";
    const char *file[1] = {test_file("rows", rows, sizeof rows - 1)};
    dw_data_spec s = {.type = DW_PROMPTS, .file = file, .n_file = 1, .on_bad = DW_BAD_SKIP};
    dw_err err = {{0}};
    dw_dataset *d;
    assert_int_equal(dw_dataset_load(&s, tok, 0, NULL, NULL, &d, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text, REFUSED));
}

static void a_long_row_can_be_an_error(void **state)
{
    (void)state;
    static const char rows[] = "{\"prompt\":\"!b\"}\n{\"prompt\":\"!b!b\"}\n";
    const char *file[1] = {test_file("rows", rows, sizeof rows - 1)};
    dw_data_spec s = {.type = DW_PROMPTS,
                      .file = file,
                      .n_file = 1,
                      .max_tokens = 3,
                      .on_long = DW_LONG_ERROR,
                      .on_bad = DW_BAD_SKIP};
    dw_err err = {{0}};
    dw_dataset *d;
    assert_int_equal(dw_dataset_load(&s, tok, 0, NULL, NULL, &d, &err), DW_E_INPUT);
    assert_string_equal(err.text + strlen(test_root) + 1,
                        "rows:2:1: the row has 4 tokens, more than the 3 that fit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_its_message),
        cmocka_unit_test(conversations_are_not_skipped),
        cmocka_unit_test(a_long_row_can_be_an_error),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
