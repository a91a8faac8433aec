/* Signals, unscored answers, steps that come out as NaN, evaluations. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "tiny.h"

#define LUA_TASK                                                                                   \
    "\"main\":{\"data\":{\"type\":\"prompts\",\"files\":[\"DIR/prompts.jsonl\"]},\"rows\":2,"      \
    "\"rollout\":{\"samples\":4,\"max_tokens\":8},\"rewards\":{\"fn\":{\"weight\":1,\"lua\":"      \
    "\"fn\"}},\"objectives\":{\"grpo\":{\"plugin\":\"grpo\",\"weight\":1}}}"
#define FUNCTIONS ",\"functions\":{\"fn\":\"reward\"}"

/* A reward in place of Lua's: what it answers, and what it does at its nth call. */
typedef struct fake {
    int calls, at, sig, times;
    bool (*silent)(const dowel_sample *s);
} fake;

static dw_status reward(void *ctx, const char *fn, const dowel_sample *s, double *value,
                        dw_buf *why, dw_err *err)
{
    fake *f = ctx;
    if (++f->calls == f->at)
        for (int i = 0; i < f->times; i++)
            raise(f->sig);
    *value = f->silent && f->silent(s) ? NAN : (double)(s->completion.len % 7);
    dw_buf_adds(why, "length mod 7");
    return DW_OK;
}

static dw_callbacks callbacks(fake *f)
{
    return (dw_callbacks){.ctx = f, .reward = reward};
}

static char *read_text(tiny *t, const char *name)
{
    dw_buf b = {0};
    dw_err err = {{0}};
    tiny_must(dw_file_read(dw_path_join(&t->arena, t->dir, name), 1 << 24, &b, &err), &err);
    char *s = dw_arena_strndup(&t->arena, b.ptr, b.len);
    dw_buf_finish(&b);
    return s;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++)
        n++;
    return n;
}

static const char *hash_of(tiny *t, const char *name)
{
    char hex[65];
    dw_err err = {{0}};
    tiny_must(dw_sha256_file(dw_path_join(&t->arena, t->dir, name), hex, &err), &err);
    return dw_arena_strdup(&t->arena, hex);
}

/* ---- what ends a run ---- */

static dw_status reward_once(void *ctx, const char *fn, const dowel_sample *s, double *value,
                             dw_buf *why, dw_err *err)
{
    fake *f = ctx;
    if (f->calls + 1 == f->at)
        return dw_fail(err, DW_E_RECIPE, "boo");
    return reward(ctx, fn, s, value, why, err);
}

static void the_steps_before_an_error_are_kept(void **state)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    fake calm = {0}, broken = {.at = 21}; /* in the middle of step 3 */
    dw_callbacks cb = callbacks(&calm), bcb = {.ctx = &broken, .reward = reward_once};
    dw_run_options whole = tiny_options(&t, "whole", 0), o = tiny_options(&t, "stopped", 0);
    dw_plan *p = tiny_plan(&t, LUA_TASK, "\"main\":1", FUNCTIONS);
    tiny_must(dw_run(p, &cb, &whole, &err), &err);
    assert_int_equal(dw_run(p, &bcb, &o, &err), DW_E_RECIPE);
    assert_true(dw_dir_exists(dw_path_join(&t.arena, o.out, "checkpoint-2")));
    tiny_must(dw_run_resume(p, &cb, &o, &err), &err);
    assert_string_equal(hash_of(&t, "whole/final/model.safetensors"),
                        hash_of(&t, "stopped/final/model.safetensors"));
    assert_string_equal(read_text(&t, "whole/samples.jsonl"),
                        read_text(&t, "stopped/samples.jsonl"));
    dw_plan_free(p);
    tiny_finish(&t);
}

/* ---- epochs ---- */

/* Rows that are dropped do not lengthen an epoch, and a resumed run counts as the first did. */
static void epochs_count_the_rows_that_are_kept(void **state)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    tiny_write(&t, "chats.jsonl",
               "{\"prompt\":\"a\",\"completion\":\"\"}\n{\"prompt\":\"b\",\"completion\":\"x\"}\n"
               "{\"prompt\":\"c\",\"completion\":\"\"}\n{\"prompt\":\"d\",\"completion\":\"y\"}\n"
               "{\"prompt\":\"e\",\"completion\":\"z\"}\n");
    static const char text[] =
        "{\"dowel\":1,\"name\":\"tiny\",\"seed\":17,\"model\":{\"path\":\"%s/saved\"},\"tasks\":{"
        "\"sft\":{\"data\":{\"type\":\"completions\",\"files\":[\"%s/chats.jsonl\"]},\"rows\":1,"
        "\"objectives\":{\"sft\":{\"plugin\":\"sft\",\"weight\":1}}}},\"schedule\":[{\"steps\":10,"
        "\"epochs\":2,\"weights\":{\"sft\":1}}],\"optimizer\":{\"kind\":\"sgd\",\"lr\":0.1}}";
    char *json = dw_arena_printf(&t.arena, text, t.dir, t.dir);
    const char *run = dw_path_join(&t.arena, t.dir, "run");
    dw_json *root = NULL;
    dw_plan *p = NULL;
    dw_callbacks none = {0};
    tiny_must(dw_json_parse(json, strlen(json), DW_JSON_DEPTH_HEADER, 1, &root, &err), &err);
    tiny_must(dw_plan_parse(root, &p, &err), &err);
    dw_run_options o = tiny_options(&t, "run", 4);
    assert_int_equal(dw_run(p, &none, &o, &err), DW_E_SIGINT);
    assert_int_equal(p->steps, 6);
    dw_plan_free(p);
    tiny_must(dw_plan_read(dw_path_join(&t.arena, run, "plan.json"), &p, &err), &err);
    o.stop_at = 0;
    tiny_must(dw_run_resume(p, &none, &o, &err), &err);
    assert_int_equal(p->steps, 6);
    assert_int_equal(count(read_text(&t, "run/metrics.jsonl"), "\"step\":"), 6);
    dw_plan_free(p);
    tiny_finish(&t);
}

