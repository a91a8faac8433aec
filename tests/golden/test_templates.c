/* Replays what jinja2 wrote for many templates and conversations: texts, masks and refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/hash.h"
#include "data/jsonl.h"
#include "text/chat_impl.h"
#include "text/jinja/value.h"

static const char *folder(dw_arena *a)
{
    return dw_path_join(a, getenv("DOWEL_TESTS"), "golden/templates");
}

/* The rows of a file of JSON lines. */
typedef struct table {
    dw_json **row;
    size_t n, cap;
} table;

static table read_table(const char *name)
{
    dw_arena a = {0};
    dw_err err = {{0}};
    dw_rows *rows;
    table t = {0};
    const char *path = dw_path_join(&a, folder(&a), name);
    if (dw_rows_open(path, &rows, &err))
        fail_msg("%s", err.text);
    for (bool more = true; more;) {
        dw_text raw;
        uint32_t line;
        assert_int_equal(dw_rows_next(rows, &raw, &line, &more, &err), DW_OK);
        if (!more)
            break;
        DW_GROW(t.row, t.n, t.cap);
        if (dw_rows_parse(rows, raw, &t.row[t.n++], &err))
            fail_msg("%s", err.text);
    }
    dw_rows_close(rows);
    dw_arena_finish(&a);
    return t;
}

static void free_table(table *t)
{
    for (size_t i = 0; i < t->n; i++)
        dw_json_free(t->row[i]);
    dw_free(t->row);
}

/* The marked ranges, in characters: "4-9,20-31". */
static void put_ranges(const dw_jinja_text *text, dw_buf *out)
{
    size_t chars = 0, from = 0;
    bool inside = false, any = false;
    for (size_t i = 0; i <= text->text.len; i++) {
        const bool end = i == text->text.len;
        if (!end && ((unsigned char)text->text.ptr[i] & 0xc0) == 0x80)
            continue;
        const bool said = !end && (text->mark.ptr[i] & DW_JMARK_ASSISTANT);
        if (said && !inside)
            from = chars;
        if (!said && inside) {
            dw_buf_printf(out, "%s%zu-%zu", any ? "," : "", from, chars);
            any = true;
        }
        inside = said;
        chars++;
    }
}

static dw_chat_request request_of(const dw_json *row)
{
    dw_err err = {{0}};
    dw_chat_request r = {.messages = dw_json_get(row, "messages"),
                         .tools = dw_json_get(row, "tools"),
                         .documents = dw_json_get(row, "documents"),
                         .variables = dw_json_get(row, "variables")};
    assert_int_equal(
        dw_json_get_bool(row, "add_generation_prompt", false, &r.add_generation_prompt, &err),
        DW_OK);
    return r;
}

/* As make_templates.py writes a result. */
static void result_of(const dw_chat *c, const dw_json *request, dw_buf *out, dw_buf *shown)
{
    static const char refuses[] = "the template refuses: ";
    dw_jinja_text text = {0};
    dw_err err = {{0}};
    dw_buf_clear(out);
    dw_buf_clear(shown);
    const dw_chat_request r = request_of(request);
    const dw_chat_job job = {c, &r, NULL, dw_chat_count(&r, NULL), r.add_generation_prompt};
    if (dw_chat_text(&job, &text, &err)) {
        const char *message = strstr(err.text, refuses);
        dw_buf_adds(shown, err.text);
        dw_buf_adds(out, message ? "!" : "?");
        dw_buf_adds(out, message ? message + sizeof refuses - 1 : "");
    } else {
        char hex[65];
        dw_buf_add(shown, text.text.ptr, text.text.len);
        dw_buf_addc(&text.text, 0);
        text.text.len--;
        dw_buf all = {0};
        dw_buf_add(&all, text.text.ptr, text.text.len + 1);
        put_ranges(&text, &all);
        dw_sha256_of(all.ptr, all.len, hex);
        dw_buf_add(out, hex, 16);
        dw_buf_finish(&all);
    }
    dw_jinja_text_finish(&text);
}

/* ---- ids ---- */

static dw_tokenizer *small;

static int open_small(void **state)
{
    dw_arena a = {0};
    dw_buf text = {0};
    dw_err err = {{0}};
    (void)state;
    const char *path = dw_path_join(&a, getenv("DOWEL_TESTS"), "golden/text/smollm2.json");
    if (dw_file_read(path, 1 << 24, &text, &err) ||
        dw_tokenizer_parse(dw_buf_text(&text), (dw_text){0}, path, &small, &err))
        fail_msg("%s", err.text);
    dw_buf_finish(&text);
    dw_arena_finish(&a);
    return 0;
}

static int close_small(void **state)
{
    (void)state;
    dw_tokenizer_free(small);
    return 0;
}

