/* Objectives that see the whole step, survey it, and carry state from step to step. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "tiny.h"
#include "train/live.h"

#define COUPLED(by_step)                                                                           \
    "\"main\":{\"data\":{\"type\":\"pairs\",\"files\":[\"DIR/pairs.jsonl\"]},\"rows\":4,"          \
    "\"objectives\":{\"c\":{\"plugin\":\"org.example.coupled\",\"weight\":1,\"options\":"          \
    "{\"by_step\":" by_step "}}}}"

static const char *const plugin_dir[] = {TEST_PLUGIN_DIR};

static dw_run_options options(tiny *t, const char *run, uint64_t stop_at)
{
    dw_run_options o = tiny_options(t, run, stop_at);
    o.plugin_dir = plugin_dir;
    o.n_plugin_dir = 1;
    return o;
}

static double *gradient(tiny *t, const char *task, uint32_t micro_tokens, double *loss, size_t *n)
{
    dw_err err = {{0}};
    dw_live l;
    dw_step_result r;
    dw_run_options o = options(t, "none", 0);
    dw_plan *p = tiny_plan(t, task, "\"main\":1", "");
    p->micro_tokens = micro_tokens;
    tiny_must(dw_live_open(&l, p, NULL, &o, &err), &err);
    tiny_must(dw_live_arm(&l, &err), &err);
    tiny_must(dw_step_gradient(&l.job, &r, &err), &err);
    const dw_params *w = dw_model_trained(l.job.model);
    double *g = dw_arena_alloc(&t->arena, w->n * sizeof *g);
    for (size_t i = 0; i < w->n; i++)
        g[i] = (double)w->g[i];
    *n = w->n;
    *loss = r.loss;
    assert_true(l.job.task[0].objective[0].tally[0] == r.trained_tokens);
    dw_live_close(&l);
    dw_plan_free(p);
    return g;
}

static double distance(const double *x, const double *y, size_t n)
{
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += (x[i] - y[i]) * (x[i] - y[i]);
        norm += y[i] * y[i];
    }
    assert_true(norm > 1e-6);
    return sqrt(diff / norm);
}

static void a_coupled_loss_can_be_cut(void **state)
{
    tiny t = tiny_make();
    size_t n;
    double loss[4];
    const double *whole = gradient(&t, COUPLED("false"), 100000, &loss[0], &n);
    const double *one = gradient(&t, COUPLED("true"), 1, &loss[1], &n);
    const double *some = gradient(&t, COUPLED("true"), 50, &loss[2], &n);
    assert_true(distance(one, whole, n) < 1e-5);
    assert_true(distance(some, whole, n) < 1e-5);
    assert_true(fabs(loss[1] - loss[0]) < 1e-9 * loss[0]);
    assert_true(fabs(loss[2] - loss[0]) < 1e-9 * loss[0]);
    /* Without asking for the whole step such a loss does depend on the cut. */
    gradient(&t, COUPLED("false"), 1, &loss[3], &n);
    assert_true(fabs(loss[3] - loss[0]) > 0.1 * loss[0]);
    tiny_finish(&t);
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

static void state_survives_a_resume(void **state)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    dw_run_options whole = options(&t, "whole", 0), o = options(&t, "halves", 4);
    dw_plan *p = tiny_plan(&t, COUPLED("true"), "\"main\":1", "");
    tiny_must(dw_run(p, NULL, &whole, &err), &err);
    assert_int_equal(dw_run(p, NULL, &o, &err), DW_E_SIGINT);
    o.stop_at = 0;
    tiny_must(dw_run_resume(p, NULL, &o, &err), &err);
    assert_string_equal(final_hash(&t, "whole"), final_hash(&t, "halves"));
    dw_plan_free(p);
    tiny_finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_coupled_loss_can_be_cut),
                                       cmocka_unit_test(state_survives_a_resume)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
