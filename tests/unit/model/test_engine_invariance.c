/* What may not change a bit: neighbours, shared prompts, the cache, threads. And what may change
 * only the last bits: micro-batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/generate_internal.h"
#include "tiny_model.h"

enum { PROMPT = 90, LEFT = 41, RIGHT = 70, OTHER = 33 };

typedef struct fixture {
    dw_exec x1, x2;
    int32_t prompt[PROMPT], left[LEFT], right[RIGHT], other[OTHER];
} fixture;

static int setup(void **state)
{
    static fixture f;
    dw_err err = {{0}};
    if (dw_exec_init(&f.x1, 1, NULL, &err) < 0 || dw_exec_init(&f.x2, 2, NULL, &err) < 0)
        return -1;
    tiny_ids(f.prompt, PROMPT, 53, 1);
    tiny_ids(f.left, LEFT, 53, 2);
    tiny_ids(f.right, RIGHT, 53, 3);
    tiny_ids(f.other, OTHER, 53, 4);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    dw_exec_finish(&f->x1);
    dw_exec_finish(&f->x2);
    return 0;
}

static const dw_lora_spec lora = {.rank = 4, .alpha = 8, .targets = DW_LORA_ALL};

/* logp of every answer token below its prompt; entropies too. */
typedef struct scored {
    double left[LEFT], right[RIGHT], left_entropy[LEFT];
} scored;

static void run(dw_engine *e, const int32_t *id, size_t n, const dw_segment *seg, size_t n_seg,
                unsigned flags)
{
    const dw_forest f = {id, n, seg, n_seg};
    dw_err err = {{0}};
    if (dw_engine_forward(e, &f, flags, &err) < 0)
        fail_msg("%s", err.text);
}

static void head(dw_engine *e, const dw_head_pair *pair, size_t n, double *logp, double *entropy)
{
    dw_head_out out = {.logp = logp, .entropy = entropy};
    dw_err err = {{0}};
    if (dw_engine_head(e, pair, n, 0.7, (dw_head_wants){.entropy_grad = true}, &out, &err) < 0)
        fail_msg("%s", err.text);
}

static void score_alone(dw_model *m, const fixture *f, unsigned flags, scored *s)
{
    dw_engine *e;
    dw_err err = {{0}};
    int32_t id[PROMPT + RIGHT];
    dw_head_pair pair[RIGHT];
    assert_int_equal(dw_engine_create(m, &e, &err), 0);
    for (int side = 0; side < 2; side++) {
        const int32_t *answer = side ? f->right : f->left;
        const uint32_t n = side ? RIGHT : LEFT;
        memcpy(id, f->prompt, sizeof f->prompt);
        memcpy(id + PROMPT, answer, n * sizeof *id);
        const dw_segment seg = {0, PROMPT + n, -1, 0};
        run(e, id, PROMPT + n, &seg, 1, flags);
        for (uint32_t i = 0; i < n; i++)
            pair[i] = (dw_head_pair){PROMPT - 1 + i, answer[i]};
        head(e, pair, n, side ? s->right : s->left, side ? NULL : s->left_entropy);
    }
    dw_engine_destroy(e);
}

/* All in one batch, the prompt shared, another sequence in front. */
static void score_shared(dw_model *m, const fixture *f, unsigned flags, scored *s)
{
    enum { N = OTHER + PROMPT + LEFT + RIGHT, P = OTHER, L = P + PROMPT, R = L + LEFT };
    dw_engine *e;
    dw_err err = {{0}};
    int32_t id[N];
    dw_head_pair pair[LEFT + RIGHT];
    double logp[LEFT + RIGHT], entropy[LEFT + RIGHT];
    assert_int_equal(dw_engine_create(m, &e, &err), 0);
    memcpy(id, f->other, sizeof f->other);
    memcpy(id + P, f->prompt, sizeof f->prompt);
    memcpy(id + L, f->left, sizeof f->left);
    memcpy(id + R, f->right, sizeof f->right);
    const dw_segment seg[] = {
        {0, OTHER, -1, 0}, {P, PROMPT, -1, 0}, {L, LEFT, 1, PROMPT}, {R, RIGHT, 1, PROMPT}};
    run(e, id, N, seg, 4, flags);
    pair[0] = (dw_head_pair){L - 1, f->left[0]};
    pair[1] = (dw_head_pair){L - 1, f->right[0]};
    for (uint32_t i = 1; i < LEFT; i++)
        pair[1 + i] = (dw_head_pair){L + i - 1, f->left[i]};
    for (uint32_t i = 1; i < RIGHT; i++)
        pair[LEFT + i] = (dw_head_pair){R + i - 1, f->right[i]};
    head(e, pair, LEFT + RIGHT, logp, entropy);
    s->left[0] = logp[0];
    s->left_entropy[0] = entropy[0];
    s->right[0] = logp[1];
    memcpy(s->left + 1, logp + 2, (LEFT - 1) * sizeof *logp);
    memcpy(s->left_entropy + 1, entropy + 2, (LEFT - 1) * sizeof *logp);
    memcpy(s->right + 1, logp + LEFT + 1, (RIGHT - 1) * sizeof *logp);
    dw_engine_destroy(e);
}

