/* The policy losses against golden vectors computed from their formulas, and by name the traps that
 * other implementations fall into. */
#include "policy.h"

typedef struct golden {
    const char *id, *options;
    double loss, grad[5];
    bool no_advantage;
    double entropy_grad; /* on tokens 2 and 3 */
} golden;

static const golden rows[] = {
    {"grpo",
     "{\"loss\":\"grpo\"}",
     0.266732941,
     {0, -0.120644989, -0.14016948, 0, 0.447547409},
     false,
     0},
    {"grpo",
     "{\"loss\":\"dapo\"}",
     0.0416361238,
     {-0.195424441, -0.144773987, -0.168203375, 0, 0.358037927},
     false,
     0},
    {"grpo",
     "{\"loss\":\"bnpo\"}",
     0.04506056513,
     {0, -0.144773987, -0.168203375, 0, 0.358037927},
     false,
     0},
    {"grpo",
     "{\"loss\":\"clip\"}",
     0.04506056513,
     {0, -0.144773987, -0.168203375, 0, 0.358037927},
     false,
     0},
    {"grpo",
     "{\"loss\":\"dr_grpo\"}",
     0.0112651413,
     {0, -0.0361934967, -0.0420508439, 0, 0.0895094819},
     false,
     0},
    {"grpo", "{\"delta\":1.3}", -0.000977362306, {0, -0.144773987, -0.168203375, 0, 0}, false, 0},
    {"grpo", "{\"dual_clip\":1.4}", 0.0230226377, {0, -0.144773987, -0.168203375, 0, 0}, false, 0},
    {"grpo",
     "{\"loss\":\"gspo\",\"clip\":0.1,\"clip_high\":0.1}",
     0.179491561,
     {-0.14016948, -0.14016948, -0.14016948, 0.3, 0.3},
     false,
     0},
    {"grpo",
     "{\"loss\":\"gspo_token\",\"clip\":0.1,\"clip_high\":0.1}",
     0.179491561,
     {-0.14016948, -0.14016948, -0.14016948, 0.3, 0.3},
     false,
     0},
    {"grpo", "{\"loss\":\"gspo\"}", 0.19984, {0, 0, 0, 0.3, 0.3}, false, 0},
    {"grpo",
     "{\"loss\":\"luspo\",\"clip\":0.1,\"clip_high\":0.1}",
     -0.0615253157,
     {-0.420508439, -0.420508439, -0.420508439, 0.6, 0.6},
     false,
     0},
    {"rloo", "{}", 0.135266303, {-0.464733697, -0.464733697, -0.464733697, 0.6, 0.6}, false, 0},
    {"grpo",
     "{\"loss\":\"cispo\",\"e_max\":1.28}",
     0.293680785,
     {-0.195424441, -0.144773987, -0.168203375, 0.160876811, 0.3072},
     false,
     0},
    {"grpo",
     "{\"loss\":\"sapo\"}",
     0.365726357,
     {-0.160874155, -0.120372263, -0.140077403, 0.19519001, 0.418986649},
     false,
     0},
    {"grpo",
     "{\"loss\":\"vespo\"}",
     0.1051844788,
     {-0.132909851, -0.132909851, -0.132909851, 0.24, 0.24},
     false,
     0},
    {"grpo", "{\"top_entropy\":0.4}", 0.02379662458, {0, 0, -0.1682033754, 0, 0}, false, 0},
    {"grpo",
     "{\"top_entropy\":0.4,\"entropy_bonus\":0.01}",
     0.01329662458,
     {0, 0, -0.1682033754, 0, 0},
     false,
     -0.005},
    {"grpo",
     "{\"loss\":\"gmpo\",\"clip\":0.3,\"clip_high\":0.1}",
     0.224040126,
     {0, -0.135574177, -0.135574177, 0, 0.315381329},
     false,
     0},
    {"grpo", "{\"kl\":1,\"kl_estimator\":\"k1\"}", 0, {0.2, 0.2, 0.2, 0.2, 0.2}, true, 0},
    {"grpo",
     "{\"kl\":1,\"kl_estimator\":\"k2\"}",
     0.014,
     {0.02, 0.02, -0.04, -0.04, 0.04},
     true,
     0},
    {"grpo",
     "{\"kl\":1,\"kl_estimator\":\"k3\"}",
     0.0142422211,
     {0.0190325164, 0.0190325164, -0.0442805516, -0.0442805516, 0.0362538494},
     true,
     0},
    {"grpo",
     "{\"kl\":1,\"kl_estimator\":\"k3_weighted\"}",
     0.0150150623,
     {0.0244280552, 0.0180967484, -0.0420508439, -0.0268128018, 0.0596729879},
     true,
     0},
    {"reinforce",
     "{\"kl\":1,\"kl_estimator\":\"k3\",\"normalizer\":\"token\"}",
     0.0142422211,
     {0.0190325164, 0.0190325164, -0.0442805516, -0.0442805516, 0.0362538494},
     true,
     0},
    /* from TRL 1.16 run on the same numbers; lsampler = lold - log(2, 3, 0.5; 1.5, 3) */
    {"grpo",
     "{\"loss\":\"gspo\",\"clip\":0.1,\"clip_high\":0.1,\"kl\":1,\"kl_estimator\":\"k3_weighted\"}",
     0.194970102,
     {-0.1216808133, -0.1216808133, -0.177146812, 0.2496659994, 0.3503340006},
     false,
     0},
    {"grpo",
     "{\"loss\":\"vespo\",\"correction\":\"token_truncate\",\"correction_max\":10}",
     -0.02598423384,
     {-0.0011228726, -0.0011228726, -0.0011228726, 0.0199428586, 0.0199428586},
     false,
     0},
    {"grpo",
     "{\"correction\":\"token_mask\",\"correction_max\":10,\"kl\":1,\"kl_estimator\":\"k3_"
     "weighted\"}",
     0.4747051962,
     {0.0244280552, -0.4162252123, -0.1261525316, -0.0268128018, 1.1337867702},
     false,
     0},
    /* -A l over the step's answers */
    {"reinforce", "{}", 0.5 * (0.8 * 3.5 - 1.2 * 1.5), {-0.4, -0.4, -0.4, 0.6, 0.6}, false, 0},
};
enum { N_ROW = sizeof rows / sizeof *rows };

