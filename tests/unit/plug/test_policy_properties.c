/* Every policy loss with every normaliser and every divergence: derivatives are those of the loss,
 * a step may be cut and reordered, fresh samples give plain policy gradients, extremes stay finite.
 */
#include "policy.h"

static const char *const losses[] = {"clip",       "grpo",  "dapo", "dr_grpo", "bnpo", "gspo",
                                     "gspo_token", "luspo", "gmpo", "cispo",   "sapo", "vespo"};
static const char *const normalizers[] = {"token", "sequence", "constant", "sum"};
static const char *const kinds[] = {"k1", "k2", "k3", "k3_weighted", "exact"};
enum { N_LOSS = 12, N_NORM = 4, N_KIND = 5, N_SEQ = 8, GMPO = 8 };

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* The derivative of these is not that of their value, on purpose. */
static bool constant_weight(const char *loss)
{
    return is(loss, "cispo") || is(loss, "vespo");
}

/* Away from the edges of the clip ranges, where there is no derivative. */
static double ratio_log(uint64_t key, uint64_t t)
{
    static const double zone[][2] = {{-0.6, -0.45}, {-0.35, -0.25}, {-0.09, 0.09}, {0.26, 0.39}};
    size_t z = (size_t)dw_random_below(7, DW_RNG_TEST, key + 1, t, 4);
    return uniform(key, t, zone[z][0], zone[z][1]);
}

static batch *random_batch(dw_arena *a, uint64_t key)
{
    uint32_t len[N_SEQ];
    for (uint32_t q = 0; q < N_SEQ; q++)
        len[q] = 1 + (uint32_t)dw_random_below(7, DW_RNG_TEST, key, q, 6);
    batch *t = batch_make(a, N_SEQ, len);
    double *l = column(a, t, DOWEL_LOGP, true), *old = column(a, t, DOWEL_OLD_LOGP, false);
    double *ref = column(a, t, DOWEL_REF_LOGP, false), *adv = column(a, t, DOWEL_ADVANTAGE, false);
    double *h = column(a, t, DOWEL_ENTROPY, true), *w = column(a, t, DOWEL_WEIGHT, false);
    double *from = column(a, t, DOWEL_SAMPLER_LOGP, false);
    double *kl = column(a, t, DOWEL_DIVERGENCE, true);
    for (uint32_t k = 0; k < t->b.n_tok; k++) {
        l[k] = uniform(key + 100, k, -4, -0.7);
        old[k] = l[k] - ratio_log(key + 300, k);
        ref[k] = l[k] - uniform(key + 500, k, -1, 1);
        from[k] = old[k] - uniform(key + 550, k, -0.5, 0.5);
        h[k] = uniform(key + 600, k, 0, 3);
        kl[k] = uniform(key + 650, k, 0, 1);
        t->mask[k] = dw_random_below(7, DW_RNG_TEST, key + 700, k, 5) > 0;
    }
    for (uint32_t q = 0; q < N_SEQ; q++) {
        w[q] = uniform(key + 800, q, 0.5, 2);
        for (uint32_t k = t->start[q]; k < t->start[q + 1]; k++)
            adv[k] = uniform(key + 900, q, 0.2, 2) * (q % 3 ? 1 : -1);
    }
    memset(t->mask + t->start[5], 0, len[5]);
    batch_count(t);
    return t;
}

static void check_derivative(dw_instance *i, batch *t, uint32_t c, dw_arena *a)
{
    const double step = 1e-6;
    double *x = at(t, c), *grad = dw_arena_alloc(a, (t->b.n_tok + 1) * sizeof *grad);
    loss_of(i, t);
    memcpy(grad, t->col[c].grad, t->b.n_tok * sizeof *grad);
    for (uint32_t k = 0; k < t->b.n_tok; k++) {
        double here = x[k];
        x[k] = here + step;
        double up = loss_of(i, t);
        x[k] = here - step;
        double down = loss_of(i, t);
        x[k] = here;
        near(grad[k], (up - down) / (2 * step), 1e-6);
        if (!t->mask[k])
            assert_true(grad[k] == 0);
    }
}

static void options_of(char *out, size_t n, int loss, int norm, int kind)
{
    snprintf(out, n,
             "{\"loss\":\"%s\",\"normalizer\":\"%s\",\"kl\":%g,\"kl_estimator\":\"%s\","
             "\"entropy_bonus\":0.2}",
             losses[loss], normalizers[norm], kind < 0 ? 0 : 0.3, kinds[kind < 0 ? 1 : kind]);
}