/* Token by token through the cache: the prompt as one sequence, then both answers side by side. */
static void score_cached(dw_model *m, const fixture *f, scored *s)
{
    dw_kv kv;
    dw_decoder dec;
    dw_err err = {{0}};
    dw_real *page[2][4], *logits = dw_alloc(m->desc.vocab * sizeof *logits);
    const dw_head_spec h = dw_head_of(m, 0.7);
    dw_kv_init(&kv, m);
    assert_int_equal(dw_decoder_init(&dec, m, 2, true, &err), 0);
    for (int i = 0; i < 8; i++)
        assert_non_null(page[i / 4][i % 4] = dw_kv_take(&kv, &err));
    for (uint32_t pos = 0; pos + 1 < PROMPT + RIGHT; pos++) {
        dw_decode_row row[2];
        size_t n = 0;
        for (int side = 0; side < 2; side++) {
            const int32_t *answer = side ? f->right : f->left;
            const uint32_t len = side ? RIGHT : LEFT;
            if (pos + 1 < PROMPT + len)
                row[n++] = (dw_decode_row){pos < PROMPT ? f->prompt[pos] : answer[pos - PROMPT],
                                           pos, page[side]};
        }
        const dw_real *hidden = dw_decoder_step(&dec, &kv, row, n);
        if (pos + 1 < PROMPT)
            continue;
        for (size_t i = 0; i < n; i++) {
            const bool right = n == 1 || i;
            const uint32_t at = pos + 1 - PROMPT;
            double lse, entropy;
            dw_head_logits(m->x, &h, hidden + i * m->desc.d, m->desc.d, 1, logits);
            dw_head_row_stats(&h, m->x, logits, &lse, &entropy);
            const int32_t token = right ? f->right[at] : f->left[at];
            (right ? s->right : s->left)[at] = dw_head_row_logp(&h, logits, token, lse);
            if (!right)
                s->left_entropy[at] = entropy;
        }
    }
    dw_decoder_finish(&dec);
    dw_kv_finish(&kv);
    dw_free(logits);
}

static void same(const scored *a, const scored *b, const char *kind, const char *how)
{
    if (memcmp(a, b, sizeof *a) == 0)
        return;
    double worst = 0;
    for (int i = 0; i < LEFT; i++)
        worst = fmax(worst, fabs(a->left[i] - b->left[i]));
    for (int i = 0; i < RIGHT; i++)
        worst = fmax(worst, fabs(a->right[i] - b->right[i]));
    fail_msg("%s: %s gives other bits, log-probabilities differ by up to %g", kind, how, worst);
}

static void test_same_bits(void **state)
{
    const fixture *f = *state;
    for (int k = 0; k <= TINY_KINDS; k++) {
        const bool adapted = k == TINY_KINDS;
        const dw_description d = tiny_description(adapted ? TINY_LLAMA : (tiny_kind)k);
        const char *name = adapted ? "adapter" : d.family;
        dw_model *m1 = tiny_model(&f->x1, &d, adapted ? &lora : NULL, true, 5);
        dw_model *m2 = tiny_model(&f->x2, &d, adapted ? &lora : NULL, true, 5);
        scored alone, other;
        memset(&alone, 0, sizeof alone);
        memset(&other, 0, sizeof other);
        score_alone(m1, f, 0, &alone);
        assert_true(alone.left[0] < 0 && alone.left_entropy[3] > 0);
        score_alone(m2, f, 0, &other);
        same(&alone, &other, name, "a second thread");
        score_alone(m2, f, DW_PASS_SAVE, &other);
        same(&alone, &other, name, "the training forward");
        score_shared(m1, f, 0, &other);
        same(&alone, &other, name, "a shared prompt in a batch");
        score_shared(m2, f, DW_PASS_SAVE, &other);
        same(&alone, &other, name, "a shared prompt, saved, two threads");
        score_cached(m2, f, &other);
        same(&alone, &other, name, "the cache");
        dw_model_free(m1);
        dw_model_free(m2);
    }
}

