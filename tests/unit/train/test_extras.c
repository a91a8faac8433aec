/* What comes beside the policy's own answers: greedy ones, those of the reference and of a mixture,
 * and rewards of tokens, steps and models. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "tiny.h"
#include "train/constants.h"
#include "train/credit.h"
#include "train/live.h"
#include "train/reward.h"
#include "train/rollout.h"
#include "train/spans.h"

#define ROLL "\"data\":{\"type\":\"prompts\",\"files\":[\"DIR/prompts.jsonl\"]},\"rows\":2,"
#define BRIEF                                                                                      \
    "\"rewards\":{\"brief\":{\"weight\":1,\"plugin\":\"brevity\",\"options\":{\"budget\":4,"       \
    "\"slope\":0.02}}},"
#define TASK(samples, rewards, plugin, options, rest)                                              \
    "\"main\":{" ROLL "\"rollout\":{\"samples\":" samples                                          \
    ",\"max_tokens\":12,\"temperature\":0.8}," rewards rest                                        \
    "\"objectives\":{\"o\":{\"plugin\":\"" plugin "\",\"weight\":1,\"options\":{" options "}}}}"

#define REMAX TASK("2", BRIEF, "reinforce", "\"baseline\":\"greedy\"", "")
#define XPO   TASK("2", BRIEF, "xpo", "\"samples\":2", "")
#define NASH  TASK("2", BRIEF, "nash_md", "\"mixture\":0.3,\"samples\":2", "")
#define A2PO  TASK("2", BRIEF, "a2po", "\"reference_samples\":3,\"drop_hopeless\":false", "")
#define OPTIMAL                                                                                    \
    TASK("3", BRIEF, "reinforce", "",                                                              \
         "\"estimator\":{\"plugin\":\"returns\",\"options\":{\"baseline\":\"optimal\"}},")
#define PPO(options) TASK("2", BRIEF, "ppo", options, "")
#define ONLINE       TASK("4", BRIEF, "dpo", "", "\"estimator\":{\"plugin\":\"pairing\",\"options\":{}},")

/* ---- a job that is open ---- */

typedef struct bench {
    tiny t;
    dw_live l;
    dw_run_options o;
    dw_plan *plan;
    dw_live_task *task;
    dw_arena arena;
} bench;

static void bench_open(bench *b, const char *task, const char *rest)
{
    dw_err err = {{0}};
    b->o = tiny_options(&b->t, "none", 0);
    b->plan = tiny_plan(&b->t, task, "\"main\":1", rest);
    tiny_must(dw_live_open(&b->l, b->plan, NULL, &b->o, &err), &err);
    tiny_must(dw_live_arm(&b->l, &err), &err);
    b->task = &b->l.job.task[0];
}

static void bench_close(bench *b)
{
    dw_live_close(&b->l);
    dw_plan_free(b->plan);
    dw_arena_finish(&b->arena);
    tiny_finish(&b->t);
}

static void refused(const char *task, const char *rest, const char *message)
{
    bench b = {.t = tiny_make()};
    dw_err err = {{0}};
    b.o = tiny_options(&b.t, "none", 0);
    b.plan = tiny_plan(&b.t, task, "\"main\":1", rest);
    if (dw_live_open(&b.l, b.plan, NULL, &b.o, &err) >= 0)
        fail_msg("accepted: %s", task);
    if (!strstr(err.text, message))
        fail_msg("'%s' does not say '%s'", err.text, message);
    bench_close(&b);
}

/* Log-probabilities of one sequence, by a pass of its own. */
static void by_hand(dw_engine *e, unsigned flags, const dw_packable *p, double temperature,
                    double *out)
{
    dw_err err = {{0}};
    uint32_t n = p->n_prompt + p->n_completion;
    int32_t id[256];
    dw_head_pair pair[64];
    dw_head_out head = {.logp = out};
    memcpy(id, p->prompt, p->n_prompt * sizeof *id);
    memcpy(id + p->n_prompt, p->completion, p->n_completion * sizeof *id);
    const dw_segment seg = {0, n, -1, 0};
    const dw_forest f = {id, n, &seg, 1};
    for (uint32_t t = 0; t < p->n_completion; t++)
        pair[t] = (dw_head_pair){p->n_prompt + t - 1, p->completion[t]};
    tiny_must(dw_engine_forward(e, &f, flags, &err), &err);
    tiny_must(dw_engine_head(e, pair, p->n_completion, temperature,
                             (dw_head_wants){.entropy_grad = false}, &head, &err),
              &err);
}

