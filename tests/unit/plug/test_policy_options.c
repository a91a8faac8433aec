/* What stands around the policy losses: the sampler's own numbers, the controller of the entropy,
 * advantages of rloo and reinforce, options that are refused, columns that are asked for. */
#include "policy.h"

/* ---- sampler and policy ---- */

/* T25: what multiplies the loss is the truncated weight; masks leave a weight as it is or clear it;
 * the divergence is not weighed. */
static void test_t25_correction(void **state)
{
    fixture *f = *state;
    const double gap[] = {log(2), log(4), log(0.1), log(1.5), log(3)};
    static const struct {
        const char *kind;
        double want[5];
    } kinds[] = {{"token_truncate", {2, 3, 0.5, 1.5, 3}},
                 {"token_mask", {2, 0, 0, 1.5, 3}},
                 {"sequence_truncate", {0.8, 0.8, 0.8, 3, 3}},
                 {"sequence_mask", {0.8, 0.8, 0.8, 0, 0}}};
    for (int e = 0; e < 4; e++) {
        char options[120];
        metrics m = {0};
        snprintf(options, sizeof options,
                 "{\"correction\":\"%s\",\"correction_min\":0.5,\"correction_max\":3.0000001,"
                 "\"kl\":1}",
                 kinds[e].kind);
        dw_instance *i = instance_make(f, "grpo", options, &m);
        batch *t = golden_rollout(&f->arena);
        double *from = column(&f->arena, t, DOWEL_SAMPLER_LOGP, false);
        for (int k = 0; k < 5; k++) {
            at(t, DOWEL_OLD_LOGP)[k] = at(t, DOWEL_LOGP)[k];
            from[k] = at(t, DOWEL_OLD_LOGP)[k] - gap[k];
        }
        loss_of(i, t);
        for (int k = 0; k < 5; k++) {
            double d = at(t, DOWEL_LOGP)[k] - at(t, DOWEL_REF_LOGP)[k];
            near(t->col[DOWEL_LOGP].grad[k],
                 (-at(t, DOWEL_ADVANTAGE)[k] * kinds[e].want[k] + d) / 5, 1e-6);
        }
        double sum = 0;
        for (int k = 0; k < 5; k++)
            sum += fabs(gap[k]);
        near(metric_of(&m, "sampling/sampling_logp_difference/mean"), sum / 5, 1e-12);
        near(metric_of(&m, "sampling/sampling_logp_difference/max"), log(10), 1e-12);
        near(metric_of(&m, "sampling/importance_sampling_ratio/mean"),
             e == 0   ? 2
             : e == 1 ? 1.3
             : e == 2 ? 1.9
                      : 0.4,
             1e-6);
        near(metric_of(&m, "sampling/importance_sampling_ratio/max"), e == 3 ? 0.8 : 3, 1e-6);
        near(metric_of(&m, "sampling/importance_sampling_ratio/min"),
             e == 0   ? 0.5
             : e == 2 ? 0.8
                      : 0,
             1e-12);
        dw_instance_destroy(i);
    }
}

/* A token that the sampler could not score weighs 1 and is no evidence against its answer. */
static void test_unscored_by_the_sampler(void **state)
{
    fixture *f = *state;
    static const char *const options[] = {
        "{\"correction\":\"token_truncate\"}", "{\"correction\":\"token_mask\"}",
        "{\"correction\":\"sequence_truncate\"}", "{\"off_policy_max\":0.5}"};
    for (int c = 0; c < 4; c++) {
        dw_instance *i = instance_make(f, "grpo", options[c], NULL);
        batch *t = golden_rollout(&f->arena);
        put(at(t, DOWEL_OLD_LOGP), 5, at(t, DOWEL_LOGP));
        put(column(&f->arena, t, DOWEL_SAMPLER_LOGP, false), 5, at(t, DOWEL_LOGP));
        at(t, DOWEL_SAMPLER_LOGP)[3] = at(t, DOWEL_SAMPLER_LOGP)[1] = NAN;
        loss_of(i, t);
        for (int k = 0; k < 5; k++)
            near(t->col[DOWEL_LOGP].grad[k], -at(t, DOWEL_ADVANTAGE)[k] / 5, 1e-15);
        dw_instance_destroy(i);
    }
}

