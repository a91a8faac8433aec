/* What every preference objective must satisfy whatever the numbers: derivatives are those of the
 * loss, a step may be cut and reordered, what does not count has no effect, extremes stay finite.
 */
#include "batch.h"

enum { N_TRAINED = 12, N_EXTRA = 4, N_SEQ = N_TRAINED + N_EXTRA };

/* What a unit that is never cut consists of; a triple is a pair with a gold answer. */
enum { SINGLE = 1, PAIR = 2, TRIPLE = 3 };

enum {
    STEP = 1,     /* sees the whole step at once */
    CONSTANT = 2, /* has factors that count as constants, so the loss has another derivative */
    SHIFT = 4,    /* sees only the difference of the two log-ratios */
    MIXED = 8,    /* one half of a pair comes from another sampler */
    RANKED = 16,  /* three ranked answers, some of them equals, instead of a pair and gold */
};

typedef struct subject {
    const char *id, *options;
    unsigned unit, traits;
} subject;

#define DPO(options, traits)                                                                       \
    {                                                                                              \
        "dpo", options, PAIR, traits                                                               \
    }
#define LOSS(name, traits) DPO("{\"loss\":\"" name "\"}", traits)
#define KL(name, kl)       DPO("{\"loss\":\"" name "\",\"divergence\":\"" kl "\"}", 0)
#define ALL_KL(name)       KL(name, "forward_kl"), KL(name, "js_divergence"), KL(name, "alpha_divergence")
#define NOISY(name, more, traits)                                                                  \
    DPO("{\"loss\":\"" name "\",\"label_smoothing\":0.2" more "}", traits)
#define NOISY_KL(name, kl) NOISY(name, ",\"divergence\":\"" kl "\"", 0)
#define ALL_NOISY_KL(name)                                                                         \
    NOISY_KL(name, "forward_kl"), NOISY_KL(name, "js_divergence"),                                 \
        NOISY_KL(name, "alpha_divergence")

