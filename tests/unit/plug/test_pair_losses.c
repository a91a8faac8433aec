/* Pair objectives against golden vectors, the traps of their formulas, and refusals. */
#include "batch.h"

static void put(double *x, size_t n, const double *v)
{
    memcpy(x, v, n * sizeof *v);
}

/* Nine printed digits. */
static void close_to(double got, double want)
{
    if (!(fabs(got - want) <= 1e-8 * fabs(want) + 1e-15))
        fail_msg("got %.12g, wanted %.12g", got, want);
}

/* One pair of 5 and 8 tokens with the given sums: of log-ratios, or of log-probabilities. */
static batch *pair_of(dw_arena *a, double dc, double dr, double sc, double sr)
{
    batch *t = batch_make(a, 2, (uint32_t[]){5, 8});
    double *l = column(a, t, DOWEL_LOGP, true), *ref = column(a, t, DOWEL_REF_LOGP, false);
    for (uint32_t k = 0; k < 13; k++) {
        l[k] = k < 5 ? sc / 5 : sr / 8;
        ref[k] = l[k] - (k < 5 ? dc / 5 : dr / 8);
    }
    column(a, t, DOWEL_WEIGHT, false);
    batch_pairs(a, t);
    return t;
}

typedef struct row {
    const char *id, *options;
    double loss, chosen, rejected; /* derivatives by D, S or, for losses of means, by a */
    bool mean;
} row;

#define DPO(options, loss, c, r)                                                                   \
    {                                                                                              \
        "dpo", options, loss, c, r, false                                                          \
    }

/* D = 1.25 and -0.5, beta 0.1 */
static const row ratios[] = {
    DPO("{}", 0.609470431, -0.0456361313, 0.0456361313),
    DPO("{\"loss\":\"cdpo\",\"label_smoothing\":0.1}", 0.626970431, -0.0356361313, 0.0356361313),
    DPO("{\"loss\":\"robust\",\"label_smoothing\":0.1}", 0.587595431, -0.0581361313, 0.0581361313),
    DPO("{\"loss\":\"hinge\"}", 0.825, -0.1, 0.1),
    DPO("{\"loss\":\"ipo\"}", 21.97265625, -1.875, 1.171875),
    DPO("{\"loss\":\"exo_pair\",\"label_smoothing\":0.001}", 2.46364252, -0.167011918, 0.167011918),
    DPO("{\"loss\":\"nca_pair\"}", 1.34562838, -0.020318594, 0.0243751302),
    DPO("{\"loss\":\"bco_pair\"}", 1.30105868, -0.0468790627, 0.0487502604),
    DPO("{\"loss\":\"sppo_hard\"}", 34.3125, -7.5, 9),
    DPO("{\"loss\":\"apo_zero\"}", 0.95629323, -0.0249025975, 0.0249843815),
    DPO("{\"loss\":\"apo_down\"}", 0.987570686, 9.30310037e-05, 0.0248095665),
    DPO("{\"loss\":\"discopop\"}", 0.832715601, -0.0697351352, 0.0697351352),
    DPO("{\"loss\":\"sigmoid_norm\"}", 0.677644246, -0.00984376271, 0.0061523517),
    DPO("{\"divergence\":\"forward_kl\"}", 0.627354108, -0.013351042, 0.0768299418),
    DPO("{\"divergence\":\"js_divergence\"}", 0.657691516, -0.0107331255, 0.0299996854),
    DPO("{\"divergence\":\"alpha_divergence\"}", 0.621071404, -0.0247628856, 0.0594030745),
    DPO("{\"loss\":\"ipo\",\"normalize\":\"sum\"}", 10.5625, -6.5, 6.5),
    DPO("{\"loss\":\"ipo\",\"divergence\":\"forward_kl\"}", 22.81218961, -0.5473629221,
        1.968660085),
    DPO("{\"loss\":\"ipo\",\"divergence\":\"alpha_divergence\",\"divergence_alpha\":0.5}",
        22.4969807, -1.015519011, 1.522564666),
    DPO("{\"loss\":\"sigmoid_norm\",\"divergence\":\"js_divergence\"}", 0.6869982102,
        -0.002213265435, 0.003866375347),
    /* MPO's mixture without its likelihood term: 0.8 sigmoid + 0.2 bco_pair */
    DPO("{\"mix\":{\"sigmoid\":0.8,\"bco_pair\":0.2}}", 0.8 * 0.609470431 + 0.2 * 1.30105868,
        -0.8 * 0.0456361313 - 0.2 * 0.0468790627, 0.8 * 0.0456361313 + 0.2 * 0.0487502604),
};