/* vespo takes the sampler's gap into its own ratio: W = 2 for the first answer. */
static void test_vespo_correction(void **state)
{
    fixture *f = *state;
    dw_instance *i =
        instance_make(f, "grpo", "{\"loss\":\"vespo\",\"correction\":\"token_truncate\"}", NULL);
    batch *t = golden_rollout(&f->arena);
    put(at(t, DOWEL_OLD_LOGP), 5, at(t, DOWEL_LOGP));
    put(column(&f->arena, t, DOWEL_SAMPLER_LOGP, false), 5, at(t, DOWEL_LOGP));
    at(t, DOWEL_SAMPLER_LOGP)[1] -= log(2);
    loss_of(i, t);
    for (int k = 0; k < 3; k++)
        near(t->col[DOWEL_LOGP].grad[k], -0.8 * exp(3 + 2 * log(2) - 6) / 5, 1e-14);
    near(t->col[DOWEL_LOGP].grad[3], 1.2 / 5, 1e-14);
    dw_instance_destroy(i);
}

/* Unwanted answers that became less likely by more than the limit teach nothing more; wanted ones
 * and those that moved the other way do. */
static void test_off_policy(void **state)
{
    fixture *f = *state;
    for (int k = 0; k < 4; k++) {
        metrics m = {0};
        dw_instance *i = instance_make(f, "grpo", "{\"off_policy_max\":0.5,\"clip\":1}", &m);
        batch *t = golden_rollout(&f->arena);
        double *from =
            k < 2 ? at(t, DOWEL_OLD_LOGP) : column(&f->arena, t, DOWEL_SAMPLER_LOGP, false);
        for (int n = 0; n < 5; n++)
            from[n] = at(t, DOWEL_LOGP)[n] + (n % 2 ? 0.2 : 0.9 - 0.2 * (k % 2));
        if (k >= 2)
            put(at(t, DOWEL_OLD_LOGP), 5, at(t, DOWEL_LOGP));
        loss_of(i, t);
        bool dropped = k % 2 == 0; /* mean 0.55 or 0.45 */
        assert_int_equal(t->col[DOWEL_LOGP].grad[4] == 0, dropped);
        assert_true(t->col[DOWEL_LOGP].grad[1] < 0);
        near(metric_of(&m, "off_policy_dropped"), dropped ? 0.5 : 0, 0);
        dw_instance_destroy(i);
    }
}

/* ---- the adaptive bonus ---- */

static void step(dw_instance *i, batch *t)
{
    dw_err err;
    double tally[2] = {0};
    t->b.tally = tally;
    loss_of(i, t);
    t->b.tally = NULL;
    near(tally[1], 5, 0);
    assert_int_equal(dw_call_step_end(i, 0, tally, &err), 0);
}

static void test_adaptive_entropy(void **state)
{
    fixture *f = *state;
    const char *options = "{\"entropy_adaptive\":true,\"entropy_target\":0.7,\"entropy_delta\":0.1,"
                          "\"entropy_bonus\":0.3,\"entropy_max\":0.45}";
    const double bonus[] = {0, 0.4, 0.45, 0, 0}; /* the gate closes a step after the entropy rose */
    dw_instance *i = instance_make(f, "grpo", options, NULL);
    for (int k = 0; k < 5; k++) {
        batch *t = golden_rollout(&f->arena);
        for (int n = 0; n < 5; n++)
            at(t, DOWEL_ENTROPY)[n] += k >= 2 ? 0.5 : 0;
        step(i, t);
        near(t->col[DOWEL_ENTROPY].grad[0], -bonus[k] / 5, 1e-15);
        /* an interrupted run goes on as if nothing had happened */
        dw_buf saved = {0};
        dw_err err;
        dw_instance *j = instance_make(f, "grpo", options, NULL);
        assert_int_equal(dw_instance_save(i, &saved, &err), 0);
        assert_int_equal(dw_instance_load(j, saved.ptr, saved.len, 1, &err), 0);
        dw_instance_destroy(i);
        dw_buf_finish(&saved);
        i = j;
    }
    dw_instance_destroy(i);
}