static const subject subjects[] = {
    LOSS("sigmoid", SHIFT),
    LOSS("soft", SHIFT),
    LOSS("hinge", SHIFT),
    LOSS("ipo", 0),
    DPO("{\"loss\":\"ipo\",\"normalize\":\"sum\"}", SHIFT),
    LOSS("nca_pair", 0),
    LOSS("bco_pair", 0),
    LOSS("sppo_hard", 0),
    LOSS("apo_zero", 0),
    LOSS("apo_down", 0),
    LOSS("discopop", SHIFT),
    LOSS("sigmoid_norm", 0),
    LOSS("aot", STEP | SHIFT),
    LOSS("aot_unpaired", STEP | SHIFT),
    NOISY("cdpo", "", SHIFT),
    NOISY("robust", "", SHIFT),
    NOISY("exo_pair", "", SHIFT),
    NOISY("aot", "", STEP | SHIFT),
    NOISY("aot_unpaired", "", STEP | SHIFT),
    ALL_KL("sigmoid"),
    ALL_KL("soft"),
    ALL_KL("hinge"),
    ALL_KL("ipo"),
    ALL_KL("discopop"),
    ALL_KL("sigmoid_norm"),
    ALL_NOISY_KL("cdpo"),
    ALL_NOISY_KL("robust"),
    ALL_NOISY_KL("exo_pair"),
    DPO("{\"ld_alpha\":0.3}", 0),
    DPO("{\"ld_alpha\":0,\"loss\":\"ipo\"}", 0),
    DPO("{\"wpo\":true}", CONSTANT),
    DPO("{\"sft\":0.7}", 0),
    DPO("{\"reference_free\":true}", 0),
    DPO("{\"mix\":{\"sigmoid\":0.8,\"bco_pair\":0.2,\"aot\":0.3},\"sft\":1,\"beta\":0.4}", STEP),
    {"cpo", "{}", PAIR, 0},
    {"cpo", "{\"label_smoothing\":0.2,\"alpha\":0.5}", PAIR, 0},
    {"cpo", "{\"loss\":\"hinge\"}", PAIR, 0},
    {"cpo", "{\"loss\":\"ipo\",\"alpha\":0}", PAIR, 0},
    {"simpo", "{}", PAIR, 0},
    {"simpo", "{\"alpha\":0.4,\"gamma\":0.3,\"sft\":0.2}", PAIR, 0},
    {"simpo", "{\"alpha\":-0.4,\"label_smoothing\":0.1}", PAIR, 0},
    {"orpo", "{\"lambda\":0.5}", PAIR, 0},
    {"tpo", "{\"beta\":0.1}", TRIPLE, 0},
    {"tpo", "{\"loss\":\"hinge\",\"beta\":0.1}", TRIPLE, 0},
    {"tpo", "{\"loss\":\"ipo\",\"beta\":0.5}", TRIPLE, 0},
    {"tpo", "{\"loss\":\"tpo_l\",\"beta\":2,\"label_smoothing\":0.1}", TRIPLE, 0},
    {"tpo", "{\"alpha\":0}", PAIR, 0},
    {"slic", "{\"delta\":3}", PAIR, 0},
    {"slic", "{\"target\":\"gold\"}", TRIPLE, 0},
    {"dpo_list", "{}", PAIR, 0},
    {"dpo_list", "{\"beta\":0.7}", TRIPLE, RANKED},
    {"dpo_list", "{\"loss\":\"choose_two\"}", TRIPLE, RANKED},
    {"dpo_list", "{\"loss\":\"pick_best\"}", TRIPLE, RANKED},
    {"kto", "{}", SINGLE, 0},
    {"kto", "{\"desirable_weight\":1.3,\"undesirable_weight\":0.7,\"beta\":0.5}", SINGLE, 0},
    {"kto", "{\"loss\":\"apo_zero_unpaired\"}", SINGLE, 0},
    {"bco", "{}", SINGLE, STEP | CONSTANT},
    {"xpo", "{\"alpha\":0.1}", PAIR, MIXED},
    {"xpo", "{\"loss\":\"ipo\",\"alpha\":0.1}", PAIR, MIXED},
    {"nash_md", "{}", SINGLE, CONSTANT},
    {"nash_md", "{\"kl_form\":\"reward_to_go\"}", SINGLE, CONSTANT},
};
enum { N_SUBJECT = sizeof subjects / sizeof *subjects };

static void fill_tokens(dw_arena *a, batch *t, uint64_t key)
{
    double *l = column(a, t, DOWEL_LOGP, true), *ref = column(a, t, DOWEL_REF_LOGP, false);
    double *h = column(a, t, DOWEL_ENTROPY, false), *hit = column(a, t, DOWEL_TOP1, false);
    double *raw = column(a, t, DOWEL_MEAN_LOGIT, false), *c2 = column(a, t, DOWEL_COLLISION, false);
    double *adv = column(a, t, DOWEL_ADVANTAGE, false);
    for (uint32_t k = 0; k < t->b.n_tok; k++) {
        l[k] = uniform(key + 100, k, -4, -0.1);
        ref[k] = l[k] - uniform(key + 200, k, -1, 1);
        h[k] = uniform(key + 300, k, 0, 3);
        raw[k] = uniform(key + 400, k, -2, 2);
        c2[k] = uniform(key + 500, k, 0.1, 1);
        adv[k] = uniform(key + 600, k, -0.5, 0.5);
        hit[k] = (double)(k % 3 == 0);
        t->mask[k] = dw_random_below(7, DW_RNG_TEST, key + 700, k, 5) > 0;
    }
}

/* `label` takes the ranks of those that are ranked. */
static void make_unit(const subject *s, batch *t, uint32_t q, double *label)
{
    uint32_t in = q % s->unit;
    if (s->unit == SINGLE) {
        label[q] = q % 3 ? 1 : -1;
        return;
    }
    t->group[q] = (int32_t)(q / s->unit);
    if (s->traits & RANKED) {
        label[q] = (q / 3) % 2 && in < 2 ? 1 : 1 + (double)((in + q / 3) % 3);
        return;
    }
    if (in == 2) {
        t->role[q] = DOWEL_GOLD;
        return;
    }
    t->mate[q] = (int32_t)(in == 0 ? q + 1 : q - 1);
    label[q] = in == 0 ? 1 : -1;
    if ((s->traits & MIXED) && in == (q / 2) % 2)
        t->role[q] = DOWEL_OTHER;
}