/* Without its adapter a model is its base, to the bit. */
static void test_reference(void **state)
{
    const fixture *f = *state;
    const dw_description d = tiny_description(TINY_LLAMA);
    dw_model *base = tiny_model(&f->x2, &d, NULL, false, 5);
    dw_model *m = tiny_model(&f->x2, &d, &lora, true, 5);
    scored a, b, c;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    memset(&c, 0, sizeof c);
    score_alone(base, f, 0, &a);
    score_shared(m, f, DW_PASS_NO_ADAPTER, &b);
    same(&a, &b, "llama", "the adapter switched off");
    score_alone(m, f, 0, &c);
    assert_memory_not_equal(&a, &c, sizeof a);
    dw_model_free(base);
    dw_model_free(m);
}

enum { SEQS = 6, LEN = 40 };

/* Gradient of six sequences, in micro-batches of `at_once`. */
static void gradient(dw_model *m, size_t at_once, dw_real *g)
{
    dw_engine *e;
    dw_err err = {{0}};
    dw_params *t = dw_model_trained(m);
    int32_t id[SEQS * LEN];
    tiny_ids(id, SEQS * LEN, m->desc.vocab, 9);
    memset(t->g, 0, t->n * sizeof *t->g);
    assert_int_equal(dw_engine_create(m, &e, &err), 0);
    for (size_t s = 0; s < SEQS; s += at_once) {
        dw_segment seg[SEQS];
        dw_head_pair pair[SEQS * LEN];
        double logp[SEQS * LEN], entropy[SEQS * LEN], dl[SEQS * LEN], de[SEQS * LEN];
        size_t n = 0;
        for (uint32_t i = 0; i < at_once; i++) {
            seg[i] = (dw_segment){i * LEN, LEN, -1, 0};
            for (uint32_t k = 0; k + 1 < LEN; k++, n++) {
                pair[n] = (dw_head_pair){i * LEN + k, id[(s + i) * LEN + k + 1]};
                dl[n] = -1.0 / (SEQS * (LEN - 1));
                de[n] = 0.01 * dl[n];
            }
        }
        run(e, id + s * LEN, at_once * LEN, seg, at_once, DW_PASS_SAVE);
        head(e, pair, n, logp, entropy);
        assert_int_equal(dw_engine_backward(e, &(dw_engine_grads){.logp = dl, .entropy = de}, &err),
                         0);
    }
    memcpy(g, t->g, t->n * sizeof *g);
    dw_engine_destroy(e);
}

static void test_gradients(void **state)
{
    const fixture *f = *state;
    for (int k = 0; k <= TINY_KINDS; k++) {
        const bool adapted = k == TINY_KINDS;
        const dw_description d = tiny_description(adapted ? TINY_LLAMA : (tiny_kind)k);
        dw_model *m1 = tiny_model(&f->x1, &d, adapted ? &lora : NULL, true, 5);
        dw_model *m2 = tiny_model(&f->x2, &d, adapted ? &lora : NULL, true, 5);
        const dw_params *t = dw_model_trained(m1);
        dw_real *a = dw_alloc(t->n * sizeof *a), *b = dw_alloc(t->n * sizeof *b);
        gradient(m1, SEQS, a);
        gradient(m2, SEQS, b);
        if (memcmp(a, b, t->n * sizeof *a) != 0)
            fail_msg("%s: two threads give other gradient bits", d.family);
        for (size_t at_once = 1; at_once < SEQS; at_once *= 3) { /* 1, 3 */
            gradient(m2, at_once, b);
            for (size_t w = 0; w < t->n_weight; w++) {
                double diff = 0, norm = 0;
                const dw_weight *p = &t->weight[w];
                for (size_t i = p->offset; i < p->offset + (size_t)p->rows * p->cols; i++) {
                    diff += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
                    norm += (double)a[i] * (double)a[i];
                }
                if (!(sqrt(diff) <= 1e-5 * sqrt(norm) + 1e-9))
                    fail_msg("%s: %s: micro-batches of %zu change the gradient by %g of %g",
                             d.family, p->name, at_once, sqrt(diff), sqrt(norm));
            }
        }
        dw_free(a);
        dw_free(b);
        dw_model_free(m1);
        dw_model_free(m2);
    }
}