static void check_row(fixture *f, const row *r, batch *t)
{
    metrics m = {0};
    dw_instance *i = instance_make(f, r->id, r->options, &m);
    double nc = r->mean ? 5 : 1, nr = r->mean ? 8 : 1;
    close_to(loss_of(i, t), r->loss);
    for (uint32_t k = 0; k < 13; k++)
        close_to(t->col[DOWEL_LOGP].grad[k], k < 5 ? r->chosen / nc : r->rejected / nr);
    dw_instance_destroy(i);
}

static void test_golden_ratios(void **state)
{
    fixture *f = *state;
    for (size_t k = 0; k < sizeof ratios / sizeof *ratios; k++)
        check_row(f, &ratios[k], pair_of(&f->arena, 1.25, -0.5, -3.0, -7.2));
}

/* S = -3.0 and -7.2: a = -0.6 and -0.9 */
static const row likelihoods[] = {
    {"simpo", "{\"beta\":2,\"gamma\":0.5}", 0.64439666, -0.950041625, 0.950041625, true},
    {"simpo", "{\"beta\":2,\"gamma_beta_ratio\":0.25}", 0.64439666, -0.950041625, 0.950041625,
     true},
    {"simpo", "{\"beta\":2,\"gamma\":0.5,\"alpha\":0.25}", 0.5874470764, -1.032303091, 1.11270314,
     true},
    {"cpo", "{\"alpha\":0}", 0.5050369938, -0.03965167501, 0.03965167501, false},
    /* the likelihood term adds -S_c / n_c and -1 / n_c a token */
    {"cpo", "{}", 0.5050369938 + 0.6, -0.03965167501 - 0.2, 0.03965167501, false},
    {"orpo", "{}", 0.0446765825 + 0.6, -0.0798571812 - 1, 0.0607158557, true},
    {"tpo", "{\"loss\":\"tpo_l\",\"beta\":2,\"gamma\":0.5,\"alpha\":0}", 0.64439666, -0.950041625,
     0.950041625, true},
    /* the margin belongs to tpo_l alone */
    {"tpo", "{\"loss\":\"sigmoid\",\"beta\":0.1,\"gamma\":0.5,\"alpha\":0}", 0.5050369938,
     -0.03965167501, 0.03965167501, false},
    {"dpo", "{\"reference_free\":true}", 0.5050369938, -0.03965167501, 0.03965167501, false},
    {"dpo", "{\"reference_free\":true,\"sft\":1}", 0.5050369938 + 0.6, -0.03965167501 - 0.2,
     0.03965167501, false},
    {"slic", "{\"delta\":5}", 5 - 4.2 + 0.3, -1 - 0.1, 1, false},
    {"slic", "{\"delta\":4,\"lambda\":0.25}", 0.15, -0.05, 0, false},
};

static void test_golden_likelihoods(void **state)
{
    fixture *f = *state;
    for (size_t k = 0; k < sizeof likelihoods / sizeof *likelihoods; k++)
        check_row(f, &likelihoods[k], pair_of(&f->arena, 1.25, -0.5, -3.0, -7.2));
}

/* n pairs of answers of one token. */
static batch *short_pairs(dw_arena *a, uint32_t n, const double *logp, const double *ref)
{
    uint32_t *len = dw_arena_alloc(a, 2 * n * sizeof *len);
    for (uint32_t k = 0; k < 2 * n; k++)
        len[k] = 1;
    batch *t = batch_make(a, 2 * n, len);
    put(column(a, t, DOWEL_LOGP, true), (size_t)2 * n, logp);
    put(column(a, t, DOWEL_REF_LOGP, false), (size_t)2 * n, ref);
    column(a, t, DOWEL_WEIGHT, false);
    batch_pairs(a, t);
    return t;
}

