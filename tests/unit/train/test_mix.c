/* Several objectives in one step: gradients apart, multipliers, limits and weights that follow what
 * was measured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>

#include "tiny.h"
#include "train/component.h"
#include "train/live.h"

/* cmocka compares floats; these are doubles. */
static void near(double got, double want, double within)
{
    if (!(fabs(got - want) <= within))
        fail_msg("%.17g is not within %g of %.17g", got, within, want);
}

/* The value of a metric in every line of metrics.jsonl that has it. */
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

static dw_plan *plan_of(tiny *t, const char *tasks, const char *weights, const char *rest,
                        int steps)
{
    dw_plan *p = tiny_plan(t, tasks, weights, rest);
    p->phase[0].steps = p->steps = (uint64_t)steps;
    return p;
}

static void train(tiny *t, dw_plan *p, const dw_callbacks *cb, const char *out)
{
    dw_err err = {{0}};
    dw_run_options o = tiny_options(t, out, 0);
    tiny_must(dw_run(p, cb, &o, &err), &err);
    dw_plan_free(p);
}

#define ONE(name, file)                                                                            \
    "\"" name "\":{\"data\":{\"type\":\"completions\",\"add_eos\":false,\"files\":[\"DIR/" file    \
    "\"]},\"rows\":1,\"objectives\":{\"sft\":{\"plugin\":\"sft\",\"weight\":1}}}"

/* One prompt, two one-letter answers x and y with probabilities a and b. Minimising -log a with
 * -log b <= d: b = exp(-d), a = 1 - b, and at the optimum of -log a - lambda log b over a + b = 1
 * lambda = b / a. */
static void a_constraint_finds_its_multiplier(void **state)
{
    enum { STEPS = 600, LAST = 50 };
    static double value[STEPS];
    tiny t = tiny_make();
    tiny_write(&t, "x.jsonl", "{\"prompt\":\"q\",\"completion\":\"x\"}\n");
    tiny_write(&t, "y.jsonl", "{\"prompt\":\"q\",\"completion\":\"y\"}\n");
    train(&t,
          plan_of(&t, ONE("a", "x.jsonl") "," ONE("b", "y.jsonl"), "\"a\":1,\"b\":1",
                  ",\"constraints\":{\"c\":{\"metric\":\"b/loss\",\"bound\":0.916290731874155,"
                  "\"task\":\"b\",\"lr\":0.1,\"start\":1.5}}",
                  STEPS),
          NULL, "run");
    size_t n = series(&t, "run", "constraints/c/multiplier", value, STEPS);
    assert_int_equal(n, STEPS);
    double mean = 0, loss = 0;
    for (size_t i = n - LAST; i < n; i++)
        mean += value[i] / LAST;
    near(mean, 0.4 / 0.6, 0.02 * 0.4 / 0.6);
    n = series(&t, "run", "b/loss", value, STEPS);
    for (size_t i = n - LAST; i < n; i++)
        loss += value[i] / LAST;
    near(loss, 0.916290731874155, 0.01);
    tiny_finish(&t);
}

/* A multiplier may be an option of a plugin: it is what the plugin works with. */
static void a_multiplier_may_be_an_option(void **state)
{
    double beta[6], margin[6], reward[6];
    tiny t = tiny_make();
    train(&t,
          plan_of(&t, TINY_DPO, "\"dpo\":1",
                  ",\"constraints\":{\"c\":{\"metric\":\"rewards/accuracies\",\"bound\":2,"
                  "\"at_least\":true,\"option\":\"dpo.objectives.dpo.beta\",\"lr\":0.5,"
                  "\"start\":0.1,\"max\":50}}",
                  3),
          NULL, "run");
    assert_int_equal(series(&t, "run", "constraints/c/multiplier", beta, 6), 3);
    near(beta[0], 0.1 + 0.5 * 2, 1e-12); /* no pair was right before the first step */
    assert_int_equal(series(&t, "run", "rewards/margins", margin, 6), 3);
    assert_int_equal(series(&t, "run", "loss", reward, 6), 3);
    assert_true(margin[1] != 0);
    tiny_finish(&t);
}