/* ---- signals ---- */

static void check_signal(int sig, dw_status expected)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    fake calm = {0}, nervous = {.at = 13, .sig = sig, .times = 1}; /* in the middle of step 2 */
    dw_callbacks cb = callbacks(&calm), ncb = callbacks(&nervous);
    dw_run_options whole = tiny_options(&t, "whole", 0), o = tiny_options(&t, "stopped", 0);
    dw_plan *p = tiny_plan(&t, LUA_TASK, "\"main\":1", FUNCTIONS);
    tiny_must(dw_run(p, &cb, &whole, &err), &err);
    assert_int_equal(dw_run(p, &ncb, &o, &err), expected);
    assert_true(dw_dir_exists(dw_path_join(&t.arena, o.out, "checkpoint-2")));
    assert_int_equal(nervous.calls, 16); /* the step was finished */
    tiny_must(dw_run_resume(p, &cb, &o, &err), &err);
    assert_string_equal(hash_of(&t, "whole/final/model.safetensors"),
                        hash_of(&t, "stopped/final/model.safetensors"));
    dw_plan_free(p);
    tiny_finish(&t);
}

static void the_step_is_finished_and_saved(void **state)
{
    check_signal(SIGINT, DW_E_SIGINT);
    check_signal(SIGTERM, DW_E_SIGTERM);
}

static void a_second_interrupt_quits_at_once(void **state)
{
    tiny t = tiny_make();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dw_err err = {{0}};
        fake f = {.at = 3, .sig = SIGINT, .times = 2};
        dw_callbacks cb = callbacks(&f);
        dw_run_options o = tiny_options(&t, "run", 0);
        dw_run(tiny_plan(&t, LUA_TASK, "\"main\":1", FUNCTIONS), &cb, &o, &err);
        _exit(1);
    }
    int status = 0;
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    tiny_finish(&t);
}

/* ---- no opinion ---- */

static bool odd(const dowel_sample *s)
{
    return s->id % 2;
}

static bool always(const dowel_sample *s)
{
    return true;
}

static void unscored_answers_are_counted_and_left_out(void **state)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    fake f = {.silent = odd};
    dw_callbacks cb = callbacks(&f);
    dw_run_options o = tiny_options(&t, "run", 0);
    dw_plan *p = tiny_plan(&t, LUA_TASK, "\"main\":1", FUNCTIONS);
    tiny_must(dw_run(p, &cb, &o, &err), &err);
    const char *metrics = read_text(&t, "run/metrics.jsonl");
    const char *samples = read_text(&t, "run/samples.jsonl");
    assert_int_equal(count(metrics, "\"frac_unscored\":0.5,"), 6);
    assert_int_equal(count(samples, "\n"), 48);
    assert_int_equal(count(samples, "\"reward\":null,\"rewards\":{\"fn\":null}"), 24);
    assert_int_equal(count(samples, "\"why\":{\"fn\":\"length mod 7\"}"), 48);
    dw_plan_free(p);
    tiny_finish(&t);
}

static void steps_without_any_score_stop_the_run(void **state)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    fake f = {.silent = always};
    dw_callbacks cb = callbacks(&f);
    dw_run_options o = tiny_options(&t, "run", 0);
    dw_plan *p = tiny_plan(&t, LUA_TASK, "\"main\":1", FUNCTIONS);
    assert_int_equal(dw_run(p, &cb, &o, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text, "no sampled answer may be trained on"));
    assert_int_equal(count(read_text(&t, "run/metrics.jsonl"), "\"skipped\":1"), 3);
    dw_plan_free(p);
    tiny_finish(&t);
}

/* ---- numerics ---- */

