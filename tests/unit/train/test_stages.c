/* Stages: a finished one is not run again, an interrupted one goes on bit for bit, and whatever
 * changes a stage's inputs changes its address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/hash.h"
#include "model/gguf.h"
#include "tiny.h"
#include "train/stages.h"

static const char sft[] = TINY_SFT, dpo[] = TINY_DPO;
static const char *begin = "saved"; /* the first stage's model */

/* SFT, then DPO from what it came to; "STEPS" counts those of the second. */
static dw_program *two_stages(tiny *t, int steps)
{
    dw_buf b = {0}, full = {0};
    dw_json *root = NULL;
    dw_program *p = NULL;
    dw_err err = {{0}};
    dw_buf_printf(&b,
                  "{\"dowel\":1,\"stages\":["
                  "{\"name\":\"sft\",\"plan\":{\"dowel\":1,\"name\":\"tiny\",\"seed\":17,"
                  "\"model\":{\"path\":\"DIR/%s\"},\"tasks\":{%s},\"save_every\":1,\"schedule\":"
                  "[{\"steps\":4,\"weights\":{\"sft\":1}}],\"optimizer\":{\"lr\":0.003}}},"
                  "{\"name\":\"dpo\",\"plan\":{\"dowel\":1,\"name\":\"tiny\",\"seed\":17,"
                  "\"model\":{\"path\":\"stage:sft/final\"},\"tasks\":{%s},\"schedule\":"
                  "[{\"steps\":%d,\"weights\":{\"dpo\":1}}],\"optimizer\":{\"lr\":0.003}}}]}",
                  begin, sft, dpo, steps);
    for (const char *s = b.ptr; *s;) {
        bool dir = !strncmp(s, "DIR", 3);
        dw_buf_add(&full, dir ? t->dir : s, dir ? strlen(t->dir) : 1);
        s += dir ? 3 : 1;
    }
    tiny_must(dw_json_parse(full.ptr, full.len, DW_JSON_DEPTH_HEADER, 1, &root, &err), &err);
    tiny_must(dw_program_parse(root, &p, &err), &err);
    dw_buf_finish(&b);
    dw_buf_finish(&full);
    return p;
}

/* Runs both; what it returned. stop_at 0: to the end. */
static dw_status run(tiny *t, const char *out, int steps, uint64_t stop_at)
{
    dw_err err = {{0}};
    dw_program *p = two_stages(t, steps);
    dw_run_options o = tiny_options(t, out, stop_at);
    dw_status st = dw_stages_run(p, NULL, &o, &err);
    if (st < 0 && st != DW_E_SIGINT)
        fail_msg("%s", err.text);
    dw_program_free(p);
    return st;
}

/* Folders of a stage in RUN: how many, and the first one's path. */
static size_t folders(tiny *t, const char *out, const char *stage, const char **first)
{
    char **name;
    size_t n, found = 0;
    dw_err err = {{0}};
    const char *dir = dw_path_join(&t->arena, t->dir, out);
    tiny_must(dw_dir_list(&t->arena, dir, &name, &n, &err), &err);
    for (size_t i = 0; i < n; i++)
        if (!strncmp(name[i], stage, strlen(stage)) && name[i][strlen(stage)] == '-' &&
            found++ == 0)
            *first = dw_path_join(&t->arena, dir, name[i]);
    return found;
}

static const char *hash_of(tiny *t, const char *dir, const char *file)
{
    char hex[65];
    dw_err err = {{0}};
    tiny_must(dw_sha256_file(dw_path_join(&t->arena, dir, file), hex, &err), &err);
    return dw_arena_strdup(&t->arena, hex);
}

static uint64_t inode(tiny *t, const char *dir, const char *file)
{
    struct stat s;
    assert_int_equal(stat(dw_path_join(&t->arena, dir, file), &s), 0);
    return s.st_ino;
}

