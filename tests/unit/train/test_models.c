/* Several models in one step: every model column has the right derivative in every model that
 * trains, frozen ones stand still, and what does not fit together is named. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "tiny.h"
#include "train/constants.h"
#include "train/live.h"
#include "train/observe.h"
#include "train/reference.h"
#include "train/score.h"

#ifdef DW_DOUBLE
#define TOLERANCE 1e-6
#define STEP      1e-5
#else
#define TOLERANCE 3e-2
#define STEP      2e-3
#endif

static const char *const plugin_dir[] = {TEST_PLUGIN_DIR};

typedef struct bench {
    tiny t;
    dw_plan *plan;
    dw_run_options o;
    dw_live l;
} bench;

static void bench_begin(bench *b, const char *task, const char *rest)
{
    b->t = tiny_make();
    tiny_write(
        &b->t, "steps.jsonl",
        "{\"prompt\":\"2+3*4?\",\"steps\":[\"3*4=12\",\"2+12=14\"],\"labels\":[1,0]}\n"
        "{\"prompt\":\"7-1?\",\"steps\":[\"7-1=5\",\"so 5\",\"five\"],\"labels\":[1,1,0]}\n");
    tiny_write(&b->t, "hinted.jsonl",
               "{\"prompt\":\"2+2?\",\"completion\":\"4!\",\"hint\":\"four it is. 2+2?\"}\n"
               "{\"prompt\":\"sky?\",\"completion\":\"blue\",\"hint\":\"it shines. sky?\"}\n");
    b->plan = tiny_plan(&b->t, task, "\"main\":1", rest);
    b->o = tiny_options(&b->t, "run", 0);
    b->o.plugin_dir = plugin_dir;
    b->o.n_plugin_dir = 1;
}

static void bench_open(bench *b, const char *task, const char *rest)
{
    dw_err err = {{0}};
    bench_begin(b, task, rest);
    tiny_must(dw_live_open(&b->l, b->plan, NULL, &b->o, &err), &err);
    tiny_must(dw_live_arm(&b->l, &err), &err);
}

static void bench_close(bench *b)
{
    dw_live_close(&b->l);
    dw_plan_free(b->plan);
    tiny_finish(&b->t);
}

static void stir(dw_model *m, dw_params *p, uint64_t seed)
{
    for (size_t i = 0; i < p->n; i++)
        p->w[i] += (dw_real)(0.1 * dw_random_normal(seed, DW_RNG_TEST, 3, i));
    dw_model_changed(m);
}

/* Every model another one, so that none can stand for another. */
static void stir_all(bench *b)
{
    for (size_t i = 0; i < b->l.job.n_models; i++)
        stir(b->l.job.models[i].m, dw_model_trained(b->l.job.models[i].m), 11 + i);
    dw_references_moved(&b->l.job);
}

static double step_loss(bench *b)
{
    dw_err err = {{0}};
    dw_step_result r;
    b->l.job.task[0].cursor = 0;
    tiny_must(dw_step_gradient(&b->l.job, &r, &err), &err);
    return r.loss;
}

/* Along a random direction within one weight of a model that trains. */
static void check_weight(bench *b, const dw_live_model *m, const dw_weight *w, const dw_real *g,
                         double scale)
{
    dw_params *p = dw_model_trained(m->m);
    size_t n = (size_t)w->rows * w->cols;
    dw_real *keep = dw_arena_alloc(&b->t.arena, n * sizeof *keep);
    double *d = dw_arena_alloc(&b->t.arena, n * sizeof *d), side[2], want = 0;
    memcpy(keep, p->w + w->offset, n * sizeof *keep);
    for (size_t i = 0; i < n; i++) {
        d[i] = dw_random_normal(5, DW_RNG_TEST, w->offset, i);
        want += d[i] * (double)g[w->offset + i];
    }
    for (int s = 0; s < 2; s++) {
        for (size_t i = 0; i < n; i++)
            p->w[w->offset + i] = (dw_real)((double)keep[i] + (s ? -STEP : STEP) * d[i]);
        dw_model_changed(m->m);
        side[s] = step_loss(b);
    }
    memcpy(p->w + w->offset, keep, n * sizeof *keep);
    dw_model_changed(m->m);
    double got = (side[0] - side[1]) / (2 * STEP);
    if (!(fabs(got - want) <= TOLERANCE * fmax(scale, fabs(want))))
        fail_msg("%s of %s: %.12g by differences, %.12g by backward", w->name, m->plan->name, got,
                 want);
}