static void steps_that_are_not_finite_are_left_out_and_end_the_run(void **state)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    dw_run_options o = tiny_options(&t, "run", 0);
    dw_plan *p = tiny_plan(&t, TINY_SFT, "\"sft\":1", ",\"save_every\":1,\"keep\":9");
    p->model[0].optimizer.lr = (dw_schedule){DW_CONSTANT, 1e38, 1e38, 0};
    dw_status st = dw_run(p, NULL, &o, &err);
    if (st != DW_E_NUMERIC || !strstr(err.text, "3 steps in a row could not be applied"))
        fail_msg("status %d: %s", (int)st, err.text);
    const char *metrics = read_text(&t, "run/metrics.jsonl");
    assert_int_equal(count(metrics, "\"skipped\":1"), 3);
    assert_int_equal(count(metrics, "\n"), 4);
    /* What was wrong after the first step has not been touched since. */
    assert_string_equal(read_text(&t, "run/checkpoint-1/trained.safetensors"),
                        read_text(&t, "run/checkpoint-4/trained.safetensors"));
    dw_plan_free(p);
    tiny_finish(&t);
}

/* ---- evaluation ---- */

static void the_best_is_kept_and_patience_ends(void **state)
{
    static const char task[] =
        "\"main\":{\"data\":{\"type\":\"completions\",\"files\":[\"DIR/chats.jsonl\"]},\"rows\":4,"
        "\"objectives\":{\"sft\":{\"plugin\":\"sft\",\"weight\":1}},\"eval\":{\"data\":{\"type\":"
        "\"completions\",\"files\":[\"DIR/chats.jsonl\"]},\"every\":1,\"patience\":2,"
        "\"at_start\":true}}";
    tiny t = tiny_make();
    dw_err err = {{0}};
    dw_run_options o = tiny_options(&t, "run", 0);
    dw_plan *p = tiny_plan(&t, task, "\"main\":1", "");
    p->model[0].optimizer.lr = (dw_schedule){DW_LINEAR, 0.01, -0.2, 0}; /* learns, then unlearns */
    tiny_must(dw_run(p, NULL, &o, &err), &err);
    const char *metrics = read_text(&t, "run/metrics.jsonl");
    size_t evals = count(metrics, "\"eval_loss\":");
    assert_true(evals >= 3 && evals < 7); /* stopped early */
    assert_int_equal(count(metrics, "\"eval_rows\":11"), evals);
    assert_int_equal(count(metrics, "\"eval_loss_ci95\":"), evals);
    const char *best = read_text(&t, "run/best/best.json");
    assert_non_null(strstr(best, "\"metric\":\"loss\""));
    assert_true(dw_file_exists(dw_path_join(&t.arena, o.out, "best/model.safetensors")));
    dw_plan_free(p);
    tiny_finish(&t);
}

/* Cutting an evaluation into rows gives the loss of the whole. */
static void an_evaluation_equals_a_step_over_the_same_rows(void **state)
{
    static const char task[] =
        "\"main\":{\"data\":{\"type\":\"pairs\",\"files\":[\"DIR/pairs.jsonl\"]},\"rows\":11,"
        "\"objectives\":{\"dpo\":{\"plugin\":\"dpo\",\"weight\":1}},\"eval\":{\"data\":{\"type\":"
        "\"pairs\",\"files\":[\"DIR/pairs.jsonl\"]},\"every\":1,\"at_start\":true}}";
    tiny t = tiny_make();
    dw_err err = {{0}};
    dw_run_options o = tiny_options(&t, "run", 0);
    dw_plan *p = tiny_plan(&t, task, "\"main\":1", ",\"micro_tokens\":70");
    tiny_must(dw_run(p, NULL, &o, &err), &err);
    const char *m = read_text(&t, "run/metrics.jsonl");
    double eval = NAN, loss = NAN; /* the evaluation after step n is the loss of step n + 1 */
    int compared = 0;
    for (const char *line = m; line && *line; line = strchr(line, '\n') + 1) {
        const char *e = strstr(line, "\"eval_loss\":"), *l = strstr(line, "\"loss\":");
        const char *end = strchr(line, '\n');
        if (e && e < end) {
            eval = strtod(e + 12, NULL);
        } else if (l && l < end) {
            loss = strtod(l + 7, NULL);
            assert_true(fabs(eval - loss) < 1e-9);
            compared++;
        }
    }
    assert_int_equal(compared, 6);
    dw_plan_free(p);
    tiny_finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_steps_before_an_error_are_kept),
        cmocka_unit_test(epochs_count_the_rows_that_are_kept),
        cmocka_unit_test(the_step_is_finished_and_saved),
        cmocka_unit_test(a_second_interrupt_quits_at_once),
        cmocka_unit_test(unscored_answers_are_counted_and_left_out),
        cmocka_unit_test(steps_without_any_score_stop_the_run),
        cmocka_unit_test(steps_that_are_not_finite_are_left_out_and_end_the_run),
        cmocka_unit_test(the_best_is_kept_and_patience_ends),
        cmocka_unit_test(an_evaluation_equals_a_step_over_the_same_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