/* ---- options that contradict each other ---- */

static const char *const refused[] = {
    "{\"loss\":\"cispo\",\"clip_high\":0.28}",
    "{\"loss\":\"sapo\",\"clip\":0.2}",
    "{\"loss\":\"vespo\",\"delta\":4}",
    "{\"delta\":1.1}",
    "{\"delta\":4,\"dual_clip\":3}",
    "{\"dual_clip\":0.9}",
    "{\"clip\":-0.5}",
    "{\"loss\":\"gmpo\",\"dual_clip\":3}",
    "{\"entropy_min\":2}",
    "{\"loss\":\"vespo\",\"correction\":\"sequence_mask\"}",
    "{\"loss\":\"gmpo\",\"kl\":1,\"kl_estimator\":\"k3_weighted\"}",
};

static void test_refused(void **state)
{
    fixture *f = *state;
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
        dw_err err = {{0}};
        dowel_request ask;
        dw_instance *i = instance_make(f, "grpo", refused[k], NULL);
        if (dw_call_observe(i, false, &ask, &err) >= 0)
            fail_msg("%s was accepted", refused[k]);
        assert_true(strlen(err.text) > 20);
        dw_instance_destroy(i);
    }
}

static dowel_request asked(fixture *f, const char *id, const char *options)
{
    dw_err err = {{0}};
    dowel_request ask;
    dw_instance *i = instance_make(f, id, options, NULL);
    if (dw_call_observe(i, false, &ask, &err) < 0)
        fail_msg("%s", err.text);
    dw_instance_destroy(i);
    return ask;
}

/* Nothing is computed that the options have no use for. */
static void test_asks_for_what_it_needs(void **state)
{
    fixture *f = *state;
    const uint64_t base = DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_OLD_LOGP) |
                          DOWEL_BIT(DOWEL_ADVANTAGE) | DOWEL_BIT(DOWEL_ENTROPY);
    const uint64_t ref = DOWEL_BIT(DOWEL_REF_LOGP), exact = DOWEL_BIT(DOWEL_DIVERGENCE);
    dowel_request r = asked(f, "grpo", "{}");
    assert_true(r.columns == base && r.detached == DOWEL_BIT(DOWEL_ENTROPY) && r.together == 0);
    r = asked(f, "grpo", "{\"kl\":0.1}");
    assert_true(r.columns == (base | ref));
    r = asked(f, "grpo", "{\"kl_exact\":true}");
    assert_true(r.columns == (base | ref | exact) && (r.detached & exact));
    assert_true(r.divergence == DOWEL_REVERSE_KL && r.against == DOWEL_REFERENCE);
    r = asked(f, "grpo", "{\"kl\":0.1,\"kl_estimator\":\"exact\"}");
    assert_true(r.columns == (base | ref | exact) && !(r.detached & exact));
    r = asked(f, "grpo", "{\"kl_estimator\":\"exact\"}");
    assert_true(r.columns == base);
    assert_true(asked(f, "grpo", "{\"top_entropy\":0.2}").together == DOWEL_BY_STEP);
    assert_true(asked(f, "grpo", "{\"entropy_bonus\":0.1}").detached == 0);
    r = asked(f, "grpo", "{\"correction\":\"token_mask\"}");
    assert_true(r.columns == (base | DOWEL_BIT(DOWEL_SAMPLER_LOGP)));
    r = asked(f, "reinforce", "{}");
    assert_true(r.columns == (base & ~DOWEL_BIT(DOWEL_OLD_LOGP)));
    assert_true(asked(f, "rloo", "{\"kl\":0}").columns == base);
}

/* ---- advantages ---- */

typedef struct credit {
    dowel_credit c;
    double advantage[64], weight[16], label[16];
    int32_t mate[16];
    uint8_t keep[16];
} credit;

