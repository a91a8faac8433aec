/* Score and value heads and divergences: gradients by finite differences on doubles, alone and
 * together with the vocabulary head's, with and without an adapter; two engines on one model;
 * threads; memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/generate.h"
#include "tiny_model.h"

enum { PROMPT = 5, LEFT = 4, RIGHT = 6, ALONE = 7, ROWS = PROMPT + LEFT + RIGHT + ALONE };
enum { N_READ = 9, WIDTH = 3 };

/* A prompt with two answers, and a sequence of its own. */
static const dw_segment forest_seg[] = {{0, PROMPT, -1, 0},
                                        {PROMPT, LEFT, 0, PROMPT},
                                        {PROMPT + LEFT, RIGHT, 0, PROMPT},
                                        {PROMPT + LEFT + RIGHT, ALONE, -1, 0}};
/* in no order, one of them twice */
static const uint32_t read_row[N_READ] = {ROWS - 1, 3, 7, 8, PROMPT - 1, 12, 7, 0, 15};

typedef struct batch {
    int32_t id[ROWS];
    dw_head_pair pair[ROWS];
    dw_divergence divergence; /* other NULL: none */
    double d_divergence[ROWS], d_logp[ROWS], d_entropy[ROWS], d_value[N_READ * WIDTH],
        d_score[N_READ * WIDTH];
} batch;

/* of the other model, for each pair: in no order, with repeats */
static uint32_t other_row[ROWS];

