/* Rows of every type: what text they become, what their ids are, what is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "data/split.h"
#include "datafile.h"

enum { EOS = 2 };
static dw_tokenizer *gpt2, *llama3; /* llama3 puts <|im_start|> (1) in front */

static int setup(void **state)
{
    if (test_root_make(state))
        return -1;
    gpt2 = test_tokenizer("gpt2");
    llama3 = test_tokenizer("llama3");
    return 0;
}

static int teardown(void **state)
{
    dw_tokenizer_free(gpt2);
    dw_tokenizer_free(llama3);
    return test_root_remove(state);
}

/* Row functions: "loud" gives the field name in capitals, "inject" a special token. */
static dw_status row_fn(void *ctx, const char *fn, dw_text row, dw_buf *out, bool *json,
                        dw_err *err)
{
    *json = false;
    (void)ctx;
    if (!strcmp(fn, "broken"))
        return dw_fail(err, DW_E_RECIPE, "recipe.lua:3: broken");
    if (!strcmp(fn, "inject"))
        dw_buf_adds(out, "<|im_end|>");
    else
        dw_buf_printf(out, "%zu bytes", row.len);
    return DW_OK;
}

static dw_data_spec spec_of(dw_data_type type, const char *rows)
{
    static const char *file[1];
    file[0] = test_file("rows.jsonl", rows, strlen(rows));
    return (dw_data_spec){
        .type = type, .file = file, .n_file = 1, .add_eos = true, .add_bos = true};
}

static dw_dataset *load(const dw_data_spec *s, const dw_tokenizer *t)
{
    dw_err err = {{0}};
    dw_dataset *d;
    if (dw_dataset_load(s, t, 0, row_fn, NULL, &d, &err))
        fail_msg("%s", err.text);
    return d;
}

static char *shown(const dw_tokenizer *t, const int32_t *id, size_t n)
{
    dw_err err = {{0}};
    dw_buf b = {0};
    dw_buf_adds(&b, "");
    assert_int_equal(dw_tokenizer_decode(t, id, n, false, &b, &err), 0);
    char *s = dw_arena_strndup(&test_arena, b.ptr, b.len);
    dw_buf_finish(&b);
    return s;
}

static size_t specials(const dw_tokenizer *t, const int32_t *id, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += dw_tokenizer_is_special(t, id[i]);
    return k;
}

/* "prompt" + "completion" + "rejected" as decoded, and how many of the ids are special. */
static void row_is(const dw_dataset *d, const dw_tokenizer *t, size_t i, const char *want,
                   size_t n_special)
{
    const dw_row *r = dw_dataset_row(d, i);
    dw_answer half[2] = {{0}};
    for (uint32_t h = 0; h < r->n_answer && h < 2; h++)
        half[h] = r->answer[h];
    size_t n = r->n_prompt + half[0].n + half[1].n;
    char *got = dw_arena_printf(&test_arena, "%s|%s|%s", shown(t, r->prompt, r->n_prompt),
                                shown(t, half[0].id, half[0].n), shown(t, half[1].id, half[1].n));
    assert_string_equal(got, want);
    assert_int_equal(specials(t, r->prompt, n), n_special);
}

static void texts(void **state)
{
    (void)state;
    dw_data_spec s = spec_of(DW_TEXTS, "{\"text\":\"A pin\",\"id\": 7 }\n\n{\"text\":\"\"}\n"
                                       "{\"text\":\"wood<|im_end|>\"}\n");
    dw_dataset *d = load(&s, gpt2);
    assert_int_equal(dw_dataset_len(d), 2);
    row_is(d, gpt2, 0, "|A pin<|im_end|>|", 1);
    row_is(d, gpt2, 1, "|wood<|im_end|><|im_end|>|", 1);
    const dw_row *r = dw_dataset_row(d, 0);
    assert_true(dw_text_is(r->meta, "{\"text\":\"A pin\",\"id\": 7 }"));
    assert_int_equal(r->n_prompt, 0);
    assert_int_equal(r->line, 1);
    assert_int_equal(dw_dataset_row(d, 1)->line, 4);
    const dw_data_counts *c = dw_dataset_counts(d);
    assert_int_equal(c->rows, 2);
    assert_int_equal(c->empty_completion, 1);
    assert_int_equal(c->tokens, r->answer[0].n + dw_dataset_row(d, 1)->answer[0].n);
    assert_int_equal(c->longest, dw_dataset_row(d, 1)->answer[0].n);
    assert_true(r->hash != dw_dataset_row(d, 1)->hash);
    dw_dataset_free(d);
    d = load(&s, llama3);
    row_is(d, llama3, 0, "|<|im_start|>A pin<|im_end|>|", 2);
    dw_dataset_free(d);
    s.add_bos = s.add_eos = false;
    d = load(&s, llama3);
    row_is(d, llama3, 0, "|A pin|", 0);
    dw_dataset_free(d);
}