static void test_derivatives(void **state)
{
    fixture *f = *state;
    for (int c = 0; c < N_LOSS * N_NORM * N_KIND; c++) {
        int loss = c % N_LOSS, norm = c / N_LOSS % N_NORM, kind = c / N_LOSS / N_NORM;
        char options[200];
        /* the weight's derivative runs through one token's ratio while its value is all of them */
        bool split = is(losses[loss], "gspo_token") && is(kinds[kind], "k3_weighted");
        if (constant_weight(losses[loss]) || split ||
            (loss == GMPO && is(kinds[kind], "k3_weighted")))
            continue;
        options_of(options, sizeof options, loss, norm, kind);
        dw_instance *i = instance_make(f, "grpo", options, NULL);
        batch *t = random_batch(&f->arena, 1000 * (uint64_t)c);
        check_derivative(i, t, DOWEL_LOGP, &f->arena);
        check_derivative(i, t, DOWEL_ENTROPY, &f->arena);
        check_derivative(i, t, DOWEL_DIVERGENCE, &f->arena);
        dw_instance_destroy(i);
    }
}

static const struct {
    const char *id, *options;
} others[] = {
    {"grpo", "{\"delta\":1.3}"},
    {"grpo", "{\"dual_clip\":1.35,\"normalizer\":\"sequence\"}"},
    {"grpo", "{\"loss\":\"luspo\",\"clip\":0.5,\"clip_high\":0.5,\"delta\":2}"},
    {"grpo", "{\"correction\":\"token_truncate\",\"correction_max\":1.2,\"kl\":0.1}"},
    {"grpo", "{\"correction\":\"sequence_mask\",\"correction_max\":1.5,\"loss\":\"gspo\"}"},
    {"grpo", "{\"correction\":\"token_mask\",\"correction_max\":1.1,\"loss\":\"gmpo\"}"},
    {"grpo", "{\"off_policy_max\":0.1}"},
    {"rloo", "{\"clip\":0.9,\"clip_high\":3}"},
    {"rloo", "{\"ratio\":\"token\"}"},
    {"reinforce", "{\"kl\":0.2,\"entropy_bonus\":0.1}"},
    {"reinforce", "{\"kl\":0.2,\"kl_estimator\":\"exact\",\"normalizer\":\"constant\"}"},
    {"grpo", "{\"top_entropy\":0.4}"}, /* last: needs the whole step */
};
enum { N_OTHER = sizeof others / sizeof *others };

static void test_other_derivatives(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_OTHER; s++) {
        dw_instance *i = instance_make(f, others[s].id, others[s].options, NULL);
        for (uint64_t round = 0; round < 4; round++) {
            batch *t = random_batch(&f->arena, 77000 + 1000 * round);
            check_derivative(i, t, DOWEL_LOGP, &f->arena);
            check_derivative(i, t, DOWEL_DIVERGENCE, &f->arena);
        }
        dw_instance_destroy(i);
    }
}

/* Advantages that differ by token: one ratio takes their mean, the token form each of them. */
static void test_advantages_by_token(void **state)
{
    fixture *f = *state;
    static const char *const whole[] = {"gspo", "luspo", "gmpo"};
    batch *t = random_batch(&f->arena, 61);
    double *a = at(t, DOWEL_ADVANTAGE);
    for (uint32_t k = 0; k < t->b.n_tok; k++)
        a[k] = uniform(62, k, 0.5, 1.5);
    for (int c = 0; c < 3; c++) {
        char options[60];
        snprintf(options, sizeof options, "{\"loss\":\"%s\",\"clip_high\":0.8}", whole[c]);
        dw_instance *i = instance_make(f, "grpo", options, NULL);
        check_derivative(i, t, DOWEL_LOGP, &f->arena);
        dw_instance_destroy(i);
    }
    dw_instance *i = instance_make(f, "grpo", "{\"loss\":\"gspo_token\",\"clip_high\":0.8}", NULL);
    loss_of(i, t);
    for (uint32_t q = 0; q < t->b.n_seq; q++) {
        double n = dowel_seq_len(&t->b, q);
        double s = exp(dowel_seq_sum(&t->b, q, at(t, DOWEL_LOGP), at(t, DOWEL_OLD_LOGP)) / n);
        double w = at(t, DOWEL_WEIGHT)[q] / t->b.step_seqs / n;
        for (uint32_t k = t->start[q]; k < t->start[q + 1]; k++)
            near(t->col[DOWEL_LOGP].grad[k], t->mask[k] ? -a[k] * s * w : 0, 1e-13);
    }
    dw_instance_destroy(i);
}

/* cispo and vespo: the loss is its own derivative times l, the weights being constants. */
static void test_constant_weights(void **state)
{
    fixture *f = *state;
    for (int c = 0; c < 2 * N_NORM; c++) {
        char options[80];
        snprintf(options, sizeof options, "{\"loss\":\"%s\",\"normalizer\":\"%s\"}",
                 c % 2 ? "cispo" : "vespo", normalizers[c / 2]);
        dw_instance *i = instance_make(f, "grpo", options, NULL);
        batch *t = random_batch(&f->arena, 500 + (uint64_t)c);
        double loss = loss_of(i, t), sum = 0;
        for (uint32_t k = 0; k < t->b.n_tok; k++)
            sum += t->col[DOWEL_LOGP].grad[k] * at(t, DOWEL_LOGP)[k];
        assert_true(fabs(loss) > 1e-6);
        near(sum, loss, 1e-14);
        dw_instance_destroy(i);
    }
}

