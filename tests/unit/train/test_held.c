/* Rollouts over several steps, recorded rollouts and dynamic sampling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>

#include "base/hash.h"
#include "tiny.h"
#include "train/gather.h"
#include "train/live.h"
#include "train/store.h"

static const char *file_hash(tiny *t, const char *run, const char *name)
{
    char hex[65];
    dw_err err = {{0}};
    const char *path = dw_path_join(&t->arena, dw_path_join(&t->arena, t->dir, run), name);
    tiny_must(dw_sha256_file(path, hex, &err), &err);
    return dw_arena_strdup(&t->arena, hex);
}

static size_t series(tiny *t, const char *run, const char *name, double *out, size_t most)
{
    dw_buf file = {0};
    dw_err err = {{0}};
    size_t n = 0;
    const char *path =
        dw_path_join(&t->arena, dw_path_join(&t->arena, t->dir, run), "metrics.jsonl");
    tiny_must(dw_file_read(path, 1 << 24, &file, &err), &err);
    for (char *line = strtok(file.ptr, "\n"); line; line = strtok(NULL, "\n")) {
        dw_json *row;
        tiny_must(dw_json_parse(line, strlen(line), DW_JSON_DEPTH_ROW, 1, &row, &err), &err);
        const dw_json *v = dw_json_get(row, name);
        if (dw_json_kind(v) == DW_JSON_NUMBER && n < most)
            out[n++] = dw_json_num(v);
        dw_json_free(row);
    }
    dw_buf_finish(&file);
    return n;
}

/* A task that rewards brevity; `rollout` and `objective` as JSON members. */
#define TASK(rows, rollout, objective)                                                             \
    "\"grpo\":{\"data\":{\"type\":\"prompts\",\"files\":[\"DIR/prompts.jsonl\"]},\"rows\":" rows   \
    ",\"rollout\":{\"samples\":4,\"max_tokens\":12" rollout "},\"rewards\":{\"brief\":{"           \
    "\"weight\":1,\"plugin\":\"brevity\",\"options\":{\"budget\":4,\"slope\":0.02}}},"             \
    "\"objectives\":{\"o\":{\"plugin\":\"" objective "\",\"weight\":1}}}"
#define HELD TASK("3", ",\"epochs\":2,\"minibatches\":2", "grpo")

static dw_plan *plan_of(tiny *t, const char *task, int steps)
{
    dw_plan *p = tiny_plan(t, task, "\"grpo\":1", "");
    p->phase[0].steps = p->steps = (uint64_t)steps;
    return p;
}

static void run(tiny *t, const char *task, int steps, dw_run_options o)
{
    dw_err err = {{0}};
    dw_plan *p = plan_of(t, task, steps);
    tiny_must(dw_run(p, NULL, &o, &err), &err);
    dw_plan_free(p);
}

static void counted_by_rollouts(void **state)
{
    tiny t = tiny_make();
    double v[16], tokens[16];
    run(&t, HELD, 8, tiny_options(&t, "run", 0));
    /* two rollouts of four steps each: answers were sampled at the first and the fifth */
    assert_int_equal(series(&t, "run", "completions/mean_length", v, 16), 2);
    assert_int_equal(series(&t, "run", "num_tokens", tokens, 16), 8);
    assert_true(tokens[0] > 0 && tokens[1] == tokens[0] && tokens[3] == tokens[0]);
    assert_true(tokens[4] > tokens[3]);
    assert_int_equal(series(&t, "run", "epoch", v, 16), 8);
    assert_true(fabs(v[2] - 0) < 1e-9 && fabs(v[3] - 3.0 / 11) < 1e-5);
    assert_true(fabs(v[7] - 6.0 / 11) < 1e-5);
    /* the sampler is the policy at the first step of a rollout, and not later */
    assert_int_equal(series(&t, "run", "drift_kl", v, 16), 8);
    assert_true(v[0] == 0 && v[4] == 0);
    for (int i = 0; i < 8; i++)
        assert_true(i % 4 == 0 || v[i] > 0);
    tiny_finish(&t);
}