/* The gradient of every trained model against differences of the loss, through the whole pass. */
static void check_gradient(const char *task, const char *rest, size_t moving)
{
    bench b;
    bench_open(&b, task, rest);
    stir_all(&b);
    step_loss(&b);
    size_t moved = 0;
    for (size_t i = 0; i < b.l.job.n_models; i++) {
        const dw_live_model *m = &b.l.job.models[i];
        if (!m->plan->trains)
            continue;
        const dw_params *p = dw_model_trained(m->m);
        step_loss(&b);
        dw_real *g = dw_arena_alloc(&b.t.arena, p->n * sizeof *g);
        memcpy(g, p->g, p->n * sizeof *g);
        double norm = 0;
        for (size_t k = 0; k < p->n; k++)
            norm += (double)g[k] * (double)g[k];
        moved += norm > 1e-8;
        for (size_t k = 0; k < p->n_weight; k++)
            check_weight(&b, m, &p->weight[k], g, sqrt(norm));
    }
    assert_int_equal(moved, moving);
    bench_close(&b);
}

#define PROBE(data, roles, options)                                                                \
    "\"main\":{\"data\":{\"type\":" data "},\"rows\":2" roles                                      \
    ",\"objectives\":{\"probe\":{\"plugin\":\"org.example.probe\",\"options\":{" options "}}}}"
#define CHATS  "\"completions\",\"files\":[\"DIR/chats.jsonl\"]"
#define PAIRS  "\"pairs\",\"files\":[\"DIR/pairs.jsonl\"]"
#define STEPS  "\"steps\",\"files\":[\"DIR/steps.jsonl\"]"
#define SECOND ",\"models\":{\"second\":{\"path\":\"DIR/saved\"}}"
/* bits: LOGP 1, ENTROPY 2, VALUE 4, SCORE 8, MEAN_LOGP 16, DIVERGENCE 32, CHOICES 64 */

static void a_value_head_on_the_model(void **state)
{
    check_gradient(PROBE(PAIRS, "", "\"columns\":5,\"value_width\":2"), "", 1);
}

static void a_critic_of_its_own(void **state)
{
    check_gradient(PROBE(PAIRS, ",\"critic\":\"second\"", "\"columns\":7"), SECOND, 2);
    check_gradient(
        PROBE(CHATS, ",\"critic\":\"second\"", "\"columns\":7,\"together\":2,\"coupled\":true"),
        SECOND, 2);
}

static void a_reward_model(void **state)
{
    check_gradient(PROBE(PAIRS, "", "\"columns\":8,\"score_width\":2"), "", 1);
    check_gradient(PROBE(STEPS, "", "\"columns\":8"), "", 1);
}

static void choices_of_tokens(void **state)
{
    check_gradient(PROBE(PAIRS, "", "\"columns\":64,\"choices\":\"yn\""), "", 1);
    check_gradient(
        PROBE(STEPS, "", "\"columns\":65,\"choices\":\"yn\",\"together\":2,\"coupled\":true"), "",
        1);
}

static void divergences(void **state)
{
    static const char *const kind[] = {"1", "2", "3"};
    for (int k = 0; k < 3; k++) {
        char task[1024];
        snprintf(task, sizeof task,
                 PROBE(PAIRS, ",\"teacher\":\"second\"", "\"columns\":33,\"divergence\":%s"),
                 kind[k]);
        check_gradient(task, SECOND, 1);
    }
    check_gradient(PROBE(CHATS, "", "\"columns\":32,\"divergence\":2,\"against\":1"), "", 1);
}

/* One answer by itself: rows are positions. */
static void forward_alone(bench *b, const dw_live_model *m, const dw_packable *p)
{
    dw_err err = {{0}};
    size_t n = p->n_prompt + (size_t)p->n_completion;
    int32_t *id = dw_arena_alloc(&b->t.arena, n * sizeof *id);
    memcpy(id, p->prompt, p->n_prompt * sizeof *id);
    memcpy(id + p->n_prompt, p->completion, p->n_completion * sizeof *id);
    dw_segment seg = {0, (uint32_t)n, -1, 0};
    const dw_forest f = {id, n, &seg, 1};
    tiny_must(dw_engine_forward(m->e, &f, 0, &err), &err);
}

