/* A recipe's functions after planning: values, refusals, limits, and coming back for a resume. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "script/script.h"

static char folder[] = "/tmp/dowel-callbacks-XXXXXX";

static void write_file(const char *name, const char *text)
{
    char path[256];
    dw_err err = {{0}};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (dw_file_write(path, text, strlen(text), &err) < 0)
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    char path[256];
    dw_err err;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/model", folder);
    if (dw_mkdirs(path, &err) < 0)
        return -1;
    write_file("model/config.json", "{}");
    write_file("p.jsonl", "{\"prompt\":\"1\"}\n");
    write_file("helper.lua", "return { twice = function(x) return 2 * x end }\n");
    return 0;
}

static int tear_down(void **state)
{
    dw_err err;
    return dw_remove_tree(folder, &err) < 0 ? -1 : 0;
}

typedef struct fixture {
    dw_script *s;
    dw_program *p;
    dw_callbacks cb;
} fixture;

/* `body` defines `reward` and may define `column`. */
static fixture plan(const char *body)
{
    char text[4096], path[256];
    snprintf(text, sizeof text,
             "local d = require 'dowel'\nlocal helper = require 'helper'\nlocal reward, column, "
             "weight\n%s\n"
             "return d.recipe {\n"
             "  model = d.model { path = 'model' },\n"
             "  data = d.prompts { 'p.jsonl', prompt = column, weight = weight },\n"
             "  rollout = { samples = 2 },\n"
             "  reward = d.mix { r = { 1, d.scorer(reward) } },\n"
             "  objective = d.objective 'grpo' {},\n"
             "  optimizer = d.adamw { lr = 1 },\n"
             "  steps = 1,\n"
             "}\n",
             body);
    write_file("r.lua", text);
    snprintf(path, sizeof path, "%s/r.lua", folder);
    fixture f;
    dw_err err = {{0}};
    dw_script_options o = {.recipe = path};
    if (dw_script_plan(&o, NULL, &f.s, &f.p, &err) < 0)
        fail_msg("%s", err.text);
    f.cb = dw_script_callbacks(f.s, NULL);
    return f;
}

static void done(fixture *f)
{
    dw_script_free(f->s);
    dw_program_free(f->p);
}

static dowel_sample sample(void)
{
    return (dowel_sample){.size = sizeof(dowel_sample),
                          .prompt = {"ask", 3},
                          .completion = {"a\0b", 3},
                          .meta = {"{\"n\":21,\"deep\":{\"list\":[1,null]}}", 33},
                          .n_tok = 5,
                          .stop = DOWEL_STOP_LENGTH};
}

