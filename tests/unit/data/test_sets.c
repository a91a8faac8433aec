/* Sets of rows: mixtures, holdout, duplicates, overlap, limits, surveys. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/order.h"
#include "data/survey.h"
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

static const char *numbered(const char *name, int from, int to, int step)
{
    dw_buf b = {0};
    for (int i = from; i != to; i += step)
        dw_buf_printf(&b, "{\"prompt\":\"what is %d\",\"completion\":\"it is %d\"}\n", i, i);
    const char *path = test_file(name, b.ptr, b.len);
    dw_buf_finish(&b);
    return path;
}

static dw_dataset *load(dw_data_spec *s, const char *path)
{
    dw_err err = {{0}};
    dw_dataset *d;
    const char *file[1] = {path};
    s->type = DW_COMPLETIONS;
    s->file = file;
    s->n_file = 1;
    s->add_eos = true;
    if (dw_dataset_load(s, tok, 0, NULL, NULL, &d, &err))
        fail_msg("%s", err.text);
    s->file = NULL;
    return d;
}

/* ---- mixtures ---- */

static void shares_hold_and_sources_go_round(void **state)
{
    (void)state;
    enum { N = 5000 };
    static const double share[] = {0.61, 0.3, 0.09};
    uint64_t count[3] = {0};
    for (uint64_t n = 0; n < N; n++) {
        uint64_t nth;
        size_t s = dw_mixture_at(5, share, 3, n, &nth);
        /* Counted from nothing but the place, it is the number that counting gives. */
        assert_int_equal(nth, count[s]);
        count[s]++;
        for (size_t k = 0; (n + 1) % 256 == 0 && k < 3; k++)
            assert_true(fabs((double)count[k] - share[k] * (double)(n + 1)) < 3);
    }
}

static void every_source_has_its_own_epochs(void **state)
{
    (void)state;
    enum { A = 40, B = 11, N = 2560 };
    dw_data_spec s[2] = {{.type = DW_COMPLETIONS, .n_file = 1},
                         {.type = DW_COMPLETIONS, .n_file = 1}};
    const char *file[2] = {numbered("a", 0, A, 1), numbered("b", 100, 100 + B, 1)};
    dw_data_source source[2] = {{&s[0], 1}, {&s[1], 3}};
    dw_dataset *d;
    dw_err err = {{0}};
    int seen[A + B] = {0}, from_b = 0;
    s[0].file = &file[0];
    s[1].file = &file[1];
    if (dw_dataset_load_mixture(source, 2, tok, 0, NULL, NULL, &d, &err))
        fail_msg("%s", err.text);
    assert_int_equal(dw_dataset_len(d), A + B);
    for (uint64_t n = 0; n < N; n++) {
        const dw_row *r = dw_dataset_at(d, 9, true, n);
        from_b += r->file == 1;
        seen[r->file ? A + r->line - 1 : r->line - 1]++;
        assert_ptr_equal(r, dw_dataset_at(d, 9, true, n));
    }
    assert_int_equal(from_b, N * 3 / 4);
    for (int i = 0; i < A + B; i++) { /* rounds that are complete, and the one that is not */
        int rounds = i < A ? (N / 4) / A : (N * 3 / 4) / B;
        assert_true(seen[i] == rounds || seen[i] == rounds + 1);
    }
    dw_dataset_free(d);
}

/* ---- holdout ---- */

static void a_prompt_is_always_on_the_same_side(void **state)
{
    (void)state;
    enum { N = 2000 };
    dw_data_spec kept = {.holdout = 0.1}, held = {.holdout = 0.1, .held = true};
    bool side[N] = {false};
    dw_dataset *d = load(&held, numbered("up", 0, N, 1));
    size_t n_held = dw_dataset_len(d);
    for (size_t i = 0; i < n_held; i++)
        side[dw_dataset_row(d, i)->line - 1] = true;
    dw_dataset_free(d);
    /* Binomial: 200, standard deviation 13. */
    assert_true(n_held > 130 && n_held < 270);
    d = load(&held, numbered("down", N - 1, -1, -1));
    assert_int_equal(dw_dataset_len(d), n_held);
    for (size_t i = 0; i < n_held; i++)
        assert_true(side[N - dw_dataset_row(d, i)->line]);
    dw_dataset_free(d);
    d = load(&kept, numbered("up", 0, N, 1));
    assert_int_equal(dw_dataset_len(d), N - n_held);
    assert_int_equal(dw_dataset_counts(d)->set_aside, n_held);
    for (size_t i = 0; i < N - n_held; i++)
        assert_false(side[dw_dataset_row(d, i)->line - 1]);
    dw_dataset_free(d);
    /* The same in every release. */
    assert_true(fabs(dw_prompt_share(DW_TEXT("abc")) -
                     (double)0xba7816bf8f01cLL / 4503599627370496.0) < 1e-15);
}

