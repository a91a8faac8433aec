/* 6 steps = 3 + save + resume + 3, bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/hash.h"
#include "tiny.h"

typedef struct kind {
    const char *tasks, *weights, *rest;
} kind;

static const char *file_hash(tiny *t, const char *run, const char *name)
{
    char hex[65];
    dw_err err = {{0}};
    const char *path = dw_path_join(&t->arena, dw_path_join(&t->arena, t->dir, run), name);
    tiny_must(dw_sha256_file(path, hex, &err), &err);
    return dw_arena_strdup(&t->arena, hex);
}

/* metrics.jsonl without the times. */
static char *metrics(tiny *t, const char *run, const char *name)
{
    dw_buf file = {0}, out = {0};
    dw_err err = {{0}};
    const char *path = dw_path_join(&t->arena, dw_path_join(&t->arena, t->dir, run), name);
    tiny_must(dw_file_read(path, 1 << 24, &file, &err), &err);
    for (char *line = strtok(file.ptr, "\n"); line; line = strtok(NULL, "\n")) {
        char *time = strstr(line, ",\"step_time\"");
        if (!time)
            time = strstr(line, ",\"eval_time\"");
        if (time)
            *time = 0;
        dw_buf_printf(&out, "%s\n", line);
    }
    char *text = dw_arena_strdup(&t->arena, out.ptr ? out.ptr : "");
    dw_buf_finish(&file);
    dw_buf_finish(&out);
    return text;
}

static void run_whole(tiny *t, const kind *k, const char *out)
{
    dw_err err = {{0}};
    dw_plan *p = tiny_plan(t, k->tasks, k->weights, k->rest);
    dw_run_options o = tiny_options(t, out, 0);
    tiny_must(dw_run(p, NULL, &o, &err), &err);
    dw_plan_free(p);
}

static void run_halves(tiny *t, const kind *k, const char *out)
{
    dw_err err = {{0}};
    dw_plan *p = tiny_plan(t, k->tasks, k->weights, k->rest);
    dw_run_options o = tiny_options(t, out, 3);
    dw_status st = dw_run(p, NULL, &o, &err);
    if (st != DW_E_SIGINT)
        fail_msg("expected a stop, got %d: %s", (int)st, err.text);
    dw_plan_free(p);
    tiny_must(dw_plan_read(dw_path_join(&t->arena, o.out, "plan.json"), &p, &err), &err);
    o.stop_at = 0;
    tiny_must(dw_run_resume(p, NULL, &o, &err), &err);
    dw_plan_free(p);
}

static void check(const kind *k, const char *weights, bool samples)
{
    tiny t = tiny_make();
    run_whole(&t, k, "whole");
    run_halves(&t, k, "halves");
    assert_string_equal(file_hash(&t, "whole/final", weights),
                        file_hash(&t, "halves/final", weights));
    const char *whole = metrics(&t, "whole", "metrics.jsonl");
    assert_non_null(strstr(whole, "\"step\":6"));
    assert_string_equal(whole, metrics(&t, "halves", "metrics.jsonl"));
    if (samples)
        assert_string_equal(metrics(&t, "whole", "samples.jsonl"),
                            metrics(&t, "halves", "samples.jsonl"));
    tiny_finish(&t);
}

static void sft(void **state)
{
    const kind k = {TINY_SFT, "\"sft\":1", ",\"save_every\":2"};
    check(&k, "model.safetensors", false);
}

static void dpo(void **state)
{
    const kind k = {TINY_DPO, "\"dpo\":1", ""};
    check(&k, "model.safetensors", false);
}

static void dpo_lora(void **state)
{
    const kind k = {TINY_DPO, "\"dpo\":1", "LORA"};
    check(&k, "adapter_model.safetensors", false);
}

static void grpo(void **state)
{
    const kind k = {TINY_GRPO, "\"grpo\":1", ""};
    check(&k, "model.safetensors", true);
}

static void mixed(void **state)
{
    const kind k = {TINY_SFT "," TINY_DPO "," TINY_GRPO,
                    "\"sft\":0.5,\"dpo\":{\"schedule\":\"linear\",\"from\":0,\"to\":1},"
                    "\"grpo\":1",
                    "LORA,\"micro_tokens\":40"};
    check(&k, "adapter_model.safetensors", true);
}

/* Everything that remembers: a multiplier, a limit, a moving norm, numbers of the past. */
static void remembering(void **state)
{
    const kind k = {TINY_SFT "," TINY_DPO, "\"sft\":1,\"dpo\":1",
                    ",\"combine\":{\"kind\":\"norm\"},\"constraints\":{\"c\":{\"metric\":"
                    "\"sft/loss\",\"bound\":4,\"task\":\"sft\",\"window\":3,\"kind\":\"pid\"}},"
                    "\"limits\":{\"l\":{\"metric\":\"sft/loss\",\"bound\":5,\"action\":\"slow\","
                    "\"window\":2}}"};
    check(&k, "model.safetensors", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sft),      cmocka_unit_test(dpo),
                                       cmocka_unit_test(dpo_lora), cmocka_unit_test(grpo),
                                       cmocka_unit_test(mixed),    cmocka_unit_test(remembering)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