static void a_limit_ends_the_run(void **state)
{
    double loss[40];
    tiny t = tiny_make();
    train(&t,
          plan_of(&t, TINY_SFT, "\"sft\":1",
                  ",\"limits\":{\"low\":{\"metric\":\"loss\",\"bound\":5.0,\"at_least\":true}}",
                  40),
          NULL, "run");
    size_t n = series(&t, "run", "loss", loss, 40);
    assert_true(n > 1 && n < 40);
    for (size_t i = 0; i + 1 < n; i++)
        assert_true(loss[i] >= 5.0);
    assert_true(loss[n - 1] < 5.0);
    assert_true(dw_dir_exists(dw_path_join(&t.arena, t.dir, "run/final")));
    tiny_finish(&t);
}

static void a_limit_slows_the_run(void **state)
{
    double rate[4];
    tiny t = tiny_make();
    train(&t,
          plan_of(&t, TINY_SFT, "\"sft\":1",
                  ",\"limits\":{\"low\":{\"metric\":\"loss\",\"bound\":0.0,\"action\":\"slow\","
                  "\"factor\":0.25}}",
                  3),
          NULL, "run");
    assert_int_equal(series(&t, "run", "learning_rate", rate, 4), 3);
    near(rate[0], 0.003, 1e-12);
    near(rate[1], 0.003 / 4, 1e-12);
    near(rate[2], 0.003 / 4, 1e-12); /* not slower and slower */
    tiny_finish(&t);
}

static void an_unknown_metric_is_named(void **state)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    dw_run_options o = tiny_options(&t, "run", 0);
    dw_plan *p = plan_of(&t, TINY_SFT, "\"sft\":1",
                         ",\"limits\":{\"low\":{\"metric\":\"lost\",\"bound\":1}}", 3);
    assert_int_equal(dw_run(p, NULL, &o, &err), DW_E_RECIPE);
    assert_non_null(strstr(err.text, "limits.low.metric: 'lost' is not among what the run "
                                     "measures: "));
    assert_non_null(strstr(err.text, "grad_norm"));
    dw_plan_free(p);
    tiny_finish(&t);
}

static dw_status begins_late(void *ctx, const char *fn, uint64_t step, const dw_metrics *past,
                             double *value, dw_err *err)
{
    *value = step < 2 ? 0 : 1;
    return DW_OK;
}

/* A task that rests at first has not measured anything yet; that is no reason to end the run. */
static void a_metric_may_come_with_its_task(void **state)
{
    double m[6];
    tiny t = tiny_make();
    const dw_callbacks cb = {.weight = begins_late};
    train(&t,
          plan_of(&t, TINY_SFT "," TINY_DPO, "\"sft\":1,\"dpo\":{\"lua\":\"w\"}",
                  ",\"functions\":{\"w\":\"weight\"},\"constraints\":{\"c\":{\"metric\":"
                  "\"dpo/loss\",\"bound\":0.5,\"task\":\"dpo\",\"lr\":0.1,\"start\":1}}",
                  4),
          &cb, "run");
    assert_int_equal(series(&t, "run", "constraints/c/multiplier", m, 6), 4);
    near(m[1], 1, 0);
    assert_true(m[2] > 1);
    tiny_finish(&t);
}

#define EVALUATED(name)                                                                            \
    "\"" name                                                                                      \
    "\":{\"data\":{\"type\":\"completions\",\"files\":[\"DIR/chats.jsonl\"]},\"rows\":4,"          \
    "\"objectives\":{\"sft\":{\"plugin\":\"sft\",\"weight\":1}},\"eval\":{\"data\":{\"type\":"     \
    "\"completions\",\"files\":[\"DIR/chats.jsonl\"]},\"every\":1}}"

