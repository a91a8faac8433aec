/* The rewards as loaded plugins: what counts as the same answer, and what is said about it. */
#include "batch.h"

typedef struct score_case {
    const char *options, *meta, *completion;
    double want;
    const char *why;
} score_case;

#define GSM         "{\"answer\":\"He has 9*8=72.\\n#### 72\"}"
#define GSM_OPTIONS "{\"field_pattern\":\"#### *(-?[0-9.,]+)\"}"

static const score_case cases[] = {
    {"{}", "{\"answer\":\"72\"}", "so it is 72", 1, "right: found '72', wanted '72'"},
    {"{}", "{\"answer\":72}", "It is 12, no: 72.0.", 1, "right: found '72.0.', wanted '72'"},
    {"{}", "{\"answer\":\"1,234\"}", "$1234", 1, "right: found '1234', wanted '1,234'"},
    {"{}", "{\"answer\":\"$1,234.50\"}", "1,234.5", 1,
     "right: found '1,234.5', wanted '$1,234.50'"},
    {"{}", "{\"answer\":\"72\"}", "it is 71", 0, "wrong: found '71', wanted '72'"},
    {"{}", "{\"answer\":\"72\"}", "no idea", 0, "no match"},
    {"{}", "{\"answer\":\"72\"}", "", 0, "no match"},
    {"{}", "{\"answer\":\"-3\"}", "thus -3", 1, "right: found '-3', wanted '-3'"},
    {GSM_OPTIONS, GSM, "The answer is 72", 1, "right: found '72', wanted '72'"},
    {GSM_OPTIONS, GSM, "The answer is 73", 0, "wrong: found '73', wanted '72'"},
    {"{\"field\":\"a.1.b\"}", "{\"a\":[0,{\"b\":\"5\"}]}", "5", 1, "right: found '5', wanted '5'"},
    {"{\"field\":\"x.y\"}", "{\"x.y\":5}", "5", 1, "right: found '5', wanted '5'"},
    {"{\"pattern\":\"[a-z]+\",\"right\":2,\"wrong\":-1}", "{\"answer\":\" yes \"}", "no yes", 2,
     "right: found 'yes', wanted 'yes'"},
    {"{\"pattern\":\"[A-Z]+\",\"wrong\":-1}", "{\"answer\":\"yes\"}", "YES", -1,
     "wrong: found 'YES', wanted 'yes'"},
    {"{\"pattern\":\"[A-Z]+\",\"ignore_case\":true}", "{\"answer\":\"yes\"}", "YES", 1,
     "right: found 'YES', wanted 'yes'"},
    {"{\"compare\":\"text\"}", "{\"answer\":\"72\"}", "72.0", 0,
     "wrong: found '72.0', wanted '72'"},
    {"{\"pattern\":\"\\\\\\\\boxed[{]([^}]*)[}]\"}", "{\"answer\":\"x^2\"}",
     "a \\boxed{y} then \\boxed{x^2} end", 1, "right: found 'x^2', wanted 'x^2'"},
    {"{\"pattern\":\"(a)|(b)\"}", "{\"answer\":\"b\"}", "a b", 1, "right: found 'b', wanted 'b'"},
    {"{\"pattern\":\"(a)|(b)\"}", "{\"answer\":\"a\"}", "b a", 1, "right: found 'a', wanted 'a'"},
    {"{\"pattern\":\"x*\"}", "{\"answer\":\"\"}", "yxxz", 1, "right: found '', wanted ''"},
};

static dowel_text text(const char *s)
{
    return (dowel_text){s, strlen(s)};
}

static dw_status score(dw_instance *i, const char *meta, dowel_text completion, dw_score_result *r,
                       dw_err *err)
{
    dowel_sample s = {.size = sizeof s,
                      .id = 9,
                      .prompt = text("?"),
                      .completion = completion,
                      .meta = text(meta),
                      .n_tok = 3};
    const dowel_sample *in[] = {&s};
    return dw_call_score(i, in, 1, r, err);
}

static void test_match(void **state)
{
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        dw_err err = {{0}};
        dw_score_result r;
        dw_instance *i = instance_make(*state, "match", cases[k].options, NULL);
        if (score(i, cases[k].meta, text(cases[k].completion), &r, &err) < 0)
            fail_msg("case %zu: %s", k, err.text);
        if (r.total[0] != cases[k].want)
            fail_msg("case %zu: %g", k, r.total[0]);
        assert_string_equal(r.why[0], cases[k].why);
        dw_score_result_finish(&r);
        dw_instance_destroy(i);
    }
}

