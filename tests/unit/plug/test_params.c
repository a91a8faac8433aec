/* Option tables: defaults, ranges, types, nearest names, schedules, canonical form. */
#include <unistd.h>

#include "batch.h"
#include "plug/internal.h"

struct opts {
    bool flag;
    int64_t count, kind;
    double rate;
    const char *text, *path, *any;
};
static const char *const kinds[] = {"red", "green", NULL};
static const dowel_param table[] = {
    DOWEL_OPT_BOOL(struct opts, flag, "true", 0, "A flag."),
    DOWEL_OPT_INT(struct opts, count, "3", 1, 1e6, DOWEL_TUNABLE, "A count."),
    DOWEL_OPT_CHOICE(struct opts, kind, "green", kinds, 0, "A kind."),
    DOWEL_OPT_REAL(struct opts, rate, "1e-4", 1e-6, 100, DOWEL_TUNABLE, "A rate."),
    DOWEL_OPT_STR(struct opts, text, "it's \"so\"", 0, "A text."),
    DOWEL_OPT_PATH(struct opts, path, "", 0, "A path."),
    DOWEL_OPT_JSON(struct opts, any, "{\"b\":1,\"a\":[]}", 0, "Anything."),
};
static dw_plugin_info info = {
    .plugin = {DOWEL_PLUGIN("demo", "1", "Demo.", 0), DOWEL_OPTIONS(struct opts, table)}};

static dw_status check(const char *given, dw_buf *full, dw_err *err)
{
    dw_json *j = NULL;
    if (given)
        assert_int_equal(dw_json_parse(given, strlen(given), 9, 1, &j, err), 0);
    dw_status s = dw_options_check(&info, j, "/base", full, err);
    dw_json_free(j);
    return s;
}

static void test_defaults(void **state)
{
    dw_err err;
    dw_buf full = {0};
    (void)state;
    assert_int_equal(check(NULL, &full, &err), 0);
    assert_string_equal(full.ptr,
                        "{\"flag\":true,\"count\":3,\"kind\":\"green\",\"rate\":0.0001,"
                        "\"text\":\"it's \\\"so\\\"\",\"path\":\"\",\"any\":{\"a\":[],\"b\":1}}");
    dw_buf again = {0};
    assert_int_equal(check(full.ptr, &again, &err), 0);
    assert_string_equal(full.ptr, again.ptr);
    dw_buf_finish(&full);
    dw_buf_finish(&again);
}

static void test_given(void **state)
{
    dw_err err;
    dw_buf full = {0};
    (void)state;
    assert_int_equal(check("{\"count\":7.0,\"flag\":false,\"kind\":\"red\",\"path\":\"../x\","
                           "\"any\":[2,{\"z\":1,\"y\":null}],"
                           "\"rate\":{\"warmup\":4,\"schedule\":\"cosine\",\"peak\":1,"
                           "\"final\":0.5}}",
                           &full, &err),
                     0);
    assert_string_equal(full.ptr,
                        "{\"flag\":false,\"count\":7,\"kind\":\"red\",\"rate\":{\"final\":0.5,"
                        "\"peak\":1,\"schedule\":\"cosine\",\"warmup\":4},\"text\":\"it's "
                        "\\\"so\\\"\",\"path\":\"/x\",\"any\":[2,{\"y\":null,\"z\":1}]}");
    dw_buf_finish(&full);
}

static const char *const wrong[][2] = {
    {"{\"rat\":1}", "demo: no option 'rat', did you mean 'rate'?"},
    {"{\"zzzzz\":1}", "demo: no option 'zzzzz' (dowel plugins demo lists them)"},
    {"{\"rate\":-1}", "demo: rate: -1 is outside 1e-06 .. 100"},
    {"{\"rate\":\"1\"}", "demo: rate: expected a number, got a string"},
    {"{\"rate\":null}", "demo: rate: expected a number, got null"},
    {"{\"count\":1.5}", "demo: count: expected an integer, got 1.5"},
    {"{\"count\":0}", "demo: count: 0 is outside 1 .. 1e+06"},
    {"{\"count\":true}", "demo: count: expected an integer, got true or false"},
    {"{\"flag\":1}", "demo: flag: expected true or false, got a number"},
    {"{\"kind\":\"gren\"}",
     "demo: kind: no choice 'gren', did you mean 'green'?, expected one of 'red', 'green'"},
    {"{\"kind\":1}", "demo: kind: expected one of its choices, got a number"},
    {"{\"text\":[]}", "demo: text: expected a string, got an array"},
    {"{\"text\":\"a\\u0000b\"}", "demo: text: the text holds a NUL byte; take it out"},
    {"[1]", "demo: options: expected an object, got an array"},
    {"{\"kind\":{\"schedule\":\"constant\",\"value\":1}}",
     "demo: kind: cannot follow a schedule (it is not tunable); give one value"},
    {"{\"rate\":{\"value\":1}}",
     "demo: rate: expected a number or a schedule, got an object without \"schedule\""},
    {"{\"rate\":{\"schedule\":\"step\"}}",
     "demo: rate: no schedule 'step', expected constant, linear or cosine"},
    {"{\"rate\":{\"schedule\":\"linear\",\"from\":1}}",
     "demo: rate.to: expected a number, got nothing"},
    {"{\"rate\":{\"schedule\":\"linear\",\"from\":1,\"too\":1}}",
     "demo: rate: a schedule has no key 'too', did you mean 'to'?"},
    {"{\"rate\":{\"schedule\":\"linear\",\"from\":1,\"to\":0}}",
     "demo: rate: 0 is outside 1e-06 .. 100"},
    {"{\"rate\":{\"schedule\":\"constant\",\"value\":1e-6,\"warmup\":2}}",
     "demo: rate: 5e-07 is outside 1e-06 .. 100"},
    {"{\"rate\":{\"schedule\":\"constant\",\"value\":1,\"warmup\":-1}}",
     "demo: rate.warmup: expected a number of steps, got -1"},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dw_err err = {{0}};
        dw_buf full = {0};
        assert_int_equal(check(wrong[i][0], &full, &err), DW_E_RECIPE);
        assert_string_equal(err.text, wrong[i][1]);
        assert_int_equal(full.len, 0);
        dw_buf_finish(&full);
    }
}