/* ---- duplicates and overlap ---- */

static void repeated_rows_are_counted_or_dropped(void **state)
{
    (void)state;
    static const char rows[] = "{\"prompt\":\"a\",\"completion\":\"b\"}\n"
                               "{\"prompt\":\"a\",\"completion\":\"c\"}\n"
                               "{\"prompt\":\"ab\",\"completion\":\"\"}\n"
                               "{\"completion\":\"b\",\"prompt\":\"a\"}\n";
    const char *path = test_file("twice", rows, sizeof rows - 1);
    dw_data_spec keep = {0}, drop = {.on_duplicate = DW_DUPLICATE_DROP};
    dw_dataset *d = load(&keep, path);
    assert_int_equal(dw_dataset_len(d), 3);
    assert_int_equal(dw_dataset_counts(d)->duplicate, 1);
    dw_dataset_free(d);
    d = load(&drop, path);
    assert_int_equal(dw_dataset_len(d), 2);
    dw_buf said = {0}, want = {0};
    dw_data_counts_print(dw_dataset_counts(d), "data", &said);
    dw_buf_printf(&want,
                  "data: 1 row with an empty completion, dropped\n"
                  "data: 1 row repeating an earlier one, dropped (%s:1 and %s:4)\n",
                  path, path);
    assert_string_equal(said.ptr, want.ptr);
    dw_buf_finish(&said);
    dw_buf_finish(&want);
    dw_dataset_free(d);
}

static void rows_of_both_sets_are_found(void **state)
{
    (void)state;
    static const char other[] = "{\"prompt\":\"what is 3\",\"completion\":\"it is 3\"}\n"
                                "{\"prompt\":\"what is 7\",\"completion\":\"no\"}\n"
                                "{\"prompt\":\"who\",\"completion\":\"no\"}\n";
    dw_data_spec s = {0};
    dw_dataset *train = load(&s, numbered("train", 0, 10, 1));
    dw_dataset *eval = load(&s, test_file("eval", other, sizeof other - 1));
    dw_overlap o;
    dw_dataset_overlap(train, eval, false, &o);
    assert_int_equal(o.rows, 1);
    assert_int_equal(o.prompts, 1);
    assert_non_null(strstr(o.at, "train:4 and "));
    assert_non_null(strstr(o.at, "eval:1"));
    assert_int_equal(dw_dataset_len(eval), 3);
    dw_dataset_overlap(train, eval, true, &o);
    assert_int_equal(dw_dataset_len(eval), 1);
    assert_int_equal(dw_dataset_row(eval, 0)->line, 3);
    assert_int_equal(dw_dataset_at(eval, 1, true, 5)->line, 3);
    dw_dataset_free(train);
    dw_dataset_free(eval);
}

/* ---- bad rows ---- */

static dw_status load_bad(double most, size_t good, size_t bad, dw_err *err)
{
    dw_buf b = {0};
    dw_dataset *d = NULL;
    for (size_t i = 0; i < good + bad; i++)
        dw_buf_printf(&b, "{\"prompt\":\"a %zu\"%s}\n", i, i < bad ? "" : ",\"completion\":\"b\"");
    const char *file[1] = {test_file("some", b.ptr, b.len)};
    dw_data_spec s = {
        .type = DW_COMPLETIONS, .file = file, .n_file = 1, .on_bad = DW_BAD_SKIP, .max_bad = most};
    dw_status st = dw_dataset_load(&s, tok, 0, NULL, NULL, &d, err);
    if (!st) {
        size_t lines = 0;
        const dw_text list = dw_dataset_bad_rows(d);
        for (size_t i = 0; i < list.len; i++)
            lines += list.ptr[i] == '\n';
        assert_int_equal(lines, bad);
    }
    dw_dataset_free(d);
    dw_buf_finish(&b);
    return st;
}

