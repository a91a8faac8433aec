/* The gradient of a step does not depend on how it is cut, and a mixture's is the weighted sum. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tiny.h"
#include "train/live.h"
#include "train/observe.h"
#include "train/reference.h"
#include "train/rollout.h"

#ifdef DW_DOUBLE
#define TOLERANCE     1e-6
#define CUT_TOLERANCE 1e-9
#else
#define TOLERANCE     1e-5
#define CUT_TOLERANCE 1e-5
#endif

static const char all_tasks[] = TINY_SFT "," TINY_DPO "," TINY_GRPO;
static const char all_weights[] = "\"sft\":0.3,\"dpo\":0.7,\"grpo\":0.5";

typedef struct bench {
    tiny t;
    dw_plan *plan;
    dw_run_options o;
    dw_live l;
} bench;

static void bench_open(bench *b, const char *tasks, const char *weights, const char *rest)
{
    dw_err err = {{0}};
    b->t = tiny_make();
    b->plan = tiny_plan(&b->t, tasks, weights, rest);
    b->o = tiny_options(&b->t, "run", 0);
    tiny_must(dw_live_open(&b->l, b->plan, NULL, &b->o, &err), &err);
    tiny_must(dw_live_arm(&b->l, &err), &err);
}

static void bench_close(bench *b)
{
    dw_live_close(&b->l);
    dw_plan_free(b->plan);
    tiny_finish(&b->t);
}

/* Gradient of the first step, as doubles in the arena. */
static double *gradient(bench *b, dw_step_result *r)
{
    dw_err err = {{0}};
    dw_job *job = &b->l.job;
    for (size_t i = 0; i < job->n_task; i++)
        job->task[i].cursor = 0;
    tiny_must(dw_step_gradient(job, r, &err), &err);
    const dw_params *p = dw_model_trained(job->model);
    double *g = dw_arena_alloc(&b->t.arena, p->n * sizeof *g);
    for (size_t i = 0; i < p->n; i++)
        g[i] = (double)p->g[i];
    return g;
}

static double distance(const bench *b, const double *x, const double *y)
{
    size_t n = dw_model_trained(b->l.job.model)->n;
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += (x[i] - y[i]) * (x[i] - y[i]);
        norm += y[i] * y[i];
    }
    assert_true(norm > 1e-6); /* a gradient of nothing proves nothing */
    return sqrt(diff / norm);
}

static void set_weights(bench *b, double dpo, double grpo, double sft)
{
    const double w[] = {dpo, grpo, sft};
    static const char *const name[] = {"dpo", "grpo", "sft"};
    for (size_t i = 0; i < b->plan->n_task; i++)
        for (size_t k = 0; k < 3; k++)
            if (!strcmp(b->plan->task[i].name, name[k]))
                b->plan->phase[0].weight[i] = (dw_schedule){DW_CONSTANT, w[k], w[k], 0};
}

/* A few steps, so that no weight is special any more. */
static void warm_up(bench *b, int steps)
{
    dw_err err = {{0}};
    dw_step_result r;
    for (int i = 0; i < steps; i++) {
        tiny_must(dw_step_gradient(&b->l.job, &r, &err), &err);
        dw_optim *o = &b->l.job.models[0].optim;
        dw_optim_update(o, 0.01, dw_optim_norm(o));
        dw_model_changed(b->l.job.model);
        dw_references_moved(&b->l.job);
    }
}

static void check_mixture(const char *rest)
{
    bench b;
    dw_step_result mix, part[3];
    bench_open(&b, all_tasks, all_weights, rest);
    warm_up(&b, 3);
    const double *whole = gradient(&b, &mix);
    set_weights(&b, 1, 0, 0);
    const double *dpo = gradient(&b, &part[0]);
    set_weights(&b, 0, 1, 0);
    const double *grpo = gradient(&b, &part[1]);
    set_weights(&b, 0, 0, 1);
    const double *sft = gradient(&b, &part[2]);
    size_t n = dw_model_trained(b.l.job.model)->n;
    double *sum = dw_arena_alloc(&b.t.arena, n * sizeof *sum);
    for (size_t i = 0; i < n; i++)
        sum[i] = 0.7 * dpo[i] + 0.5 * grpo[i] + 0.3 * sft[i];
    assert_true(distance(&b, whole, sum) < TOLERANCE);
    assert_true(distance(&b, whole, sft) > 0.01); /* the parts do differ */
    double loss = 0.7 * part[0].loss + 0.5 * part[1].loss + 0.3 * part[2].loss;
    assert_true(fabs(mix.loss - loss) < TOLERANCE * fabs(loss));
    bench_close(&b);
}