/* Twelve sequences in units, a fifth of the tokens masked, and four mismatched answers behind. */
static batch *random_batch(dw_arena *a, const subject *s, uint64_t key)
{
    uint32_t len[N_SEQ];
    for (uint32_t q = 0; q < N_SEQ; q++)
        len[q] = 1 + (uint32_t)dw_random_below(7, DW_RNG_TEST, key, q, 9);
    batch *t = batch_make(a, N_SEQ, len);
    fill_tokens(a, t, key);
    double *label = column(a, t, s->traits & RANKED ? DOWEL_RANK : DOWEL_LABEL, false),
           *w = column(a, t, DOWEL_WEIGHT, false);
    double *target = column(a, t, DOWEL_TARGET, false);
    for (uint32_t q = 0; q < N_SEQ; q++) {
        w[q] = uniform(key + 800, q, 0.5, 2);
        target[q] = uniform(key + 900, q, 0.5, 1);
        t->mask[t->start[q]] = 1;
        if (q < N_TRAINED)
            make_unit(s, t, q, label);
        else
            t->role[q] = DOWEL_MISMATCHED;
    }
    return t;
}

/* Counts what reaches the loss, as the host does. */
static void count(batch *t)
{
    double seqs = 0, toks = 0;
    for (uint32_t q = 0; q < t->b.n_seq; q++) {
        if (t->role[q] == DOWEL_MISMATCHED || t->role[q] == DOWEL_GOLD)
            continue;
        uint32_t n = dowel_seq_len(&t->b, q);
        toks += n;
        seqs += n > 0;
    }
    t->b.step_seqs = seqs > 0 ? seqs : 1;
    t->b.step_toks = toks > 0 ? toks : 1;
}

/* The part of a whole step that loss() sees, in this order. */
static batch *trained(dw_arena *a, dw_instance *i, batch *t, const uint32_t *order, uint32_t n)
{
    count(t);
    survey_of(i, t, a);
    return batch_part(a, t, order, n);
}

static const uint32_t plain[N_TRAINED] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

/* Near enough a constant for the running mean of bco to have no derivative. */
static dw_instance *subject_make(fixture *f, const subject *s, metrics *m)
{
    dw_err err = {{0}};
    dw_instance *i = instance_make(f, s->id, s->options, m);
    if (!strcmp(s->id, "bco"))
        assert_int_equal(dw_call_step_end(i, 0, (double[]){1e13, 5e11}, &err), 0);
    return i;
}

static void test_derivatives(void **state)
{
    fixture *f = *state;
    const double step = 1e-6;
    for (size_t s = 0; s < N_SUBJECT; s++) {
        bool bco = !strcmp(subjects[s].id, "bco");
        if ((subjects[s].traits & CONSTANT) && !bco)
            continue;
        dw_instance *i = subject_make(f, &subjects[s], NULL);
        for (uint64_t round = 0; round < 4; round++) {
            batch *t = random_batch(&f->arena, &subjects[s], 1000 * round);
            batch *p = trained(&f->arena, i, t, plain, N_TRAINED);
            double *x = column(&f->arena, p, DOWEL_LOGP, true), grad[160];
            loss_of(i, p);
            memcpy(grad, p->col[DOWEL_LOGP].grad, p->b.n_tok * sizeof *grad);
            for (uint32_t k = 0; k < p->b.n_tok; k++) {
                double at = x[k];
                x[k] = at + step;
                double up = loss_of(i, p);
                x[k] = at - step;
                double down = loss_of(i, p);
                x[k] = at;
                if (!(fabs(grad[k] - (up - down) / (2 * step)) <= 1e-6 * fmax(1, fabs(grad[k]))))
                    fail_msg("%s %s: token %u: %.10g, by differences %.10g", subjects[s].id,
                             subjects[s].options, k, grad[k], (up - down) / (2 * step));
                assert_true(p->mask[k] || grad[k] == 0);
            }
        }
        dw_instance_destroy(i);
    }
}