static void test_match_nul(void **state)
{
    dw_err err;
    dw_score_result r;
    dw_instance *i = instance_make(*state, "match", NULL, NULL);
    assert_int_equal(score(i, "{\"answer\":\"8\"}", (dowel_text){"7\0is 8", 6}, &r, &err), 0);
    assert_true(r.total[0] == 1);
    dw_score_result_finish(&r);
    dw_instance_destroy(i);
}

static const char *const refused[][3] = {
    {"{}", "{\"solution\":\"72\"}",
     "t (match): score: sample 0: the row has no field 'answer'; name the one that holds the "
     "answer"},
    {"{}", "{\"answer\":null}",
     "t (match): score: sample 0: the row has no field 'answer'; name the one that holds the "
     "answer"},
    {"{}", "not json",
     "t (match): score: sample 0: the row has no field 'answer'; name the one that holds the "
     "answer"},
    {GSM_OPTIONS, "{\"answer\":\"none\"}",
     "t (match): score: sample 0: field 'answer': 'none' has no match of '#### *(-?[0-9.,]+)'"},
    {"{\"compare\":\"number\"}", "{\"answer\":\"many\"}",
     "t (match): score: sample 0: field 'answer': 'many' is not a number"},
};

static void test_match_refused(void **state)
{
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
        dw_err err = {{0}};
        dw_score_result r;
        dw_instance *i = instance_make(*state, "match", refused[k][0], NULL);
        assert_int_equal(score(i, refused[k][1], text("72"), &r, &err), DW_E_PLUGIN);
        assert_string_equal(err.text, refused[k][2]);
        assert_null(r.total);
        dw_instance_destroy(i);
    }
}

static void test_match_pattern(void **state)
{
    fixture *f = *state;
    dw_err err = {{0}};
    const dw_plugin_info *p;
    dw_json *j;
    dw_buf full = {0};
    dw_instance *i = NULL;
    const char *given = "{\"pattern\":\"(72\"}";
    assert_int_equal(dw_registry_find(f->reg, "match", NULL, &p, &err), 0);
    assert_int_equal(dw_json_parse(given, strlen(given), 9, 1, &j, &err), 0);
    assert_int_equal(dw_options_check(p, j, NULL, &full, &err), 0);
    dw_json_free(j);
    assert_int_equal(dw_json_parse(full.ptr, full.len, 9, 1, &j, &err), 0);
    dw_instance_spec spec = {.info = p, .name = "t", .options = j};
    assert_int_equal(dw_instance_create(&spec, &i, &err), DW_E_PLUGIN);
    assert_string_equal(err.text, "t (match): create: pattern: '(72' is not a regular expression: "
                                  "Unmatched ( or \\(");
    dw_json_free(j);
    dw_buf_finish(&full);
}

static void test_brevity(void **state)
{
    dw_err err;
    dw_score_result r;
    dw_instance *i = instance_make(*state, "brevity", "{\"budget\":4,\"slope\":0.25}", NULL);
    const struct {
        const char *text;
        double want;
        const char *why;
    } row[] = {{"", 1, "0 bytes, 4 allowed"},
               {"four", 1, "4 bytes, 4 allowed"},
               {"five5", 0.75, "5 bytes, 4 allowed"},
               {"very long indeed", 0, "16 bytes, 4 allowed"}};
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        assert_int_equal(score(i, "{}", text(row[k].text), &r, &err), 0);
        assert_true(r.total[0] == row[k].want);
        assert_string_equal(r.why[0], row[k].why);
        dw_score_result_finish(&r);
    }
    dw_instance_destroy(i);
    i = instance_make(*state, "brevity", "{\"budget\":2,\"slope\":0.25,\"unit\":\"tokens\"}", NULL);
    assert_int_equal(score(i, "{}", text("whatever"), &r, &err), 0);
    assert_true(r.total[0] == 0.75);
    dw_score_result_finish(&r);
    dw_instance_destroy(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),         cmocka_unit_test(test_match_nul),
        cmocka_unit_test(test_match_refused), cmocka_unit_test(test_match_pattern),
        cmocka_unit_test(test_brevity),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
