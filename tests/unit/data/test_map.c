/* Rows that a recipe's function made of the file's, and the hint to the type that a row has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "data/dataset.h"
#include "datafile.h"

static dw_tokenizer *gpt2;

static int setup(void **state)
{
    if (test_root_make(state))
        return -1;
    gpt2 = test_tokenizer("gpt2");
    return 0;
}

static int teardown(void **state)
{
    dw_tokenizer_free(gpt2);
    return test_root_remove(state);
}

/* Gives what the row has under "made". */
static dw_status unwrap(void *ctx, const char *fn, dw_text row, dw_buf *out, bool *json,
                        dw_err *err)
{
    dw_json *v;
    assert_string_equal(fn, "value:main.map");
    assert_int_equal(dw_json_parse(row.ptr, row.len, DW_JSON_DEPTH_ROW, 1, &v, err), DW_OK);
    ++*(int *)ctx;
    *json = true;
    dw_json_put(out, dw_json_get(v, "made"), false, 0);
    dw_json_free(v);
    return DW_OK;
}

static dw_status load(dw_data_type type, const char *rows, const char *map, int *calls,
                      dw_dataset **out, dw_err *err)
{
    const char *file[] = {test_file("rows", rows, strlen(rows))};
    dw_data_spec s = {.type = type, .file = file, .n_file = 1, .add_eos = true, .map = map};
    return dw_dataset_load(&s, gpt2, 0, unwrap, calls, out, err);
}

static void rows_are_mapped(void **state)
{
    static const char rows[] = "{\"made\":{\"prompt\":\"a\",\"completion\":\"b\",\"extra\":7}}\n"
                               "{\"made\":null}\n"
                               "{\"made\":{\"prompt\":\"c\",\"completion\":\"\"}}\n"
                               "{\"made\":{\"prompt\":\"c\",\"completion\":\"d\"}}\n";
    static const char plain[] =
        "{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"c\",\"completion\":\"d\"}\n";
    dw_err err = {{0}};
    dw_dataset *d, *want;
    int calls = 0;
    (void)state;
    assert_int_equal(load(DW_COMPLETIONS, rows, "value:main.map", &calls, &d, &err), DW_OK);
    assert_int_equal(load(DW_COMPLETIONS, plain, NULL, NULL, &want, &err), DW_OK);
    assert_int_equal(calls, 4);
    assert_int_equal(dw_dataset_len(d), 2);
    for (size_t i = 0; i < 2; i++) {
        const dw_row *a = dw_dataset_row(d, i), *b = dw_dataset_row(want, i);
        assert_int_equal(a->n_prompt, b->n_prompt);
        assert_int_equal(a->answer[0].n, b->answer[0].n);
        assert_memory_equal(a->prompt, b->prompt,
                            (b->n_prompt + b->answer[0].n) * sizeof *b->prompt);
    }
    /* the row that rewards see is the made one, and the line is the file's */
    const dw_row *first = dw_dataset_row(d, 0);
    assert_string_equal(first->meta.ptr, "{\"prompt\":\"a\",\"completion\":\"b\",\"extra\":7}");
    assert_int_equal(dw_dataset_row(d, 1)->line, 4);
    assert_int_equal(dw_dataset_counts(d)->left_out, 1);
    assert_int_equal(dw_dataset_counts(d)->empty_completion, 1);
    dw_dataset_free(d);
    dw_dataset_free(want);
}

/* type, rows, map?, message behind the file's name */
static const struct {
    dw_data_type type;
    const char *rows, *map, *message;
} bads[] = {
    {DW_COMPLETIONS, "{\"made\":{\"prompt\":\"a\",\"completion\":\"b\"}}\n{\"made\":[1]}\n",
     "value:main.map", ":2:1: map made an array of the row; wanted a row, or nil to leave it out"},
    {DW_COMPLETIONS, "\n{\"made\":{\"prompt\":\"a\"}}\n", "value:main.map",
     ":2:1: no field \"completion\" (the row has: prompt)"},
    {DW_COMPLETIONS, "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}\n", NULL,
     ":1:1: no field \"completion\" (the row has: prompt, chosen, rejected); this looks like pairs "
     "(prompt, chosen, rejected), not completions"},
    {DW_PAIRS, "{\"prompt\":\"a\",\"completion\":\"b\",\"label\":true}\n", NULL,
     ":1:1: no field \"chosen\" (the row has: prompt, completion, label); this looks like labels "
     "(prompt, completion, label), not pairs"},
    {DW_PAIRS, "{\"question\":\"a\",\"choosen\":\"b\",\"rejected\":\"c\"}\n", NULL,
     ":1:1: no field \"chosen\", did you mean \"choosen\"? (the row has: question, choosen, "
     "rejected)"},
};

static void messages_name_the_fault(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
        dw_err err = {{0}};
        dw_dataset *d;
        int calls = 0;
        assert_int_equal(load(bads[i].type, bads[i].rows, bads[i].map, &calls, &d, &err),
                         DW_E_INPUT);
        const char *at = strstr(err.text, "rows:");
        assert_non_null(at);
        assert_string_equal(at + strlen("rows"), bads[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_mapped),
        cmocka_unit_test(messages_name_the_fault),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