/* Every group is seen once in each epoch, whole. */
static void epochs_cover_the_rollout(void **state)
{
    tiny t = tiny_make();
    dw_live l;
    dw_err err = {{0}};
    dw_plan *p = plan_of(&t, HELD, 4);
    dw_run_options o = tiny_options(&t, "run", 0);
    tiny_must(dw_live_open(&l, p, NULL, &o, &err), &err);
    tiny_must(dw_live_arm(&l, &err), &err);
    dw_live_task *task = &l.job.task[0];
    uint64_t seen[12] = {0};
    int times[12] = {0};
    size_t n = 0;
    for (uint64_t step = 0; step < 4; step++) {
        dw_arena a = {0};
        dw_set s;
        tiny_must(dw_gather(task, &a, step, &s, &err), &err);
        assert_true(s.n_seq == 4 || s.n_seq == 8); /* three groups in two parts */
        assert_int_equal(s.step_seqs, s.n_seq);
        for (size_t i = 0; i < s.n_seq; i++) {
            size_t k = 0;
            while (k < n && seen[k] != s.seq[i].id)
                k++;
            if (k == n)
                seen[n++] = s.seq[i].id;
            times[k]++;
            assert_int_equal(s.seq[i].group, (int32_t)(i / 4));
        }
        dw_gather_advance(task, &s);
        if (step == 1)
            assert_int_equal(n, 12);
        dw_arena_finish(&a);
    }
    assert_int_equal(n, 12);
    for (size_t k = 0; k < n; k++)
        assert_int_equal(times[k], 2);
    assert_int_equal(task->cursor, 3);
    dw_live_close(&l);
    dw_plan_free(p);
    tiny_finish(&t);
}

static void stopped_anywhere(void **state)
{
    enum { STEPS = 7 };
    tiny t = tiny_make();
    run(&t, HELD, STEPS, tiny_options(&t, "whole", 0));
    const char *want = file_hash(&t, "whole/final", "model.safetensors");
    for (uint64_t stop = 1; stop < STEPS; stop++) {
        const char *name = dw_arena_printf(&t.arena, "cut%d", (int)stop);
        dw_err err = {{0}};
        dw_plan *p = plan_of(&t, HELD, STEPS);
        dw_run_options o = tiny_options(&t, name, stop);
        assert_int_equal(dw_run(p, NULL, &o, &err), DW_E_SIGINT);
        dw_plan_free(p);
        p = plan_of(&t, HELD, STEPS);
        o.stop_at = 0;
        tiny_must(dw_run_resume(p, NULL, &o, &err), &err);
        dw_plan_free(p);
        assert_string_equal(
            file_hash(&t, dw_arena_printf(&t.arena, "%s/final", name), "model.safetensors"), want);
    }
    tiny_finish(&t);
}

static void drift_ends_a_rollout(void **state)
{
    tiny t = tiny_make();
    double v[16];
    run(&t, TASK("3", ",\"epochs\":4,\"minibatches\":1,\"max_kl\":1e-9", "grpo"), 6,
        tiny_options(&t, "run", 0));
    /* the second step of each rollout is already too far away */
    assert_int_equal(series(&t, "run", "completions/mean_length", v, 16), 3);
    tiny_finish(&t);
}

/* ---- record and replay ---- */

static void replay_is_the_same_run(void **state)
{
    tiny t = tiny_make();
    dw_run_options o = tiny_options(&t, "first", 0);
    o.record = true;
    run(&t, HELD, 6, o);
    o = tiny_options(&t, "again", 0);
    o.from = dw_path_join(&t.arena, t.dir, "first/rollouts");
    run(&t, HELD, 6, o);
    const char *want = file_hash(&t, "first/final", "model.safetensors");
    assert_string_equal(file_hash(&t, "again/final", "model.safetensors"), want);
    o = tiny_options(&t, "scored", 0);
    o.from = dw_path_join(&t.arena, t.dir, "first/rollouts");
    o.score_again = true; /* the same rewards say the same */
    run(&t, HELD, 6, o);
    assert_string_equal(file_hash(&t, "scored/final", "model.safetensors"), want);
    o = tiny_options(&t, "other", 0);
    o.from = dw_path_join(&t.arena, t.dir, "first/rollouts");
    run(&t, TASK("3", ",\"epochs\":2,\"minibatches\":2", "rloo"), 6, o);
    assert_string_not_equal(file_hash(&t, "other/final", "model.safetensors"), want);
    tiny_finish(&t);
}

#define TWO_REWARDS                                                                                \
    "\"grpo\":{\"data\":{\"type\":\"prompts\",\"files\":[\"DIR/prompts.jsonl\"]},\"rows\":3,"      \
    "\"rollout\":{\"samples\":4,\"max_tokens\":12},\"rewards\":{\"brief\":{\"weight\":1,"          \
    "\"plugin\":\"brevity\",\"options\":{\"budget\":4,\"slope\":0.02}},\"again\":{\"weight\":1,"   \
    "\"plugin\":\"repetition\",\"options\":{}}},"                                                  \
    "\"objectives\":{\"o\":{\"plugin\":\"grpo\",\"weight\":1}}}"