static void check_grad(fixture *f, const char *id, const char *options, batch *t, double loss,
                       const double *grad)
{
    dw_instance *i = instance_make(f, id, options, NULL);
    close_to(loss_of(i, t), loss);
    for (uint32_t k = 0; k < t->b.n_tok; k++)
        close_to(t->col[DOWEL_LOGP].grad[k], grad[k]);
    dw_instance_destroy(i);
}

static void test_golden_aot(void **state)
{
    fixture *f = *state;
    const double x[] = {0.4, 0, -1.0, 0, 2.0, 0}, ref[] = {0.1, 0, 0.9, 0, -0.3, 0};
    const double g[] = {-0.01641668541, 0.01641668541,  -0.01724976192,
                        0.01724976192,  -0.01575092319, 0.01575092319};
    check_grad(f, "dpo", "{\"loss\":\"aot\"}", short_pairs(&f->arena, 3, x, ref), 0.6822260502, g);
    const double d[] = {0.4, 0.1, -1.0, 0.9, 2.0, -0.3}, zero[6] = {0};
    const double u[] = {-0.01641668541, 0.01641668541,  -0.01724976192,
                        0.01575092319,  -0.01575092319, 0.01724976192};
    check_grad(f, "dpo", "{\"loss\":\"aot_unpaired\"}", short_pairs(&f->arena, 3, d, zero),
               0.6822260502, u);
}

/* Of equal answers the one with the lower id comes first, wherever it stands in the batch: the
 * place decides which weight meets which answer. */
static void test_aot_ties(void **state)
{
    fixture *f = *state;
    const double x[] = {0.4, 0.1, 0.4, 0.9, 2.0, -0.3}, zero[6] = {0};
    static const char *const options[] = {"{\"loss\":\"aot\"}", "{\"loss\":\"aot_unpaired\"}"};
    for (int k = 0; k < 2; k++) {
        batch *t = short_pairs(&f->arena, 3, x, zero);
        double *w = column(&f->arena, t, DOWEL_WEIGHT, false);
        w[0] = w[1] = 2;
        dw_instance *i = instance_make(f, "dpo", options[k], NULL);
        survey_of(i, t, &f->arena);
        batch *moved = batch_part(&f->arena, t, (uint32_t[]){2, 3, 4, 5, 0, 1}, 6);
        close_to(loss_of(i, moved), loss_of(i, t));
        for (uint32_t s = 0; s < 6; s++)
            close_to(moved->col[DOWEL_LOGP].grad[s], t->col[DOWEL_LOGP].grad[moved->from[s]]);
        dw_instance_destroy(i);
    }
}

/* Sequences of three and two tokens. */
static batch *policy_pair(dw_arena *a)
{
    batch *t = batch_make(a, 2, (uint32_t[]){3, 2});
    put(column(a, t, DOWEL_LOGP, true), 5, (double[]){-0.5, -1, -2, -1.2, -0.3});
    put(column(a, t, DOWEL_REF_LOGP, false), 5, (double[]){-0.6, -1.1, -1.8, -1.0, -0.5});
    column(a, t, DOWEL_WEIGHT, false);
    batch_pairs(a, t);
    return t;
}

static void test_golden_ld(void **state)
{
    fixture *f = *state;
    const double g[] = {-0.04975000208, -0.04975000208, -0.02487500104, 0.04975000208,
                        0.04975000208};
    check_grad(f, "dpo", "{\"ld_alpha\":0.5}", policy_pair(&f->arena), 0.6881596805, g);
}

/* wanted, unwanted and gold answers of 5, 8 and 4 tokens */
static void test_golden_tpo(void **state)
{
    fixture *f = *state;
    batch *t = batch_make(&f->arena, 3, (uint32_t[]){5, 8, 4});
    double *l = column(&f->arena, t, DOWEL_LOGP, true), grad[17];
    column(&f->arena, t, DOWEL_WEIGHT, false);
    batch_pairs(&f->arena, t);
    t->role[2] = DOWEL_GOLD;
    t->b.step_seqs = 2;
    for (uint32_t k = 0; k < 17; k++) {
        l[k] = k < 5 ? -0.6 : k < 13 ? -0.9 : -0.7;
        grad[k] = k < 5 ? -0.950041625 / 5 : k < 13 ? 0.950041625 / 8 : -1 / 4.0;
    }
    check_grad(f, "tpo", "{\"loss\":\"tpo_l\",\"beta\":2}", t, 1.34439666, grad);
    /* a margin of 4.2 is enough, so that the likelihood alone is left */
    for (uint32_t k = 0; k < 17; k++)
        grad[k] = k < 13 ? 0 : -0.25 / 4;
    check_grad(f, "slic", "{\"target\":\"gold\",\"lambda\":0.25}", t, 0.25 * 0.7, grad);
}