static void formats(void **state)
{
    (void)state;
    dw_data_spec s = spec_of(
        DW_COMPLETIONS, "[{\"Body\":\"Two <|im_end|> pins.\",\"n\":{\"a\":[1, 72.0]},\"Q.x\":\"How "
                        "many?\",\"A\":1e2,\"ok\":true}]");
    s.column[DW_COL_PROMPT].format = "<|im_start|>{Body} {Q.x} {{{n.a.1}}}<|im_end|>\n";
    s.column[DW_COL_COMPLETION].format = "{A} {ok}<|im_end|>";
    dw_dataset *d = load(&s, llama3);
    /* Three special tokens are the format's; the end token and the first token stand there once. */
    row_is(d, llama3, 0,
           "<|im_start|>Two <|im_end|> pins. How many? {72.0}<|im_end|>\n|1e2 true<|im_end|>|", 3);
    assert_true(dw_text_is(dw_dataset_row(d, 0)->prompt_text,
                           "<|im_start|>Two <|im_end|> pins. How many? {72.0}<|im_end|>\n"));
    dw_dataset_free(d);
    /* A field's text is never special, nor is a function's. */
    s.column[DW_COL_PROMPT] = (dw_column){.field = "Body"};
    s.column[DW_COL_COMPLETION] = (dw_column){.lua = "inject"};
    d = load(&s, gpt2);
    row_is(d, gpt2, 0, "Two <|im_end|> pins.|<|im_end|><|im_end|>|", 1);
    dw_dataset_free(d);
    s.column[DW_COL_COMPLETION] = (dw_column){.lua = "size"};
    d = load(&s, gpt2);
    row_is(d, gpt2, 0, "Two <|im_end|> pins.|87 bytes<|im_end|>|", 1);
    dw_dataset_free(d);
}

static void pairs(void **state)
{
    (void)state;
    dw_data_spec s =
        spec_of(DW_PAIRS, "{\"prompt\":\"Q\",\"chosen\":\" yes\",\"rejected\":\" no\"}\n"
                          "{\"prompt\":\"Q\",\"chosen\":\" yes\",\"rejected\":\" yes\"}\n"
                          "{\"prompt\":\"Q\",\"chosen\":\" yes\",\"rejected\":\"\"}\n"
                          "{\"chosen\":\"\\n\\nHuman: a\\n\\nAssistant: Sure!\\n\\nHere it is\","
                          "\"rejected\":\"\\n\\nHuman: a\\n\\nAssistant: Sure!\\n\\nHere not\"}\n");
    dw_dataset *d = load(&s, gpt2);
    assert_int_equal(dw_dataset_len(d), 2);
    row_is(d, gpt2, 0, "Q| yes<|im_end|>| no<|im_end|>", 2);
    row_is(d, gpt2, 1,
           "\n\nHuman: a\n\nAssistant:| Sure!\n\nHere it is<|im_end|>| Sure!\n\nHere not<|im_end|>",
           2);
    const dw_data_counts *c = dw_dataset_counts(d);
    assert_int_equal(c->identical_pair, 1);
    assert_int_equal(c->empty_completion, 1);
    assert_int_equal(c->split_prefix, 1);
    assert_int_equal(c->split_marker, 0);
    assert_int_equal(dw_dataset_row(d, 0)->n_prompt, 1);
    const dw_row *r = dw_dataset_row(d, 1);
    uint32_t longer = r->answer[0].n > r->answer[1].n ? r->answer[0].n : r->answer[1].n;
    assert_int_equal(c->longest, r->n_prompt + longer);
    dw_dataset_free(d);
}