/* ---- fresh samples ---- */

static double weight_of(const batch *t, uint32_t s, int norm)
{
    double w = t->col[DOWEL_WEIGHT].x[s], n = dowel_seq_len(&t->b, s);
    return norm == 0   ? w / t->b.step_toks
           : norm == 1 ? w / t->b.step_seqs / n
           : norm == 2 ? w / t->b.step_seqs / t->b.max_tok
                       : w / t->b.step_seqs;
}

static void check_fresh(dw_instance *i, batch *t, int norm)
{
    memcpy(at(t, DOWEL_OLD_LOGP), at(t, DOWEL_LOGP), t->b.n_tok * sizeof(double));
    loss_of(i, t);
    for (uint32_t s = 0; s < t->b.n_seq; s++)
        for (uint32_t k = t->start[s]; k < t->start[s + 1]; k++)
            near(t->col[DOWEL_LOGP].grad[k],
                 t->mask[k] ? -at(t, DOWEL_ADVANTAGE)[k] * weight_of(t, s, norm) : 0, 1e-13);
}

static void test_fresh_samples(void **state)
{
    fixture *f = *state;
    for (int c = 0; c < N_LOSS * N_NORM; c++) {
        char options[80];
        snprintf(options, sizeof options, "{\"loss\":\"%s\",\"normalizer\":\"%s\"}",
                 losses[c % N_LOSS], normalizers[c / N_LOSS]);
        dw_instance *i = instance_make(f, "grpo", options, NULL);
        check_fresh(i, random_batch(&f->arena, 3 * (uint64_t)c), c / N_LOSS);
        dw_instance_destroy(i);
    }
    static const struct {
        const char *id, *options;
        int norm;
    } more[] = {{"rloo", "{}", 3},
                {"rloo", "{\"ratio\":\"token\"}", 3},
                {"reinforce", "{}", 3},
                {"grpo", "{\"loss\":\"grpo\"}", 1},
                {"grpo", "{\"loss\":\"gspo\"}", 1},
                {"grpo", "{\"loss\":\"dr_grpo\"}", 2},
                {"grpo", "{\"loss\":\"luspo\"}", 3},
                {"grpo", "{}", 0},
                {"grpo", "{\"loss\":\"sapo\"}", 1}};
    for (size_t k = 0; k < sizeof more / sizeof *more; k++) {
        dw_instance *i = instance_make(f, more[k].id, more[k].options, NULL);
        check_fresh(i, random_batch(&f->arena, 9 * k), more[k].norm);
        dw_instance_destroy(i);
    }
}

/* Without a difference to the old policy the geometric mean is the loss of the tokens; and the
 * token form has the whole form's derivatives wherever one advantage holds for an answer. */
static void test_gspo_is_grpo(void **state)
{
    fixture *f = *state;
    static const char *const pair[][2] = {{"gspo", "grpo"}, {"gspo_token", "gspo"}};
    for (int p = 0; p < 2; p++) {
        double loss[2], *grad[2];
        for (int k = 0; k < 2; k++) {
            char options[80];
            snprintf(options, sizeof options, "{\"loss\":\"%s\",\"clip\":0.15,\"clip_high\":0.1}",
                     pair[p][k]);
            dw_instance *i = instance_make(f, "grpo", options, NULL);
            batch *t = random_batch(&f->arena, 31);
            if (p == 0)
                memcpy(at(t, DOWEL_OLD_LOGP), at(t, DOWEL_LOGP), t->b.n_tok * sizeof(double));
            loss[k] = loss_of(i, t);
            grad[k] = t->col[DOWEL_LOGP].grad;
            for (uint32_t n = 0; k == 1 && n < t->b.n_tok; n++)
                near(grad[0][n], grad[1][n], 1e-14);
            dw_instance_destroy(i);
        }
        near(loss[0], loss[1], 1e-14);
        assert_true(loss[0] != 0);
    }
}

/* ---- cuts and order ---- */

static double cut_loss(dw_instance *i, fixture *f, batch *t, const uint32_t *order, uint32_t parts,
                       double *grad)
{
    double loss = 0;
    memset(grad, 0, t->b.n_tok * sizeof *grad);
    for (uint32_t p = 0; p < parts; p++) {
        uint32_t from = p * N_SEQ / parts, to = (p + 1) * N_SEQ / parts;
        batch *part = batch_part(&f->arena, t, order + from, to - from);
        loss += loss_of(i, part);
        gather(part, DOWEL_LOGP, t, grad);
    }
    return loss;
}