static void estimate(dw_instance *i, batch *t, credit *c)
{
    dw_err err = {{0}};
    memset(c, 0, sizeof *c);
    for (uint32_t s = 0; s < 16; s++) {
        c->weight[s] = 1;
        c->mate[s] = -1;
        c->keep[s] = 1;
    }
    c->c = (dowel_credit){.size = sizeof c->c,
                          .advantage = c->advantage,
                          .weight = c->weight,
                          .label = c->label,
                          .mate = c->mate,
                          .keep = c->keep};
    t->b.host = dw_instance_host(i);
    if (dw_call_estimate(i, &t->b, &c->c, &err) < 0)
        fail_msg("%s", err.text);
}

/* Answers of two tokens in groups of g, with these rewards; two nats in all above the reference for
 * the first, none for the others. */
static batch *rollout(dw_arena *a, uint32_t n, uint32_t g, const double *reward)
{
    uint32_t len[16];
    for (uint32_t s = 0; s < n; s++)
        len[s] = 2;
    batch *t = batch_make(a, n, len);
    put(column(a, t, DOWEL_REWARD, false), n, reward);
    double *old = column(a, t, DOWEL_OLD_LOGP, false), *ref = column(a, t, DOWEL_REF_LOGP, false);
    for (uint32_t k = 0; k < 2 * n; k++)
        old[k] = ref[k] = -3;
    old[0] = old[1] = -2;
    for (uint32_t s = 0; s < n; s++)
        t->group[s] = (int32_t)(s / g);
    return t;
}

static void expect(fixture *f, const char *id, const char *options, batch *t, const double *want)
{
    credit c;
    dw_instance *i = instance_make(f, id, options, NULL);
    estimate(i, t, &c);
    for (uint32_t s = 0; s < t->b.n_seq; s++) {
        near(c.advantage[2 * s], want[s], 1e-8);
        near(c.advantage[2 * s + 1], want[s], 1e-8);
    }
    dw_instance_destroy(i);
}

static void test_rloo_advantages(void **state)
{
    fixture *f = *state;
    const double r[] = {1, 0, 0, 1, 0.5};
    expect(f, "rloo", "{\"kl\":0}", rollout(&f->arena, 5, 5, r),
           (double[]){0.625, -0.625, -0.625, 0.625, 0});
    /* the first answer pays 0.05 * 2 nats; the others' baseline sees that */
    expect(f, "rloo", "{}", rollout(&f->arena, 5, 5, r),
           (double[]){0.525, -0.6, -0.6, 0.65, 0.025});
    /* clipped first, then charged */
    const double far[] = {9, -9};
    expect(f, "rloo", "{\"reward_low\":-1,\"reward_high\":1}", rollout(&f->arena, 2, 2, far),
           (double[]){1.9, -1.9});
    /* an answer alone has no baseline */
    expect(f, "rloo", "{\"kl\":0}", rollout(&f->arena, 3, 2, r), (double[]){1, -1, 0});
}

/* T22: a prompt whose answers teach nothing counts as one, whatever the advantages are divided by.
 */
static void test_t22_zero_std_by_prompt(void **state)
{
    fixture *f = *state;
    static const char *const scale[] = {"group", "batch", "none"};
    const double r[] = {1, 1, 0, 1, 0, 0, 2, 2};
    for (int k = 0; k < 3; k++) {
        char options[40];
        metrics m = {0};
        credit c;
        snprintf(options, sizeof options, "{\"scale_rewards\":\"%s\"}", scale[k]);
        dw_instance *i = instance_make(f, "grpo", options, &m);
        estimate(i, rollout(&f->arena, 8, 2, r), &c);
        near(metric_of(&m, "frac_reward_zero_std"), 0.75, 0);
        assert_true(c.advantage[0] == 0 && c.advantage[4] < 0);
        dw_instance_destroy(i);
    }
}

static void test_rloo_normalized(void **state)
{
    fixture *f = *state;
    const double r[] = {3, 1, 5, 1};
    const double std = sqrt((4 + 4 + 16 + 16) / 3.0) + 1e-4;
    expect(f, "rloo", "{\"kl\":0,\"normalize_advantages\":true}", rollout(&f->arena, 4, 2, r),
           (double[]){2 / std, -2 / std, 4 / std, -4 / std});
    metrics m = {0};
    credit c;
    dw_instance *i = instance_make(f, "rloo", "{}", &m);
    estimate(i, rollout(&f->arena, 4, 2, r), &c);
    near(metric_of(&m, "kl"), 0.25, 1e-15); /* 2 nats over 8 tokens */
    near(metric_of(&m, "reward"), 2.5, 1e-15);
    dw_instance_destroy(i);
}