/* What was recorded of other rewards is of no use; scored again it need not be. */
static void replay_with_other_rewards(void **state)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    double v[4];
    dw_run_options o = tiny_options(&t, "first", 0);
    o.record = true;
    run(&t, TASK("3", "", "grpo"), 3, o);
    o = tiny_options(&t, "other", 0);
    o.from = dw_path_join(&t.arena, t.dir, "first/rollouts");
    dw_plan *p = plan_of(&t, TWO_REWARDS, 3);
    assert_int_equal(dw_run(p, NULL, &o, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text,
                           "'reward': the line has the total and 1 rewards, and the recipe "
                           "has 2; give it the same rewards, or --score-again"));
    dw_plan_free(p);
    p = plan_of(&t, TASK("3", "", "xpo"), 3);
    o.out = tiny_options(&t, "xpo", 0).out;
    assert_int_equal(dw_run(p, NULL, &o, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text, "ask for answers of the reference beside the policy's own"));
    dw_plan_free(p);
    o.out = tiny_options(&t, "scored", 0).out;
    o.score_again = true;
    run(&t, TWO_REWARDS, 3, o);
    assert_int_equal(series(&t, "scored", "rewards/again/mean", v, 4), 3);
    tiny_finish(&t);
}

static void replay_resumes(void **state)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    dw_run_options o = tiny_options(&t, "first", 0);
    o.record = true;
    run(&t, HELD, 6, o);
    o = tiny_options(&t, "again", 3);
    o.from = dw_path_join(&t.arena, t.dir, "first/rollouts");
    dw_plan *p = plan_of(&t, HELD, 6);
    assert_int_equal(dw_run(p, NULL, &o, &err), DW_E_SIGINT);
    dw_plan_free(p);
    p = plan_of(&t, HELD, 6);
    o = tiny_options(&t, "again", 0); /* the run knows where its rollouts come from */
    tiny_must(dw_run_resume(p, NULL, &o, &err), &err);
    dw_plan_free(p);
    assert_string_equal(file_hash(&t, "again/final", "model.safetensors"),
                        file_hash(&t, "first/final", "model.safetensors"));
    tiny_finish(&t);
}

/* What a line needs, and nothing else. */
static void lines_by_hand(void **state)
{
    tiny t = tiny_make();
    tiny_write(&t, "mine.jsonl",
               "{\"prompt_ids\":[1,2,3],\"ids\":[4,5],\"logp\":[-1,-2],\"reward\":1}\n"
               "{\"prompt_ids\":[1,2,3],\"ids\":[6],\"logp\":[-1.5],\"reward\":0}\n"
               "{\"prompt_ids\":[9],\"ids\":[6,7],\"logp\":[-1,-1],\"reward\":0.5}\n"
               "{\"prompt_ids\":[9],\"ids\":[8],\"logp\":[-2],\"reward\":null}\n");
    dw_run_options o = tiny_options(&t, "run", 0);
    double v[4];
    o.from = dw_path_join(&t.arena, t.dir, "mine.jsonl");
    run(&t, TASK("2", "", "grpo"), 1, o);
    assert_int_equal(series(&t, "run", "reward", v, 4), 1);
    assert_true(fabs(v[0] - 0.5) < 1e-12);
    assert_int_equal(series(&t, "run", "frac_unscored", v, 4), 1);
    assert_true(fabs(v[0] - 0.25) < 1e-12);
    assert_int_equal(series(&t, "run", "completions/mean_length", v, 4), 1);
    assert_true(fabs(v[0] - 1.5) < 1e-12);
    tiny_finish(&t);
}

static void refuses(const char *text, const char *message)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    dw_run_options o = tiny_options(&t, "run", 0);
    tiny_write(&t, "r.jsonl", text);
    o.from = dw_path_join(&t.arena, t.dir, "r.jsonl");
    dw_plan *p = plan_of(&t, TASK("2", "", "grpo"), 2);
    assert_int_equal(dw_run(p, NULL, &o, &err), DW_E_INPUT);
    const char *name = strstr(err.text, "r.jsonl");
    if (!name || strcmp(name, message) != 0)
        fail_msg("got  %s\nwant %s", err.text, message);
    dw_plan_free(p);
    tiny_finish(&t);
}

#define GOOD "{\"prompt_ids\":[1],\"ids\":[4],\"logp\":[-1],\"reward\":1}\n"