static void mixture_is_the_weighted_sum(void **state)
{
    check_mixture("");
    check_mixture("LORA");
}

/* Two objectives of one task share a forward and a backward pass. */
static void objectives_of_one_task_add_up(void **state)
{
    static const char two[] =
        "\"sft\":{\"data\":{\"type\":\"completions\",\"files\":[\"DIR/chats.jsonl\"]},\"rows\":4,"
        "\"objectives\":{\"a\":{\"plugin\":\"sft\",\"weight\":1},"
        "\"b\":{\"plugin\":\"sft\",\"weight\":2}}}";
    bench b, c;
    dw_step_result r, s;
    bench_open(&b, two, "\"sft\":1", "");
    bench_open(&c, TINY_SFT, "\"sft\":3", "");
    assert_true(distance(&b, gradient(&b, &r), gradient(&c, &s)) < TOLERANCE);
    assert_true(fabs(r.loss - s.loss) < 1e-9);
    bench_close(&b);
    bench_close(&c);
}

static void check_cuts(const char *tasks, const char *weights)
{
    static const uint32_t cut[] = {1, 20, 60};
    bench b;
    dw_step_result whole, r;
    bench_open(&b, tasks, weights, "");
    warm_up(&b, 2);
    b.plan->micro_tokens = 100000;
    const double *g = gradient(&b, &whole);
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        b.plan->micro_tokens = cut[i];
        assert_true(distance(&b, gradient(&b, &r), g) < CUT_TOLERANCE);
        assert_true(fabs(r.loss - whole.loss) < CUT_TOLERANCE);
        assert_true(r.tokens == whole.tokens);
    }
    bench_close(&b);
}

static void trap_t39_cuts_change_nothing(void **state)
{
    check_cuts(TINY_SFT, "\"sft\":1");
    check_cuts(TINY_DPO, "\"dpo\":1");
    check_cuts(TINY_GRPO, "\"grpo\":1");
}

static void check_ratio(const char *rest)
{
    bench b;
    dw_err err = {{0}};
    bench_open(&b, all_tasks, all_weights, rest);
    warm_up(&b, 2);
    dw_live_task *t = NULL;
    for (size_t i = 0; i < b.l.job.n_task; i++)
        if (b.l.job.task[i].plan->rollout)
            t = &b.l.job.task[i];
    dw_set s;
    tiny_must(dw_rollout_step(t, &b.t.arena, 40, 2, 0, &s, &err), &err);
    assert_true(s.n_seq == 8 && s.n_tok > 16);
    for (size_t i = 0; i < s.n_seq;) { /* cut where a training step would */
        size_t end = dw_pack_cut(s.pack, s.n_seq, i, 50);
        dw_pack p;
        dw_observed seen;
        dw_pack_build(&b.t.arena, s.pack + i, end - i, &p);
        dw_view v = dw_view_logp(t->model->e, 0, s.temperature);
        v.moves = true;
        tiny_must(dw_observe(&v, &b.t.arena, &p, NULL, true, &seen, &err), &err);
        for (size_t k = 0; k < p.n_tok; k++)
            assert_true(exp(seen.x[DW_SEEN_LOGP][k] - s.old_logp[s.seq[i].tok + k]) == 1.0);
        i = end;
    }
    bench_close(&b);
}

static void trap_t36_fresh_rollouts_have_ratio_one(void **state)
{
    check_ratio("");
    check_ratio("LORA");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(mixture_is_the_weighted_sum),
                                       cmocka_unit_test(objectives_of_one_task_add_up),
                                       cmocka_unit_test(trap_t39_cuts_change_nothing),
                                       cmocka_unit_test(trap_t36_fresh_rollouts_have_ratio_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