static double read_alone(const dw_live_model *m, dw_read which, uint32_t row)
{
    dw_err err = {{0}};
    double out;
    tiny_must(dw_engine_read(m->e, which, &row, 1, &out, &err), &err);
    return out;
}

static double logp_alone(const dw_live_model *m, uint32_t row, int32_t token)
{
    dw_err err = {{0}};
    double out;
    dw_head_out h = {.logp = &out};
    dw_head_pair pair = {row, token};
    tiny_must(dw_engine_head(m->e, &pair, 1, 1, (dw_head_wants){.entropy_grad = false}, &h, &err),
              &err);
    return out;
}

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-4 * fmax(1, fabs(b));
}

/* The teacher reads a prompt of its own; the student's gradient is through the student's. */
static void a_teacher_with_prompts_of_its_own(void **state)
{
#define HINTED                                                                                     \
    "\"completions\",\"files\":[\"DIR/hinted.jsonl\"],\"columns\":{\"prompt\":{\"field\":"         \
    "\"prompt\"},\"completion\":{\"field\":\"completion\"},\"teacher_prompt\":{\"field\":"         \
    "\"hint\"}}"
    check_gradient(PROBE(HINTED, ",\"teacher\":\"second\"", "\"columns\":32,\"divergence\":1"),
                   SECOND, 1);
    bench b;
    dw_err err = {{0}};
    bench_open(&b,
               PROBE(HINTED, ",\"teacher\":\"self\"",
                     "\"columns\":524321,\"divergence\":1,\"detached\":0"),
               "");
    dw_set s;
    tiny_must(dw_set_from_rows(&s, &b.l.job.task[0], &b.t.arena, 0, 2, 0, &err), &err);
    tiny_must(dw_constants_fill(&s, false, &err), &err);
    for (size_t i = 0; i < s.n_seq; i++) {
        const dw_row *r = s.seq[i].row;
        dw_packable p = s.pack[i];
        assert_true(r->n_teacher_prompt > 0 && p.prompt != r->teacher_prompt);
        p.prompt = r->teacher_prompt;
        p.n_prompt = r->n_teacher_prompt;
        forward_alone(&b, b.l.job.task[0].model, &p);
        for (uint32_t k = 0; k < p.n_completion; k++)
            assert_true(
                near(s.teacher_logp[s.seq[i].tok + k],
                     logp_alone(b.l.job.task[0].model, p.n_prompt + k - 1, p.completion[k])));
    }
    bench_close(&b);
}

static void teacher_and_reference_log_probabilities(void **state)
{
    /* LOGP, REF_LOGP, TEACHER_LOGP */
    check_gradient(PROBE(CHATS, ",\"teacher\":\"second\"", "\"columns\":589825"), SECOND, 1);
    check_gradient(PROBE(CHATS, ",\"reference\":\"second\"", "\"columns\":65537"), SECOND, 1);
}

/* ---- every column is read where plugin.h says ---- */

/* All pairs of three rows in one micro-batch, the prompts shared. */
static dw_observed observe_rows(bench *b, dw_set *s, const dw_view *v)
{
    dw_err err = {{0}};
    dw_pack p;
    dw_observed seen;
    tiny_must(dw_set_from_rows(s, &b->l.job.task[0], &b->t.arena, 0, 3, 0, &err), &err);
    dw_pack_build(&b->t.arena, s->pack, s->n_seq, &p);
    tiny_must(dw_observe(v, &b->t.arena, &p, s->mark, false, &seen, &err), &err);
    return seen;
}

static void values_and_choices_are_read_in_place(void **state)
{
    bench b;
    bench_open(&b, PROBE(PAIRS, "", "\"columns\":69,\"choices\":\"yn\""), "");
    stir_all(&b);
    const dw_live_task *t = &b.l.job.task[0];
    const dw_view v = {.columns = t->columns,
                       .e = t->model->e,
                       .critic = t->critic->e,
                       .value_by = t->value_by,
                       .value_width = 1,
                       .choice = t->choice,
                       .n_choice = 2,
                       .temperature = 1};
    dw_set s;
    dw_observed seen = observe_rows(&b, &s, &v);
    assert_int_equal(seen.n_mark, s.n_seq);
    for (size_t i = 0; i < s.n_seq; i++) {
        const dw_packable *p = &s.pack[i];
        uint32_t at = s.seq[i].tok, last = p->n_prompt + p->n_completion - 1;
        forward_alone(&b, t->model, p);
        for (uint32_t k = 0; k < p->n_completion; k++) {
            uint32_t before = p->n_prompt + k - 1; /* the state before the token */
            double value = read_alone(t->model, DW_READ_VALUE, before);
            assert_true(near(seen.x[DW_SEEN_VALUE][at + k], value));
            double logp = logp_alone(t->model, before, p->completion[k]);
            assert_true(near(seen.x[DW_SEEN_LOGP][at + k], logp));
        }
        assert_true(near(seen.x[DW_SEEN_CHOICES][2 * i], logp_alone(t->model, last, 'y')));
        assert_true(near(seen.x[DW_SEEN_CHOICES][2 * i + 1], logp_alone(t->model, last, 'n')));
    }
    bench_close(&b);
}

