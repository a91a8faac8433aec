/* Labels, steps, lists and what pairs may bring along: ids, marks, numbers, and bad rows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "datafile.h"

enum { EOS = 2 };
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

/* The function's name is its result. */
static dw_status row_fn(void *ctx, const char *fn, dw_text row, dw_buf *out, bool *json,
                        dw_err *err)
{
    (void)ctx;
    (void)row;
    (void)err;
    *json = false;
    dw_buf_adds(out, fn);
    return DW_OK;
}

static dw_data_spec spec_of(dw_data_type type, const char *rows)
{
    static const char *file[1];
    file[0] = test_file("rows", rows, strlen(rows));
    return (dw_data_spec){
        .type = type, .file = file, .n_file = 1, .add_eos = type != DW_STEPS, .add_bos = true};
}

static dw_dataset *load(const dw_data_spec *s)
{
    dw_err err = {{0}};
    dw_dataset *d;
    if (dw_dataset_load(s, gpt2, 0, row_fn, NULL, &d, &err))
        fail_msg("%s", err.text);
    return d;
}

static const char *shown(const int32_t *id, size_t n)
{
    dw_buf b = {0};
    dw_err err = {{0}};
    dw_buf_adds(&b, "");
    assert_int_equal(dw_tokenizer_decode(gpt2, id, n, true, &b, &err), 0);
    const char *s = dw_arena_strndup(&test_arena, b.ptr, b.len);
    dw_buf_finish(&b);
    return s;
}

static void labels_in_every_form(void **state)
{
    (void)state;
    static const double want[] = {1, -1, 1, -1, -1};
    dw_data_spec s = spec_of(
        DW_LABELS, "{\"prompt\":\"Q\",\"completion\":\" "
                   "yes\",\"label\":true}\n{\"prompt\":\"Q\",\"completion\":\" "
                   "no\",\"label\":false}\n{\"prompt\":\"Q\",\"completion\":\" "
                   "yes\",\"label\":1,\"weight\":2.5}\n{\"prompt\":\"Q\",\"completion\":\" "
                   "no\",\"label\":0}\n{\"prompt\":\"Q\",\"completion\":\" no\",\"label\":-1}\n");
    dw_dataset *d = load(&s);
    assert_int_equal(dw_dataset_len(d), 5);
    for (size_t i = 0; i < 5; i++) {
        const dw_row *r = dw_dataset_row(d, i);
        assert_true(r->label == want[i]);
        assert_true(r->weight == (i == 2 ? 2.5 : 1));
        assert_int_equal(r->n_answer, 1);
        assert_int_equal(r->answer[0].id[r->answer[0].n - 1], EOS);
        assert_string_equal(shown(r->answer[0].id, r->answer[0].n), want[i] > 0 ? " yes" : " no");
        assert_true(isnan(r->answer[0].rank));
    }
    assert_int_equal(dw_dataset_counts(d)->weights, 1);
    dw_dataset_free(d);
    s = spec_of(DW_LABELS, "{\"q\":\"Q\",\"a\":{\"t\":\" yes\"},\"good\":false}\n");
    s.column[DW_COL_PROMPT].field = "q";
    s.column[DW_COL_COMPLETION].format = "{a.t}!";
    s.column[DW_COL_LABEL].lua = "true";
    s.column[DW_COL_WEIGHT].format = "0.5";
    d = load(&s);
    const dw_row *r = dw_dataset_row(d, 0);
    assert_string_equal(shown(r->answer[0].id, r->answer[0].n), " yes!");
    assert_true(r->label == 1 && r->weight == 0.5);
    dw_dataset_free(d);
}