static void test_required(void **state)
{
    static const dowel_param must[] = {
        DOWEL_OPT_REAL(struct opts, rate, NULL, 0, 1, 0, "A rate."),
    };
    dw_plugin_info p = {
        .plugin = {DOWEL_PLUGIN("demo", "1", "Demo.", 0), DOWEL_OPTIONS(struct opts, must)}};
    dw_err err;
    (void)state;
    assert_int_equal(dw_options_check(&p, NULL, NULL, NULL, &err), DW_E_RECIPE);
    assert_string_equal(err.text, "demo: rate: must be given (real): A rate.");
}

/* What a plugin sees in its struct, at creation and after a change between calls. */
static void test_struct(void **state)
{
    dw_err err;
    dw_json *j;
    const char *full = "{\"flag\":true,\"count\":5,\"kind\":\"red\",\"rate\":{\"schedule\":"
                       "\"linear\",\"from\":2,\"to\":4},\"text\":\"t\",\"path\":\"/p\","
                       "\"any\":{\"k\":[1]}}";
    dw_instance *i;
    (void)state;
    assert_int_equal(dw_json_parse(full, strlen(full), 9, 1, &j, &err), 0);
    dw_instance_spec spec = {.info = &info, .name = "x", .options = j};
    assert_int_equal(dw_instance_create(&spec, &i, &err), 0);
    dw_json_free(j);
    const struct opts *o = i->config;
    assert_true(o->flag && o->count == 5 && o->kind == 0 && o->rate == 2);
    assert_string_equal(o->text, "t");
    assert_string_equal(o->path, "/p");
    assert_string_equal(o->any, "{\"k\":[1]}");
    assert_int_equal(dw_instance_set(i, "rate", 3.5, &err), 0);
    assert_int_equal(dw_instance_set(i, "count", 7.6, &err), 0);
    assert_true(o->rate == 3.5 && o->count == 8);
    assert_int_equal(dw_instance_set(i, "rate", 100 + 1e-12, &err), 0);
    assert_true(o->rate == 100);
    assert_int_equal(dw_instance_set(i, "rate", 101, &err), DW_E_RECIPE);
    assert_string_equal(err.text, "x (demo): rate: 101 is outside 1e-06 .. 100");
    assert_int_equal(dw_instance_set(i, "text", 1, &err), DW_E_RECIPE);
    assert_string_equal(err.text, "x (demo): text: cannot change during a run (it is not tunable)");
    dw_instance_destroy(i);
}

static void test_describe(void **state)
{
    dw_buf out = {0};
    (void)state;
    dw_plugin_describe(&info, &out);
    assert_non_null(strstr(out.ptr, "demo 1 () - Demo.\n"));
    assert_non_null(
        strstr(out.ptr, "  rate   real    1e-4            1e-06 .. 100  tunable  A rate.\n"));
    dw_buf_clear(&out);
    info.path = "/demo.so";
    dw_plugin_describe_json(&info, &out);
    dw_json *j;
    dw_err err;
    assert_int_equal(dw_json_parse(out.ptr, out.len, 9, 1, &j, &err), 0);
    assert_true(dw_json_num(dw_json_path(j, "options.3.max")) == 100);
    assert_true(dw_json_bool(dw_json_path(j, "options.1.tunable")));
    dw_json_free(j);
    dw_buf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_given),
        cmocka_unit_test(test_wrong),    cmocka_unit_test(test_required),
        cmocka_unit_test(test_struct),   cmocka_unit_test(test_describe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