static void scores_are_read_in_place(void **state)
{
    bench b;
    bench_open(&b, PROBE(PAIRS, "", "\"columns\":8"), "");
    stir_all(&b);
    const dw_live_task *t = &b.l.job.task[0];
    const dw_view v = {.columns = t->columns, .e = t->model->e, .score_width = 1};
    dw_set s;
    dw_observed seen = observe_rows(&b, &s, &v);
    for (size_t i = 0; i < s.n_seq; i++) {
        forward_alone(&b, t->model, &s.pack[i]);
        uint32_t last = s.pack[i].n_prompt + s.pack[i].n_completion - 1;
        assert_true(near(seen.x[DW_SEEN_SCORE][i], read_alone(t->model, DW_READ_SCORE, last)));
    }
    bench_close(&b);
}

/* ---- one pass, two passes, any cut ---- */

static double *gradient_of(bench *b, const char *task, const char *rest, uint32_t micro,
                           double *loss, size_t *n)
{
    bench_open(b, task, rest);
    b->plan->micro_tokens = micro;
    stir_all(b);
    *loss = step_loss(b);
    size_t total = 0, at = 0;
    for (size_t i = 0; i < b->l.job.n_models; i++)
        total += dw_model_trained(b->l.job.models[i].m)->n;
    double *g = calloc(total, sizeof *g);
    for (size_t i = 0; i < b->l.job.n_models; i++) {
        const dw_params *p = dw_model_trained(b->l.job.models[i].m);
        for (size_t k = 0; p->g && k < p->n; k++)
            g[at++] = (double)p->g[k];
    }
    *n = at;
    bench_close(b);
    return g;
}

static void check_cuts(const char *by_row, const char *by_step, const char *rest)
{
    bench b;
    double loss[3];
    size_t n[3];
    double *g[3] = {gradient_of(&b, by_row, rest, 100000, &loss[0], &n[0]),
                    gradient_of(&b, by_row, rest, 16, &loss[1], &n[1]),
                    gradient_of(&b, by_step, rest, 16, &loss[2], &n[2])};
    double norm = 0;
    for (size_t i = 0; i < n[0]; i++)
        norm += g[0][i] * g[0][i];
    assert_true(norm > 1e-6);
    for (int k = 1; k < 3; k++) {
        double diff = 0;
        for (size_t i = 0; i < n[0]; i++)
            diff += (g[k][i] - g[0][i]) * (g[k][i] - g[0][i]);
        assert_true(n[k] == n[0] && sqrt(diff / norm) < 1e-5);
        assert_true(fabs(loss[k] - loss[0]) < 1e-5 * fabs(loss[0]));
    }
    for (int k = 0; k < 3; k++)
        free(g[k]);
}

static void cuts_change_nothing(void **state)
{
    static const char roles[] = ",\"critic\":\"second\",\"teacher\":\"third\"";
    static const char models[] = ",\"models\":{\"second\":{\"path\":\"DIR/saved\"},\"third\":{"
                                 "\"path\":\"DIR/saved\"}}";
    char row[1024], step[1024];
    snprintf(
        row, sizeof row,
        PROBE(PAIRS, "%s", "\"columns\":119,\"divergence\":1,\"choices\":\"yn\",\"together\":0"),
        roles);
    snprintf(
        step, sizeof step,
        PROBE(PAIRS, "%s", "\"columns\":119,\"divergence\":1,\"choices\":\"yn\",\"together\":2"),
        roles);
    check_cuts(row, step, models);
    check_cuts(PROBE(STEPS, "", "\"columns\":8,\"score_width\":3"),
               PROBE(STEPS, "", "\"columns\":8,\"score_width\":3,\"together\":2"), "");
}