/* The mark of a step is the last token of its separator, whatever the separator is made of. */
static void steps_are(const char *separator, bool eos, const char *name)
{
    dw_buf rows = {0};
    dw_buf_printf(&rows,
                  "{\"prompt\":\"1+1+1\",\"%s\":[\"1+1=2\",\"2\\n\\n+1\",\"=3\"],\"labels\":[true,"
                  "0.25,null]}\n",
                  name);
    dw_data_spec s = spec_of(DW_STEPS, rows.ptr);
    static const char *const step[] = {"1+1=2", "2\n\n+1", "=3"};
    s.separator = separator;
    s.add_eos = eos;
    dw_dataset *d = load(&s);
    const dw_row *r = dw_dataset_row(d, 0);
    const dw_answer *x = &r->answer[0];
    const char *sep = separator ? separator : "\n";
    dw_ids ids = {0};
    dw_err err = {{0}};
    assert_int_equal(
        dw_tokenizer_encode(gpt2, (dw_text){sep, strlen(sep)}, DW_TOK_PARSE_SPECIAL, &ids, &err),
        0);
    assert_int_equal(r->n_step, 3);
    size_t from = 0;
    for (size_t k = 0; k < 3; k++) {
        size_t end = r->step_end[k] + 1, body = end - ids.n;
        assert_string_equal(shown(x->id + from, body - from), step[k]);
        assert_memory_equal(x->id + body, ids.id, ids.n * sizeof *ids.id);
        from = end;
    }
    assert_int_equal(x->n, from + eos);
    assert_true(!eos || x->id[x->n - 1] == EOS);
    assert_true(r->step_label[0] == 1 && r->step_label[1] == 0.25 && isnan(r->step_label[2]));
    dw_ids_finish(&ids);
    dw_buf_finish(&rows);
    dw_dataset_free(d);
}

static void steps_are_marked(void **state)
{
    (void)state;
    steps_are(NULL, false, "steps");
    steps_are(NULL, false, "completions"); /* TRL's name */
    steps_are("\n\n", false, "steps");
    steps_are(" Step ends here.\n", true, "steps");
    steps_are("<|im_end|>", false, "steps"); /* the recipe's own text may be a special token */
    steps_are("", false, "steps");           /* then the mark is the step's own last token */
    dw_data_spec s =
        spec_of(DW_STEPS, "{\"prompt\":\"p\",\"steps\":[\"<|im_end|>\"],\"labels\":[0]}\n");
    dw_dataset *d = load(&s);
    const dw_row *r = dw_dataset_row(d, 0);
    for (uint32_t t = 0; t < r->answer[0].n; t++) /* what a row says never is one */
        assert_false(dw_tokenizer_is_special(gpt2, r->answer[0].id[t]));
    dw_dataset_free(d);
}

/* Cutting the prompt moves no mark. */
static void cut_steps_keep_their_marks(void **state)
{
    (void)state;
    dw_data_spec s = spec_of(
        DW_STEPS, "{\"prompt\":\"!b!b!b!b!b!b\",\"steps\":[\"!b\",\"b!\"],\"labels\":[1,0]}\n");
    dw_dataset *d = load(&s);
    const dw_row whole = *dw_dataset_row(d, 0);
    s.max_tokens = whole.answer[0].n + 2;
    s.on_long = DW_LONG_CUT_PROMPT;
    dw_dataset *cut = load(&s);
    const dw_row *r = dw_dataset_row(cut, 0);
    assert_int_equal(r->n_prompt, 2);
    assert_int_equal(r->answer[0].n, whole.answer[0].n);
    assert_memory_equal(r->answer[0].id, whole.answer[0].id, whole.answer[0].n * sizeof(int32_t));
    assert_memory_equal(r->step_end, whole.step_end, 2 * sizeof(uint32_t));
    assert_int_equal(dw_dataset_counts(cut)->cut, 1);
    dw_dataset_free(cut);
    dw_dataset_free(d);
}

static void lists_are_ranked(void **state)
{
    (void)state;
    dw_data_spec s =
        spec_of(DW_LISTS, "{\"prompt\":\"Q\",\"completions\":[\" a\",\" b\",\" "
                          "c\"],\"ranks\":[2,0,2]}\n{\"prompt\":\"Q\",\"completions\":[\" a\",\" "
                          "b\"],\"scores\":[0.5,7]}\n{\"prompt\":\"Q\",\"completions\":[\" a\",\" "
                          "b\"],\"scores\":[3,3]}\n{\"prompt\":\"Q\",\"completions\":[\" "
                          "a\",\"\"],\"scores\":[3,4]}\n");
    dw_dataset *d = load(&s);
    static const double want[2][3] = {{2, 1, 2}, {2, 1, 0}};
    static const char *const text[] = {" a", " b", " c"};
    assert_int_equal(dw_dataset_len(d), 2);
    for (size_t i = 0; i < 2; i++) {
        const dw_row *r = dw_dataset_row(d, i);
        assert_int_equal(r->n_answer, 3 - i);
        for (uint32_t k = 0; k < r->n_answer; k++) {
            assert_true(r->answer[k].rank == want[i][k]);
            assert_string_equal(shown(r->answer[k].id, r->answer[k].n), text[k]);
        }
    }
    assert_int_equal(dw_dataset_counts(d)->tied_list, 1);
    assert_int_equal(dw_dataset_counts(d)->empty_completion, 1);
    dw_dataset_free(d);
}