/* The evals of tasks come one after the other: a limit on the second's waits for the second's. */
static void a_metric_may_be_of_another_eval(void **state)
{
    double rate[4];
    tiny t = tiny_make();
    train(&t,
          plan_of(
              &t, EVALUATED("a") "," EVALUATED("b"), "\"a\":1,\"b\":1",
              ",\"limits\":{\"low\":{\"metric\":\"b/eval_loss\",\"bound\":0.0,\"action\":\"slow\","
              "\"factor\":0.25}}",
              2),
          NULL, "run");
    assert_int_equal(series(&t, "run", "learning_rate", rate, 4), 2);
    near(rate[1], 0.003 / 4, 1e-12);
    tiny_finish(&t);
}

#define LABELS(file)                                                                               \
    "\"k\":{\"data\":{\"type\":\"labels\",\"shuffle\":false,\"files\":[\"DIR/" file                \
    "\"]},\"rows\":2,"                                                                             \
    "\"objectives\":{\"kto\":{\"plugin\":\"kto\",\"weight\":1}}}"
#define ROW "{\"prompt\":\"q\",\"completion\":\"%c\",\"label\":%s}\n"
#define MARGINS                                                                                    \
    ",\"constraints\":{\"c\":{\"metric\":\"rewards/margins\",\"bound\":0.5,\"at_least\":true,"     \
    "\"task\":\"k\",\"lr\":0.1,\"start\":1}}"

/* Margins need both kinds of labels in a step: the first three have one, or all of them. */
static void a_metric_may_come_late(void **state)
{
    double m[16];
    dw_err err = {{0}};
    tiny t = tiny_make();
    dw_buf late = {0}, never = {0};
    for (int i = 0; i < 24; i++) {
        dw_buf_printf(&late, ROW, 'a' + i, i < 6 || i % 2 ? "true" : "false");
        dw_buf_printf(&never, ROW, 'a' + i, "true");
    }
    tiny_write(&t, "late.jsonl", late.ptr);
    tiny_write(&t, "never.jsonl", never.ptr);
    train(&t, plan_of(&t, LABELS("late.jsonl"), "\"k\":1", MARGINS, 5), NULL, "late");
    assert_int_equal(series(&t, "late", "constraints/c/multiplier", m, 16), 5);
    near(m[2], 1, 0);
    assert_true(m[3] > 1);

    dw_run_options o = tiny_options(&t, "never", 0);
    dw_plan *p = plan_of(&t, LABELS("never.jsonl"), "\"k\":1", MARGINS, 12);
    assert_int_equal(dw_run(p, NULL, &o, &err), DW_E_RECIPE);
    assert_non_null(strstr(err.text, "constraints.c.metric: 'rewards/margins' is not among"));
    assert_int_equal(series(&t, "never", "constraints/c/multiplier", m, 16), 7);
    dw_plan_free(p);
    dw_buf_finish(&late);
    dw_buf_finish(&never);
    tiny_finish(&t);
}

/* ---- weights from functions ---- */

typedef struct seen {
    int calls;
    double loss[8];
} seen;

static dw_status weight(void *ctx, const char *fn, uint64_t step, const dw_metrics *past,
                        double *value, dw_err *err)
{
    seen *s = ctx;
    const dw_metric *m = dw_metrics_find(past, "sft/loss");
    assert_string_equal(fn, "w");
    s->loss[s->calls++] = m ? dw_metric_value(m) : NAN;
    *value = step == 1 ? 0 : 2;
    return DW_OK;
}

static void a_weight_may_be_a_function(void **state)
{
    seen s = {0};
    double dpo[4], sft[4];
    tiny t = tiny_make();
    const dw_callbacks cb = {.ctx = &s, .weight = weight};
    train(&t,
          plan_of(&t, TINY_SFT "," TINY_DPO, "\"sft\":1,\"dpo\":{\"lua\":\"w\"}",
                  ",\"functions\":{\"w\":\"weight\"}", 3),
          &cb, "run");
    assert_int_equal(s.calls, 3);
    assert_true(isnan(s.loss[0])); /* nothing is known before the first step */
    assert_int_equal(series(&t, "run", "sft/loss", sft, 4), 3);
    near(s.loss[1], sft[0], 0);
    near(s.loss[2], sft[1], 0);
    /* it rested in the second step */
    assert_int_equal(series(&t, "run", "dpo/loss", dpo, 4), 2);
    tiny_finish(&t);
}

