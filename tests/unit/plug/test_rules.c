/* The small rule rewards: lengths, repetition, formats. */
#include "batch.h"

static dowel_text text(const char *s)
{
    return (dowel_text){s, strlen(s)};
}

/* The score of a completion of n_tok tokens to a row whose answer is 72. */
static double score(dw_instance *i, const char *completion, uint32_t n_tok, char *why)
{
    dw_err err = {{0}};
    dw_score_result r;
    dowel_sample s = {.size = sizeof s,
                      .prompt = text("?"),
                      .completion = text(completion),
                      .meta = text("{\"answer\":\"72\"}"),
                      .n_tok = n_tok};
    const dowel_sample *in[] = {&s};
    if (dw_call_score(i, in, 1, &r, &err) < 0)
        fail_msg("%s", err.text);
    double total = r.total[0];
    if (why)
        snprintf(why, 160, "%s", r.why[0]);
    dw_score_result_finish(&r);
    return total;
}

static void check(fixture *f, const char *id, const char *options, const char *completion,
                  uint32_t n_tok, double want)
{
    dw_instance *i = instance_make(f, id, options, NULL);
    near(score(i, completion, n_tok, NULL), want, 1e-12);
    dw_instance_destroy(i);
}

static void test_overlong(void **state)
{
    static const struct {
        uint32_t n;
        double want;
    } row[] = {{0, 0}, {15, 0}, {16, 0}, {17, -0.25}, {20, -1}, {21, -1}, {4000, -1}};
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        check(*state, "overlong", "{\"limit\":20,\"cache\":4}", "x", row[k].n, row[k].want);
        check(*state, "overlong", "{\"limit\":20,\"cache\":4,\"penalty\":0.5}", "x", row[k].n,
              row[k].want / 2);
        /* no room to grow in: nothing is divided by it */
        check(*state, "overlong", "{\"limit\":20}", "x", row[k].n, row[k].n > 20 ? -1 : 0);
    }
}

static void test_overlong_refused(void **state)
{
    dw_err err = {{0}};
    dw_score_result r;
    dowel_sample s = {.size = sizeof s, .completion = text("x"), .n_tok = 1};
    const dowel_sample *in[] = {&s};
    dw_instance *i = instance_make(*state, "overlong", "{\"limit\":20,\"cache\":21}", NULL);
    assert_true(dw_call_score(i, in, 1, &r, &err) < 0);
    assert_non_null(strstr(err.text, "cache 21 is above limit 20"));
    dw_instance_destroy(i);
}

/* Right: 1 to 0.5; wrong: -1 to -0.5; halfway at half the limit, and no swing back beyond it. */
static void test_length_cosine(void **state)
{
    const char *options = "{\"limit\":100}", *moved = "{\"limit\":100,\"right_short\":4,"
                                                      "\"right_long\":-2}";
    check(*state, "length_cosine", options, "72", 0, 1);
    check(*state, "length_cosine", options, "72", 50, 0.75);
    check(*state, "length_cosine", options, "72", 100, 0.5);
    check(*state, "length_cosine", options, "72", 150, 0.5);
    check(*state, "length_cosine", options, "71", 0, -1);
    check(*state, "length_cosine", options, "no idea", 50, -0.75);
    check(*state, "length_cosine", options, "71", 100, -0.5);
    check(*state, "length_cosine", options, "72", 25, 0.5 + 0.25 * (1 + sqrt(0.5)));
    check(*state, "length_cosine", moved, "72", 25, -2 + 3 * (1 + sqrt(0.5)));
}