/* Loss, derivatives and metrics of the sequences in `order`, dealt over n batches. */
static double cut_loss(fixture *f, const subject *s, batch *t, const uint32_t *order, uint32_t n,
                       double *grad, metrics *m)
{
    dw_instance *i = subject_make(f, s, m);
    double loss = 0, tally[8] = {0};
    uint32_t units = N_TRAINED / s->unit;
    count(t);
    survey_of(i, t, &f->arena);
    memset(grad, 0, t->b.n_tok * sizeof *grad);
    for (uint32_t p = 0; p < n; p++) {
        uint32_t from = p * units / n * s->unit, to = (p + 1) * units / n * s->unit;
        batch *part = batch_part(&f->arena, t, order + from, to - from);
        part->b.tally = tally;
        loss += loss_of(i, part);
        gather(part, DOWEL_LOGP, t, grad);
    }
    dw_instance_destroy(i);
    return loss;
}

static void check_cuts(fixture *f, const subject *s, batch *t)
{
    static const uint32_t mixed[4][N_TRAINED] = {
        {0},
        {8, 1, 0, 9, 11, 5, 10, 4, 2, 3, 7, 6},
        {8, 9, 0, 1, 11, 10, 4, 5, 2, 3, 7, 6},
        {9, 10, 11, 1, 0, 2, 5, 3, 4, 6, 7, 8},
    };
    uint32_t parts[] = {2, 3, N_TRAINED / s->unit, 1, 2};
    double *grad[2];
    metrics m[2];
    for (int k = 0; k < 2; k++)
        grad[k] = dw_arena_alloc(&f->arena, (t->b.n_tok + 1) * sizeof(double));
    memset(&m[0], 0, sizeof m[0]);
    double loss = cut_loss(f, s, t, plain, 1, grad[0], &m[0]);
    assert_true(loss != 0 && m[0].n > 0);
    for (size_t c = 0; c < sizeof parts / sizeof *parts; c++) {
        if ((s->traits & STEP) && parts[c] > 1)
            continue;
        memset(&m[1], 0, sizeof m[1]);
        near(cut_loss(f, s, t, c < 3 ? plain : mixed[s->unit], parts[c], grad[1], &m[1]), loss,
             1e-12);
        for (uint32_t k = 0; k < t->b.n_tok; k++)
            near(grad[1][k], grad[0][k], 1e-12);
        assert_int_equal(m[0].n, m[1].n);
        for (size_t k = 0; k < m[0].n; k++)
            near(metric_of(&m[1], m[0].m[k].name), metric_of(&m[0], m[0].m[k].name), 1e-12);
    }
}

static void test_cut_and_order(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++)
        for (uint64_t round = 0; round < 3; round++)
            check_cuts(f, &subjects[s], random_batch(&f->arena, &subjects[s], 1000 * round));
}

/* Nothing counts: no loss, no derivative, no metric that is not a number. */
static void test_nothing_counts(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++) {
        metrics m = {0};
        double tally[8] = {0};
        dw_instance *i = subject_make(f, &subjects[s], &m);
        batch *t = random_batch(&f->arena, &subjects[s], 4);
        memset(t->mask, 0, t->b.n_tok);
        batch *p = trained(&f->arena, i, t, plain, N_TRAINED);
        p->b.tally = tally;
        assert_true(loss_of(i, p) == 0);
        for (uint32_t k = 0; k < p->b.n_tok; k++)
            assert_true(p->col[DOWEL_LOGP].grad[k] == 0);
        batch *none = batch_part(&f->arena, t, plain, 0);
        none->b.tally = tally;
        assert_true(loss_of(i, none) == 0);
        for (size_t k = 0; k < m.n; k++)
            assert_true(isfinite(metric_of(&m, m.m[k].name)));
        dw_instance_destroy(i);
    }
}

