/* Runs with several models: resumed bit for bit, references that follow, and the folders they
 * leave. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "tiny.h"
#include "train/live.h"
#include "train/refresh.h"

static const char *const plugin_dir[] = {TEST_PLUGIN_DIR};

#define TASK(roles, options)                                                                       \
    "\"main\":{\"data\":{\"type\":\"pairs\",\"files\":[\"DIR/pairs.jsonl\"]},\"rows\":2" roles     \
    ",\"objectives\":{\"probe\":{\"plugin\":\"org.example.probe\",\"options\":{" options "}}}}"

static dw_run_options options(tiny *t, const char *run, uint64_t stop_at)
{
    dw_run_options o = tiny_options(t, run, stop_at);
    o.plugin_dir = plugin_dir;
    o.n_plugin_dir = 1;
    return o;
}

static const char *hash_of(tiny *t, const char *run, const char *file)
{
    char hex[65];
    dw_err err = {{0}};
    tiny_must(dw_sha256_file(dw_arena_printf(&t->arena, "%s/%s/%s", t->dir, run, file), hex, &err),
              &err);
    return dw_arena_strdup(&t->arena, hex);
}

/* A run in one go, and one that is stopped after every step. */
static void check_resume(const char *task, const char *rest, const char *const *file)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    dw_run_options whole = options(&t, "whole", 0);
    dw_plan *p = tiny_plan(&t, task, "\"main\":1", rest);
    tiny_must(dw_run(p, NULL, &whole, &err), &err);
    dw_run_options o = options(&t, "parts", 1);
    assert_int_equal(dw_run(p, NULL, &o, &err), DW_E_SIGINT);
    for (o.stop_at = 2; o.stop_at < 6; o.stop_at++)
        assert_int_equal(dw_run_resume(p, NULL, &o, &err), DW_E_SIGINT);
    o.stop_at = 0;
    tiny_must(dw_run_resume(p, NULL, &o, &err), &err);
    for (; *file; file++)
        assert_string_equal(hash_of(&t, "whole", *file), hash_of(&t, "parts", *file));
    dw_plan_free(p);
    tiny_finish(&t);
}

#define SECOND                                                                                     \
    ",\"models\":{\"second\":{\"path\":\"DIR/saved\",\"freeze\":[[2,4]],\"optimizer\":{\"kind\":"  \
    "\"sgd\",\"lr\":0.01,\"momentum\":0.9}}}"

static void a_critic_survives_a_resume(void **state)
{
    static const char *const apart[] = {"final/model.safetensors", "final-second/model.safetensors",
                                        "final-second/value_head/model.safetensors", NULL};
    static const char *const shared[] = {"final/model.safetensors",
                                         "final/value_head/model.safetensors", NULL};
    check_resume(TASK(",\"critic\":\"second\"", "\"columns\":5"), SECOND, apart);
    check_resume(TASK("", "\"columns\":5"), "", shared);
}

static void a_reward_model_survives_a_resume(void **state)
{
    static const char *const file[] = {"final/model.safetensors", "final/config.json", NULL};
    check_resume(TASK("", "\"columns\":8"), "", file);
}

static void copies_that_follow_survive_a_resume(void **state)
{
    static const char *const file[] = {"final/model.safetensors", NULL};
    /* LOGP and REF_LOGP; LOGP and TEACHER_LOGP */
    check_resume(TASK(",\"reference_update\":{\"kind\":\"mix\",\"every\":2}", "\"columns\":65537"),
                 "", file);
    check_resume(TASK(",\"reference_update\":{\"kind\":\"bema\",\"every\":2}", "\"columns\":65537"),
                 "", file);
    check_resume(TASK(",\"teacher\":\"self\",\"teacher_update\":{\"kind\":\"mix\",\"alpha\":0.5}",
                      "\"columns\":524289"),
                 "", file);
}

static const char *final_of(tiny *t, const char *run, const char *task, const char *rest)
{
    dw_err err = {{0}};
    dw_run_options o = options(t, run, 0);
    dw_plan *p = tiny_plan(t, task, "\"main\":1", rest);
    tiny_must(dw_run(p, NULL, &o, &err), &err);
    dw_plan_free(p);
    return hash_of(t, run, "final/model.safetensors");
}

