/* Conversational rows against what TRL's own preprocessing makes of them (make_talk.py).
 *
 * With loss_on = "all" ids and trained tokens are TRL's. By default an answer ends with the token
 * that ends the turn, and the line feed that templates write behind it is neither in it nor
 * trained. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "datafile.h"
#include "model/model.h"

enum { EOS = 2 };

static dw_tokenizer *tok;
static dw_json *config, *golden;

static const char *path_of(const char *name)
{
    const char *tests = getenv("DOWEL_TESTS");
    return dw_arena_printf(&test_arena, "%s/%s", tests ? tests : "tests", name);
}

static int setup(void **state)
{
    dw_err err = {{0}};
    if (test_root_make(state) || dw_tokenizer_load(path_of("../examples/model"), &tok, &err) ||
        dw_json_read(path_of("../examples/model/tokenizer_config.json"), 1 << 20, &config, &err) ||
        dw_json_read(path_of("golden/talk/trl.json"), 1 << 24, &golden, &err)) {
        print_error("%s\n", err.text);
        return -1;
    }
    return 0;
}

static int teardown(void **state)
{
    dw_tokenizer_free(tok);
    dw_json_free(config);
    dw_json_free(golden);
    return test_root_remove(state);
}

/* NULL where the template is a vendor's and is not there. */
static dw_chat *chat_of(const char *name)
{
    dw_err err = {{0}};
    dw_chat *c = NULL;
    dw_buf text = {0};
    if (!strcmp(name, "smollm2")) {
        const char *gguf = getenv("DOWEL_SMOLLM2_GGUF");
        if (gguf && dw_model_words_chat(gguf, tok, &c, &err) < 0)
            fail_msg("%s", err.text);
        return c;
    }
    const char *file = path_of(dw_arena_printf(&test_arena, "golden/talk/%s.jinja", name));
    if (dw_file_read(file, 1 << 20, &text, &err) < 0 ||
        dw_chat_parse(dw_buf_text(&text), name, tok, config, &c, &err) < 0)
        fail_msg("%s", err.text);
    dw_buf_finish(&text);
    return c;
}

static const char *text_of(const dw_json *v, const char *key)
{
    dw_text t = dw_json_str(dw_json_get(v, key));
    return dw_arena_strndup(&test_arena, t.ptr, t.len);
}

static dw_dataset *load(const dw_json *c, const dw_chat *chat, dw_loss_on loss)
{
    static const char *file[1];
    dw_buf row = {0};
    dw_err err = {{0}};
    dw_dataset *d;
    int type = 0;
    while (strcmp(dw_data_type_name((dw_data_type)type), text_of(c, "type")) != 0)
        type++;
    dw_json_put(&row, dw_json_get(c, "row"), false, 0);
    file[0] = test_file("rows.jsonl", row.ptr, row.len);
    dw_data_spec s = {.type = (dw_data_type)type,
                      .file = file,
                      .n_file = 1,
                      .add_eos = true,
                      .add_bos = true,
                      .loss_on = loss,
                      .chat = chat};
    if (dw_dataset_load(&s, tok, 0, NULL, NULL, &d, &err) < 0)
        fail_msg("%s: %s: %s", text_of(c, "template"), row.ptr, err.text);
    dw_buf_finish(&row);
    return d;
}

static void same_ids(const dw_json *want, const int32_t *id, size_t n)
{
    int64_t x;
    size_t i = 0;
    for (const dw_json *v = dw_json_first(want); v; v = dw_json_next(v), i++) {
        assert_true(dw_json_int(v, &x));
        assert_true(i < n);
        assert_int_equal(id[i], x);
    }
    assert_int_equal(i, n);
}

static bool trained(const dw_row *r, const dw_answer *a, size_t i)
{
    return !r->mask || r->mask[a->id - r->answer[0].id + i];
}