static void broken_lines(void **state)
{
    refuses("", "r.jsonl holds no recorded rollout");
    refuses(GOOD "[1]\n", "r.jsonl:2: expected an object, got an array");
    refuses(GOOD "{\"ids\":[4],\"logp\":[-1],\"reward\":1}\n",
            "r.jsonl:2: 'prompt_ids': expected a list of at least one token id, got nothing");
    refuses("{\"prompt_ids\":[1],\"ids\":[],\"logp\":[],\"reward\":1}\n",
            "r.jsonl:1: 'ids': expected a list of at least one token id, got an array");
    refuses("{\"prompt_ids\":[1],\"ids\":[4,257],\"logp\":[-1,-1],\"reward\":1}\n",
            "r.jsonl:1: 'ids': entry 1 is no token id below 257");
    refuses("{\"prompt_ids\":[1],\"ids\":[4],\"logp\":[-1,-1],\"reward\":1}\n",
            "r.jsonl:1: 'logp': expected a list of 1 numbers, got an array of 2");
    refuses("{\"prompt_ids\":[1],\"ids\":[4],\"reward\":1}\n",
            "r.jsonl:1: 'logp' is missing: one number per id");
    refuses("{\"prompt_ids\":[1],\"ids\":[4],\"logp\":[-1],\"reward\":\"x\"}\n",
            "r.jsonl:1: 'reward': expected a number, a list or null, got a string");
    refuses("{\"prompt_ids\":[1],\"ids\":[4],\"logp\":[-1],\"reward\":[1,2,3]}\n",
            "r.jsonl:1: 'reward': the line has the total and 2 rewards, and the recipe has 1; "
            "give it the same rewards, or --score-again to score by its own");
    refuses("{\"prompt_ids\":[1],\"ids\":[4],\"logp\":[-1],\"reward\":1,\"role\":\"greddy\"}\n",
            "r.jsonl:1: 'role': no 'greddy', did you mean 'greedy'?");
    refuses("{\"task\":\"other\",\"prompt_ids\":[1],\"ids\":[4],\"logp\":[-1],\"reward\":1}\n",
            "r.jsonl: holds 0 rollouts of task 'grpo', and the run needs one more; give the recipe "
            "fewer steps");
    refuses(GOOD GOOD, "r.jsonl: holds 1 rollouts of task 'grpo', and the run needs one more; give "
                       "the recipe fewer steps");
}

static void truncated_line(void **state)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    dw_store *s = NULL;
    const char whole[] = GOOD;
    for (size_t n = 1; n + 2 < sizeof whole; n++) {
        char *cut = dw_arena_strndup(&t.arena, whole, n);
        tiny_write(&t, "cut.jsonl", cut);
        assert_int_equal(dw_store_open(dw_path_join(&t.arena, t.dir, "cut.jsonl"), &s, &err),
                         DW_E_INPUT);
        assert_null(s);
        assert_non_null(strstr(err.text, "cut.jsonl:1: "));
    }
    tiny_finish(&t);
}

/* ---- dynamic sampling ---- */

static void flat_groups_are_replaced(void **state)
{
    /* long enough answers all score alike: with few tokens allowed every group is flat */
    tiny t = tiny_make();
    double dropped[4], prompts[4];
    dw_err err = {{0}};
    run(&t, TASK("2", ",\"dynamic\":{\"part\":\"brief\",\"tries\":3}", "grpo"), 3,
        tiny_options(&t, "run", 0));
    size_t n = series(&t, "run", "dynamic/prompts", prompts, 4);
    assert_int_equal(n, 3);
    assert_int_equal(series(&t, "run", "dynamic/frac_dropped", dropped, 4), 3);
    for (size_t i = 0; i < n; i++) {
        double kept = prompts[i] * (1 - dropped[i]);
        assert_true(fabs(kept - 2) < 1e-9 || prompts[i] >= 4);
    }
    /* a reward that is always the same: everything is dropped, and the run says so */
    dw_plan *p = tiny_plan(&t,
                           "\"grpo\":{\"data\":{\"type\":\"prompts\",\"files\":[\"DIR/"
                           "prompts.jsonl\"]},\"rows\":2,\"rollout\":{\"samples\":2,\"max_tokens\":"
                           "3,\"dynamic\":{\"tries\":2}},\"rewards\":{\"brief\":{\"weight\":1,"
                           "\"plugin\":\"brevity\",\"options\":{\"budget\":400}}},\"objectives\":{"
                           "\"o\":{\"plugin\":\"grpo\",\"weight\":1}}}",
                           "\"grpo\":1", "");
    dw_run_options o = tiny_options(&t, "flat", 0);
    assert_int_equal(dw_run(p, NULL, &o, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text, "no sampled answer may be trained on"));
    dw_plan_free(p);
    dw_buf b = {0};
    tiny_must(dw_file_read(dw_path_join(&t.arena, t.dir, "flat/samples.jsonl"), 1 << 20, &b, &err),
              &err);
    assert_non_null(strstr(b.ptr, "\"trained\":false"));
    dw_buf_finish(&b);
    tiny_finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counted_by_rollouts),
        cmocka_unit_test(epochs_cover_the_rollout),
        cmocka_unit_test(stopped_anywhere),
        cmocka_unit_test(drift_ends_a_rollout),
        cmocka_unit_test(replay_is_the_same_run),
        cmocka_unit_test(replay_with_other_rewards),
        cmocka_unit_test(replay_resumes),
        cmocka_unit_test(lines_by_hand),
        cmocka_unit_test(broken_lines),
        cmocka_unit_test(truncated_line),
        cmocka_unit_test(flat_groups_are_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