static double worst(const double *a, const double *b, size_t n)
{
    double d = 0;
    for (size_t i = 0; i < n; i++)
        d = fmax(d, fabs(a[i] - b[i]));
    return d;
}

/* ---- sequences ---- */

static void a_greedy_answer_per_prompt(void **state)
{
    bench b = {.t = tiny_make()};
    dw_err err = {{0}};
    dw_set s;
    (void)state;
    bench_open(&b, REMAX, "");
    tiny_must(dw_rollout_step(b.task, &b.arena, 0, b.task->plan->rows, 0, &s, &err), &err);
    assert_int_equal(s.n_seq, 6);
    assert_true(s.step_seqs == 4);
    for (size_t i = 0; i < 6; i++) {
        double now[12];
        assert_int_equal(s.seq[i].role, i % 3 == 2 ? DOWEL_GREEDY : DOWEL_TRAINED);
        assert_int_equal(s.seq[i].group, i / 3);
        assert_true(s.seq[i].row == s.seq[i / 3 * 3].row);
        by_hand(b.task->model->e, 0, &s.pack[i], s.temperature, now);
        assert_true(worst(now, s.old_logp + s.seq[i].tok, s.pack[i].n_completion) < 1e-5);
        if (i % 3 != 2)
            continue;
        by_hand(b.task->model->e, 0, &s.pack[i], 1, now);
        assert_true(worst(now, s.sampler_logp + s.seq[i].tok, s.pack[i].n_completion) < 1e-5);
    }
    tiny_must(dw_reward_score(&s, &err), &err);
    tiny_must(dw_credit_assign(&s, &err), &err);
    assert_false(isnan(s.seq[2].reward[0]));
    dw_set_compact(&s);
    for (size_t i = 0; i < s.n_seq; i++)
        assert_int_equal(s.seq[i].role, DOWEL_TRAINED);
    bench_close(&b);
}

/* REMAX and the policy alone: extras change nothing about the answers that were there before. */
static void extras_leave_the_others_alone(void **state)
{
    bench b = {.t = tiny_make()}, c = {.t = tiny_make()};
    dw_err err = {{0}};
    dw_set with, without;
    (void)state;
    bench_open(&b, XPO, "");
    bench_open(&c, TASK("2", BRIEF, "reinforce", "", ""), "");
    tiny_must(dw_rollout_step(b.task, &b.arena, 0, b.task->plan->rows, 0, &with, &err), &err);
    tiny_must(dw_rollout_step(c.task, &c.arena, 0, c.task->plan->rows, 0, &without, &err), &err);
    assert_int_equal(with.n_seq, 8);
    assert_int_equal(without.n_seq, 4);
    for (size_t i = 0; i < 4; i++) {
        const dw_packable *p = &with.pack[i / 2 * 4 + i % 2], *q = &without.pack[i];
        assert_int_equal(p->n_completion, q->n_completion);
        assert_memory_equal(p->completion, q->completion, q->n_completion * sizeof(int32_t));
        assert_true(with.seq[i / 2 * 4 + i % 2].id == without.seq[i].id);
    }
    bench_close(&b);
    bench_close(&c);
}

/* After the policy moved, the reference's answers are told apart: SAMPLER_LOGP is the start's,
 * OLD_LOGP the policy's. */