static void check_cuts(fixture *f, const char *id, const char *options, uint64_t key)
{
    const uint32_t order[][N_SEQ] = {{0, 1, 2, 3, 4, 5, 6, 7}, {6, 2, 7, 0, 5, 1, 4, 3}};
    const uint32_t parts[] = {1, 2, 3, N_SEQ};
    batch *t = random_batch(&f->arena, key);
    double *want = dw_arena_alloc(&f->arena, (t->b.n_tok + 1) * sizeof *want);
    double *got = dw_arena_alloc(&f->arena, (t->b.n_tok + 1) * sizeof *got);
    metrics m[2];
    memset(&m[0], 0, sizeof m[0]);
    dw_instance *i = instance_make(f, id, options, &m[0]);
    double loss = cut_loss(i, f, t, order[0], 1, want);
    dw_instance_destroy(i);
    assert_true(loss != 0);
    for (int c = 0; c < 8; c++) {
        memset(&m[1], 0, sizeof m[1]);
        i = instance_make(f, id, options, &m[1]);
        near(cut_loss(i, f, t, order[c % 2], parts[c / 2], got), loss, 1e-12);
        for (uint32_t k = 0; k < t->b.n_tok; k++)
            near(got[k], want[k], 1e-12);
        assert_int_equal(m[0].n, m[1].n);
        for (size_t k = 0; k < m[0].n; k++)
            near(metric_of(&m[1], m[0].m[k].name), metric_of(&m[0], m[0].m[k].name), 1e-12);
        dw_instance_destroy(i);
    }
}

static void test_cut_and_order(void **state)
{
    fixture *f = *state;
    for (int c = 0; c < N_LOSS * N_NORM; c++) {
        char options[200];
        options_of(options, sizeof options, c % N_LOSS, c / N_LOSS, c % N_LOSS == GMPO ? 1 : 3);
        check_cuts(f, "grpo", options, 40 + (uint64_t)c);
    }
    for (size_t s = 0; s + 1 < N_OTHER; s++)
        check_cuts(f, others[s].id, others[s].options, 90 + s);
}

/* ---- extremes ---- */

/* dw_call_loss refuses what is not finite, so that loss_of() returns is the assertion. */
static void extremes(fixture *f, const char *id, const char *options)
{
    const double far[] = {1e4, -1e4, 200, -200, 1e-9, 0};
    dw_instance *i = instance_make(f, id, options, NULL);
    for (size_t e = 0; e < sizeof far / sizeof *far; e++) {
        batch *t = random_batch(&f->arena, 5);
        for (uint32_t k = 0; k < t->b.n_tok; k++) {
            double *l = at(t, DOWEL_LOGP);
            l[k] = far[e] < 0 ? far[e] : -1e-9;
            at(t, DOWEL_OLD_LOGP)[k] = l[k] - far[e] * (k % 2 ? 1 : -1);
            at(t, DOWEL_REF_LOGP)[k] = l[k] + far[e] * (k % 3 ? 1 : -1);
            at(t, DOWEL_SAMPLER_LOGP)[k] = k % 5 ? l[k] + far[e] * (k % 4 ? 1 : -1) : NAN;
        }
        loss_of(i, t);
        memset(t->mask, 0, t->b.n_tok);
        batch_count(t);
        assert_true(loss_of(i, t) == 0);
        for (uint32_t k = 0; k < t->b.n_tok; k++)
            assert_true(t->col[DOWEL_LOGP].grad[k] == 0 && t->col[DOWEL_ENTROPY].grad[k] == 0);
    }
    batch *none = batch_make(&f->arena, 0, NULL);
    column(&f->arena, none, DOWEL_WEIGHT, false);
    column(&f->arena, none, DOWEL_LOGP, true);
    assert_true(loss_of(i, none) == 0);
    dw_instance_destroy(i);
}

static void test_extremes(void **state)
{
    fixture *f = *state;
    for (int c = 0; c < N_LOSS * (N_KIND + 1); c++) {
        char options[200];
        int loss = c % N_LOSS, kind = c / N_LOSS - 1;
        if (loss == GMPO && kind == 3)
            continue;
        options_of(options, sizeof options, loss, c % N_NORM, kind);
        extremes(f, "grpo", options);
    }
    for (size_t s = 0; s < N_OTHER; s++)
        extremes(f, others[s].id, others[s].options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derivatives),      cmocka_unit_test(test_other_derivatives),
        cmocka_unit_test(test_constant_weights), cmocka_unit_test(test_advantages_by_token),
        cmocka_unit_test(test_fresh_samples),    cmocka_unit_test(test_gspo_is_grpo),
        cmocka_unit_test(test_cut_and_order),    cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