static void test_golden(void **state)
{
    fixture *f = *state;
    for (size_t r = 0; r < N_ROW; r++) {
        metrics m = {0};
        dw_instance *i = instance_make(f, rows[r].id, rows[r].options, &m);
        batch *t = golden_rollout(&f->arena);
        double *from = column(&f->arena, t, DOWEL_SAMPLER_LOGP, false);
        for (int k = 0; k < 5; k++)
            from[k] = at(t, DOWEL_OLD_LOGP)[k] - log((double[]){2, 3, 0.5, 1.5, 3}[k]);
        if (rows[r].no_advantage)
            memset(at(t, DOWEL_ADVANTAGE), 0, 5 * sizeof(double));
        near(loss_of(i, t), rows[r].loss, 1e-8);
        for (uint32_t k = 0; k < 5; k++) {
            near(t->col[DOWEL_LOGP].grad[k], rows[r].grad[k], 1e-8);
            near(t->col[DOWEL_ENTROPY].grad[k], k == 2 || k == 3 ? rows[r].entropy_grad : 0, 1e-15);
        }
        near(metric_of(&m, "entropy"), 0.6, 1e-12);
        dw_instance_destroy(i);
    }
}

static double metric_after(fixture *f, const char *id, const char *options, const char *name)
{
    metrics m = {0};
    dw_instance *i = instance_make(f, id, options, &m);
    loss_of(i, golden_rollout(&f->arena));
    dw_instance_destroy(i);
    return metric_of(&m, name);
}

static bool has_metric(const metrics *m, const char *name)
{
    for (size_t k = 0; k < m->n; k++)
        if (!strcmp(m->m[k].name, name))
            return true;
    return false;
}