static void bad_rows_have_a_limit(void **state)
{
    (void)state;
    dw_err err = {{0}};
    assert_int_equal(load_bad(0, 2, 8, &err), 0);
    assert_int_equal(load_bad(8, 2, 8, &err), 0);
    assert_int_equal(load_bad(7, 2, 8, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text, "8 bad rows, and on_bad_row allows 7; the last is"));
    assert_non_null(strstr(err.text, "some:8:1: no field \"completion\""));
    assert_int_equal(load_bad(0.08, 92, 8, &err), 0);
    assert_int_equal(load_bad(0.079, 92, 8, &err), DW_E_INPUT);
    assert_non_null(
        strstr(err.text, "8 of 100 rows are bad, and on_bad_row allows a share of 0.079"));
    assert_non_null(strstr(err.text, "some:1:1: "));
}

/* A thousand faults in a long file are found on their lines, and nothing else is. */
static void planted_faults_are_found(void **state)
{
    (void)state;
    enum { N = 100000, EVERY = 100, SHIFT = 17 };
    static const char *const fault[] = {"7,}", "7 \"x\":1}", "null}", "\"\xe9\"}"};
    dw_buf b = {0};
    dw_err err = {{0}};
    dw_survey v = {0};
    for (int i = 1; i <= N; i++)
        dw_buf_printf(&b, "{\"prompt\":\"a %d\",\"completion\":%s\n", i,
                      i % EVERY == SHIFT ? fault[i / EVERY % 4] : "\"b\"}");
    dw_survey_spec s = {.file = test_file("long", b.ptr, b.len), .type = -1};
    if (dw_survey_run(&s, &v, &err))
        fail_msg("%s", err.text);
    assert_int_equal(v.rows, N);
    assert_int_equal(v.bad, N / EVERY);
    const char *p = v.bad_list.ptr;
    for (int i = SHIFT; i <= N; i += EVERY) {
        char place[32];
        snprintf(place, sizeof place, "/long:%d:", i);
        const char *end = strchr(p, '\n'), *at = strstr(p, place);
        assert_non_null(at);
        assert_true(at < end);
        p = end + 1;
    }
    assert_int_equal(v.found[DW_FOUND_DUPLICATE].n, 0);
    dw_survey_finish(&v);
    dw_buf_finish(&b);
}

/* ---- types ---- */

static void types_are_told_by_columns(void **state)
{
    (void)state;
    static const struct {
        const char *row, *name;
        bool talks;
    } all[] = {
        {"{\"text\":\"a\"}", "language modeling", false},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", "language modeling", true},
        {"{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"}]}", "language modeling", true},
        {"{\"prompt\":\"a\"}", "prompt-only", false},
        {"{\"prompt\":[{\"role\":\"user\",\"content\":\"a\"}]}", "prompt-only", true},
        {"{\"prompt\":\"a\",\"completion\":\"b\"}", "prompt-completion", false},
        {"{\"prompt\":[{\"role\":\"user\",\"content\":\"a\"}],\"completion\":[{\"role\":"
         "\"assistant\",\"content\":\"b\"}]}",
         "prompt-completion", true},
        {"{\"instruction\":\"a\",\"input\":\"\",\"output\":\"b\"}", "prompt-completion", true},
        {"{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}", "preference", false},
        {"{\"chosen\":\"b\",\"rejected\":\"c\"}", "preference (implicit prompt)", false},
        {"{\"prompt\":null,\"chosen\":\"b\",\"rejected\":\"c\"}", "preference (implicit prompt)",
         false},
        {"{\"prompt\":\"a\",\"completion\":\"b\",\"label\":true}", "unpaired preference", false},
        {"{\"prompt\":\"a\",\"completion\":\"b\",\"kto_tag\":true}", "unpaired preference", false},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"label\":false}",
         "unpaired preference", true},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"label\":\"news\"}",
         "language modeling", true},
        {"{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"}],\"kto_tag\":true}",
         "unpaired preference", true},
        {"{\"instruction\":\"a\",\"output\":\"b\",\"kto_tag\":true}", "unpaired preference", true},
        {"{\"prompt\":\"a\",\"completions\":[\"b\"],\"labels\":[true]}", "stepwise supervision",
         false},
        {"{\"prompt\":\"a\",\"completions\":[\"b\",\"c\"],\"ranks\":[1,2]}", "ranked completions",
         false},
        {"{\"question\":\"a\",\"answer\":\"b\"}", NULL, false},
        {"{}", NULL, false},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        dw_json *v;
        dw_err err = {{0}};
        dw_detected d;
        assert_int_equal(dw_json_parse_row(all[i].row, strlen(all[i].row), 64, 1, &v, &err), 0);
        assert_int_equal(dw_detect(v, &d), all[i].name != NULL);
        if (all[i].name) {
            assert_string_equal(dw_kind_name(d.kind), all[i].name);
            assert_int_equal(d.conversational, all[i].talks);
        }
        dw_json_free(v);
    }
}