/* One half without a token: finite, and the rest of the step keeps its mean. */
static void test_empty_half(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++) {
        for (uint32_t q = 0; q < 2; q++) {
            metrics m = {0};
            double tally[8] = {0};
            dw_instance *i = subject_make(f, &subjects[s], &m);
            batch *t = random_batch(&f->arena, &subjects[s], 6);
            memset(t->mask + t->start[q], 0, t->start[q + 1] - t->start[q]);
            batch *p = trained(&f->arena, i, t, plain, N_TRAINED);
            p->b.tally = tally;
            loss_of(i, p); /* dw_call_loss refuses what is not finite */
            for (uint32_t at = 0; at < N_TRAINED; at += subjects[s].unit) {
                batch *one = batch_part(&f->arena, t, plain + at, subjects[s].unit);
                one->b.tally = tally;
                loss_of(i, one);
            }
            for (size_t k = 0; k < m.n; k++)
                assert_true(isfinite(metric_of(&m, m.m[k].name)));
            dw_instance_destroy(i);
        }
    }
}

static void test_extremes(void **state)
{
    fixture *f = *state;
    const double far[] = {1e4, -1e4, 200, -200, 1e-9, 0};
    for (size_t s = 0; s < N_SUBJECT; s++) {
        double tally[8] = {0};
        dw_instance *i = subject_make(f, &subjects[s], NULL);
        for (size_t e = 0; e < sizeof far / sizeof *far; e++) {
            batch *t = random_batch(&f->arena, &subjects[s], 5);
            double *l = column(&f->arena, t, DOWEL_LOGP, true);
            double *ref = column(&f->arena, t, DOWEL_REF_LOGP, false);
            double *c2 = column(&f->arena, t, DOWEL_COLLISION, false);
            for (uint32_t k = 0; k < t->b.n_tok; k++) {
                l[k] = far[e] < 0 ? far[e] : -1e-9;
                ref[k] = l[k] + far[e] * (k % 3 ? 1 : -1);
                c2[k] = k % 2 ? 1e-30 : 1;
            }
            batch *p = trained(&f->arena, i, t, plain, N_TRAINED);
            p->b.tally = tally;
            loss_of(i, p);
        }
        dw_instance_destroy(i);
    }
}

/* Some losses see differences only: one constant on both log-ratio sums changes nothing. Others
 * judge each answer by itself, and it must. */
static void test_shift(void **state)
{
    fixture *f = *state;
    for (size_t s = 0; s < N_SUBJECT; s++) {
        const subject *u = &subjects[s];
        if (u->unit != PAIR || strcmp(u->id, "dpo") != 0 || strstr(u->options, "free"))
            continue;
        dw_instance *i = subject_make(f, u, NULL);
        batch *t = random_batch(&f->arena, u, 8);
        double *ref = column(&f->arena, t, DOWEL_REF_LOGP, false);
        double before = loss_of(i, trained(&f->arena, i, t, plain, N_TRAINED));
        for (uint32_t q = 0; q < N_TRAINED; q++)
            ref[t->start[q]] -= 0.25; /* the first token of each always counts */
        double after = loss_of(i, trained(&f->arena, i, t, plain, N_TRAINED));
        if (u->traits & SHIFT)
            near(after, before, 1e-12);
        else if (!strstr(u->options, "ld_alpha\":0.3") && !strstr(u->options, "wpo") &&
                 !strstr(u->options, "sft"))
            assert_true(fabs(after - before) > 1e-6);
        dw_instance_destroy(i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derivatives),    cmocka_unit_test(test_cut_and_order),
        cmocka_unit_test(test_nothing_counts), cmocka_unit_test(test_empty_half),
        cmocka_unit_test(test_extremes),       cmocka_unit_test(test_shift),
    };
    return cmocka_run_group_tests(tests, setup_registry, teardown_registry);
}