static void test_metrics(void **state)
{
    fixture *f = *state;
    /* one ratio, one vote: sequence 1 above 1.0004, sequence 2 at 1 */
    near(metric_after(f, "grpo", "{\"loss\":\"gspo\"}", "clip_ratio/high_mean"), 0.5, 0);
    near(metric_after(f, "grpo", "{\"loss\":\"gspo_token\"}", "clip_ratio/high_mean"), 0.5, 0);
    near(metric_after(f, "grpo", "{\"loss\":\"gspo\"}", "clip_ratio/high_max"), 1, 0);
    near(metric_after(f, "rloo", "{\"clip_high\":0.1}", "clip_ratio/high_mean"), 0.5, 0);
    near(metric_after(f, "rloo", "{\"clip_high\":0.1}", "clip_ratio/region_mean"), 0.5, 0);
    near(metric_after(f, "grpo", "{\"loss\":\"cispo\",\"e_max\":1.2}", "cispo_clip_ratio"), 0.2,
         1e-15);
    near(metric_after(f, "grpo", "{\"loss\":\"vespo\"}", "vespo/phi_seq_mean"),
         (0.8306865693 + 1) / 2, 1e-9);
    near(metric_after(f, "grpo", "{\"entropy_bonus\":0.01}", "entropy_coef"), 0.01, 0);
    near(metric_after(f, "grpo", "{\"entropy_bonus\":0.01}", "policy_loss"), 0.04506056513, 1e-8);
    static const char *const unclipped[] = {"cispo", "sapo", "vespo"};
    for (int k = 0; k < 3; k++) {
        char options[40];
        metrics m = {0};
        snprintf(options, sizeof options, "{\"loss\":\"%s\"}", unclipped[k]);
        dw_instance *i = instance_make(f, "grpo", options, &m);
        loss_of(i, golden_rollout(&f->arena));
        assert_false(has_metric(&m, "clip_ratio/low_mean"));
        assert_false(has_metric(&m, "policy_loss"));
        dw_instance_destroy(i);
    }
}

/* Far from 1 on the side that is not bounded: not clipped, so not counted. */
static void test_unclipped_are_not_counted(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    dw_instance *i = instance_make(f, "grpo", NULL, &m);
    batch *t = golden_rollout(&f->arena);
    for (int k = 0; k < 5; k++)
        at(t, DOWEL_OLD_LOGP)[k] = at(t, DOWEL_LOGP)[k] + (k < 3 ? 1 : -1);
    loss_of(i, t);
    near(metric_of(&m, "clip_ratio/region_mean"), 0, 0);
    for (int k = 0; k < 5; k++)
        assert_true(t->col[DOWEL_LOGP].grad[k] != 0);
    dw_instance_destroy(i);
}

/* A token's log-ratio counts for at most 20 nats; an unwanted answer has constants of its own. */
static void test_vespo_weight(void **state)
{
    fixture *f = *state;
    dw_instance *i = instance_make(f, "grpo", "{\"loss\":\"vespo\"}", NULL);
    batch *t = golden_rollout(&f->arena);
    put(at(t, DOWEL_OLD_LOGP), 5, at(t, DOWEL_LOGP));
    at(t, DOWEL_OLD_LOGP)[0] += 30;
    at(t, DOWEL_OLD_LOGP)[1] -= 19;
    at(t, DOWEL_OLD_LOGP)[3] -= log(2);
    loss_of(i, t);
    for (int k = 0; k < 3; k++)
        near(t->col[DOWEL_LOGP].grad[k], -0.8 / 5 * exp(3 - 2 - 3 * exp(-1)), 1e-14);
    near(t->col[DOWEL_LOGP].grad[3], 1.2 / 5 * exp(2 + 3 * log(2) - 4), 1e-14);
    dw_instance_destroy(i);
}

/* The median of five is among the upper half; interpolated, nothing but the top stays. */
static void test_entropy_quantile(void **state)
{
    fixture *f = *state;
    static const char *const options[] = {"{\"top_entropy\":0.5}", "{\"top_entropy\":0.49}",
                                          "{\"top_entropy\":0.000001}"};
    const int kept[][5] = {{0, 1, 1, 1, 0}, {0, 0, 1, 1, 0}, {0, 0, 0, 1, 0}};
    for (int c = 0; c < 3; c++) {
        dw_instance *i = instance_make(f, "grpo", options[c], NULL);
        batch *t = golden_rollout(&f->arena);
        put(at(t, DOWEL_OLD_LOGP), 5, at(t, DOWEL_LOGP));
        loss_of(i, t);
        for (int k = 0; k < 5; k++)
            near(t->col[DOWEL_LOGP].grad[k], kept[c][k] ? -at(t, DOWEL_ADVANTAGE)[k] / 5 : 0,
                 1e-15);
        dw_instance_destroy(i);
    }
}