static double metric_after(fixture *f, const char *id, const char *options, batch *t,
                           const char *name)
{
    metrics m = {0};
    dw_instance *i = instance_make(f, id, options, &m);
    loss_of(i, t);
    dw_instance_destroy(i);
    return metric_of(&m, name);
}

static double loss_with(fixture *f, const char *id, const char *options, batch *t)
{
    dw_instance *i = instance_make(f, id, options, NULL);
    double loss = loss_of(i, t);
    dw_instance_destroy(i);
    return loss;
}

/* Implicit rewards of 1, 0.2 and -0.5 in the order of their ranks. */
static void test_golden_lists(void **state)
{
    fixture *f = *state;
    static const char *const options[] = {"{\"beta\":0.5}",
                                          "{\"beta\":0.5,\"loss\":\"choose_two\"}"};
    const double loss[] = {0.917481122, 0.325233331};
    const double d[][3] = {{-0.063148583, -0.402078062, 0.465226646},
                           {-0.00726223632, -0.164150348, 0.171412584}};
    for (int k = 0; k < 2; k++) {
        double grad[5], total;
        batch *t = batch_make(&f->arena, 3, (uint32_t[]){2, 1, 2});
        put(column(&f->arena, t, DOWEL_LOGP, true), 5, (double[]){-1, -2, -3, -4, -5});
        put(column(&f->arena, t, DOWEL_REF_LOGP, false), 5, (double[]){-1.1, -2.3, -5, -3.5, -4.5});
        put(column(&f->arena, t, DOWEL_RANK, false), 3, (double[]){2, 1, 3});
        column(&f->arena, t, DOWEL_WEIGHT, false);
        for (uint32_t s = 0; s < 3; s++)
            for (uint32_t q = t->start[s]; q < t->start[s + 1]; q++)
                grad[q] = 0.5 * d[k][s];
        check_grad(f, "dpo_list", options[k], t, loss[k], grad);
        total = loss_with(f, "dpo_list", "{\"beta\":0.5,\"loss\":\"pick_best\"}", t);
        close_to(total, log(exp(1) + exp(0.2) + exp(-0.5)) - 1);
        assert_true(metric_after(f, "dpo_list", options[k], t, "rewards/accuracies") == 1);
        close_to(metric_after(f, "dpo_list", options[k], t, "rewards/margins"),
                 (0.8 + 0.7 + 1.5) / 3);
        close_to(metric_after(f, "dpo_list", options[k], t, "rewards/best"), 1);
        close_to(metric_after(f, "dpo_list", options[k], t, "rewards/worst"), -0.5);
    }
}

/* A pair is a list of two: DPO. */
static void test_pair_is_a_list(void **state)
{
    fixture *f = *state;
    static const row rows[] = {
        {"dpo_list", "{}", 0.609470431, -0.0456361313, 0.0456361313, false},
        {"dpo_list", "{\"loss\":\"choose_two\"}", 0.609470431, -0.0456361313, 0.0456361313, false},
        {"dpo_list", "{\"loss\":\"pick_best\"}", 0.609470431, -0.0456361313, 0.0456361313, false}};
    for (size_t k = 0; k < 3; k++)
        check_row(f, &rows[k], pair_of(&f->arena, 1.25, -0.5, -3.0, -7.2));
}

/* ---- traps ---- */

static void refused(fixture *f, const char *id, const char *options, const char *words)
{
    dw_err err = {{0}};
    dowel_request ask;
    dw_instance *i = instance_make(f, id, options, NULL);
    assert_true(dw_call_observe(i, false, &ask, &err) < 0);
    if (!strstr(err.text, words))
        fail_msg("'%s' does not hold '%s'", err.text, words);
    dw_instance_destroy(i);
}

