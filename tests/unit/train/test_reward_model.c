/* Models as rewards: their numbers are those of a pass by hand, steps lie where their separators
 * end, and what does not fit is named. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "tiny.h"
#include "train/credit.h"
#include "train/live.h"
#include "train/reward.h"
#include "train/reward_model.h"
#include "train/rollout.h"
#include "train/score.h"

#define TASK(rewards, rest)                                                                        \
    "\"main\":{\"data\":{\"type\":\"prompts\",\"files\":[\"DIR/prompts.jsonl\"]},\"rows\":2,"      \
    "\"rollout\":{\"samples\":3,\"max_tokens\":12},\"rewards\":{" rewards "}," rest                \
    "\"objectives\":{\"o\":{\"plugin\":\"grpo\",\"weight\":1,\"options\":{}}}}"
#define MODELS(folder) ",\"models\":{\"rm\":{\"path\":\"DIR/" folder "\"}}"
#define RM_PLAIN       "\"rm\":{\"weight\":2,\"model\":\"rm\"}"
#define PROCESS        "\"estimator\":{\"plugin\":\"process\",\"options\":{\"part\":\"rm\"}},"

typedef struct bench {
    tiny t;
    dw_live l;
    dw_run_options o;
    dw_plan *plan;
    dw_live_task *task;
    dw_arena arena;
} bench;

/* A folder with a head of so many channels that has seen nothing. */
static void make_scorer(tiny *t, const char *name, dw_top top, uint32_t width)
{
    dw_exec x;
    dw_model *m = NULL;
    dw_err err = {{0}};
    dw_model_options o = {.seed = 9, .top = top, .score_width = width};
    const char *to = dw_path_join(&t->arena, t->dir, name);
    tiny_must(dw_exec_init(&x, 1, NULL, &err), &err);
    tiny_must(dw_model_init(&x, dw_path_join(&t->arena, t->dir, "model"), &o, &m, &err), &err);
    tiny_must(dw_mkdirs(to, &err), &err);
    tiny_must(dw_model_save(m, to, DW_SAVE_F32, &err), &err);
    dw_model_free(m);
    dw_exec_finish(&x);
}

static void bench_begin(bench *b)
{
    *b = (bench){.t = tiny_make()};
    make_scorer(&b->t, "answers", DW_TOP_SEQUENCE, 1);
    make_scorer(&b->t, "steps", DW_TOP_TOKEN, 1);
    make_scorer(&b->t, "steps2", DW_TOP_TOKEN, 2);
    b->o = tiny_options(&b->t, "none", 0);
}

static void bench_open(bench *b, const char *task, const char *rest)
{
    dw_err err = {{0}};
    bench_begin(b);
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
    bench b;
    dw_err err = {{0}};
    bench_begin(&b);
    b.plan = tiny_plan(&b.t, task, "\"main\":1", rest);
    if (dw_live_open(&b.l, b.plan, NULL, &b.o, &err) >= 0)
        fail_msg("accepted: %s", task);
    if (!strstr(err.text, message))
        fail_msg("'%s' does not say '%s'", err.text, message);
    bench_close(&b);
}

/* The score head after token t of a completion, by a pass of its own that ends there. */
static void channels(bench *b, const dw_packable *p, uint32_t t, double *out)
{
    dw_engine *e = b->l.job.models[1].e;
    dw_err err = {{0}};
    int32_t id[256];
    uint32_t n = p->n_prompt + t + 1, last = n - 1;
    memcpy(id, p->prompt, p->n_prompt * sizeof *id);
    memcpy(id + p->n_prompt, p->completion, (t + 1) * sizeof *id);
    const dw_segment seg = {0, n, -1, 0};
    const dw_forest f = {id, n, &seg, 1};
    tiny_must(dw_engine_forward(e, &f, 0, &err), &err);
    tiny_must(dw_engine_read(e, DW_READ_SCORE, &last, 1, out, &err), &err);
}

/* Answers that we wrote ourselves, one token a byte and the end behind some of them. */
static void write_answers(bench *b, dw_set *s, const char *const *text, size_t n)
{
    dw_set_init(s, b->task, &b->arena, n, 0);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(text[i]);
        const dw_row *row = dw_set_row(b->task, i);
        int32_t *id = dw_arena_alloc(&b->arena, (len + 1) * sizeof *id);
        for (size_t k = 0; k < len; k++)
            id[k] = (unsigned char)text[i][k];
        id[len] = 256;
        const dw_seq q = {.row = row,
                          .weight = 1,
                          .mate = -1,
                          .group = (int32_t)i,
                          .stop = DOWEL_STOP_EOS,
                          .completion_text = text[i],
                          .completion_len = len};
        assert_true(dw_set_add(s, &q, row->prompt, row->n_prompt, id, len + 1));
    }
    dw_set_seal(s);
}

