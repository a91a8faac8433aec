/* Self-distillation on sampled answers: what the teacher reads, whom it teaches, and that a run
 * stopped anywhere goes on bit for bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "tiny.h"
#include "train/constants.h"
#include "train/demonstrate.h"
#include "train/live.h"
#include "train/pass.h"
#include "train/reward.h"
#include "train/rollout.h"
#include "train/store.h"

#define FORMAT "{prompt} (as in: {demonstration}){feedback} "
#define ROLL(demonstrate, more)                                                                    \
    "\"data\":{\"type\":\"prompts\",\"files\":[\"DIR/prompts.jsonl\"]},\"rows\":2,\"teacher\":"    \
    "\"self\",\"rollout\":{\"samples\":4,\"max_tokens\":12,\"temperature\":0.8" more               \
    ",\"demonstrate\":{\"prompt\":{\"format\":\"" FORMAT "\"}" demonstrate "}},"
#define BRIEF                                                                                      \
    "\"rewards\":{\"brief\":{\"weight\":1,\"plugin\":\"brevity\",\"options\":{\"budget\":4,"       \
    "\"slope\":0.02}}},"
#define DISTILL(options)                                                                           \
    "\"demo\":{\"plugin\":\"self_distill\",\"weight\":1,\"options\":{" options "}}"
#define POLICY ",\"policy\":{\"plugin\":\"grpo\",\"weight\":0.5,\"options\":{}}"
#define TASK(demonstrate, more, options, objectives)                                               \
    "\"main\":{" ROLL(demonstrate, more) BRIEF "\"objectives\":{" DISTILL(options) objectives "}}"
#define SDPO  "\"mode\":\"sampled_token\""
#define NEVER ",\"at_least\":5"

typedef struct bench {
    tiny t;
    dw_live l;
    dw_run_options o;
    dw_plan *plan;
    dw_live_task *task;
    dw_arena arena;
} bench;

static void bench_open(bench *b, const char *task)
{
    dw_err err = {{0}};
    b->t = tiny_make();
    b->o = tiny_options(&b->t, "none", 0);
    b->plan = tiny_plan(&b->t, task, "\"main\":1", "");
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

/* Eight answers; of the first group 1 and 3 are good, of the second none. */
static void sampled(bench *b, dw_set *s)
{
    dw_err err = {{0}};
    tiny_must(dw_rollout_step(b->task, &b->arena, 0, 2, 0, s, &err), &err);
    assert_int_equal(s->n_seq, 8);
    tiny_must(dw_reward_score(s, &err), &err);
    for (size_t i = 0; i < 8; i++)
        s->seq[i].reward[0] = i == 1 || i == 3 ? 1 : 0.5;
}

static dw_buf text_of(const bench *b, const dw_seq *q)
{
    dw_buf out = {0};
    dw_err err = {{0}};
    const dw_tokenizer *tok = dw_model_tokenizer(b->task->model->m);
    tiny_must(dw_tokenizer_decode(tok, q->teacher_prompt, q->n_teacher_prompt, false, &out, &err),
              &err);
    return out;
}

/* What a teacher reads is the format with these in it; the answers of this model hold any bytes. */
static void reads(const bench *b, const dw_seq *q, dw_text shown, const char *told)
{
    dw_buf want = {0}, have = text_of(b, q);
    dw_buf_add(&want, q->row->prompt_text.ptr, q->row->prompt_text.len);
    dw_buf_adds(&want, " (as in: ");
    dw_buf_add(&want, shown.ptr, shown.len);
    dw_buf_printf(&want, ")%s ", told);
    assert_int_equal(have.len, want.len);
    assert_memory_equal(have.ptr, want.ptr, want.len);
    dw_buf_finish(&want);
    dw_buf_finish(&have);
}

static dw_text answer(const dw_seq *q)
{
    return (dw_text){q->completion_text, q->completion_len};
}

static void the_first_other_good_answer(void **state)
{
    bench b = {0};
    dw_err err = {{0}};
    dw_set s;
    (void)state;
    bench_open(&b, TASK("", "", SDPO, ""));
    sampled(&b, &s);
    tiny_must(dw_demonstrate(&s, &err), &err);
    for (size_t i = 0; i < 8; i++) {
        size_t from = i == 1 ? 3 : 1;
        if (i >= 4) {
            assert_true(s.seq[i].untaught);
            assert_null(s.seq[i].teacher_prompt);
            continue;
        }
        assert_false(s.seq[i].untaught);
        reads(&b, &s.seq[i], answer(&s.seq[from]), "");
    }
    bench_close(&b);
}