/* ---- gradients apart ---- */

typedef struct bench {
    tiny t;
    dw_live l;
    dw_plan *p;
    dw_metrics m;
} bench;

static void bench_open(bench *b, const char *rest)
{
    dw_err err = {{0}};
    b->t = tiny_make();
    b->p = plan_of(&b->t, TINY_SFT "," TINY_DPO, "\"sft\":1,\"dpo\":1", rest, 3);
    dw_run_options o = tiny_options(&b->t, "run", 0);
    static dw_run_options kept;
    kept = o;
    tiny_must(dw_live_open(&b->l, b->p, NULL, &kept, &err), &err);
    b->l.job.sink = &b->m;
}

static void bench_close(bench *b)
{
    dw_live_close(&b->l);
    dw_plan_free(b->p);
    dw_metrics_finish(&b->m);
    tiny_finish(&b->t);
}

static double read_metric(const bench *b, const char *name)
{
    const dw_metric *m = dw_metrics_find(&b->m, name);
    if (!m)
        fail_msg("no metric %s", name);
    return dw_metric_value(m);
}

/* Two gradients written by hand: the first on even places, the second as asked. */
static void by_hand(bench *b, int angle)
{
    dw_err err = {{0}};
    dw_components c;
    dw_params *p = dw_model_trained(b->l.job.model);
    memset(p->g, 0, p->n * sizeof *p->g);
    tiny_must(dw_components_begin(&c, &b->l.job, &err), &err);
    dw_components_next(&c, "a", 1);
    for (size_t i = 0; i < 64; i += 2)
        p->g[i] = 3;
    dw_components_next(&c, "b", 1);
    for (size_t i = 0; i < 64; i += 2)
        p->g[angle == 0 ? i + 1 : i] = angle < 0 ? -2 : 2;
    dw_components_end(&c);
}

static void cosines_are_what_they_are(void **state)
{
    for (int angle = -1; angle <= 1; angle++) {
        bench b = {0};
        bench_open(&b, ",\"gradients_every\":1");
        by_hand(&b, angle);
        near(read_metric(&b, "gradients/a~b/cosine"), angle, 1e-12);
        near(read_metric(&b, "gradients/a/norm"), 3 * sqrt(32), 1e-9);
        near(read_metric(&b, "gradients/conflict_rate"), angle < 0, 0);
        const dw_params *p = dw_model_trained(b.l.job.model);
        near(p->g[0], 3 + 2 * angle, 0); /* added */
        near(p->g[1], angle == 0 ? 2 : 0, 0);
        bench_close(&b);
    }
}

static void pcgrad_leaves_no_conflict(void **state)
{
    bench b = {0};
    bench_open(&b, ",\"combine\":{\"kind\":\"pcgrad\"}");
    by_hand(&b, -1);
    const dw_params *p = dw_model_trained(b.l.job.model);
    for (size_t i = 0; i < 64; i++) /* opposite gradients cancel, each by itself */
        near(p->g[i], 0, 1e-6);
    bench_close(&b);
}

/* The real objectives' gradients, added up one by one, are the step's gradient. */
static void apart_or_together(void **state)
{
    dw_real *g[2];
    size_t n = 0;
    for (int apart = 0; apart < 2; apart++) {
        bench b = {0};
        dw_step_result r;
        dw_err err = {{0}};
        bench_open(&b, apart ? ",\"gradients_every\":1" : "");
        tiny_must(dw_live_arm(&b.l, &err), &err);
        tiny_must(dw_step_gradient(&b.l.job, &r, &err), &err);
        const dw_params *p = dw_model_trained(b.l.job.model);
        n = p->n;
        g[apart] = malloc(n * sizeof **g);
        memcpy(g[apart], p->g, n * sizeof **g);
        if (apart)
            assert_true(fabs(read_metric(&b, "gradients/dpo~sft/cosine")) < 1);
        bench_close(&b);
    }
    double off = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        off += ((double)g[0][i] - g[1][i]) * ((double)g[0][i] - g[1][i]);
        norm += (double)g[0][i] * g[0][i];
    }
    assert_true(norm > 0);
    assert_true(sqrt(off / norm) < 1e-5);
    free(g[0]);
    free(g[1]);
}