static void pairs_bring_more(void **state)
{
    (void)state;
    dw_data_spec s =
        spec_of(DW_PAIRS,
                "{\"prompt\":\"Q\",\"chosen\":\" a\",\"rejected\":\" b\",\"gold\":\" "
                "c\",\"margin\":0.5,\"target\":0.9,\"weight\":0,\"stars\":{\"n\":4}}\n{\"prompt\":"
                "\"Q\",\"chosen\":\" a\",\"rejected\":\" b\",\"gold\":null,\"margin\":null}\n");
    static const char *const field[] = {"stars.n", "margin"};
    s.field = field;
    s.n_field = 2;
    dw_dataset *d = load(&s);
    const dw_row *r = dw_dataset_row(d, 0), *bare = dw_dataset_row(d, 1);
    assert_int_equal(r->n_answer, 3);
    assert_string_equal(shown(r->answer[2].id, r->answer[2].n), " c");
    assert_true(r->margin == 0.5 && r->target == 0.9 && r->weight == 0);
    assert_true(r->field[0] == 4 && r->field[1] == 0.5);
    assert_int_equal(bare->n_answer, 2);
    assert_true(bare->margin == 0 && bare->target == 1 && bare->weight == 1);
    assert_true(isnan(bare->field[0]) && isnan(bare->field[1]));
    assert_true(r->hash != bare->hash);
    dw_buf said = {0};
    dw_data_counts_print(dw_dataset_counts(d), "data", &said);
    assert_string_equal(said.ptr,
                        "data: 1 row with a weight of their own\ndata: 1 row with a target\ndata: "
                        "1 row with a margin\ndata: 1 row with a gold answer\n");
    dw_buf_finish(&said);
    dw_dataset_free(d);
}

static void teachers_read_their_own_prompt(void **state)
{
    (void)state;
    dw_data_spec s = spec_of(DW_COMPLETIONS,
                             "{\"prompt\":\"Q\",\"completion\":\" a\",\"teacher_prompt\":\"Hint. "
                             "Q\"}\n{\"prompt\":\"Q\",\"completion\":\" a\"}\n");
    dw_dataset *d = load(&s);
    const dw_row *r = dw_dataset_row(d, 0);
    assert_string_equal(shown(r->teacher_prompt, r->n_teacher_prompt), "Hint. Q");
    assert_string_equal(shown(r->prompt, r->n_prompt), "Q");
    assert_null(dw_dataset_row(d, 1)->teacher_prompt);
    assert_true(r->hash != dw_dataset_row(d, 1)->hash);
    /* It has to fit beside the answer, too. */
    s.max_tokens = r->n_prompt + r->answer[0].n;
    dw_dataset *less = load(&s);
    assert_int_equal(dw_dataset_len(less), 1);
    assert_int_equal(dw_dataset_counts(less)->too_long, 1);
    dw_dataset_free(less);
    dw_dataset_free(d);
}