/* As make_templates.py writes ids: Hugging Face takes special tokens from anywhere. */
static void ids_of(const dw_chat *c, dw_chat_request r, dw_buf *out)
{
    dw_chat_out o = {0};
    dw_err err = {{0}};
    const bool said = dw_chat_has_generation(c);
    r.parse_special = true;
    dw_buf_clear(out);
    if (said ? dw_chat_render_masked(c, &r, &o, &err) : dw_chat_render(c, &r, &o, &err)) {
        dw_buf_adds(out, "?");
    } else {
        dw_buf all = {0};
        char hex[65];
        for (size_t i = 0; i < o.ids.n; i++)
            dw_buf_printf(&all, "%s%d", i ? "," : "", o.ids.id[i]);
        dw_buf_addc(&all, '|');
        for (size_t i = 0; i < o.ids.n && said; i++)
            dw_buf_printf(&all, "%s%d", i ? "," : "", o.mask[i]);
        dw_sha256_of(all.ptr, all.len, hex);
        dw_buf_add(out, hex, 16);
        dw_buf_finish(&all);
    }
    dw_chat_out_finish(&o);
}

/* How many of the conversations give other ids. */
static size_t check_ids(const char *name, const dw_chat *c, const dw_json *want,
                        const table *requests, bool variables)
{
    size_t wrong = 0, i = 0;
    dw_buf got = {0};
    for (want = dw_json_first(want); want && i < requests->n; want = dw_json_next(want), i++) {
        dw_chat_request r = request_of(requests->row[i]);
        if (!variables)
            r.variables = NULL;
        ids_of(c, r, &got);
        if (dw_text_eq(dw_buf_text(&got), dw_json_str(want)))
            continue;
        wrong++;
        print_message("%s, \"%s\": other ids (%s, %s)\n", name,
                      dw_json_str(dw_json_get(requests->row[i], "name")).ptr, dw_json_str(want).ptr,
                      got.ptr);
    }
    wrong += requests->n - i;
    dw_buf_finish(&got);
    return wrong;
}

static bool same_result(const dw_buf *got, dw_text want)
{
    if (dw_text_eq(dw_buf_text(got), want))
        return true;
    /* A very long message is cut in ours. */
    return want.len > 1000 && got->len > 1000 && !memcmp(got->ptr, want.ptr, 1000);
}

/* One template times all conversations; gives how many were right. */
static size_t check_template(const dw_json *row, const table *requests, const char *dir,
                             const char *show)
{
    dw_arena a = {0};
    dw_err err = {{0}};
    dw_buf source = {0}, got = {0}, shown = {0};
    dw_chat *c = NULL;
    char hex[65];
    size_t right = 0, i = 0;
    const dw_text name = dw_json_str(dw_json_get(row, "template"));
    if (dw_file_read(dw_path_join(&a, dir, name.ptr), 1 << 20, &source, &err))
        fail_msg("%s", err.text);
    dw_sha256_of(source.ptr, source.len, hex);
    if (!dw_text_is(dw_json_str(dw_json_get(row, "sha256")), hex))
        fail_msg("%s is another version than the one that the results are for", name.ptr);
    const dw_json *want = dw_json_first(dw_json_get(row, "results"));
    if (dw_chat_parse(dw_buf_text(&source), name.ptr, small, NULL, &c, &err))
        print_message("%s\n", err.text);
    for (; want && i < requests->n && c; want = dw_json_next(want), i++) {
        result_of(c, requests->row[i], &got, &shown);
        const bool same = same_result(&got, dw_json_str(want));
        right += same;
        const dw_text kind = dw_json_str(dw_json_get(requests->row[i], "name"));
        if (!same)
            print_message("%s, \"%s\": wanted %s, found %s\n", name.ptr, kind.ptr,
                          dw_json_str(want).ptr, got.ptr);
        if (!same && show && strstr(kind.ptr, show))
            print_message("%s\n", shown.ptr);
    }
    if (c && dw_json_get(row, "ids"))
        right -= check_ids(name.ptr, c, dw_json_get(row, "ids"), requests, true) > 0;
    dw_chat_free(c);
    dw_buf_finish(&source);
    dw_buf_finish(&got);
    dw_buf_finish(&shown);
    dw_arena_finish(&a);
    return right;
}

static void check_folder(const char *results, const char *dir)
{
    table rows = read_table(results), requests = read_table("conversations.jsonl");
    size_t right = 0;
    for (size_t i = 0; i < rows.n; i++) {
        const char *only = getenv("DOWEL_TEMPLATE");
        if (only && !strstr(dw_json_str(dw_json_get(rows.row[i], "template")).ptr, only))
            right += requests.n;
        else
            right += check_template(rows.row[i], &requests, dir, getenv("DOWEL_SHOW"));
    }
    print_message("%s: %zu of %zu renderings the same\n", results, right, rows.n * requests.n);
    assert_true(rows.n > 0);
    assert_int_equal(right, rows.n * requests.n);
    free_table(&rows);
    free_table(&requests);
}