/* Two objectives with lists of their own read the same head. */
static void choices_of_two_objectives(void **state)
{
#define TWO(a, b) "\"main\":{\"data\":{\"type\":" PAIRS "},\"rows\":2,\"objectives\":{" a "," b "}}"
#define ONE(name, list, weight)                                                                    \
    "\"" name "\":{\"plugin\":\"org.example.probe\",\"weight\":" weight                            \
    ",\"options\":{\"columns\":64,\"choices\":\"" list "\"}}"
    bench b;
    double loss[3];
    size_t n;
    double *both =
        gradient_of(&b, TWO(ONE("a", "yn", "1"), ONE("b", "nq", "2")), "", 4096, &loss[0], &n);
    double *one =
        gradient_of(&b, TWO(ONE("a", "yn", "1"), ONE("b", "nq", "0")), "", 4096, &loss[1], &n);
    double *two =
        gradient_of(&b, TWO(ONE("a", "yn", "0"), ONE("b", "nq", "2")), "", 4096, &loss[2], &n);
    double diff = 0, norm = 0, apart = 0;
    for (size_t i = 0; i < n; i++) {
        diff += pow(both[i] - one[i] - two[i], 2);
        apart += pow(2 * one[i] - two[i], 2);
        norm += both[i] * both[i];
    }
    assert_true(sqrt(diff / norm) < 1e-5 && sqrt(apart / norm) > 1e-3);
    free(both);
    free(one);
    free(two);
}

/* ---- frozen steps ---- */

static void a_frozen_model_stands_still(void **state)
{
    bench b;
    dw_err err = {{0}};
    bench_open(&b, PROBE(CHATS, ",\"critic\":\"second\"", "\"columns\":5"),
               ",\"models\":{\"second\":{\"path\":\"DIR/saved\",\"freeze\":[[1,3]],\"optimizer\":{"
               "\"kind\":\"adamw\",\"lr\":0.01}}}");
    dw_job *job = &b.l.job;
    dw_live_model *m = &job->models[1];
    const dw_params *p = dw_model_trained(m->m);
    size_t bytes = p->n * sizeof(dw_real);
    dw_real *was = dw_arena_alloc(&b.t.arena, 3 * bytes);
    for (uint64_t step = 0; step < 4; step++) {
        const dw_live_model *bad;
        dw_step_result r;
        memcpy(was, p->w, bytes);
        memcpy(was + p->n, m->optim.m, bytes);
        memcpy(was + 2 * p->n, m->optim.v, bytes);
        dw_real first = dw_model_trained(job->model)->w[0];
        job->step = step;
        tiny_must(dw_step_gradient(job, &r, &err), &err);
        assert_true(dw_models_norms(job, &bad));
        dw_models_update(job, step);
        bool same = !memcmp(was, p->w, bytes) && !memcmp(was + p->n, m->optim.m, bytes) &&
                    !memcmp(was + 2 * p->n, m->optim.v, bytes);
        assert_true(same == (step == 1 || step == 2));
        assert_true((m->lr == 0) == same && (m->norm == 0) == same);
        assert_true(dw_model_trained(job->model)->w[0] != first);
    }
    assert_int_equal(m->optim.step, 2);
    assert_int_equal(job->models[0].optim.step, 4);
    bench_close(&b);
}

/* ---- MISMATCHED sequences in the survey ---- */

static double metric(const dw_metrics *m, const char *name)
{
    const dw_metric *x = dw_metrics_find(m, name);
    assert_non_null(x);
    return dw_metric_value(x);
}

static void a_survey_sees_mismatched_answers(void **state)
{
    for (int micro = 16; micro < 10000; micro *= 100) {
        bench b;
        dw_metrics m = {0};
        bench_open(&b, PROBE(PAIRS, "", "\"columns\":65537,\"extras\":1"), "");
        b.plan->micro_tokens = (uint32_t)micro;
        stir_all(&b);
        b.l.job.sink = &m;
        step_loss(&b);
        double got = metric(&m, "mismatched");
        assert_true(isfinite(got) && fabs(got) > 1e-3);
        assert_true(metric(&m, "early") == 0);
        b.l.job.sink = NULL;
        dw_metrics_finish(&m);
        bench_close(&b);
    }
}

/* ---- scores ---- */