/* a -> 1 is reverse KL, a = 0 forward KL, and the forward score does not overflow. */
static void trap_t12_alpha_and_overflow(void **state)
{
    fixture *f = *state;
    batch *t = pair_of(&f->arena, 1.25, -0.5, -3.0, -7.2);
    close_to(loss_with(f, "dpo", "{\"divergence\":\"alpha_divergence\",\"divergence_alpha\":1}", t),
             0.609470431);
    close_to(loss_with(f, "dpo", "{\"divergence\":\"alpha_divergence\",\"divergence_alpha\":0}", t),
             0.627354108);
    const char *const kl[] = {"{\"divergence\":\"forward_kl\"}",
                              "{\"loss\":\"ipo\",\"divergence\":\"forward_kl\"}",
                              "{\"divergence\":\"alpha_divergence\"}"};
    for (size_t k = 0; k < 3; k++)
        loss_with(f, "dpo", kl[k], pair_of(&f->arena, -500, 300, -900, -20)); /* finite */
}

/* The collision probability aligns the weights, which may exceed 1 and have no derivative. */
static void trap_t13_wpo_weights(void **state)
{
    fixture *f = *state;
    batch *t = policy_pair(&f->arena);
    double *ref = column(&f->arena, t, DOWEL_REF_LOGP, false);
    for (uint32_t k = 0; k < 5; k++)
        ref[k] = k < 3 ? -3.4 / 3 : -1.7 / 2;
    double *c2 = column(&f->arena, t, DOWEL_COLLISION, false);
    put(c2, 5, (double[]){0.5, 0.4, 0.3, 0.6, 0.7});
    const double g[] = {-0.02942361841, -0.02942361841, -0.02942361841, 0.02942361841,
                        0.02942361841};
    check_grad(f, "dpo", "{\"wpo\":true}", t, 0.4106322275, g);
    double plain = loss_with(f, "dpo", "{}", t);
    close_to(0.4106322275 / plain, 0.7954374259 * 0.728877415);
    for (uint32_t k = 0; k < 5; k++)
        c2[k] = 0.2;
    assert_true(loss_with(f, "dpo", "{\"wpo\":true}", t) > plain);
    refused(f, "dpo", "{\"wpo\":true,\"loss\":\"aot\"}", "aot takes them apart");
}

/* gamma is absolute; the ratio is multiplied with beta, and only where gamma is not given. */
static void trap_t16_gamma_and_ratio(void **state)
{
    fixture *f = *state;
    batch *t = pair_of(&f->arena, 0, 0, -3.0, -7.2);
    double h = 0.3 * 10;
    close_to(loss_with(f, "simpo", "{\"beta\":10,\"gamma_beta_ratio\":0.25}", t),
             log1p(exp(-(h - 2.5))));
    close_to(loss_with(f, "simpo", "{\"beta\":10,\"gamma\":0.25}", t), log1p(exp(-(h - 0.25))));
    close_to(loss_with(f, "simpo", "{}", t), log1p(exp(-(0.6 - 1)))); /* 0.5 of beta = 2 */
    close_to(loss_with(f, "simpo", "{\"gamma\":0,\"gamma_beta_ratio\":3}", t), log1p(exp(-0.6)));
}

/* Only the counted tokens of the wanted answer enter the likelihood, never the prompt. */
static void trap_t17_orpo_likelihood(void **state)
{
    fixture *f = *state;
    batch *t = pair_of(&f->arena, 0, 0, -3.0, -7.2);
    double *l = column(&f->arena, t, DOWEL_LOGP, true);
    l[0] = -50;
    t->mask[0] = 0;
    batch_count(t);
    close_to(metric_after(f, "orpo", "{}", t, "nll_loss"), 0.6);
    close_to(metric_after(f, "orpo", "{}", t, "log_odds_chosen"),
             -0.6 - log(-expm1(-0.6)) + 0.9 + log(-expm1(-0.9)));
    close_to(loss_with(f, "orpo", "{\"lambda\":0}", t), 0.6);
}

/* Means or sums: the same option, and beta means another thing in each. */
static void trap_t18_ipo_mean_or_sum(void **state)
{
    fixture *f = *state;
    batch *t = pair_of(&f->arena, 1.25, -0.5, -3.0, -7.2);
    double u = 1.25 / 5 + 0.5 / 8;
    close_to(loss_with(f, "dpo", "{\"loss\":\"ipo\",\"normalize\":\"token\"}", t),
             (u - 5) * (u - 5));
    close_to(loss_with(f, "dpo", "{\"loss\":\"ipo\",\"normalize\":\"sum\"}", t),
             (1.75 - 5) * (1.75 - 5));
    refused(f, "dpo", "{\"normalize\":\"sum\"}", "loss = 'ipo'");
}

