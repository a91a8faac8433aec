/* The whole model's gradient on doubles: finite differences of every parameter, and shared prompts
 * against the same batch unshared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tiny_model.h"

enum { PROMPT = 7, LEFT = 5, RIGHT = 6, ALONE = 9, ROWS = PROMPT + LEFT + RIGHT + ALONE };

/* A prompt with two answers, and a sequence of its own. */
static const dw_segment forest_seg[] = {{0, PROMPT, -1, 0},
                                        {PROMPT, LEFT, 0, PROMPT},
                                        {PROMPT + LEFT, RIGHT, 0, PROMPT},
                                        {PROMPT + LEFT + RIGHT, ALONE, -1, 0}};

typedef struct batch {
    int32_t id[ROWS];
    dw_head_pair pair[ROWS];
    size_t n_pair;
    double d_logp[ROWS], d_entropy[ROWS], d_mean[ROWS];
} batch;

static void pairs_of(batch *b)
{
    b->n_pair = 0;
    for (uint32_t r = 0; r < PROMPT + LEFT + RIGHT; r++) {
        if (r == PROMPT - 1) { /* one row, the first token of each answer */
            b->pair[b->n_pair++] = (dw_head_pair){r, b->id[PROMPT]};
            b->pair[b->n_pair++] = (dw_head_pair){r, b->id[PROMPT + LEFT]};
        } else if (r >= PROMPT && r != PROMPT + LEFT - 1 && r != PROMPT + LEFT + RIGHT - 1) {
            b->pair[b->n_pair++] = (dw_head_pair){r, b->id[r + 1]};
        }
    }
    for (uint32_t r = PROMPT + LEFT + RIGHT; r + 1 < ROWS; r++)
        b->pair[b->n_pair++] = (dw_head_pair){r, b->id[r + 1]};
    for (size_t i = 0; i < b->n_pair; i++) {
        b->d_logp[i] = dw_random_normal(3, DW_RNG_TEST, 0, i);
        b->d_entropy[i] = dw_random_normal(3, DW_RNG_TEST, 1, i);
        b->d_mean[i] = dw_random_normal(3, DW_RNG_TEST, 2, i);
    }
}

static double loss(dw_engine *e, const batch *b, unsigned flags)
{
    double logp[ROWS], entropy[ROWS], mean[ROWS], sum = 0;
    const dw_forest f = {b->id, ROWS, forest_seg, 4};
    dw_err err = {{0}};
    assert_int_equal(dw_engine_forward(e, &f, flags, &err), 0);
    dw_head_out out = {.logp = logp, .entropy = entropy, .mean_logp = mean};
    assert_int_equal(dw_engine_head(e, b->pair, b->n_pair, 0.8,
                                    (dw_head_wants){.entropy_grad = true, .mean_logp_grad = true},
                                    &out, &err),
                     0);
    for (size_t i = 0; i < b->n_pair; i++)
        sum += b->d_logp[i] * logp[i] + b->d_entropy[i] * entropy[i] + b->d_mean[i] * mean[i];
    return sum;
}

/* Directional derivatives of every parameter tensor, along two random directions. */
static void check_differences(dw_model *m, const char *name)
{
    dw_engine *e;
    dw_err err = {{0}};
    batch b;
    tiny_ids(b.id, ROWS, m->desc.vocab, 11);
    b.id[3] = b.id[1]; /* a token that occurs twice */
    pairs_of(&b);
    assert_int_equal(dw_engine_create(m, &e, &err), 0);
    for (size_t keep = 0; keep < 2; keep++) {
        dw_engine_keep_bytes(e, keep ? 0 : 1 << 20);
        dw_params *t = dw_model_trained(m);
        memset(t->g, 0, t->n * sizeof *t->g);
        loss(e, &b, DW_PASS_SAVE);
        assert_int_equal(
            dw_engine_backward(
                e,
                &(dw_engine_grads){.logp = b.d_logp, .entropy = b.d_entropy, .mean_logp = b.d_mean},
                &err),
            0);
        for (size_t w = 0; w < t->n_weight; w++) {
            const dw_weight *p = &t->weight[w];
            const size_t n = (size_t)p->rows * p->cols;
            dw_real *at = t->w + p->offset, *old = dw_alloc(n * sizeof *old);
            memcpy(old, at, n * sizeof *old);
            for (uint64_t dir = 0; dir < 2; dir++) {
                double side[4], along = 0, scale = 0;
                for (size_t i = 0; i < n; i++) {
                    const double v = dw_random_normal(dir + 5, DW_RNG_TEST, w, i);
                    along += v * t->g[p->offset + i];
                    scale += t->g[p->offset + i] * t->g[p->offset + i];
                }
                static const double step[4] = {-2e-5, -1e-5, 1e-5, 2e-5};
                for (int s = 0; s < 4; s++) {
                    for (size_t i = 0; i < n; i++)
                        at[i] = old[i] + step[s] * dw_random_normal(dir + 5, DW_RNG_TEST, w, i);
                    dw_model_changed(m);
                    side[s] = loss(e, &b, 0);
                }
                memcpy(at, old, n * sizeof *old);
                dw_model_changed(m);
                const double numeric = (8 * (side[2] - side[1]) - (side[3] - side[0])) / 12e-5;
                if (!(fabs(numeric - along) <= 1e-7 * (1 + sqrt(scale))))
                    fail_msg("%s: %s: gradient %.12g, differences %.12g", name, p->name, along,
                             numeric);
                if (n > 8 && scale == 0 && strcmp(p->name, "positions") != 0)
                    fail_msg("%s: %s has no gradient at all", name, p->name);
            }
            dw_free(old);
        }
    }
    dw_engine_destroy(e);
}