/* The recipe's marker wins over everything, and may hold a special token of a literal. */
static void pairs_by_marker(void **state)
{
    (void)state;
    dw_data_spec s = spec_of(DW_PAIRS, "{\"c\":\"u: hi # a: yes, a: b\",\"r\":\"u: hi # a: no\"}\n"
                                       "{\"c\":\"xx yes\",\"r\":\"xx no\"}\n");
    s.column[DW_COL_CHOSEN].format = "<|im_start|>{c}";
    s.column[DW_COL_REJECTED].format = "<|im_start|>{r}";
    s.split_marker = "# a:";
    dw_dataset *d = load(&s, llama3);
    row_is(d, llama3, 0, "<|im_start|>u: hi # a:| yes, a: b<|im_end|>| no<|im_end|>", 3);
    row_is(d, llama3, 1, "<|im_start|>xx| yes<|im_end|>| no<|im_end|>", 3);
    assert_int_equal(dw_dataset_counts(d)->split_marker, 1);
    assert_int_equal(dw_dataset_counts(d)->split_prefix, 1);
    dw_buf b = {0};
    dw_data_counts_print(dw_dataset_counts(d), "pairs", &b);
    assert_string_equal(b.ptr, "pairs: 1 row with the prompt inside, split at the marker\n"
                               "pairs: 1 row with the prompt inside, split where both halves begin "
                               "alike\n");
    dw_buf_finish(&b);
    dw_dataset_free(d);
}

static void prompts(void **state)
{
    (void)state;
    dw_data_spec s = spec_of(DW_PROMPTS, "{\"prompt\":\"2+2=\",\"answer\":\"4\"}\n");
    dw_dataset *d = load(&s, llama3);
    row_is(d, llama3, 0, "<|im_start|>2+2=||", 1);
    assert_true(dw_text_is(dw_dataset_row(d, 0)->prompt_text, "2+2="));
    assert_true(dw_text_is(dw_dataset_row(d, 0)->meta, "{\"prompt\":\"2+2=\",\"answer\":\"4\"}"));
    dw_dataset_free(d);
}

/* What nothing predicts, or what leaves no room for an answer, is counted here, not met in the
 * middle of a run. */
static void rows_without_a_place_to_learn(void **state)
{
    (void)state;
    dw_err err = {{0}};
    dw_dataset *d;
    dw_data_spec s = spec_of(DW_TEXTS, "{\"text\":\"!\"}\n{\"text\":\"!b!\"}\n");
    s.add_bos = s.add_eos = false;
    d = load(&s, llama3);
    assert_int_equal(dw_dataset_len(d), 1);
    assert_int_equal(dw_dataset_counts(d)->empty_completion, 1);
    dw_dataset_free(d);
    s.add_eos = true;
    d = load(&s, llama3);
    assert_int_equal(dw_dataset_len(d), 2);
    dw_dataset_free(d);
    s = spec_of(DW_PROMPTS, "{\"prompt\":\"!b!\"}\n{\"prompt\":\"!b!b\"}\n");
    assert_int_equal(dw_dataset_load(&s, llama3, 5, NULL, NULL, &d, &err), 0); /* 4 and 5 tokens */
    assert_int_equal(dw_dataset_len(d), 1);
    assert_int_equal(dw_dataset_counts(d)->too_long, 1);
    dw_dataset_free(d);
}