static void trap_t20_sigmoid_refuses_smoothing(void **state)
{
    fixture *f = *state;
    refused(f, "dpo", "{\"label_smoothing\":0.1}", "label_smoothing 0.1 needs loss = 'cdpo'");
    refused(f, "dpo", "{\"label_smoothing\":0.1,\"loss\":\"hinge\"}", "needs loss = 'cdpo'");
    refused(f, "dpo", "{\"label_smoothing\":0,\"loss\":\"exo_pair\"}", "1e-3 is usual");
    refused(f, "dpo", "{\"label_smoothing\":0.5,\"loss\":\"robust\"}", "below 0.5");
}

/* Where training starts discopop lowers the margin, and it does so up to h = 0.07. */
static void trap_t21_discopop_sign(void **state)
{
    fixture *f = *state;
    const double at[] = {-0.2, 0, 0.05, 0.1}, sign[] = {-1, 1, 1, -1};
    dw_instance *i = instance_make(f, "dpo", "{\"loss\":\"discopop\",\"beta\":1}", NULL);
    for (size_t k = 0; k < 4; k++) {
        batch *t = pair_of(&f->arena, at[k], 0, -3, -7);
        loss_of(i, t);
        assert_true(t->col[DOWEL_LOGP].grad[0] * sign[k] > 0);
        if (k == 1)
            near(t->col[DOWEL_LOGP].grad[0], 0.784264, 1e-6);
    }
    dw_instance_destroy(i);
}

/* At the edge of the hinge there is no derivative to one side, and the rule is strict. */
static void trap_t32_hinge_edge(void **state)
{
    fixture *f = *state;
    const double l[] = {-3, -4}, ref[2] = {0};
    batch *t = short_pairs(&f->arena, 1, l, ref);
    dw_instance *i = instance_make(f, "slic", "{\"delta\":1,\"lambda\":0}", NULL);
    assert_true(loss_of(i, t) == 0);
    assert_true(t->col[DOWEL_LOGP].grad[0] == 0);
    dw_instance_destroy(i);
}

/* Equal rewards are an error. */
static void trap_t33_ties_are_errors(void **state)
{
    fixture *f = *state;
    batch *t = pair_of(&f->arena, 0, 0, -4.0, -4.0);
    assert_true(metric_after(f, "dpo", "{}", t, "rewards/accuracies") == 0);
    assert_true(metric_after(f, "cpo", "{}", t, "rewards/accuracies") == 0);
}

/* The constants of the scores stay where answers have different lengths. */
static void trap_t38_score_constants(void **state)
{
    fixture *f = *state;
    batch *t = pair_of(&f->arena, 1.25, -0.5, -3.0, -7.2);
    double u = (1 - exp(-1.25)) / 5 - (1 - exp(0.5)) / 8, v = exp(0.5) / 8 - exp(-1.25) / 5;
    double kept = loss_with(f, "dpo", "{\"loss\":\"ipo\",\"divergence\":\"forward_kl\"}", t);
    close_to(kept, (u - 5) * (u - 5));
    assert_true(fabs(kept - (v - 5) * (v - 5)) > 0.1);
}

/* ---- options ---- */