static void chain(void **state)
{
    tiny t = tiny_make();
    const char *a = NULL, *b = NULL;
    assert_int_equal(run(&t, "run", 3, 0), DW_OK);
    assert_int_equal(folders(&t, "run", "sft", &a), 1);
    assert_int_equal(folders(&t, "run", "dpo", &b), 1);
    /* the second began where the first ended, and moved on from there */
    const char *start = dw_path_join(&t.arena, t.dir, "saved/model.safetensors");
    const char *first = hash_of(&t, a, "final/model.safetensors");
    const char *second = hash_of(&t, b, "final/model.safetensors");
    assert_string_not_equal(first, hash_of(&t, "/", start));
    assert_string_not_equal(first, second);
    assert_string_equal(
        second, hash_of(&t, dw_path_join(&t.arena, t.dir, "run"), "final/model.safetensors"));
    dw_buf plan = {0};
    dw_err err = {{0}};
    tiny_must(dw_file_read(dw_path_join(&t.arena, b, "plan.json"), 1 << 20, &plan, &err), &err);
    assert_non_null(strstr(plan.ptr, dw_path_join(&t.arena, a, "final")));
    dw_buf_finish(&plan);
    tiny_finish(&t);
}

/* The same model as a GGUF file: other inputs, so other addresses, and the same result. */
static void from_gguf(void **state)
{
    tiny t = tiny_make();
    const char *a = NULL, *b = NULL;
    dw_err err = {{0}};
    dw_exec x;
    dw_model *m = NULL;
    dw_model_options o = {0};
    tiny_must(dw_exec_init(&x, 1, NULL, &err), &err);
    tiny_must(dw_model_open(&x, dw_path_join(&t.arena, t.dir, "saved"), &o, &m, &err), &err);
    tiny_must(dw_gguf_export(m, dw_path_join(&t.arena, t.dir, "saved.gguf"), DW_DT_F32, &err),
              &err);
    dw_model_free(m);
    dw_exec_finish(&x);
    assert_int_equal(run(&t, "plain", 3, 0), DW_OK);
    begin = "saved.gguf";
    dw_status st = run(&t, "packed", 3, 0);
    begin = "saved";
    assert_int_equal(st, DW_OK);
    folders(&t, "plain", "sft", &a);
    folders(&t, "packed", "sft", &b);
    assert_string_not_equal(dw_path_base(a), dw_path_base(b));
    assert_string_equal(hash_of(&t, a, "final/model.safetensors"),
                        hash_of(&t, b, "final/model.safetensors"));
    tiny_finish(&t);
}

static void finished_ones_stay(void **state)
{
    tiny t = tiny_make();
    const char *a = NULL, *b = NULL;
    assert_int_equal(run(&t, "run", 3, 0), DW_OK);
    folders(&t, "run", "sft", &a);
    folders(&t, "run", "dpo", &b);
    uint64_t at = inode(&t, a, "final/model.safetensors"),
             bt = inode(&t, b, "final/model.safetensors");
    assert_int_equal(run(&t, "run", 3, 0), DW_OK);
    assert_int_equal(inode(&t, a, "final/model.safetensors"), at);
    assert_int_equal(inode(&t, b, "final/model.safetensors"), bt);
    /* another second stage: the first still stands */
    assert_int_equal(run(&t, "run", 2, 0), DW_OK);
    assert_int_equal(inode(&t, a, "final/model.safetensors"), at);
    assert_int_equal(folders(&t, "run", "dpo", &b), 2);
    assert_int_equal(folders(&t, "run", "sft", &a), 1);
    tiny_finish(&t);
}

static void other_data_is_another_address(void **state)
{
    tiny t = tiny_make();
    const char *a = NULL;
    assert_int_equal(run(&t, "run", 3, 0), DW_OK);
    tiny_write(&t, "chats.jsonl", "{\"prompt\":\"a\",\"completion\":\"b\"}\n");
    assert_int_equal(run(&t, "run", 3, 0), DW_OK);
    /* the second stage's inputs have changed with the first's */
    assert_int_equal(folders(&t, "run", "sft", &a), 2);
    assert_int_equal(folders(&t, "run", "dpo", &a), 2);
    tiny_finish(&t);
}

/* One stage alone cannot be resumed: the advice is to resume all of them. */
static void shows_the_whole(tiny *t, const char *out)
{
    dw_buf said = {0};
    dw_err err = {{0}};
    const char *dir = dw_path_join(&t->arena, t->dir, out);
    tiny_must(dw_stages_show(dir, &said, &err), &err);
    assert_non_null(strstr(said.ptr, dw_arena_printf(&t->arena, "next:  dowel resume %s\n", dir)));
    dw_buf_finish(&said);
}