static void test_reinforce_baselines(void **state)
{
    fixture *f = *state;
    const double r[] = {1, 0, 0, 3};
    expect(f, "reinforce", "{}", rollout(&f->arena, 4, 2, r), (double[]){0, -1, -1, 2});
    expect(f, "reinforce", "{\"baseline\":\"none\"}", rollout(&f->arena, 4, 2, r), r);
    expect(f, "reinforce", "{\"baseline\":\"leave_one_out\"}", rollout(&f->arena, 4, 2, r),
           (double[]){1, -1, -3, 3});
    /* ReMax: the greedy answer's reward; it is not trained on itself */
    const double with_greedy[] = {1, 0, 0.75, 0, 3, 1};
    batch *t = rollout(&f->arena, 6, 3, with_greedy);
    t->role[2] = t->role[5] = DOWEL_GREEDY;
    expect(f, "reinforce", "{\"baseline\":\"greedy\"}", t, (double[]){0.25, -0.75, 0, -1, 2, 0});
    ((double *)t->col[DOWEL_REWARD].x)[5] = NAN;
    credit c;
    dw_instance *i = instance_make(f, "reinforce", "{\"baseline\":\"greedy\"}", NULL);
    estimate(i, t, &c);
    assert_true(c.keep[0] && c.keep[1] && !c.keep[3] && !c.keep[4]);
    near(c.advantage[0], 0.25, 1e-15);
    dowel_request ask;
    dw_err err;
    assert_int_equal(dw_call_observe(i, true, &ask, &err), 0);
    assert_int_equal(ask.extras, DOWEL_WITH_GREEDY);
    dw_instance_destroy(i);
}

/* The running mean starts at the first rollout's and survives a restart. */
static void test_moving_baseline(void **state)
{
    fixture *f = *state;
    const char *options = "{\"baseline\":\"moving\",\"momentum\":0.75}";
    const double first[] = {1, 3}, second[] = {4, 8}, third[] = {0, 0};
    credit c;
    dw_err err;
    dw_buf saved = {0};
    dw_instance *i = instance_make(f, "reinforce", options, NULL);
    estimate(i, rollout(&f->arena, 2, 2, first), &c);
    near(c.advantage[0], -1, 1e-15);
    estimate(i, rollout(&f->arena, 2, 2, second), &c);
    near(c.advantage[0], 2, 1e-15);
    near(c.advantage[2], 6, 1e-15);
    assert_int_equal(dw_instance_save(i, &saved, &err), 0);
    dw_instance_destroy(i);
    i = instance_make(f, "reinforce", options, NULL);
    assert_int_equal(dw_instance_load(i, saved.ptr, saved.len, 1, &err), 0);
    estimate(i, rollout(&f->arena, 2, 2, third), &c);
    near(c.advantage[0], -3, 1e-15); /* 0.75 * 2 + 0.25 * 6 */
    assert_true(dw_instance_load(i, saved.ptr, saved.len - 1, 1, &err) < 0);
    assert_true(dw_instance_load(i, saved.ptr, saved.len, 2, &err) < 0);
    dw_instance_destroy(i);
    dw_buf_finish(&saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_t25_correction),          cmocka_unit_test(test_vespo_correction),
        cmocka_unit_test(test_unscored_by_the_sampler), cmocka_unit_test(test_off_policy),
        cmocka_unit_test(test_adaptive_entropy),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_asks_for_what_it_needs),  cmocka_unit_test(test_rloo_advantages),
        cmocka_unit_test(test_t22_zero_std_by_prompt),  cmocka_unit_test(test_rloo_normalized),
        cmocka_unit_test(test_reinforce_baselines),     cmocka_unit_test(test_moving_baseline),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