/* ---- honest divergences ---- */

/* T28: every estimate under its own name, whichever is differentiated. */
static void test_t28_kl_side_by_side(void **state)
{
    fixture *f = *state;
    static const char *const kind[] = {"k1", "k2", "k3", "k3_weighted", "exact"};
    for (int e = 0; e < 5; e++) {
        char options[80];
        metrics m = {0};
        snprintf(options, sizeof options, "{\"kl\":1,\"kl_exact\":true,\"kl_estimator\":\"%s\"}",
                 kind[e]);
        dw_instance *i = instance_make(f, "grpo", options, &m);
        batch *t = golden_rollout(&f->arena);
        memset(at(t, DOWEL_ADVANTAGE), 0, 5 * sizeof(double));
        put(column(&f->arena, t, DOWEL_DIVERGENCE, e == 4), 5, (double[]){0.1, 0.2, 0.3, 0.4, 0.5});
        double loss = loss_of(i, t);
        near(metric_of(&m, "kl_k1"), 0, 1e-15);
        near(metric_of(&m, "kl_k2"), 0.014, 1e-12);
        near(metric_of(&m, "kl_k3"), 0.0142422211, 1e-8);
        near(metric_of(&m, "kl"), 0.0142422211, 1e-8);
        near(metric_of(&m, "kl_exact"), 0.3, 1e-15);
        if (e == 4)
            near(loss, 0.3, 1e-15);
        for (int k = 0; e == 4 && k < 5; k++) {
            near(t->col[DOWEL_DIVERGENCE].grad[k], 0.2, 1e-15);
            assert_true(t->col[DOWEL_LOGP].grad[k] == 0);
        }
        dw_instance_destroy(i);
    }
    /* another objective's divergence, from a teacher perhaps, is none of ours */
    metrics m = {0};
    dw_instance *i = instance_make(f, "grpo", "{\"kl\":1}", &m);
    batch *t = golden_rollout(&f->arena);
    column(&f->arena, t, DOWEL_DIVERGENCE, true)[0] = 1;
    loss_of(i, t);
    assert_false(has_metric(&m, "kl_exact"));
    dw_instance_destroy(i);
}

/* Probabilities of four tokens under policy and reference. */
static const double p4[] = {0.4, 0.3, 0.2, 0.1}, q4[] = {0.1, 0.2, 0.3, 0.4};

/* Expected derivative with respect to the logits when tokens are drawn from the policy: each of the
 * four is an answer that weighs its probability. */
static void expected(fixture *f, const char *kind, double *dz)
{
    char options[80];
    snprintf(options, sizeof options, "{\"kl\":1,\"kl_estimator\":\"%s\"}", kind);
    dw_instance *i = instance_make(f, "grpo", options, NULL);
    batch *t = batch_make(&f->arena, 4, (uint32_t[]){1, 1, 1, 1});
    double *l = column(&f->arena, t, DOWEL_LOGP, true);
    for (int k = 0; k < 4; k++) {
        l[k] = column(&f->arena, t, DOWEL_OLD_LOGP, false)[k] = log(p4[k]);
        column(&f->arena, t, DOWEL_REF_LOGP, false)[k] = log(q4[k]);
        column(&f->arena, t, DOWEL_WEIGHT, false)[k] = 4 * p4[k];
    }
    column(&f->arena, t, DOWEL_ADVANTAGE, false);
    loss_of(i, t);
    for (int j = 0; j < 4; j++) {
        dz[j] = 0;
        for (int y = 0; y < 4; y++)
            dz[j] += t->col[DOWEL_LOGP].grad[y] * ((y == j) - p4[j]);
    }
    dw_instance_destroy(i);
}