static void check_reference(const char *rest)
{
    bench b = {.t = tiny_make()};
    dw_err err = {{0}};
    dw_set s;
    dw_engine *e;
    unsigned flags;
    bench_open(&b, XPO, rest);
    dw_params *w = dw_model_trained(b.l.job.model);
    for (size_t i = 0; i < w->n; i++)
        w->w[i] += (dw_real)(0.05 * sin((double)i));
    dw_model_changed(b.l.job.model);
    dw_references_moved(&b.l.job);
    tiny_must(dw_rollout_step(b.task, &b.arena, 0, b.task->plan->rows, 0, &s, &err), &err);
    assert_true(s.step_seqs == 8);
    tiny_must(dw_reference_engine(b.task->reference, &e, &flags, &err), &err);
    for (size_t i = 0; i < s.n_seq; i++) {
        double now[12], start[12];
        size_t n = s.pack[i].n_completion;
        const double *old = s.old_logp + s.seq[i].tok, *sampler = s.sampler_logp + s.seq[i].tok;
        bool other = i % 4 >= 2;
        assert_int_equal(s.seq[i].role, other ? DOWEL_OTHER : DOWEL_TRAINED);
        by_hand(b.task->model->e, 0, &s.pack[i], s.temperature, now);
        by_hand(e, flags, &s.pack[i], s.temperature, start);
        assert_true(worst(now, old, n) < 1e-5);
        assert_true(worst(other ? start : now, sampler, n) < 1e-5);
        assert_true(worst(now, start, n) > 1e-3);
    }
    bench_close(&b);
}

static void the_reference_samples(void **state)
{
    (void)state;
    check_reference("");
    check_reference("LORA");
}

/* An estimator with a critic writes what the critic learns: GAE's return is advantage + value. */
static void returns_reach_the_critic(void **state)
{
    bench b = {.t = tiny_make()};
    dw_err err = {{0}};
    dw_set s;
    (void)state;
    bench_open(&b, PPO("\"whiten\":false"), "");
    dw_params *w = dw_model_trained(b.l.job.model);
    for (size_t i = 0; i < w->n; i++)
        w->w[i] += (dw_real)(0.05 * sin((double)i));
    dw_model_changed(b.l.job.model);
    dw_references_moved(&b.l.job);
    tiny_must(dw_rollout_step(b.task, &b.arena, 0, b.task->plan->rows, 0, &s, &err), &err);
    tiny_must(dw_constants_fill(&s, false, &err), &err);
    tiny_must(dw_reward_score(&s, &err), &err);
    tiny_must(dw_credit_assign(&s, &err), &err);
    assert_non_null(s.ret);
    double size = 0;
    for (size_t t = 0; t < s.n_tok; t++) {
        assert_true(fabs(s.ret[t] - s.old_value[t] - s.advantage[t]) < 1e-9);
        size = fmax(size, fabs(s.old_value[t]));
    }
    assert_true(size > 1e-3);
    bench_close(&b);
}

/* An estimator that knows of no critic would teach it that everything is worth 0. */
static void no_returns_no_values(void **state)
{
    bench b = {.t = tiny_make()};
    dw_err err = {{0}};
    dw_set s;
    (void)state;
    bench_open(&b,
               TASK("2", BRIEF, "ppo", "", "\"estimator\":{\"plugin\":\"group\",\"options\":{}},"),
               "");
    tiny_must(dw_rollout_step(b.task, &b.arena, 0, b.task->plan->rows, 0, &s, &err), &err);
    tiny_must(dw_constants_fill(&s, false, &err), &err);
    tiny_must(dw_reward_score(&s, &err), &err);
    assert_int_equal(dw_credit_assign(&s, &err), DW_E_RECIPE);
    assert_non_null(
        strstr(err.text, "main.objectives.o learns values from returns, and main.estimator"));
    bench_close(&b);
}

static void extras_that_cannot_be(void **state)
{
    (void)state;
    refused("\"main\":{" ROLL "\"rollout\":{\"samples\":2,\"max_tokens\":4}," BRIEF
            "\"objectives\":{\"o\":{\"plugin\":\"kto\",\"weight\":1,\"options\":{}}}}",
            "", "this task has a rollout");
    refused("\"main\":{\"data\":{\"type\":\"pairs\",\"files\":[\"DIR/pairs.jsonl\"]},\"rows\":2,"
            "\"objectives\":{\"o\":{\"plugin\":\"xpo\",\"weight\":1,\"options\":{}}}}",
            "", "answers of the reference");
}

/* ---- runs ---- */

static const char *final_hash(tiny *t, const char *run, const char *file)
{
    char hex[65];
    dw_err err = {{0}};
    tiny_must(dw_sha256_file(dw_arena_printf(&t->arena, "%s/%s/%s", t->dir, run, file), hex, &err),
              &err);
    return dw_arena_strdup(&t->arena, hex);
}