static dw_real *gradient_of(const char *tasks, const char *weights, const char *rest, size_t *n,
                            double *cosine)
{
    bench b = {.t = tiny_make()};
    dw_step_result r;
    dw_err err = {{0}};
    tiny_write(&b.t, "x.jsonl", "{\"prompt\":\"q\",\"completion\":\"x\"}\n");
    tiny_write(&b.t, "y.jsonl", "{\"prompt\":\"q\",\"completion\":\"y\"}\n");
    b.p = plan_of(&b.t, tasks, weights, rest, 3);
    dw_run_options o = tiny_options(&b.t, "run", 0);
    tiny_must(dw_live_open(&b.l, b.p, NULL, &o, &err), &err);
    b.l.job.sink = &b.m;
    tiny_must(dw_live_arm(&b.l, &err), &err);
    tiny_must(dw_step_gradient(&b.l.job, &r, &err), &err);
    const dw_params *p = dw_model_trained(b.l.job.model);
    dw_real *g = malloc(p->n * sizeof *g);
    memcpy(g, p->g, p->n * sizeof *g);
    *n = p->n;
    if (cosine)
        *cosine = read_metric(&b, "gradients/a~b/cosine");
    bench_close(&b);
    return g;
}

static double product(const dw_real *x, const dw_real *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * y[i];
    return sum;
}

/* Trap T35: two answers to one prompt are different tokens of the batch, so the losses' derivatives
 * by the observed log-probabilities are orthogonal, and surgery on them would do nothing; through
 * the parameters the two pull against each other, and there PCGrad acts. */
static void t35_surgery_on_parameters(void **state)
{
    static const char both[] = ONE("a", "x.jsonl") "," ONE("b", "y.jsonl");
    size_t n;
    double cosine;
    dw_real *a = gradient_of(ONE("a", "x.jsonl"), "\"a\":1", "", &n, NULL);
    dw_real *b = gradient_of(ONE("b", "y.jsonl"), "\"b\":1", "", &n, NULL);
    dw_real *plain = gradient_of(both, "\"a\":1,\"b\":1", ",\"gradients_every\":1", &n, &cosine);
    dw_real *cut =
        gradient_of(both, "\"a\":1,\"b\":1", ",\"combine\":{\"kind\":\"pcgrad\"}", &n, NULL);
    double ab = product(a, b, n), aa = product(a, a, n), bb = product(b, b, n), off = 0;
    (void)state;
    near(cosine, ab / sqrt(aa * bb), 1e-5);
    assert_true(cosine < -0.05);
    for (size_t i = 0; i < n; i++) {
        double want = a[i] + b[i] - ab / aa * a[i] - ab / bb * b[i];
        off = fmax(off, fabs(cut[i] - want));
    }
    assert_true(off < 1e-5 * sqrt(aa));
    assert_true(product(cut, a, n) > 0 && product(cut, b, n) > 0);
    assert_true(product(plain, plain, n) < 0.95 * product(cut, cut, n) ||
                product(plain, plain, n) > 1.05 * product(cut, cut, n));
    free(a);
    free(b);
    free(plain);
    free(cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_constraint_finds_its_multiplier),
        cmocka_unit_test(a_multiplier_may_be_an_option),
        cmocka_unit_test(a_limit_ends_the_run),
        cmocka_unit_test(a_limit_slows_the_run),
        cmocka_unit_test(an_unknown_metric_is_named),
        cmocka_unit_test(a_metric_may_come_with_its_task),
        cmocka_unit_test(a_metric_may_be_of_another_eval),
        cmocka_unit_test(a_metric_may_come_late),
        cmocka_unit_test(a_weight_may_be_a_function),
        cmocka_unit_test(cosines_are_what_they_are),
        cmocka_unit_test(pcgrad_leaves_no_conflict),
        cmocka_unit_test(apart_or_together),
        cmocka_unit_test(t35_surgery_on_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