/* The files of the examples under the tokenizer that ships. */
static void examples_can_be_read(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        dw_data_type type;
        size_t rows;
    } all[] = {{"labels.jsonl", DW_LABELS, 104}, {"labels_heldout.jsonl", DW_LABELS, 52},
               {"lists.jsonl", DW_LISTS, 104},   {"lists_heldout.jsonl", DW_LISTS, 52},
               {"steps.jsonl", DW_STEPS, 180},   {"steps_heldout.jsonl", DW_STEPS, 90}};
    const char *root = dw_arena_printf(&test_arena, "%s/../examples", getenv("DOWEL_TESTS"));
    dw_tokenizer *t = NULL;
    dw_err err = {{0}};
    assert_int_equal(dw_tokenizer_load(dw_path_join(&test_arena, root, "model"), &t, &err), 0);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const char *file[] = {dw_arena_printf(&test_arena, "%s/data/%s", root, all[i].file)};
        dw_data_spec s = {.type = all[i].type, .file = file, .n_file = 1};
        dw_dataset *d;
        s.column[DW_COL_PROMPT].format = "<|im_start|>user\n{question}<|im_end|>\n"
                                         "<|im_start|>assistant\n";
        s.column[DW_COL_COMPLETION].field = "answer";
        s.column[DW_COL_COMPLETIONS].field = "answers";
        s.column[DW_COL_LABEL].field = "liked";
        s.column[DW_COL_LABELS].field = "right";
        if (dw_dataset_load(&s, t, 256, NULL, NULL, &d, &err))
            fail_msg("%s", err.text);
        assert_int_equal(dw_dataset_len(d), all[i].rows);
        double sum = 0, wanted = 0; /* both kinds of label occur about as often */
        for (size_t k = 0; k < all[i].rows; k++) {
            const dw_row *r = dw_dataset_row(d, k);
            sum += r->n_step ? r->n_step : 1;
            wanted += r->label > 0;
            for (uint32_t q = 0; q < r->n_step; q++) {
                dw_buf mark = {0};
                assert_int_equal(
                    dw_tokenizer_piece(t, r->answer[0].id[r->step_end[q]], &mark, &err), 0);
                assert_true(dw_text_is(dw_buf_text(&mark), "\n"));
                wanted -= r->step_label[q] == 0;
                dw_buf_finish(&mark);
            }
            wanted += r->n_step ? r->n_step - 1 : 0;
        }
        assert_true(all[i].type == DW_LISTS || (wanted > 0.3 * sum && wanted < 0.8 * sum));
        dw_dataset_free(d);
    }
    dw_tokenizer_free(t);
}

typedef struct bad {
    dw_data_type type;
    const char *row, *want;
} bad;

#define L "{\"prompt\":\"Q\",\"completion\":\" a\","
#define S "{\"prompt\":\"Q\","
#define P "{\"prompt\":\"Q\",\"chosen\":\" a\",\"rejected\":\" b\","

static const bad zoo[] = {
    {DW_LABELS, L "\"x\":1}", "rows:1:1: no field \"label\" (the row has: prompt, completion, x)"},
    {DW_LABELS, L "\"label\":\"yes\"}",
     "rows:1:41: \"label\": wanted true, false, 1, 0 or -1, found a string"},
    {DW_LABELS, L "\"label\":0.5}",
     "rows:1:41: \"label\": wanted true, false, 1, 0 or -1, found 0.5"},
    {DW_LABELS, L "\"label\":2}", "rows:1:41: \"label\": wanted true, false, 1, 0 or -1, found 2"},
    {DW_LABELS, L "\"label\":null}",
     "rows:1:41: \"label\": wanted true, false, 1, 0 or -1, found null"},
    {DW_LABELS, L "\"label\":1,\"weight\":-1}",
     "rows:1:52: \"weight\": wanted a number of 0 or more, found -1"},
    {DW_LABELS, L "\"label\":1,\"weight\":\"2\"}",
     "rows:1:52: \"weight\": wanted a number of 0 or more, found a string"},
    {DW_STEPS, S "\"labels\":[1]}", "rows:1:1: no field \"steps\" (the row has: prompt, labels)"},
    {DW_STEPS, S "\"steps\":\"a\",\"labels\":[1]}",
     "rows:1:23: \"steps\": wanted a list of texts, found a string"},
    {DW_STEPS, S "\"steps\":[],\"labels\":[]}",
     "rows:1:23: \"steps\" is empty: wanted at least one step"},
    {DW_STEPS, S "\"steps\":[\"a\",7],\"labels\":[1,1]}",
     "rows:1:23: \"steps\": step 2 is a number, wanted text"},
    {DW_STEPS, S "\"steps\":[\"a\",\"\"],\"labels\":[1,1]}", "rows:1:23: step 2 of 2 is empty"},
    {DW_STEPS, S "\"steps\":[\"a\"]}",
     "rows:1:1: no field \"labels\" (the row has: prompt, steps)"},
    {DW_STEPS, S "\"steps\":[\"a\",\"b\"],\"labels\":[1]}",
     "rows:1:42: 2 steps but 1 in \"labels\": wanted one for each"},
    {DW_STEPS, S "\"steps\":[\"a\"],\"labels\":true}",
     "rows:1:38: \"labels\": wanted a list, found true or false"},
    {DW_STEPS, S "\"steps\":[\"a\"],\"labels\":[\"+\"]}",
     "rows:1:38: \"labels\", number 1: wanted true, false, a number from 0 to 1 or null, found a "
     "string"},
    {DW_STEPS, S "\"steps\":[\"a\"],\"labels\":[1.5]}",
     "rows:1:38: \"labels\", number 1: wanted true, false, a number from 0 to 1 or null, found "
     "1.5"},
    {DW_STEPS, S "\"steps\":[\"a\"],\"labels\":[-1]}",
     "rows:1:38: \"labels\", number 1: wanted true, false, a number from 0 to 1 or null, found -1"},
    {DW_LISTS, S "\"completions\":[\"a\"],\"ranks\":[1]}",
     "rows:1:29: a list of one completion ranks nothing: wanted two"},
    {DW_LISTS, S "\"completions\":[\"a\",\"b\"]}",
     "rows:1:29: neither \"ranks\" nor \"scores\" say which completion is the best"},
    {DW_LISTS, S "\"completions\":[\"a\",\"b\"],\"ranks\":[1,2],\"scores\":[1,2]}",
     "rows:1:29: both ranks and scores order the completions; name one of them in the recipe"},
    {DW_LISTS, S "\"completions\":[\"a\",\"b\"],\"ranks\":[1,null]}",
     "rows:1:47: \"ranks\", number 2: wanted a number, found null"},
    {DW_LISTS, S "\"completions\":[\"a\",\"b\"],\"scores\":[1,\"2\"]}",
     "rows:1:48: \"scores\", number 2: wanted a number, found a string"},
    {DW_LISTS, S "\"completions\":[\"a\",\"b\"],\"ranks\":[1]}",
     "rows:1:47: 2 completions but 1 in \"ranks\": wanted one for each"},
    {DW_PAIRS, P "\"gold\":\"\"}", "rows:1:1: \"gold\" is empty (leave it out, or give an answer)"},
    {DW_PAIRS, P "\"margin\":\"big\"}", "rows:1:54: \"margin\": wanted a number, found a string"},
    {DW_PAIRS, P "\"target\":1.01}",
     "rows:1:54: \"target\": wanted a number from 0 to 1, found 1.01"},
    {DW_PAIRS, P "\"n\":\"4\"}",
     "rows:1:49: field \"n\", which an objective reads: wanted a number, found a string"},
};