static void its_own_where_asked(void **state)
{
    bench b = {0};
    dw_err err = {{0}};
    dw_set s;
    (void)state;
    bench_open(&b, TASK(",\"own\":true,\"part\":\"brief\"", "", SDPO, ""));
    sampled(&b, &s);
    for (size_t i = 0; i < 8; i++)
        s.seq[i].reward[1] = i == 1 ? 1 : 0;
    tiny_must(dw_demonstrate(&s, &err), &err);
    assert_false(s.seq[1].untaught);
    reads(&b, &s.seq[1], answer(&s.seq[1]), "");
    bench_close(&b);
}

/* What a reward said of the answer is enough to learn from. */
static void feedback_alone(void **state)
{
    bench b = {0};
    dw_err err = {{0}};
    dw_set s;
    (void)state;
    bench_open(&b, TASK(NEVER ",\"feedback\":\"brief\"", "", SDPO, ""));
    sampled(&b, &s);
    for (size_t i = 0; i < 8; i++)
        s.seq[i].why[0] = i == 6 ? "too long" : NULL;
    tiny_must(dw_demonstrate(&s, &err), &err);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(s.seq[i].untaught, i != 6);
    reads(&b, &s.seq[6], dw_text_of(""), "too long");
    bench_close(&b);
}

/* The teacher's log-probabilities are those of the same answer below the other prompt; of untaught
 * answers there are none, and they give no gradient and stay in the divisor. */
static void columns_of_the_teacher(void **state)
{
    bench b = {0};
    dw_err err = {{0}};
    dw_set s;
    double logp[12];
    (void)state;
    bench_open(&b, TASK("", "", SDPO, ""));
    sampled(&b, &s);
    tiny_must(dw_demonstrate(&s, &err), &err);
    tiny_must(dw_constants_fill(&s, false, &err), &err);
    for (size_t i = 0; i < 8; i++) {
        const dw_packable *p = &s.pack[i];
        const dw_seq *q = &s.seq[i];
        for (uint32_t k = 0; k < p->n_completion && i >= 4; k++)
            assert_true(isnan(s.teacher_logp[q->tok + k]));
        if (i >= 4)
            continue;
        int32_t id[512];
        dw_head_pair pair[12];
        dw_head_out head = {.logp = logp};
        memcpy(id, q->teacher_prompt, q->n_teacher_prompt * sizeof *id);
        memcpy(id + q->n_teacher_prompt, p->completion, p->n_completion * sizeof *id);
        for (uint32_t k = 0; k < p->n_completion; k++)
            pair[k] = (dw_head_pair){q->n_teacher_prompt + k - 1, p->completion[k]};
        const dw_segment seg = {0, q->n_teacher_prompt + p->n_completion, -1, 0};
        const dw_forest f = {id, seg.len, &seg, 1};
        tiny_must(dw_engine_forward(b.task->model->e, &f, 0, &err), &err);
        tiny_must(dw_engine_head(b.task->model->e, pair, p->n_completion, s.temperature,
                                 (dw_head_wants){.entropy_grad = false}, &head, &err),
                  &err);
        for (uint32_t k = 0; k < p->n_completion; k++)
            assert_true(fabs(logp[k] - s.teacher_logp[q->tok + k]) < 1e-5);
    }
    bench_close(&b);
}

static double loss_of(bench *b, dw_set *s)
{
    dw_err err = {{0}};
    dw_pass p = {.job = &b->l.job, .set = s, .weight = 1};
    tiny_must(dw_constants_fill(s, false, &err), &err);
    tiny_must(dw_pass_run(&p, &err), &err);
    return p.loss;
}