/* The plan of a batch against what the engine maps for it. */
static void test_memory(void **state)
{
    const fixture *f = *state;
    for (int k = 0; k <= TINY_KINDS; k++) {
        const bool adapted = k == TINY_KINDS;
        dw_description d = tiny_description(adapted ? TINY_LLAMA : (tiny_kind)k);
        d.d = 96;
        d.ffn = 200;
        dw_model *m = tiny_model(&f->x2, &d, adapted ? &lora : NULL, true, 5);
        for (uint32_t len = 64; len <= 256; len *= 2) {
            enum { ROWS = 1024 };
            dw_engine *e;
            dw_err err = {{0}};
            int32_t id[ROWS];
            dw_segment seg[ROWS / 64];
            dw_head_pair pair[ROWS];
            double logp[ROWS], entropy[ROWS];
            tiny_ids(id, ROWS, d.vocab, 3);
            for (uint32_t i = 0; i < ROWS / len; i++)
                seg[i] = (dw_segment){i * len, len, -1, 0};
            for (uint32_t i = 0; i < ROWS; i++)
                pair[i] = (dw_head_pair){i, id[i]};
            assert_int_equal(dw_engine_create(m, &e, &err), 0);
            run(e, id, ROWS, seg, ROWS / len, DW_PASS_SAVE);
            head(e, pair, ROWS, logp, entropy);
            const double is = (double)(e->mem_bytes + e->attn_bytes + e->head.mem_bytes);
            const dw_engine_need need = {.rows = ROWS,
                                         .sum_len_sq = (size_t)ROWS * len,
                                         .head_rows = ROWS,
                                         .head_pairs = ROWS,
                                         .save = true,
                                         .entropy_grad = true};
            const double planned = (double)dw_engine_bytes(m, &need);
            if (!(fabs(is - planned) <= 0.1 * is))
                fail_msg("%s: %u tokens a sequence: planned %g bytes, mapped %g", d.family, len,
                         planned, is);
            dw_engine_destroy(e);
        }
        dw_model_free(m);
    }
}

static void test_refusals(void **state)
{
    const fixture *f = *state;
    const dw_description d = tiny_description(TINY_LLAMA);
    dw_model *m = tiny_model(&f->x2, &d, NULL, false, 5);
    dw_engine *e;
    dw_err err = {{0}};
    int32_t id[600] = {0};
    const dw_segment seg = {0, 3, -1, 0}, longer = {0, 600, -1, 0};
    assert_int_equal(dw_engine_create(m, &e, &err), 0);
    id[1] = 53;
    assert_int_equal(dw_engine_forward(e, &(dw_forest){id, 3, &seg, 1}, 0, &err), DW_E_INPUT);
    assert_string_equal(err.text, "token id 53 is outside of the model's vocabulary of 53");
    id[1] = -1;
    assert_int_equal(dw_engine_forward(e, &(dw_forest){id, 3, &seg, 1}, 0, &err), DW_E_INPUT);
    assert_string_equal(err.text, "token id -1 is outside of the model's vocabulary of 53");
    id[1] = 0;
    assert_int_equal(dw_engine_forward(e, &(dw_forest){id, 600, &longer, 1}, 0, &err), DW_E_INPUT);
    assert_string_equal(err.text, "a sequence has 600 tokens, the model has positions for 512");
    assert_int_equal(dw_engine_fits(1 << 20, true, (size_t)1 << 50, &err), DW_E_LIMIT);
    assert_non_null(strstr(err.text, "1048576 rows need 1125899.91 GB for activations"));
    dw_engine_destroy(e);
    dw_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits), cmocka_unit_test(test_reference),
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