static void an_answer_by_a_model(void **state)
{
    bench b;
    dw_set s;
    dw_err err = {{0}};
    (void)state;
    bench_open(&b, TASK(RM_PLAIN, ""), MODELS("answers"));
    tiny_must(dw_rollout_step(b.task, &b.arena, 0, b.task->plan->rows, 0, &s, &err), &err);
    tiny_must(dw_reward_score(&s, &err), &err);
    bool differ = false;
    for (size_t i = 0; i < s.n_seq; i++) {
        double want;
        channels(&b, &s.pack[i], s.pack[i].n_completion - 1, &want);
        assert_true(fabs(s.seq[i].reward[1] - want) < 1e-5);
        assert_true(s.seq[i].reward[0] == 2 * s.seq[i].reward[1]);
        differ |= fabs(want - s.seq[0].reward[1]) > 1e-3;
    }
    assert_true(differ);
    assert_null(s.token_reward);
    bench_close(&b);
}

static double good(const double *x, uint32_t width)
{
    return width == 1 ? 1 / (1 + exp(-x[0])) : exp(x[1]) / (exp(x[0]) + exp(x[1]));
}

/* "" has no steps; blank ones have none either; text behind the last separator is a step. */
static const char *const written[] = {"ab;;cd;;", "ab;;cd", ";; ;;x;;\n", "", "no end"};
static const int at[][3] = {{3, 7, -1}, {3, 5, -1}, {7, -1, -1}, {-1, -1, -1}, {5, -1, -1}};
enum { WRITTEN = 5 };

static void check_steps(const char *task, const char *rest, uint32_t width, bool is_signed)
{
    bench b;
    dw_set s;
    dw_err err = {{0}};
    bench_open(&b, task, rest);
    write_answers(&b, &s, written, WRITTEN);
    tiny_must(dw_reward_score(&s, &err), &err);
    for (size_t i = 0; i < WRITTEN; i++) {
        const int *next = at[i];
        double least = INFINITY;
        for (uint32_t t = 0; t < s.pack[i].n_completion; t++) {
            const double *have = &s.token_reward[(s.seq[i].tok + t) * 2];
            double x[2];
            if (*next != (int)t) {
                assert_true(isnan(have[0]) && isnan(have[1]));
                continue;
            }
            channels(&b, &s.pack[i], t, x);
            double want = good(x, width);
            want = is_signed ? 2 * want - 1 : want;
            assert_true(fabs(have[1] - want) < 1e-5);
            assert_true(have[0] == 2 * have[1]);
            least = fmin(least, have[1]);
            next++;
        }
        bool any = at[i][0] >= 0;
        if (!any || !is_signed)
            assert_true(isnan(s.seq[i].reward[0]) && isnan(s.seq[i].reward[1]));
        else
            assert_true(s.seq[i].reward[1] == least && s.seq[i].reward[0] == 2 * least);
        assert_true(isnan(dw_reward_told(&s, i, 0)) == !any);
    }
    bench_close(&b);
}

static void steps_by_a_model(void **state)
{
    (void)state;
    check_steps(TASK("\"rm\":{\"weight\":2,\"model\":\"rm\",\"separator\":\";;\"}", PROCESS),
                MODELS("steps"), 1, false);
    check_steps(TASK("\"rm\":{\"weight\":2,\"model\":\"rm\",\"separator\":\";;\",\"signed\":true,"
                     "\"steps\":\"min\"}",
                     PROCESS),
                MODELS("steps2"), 2, true);
}

/* The others of spec 4.2, from the values that the steps got. */
static void steps_as_one_score(void **state)
{
    static const char *const task[] = {
        TASK("\"rm\":{\"weight\":2,\"model\":\"rm\",\"separator\":\";;\",\"steps\":\"prod\"}", ""),
        TASK("\"rm\":{\"weight\":2,\"model\":\"rm\",\"separator\":\";;\",\"steps\":\"mean\"}", ""),
        TASK("\"rm\":{\"weight\":2,\"model\":\"rm\",\"separator\":\";;\",\"steps\":\"last\"}", "")};
    (void)state;
    for (int k = 0; k < 3; k++) {
        bench b;
        dw_set s;
        dw_err err = {{0}};
        bench_open(&b, task[k], MODELS("steps"));
        write_answers(&b, &s, written, 1);
        tiny_must(dw_reward_score(&s, &err), &err);
        double first = s.token_reward[3 * 2 + 1], second = s.token_reward[7 * 2 + 1];
        const double want[] = {first * second, (first + second) / 2, second};
        assert_true(fabs(s.seq[0].reward[1] - want[k]) < 1e-12);
        bench_close(&b);
    }
}