static void test_full(void **state)
{
    (void)state;
    dw_exec x;
    dw_err err = {{0}};
    assert_int_equal(dw_exec_init(&x, 2, "plain", &err), 0);
    for (tiny_kind k = 0; k < TINY_KINDS; k++) {
        const dw_description d = tiny_description(k);
        dw_model *m = tiny_model(&x, &d, NULL, true, 20 + k);
        check_differences(m, tiny_name(k));
        dw_model_free(m);
    }
    dw_exec_finish(&x);
}

static void test_adapter(void **state)
{
    (void)state;
    dw_exec x;
    dw_err err = {{0}};
    assert_int_equal(dw_exec_init(&x, 2, "plain", &err), 0);
    static const struct {
        tiny_kind kind;
        uint32_t targets;
    } rows[] = {{TINY_LLAMA, DW_LORA_ALL},
                {TINY_LLAMA, DW_LORA_Q | DW_LORA_V},
                {TINY_BIAS, DW_LORA_K | DW_LORA_UP | DW_LORA_DOWN},
                {TINY_GPT2, DW_LORA_QKV | DW_LORA_O | DW_LORA_UP},
                {TINY_LOCAL, DW_LORA_ALL},
                {TINY_FUSED, DW_LORA_ALL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const dw_lora_spec lora = {
            .rank = 3, .alpha = 5, .rslora = i == 1, .targets = rows[i].targets};
        const dw_description d = tiny_description(rows[i].kind);
        dw_model *m = tiny_model(&x, &d, &lora, true, 40 + i);
        check_differences(m, "adapter");
        dw_model_free(m);
    }
    dw_exec_finish(&x);
}

/* The gradient of the forest equals that of the same sequences without a shared prompt. */
static void test_shared_equals_unshared(void **state)
{
    (void)state;
    dw_exec x;
    dw_err err = {{0}};
    assert_int_equal(dw_exec_init(&x, 2, "plain", &err), 0);
    for (tiny_kind k = 0; k < TINY_KINDS; k++) {
        const dw_description d = tiny_description(k);
        dw_model *m = tiny_model(&x, &d, NULL, true, 60 + k);
        dw_params *t = dw_model_trained(m);
        dw_engine *e;
        assert_int_equal(dw_engine_create(m, &e, &err), 0);
        batch b;
        tiny_ids(b.id, ROWS, d.vocab, 12);
        pairs_of(&b);
        memset(t->g, 0, t->n * sizeof *t->g);
        loss(e, &b, DW_PASS_SAVE);
        assert_int_equal(
            dw_engine_backward(
                e,
                &(dw_engine_grads){.logp = b.d_logp, .entropy = b.d_entropy, .mean_logp = b.d_mean},
                &err),
            0);
        double *shared = dw_alloc(t->n * sizeof *shared);
        for (size_t i = 0; i < t->n; i++)
            shared[i] = (double)t->g[i];
        /* left, right, alone; pair i of the forest is pair where[i] here */
        enum { A = PROMPT + LEFT, B = PROMPT + RIGHT, N = A + B + ALONE };
        int32_t id[N];
        memcpy(id, b.id, A * sizeof *id);
        memcpy(id + A, b.id, PROMPT * sizeof *id);
        memcpy(id + A + PROMPT, b.id + A, (RIGHT + ALONE) * sizeof *id);
        const dw_segment seg[] = {{0, A, -1, 0}, {A, B, -1, 0}, {A + B, ALONE, -1, 0}};
        dw_head_pair pair[ROWS];
        double dl[ROWS], de[ROWS], dm[ROWS];
        size_t n = 0, from[ROWS];
        for (size_t i = 0; i < b.n_pair; i++) /* left first */
            if (i != 1 && b.pair[i].row < A)
                from[n++] = i;
        from[n++] = 1;
        for (size_t i = 0; i < b.n_pair; i++)
            if (b.pair[i].row >= A)
                from[n++] = i;
        assert_int_equal(n, b.n_pair);
        for (size_t i = 0; i < n; i++) {
            const dw_head_pair p = b.pair[from[i]];
            pair[i] = p;
            if (from[i] == 1 || p.row >= A)
                pair[i].row += from[i] == 1 ? A : PROMPT;
            dl[i] = b.d_logp[from[i]];
            de[i] = b.d_entropy[from[i]];
            dm[i] = b.d_mean[from[i]];
        }
        memset(t->g, 0, t->n * sizeof *t->g);
        const dw_forest f = {id, N, seg, 3};
        double logp[ROWS];
        dw_head_out out = {.logp = logp};
        assert_int_equal(dw_engine_forward(e, &f, DW_PASS_SAVE, &err), 0);
        assert_int_equal(dw_engine_head(e, pair, n, 0.8, (dw_head_wants){true, true}, &out, &err),
                         0);
        assert_int_equal(
            dw_engine_backward(e, &(dw_engine_grads){.logp = dl, .entropy = de, .mean_logp = dm},
                               &err),
            0);
        double diff = 0, norm = 0;
        for (size_t i = 0; i < t->n; i++) {
            diff += (shared[i] - (double)t->g[i]) * (shared[i] - (double)t->g[i]);
            norm += (double)t->g[i] * (double)t->g[i];
        }
        assert_true(norm > 0);
        if (!(sqrt(diff / norm) < 1e-12))
            fail_msg("%s: shared and unshared gradients differ by %g", tiny_name(k),
                     sqrt(diff / norm));
        dw_free(shared);
        dw_engine_destroy(e);
        dw_model_free(m);
    }
    dw_exec_finish(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_adapter),
        cmocka_unit_test(test_shared_equals_unshared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