static void test_values(void **state)
{
    fixture f = plan("function reward(s)\n"
                     "  assert(s.prompt == 'ask' and s.completion == 'a\\0b' and s.n_tokens == 5)\n"
                     "  assert(s.stop == 'length' and s.row.deep.list[1] == 1)\n"
                     "  return helper.twice(s.row.n), 'because'\n"
                     "end\n"
                     "function column(row) return 'Q: ' .. row.q end");
    dowel_sample in = sample();
    double x = 0;
    dw_buf why = {0}, out = {0};
    dw_err err = {{0}};
    bool json;
    assert_true(dw_program_has_functions(f.p));
    if (f.cb.reward(f.cb.ctx, "reward:main.r", &in, &x, &why, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(x == 42);
    assert_string_equal(why.ptr, "because");
    dw_text row = DW_TEXT("{\"q\":\"why\"}");
    if (f.cb.row(f.cb.ctx, "row:main.prompt", row, &out, &json, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(out.ptr, "Q: why");
    dw_buf_finish(&why);
    dw_buf_finish(&out);
    done(&f);
}

static void test_no_opinion(void **state)
{
    fixture f = plan("function reward(s) return nil, 'unsure' end");
    dowel_sample in = sample();
    double x = 0;
    dw_buf why = {0};
    dw_err err;
    assert_int_equal(f.cb.reward(f.cb.ctx, "reward:main.r", &in, &x, &why, &err), 0);
    assert_true(isnan(x));
    assert_string_equal(why.ptr, "unsure");
    dw_buf_finish(&why);
    done(&f);
}

/* The reward's line 4 is the first of `body`. */
static void refused(const char *body, const char *wanted)
{
    fixture f = plan(body);
    dowel_sample in = sample();
    double x = 0;
    dw_err err = {{0}};
    assert_int_equal(f.cb.reward(f.cb.ctx, "reward:main.r", &in, &x, NULL, &err), DW_E_RECIPE);
    const char *at = strstr(err.text, "r.lua:");
    if (!at || strcmp(at, wanted) != 0)
        fail_msg("wanted %s, got %s", wanted, err.text);
    /* and the state still works */
    assert_int_equal(f.cb.reward(f.cb.ctx, "reward:main.r", &in, &x, NULL, &err), DW_E_RECIPE);
    done(&f);
}

static void test_refusals(void **state)
{
    refused("function reward(s) return s.row.missing.x end",
            "r.lua:4: attempt to index a nil value (field 'missing')");
    refused("function reward(s) return 'high' end",
            "r.lua:4: a reward must return a finite number, or nil for no opinion; it returned "
            "high");
    refused("function reward(s) return 0/0 end",
            "r.lua:4: a reward must return a finite number, or nil for no opinion; it returned "
            "-nan");
    refused("function reward(s) counter = 1 return 1 end",
            "r.lua:4: assigns to counter, which cannot be changed once training has started");
    refused("function reward(s) string.len = nil return 1 end",
            "r.lua:4: assigns to len, which cannot be changed once training has started");
    refused("function reward(s) rawset(_G, 'x', 1) return 1 end",
            "r.lua:4: globals cannot be changed once training has started");
    refused("local n = 0\nfunction reward(s) n = n + 1 return n end",
            "r.lua:5: the function changes 'n', a local outside of it, and so would not give the "
            "same again after a resume");
    refused("function reward(s) while true do end end",
            "r.lua:4: used more than 50 million instructions");
    refused("function reward(s) local t = {} for i = 1, 1e9 do t[i] = i end end",
            "r.lua:4: used more than 256 MiB of memory");
}

static void test_column_result(void **state)
{
    fixture f = plan("function reward(s) return 1 end\nfunction column(row) return 3 end");
    dw_buf out = {0};
    dw_err err = {{0}};
    bool json;
    assert_int_equal(f.cb.row(f.cb.ctx, "row:main.prompt", DW_TEXT("{}"), &out, &json, &err),
                     DW_E_RECIPE);
    assert_non_null(strstr(err.text, "r.lua:5: a column's function must return a string, or "
                                     "messages, it returned number"));
    dw_buf_finish(&out);
    done(&f);
}

/* A table is messages, given as JSON. */
static void test_column_messages(void **state)
{
    fixture f = plan("function reward(s) return 1 end\n"
                     "function column(row) if row.a then return row.a end\n"
                     "return { { role = 'user', content = row.q } } end");
    dw_buf out = {0};
    dw_err err = {{0}};
    bool json;
    assert_int_equal(
        f.cb.row(f.cb.ctx, "row:main.prompt", DW_TEXT("{\"q\":\"hi\"}"), &out, &json, &err), DW_OK);
    assert_true(json);
    assert_string_equal(out.ptr, "[{\"content\":\"hi\",\"role\":\"user\"}]");
    dw_buf_clear(&out);
    assert_int_equal(
        f.cb.row(f.cb.ctx, "row:main.prompt", DW_TEXT("{\"a\":\"yo\"}"), &out, &json, &err), DW_OK);
    assert_false(json);
    assert_string_equal(out.ptr, "yo");
    dw_buf_finish(&out);
    done(&f);
}

/* A column that is not text may be any value; a string is JSON already. */
static void test_column_value(void **state)
{
    static const char *const of[][2] = {{"0.5", "0.5"},
                                        {"row.a == 2", "true"},
                                        {"nil", "null"},
                                        {"{ 1, false, 'x' }", "[1,false,\"x\"]"},
                                        {"'[1, null]'", "[1, null]"}};
    dw_err err = {{0}};
    bool json;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        char body[256];
        dw_buf out = {0};
        snprintf(body, sizeof body,
                 "function reward(s) return 1 end\nfunction weight(row) return %s end", of[i][0]);
        fixture f = plan(body);
        if (f.cb.row(f.cb.ctx, "value:main.weight", DW_TEXT("{\"a\":2}"), &out, &json, &err) < 0)
            fail_msg("%s", err.text);
        assert_string_equal(out.ptr, of[i][1]);
        dw_buf_finish(&out);
        done(&f);
    }
    dw_buf out = {0};
    fixture f = plan("function reward(s) return 1 end\nfunction weight(row) return weight end");
    assert_int_equal(f.cb.row(f.cb.ctx, "value:main.weight", DW_TEXT("{}"), &out, &json, &err),
                     DW_E_RECIPE);
    assert_non_null(
        strstr(err.text, "r.lua:5: the column's value: expected a value, got a function"));
    dw_buf_finish(&out);
    done(&f);
}

/* Sources are kept, and give the same callbacks where neither data nor model are. */
static void test_reopen(void **state)
{
    fixture f = plan("function reward(s) return helper.twice(s.n_tokens) end");
    const char *const *path, *const *name;
    size_t n = dw_script_sources(f.s, &path, &name);
    dw_arena a = {0};
    dw_err err = {{0}};
    assert_int_equal(n, 2);
    assert_string_equal(name[0], "recipe.lua");
    assert_string_equal(name[1], "lib/helper.lua");
    const char *kept = dw_path_join(&a, folder, "kept");
    assert_int_equal(dw_mkdirs(dw_path_join(&a, kept, "lib"), &err), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(dw_copy_file(path[i], dw_path_join(&a, kept, name[i]), &err), 0);
    dw_script *s;
    if (dw_script_reopen(dw_path_join(&a, kept, "recipe.lua"), f.p, &s, &err) < 0)
        fail_msg("%s", err.text);
    dw_callbacks cb = dw_script_callbacks(s, NULL);
    dowel_sample in = sample();
    double x = 0;
    assert_int_equal(cb.reward(cb.ctx, "reward:main.r", &in, &x, NULL, &err), 0);
    assert_true(x == 10);
    dw_script_free(s);

    assert_int_equal(dw_file_write(dw_path_join(&a, kept, "recipe.lua"), "return 1", 8, &err), 0);
    assert_int_equal(dw_script_reopen(dw_path_join(&a, kept, "recipe.lua"), f.p, &s, &err),
                     DW_E_RECIPE);
    done(&f);
    dw_arena_finish(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),          cmocka_unit_test(test_no_opinion),
        cmocka_unit_test(test_refusals),        cmocka_unit_test(test_column_result),
        cmocka_unit_test(test_column_messages), cmocka_unit_test(test_column_value),
        cmocka_unit_test(test_reopen),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