static void test_mix(void **state)
{
    fixture *f = *state;
    batch *t = pair_of(&f->arena, 1.25, -0.5, -3.0, -7.2);
    double all = loss_with(
        f, "dpo", "{\"mix\":{\"sigmoid\":0.8,\"bco_pair\":0.2,\"aot\":0.5},\"sft\":0.25}", t);
    double parts = 0.8 * loss_with(f, "dpo", "{}", t) +
                   0.2 * loss_with(f, "dpo", "{\"loss\":\"bco_pair\"}", t) +
                   0.5 * loss_with(f, "dpo", "{\"loss\":\"aot\"}", t) + 0.25 * 0.6;
    close_to(all, parts);
    refused(f, "dpo", "{\"mix\":{\"sigmoit\":1}}", "no loss 'sigmoit'");
    refused(f, "dpo", "{\"mix\":{\"sft\":1}}", "an option of its own");
    refused(f, "dpo", "{\"mix\":{\"sigmoid\":-1}}", "must be a number from 0 on");
    refused(f, "dpo", "{\"mix\":{\"sigmoid\":\"1\"}}", "must be a number");
    refused(f, "dpo", "{\"mix\":{\"sigmoid\":0}}", "every weight is 0");
    refused(f, "dpo", "{\"mix\":{\"hinge\":1},\"loss\":\"ipo\"}", "exclude each other");
    refused(f, "dpo", "{\"mix\":[1]}", "expected losses with weights");
    refused(f, "dpo", "{\"mix\":3}", "expected losses with weights");
    refused(f, "dpo", "{\"mix\":{\"hinge\":{\"a\":1}}}", "must be a number");
    refused(f, "dpo", "{\"mix\":{\"sigmoid\":1,\"nca_pair\":1},\"divergence\":\"js_divergence\"}",
            "does not apply to loss 'nca_pair'");
    refused(f, "cpo", "{\"loss\":\"ipo\",\"label_smoothing\":0.1}", "needs loss = 'sigmoid'");
    refused(f, "tpo", "{\"loss\":\"hinge\",\"label_smoothing\":0.1}", "needs loss = 'sigmoid'");
}

/* What is asked for follows from the options. */
static void test_requests(void **state)
{
    fixture *f = *state;
    dw_err err;
    dowel_request ask;
    dw_instance *i = instance_make(f, "dpo", "{\"reference_free\":true}", NULL);
    assert_int_equal(dw_call_observe(i, false, &ask, &err), 0);
    assert_false(ask.columns & (DOWEL_BIT(DOWEL_REF_LOGP) | DOWEL_BIT(DOWEL_COLLISION)));
    assert_int_equal(ask.together, DOWEL_BY_ROW);
    dw_instance_destroy(i);
    i = instance_make(f, "dpo", "{\"wpo\":true}", NULL);
    assert_int_equal(dw_call_observe(i, false, &ask, &err), 0);
    assert_true(ask.columns & DOWEL_BIT(DOWEL_REF_LOGP));
    assert_true(ask.columns & DOWEL_BIT(DOWEL_COLLISION));
    assert_false(ask.detached & DOWEL_BIT(DOWEL_LOGP));
    dw_instance_destroy(i);
    i = instance_make(f, "dpo", "{\"mix\":{\"aot_unpaired\":1}}", NULL);
    assert_int_equal(dw_call_observe(i, false, &ask, &err), 0);
    assert_int_equal(ask.together, DOWEL_BY_STEP);
    dw_instance_destroy(i);
}

/* p = 1 - e of cdpo, taken from the row. */
static void test_soft_labels(void **state)
{
    fixture *f = *state;
    batch *t = pair_of(&f->arena, 1.25, -0.5, -3.0, -7.2);
    put(column(&f->arena, t, DOWEL_TARGET, false), 2, (double[]){0.9, 0.3}); /* the wanted half's */
    const row soft = {"dpo",         "{\"loss\":\"soft\"}", 0.626970431,
                      -0.0356361313, 0.0356361313,          false};
    check_row(f, &soft, t);
    column(&f->arena, t, DOWEL_TARGET, false)[0] = NAN; /* the row does not say: 1 */
    close_to(loss_with(f, "dpo", "{\"loss\":\"soft\"}", t), 0.609470431);
}

/* The unwanted half may come first; a mate without a label is no half. */
static void test_order_of_halves(void **state)
{
    fixture *f = *state;
    dw_err err = {{0}};
    double loss = 0, total[3] = {1, 1, 0};
    const double l[] = {-4, -3}, ref[] = {-3.5, -4.25};
    batch *t = short_pairs(&f->arena, 1, l, ref);
    put(column(&f->arena, t, DOWEL_LABEL, false), 2, (double[]){-1, 1});
    const double g[] = {0.0456361313, -0.0456361313};
    check_grad(f, "dpo", "{}", t, 0.609470431, g);
    column(&f->arena, t, DOWEL_LABEL, false)[0] = 0;
    dw_instance *i = instance_make(f, "dpo", NULL, NULL);
    t->b.host = dw_instance_host(i);
    t->b.total = total;
    assert_true(dw_call_loss(i, &t->b, &loss, &err) < 0);
    assert_non_null(strstr(err.text, "sequence 1 has no rejected half"));
    dw_instance_destroy(i);
}