/* T26: k1 does nothing, k3 pulls towards KL(reference | policy); k2 and the weighted k3 are right.
 */
static void test_t26_expected_gradients(void **state)
{
    fixture *f = *state;
    double got[4], kl = 0;
    for (int k = 0; k < 4; k++)
        kl += p4[k] * log(p4[k] / q4[k]);
    expected(f, "k1", got);
    for (int j = 0; j < 4; j++)
        near(got[j], 0, 1e-15);
    static const char *const right[] = {"k2", "k3_weighted"};
    for (int e = 0; e < 2; e++) {
        expected(f, right[e], got);
        for (int j = 0; j < 4; j++)
            near(got[j], p4[j] * (log(p4[j] / q4[j]) - kl), 1e-14);
    }
    expected(f, "k3", got);
    for (int j = 0; j < 4; j++)
        near(got[j], p4[j] - q4[j], 1e-14);
}

/* T24: the derivative goes on where the policy has left the reference far behind. */
static void test_t24_no_clamp(void **state)
{
    fixture *f = *state;
    dw_instance *i = instance_make(f, "grpo", "{\"kl\":1,\"kl_estimator\":\"k3\"}", NULL);
    batch *t = golden_rollout(&f->arena);
    memset(at(t, DOWEL_ADVANTAGE), 0, 5 * sizeof(double));
    for (int k = 0; k < 5; k++)
        at(t, DOWEL_REF_LOGP)[k] = at(t, DOWEL_LOGP)[k] + 50;
    near(loss_of(i, t), expm1(50) - 50, 1e-12);
    near(t->col[DOWEL_LOGP].grad[0], -expm1(50) / 5, 1e-12);
    dw_instance_destroy(i);
}

/* T27: estimators have names, not numbers that start at 0 or at 1. */
static void test_t27_names(void **state)
{
    fixture *f = *state;
    near(metric_after(f, "grpo", "{\"kl\":1,\"kl_estimator\":\"k2\"}", "kl_k2"), 0.014, 1e-12);
    const dw_plugin_info *p;
    dw_err err;
    dw_json *given;
    dw_buf text = {0};
    assert_int_equal(dw_registry_find(f->reg, "grpo", NULL, &p, &err), 0);
    assert_int_equal(dw_json_parse("{\"kl_estimator\":2}", 18, 8, 1, &given, &err), 0);
    assert_true(dw_options_check(p, given, NULL, &text, &err) < 0);
    dw_json_free(given);
    dw_buf_finish(&text);
}

/* ---- normalisers ---- */

/* T3, T4, T5: a part is divided by the step's totals, a fixed length comes on top of the number of
 * answers, and answers without a trained token are not among them. */
static void test_t3_t4_t5_normalisers(void **state)
{
    fixture *f = *state;
    static const char *const options[] = {
        "{\"normalizer\":\"token\"}", "{\"normalizer\":\"sequence\"}",
        "{\"normalizer\":\"constant\"}", "{\"normalizer\":\"sum\"}"};
    for (int k = 0; k < 4; k++) {
        dw_instance *i = instance_make(f, "grpo", options[k], NULL);
        batch *t = golden_rollout(&f->arena);
        put(at(t, DOWEL_OLD_LOGP), 5, at(t, DOWEL_LOGP));
        memset(t->mask + 3, 0, 2);
        batch_count(t);
        assert_true(t->b.step_seqs == 1 && t->b.step_toks == 3);
        const double one[] = {1.0 / 3, 1.0 / 3, 1.0 / 10, 1};
        loss_of(i, t);
        near(t->col[DOWEL_LOGP].grad[0], -0.8 * one[k], 1e-15);
        t->b.step_seqs = 4;
        t->b.step_toks = 12;
        loss_of(i, t);
        near(t->col[DOWEL_LOGP].grad[0], -0.2 * one[k], 1e-15);
        assert_true(t->col[DOWEL_LOGP].grad[3] == 0);
        dw_instance_destroy(i);
    }
}

/* ---- bounds ---- */