static void a_model_scores_answers(void **state)
{
    bench b;
    dw_err err = {{0}};
    bench_open(&b, PROBE(PAIRS, "", "\"columns\":8,\"score_width\":2"), "");
    stir_all(&b);
    dw_set s;
    dw_job *job = &b.l.job;
    dw_live_task *t = &job->task[0];
    tiny_must(dw_set_from_rows(&s, t, &b.t.arena, 0, 3, 0, &err), &err);
    double whole[12], alone[12];
    b.plan->micro_tokens = 100000;
    tiny_must(dw_score_marks(job, 0, &s, NULL, whole, &err), &err);
    b.plan->micro_tokens = 16;
    tiny_must(dw_score_marks(job, 0, &s, NULL, alone, &err), &err);
    for (int i = 0; i < 12; i++) {
        assert_true(fabs(whole[i] - alone[i]) < 1e-5 && isfinite(whole[i]));
        assert_true(i == 0 || whole[i] != whole[i - 1]);
    }
    /* a score of a token model is a probability */
    assert_true(dw_score_number(t->model->m, whole) == whole[0]);
    bench_close(&b);
    bench_open(&b, PROBE(STEPS, "", "\"columns\":8,\"score_width\":2"), "");
    const double two[] = {1, 3}, far[] = {-800, 800};
    assert_true(fabs(dw_score_number(b.l.job.model, two) - 1 / (1 + exp(-2))) < 1e-12);
    assert_true(dw_score_number(b.l.job.model, far) == 1);
    bench_close(&b);
}

/* ---- what does not go together ---- */

static void refused(const char *task, const char *rest, const char *message)
{
    bench b;
    dw_err err = {{0}};
    bench_begin(&b, task, rest);
    dw_status st = dw_live_open(&b.l, b.plan, NULL, &b.o, &err);
    assert_true(st < 0);
    if (!strstr(err.text, message))
        fail_msg("wanted: %s\ngot:    %s", message, err.text);
    bench_close(&b);
}

static void contradictions_are_named(void **state)
{
    refused(PROBE(PAIRS, "", "\"columns\":9"), "",
            "tasks.main reads both scores and log-probabilities of the model 'policy'");
    refused(PROBE(CHATS, "", "\"columns\":33,\"divergence\":1"), "",
            "tasks.main: main.objectives.probe learns from a teacher, and the task names none");
    refused(PROBE(CHATS, ",\"teacher\":\"second\"", "\"columns\":1"), SECOND,
            "tasks.main: teacher: nothing in this task learns from a teacher");
    refused(PROBE(CHATS, ",\"reference\":\"second\"", "\"columns\":1"), SECOND,
            "tasks.main: reference: nothing in this task compares with a reference");
    refused(PROBE(CHATS, ",\"critic\":\"second\"", "\"columns\":1"), SECOND,
            "tasks.main: critic: nothing in this task asks for values");
    refused(PROBE(PAIRS, "", "\"columns\":64,\"choices\":\"long\""), "",
            "tasks.main: the choice 'no' is 2 tokens in this model's vocabulary");
    refused(PROBE(CHATS, "", "\"columns\":64"), "", "asks for CHOICES and lists no tokens");
    refused(
        "\"main\":{\"data\":{\"type\":" CHATS "},\"objectives\":{\"a\":{\"plugin\":"
        "\"org.example.probe\",\"options\":{\"columns\":4,\"value_width\":1}},\"b\":{\"plugin\":"
        "\"org.example.probe\",\"options\":{\"columns\":4,\"value_width\":2}}}}",
        "", "main.objectives.a and main.objectives.b ask for different numbers of value heads");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_head_on_the_model),
        cmocka_unit_test(a_critic_of_its_own),
        cmocka_unit_test(a_reward_model),
        cmocka_unit_test(choices_of_tokens),
        cmocka_unit_test(divergences),
        cmocka_unit_test(a_teacher_with_prompts_of_its_own),
        cmocka_unit_test(teacher_and_reference_log_probabilities),
        cmocka_unit_test(values_and_choices_are_read_in_place),
        cmocka_unit_test(scores_are_read_in_place),
        cmocka_unit_test(cuts_change_nothing),
        cmocka_unit_test(choices_of_two_objectives),
        cmocka_unit_test(a_frozen_model_stands_still),
        cmocka_unit_test(a_survey_sees_mismatched_answers),
        cmocka_unit_test(a_model_scores_answers),
        cmocka_unit_test(contradictions_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