static void test_repetition(void **state)
{
    static const struct {
        const char *options, *text;
        double want;
    } row[] = {
        {"{}", "", 0},
        {"{}", "a b", 0},
        {"{}", "a b c", 0},
        {"{}", "a b c d e", 0},
        {"{}", "a a a a a", -2.0 / 3},
        {"{}", " a b c\ta b\n c ", -0.25}, /* abc bca cab abc */
        {"{}", "A b c a B C", -0.25},
        {"{\"size\":1}", "a b a b", -0.5},
        {"{\"size\":2,\"penalty\":-3}", "a b a b a", -1.5}, /* ab ba ab ba */
        {"{\"size\":2}", "ab c a bc", 0},                   /* the gaps count */
        {"{\"size\":2}", "a b ab a b", -0.25},
    };
    for (size_t k = 0; k < sizeof row / sizeof *row; k++)
        check(*state, "repetition", row[k].options, row[k].text, 1, row[k].want);
}

/* Against counting n-grams by comparing all of them. */
static void test_repetition_counts(void **state)
{
    for (uint64_t round = 0; round < 30; round++) {
        char line[200] = "", options[32];
        uint32_t w[40], n = 3 + (uint32_t)dw_random_below(7, DW_RNG_TEST, round, 0, 37);
        uint32_t size = 1 + (uint32_t)dw_random_below(7, DW_RNG_TEST, round, 1, 4), kinds = 0;
        for (uint32_t k = 0; k < n; k++) {
            w[k] = (uint32_t)dw_random_below(7, DW_RNG_TEST, round, 2 + k, 3);
            snprintf(line + strlen(line), 5, "%s ", w[k] == 0 ? "x" : w[k] == 1 ? "y" : "xy");
        }
        if (n < size)
            continue;
        for (uint32_t k = 0; k + size <= n; k++) {
            bool seen = false;
            for (uint32_t j = 0; j < k && !seen; j++)
                seen = memcmp(w + j, w + k, size * sizeof *w) == 0;
            kinds += !seen;
        }
        snprintf(options, sizeof options, "{\"size\":%u}", size);
        check(*state, "repetition", options, line, 1, (double)kinds / (n - size + 1) - 1);
    }
}

static void test_format(void **state)
{
    static const struct {
        const char *options, *text;
        double want;
    } row[] = {
        {"{}", "<think>a</think><answer>b</answer>", 1},
        {"{}", " <think>\n</think>\n<answer></answer>\n", 1},
        {"{}", "so <think>a</think><answer>b</answer>", 0},
        {"{}", "<think>a</think> so <answer>b</answer>", 0},
        {"{}", "<think>a</think><answer>b</answer>.", 0},
        {"{\"strict\":false}", "so <think>a</think>. <answer>b</answer>.", 1},
        {"{\"strict\":false}", "<answer>b</answer><think>a</think>", 0},
        {"{\"strict\":false}", "<think><answer>b</answer></think>", 0},
        {"{}", "<think>a</think>", 0},
        {"{}", "<think>a</think><answer>b</answer><answer>b</answer>", 0},
        {"{}", "</think>a<think><answer>b</answer>", 0},
        {"{}", "", 0},
        {"{\"tags\":\" a  b \",\"right\":2,\"wrong\":-1}", "<a></a><b></b>", 2},
        {"{\"tags\":\"a\",\"right\":2,\"wrong\":-1}", "<a>", -1},
        {"{\"partial\":true}", "<think>a</think>", 0.5},
        {"{\"partial\":true,\"right\":3,\"wrong\":-1}", "<think>a</think><answer>", 2},
        {"{\"partial\":true}", "<think><think></answer>", 0.25},
    };
    for (size_t k = 0; k < sizeof row / sizeof *row; k++)
        check(*state, "format", row[k].options, row[k].text, 1, row[k].want);
    char why[160];
    dw_instance *i = instance_make(*state, "format", NULL, NULL);
    score(i, "<think>a</think>b", 1, why);
    assert_string_equal(why, "2 of 4 tags, not in order, text outside");
    dw_instance_destroy(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlong),          cmocka_unit_test(test_overlong_refused),
        cmocka_unit_test(test_length_cosine),     cmocka_unit_test(test_repetition),
        cmocka_unit_test(test_repetition_counts), cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