static void interrupted_ones_go_on(void **state)
{
    tiny t = tiny_make();
    const char *whole = NULL, *parts = NULL;
    assert_int_equal(run(&t, "whole", 3, 0), DW_OK);
    assert_int_equal(run(&t, "parts", 3, 2), DW_E_SIGINT); /* in the first stage */
    shows_the_whole(&t, "parts");
    assert_int_equal(folders(&t, "parts", "dpo", &parts), 0);
    assert_int_equal(run(&t, "parts", 3, 3), DW_E_SIGINT);
    assert_int_equal(run(&t, "parts", 3, 0), DW_OK);
    folders(&t, "whole", "dpo", &whole);
    folders(&t, "parts", "dpo", &parts);
    assert_string_equal(dw_path_base(whole), dw_path_base(parts));
    assert_string_equal(hash_of(&t, whole, "final/model.safetensors"),
                        hash_of(&t, parts, "final/model.safetensors"));
    tiny_finish(&t);
}

static void refuses(tiny *t, const char *stages, const char *message)
{
    dw_buf b = {0};
    dw_json *root = NULL;
    dw_program *p = NULL;
    dw_err err = {{0}};
    const char plan[] = "{\"dowel\":1,\"model\":{\"path\":\"%s\"},\"tasks\":{\"sft\":{\"data\":{"
                        "\"type\":\"texts\",\"files\":[\"/a\"]},\"objectives\":{\"sft\":{"
                        "\"plugin\":\"sft\",\"weight\":1}}}},\"schedule\":[{\"steps\":1,"
                        "\"weights\":{\"sft\":1}}],\"optimizer\":{\"lr\":1}}";
    const char *split = strchr(stages, '|'); /* NAME|PATH,NAME|PATH */
    dw_buf_adds(&b, "{\"dowel\":1,\"stages\":[");
    for (const char *s = stages; split; s = strchr(split, ',') + 1, split = strchr(s, '|')) {
        const char *end = strchr(split, ',');
        dw_buf_printf(&b, "%s{\"name\":\"%.*s\",\"plan\":", s == stages ? "" : ",",
                      (int)(split - s), s);
        char *path = dw_arena_strndup(&t->arena, split + 1, (size_t)(end - split - 1));
        dw_buf_printf(&b, plan, path);
        dw_buf_addc(&b, '}');
    }
    dw_buf_adds(&b, "]}");
    tiny_must(dw_json_parse(b.ptr, b.len, DW_JSON_DEPTH_HEADER, 1, &root, &err), &err);
    assert_int_equal(dw_program_parse(root, &p, &err), DW_E_RECIPE);
    assert_string_equal(err.text, message);
    assert_null(p);
    dw_buf_finish(&b);
}

static void bad_programs(void **state)
{
    tiny t = {0};
    refuses(&t, "a|/m,b|stage:c/final,",
            "stages.b: path 'stage:c/final': no stage 'c' before this one");
    refuses(&t, "a|stage:b/final,b|/m,",
            "stages.a: path 'stage:b/final': no stage 'b' before this one");
    refuses(&t, "a|/m,a|/m,", "stages.1.name: there are two stages 'a'");
    refuses(&t, "x/y|/m,", "stages.0.name: 'x/y' cannot name a folder");
    refuses(&t, "", "stages: expected a list of at least one stage");
    dw_arena_finish(&t.arena);
}

static void foreign_folder(void **state)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    tiny_write(&t, "run/notes.txt", "mine");
    dw_program *p = two_stages(&t, 3);
    dw_run_options o = tiny_options(&t, "run", 0);
    assert_int_equal(dw_stages_run(p, NULL, &o, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text, "is not empty and holds no stages"));
    dw_program_free(p);
    tiny_finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chain),
        cmocka_unit_test(from_gguf),
        cmocka_unit_test(finished_ones_stay),
        cmocka_unit_test(other_data_is_another_address),
        cmocka_unit_test(interrupted_ones_go_on),
        cmocka_unit_test(bad_programs),
        cmocka_unit_test(foreign_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