/* 3 steps at once are 3 steps with a stop after each, to the bit. */
static void check_run(const char *task, const char *rest)
{
    static const char *const file[] = {"final/model.safetensors",
                                       "final/adapter_model.safetensors"};
    tiny t = tiny_make();
    dw_err err = {{0}};
    const char *weights = file[strstr(rest, "LORA") != NULL];
    dw_plan *p = tiny_plan(&t, task, "\"main\":1", rest);
    dw_run_options whole = tiny_options(&t, "whole", 0), o = tiny_options(&t, "parts", 1);
    tiny_must(dw_run(p, NULL, &whole, &err), &err);
    for (uint64_t stop = 1; stop < 6; stop++) {
        o.stop_at = stop;
        dw_status st = stop == 1 ? dw_run(p, NULL, &o, &err) : dw_run_resume(p, NULL, &o, &err);
        if (st != DW_E_SIGINT)
            fail_msg("step %d: %d %s", (int)stop, (int)st, err.text);
    }
    o.stop_at = 0;
    tiny_must(dw_run_resume(p, NULL, &o, &err), &err);
    assert_string_equal(final_hash(&t, "whole", weights), final_hash(&t, "parts", weights));
    assert_string_equal(final_hash(&t, "whole", "samples.jsonl"),
                        final_hash(&t, "parts", "samples.jsonl"));
    dw_plan_free(p);
    tiny_finish(&t);
}

static void runs_resume(void **state)
{
    (void)state;
    check_run(REMAX, "");
    check_run(XPO, "");
    check_run(XPO, "LORA");
    check_run(NASH, "");
    check_run(NASH, "LORA");
    check_run(A2PO, "");
    check_run(ONLINE, "");
    check_run(OPTIMAL, "");
    check_run(PPO(""), "");
}

/* ---- spans ---- */

/* Tokens of 3, 0, 4, 2 and 0 bytes. */
static void spans_reach_tokens(void **state)
{
    static const uint32_t end[] = {3, 3, 7, 9, 9};
    static const double weight[] = {2, 10};
    const dowel_sample x = {.n_tok = 5, .tok_end = end, .completion = {"abcdefghi", 9}};
    dw_arena a = {0};
    double w[2] = {weight[0], weight[1]};
    dw_live_task task = {.n_reward = 2, .part_weight = w};
    dw_seq seq = {.tok = 0};
    dw_packable pack = {.n_completion = 5};
    dw_set s = {.task = &task, .arena = &a, .seq = &seq, .pack = &pack, .n_seq = 1, .n_tok = 5};
    (void)state;
    /* across the border of tokens 0 and 2: on the last one */
    dw_spans_put(&s, &x, 0, &(dw_span){0, DOWEL_CREDIT_LAST, 2, 5, 1});
    /* the whole of token 3, divided: nothing beside it */
    dw_spans_put(&s, &x, 0, &(dw_span){0, DOWEL_CREDIT_SPREAD, 7, 9, 4});
    dw_spans_put(&s, &x, 1, &(dw_span){0, DOWEL_CREDIT_EACH, 0, 7, 3});
    dw_spans_put(&s, &x, 1, &(dw_span){0, DOWEL_CREDIT_SPREAD, 6, 8, 1});
    dw_spans_total(&s);
    const double want[5][3] = {
        {30, NAN, 3}, {30, NAN, 3}, {2 + 35, 1, 3.5}, {8 + 5, 4, 0.5}, {NAN, NAN, NAN}};
    for (size_t t = 0; t < 5; t++)
        for (size_t c = 0; c < 3; c++) {
            double have = s.token_reward[t * 3 + c];
            if (isnan(want[t][c]) ? !isnan(have) : have != want[t][c])
                fail_msg("token %zu column %zu: %g, wanted %g", t, c, have, want[t][c]);
        }
    assert_true(dw_spans_sum(&s, 0, 1) == 5);
    assert_true(dw_spans_sum(&s, 0, 0) == 30 + 30 + 37 + 13);
    dw_arena_finish(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_greedy_answer_per_prompt),
        cmocka_unit_test(extras_leave_the_others_alone),
        cmocka_unit_test(the_reference_samples),
        cmocka_unit_test(returns_reach_the_critic),
        cmocka_unit_test(no_returns_no_values),
        cmocka_unit_test(extras_that_cannot_be),
        cmocka_unit_test(spans_reach_tokens),
        cmocka_unit_test(runs_resume),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