/* An update later than the run's end changes nothing, one within it does. */
static void following_changes_the_run(void **state)
{
    tiny t = tiny_make();
#define FOLLOW(every) TASK(",\"reference_update\":{\"every\":" every "}", "\"columns\":65537")
    const char *still = final_of(&t, "a", TASK("", "\"columns\":65537"), "");
    const char *late = final_of(&t, "b", FOLLOW("7"), "");
    const char *early = final_of(&t, "c", FOLLOW("2"), "");
    assert_string_equal(still, late);
    assert_string_not_equal(still, early);
    /* a value head beside the model has its own place in the copy */
    final_of(&t, "d",
             TASK(",\"reference_update\":{\"every\":2}", "\"columns\":65541,\"value_width\":2"),
             "");
    tiny_finish(&t);
}

static void the_averages_are_those_of_the_papers(void **state)
{
    enum { N = 5 };
    dw_real w[N], ref[N];
    dw_err err = {{0}};
    dw_params now = {.n = N, .w = w}, copy = {.n = N, .w = ref};
    const dw_plan_update kinds[] = {
        {.kind = DW_UPDATE_MIX, .every = 2, .alpha = 0.6},
        {.kind = DW_UPDATE_BEMA, .every = 2, .kappa = 0.5, .eta = 0.2, .rho = 10, .gamma = 1}};
    for (int k = 0; k < 2; k++) {
        double ema[N], start[N], want[N];
        dw_refresh r;
        for (int i = 0; i < N; i++)
            ref[i] = (dw_real)(start[i] = ema[i] = want[i] = 0.1 * i - 0.2);
        tiny_must(dw_refresh_init(&r, &kinds[k], &copy, &err), &err);
        for (int t = 1; t <= 6; t++) {
            for (int i = 0; i < N; i++)
                w[i] = (dw_real)(start[i] + 0.01 * t * (i + 1));
            assert_true(dw_refresh_step(&r, &now, &copy) == (t % 2 == 0));
            double beta = pow(10 + t, -0.5), alpha = pow(10 + t, -0.2);
            for (int i = 0; t % 2 == 0 && i < N; i++) {
                ema[i] = (1 - beta) * ema[i] + beta * (double)w[i];
                want[i] = k == 0 ? 0.6 * (double)w[i] + 0.4 * want[i]
                                 : ema[i] + alpha * ((double)w[i] - start[i]);
            }
            for (int i = 0; i < N; i++)
                assert_true(fabs((double)ref[i] - want[i]) < 1e-6);
        }
        dw_refresh_finish(&r);
    }
}

static void a_dry_run_counts_every_model(void **state)
{
    tiny t = tiny_make();
    dw_err err = {{0}};
    dw_buf one = {0}, two = {0};
    dw_run_options o = options(&t, "dry", 0);
    dw_plan *p = tiny_plan(&t, TASK("", "\"columns\":1"), "\"main\":1", "");
    dw_plan *q =
        tiny_plan(&t, TASK(",\"critic\":\"second\"", "\"columns\":5"), "\"main\":1", SECOND);
    tiny_must(dw_run_dry(p, NULL, &o, &one, &err), &err);
    tiny_must(dw_run_dry(q, NULL, &o, &two, &err), &err);
    double weights[2];
    assert_int_equal(sscanf(strstr(one.ptr, "weights "), "weights %lf", &weights[0]), 1);
    assert_int_equal(sscanf(strstr(two.ptr, "weights "), "weights %lf", &weights[1]), 1);
    assert_true(weights[1] >= 2 * weights[0] - 0.11 && weights[0] > 0);
    assert_non_null(strstr(two.ptr, "model second: "));
    assert_non_null(strstr(two.ptr, "critic      second"));
    dw_plan_free(p);
    dw_plan_free(q);
    dw_buf_finish(&one);
    dw_buf_finish(&two);
    tiny_finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_critic_survives_a_resume),
        cmocka_unit_test(a_reward_model_survives_a_resume),
        cmocka_unit_test(copies_that_follow_survive_a_resume),
        cmocka_unit_test(following_changes_the_run),
        cmocka_unit_test(the_averages_are_those_of_the_papers),
        cmocka_unit_test(a_dry_run_counts_every_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