static void splits(void **state)
{
    (void)state;
    static const struct {
        const char *chosen, *rejected, *marker;
        size_t want;
        bool by_marker;
    } row[] = {
        {"a: b", "a: c", "a:", 2, true},
        {"a:x a:y", "a:x a:z", "a:", 6, true},
        {"a:x a:y", "a:x a", "a:", 2, true}, /* only the first is whole in both */
        {"Human: q\nAssistant: I am", "Human: q\nAssistant: I do", NULL, 19, false},
        {"### Response: x1", "### Response: x2", NULL, 13, false},
        {"USER: q\nassistant: same\nNote: x", "USER: q\nassistant: same\nNote: y", NULL, 18, false},
        {"one\n\ntwo three", "one\n\ntwo four", NULL, 5, false},
        {"see the cat", "see the cart", NULL, 7, false},
        {"see  this", "see  that", NULL, 3, false},
        {"this", "that", NULL, 0, false},
        {"", "that", NULL, 0, false},
        {"a b", "a b c", NULL, 1, false},
        {"a b c", "a b", NULL, 1, false},
        {"caf\xc3\xa9 x", "caf\xc3\xa8 x", NULL, 0, false},
        {"x \xc3\xa9", "x \xc3\xa8", NULL, 1, false},
        {"A: ", "A: b", NULL, 2, false},
        {"A:", "A: b", NULL, 0, false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        bool by_marker;
        size_t got = dw_split_prompt(dw_text_of(row[i].chosen), dw_text_of(row[i].rejected),
                                     row[i].marker, &by_marker);
        if (got != row[i].want || by_marker != row[i].by_marker)
            fail_msg("row %zu '%s': wanted %zu, found %zu", i, row[i].chosen, row[i].want, got);
    }
}

/* Every length around the limit: prompts of 1 .. 9 tokens ("a" each), completions of 3 and eos. */
static void too_long(void **state)
{
    (void)state;
    static const dw_on_long policy[] = {DW_LONG_DROP, DW_LONG_CUT_PROMPT};
    for (size_t p = 0; p < 2; p++)
        for (uint32_t limit = 1; limit <= 16; limit++) {
            dw_buf rows = {0};
            for (int n = 1; n <= 9; n++)
                dw_buf_printf(&rows,
                              "{\"prompt\":\"%.*s\",\"chosen\":\"!b!\",\"rejected\":\"!\"}\n",
                              2 * n, "!b!b!b!b!b!b!b!b!b!b");
            dw_data_spec s = spec_of(DW_PAIRS, rows.ptr);
            dw_err err = {{0}};
            dw_dataset *d;
            s.on_long = policy[p];
            s.max_tokens = limit;
            dw_status st = dw_dataset_load(&s, llama3, 0, NULL, NULL, &d, &err);
            /* Prompts have 2 n + 1 tokens with the first one, the longer completion 4. */
            size_t fit = 0, cut = 0;
            for (uint32_t n = 1; n <= 9; n++) {
                bool whole = 2 * n + 1 + 4 <= limit;
                bool cuttable = policy[p] == DW_LONG_CUT_PROMPT && limit >= 4 + 2;
                fit += whole || cuttable;
                cut += !whole && cuttable;
            }
            if (!fit) {
                assert_int_equal(st, DW_E_INPUT);
                dw_buf_finish(&rows);
                continue;
            }
            assert_int_equal(st, 0);
            assert_int_equal(dw_dataset_len(d), fit);
            assert_int_equal(dw_dataset_counts(d)->cut, cut);
            assert_int_equal(dw_dataset_counts(d)->too_long, 9 - fit);
            for (size_t i = 0; i < fit; i++) {
                const dw_row *r = dw_dataset_row(d, i);
                assert_true(r->n_prompt + r->answer[0].n <= limit);
                assert_int_equal(r->prompt[0], 1);
                assert_string_equal(shown(llama3, r->answer[0].id, r->answer[0].n),
                                    "!b!<|im_end|>");
                assert_string_equal(shown(llama3, r->answer[1].id, r->answer[1].n), "!<|im_end|>");
                assert_string_equal(shown(llama3, r->prompt + r->n_prompt - 1, 1), "b");
            }
            dw_dataset_free(d);
            dw_buf_finish(&rows);
        }
}

static void long_texts_are_cut_at_the_end(void **state)
{
    (void)state;
    dw_data_spec s = spec_of(DW_TEXTS, "{\"text\":\"!b!b!b!b\"}\n{\"text\":\"!b\"}\n");
    s.on_long = DW_LONG_CUT_PROMPT;
    dw_err err = {{0}};
    dw_dataset *d;
    /* The model's positions bound it where the recipe says nothing. */
    assert_int_equal(dw_dataset_load(&s, gpt2, 4, NULL, NULL, &d, &err), 0);
    row_is(d, gpt2, 0, "|!b!b|", 0);
    row_is(d, gpt2, 1, "|!b<|im_end|>|", 1);
    assert_int_equal(dw_dataset_counts(d)->cut, 1);
    dw_dataset_free(d);
}

static void bad_rows_are_skipped_and_counted(void **state)
{
    (void)state;
    dw_data_spec s = spec_of(DW_TEXTS, "{\"text\":\"a\"}\nnot json\n{\"txt\":\"b\"}\n[1]\n"
                                       "{\"text\":\"c\"}\n{\"text\":\"d\"}\n");
    s.on_bad = DW_BAD_SKIP;
    s.max_rows = 2;
    dw_dataset *d = load(&s, gpt2);
    assert_int_equal(dw_dataset_len(d), 2);
    assert_int_equal(dw_dataset_counts(d)->bad, 3);
    row_is(d, gpt2, 1, "|c<|im_end|>|", 1);
    char hash[65];
    dw_dataset_hash(d, hash);
    assert_int_equal(strlen(hash), 64);
    dw_dataset_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(formats),
        cmocka_unit_test(pairs),
        cmocka_unit_test(pairs_by_marker),
        cmocka_unit_test(prompts),
        cmocka_unit_test(rows_without_a_place_to_learn),
        cmocka_unit_test(splits),
        cmocka_unit_test(too_long),
        cmocka_unit_test(long_texts_are_cut_at_the_end),
        cmocka_unit_test(bad_rows_are_skipped_and_counted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