/* T9: an unwanted token far above is not cut off unless that is asked for. */
static void test_t9_dual_clip_is_off(void **state)
{
    fixture *f = *state;
    dw_instance *i = instance_make(f, "grpo", NULL, NULL);
    batch *t = golden_rollout(&f->arena);
    at(t, DOWEL_OLD_LOGP)[4] = at(t, DOWEL_LOGP)[4] - 3;
    loss_of(i, t);
    near(t->col[DOWEL_LOGP].grad[4], 1.2 * exp(3) / 5, 1e-14);
    dw_instance_destroy(i);
}

/* T23: e_max bounds the ratio itself and does not scale fresh samples. */
static void test_t23_cispo_bound(void **state)
{
    fixture *f = *state;
    dw_instance *i = instance_make(f, "grpo", "{\"loss\":\"cispo\"}", NULL);
    batch *t = golden_rollout(&f->arena);
    put(at(t, DOWEL_OLD_LOGP), 5, at(t, DOWEL_LOGP));
    at(t, DOWEL_OLD_LOGP)[0] -= log(4.9);
    at(t, DOWEL_OLD_LOGP)[1] -= log(5.1);
    loss_of(i, t);
    near(t->col[DOWEL_LOGP].grad[0], -0.8 * 4.9 / 5, 1e-14);
    near(t->col[DOWEL_LOGP].grad[1], -0.8, 1e-14);
    near(t->col[DOWEL_LOGP].grad[2], -0.8 / 5, 1e-15);
    dw_instance_destroy(i);
}

/* T32: inside the band, and exactly on its edge, the whole derivative; beyond, none. */
static void test_t32_active_rule(void **state)
{
    fixture *f = *state;
    dw_instance *i = instance_make(f, "grpo", "{\"clip\":0.5,\"clip_high\":1}", NULL);
    batch *t = golden_rollout(&f->arena);
    double *l = at(t, DOWEL_LOGP), *old = at(t, DOWEL_OLD_LOGP), *a = at(t, DOWEL_ADVANTAGE);
    const double by[] = {2, 2 * (1 + 1e-9), 0.5, 0.5 * (1 - 1e-9), 1};
    for (int k = 0; k < 5; k++) {
        l[k] = log(by[k]) - 1;
        old[k] = -1;
        a[k] = k < 2 ? 1 : -1;
    }
    l[0] = nextafter(l[0], -2);
    l[2] = nextafter(l[2], 0);
    loss_of(i, t);
    const double want[] = {-2, 0, 0.5, 0, 1};
    for (int k = 0; k < 5; k++)
        near(t->col[DOWEL_LOGP].grad[k], want[k] / 5, 1e-14);
    dw_instance_destroy(i);
}

/* T34: 0.3 nats over a whole answer leave the band of the product, not that of each token. */
static void test_t34_sequence_ratio_clips_early(void **state)
{
    fixture *f = *state;
    for (int token = 0; token < 2; token++) {
        dw_instance *i = instance_make(
            f, "rloo", token ? "{\"ratio\":\"token\"}" : "{\"ratio\":\"sequence\"}", NULL);
        batch *t = golden_rollout(&f->arena);
        for (int k = 0; k < 5; k++)
            at(t, DOWEL_OLD_LOGP)[k] = at(t, DOWEL_LOGP)[k] - 0.1;
        loss_of(i, t);
        near(t->col[DOWEL_LOGP].grad[0], token ? -0.4 * exp(0.1) : 0, 1e-14);
        dw_instance_destroy(i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_unclipped_are_not_counted),
        cmocka_unit_test(test_vespo_weight),
        cmocka_unit_test(test_entropy_quantile),
        cmocka_unit_test(test_t28_kl_side_by_side),
        cmocka_unit_test(test_t26_expected_gradients),
        cmocka_unit_test(test_t24_no_clamp),
        cmocka_unit_test(test_t27_names),
        cmocka_unit_test(test_t3_t4_t5_normalisers),
        cmocka_unit_test(test_t9_dual_clip_is_off),
        cmocka_unit_test(test_t23_cispo_bound),
        cmocka_unit_test(test_t32_active_rule),
        cmocka_unit_test(test_t34_sequence_ratio_clips_early),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