/* A row's weight multiplies both its preference and its likelihood; the divisors do not change. */
static void test_row_weight(void **state)
{
    fixture *f = *state;
    static const char *const id[] = {"dpo", "cpo", "orpo"};
    static const char *const options[] = {"{\"sft\":1}", "{}", "{}"};
    for (size_t k = 0; k < 3; k++) {
        batch *t = pair_of(&f->arena, 1.25, -0.5, -3.0, -7.2);
        double plain = loss_with(f, id[k], options[k], t);
        put(column(&f->arena, t, DOWEL_WEIGHT, false), 2, (double[]){3, 3});
        close_to(loss_with(f, id[k], options[k], t), 3 * plain);
    }
}

/* A pair with an empty half has no means: nothing is added, whichever half it is. */
static void test_no_mean(void **state)
{
    fixture *f = *state;
    static const row rows[] = {{"simpo", "{}", 0, 0, 0, true},
                               {"orpo", "{\"lambda\":1}", 0, 0, 0, true},
                               {"cpo", "{\"loss\":\"ipo\",\"alpha\":0}", 0, 0, 0, true},
                               {"tpo", "{\"loss\":\"tpo_l\",\"alpha\":0}", 0, 0, 0, true}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        for (int half = 0; half < 2; half++) {
            batch *t = pair_of(&f->arena, 0, 0, -3.0, -7.2);
            memset(t->mask + t->start[half], 0, half ? 8 : 5);
            double nll = !strcmp(rows[k].id, "orpo") && half == 1 ? 0.6 : 0;
            near(loss_with(f, rows[k].id, rows[k].options, t), nll, 1e-12);
        }
    }
}

/* Means over the counted tokens of a side, or of both. */
static void test_token_metrics(void **state)
{
    fixture *f = *state;
    metrics m = {0};
    batch *t = policy_pair(&f->arena);
    put(column(&f->arena, t, DOWEL_ENTROPY, false), 5, (double[]){1, 2, 3, 4, 6});
    put(column(&f->arena, t, DOWEL_TOP1, false), 5, (double[]){1, 0, 0, 1, 1});
    put(column(&f->arena, t, DOWEL_MEAN_LOGIT, false), 5, (double[]){-1, -2, -3, 5, 7});
    t->mask[1] = 0;
    dw_instance *i = instance_make(f, "dpo", NULL, &m);
    loss_of(i, t);
    close_to(metric_of(&m, "logits/chosen"), -2);
    close_to(metric_of(&m, "logits/rejected"), 6);
    close_to(metric_of(&m, "entropy"), 3.5);
    close_to(metric_of(&m, "mean_token_accuracy"), 0.5);
    close_to(metric_of(&m, "logps/chosen"), -2.5);
    close_to(metric_of(&m, "rewards/chosen"), -0.01);
    close_to(metric_of(&m, "rewards/rejected"), 0);
    dw_instance_destroy(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_ratios),
        cmocka_unit_test(test_golden_likelihoods),
        cmocka_unit_test(test_golden_aot),
        cmocka_unit_test(test_aot_ties),
        cmocka_unit_test(test_golden_ld),
        cmocka_unit_test(test_golden_tpo),
        cmocka_unit_test(test_golden_lists),
        cmocka_unit_test(test_pair_is_a_list),
        cmocka_unit_test(trap_t12_alpha_and_overflow),
        cmocka_unit_test(trap_t13_wpo_weights),
        cmocka_unit_test(trap_t16_gamma_and_ratio),
        cmocka_unit_test(trap_t17_orpo_likelihood),
        cmocka_unit_test(trap_t18_ipo_mean_or_sum),
        cmocka_unit_test(trap_t20_sigmoid_refuses_smoothing),
        cmocka_unit_test(trap_t21_discopop_sign),
        cmocka_unit_test(trap_t32_hinge_edge),
        cmocka_unit_test(trap_t33_ties_are_errors),
        cmocka_unit_test(trap_t38_score_constants),
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_soft_labels),
        cmocka_unit_test(test_order_of_halves),
        cmocka_unit_test(test_row_weight),
        cmocka_unit_test(test_no_mean),
        cmocka_unit_test(test_token_metrics),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
