/* A model that knows nothing learns where answers end: the end of the turn is trained on, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"

static char root[] = "/tmp/dowel-test-XXXXXX";
static dw_arena arena;

static int setup(void **state)
{
    (void)state;
    return getenv("DOWEL_TESTS") && getenv("DOWEL_BIN") && mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    dw_err err;
    int bad = dw_remove_tree(root, &err) < 0;
    dw_arena_finish(&arena);
    return bad;
}

static const char *shell(const char *command, dw_buf *out)
{
    char chunk[4096];
    size_t n;
    FILE *p = popen(dw_arena_printf(&arena, "cd %s && %s", root, command), "r");
    assert_non_null(p);
    dw_buf_clear(out);
    dw_buf_adds(out, "");
    while ((n = fread(chunk, 1, sizeof chunk, p)) > 0)
        dw_buf_add(out, chunk, n);
    if (pclose(p))
        fail_msg("%s: %s", command, out->ptr);
    return out->ptr;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = strstr(text, what); p; p = strstr(p + 1, what))
        n++;
    return n;
}

/* The share of 100 answers that end by themselves. */
static size_t stops(int steps, dw_buf *out)
{
    const char *dowel = getenv("DOWEL_BIN");
    shell(dw_arena_printf(&arena, "%s run r.lua --set steps=%d --out run%d 2>&1", dowel, steps,
                          steps),
          out);
    shell(dw_arena_printf(&arena,
                          "%s generate run%d/final asks.jsonl --max-new-tokens 64 --samples 25 "
                          "--seed 3",
                          dowel, steps),
          out);
    assert_int_equal(count(out->ptr, "\"finish\":"), 100);
    return count(out->ptr, "\"finish\":\"stop\"");
}

static void answers_end_after_200_steps(void **state)
{
    (void)state;
    static const char asks[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Who are you?\"}]}\n"
        "{\"messages\":[{\"role\":\"user\",\"content\":\"What is your name?\"}]}\n"
        "{\"messages\":[{\"role\":\"user\",\"content\":\"What can you do?\"}]}\n"
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Where do you run?\"}]}\n";
    dw_err err;
    dw_buf out = {0};
    char *recipe = dw_arena_printf(
        &arena,
        "local d = require 'dowel'\n"
        "local function m(role, key)\n"
        "  return function(row) return { { role = role, content = row[key] } } end\nend\n"
        "return d.recipe { seed = 17, model = d.model { path = '%s/../examples/model', init = true "
        "},\n"
        "  data = d.completions { '%s/../examples/data/demonstrations.jsonl',\n"
        "    prompt = m('user', 'question'), completion = m('assistant', 'answer') },\n"
        "  objective = d.objective 'sft' {}, batch = { rows = 4 }, steps = 1,\n"
        "  optimizer = d.adamw { lr = 1e-3 } }\n",
        getenv("DOWEL_TESTS"), getenv("DOWEL_TESTS"));
    char *at = dw_path_join(&arena, root, "r.lua");
    assert_int_equal(dw_file_write(at, recipe, strlen(recipe), &err), 0);
    at = dw_path_join(&arena, root, "asks.jsonl");
    assert_int_equal(dw_file_write(at, asks, sizeof asks - 1, &err), 0);
    assert_true(stops(1, &out) < 60);
    assert_true(stops(200, &out) >= 99);
    dw_buf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_end_after_200_steps)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