static void the_untaught_stay_in_the_divisor(void **state)
{
    static const char *const options[] = {"\"top_k\":0,\"correction\":0", SDPO ",\"correction\":0"};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        bench b = {0};
        dw_err err = {{0}};
        dw_set all, first;
        dw_pick pick[4];
        bench_open(&b, k == 0 ? TASK("", "", "\"top_k\":0,\"correction\":0", "")
                              : TASK("", "", SDPO ",\"correction\":0", ""));
        sampled(&b, &all);
        tiny_must(dw_demonstrate(&all, &err), &err);
        for (size_t i = 0; i < 4; i++)
            pick[i] = (dw_pick){&all, i};
        dw_set_pick(&first, &b.arena, pick, 4);
        double some = loss_of(&b, &first), whole = loss_of(&b, &all);
        if (!(fabs(some) > 1e-6) || fabs(whole - some / 2) > 1e-7 * fabs(some))
            fail_msg("%s: four taught answers of eight: %g, alone %g", options[k], whole, some);
        bench_close(&b);
    }
}

static const char *final_hash(tiny *t, const char *run)
{
    char hex[65];
    dw_err err = {{0}};
    tiny_must(
        dw_sha256_file(dw_arena_printf(&t->arena, "%s/%s/final/model.safetensors", t->dir, run),
                       hex, &err),
        &err);
    return dw_arena_strdup(&t->arena, hex);
}

static void check_run(const char *task, const char *rest)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
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
    assert_string_equal(final_hash(&t, "whole"), final_hash(&t, "parts"));
    dw_plan_free(p);
    tiny_finish(&t);
}

static void stopped_anywhere(void **state)
{
    (void)state;
    check_run(TASK(",\"at_least\":0.8", "", SDPO, ""), "");
    check_run(TASK(",\"at_least\":0.8", "", "\"alpha\":0.5", POLICY), "");
    check_run(TASK(",\"at_least\":0.8", ",\"epochs\":2,\"minibatches\":2", "\"alpha\":1", POLICY),
              "");
}

static void refused(const char *task, const char *message)
{
    bench b = {.t = tiny_make()};
    dw_err err = {{0}};
    b.o = tiny_options(&b.t, "none", 0);
    b.plan = tiny_plan(&b.t, task, "\"main\":1", "");
    if (dw_live_open(&b.l, b.plan, NULL, &b.o, &err) >= 0)
        fail_msg("accepted: %s", task);
    if (!strstr(err.text, message))
        fail_msg("'%s' does not say '%s'", err.text, message);
    bench_close(&b);
}

#define PLAIN(objective, rest)                                                                     \
    "\"main\":{\"data\":{\"type\":\"prompts\",\"files\":[\"DIR/prompts.jsonl\"]},\"rows\":2,"      \
    "\"rollout\":{\"samples\":2,\"max_tokens\":8}" rest                                            \
    ",\"objectives\":{\"o\":{\"plugin\":\"" objective "\",\"weight\":1,\"options\":{}}}}"

static void what_cannot_be(void **state)
{
    (void)state;
    refused("\"main\":{" ROLL("", "") BRIEF
            "\"objectives\":{\"o\":{\"plugin\":\"gkd\",\"weight\":1,\"options\":{}}}}",
            "main.objectives.o wants a teacher for every answer, and with rollout.demonstrate some "
            "have none");
    refused(PLAIN("grpo", ""), "tasks.main: rewards: main.objectives.o credits answers by their "
                               "rewards, and the task has none");
    refused("\"main\":{\"data\":{\"type\":\"prompts\",\"files\":[\"DIR/prompts.jsonl\"]},"
            "\"rows\":2,\"rollout\":{\"samples\":2,\"max_tokens\":8}," BRIEF
            "\"objectives\":{\"o\":{\"plugin\":\"grpo\",\"weight\":1,\"options\":{}}},"
            "\"estimator\":{\"plugin\":\"sft\",\"options\":{}}}",
            "the plugin sft is not an estimator");
}

/* Distillation on the model's own answers needs neither a reward nor an estimator. */
static void a_teacher_is_enough(void **state)
{
    (void)state;
    check_run(PLAIN("gkd", ",\"teacher\":\"old\""),
              ",\"models\":{\"old\":{\"path\":\"DIR/model\",\"init\":true}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_other_good_answer),
        cmocka_unit_test(its_own_where_asked),
        cmocka_unit_test(feedback_alone),
        cmocka_unit_test(columns_of_the_teacher),
        cmocka_unit_test(the_untaught_stay_in_the_divisor),
        cmocka_unit_test(stopped_anywhere),
        cmocka_unit_test(what_cannot_be),
        cmocka_unit_test(a_teacher_is_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