static void every_row_has_its_message(void **state)
{
    (void)state;
    static const char *const field[] = {"n"};
    for (size_t i = 0; i < sizeof zoo / sizeof *zoo; i++) {
        dw_data_spec s = spec_of(zoo[i].type, zoo[i].row);
        dw_err err = {{0}};
        dw_dataset *d;
        s.field = field;
        s.n_field = 1;
        assert_int_equal(dw_dataset_load(&s, gpt2, 0, row_fn, NULL, &d, &err), DW_E_INPUT);
        const char *got = strstr(err.text, test_root) ? err.text + strlen(test_root) + 1 : err.text;
        assert_string_equal(got, zoo[i].want);
        assert_null(d);
        s.on_bad = DW_BAD_SKIP; /* nothing is left, but it is the rows' fault */
        assert_int_equal(dw_dataset_load(&s, gpt2, 0, row_fn, NULL, &d, &err), DW_E_INPUT);
        assert_non_null(strstr(err.text, "1 bad"));
    }
    dw_data_spec s = spec_of(DW_PAIRS, P "\"x\":1}");
    s.column[DW_COL_MARGIN].field = "gap";
    dw_err err = {{0}};
    dw_dataset *d;
    assert_int_equal(dw_dataset_load(&s, gpt2, 0, row_fn, NULL, &d, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text, "no row has the field \"gap\" that margin names"));
    s.column[DW_COL_MARGIN] = (dw_column){.lua = "nonsense"};
    assert_int_equal(dw_dataset_load(&s, gpt2, 0, row_fn, NULL, &d, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text, "nonsense: the result is to be JSON"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(labels_in_every_form),
                                       cmocka_unit_test(steps_are_marked),
                                       cmocka_unit_test(cut_steps_keep_their_marks),
                                       cmocka_unit_test(lists_are_ranked),
                                       cmocka_unit_test(pairs_bring_more),
                                       cmocka_unit_test(teachers_read_their_own_prompt),
                                       cmocka_unit_test(examples_can_be_read),
                                       cmocka_unit_test(every_row_has_its_message)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