static void strange_rows_are_found(void **state)
{
    (void)state;
    static const char rows[] = "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}\n"
                               "{\"prompt\":\"a\",\"chosen\":\"c\",\"rejected\":\"b\"}\n"
                               "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}\n"
                               "{\"prompt\":\"d\",\"chosen\":\"e\",\"rejected\":\"e\"}\n"
                               "{\"prompt\":\"d\",\"chosen\":\"\",\"rejected\":\"e\"}\n"
                               "{\"prompt\":\"f\",\"chosen\":\"g\",\"rejected\":\"hhhhh\"}\n";
    static const char other[] = "{\"prompt\":\"f\",\"chosen\":\"g\",\"rejected\":\"hhhhh\"}\n"
                                "{\"prompt\":\"d\",\"chosen\":\"x\",\"rejected\":\"y\"}\n";
    dw_err err = {{0}};
    dw_survey v = {0};
    dw_survey_spec s = {.file = test_file("rows", rows, sizeof rows - 1),
                        .against = test_file("other", other, sizeof other - 1),
                        .type = -1,
                        .tokenizer = tok,
                        .data = {.max_tokens = 5}};
    if (dw_survey_run(&s, &v, &err))
        fail_msg("%s", err.text);
    static const uint64_t want[DW_N_FOUND] = {
        [DW_FOUND_EMPTY] = 1,    [DW_FOUND_IDENTICAL] = 1, [DW_FOUND_DUPLICATE] = 1,
        [DW_FOUND_CONTRARY] = 2, [DW_FOUND_OVERLAP] = 1,   [DW_FOUND_SAME_PROMPT] = 2,
        [DW_FOUND_TOO_LONG] = 1};
    for (int k = 0; k < DW_N_FOUND; k++)
        assert_int_equal(v.found[k].n, want[k]);
    assert_int_equal(v.found[DW_FOUND_DUPLICATE].at[0].line, 3);
    assert_int_equal(v.found[DW_FOUND_DUPLICATE].first[0].line, 1);
    assert_int_equal(v.found[DW_FOUND_CONTRARY].at[0].line, 2);
    assert_int_equal(v.n_length, 6);
    assert_int_equal(v.length[5], 7); /* f, hhhhh and the end */
    assert_int_equal(v.shown.n, 3);
    assert_memory_equal(v.shown_mask.ptr, "\0\1\1", 3);
    dw_survey_finish(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_hold_and_sources_go_round),
        cmocka_unit_test(every_source_has_its_own_epochs),
        cmocka_unit_test(a_prompt_is_always_on_the_same_side),
        cmocka_unit_test(repeated_rows_are_counted_or_dropped),
        cmocka_unit_test(rows_of_both_sets_are_found),
        cmocka_unit_test(bad_rows_have_a_limit),
        cmocka_unit_test(planted_faults_are_found),
        cmocka_unit_test(types_are_told_by_columns),
        cmocka_unit_test(strange_rows_are_found),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