/* log p - log reference of every token. */
static void tokens_by_a_model(void **state)
{
    bench b;
    dw_set s;
    dw_err err = {{0}};
    (void)state;
    bench_open(&b, TASK("\"rm\":{\"weight\":2,\"model\":\"rm\",\"implicit\":true}", ""),
               ",\"models\":{\"rm\":{\"path\":\"DIR/saved\"}}");
    dw_model *m = b.l.job.models[1].m;
    const dw_params *w = dw_model_base(m);
    for (size_t i = 0; i < w->n; i++)
        w->w[i] += (dw_real)(0.05 * cos((double)i));
    dw_model_changed(m);
    tiny_must(dw_rollout_step(b.task, &b.arena, 0, b.task->plan->rows, 0, &s, &err), &err);
    tiny_must(dw_reward_score(&s, &err), &err);
    double size = 0;
    for (size_t i = 0; i < s.n_seq; i++)
        for (uint32_t t = 0; t < s.pack[i].n_completion; t++) {
            const dw_packable *p = &s.pack[i];
            int32_t id[256];
            double logp;
            uint32_t n = p->n_prompt + t;
            dw_head_pair pair = {n - 1, p->completion[t]};
            dw_head_out out = {.logp = &logp};
            memcpy(id, p->prompt, p->n_prompt * sizeof *id);
            memcpy(id + p->n_prompt, p->completion, t * sizeof *id);
            const dw_segment seg = {0, n, -1, 0};
            const dw_forest f = {id, n, &seg, 1};
            dw_engine *e = b.l.job.models[1].e;
            tiny_must(dw_engine_forward(e, &f, 0, &err), &err);
            tiny_must(
                dw_engine_head(e, &pair, 1, 1, (dw_head_wants){.entropy_grad = false}, &out, &err),
                &err);
            /* the policy has not moved, so it is the reference and its sampler too */
            double want = logp - s.sampler_logp[s.seq[i].tok + t];
            double have = s.token_reward[(s.seq[i].tok + t) * 2 + 1];
            assert_true(fabs(have - want) < 1e-5);
            size = fmax(size, fabs(want));
        }
    assert_true(size > 1e-2);
    bench_close(&b);
}

static void what_does_not_fit(void **state)
{
    (void)state;
    refused(TASK(RM_PLAIN, ""), MODELS("saved"), "no score head");
    refused(TASK("\"rm\":{\"weight\":1,\"model\":\"rm\",\"steps\":\"min\"}", ""), MODELS("answers"),
            "rewards.rm.steps: the model 'rm'");
    refused(TASK("\"rm\":{\"weight\":1,\"model\":\"rm\",\"implicit\":true}", ""), MODELS("answers"),
            "no vocabulary head");
}

/* ---- runs ---- */

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
    bench b;
    dw_err err = {{0}};
    bench_begin(&b);
    dw_plan *p = tiny_plan(&b.t, task, "\"main\":1", rest);
    dw_run_options whole = tiny_options(&b.t, "whole", 0), o = tiny_options(&b.t, "parts", 2);
    tiny_must(dw_run(p, NULL, &whole, &err), &err);
    if (dw_run(p, NULL, &o, &err) != DW_E_SIGINT)
        fail_msg("%s", err.text);
    o.stop_at = 0;
    tiny_must(dw_run_resume(p, NULL, &o, &err), &err);
    assert_string_equal(final_hash(&b.t, "whole"), final_hash(&b.t, "parts"));
    dw_plan_free(p);
    tiny_finish(&b.t);
}

static void runs_resume(void **state)
{
    (void)state;
    check_run(TASK(RM_PLAIN, ""), MODELS("answers"));
    check_run(TASK("\"rm\":{\"weight\":2,\"model\":\"rm\",\"separator\":\"e\"}", PROCESS),
              MODELS("steps"));
    check_run(TASK("\"rm\":{\"weight\":2,\"model\":\"rm\",\"implicit\":true},\"brief\":{\"weight\":"
                   "1,\"plugin\":\"brevity\",\"options\":{\"budget\":4,\"slope\":0.02}}",
                   "\"estimator\":{\"plugin\":\"implicit\",\"options\":{\"source\":\"tokens\"}},"),
              ",\"models\":{\"rm\":{\"path\":\"DIR/saved\"}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_by_a_model), cmocka_unit_test(steps_by_a_model),
        cmocka_unit_test(steps_as_one_score),   cmocka_unit_test(tokens_by_a_model),
        cmocka_unit_test(what_does_not_fit),    cmocka_unit_test(runs_resume),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