static void make_batch(batch *b, uint32_t vocab)
{
    b->divergence = (dw_divergence){0};
    tiny_ids(b->id, ROWS, vocab, 21);
    for (uint32_t i = 0; i < ROWS; i++) {
        b->pair[i] = (dw_head_pair){i, b->id[(i + 1) % ROWS]};
        b->d_logp[i] = dw_random_normal(3, DW_RNG_TEST, 0, i);
        b->d_entropy[i] = dw_random_normal(3, DW_RNG_TEST, 1, i);
        b->d_divergence[i] = dw_random_normal(3, DW_RNG_TEST, 4, i);
        other_row[i] = (7 * i + 3) % (ROWS - 2);
    }
    b->pair[5].row = 4; /* one row twice */
    for (size_t i = 0; i < N_READ * WIDTH; i++) {
        b->d_value[i] = dw_random_normal(3, DW_RNG_TEST, 2, i);
        b->d_score[i] = dw_random_normal(3, DW_RNG_TEST, 3, i);
    }
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* The loss over everything the model has, and what to hand to backward. */
static double loss(dw_engine *e, const batch *b, unsigned flags, dw_engine_grads *g)
{
    dw_err err = {{0}};
    const dw_forest f = {b->id, ROWS, forest_seg, 4};
    double logp[ROWS], entropy[ROWS], divergence[ROWS], out[N_READ * WIDTH], sum = 0;
    const dw_description *d = &e->m->desc;
    *g = (dw_engine_grads){0};
    assert_int_equal(dw_engine_forward(e, &f, flags, &err), 0);
    if (d->top == DW_TOP_LM) {
        dw_head_out o = {.logp = logp, .entropy = entropy};
        assert_int_equal(
            dw_engine_head(e, b->pair, ROWS, 0.8, (dw_head_wants){true, false}, &o, &err), 0);
        sum += dot(b->d_logp, logp, ROWS) + dot(b->d_entropy, entropy, ROWS);
        g->logp = b->d_logp;
        g->entropy = b->d_entropy;
    }
    if (b->divergence.other) {
        assert_int_equal(dw_engine_divergence(e, b->pair, ROWS, &b->divergence, divergence, &err),
                         0);
        sum += dot(b->d_divergence, divergence, ROWS);
        g->divergence = b->d_divergence;
    }
    if (d->value_width) {
        assert_int_equal(dw_engine_read(e, DW_READ_VALUE, read_row, N_READ, out, &err), 0);
        sum += dot(b->d_value, out, (size_t)N_READ * d->value_width);
        g->value = b->d_value;
    }
    if (d->score_width) {
        assert_int_equal(dw_engine_read(e, DW_READ_SCORE, read_row, N_READ, out, &err), 0);
        sum += dot(b->d_score, out, (size_t)N_READ * d->score_width);
        g->score = b->d_score;
    }
    return sum;
}

static double gradient(dw_model *m, dw_engine *e, const batch *b)
{
    dw_err err = {{0}};
    dw_engine_grads g;
    dw_params *t = dw_model_trained(m);
    memset(t->g, 0, t->n * sizeof *t->g);
    double l = loss(e, b, DW_PASS_SAVE, &g);
    assert_int_equal(dw_engine_backward(e, &g, &err), 0);
    return l;
}

/* Directional derivatives of every parameter tensor. */
static void check_differences(dw_model *m, const char *name, const dw_divergence *divergence)
{
    static const double step[4] = {-2e-5, -1e-5, 1e-5, 2e-5};
    dw_engine *e;
    dw_err err = {{0}};
    batch b;
    make_batch(&b, m->desc.vocab);
    if (divergence)
        b.divergence = *divergence;
    assert_int_equal(dw_engine_create(m, &e, &err), 0);
    gradient(m, e, &b);
    dw_params *t = dw_model_trained(m);
    for (size_t w = 0; w < t->n_weight; w++) {
        const dw_weight *p = &t->weight[w];
        const size_t n = (size_t)p->rows * p->cols;
        dw_real *at = t->w + p->offset, *old = dw_alloc(n * sizeof *old);
        double side[4], along = 0, scale = 0;
        memcpy(old, at, n * sizeof *old);
        for (size_t i = 0; i < n; i++) {
            along += dw_random_normal(5, DW_RNG_TEST, w, i) * (double)t->g[p->offset + i];
            scale += (double)t->g[p->offset + i] * (double)t->g[p->offset + i];
        }
        for (int s = 0; s < 4; s++) {
            dw_engine_grads g;
            for (size_t i = 0; i < n; i++)
                at[i] = old[i] + (dw_real)(step[s] * dw_random_normal(5, DW_RNG_TEST, w, i));
            dw_model_changed(m);
            side[s] = loss(e, &b, 0, &g);
        }
        memcpy(at, old, n * sizeof *old);
        dw_model_changed(m);
        const double numeric = (8 * (side[2] - side[1]) - (side[3] - side[0])) / 12e-5;
        if (!(fabs(numeric - along) <= 1e-7 * (1 + sqrt(scale))))
            fail_msg("%s: %s: gradient %.12g, differences %.12g", name, p->name, along, numeric);
        if (scale == 0 && strcmp(p->name, "positions") != 0)
            fail_msg("%s: %s has no gradient at all", name, p->name);
        dw_free(old);
    }
    dw_engine_destroy(e);
}

static dw_description described(tiny_kind k, dw_top top, uint32_t score, uint32_t value)
{
    dw_description d = tiny_description(k);
    d.top = top;
    d.score_width = score;
    d.score_bias = top == DW_TOP_TOKEN;
    d.value_width = value;
    return d;
}

static const struct {
    const char *name;
    dw_top top;
    uint32_t score, value;
} cases[] = {{"value", DW_TOP_LM, 0, 1},          {"two values", DW_TOP_LM, 0, 2},
             {"sequence", DW_TOP_SEQUENCE, 1, 0}, {"three labels", DW_TOP_SEQUENCE, 3, 0},
             {"token", DW_TOP_TOKEN, 2, 0},       {"token and value", DW_TOP_TOKEN, 2, 1}};
enum { CASES = sizeof cases / sizeof *cases };

static void test_gradients(void **state)
{
    static const dw_lora_spec lora = {.rank = 3, .alpha = 5, .targets = DW_LORA_ALL};
    dw_exec x;
    dw_err err = {{0}};
    assert_int_equal(dw_exec_init(&x, 2, "plain", &err), 0);
    for (size_t c = 0; c < CASES; c++)
        for (int k = 0; k < TINY_KINDS; k += 2)
            for (int adapted = 0; adapted < 2; adapted++) {
                const dw_description d =
                    described((tiny_kind)k, cases[c].top, cases[c].score, cases[c].value);
                dw_model *m = tiny_model(&x, &d, adapted ? &lora : NULL, true, 20 + (uint64_t)k);
                check_differences(m, cases[c].name, NULL);
                dw_model_free(m);
            }
    dw_exec_finish(&x);
}

/* Every kind over everything, with a tail, renormalised; against another model of another width.
 * The seed is one at which no step changes which tokens are the likeliest: there the loss jumps. */
static void test_divergence_gradients(void **state)
{
    static const dw_lora_spec lora = {.rank = 3, .alpha = 5, .targets = DW_LORA_Q | DW_LORA_DOWN};
    dw_exec x;
    dw_err err = {{0}};
    dw_engine *q;
    int32_t id[ROWS];
    assert_int_equal(dw_exec_init(&x, 2, "plain", &err), 0);
    dw_description od = tiny_description(TINY_GEMMA);
    od.d = 16;
    dw_model *other = tiny_model(&x, &od, NULL, false, 77);
    tiny_ids(id, ROWS, od.vocab, 31);
    assert_int_equal(dw_engine_create(other, &q, &err), 0);
    const dw_forest f = {id, ROWS, forest_seg, 4};
    assert_int_equal(dw_engine_forward(q, &f, 0, &err), 0);
    for (int kind = DW_FORWARD_KL; kind <= DW_JENSEN_SHANNON; kind++)
        for (int part = 0; part < 3; part++)
            for (int adapted = 0; adapted < 2; adapted++) {
                const dw_divergence v = {.kind = kind,
                                         .beta = 0.3,
                                         .temperature = 0.7 + 0.2 * part,
                                         .top_k = part ? 6 : 0,
                                         .tail = part == 1,
                                         .other = q,
                                         .other_row = kind == DW_REVERSE_KL ? NULL : other_row};
                const tiny_kind k = kind == DW_FORWARD_KL   ? TINY_BIAS
                                    : kind == DW_REVERSE_KL ? TINY_LLAMA
                                                            : TINY_GEMMA;
                const dw_description d = described(k, DW_TOP_LM, 0, part == 2 ? 1 : 0);
                dw_model *m = tiny_model(&x, &d, adapted ? &lora : NULL, true, 53);
                char name[64];
                snprintf(name, sizeof name, "kind %d, %s, %s", kind,
                         part == 0   ? "full"
                         : part == 1 ? "tail"
                                     : "renormalised",
                         adapted ? "adapter" : "all");
                check_differences(m, name, &v);
                dw_model_free(m);
            }
    dw_engine_destroy(q);
    dw_model_free(other);
    dw_exec_finish(&x);
}

/* The bytes that were planned are the bytes that are mapped; every mode. */
static void test_memory(void **state)
{
    static const dw_lora_spec lora = {.rank = 3, .alpha = 5, .targets = DW_LORA_Q};
    dw_exec x;
    dw_err err = {{0}};
    assert_int_equal(dw_exec_init(&x, 2, "plain", &err), 0);
    for (int mode = 0; mode < 3; mode++) {
        dw_description d = described(TINY_LLAMA, DW_TOP_LM, 0, 1);
        dw_model *m = tiny_model(&x, &d, mode == 2 ? &lora : NULL, true, 5);
        d.d = 40;
        dw_model *other = tiny_model(&x, &d, NULL, false, 6);
        dw_engine *e, *q;
        batch b;
        dw_engine_grads g;
        make_batch(&b, d.vocab);
        assert_int_equal(dw_engine_create(m, &e, &err) | dw_engine_create(other, &q, &err), 0);
        const dw_forest f = {b.id, ROWS, forest_seg, 4};
        assert_int_equal(dw_engine_forward(q, &f, 0, &err), 0);
        b.divergence = (dw_divergence){
            .kind = DW_REVERSE_KL, .temperature = 1, .top_k = 9, .tail = true, .other = q};
        loss(e, &b, mode ? DW_PASS_SAVE : 0, &g);
        dw_engine_need need = {.rows = ROWS,
                               .head_rows = ROWS,
                               .head_pairs = ROWS,
                               .save = mode > 0,
                               .entropy_grad = true,
                               .divergence_pairs = ROWS,
                               .divergence_width = 40,
                               .divergence_top_k = 9};
        const size_t with = dw_engine_bytes(m, &need);
        need.divergence_pairs = 0;
        assert_int_equal(e->divergence_state.mem_bytes, with - dw_engine_bytes(m, &need));
        dw_engine_destroy(e);
        dw_engine_destroy(q);
        dw_model_free(m);
        dw_model_free(other);
    }
    dw_exec_finish(&x);
}

/* A pass without the adapter reads the base's heads; two engines share a model. */
static void test_two_engines(void **state)
{
    static const dw_lora_spec lora = {.rank = 3, .alpha = 5, .targets = DW_LORA_ALL};
    dw_exec x;
    dw_err err = {{0}};
    batch b;
    dw_engine *one, *two;
    dw_engine_grads g;
    double with[N_READ], without[N_READ];
    assert_int_equal(dw_exec_init(&x, 2, "plain", &err), 0);
    const dw_description d = described(TINY_LLAMA, DW_TOP_LM, 0, 1);
    dw_model *m = tiny_model(&x, &d, &lora, true, 9);
    dw_params *t = dw_model_trained(m);
    make_batch(&b, d.vocab);
    assert_int_equal(dw_engine_create(m, &one, &err) | dw_engine_create(m, &two, &err), 0);
    gradient(m, one, &b);
    dw_real *alone = dw_alloc(t->n * sizeof *alone);
    memcpy(alone, t->g, t->n * sizeof *alone);

    memset(t->g, 0, t->n * sizeof *t->g);
    double l = loss(one, &b, DW_PASS_SAVE, &g);
    double base = loss(two, &b, DW_PASS_NO_ADAPTER, &(dw_engine_grads){0});
    assert_true(fabs(l - base) > 1e-3);
    assert_int_equal(dw_engine_backward(one, &g, &err), 0);
    assert_memory_equal(alone, t->g, t->n * sizeof *alone);

    /* only the head differs: B = 0 makes the body the base's */
    for (size_t w = 0; w < t->n_weight; w++)
        if (strstr(t->weight[w].name, "lora_b"))
            memset(t->w + t->weight[w].offset, 0,
                   (size_t)t->weight[w].rows * t->weight[w].cols * sizeof *t->w);
    dw_model_changed(m);
    loss(one, &b, 0, &g);
    loss(two, &b, DW_PASS_NO_ADAPTER, &g);
    assert_int_equal(dw_engine_read(one, DW_READ_VALUE, read_row, N_READ, with, &err), 0);
    assert_int_equal(dw_engine_read(two, DW_READ_VALUE, read_row, N_READ, without, &err), 0);
    const dw_real *ha = m->adapter_value.w.w, *hb = m->value.w.w;
    for (size_t i = 0; i < N_READ; i++) {
        const dw_real *h = dw_engine_hidden(two) + read_row[i] * d.d;
        double want = (double)(m->adapter_value.bias.w[0] - m->value.bias.w[0]);
        for (size_t k = 0; k < d.d; k++)
            want += (double)(ha[k] - hb[k]) * (double)h[k];
        assert_true(fabs(with[i] - without[i] - want) < 1e-12);
    }
    dw_free(alone);
    dw_engine_destroy(one);
    dw_engine_destroy(two);
    dw_model_free(m);
    dw_exec_finish(&x);
}

/* The same bits for any number of threads and for a row read alone. */
static void test_bits(void **state)
{
    dw_real *first = NULL;
    double score[N_READ * WIDTH];
    for (int threads = 1; threads <= 3; threads++) {
        dw_exec x;
        dw_err err = {{0}};
        batch b;
        dw_engine *e;
        double out[N_READ * WIDTH];
        assert_int_equal(dw_exec_init(&x, threads, NULL, &err), 0);
        const dw_description d = described(TINY_QWEN3, DW_TOP_TOKEN, WIDTH, 1);
        dw_model *m = tiny_model(&x, &d, NULL, true, 9);
        dw_params *t = dw_model_trained(m);
        make_batch(&b, d.vocab);
        assert_int_equal(dw_engine_create(m, &e, &err), 0);
        gradient(m, e, &b);
        assert_int_equal(dw_engine_read(e, DW_READ_SCORE, read_row, N_READ, out, &err), 0);
        for (size_t i = 0; i < N_READ; i++) {
            double alone[WIDTH];
            assert_int_equal(dw_engine_read(e, DW_READ_SCORE, &read_row[i], 1, alone, &err), 0);
            assert_memory_equal(alone, out + i * WIDTH, sizeof alone);
        }
        if (!first) {
            first = dw_alloc(t->n * sizeof *first);
            memcpy(first, t->g, t->n * sizeof *first);
            memcpy(score, out, sizeof score);
        }
        assert_memory_equal(first, t->g, t->n * sizeof *first);
        assert_memory_equal(score, out, sizeof score);
        dw_engine_destroy(e);
        dw_model_free(m);
        dw_exec_finish(&x);
    }
    dw_free(first);
}

/* Backward adds to what is there: micro-batches. */
static void test_adds(void **state)
{
    dw_exec x;
    dw_err err = {{0}};
    dw_engine *e, *q;
    batch b;
    assert_int_equal(dw_exec_init(&x, 2, "plain", &err), 0);
    for (size_t c = 0; c < CASES; c++) {
        const dw_description d = described(TINY_BIAS, cases[c].top, cases[c].score, cases[c].value);
        dw_model *m = tiny_model(&x, &d, NULL, true, 9);
        dw_params *t = dw_model_trained(m);
        make_batch(&b, d.vocab);
        assert_int_equal(dw_engine_create(m, &e, &err) | dw_engine_create(m, &q, &err), 0);
        if (d.top == DW_TOP_LM) {
            const dw_forest f = {b.id, ROWS, forest_seg, 4};
            assert_int_equal(dw_engine_forward(q, &f, 0, &err), 0);
            b.divergence = (dw_divergence){
                .kind = DW_FORWARD_KL, .temperature = 1, .other = q, .other_row = other_row};
        }
        gradient(m, e, &b);
        dw_real *once = dw_alloc(t->n * sizeof *once);
        memcpy(once, t->g, t->n * sizeof *once);
        dw_engine_grads g;
        loss(e, &b, DW_PASS_SAVE, &g);
        assert_int_equal(dw_engine_backward(e, &g, &err), 0);
        for (size_t i = 0; i < t->n; i++)
            assert_true(fabs((double)(t->g[i] - 2 * once[i])) <=
                        1e-12 * (1 + fabs((double)once[i])));
        dw_free(once);
        dw_engine_destroy(e);
        dw_engine_destroy(q);
        dw_model_free(m);
    }
    dw_exec_finish(&x);
}

static void test_refusals(void **state)
{
    dw_exec x;
    dw_err err = {{0}};
    batch b;
    dw_engine *e;
    double out[N_READ * WIDTH];
    dw_head_out o = {.logp = out};
    dw_engine_grads g;
    assert_int_equal(dw_exec_init(&x, 1, "plain", &err), 0);
    const dw_description d = described(TINY_LLAMA, DW_TOP_SEQUENCE, 1, 0);
    dw_model *m = tiny_model(&x, &d, NULL, false, 9);
    assert_int_equal(dw_engine_create(m, &e, &err), 0);
    make_batch(&b, d.vocab);
    loss(e, &b, 0, &g);
    assert_int_equal(dw_engine_head(e, b.pair, 1, 1, (dw_head_wants){0}, &o, &err), DW_E_USAGE);
    assert_string_equal(err.text, "the model: a sequence-classification model has no vocabulary "
                                  "head: no log-probabilities, no generation");
    dw_generator *gen;
    dw_gen_item one = {.prompt = b.id, .n_prompt = 3};
    const dw_sampling greedy = {.greedy = true, .max_new = 2};
    assert_int_equal(dw_generator_create(m, &gen, &err), 0);
    assert_int_equal(dw_generate(gen, &greedy, &one, 1, NULL, NULL, &err), DW_E_USAGE);
    dw_generator_destroy(gen);
    assert_int_equal(dw_engine_read(e, DW_READ_VALUE, read_row, 1, out, &err), DW_E_USAGE);
    assert_string_equal(err.text, "the model: there is no value head");
    dw_engine_destroy(e);
    dw_model_free(m);

    dw_description d2 = tiny_description(TINY_LLAMA);
    m = tiny_model(&x, &d2, NULL, false, 9);
    d2.vocab = 60;
    dw_model *other = tiny_model(&x, &d2, NULL, false, 9);
    dw_engine *q;
    assert_int_equal(dw_engine_create(m, &e, &err) | dw_engine_create(other, &q, &err), 0);
    loss(e, &b, 0, &g);
    loss(q, &b, 0, &g);
    dw_divergence v = {.kind = DW_JENSEN_SHANNON, .beta = 0.5, .temperature = 1, .other = q};
    assert_int_equal(dw_engine_divergence(e, b.pair, 1, &v, out, &err), DW_E_INPUT);
    assert_string_equal(err.text,
                        "a divergence needs one vocabulary: this model has 53 tokens, the "
                        "other one (no folder) 60");
    v.other = e;
    v.beta = 1.5;
    assert_int_equal(dw_engine_divergence(e, b.pair, 1, &v, out, &err), DW_E_INPUT);
    assert_string_equal(err.text, "beta of the divergence is 1.5, wanted 0 .. 1");
    v.beta = 0.5;
    v.temperature = 0;
    assert_int_equal(dw_engine_divergence(e, b.pair, 1, &v, out, &err), DW_E_INPUT);
    assert_string_equal(err.text, "temperature of the divergence is 0, wanted above 0");
    v.temperature = 1;
    assert_int_equal(dw_engine_divergence(e, b.pair, ROWS, &v, out, &err), 0);
    for (size_t i = 0; i < ROWS; i++)
        assert_true(out[i] == 0); /* from itself */
    v.other_row = other_row;
    assert_int_equal(dw_engine_divergence(e, b.pair, ROWS, &v, out, &err), 0);
    for (size_t i = 0; i < ROWS; i++)
        assert_true((out[i] > 1e-6) == (other_row[i] != b.pair[i].row));
    dw_engine_destroy(e);
    dw_engine_destroy(q);
    dw_model_free(m);
    dw_model_free(other);
    dw_exec_finish(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_divergence_gradients),
        cmocka_unit_test(test_memory),    cmocka_unit_test(test_two_engines),
        cmocka_unit_test(test_bits),      cmocka_unit_test(test_adds),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