static void own_templates(void **state)
{
    dw_arena a = {0};
    (void)state;
    check_folder("own.jsonl", dw_path_join(&a, folder(&a), "own"));
    dw_arena_finish(&a);
}

static void vendors_templates(void **state)
{
    const char *dir = getenv("DOWEL_TRL_TEMPLATES");
    (void)state;
    check_folder("trl.jsonl", dir);
}

static void smollm2(void **state)
{
    const char *dir = getenv("DOWEL_SMOLLM2");
    dw_tokenizer *t = NULL;
    dw_chat *c = NULL;
    dw_err err = {{0}};
    (void)state;
    if (dw_tokenizer_load(dir, &t, &err) || dw_chat_load(dir, t, &c, &err))
        fail_msg("%s", err.text);
    table rows = read_table("smollm2.jsonl"), requests = read_table("conversations.jsonl");
    const size_t wrong = check_ids("SmolLM2", c, dw_json_get(rows.row[0], "ids"), &requests, false);
    print_message("SmolLM2: %zu of %zu with transformers' ids\n", requests.n - wrong, requests.n);
    assert_int_equal(wrong, 0);
    free_table(&rows);
    free_table(&requests);
    dw_chat_free(c);
    dw_tokenizer_free(t);
}

/* Small templates: the text itself is kept. */
static bool check_expression(const dw_json *row, const dw_json *defaults)
{
    static const char hi[] = "[{\"role\":\"user\",\"content\":\"Hi\"}]";
    const dw_json *text = dw_json_get(row, "text"), *own = dw_json_get(row, "variables");
    const dw_json *ranges = dw_json_get(row, "ranges");
    const dw_text source = dw_json_str(dw_json_get(row, "source"));
    dw_err err = {{0}};
    dw_jinja_text out = {0};
    dw_json *messages = NULL;
    dw_chat *c = NULL;
    dw_buf marked = {0};
    assert_int_equal(dw_json_parse(hi, sizeof hi - 1, 8, 1, &messages, &err), DW_OK);
    const dw_chat_request r = {.messages = messages, .variables = own ? own : defaults};
    dw_status st = dw_chat_parse(source, "t", NULL, NULL, &c, &err);
    const dw_chat_job job = {c, &r, NULL, 1, false};
    if (!st)
        st = dw_chat_text(&job, &out, &err);
    if (!st)
        put_ranges(&out, &marked);
    bool same = text ? !st && dw_text_eq(dw_buf_text(&out.text), dw_json_str(text)) : st != DW_OK;
    if (same && ranges)
        same = dw_text_eq(dw_buf_text(&marked), dw_json_str(ranges));
    if (!same)
        print_message("%s\n  wanted %s\n  found  %s\n", source.ptr,
                      text ? dw_json_str(text).ptr : "a refusal",
                      st ? err.text : dw_buf_text(&out.text).ptr);
    if (st)
        assert_true(strlen(err.text) > 3);
    dw_chat_free(c);
    dw_json_free(messages);
    dw_jinja_text_finish(&out);
    dw_buf_finish(&marked);
    return same;
}

static void expressions(void **state)
{
    table rows = read_table("expressions.jsonl");
    const dw_json *defaults = dw_json_get(rows.row[0], "variables");
    size_t right = 0;
    (void)state;
    for (size_t i = 1; i < rows.n; i++)
        right += check_expression(rows.row[i], defaults);
    print_message("%zu of %zu small templates as jinja2 has them\n", right, rows.n - 1);
    assert_true(rows.n > 300);
    assert_int_equal(right, rows.n - 1);
    free_table(&rows);
}

/* Files that do not ship: the test "vendors", which is skipped as a whole where none is named. */
static int vendors(void)
{
    const char *templates = getenv("DOWEL_TRL_TEMPLATES"), *smol = getenv("DOWEL_SMOLLM2");
    struct CMUnitTest tests[2];
    size_t n = 0;
    if (templates && *templates)
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(vendors_templates);
    if (smol && *smol)
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(smollm2);
    if (n == 0) {
        puts(
            "1..0 # SKIP set DOWEL_TRL_TEMPLATES (trl/chat_templates of TRL 1.16) or DOWEL_SMOLLM2 "
            "(the folder of SmolLM2-135M-Instruct)");
        return 0;
    }
    return _cmocka_run_group_tests("vendors", tests, n, open_small, close_small);
}

int main(int argc, char **argv)
{
    (void)argv;
    setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
    if (argc > 1)
        return vendors();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions),
        cmocka_unit_test(own_templates),
    };
    return cmocka_run_group_tests(tests, open_small, close_small);
}