/* Rows whose labels are of prompt and answer in one list. */
static void check_labels(const dw_json *part, const dw_row *r)
{
    const dw_answer *a = &r->answer[0];
    int64_t x;
    size_t i = 0;
    dw_ids all = {0};
    for (size_t k = 0; k < r->n_prompt; k++)
        dw_ids_push(&all, r->prompt[k]);
    for (size_t k = 0; k < a->n; k++)
        dw_ids_push(&all, a->id[k]);
    same_ids(dw_json_get(part, "ids"), all.id, all.n);
    dw_ids_finish(&all);
    for (const dw_json *v = dw_json_first(dw_json_get(part, "label")); v;
         v = dw_json_next(v), i++) {
        assert_true(dw_json_int(v, &x));
        assert_int_equal(i >= r->n_prompt && trained(r, a, i - r->n_prompt), x);
    }
}

static void check_parts(const dw_json *c, const dw_row *r)
{
    const dw_json *part = dw_json_first(dw_json_get(c, "parts"));
    if (dw_json_get(part, "label")) {
        check_labels(part, r);
        return;
    }
    same_ids(dw_json_get(part, "prompt"), r->prompt, r->n_prompt);
    for (size_t i = 0; i < r->n_answer; i++, part = dw_json_next(part)) {
        same_ids(dw_json_get(part, "ids"), r->answer[i].id, r->answer[i].n);
        for (size_t k = 0; k < r->answer[i].n; k++)
            assert_true(trained(r, &r->answer[i], k));
    }
}

/* The default: the same prompt; answers up to the end of the turn, which is trained on, once. */
static void check_default(const dw_json *c, const dw_chat *chat, const dw_row *all)
{
    dw_dataset *d = load(c, chat, DW_LOSS_ASSISTANT);
    const dw_row *r = dw_dataset_row(d, 0);
    assert_int_equal(r->n_prompt, all->n_prompt);
    assert_memory_equal(r->prompt, all->prompt, r->n_prompt * sizeof *r->prompt);
    for (size_t i = 0; i < r->n_answer; i++) {
        const dw_answer *a = &r->answer[i];
        assert_int_equal(a->id[a->n - 1], EOS);
        assert_true(trained(r, a, a->n - 1));
        assert_in_range(all->answer[i].n - a->n, 0, 1);
        assert_memory_equal(a->id, all->answer[i].id, a->n * sizeof *a->id);
    }
    dw_dataset_free(d);
}

static void replay(const char *name, size_t least)
{
    dw_chat *chat = chat_of(name);
    size_t n = 0;
    assert_non_null(chat);
    for (const dw_json *c = dw_json_first(golden); c; c = dw_json_next(c)) {
        bool all = !strcmp(text_of(c, "loss_on"), "all");
        if (strcmp(text_of(c, "template"), name) != 0)
            continue;
        dw_dataset *d = load(c, chat, all ? DW_LOSS_ALL : DW_LOSS_ASSISTANT);
        check_parts(c, dw_dataset_row(d, 0));
        if (all && strcmp(text_of(c, "type"), "texts") != 0)
            check_default(c, chat, dw_dataset_row(d, 0));
        dw_dataset_free(d);
        n++;
    }
    dw_chat_free(chat);
    assert_true(n >= least);
}

static void turns(void **state)
{
    (void)state;
    replay("turns", 20);
}

static void script(void **state)
{
    (void)state;
    replay("script", 15);
}

static void thinker(void **state)
{
    (void)state;
    replay("thinker", 15);
}

static void smollm2(void **state)
{
    (void)state;
    replay("smollm2", 15);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(turns), cmocka_unit_test(script),
                                       cmocka_unit_test(thinker)};
    const struct CMUnitTest vendors[] = {cmocka_unit_test(smollm2)};
    (void)argv;
    if (argc > 1 && !getenv("DOWEL_SMOLLM2_GGUF")) {
        puts("1..0 # SKIP set DOWEL_SMOLLM2_GGUF (SmolLM2-135M-Instruct.Q4_1.gguf)");
        return 0;
    }
    return argc > 1 ? cmocka_run_group_tests(vendors, setup, teardown)
                    : cmocka_run_group_tests(tests, setup, teardown);
}
