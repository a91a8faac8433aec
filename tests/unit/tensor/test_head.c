/* The vocabulary head: columns against a scalar reference and the printed example of the reference
 * document, gradients in every mode, and the same bits in every cut. */
#include <string.h>

#include "tensor/head.h"
#include "tensors.h"

enum { EXTRA = 3 }; /* elements between hidden rows that nobody may touch */

typedef struct shape {
    const char *name;
    size_t vocab, d, rows; /* rows: of hidden; pairs skip every fifth */
    double softcap, temperature;
    bool bias;
} shape;

typedef struct problem {
    const shape *s;
    dw_head_spec h;
    dw_panels panels;
    dw_real *w, *bias, *hidden, *d_hidden, *d_w, *d_bias;
    dw_head_pair *pair;
    size_t n_pair, ld;
    double *g[3];      /* d_logp, d_entropy, d_mean_logp */
    double *column[6]; /* of dw_head_out */
    uint8_t *top1;
    dw_head_out out;
    dw_head_mode mode;
} problem;

static const shape shapes[] = {
    {"small", 5, 4, 7, 0, 1, false},
    {"one unit", 384, 20, 30, 0, 0.7, false},
    {"bias and cap", 500, 12, 26, 4, 1.3, true},
    {"two blocks", DW_HEAD_BLOCK + 1, 10, 12, 0, 1, true},
    {"three blocks", 2 * DW_HEAD_BLOCK + 777, 16, 60, 0, 1.6, false},
};
enum { N_SHAPE = sizeof shapes / sizeof shapes[0] };

/* One to three targets for every row but each fifth. */
static void make_pairs(problem *p)
{
    uint64_t seed = 77;
    p->pair = calloc(3 * p->s->rows, sizeof *p->pair);
    assert_non_null(p->pair);
    for (uint32_t r = 0; r < p->s->rows; r++)
        for (size_t n = r % 5 == 4 ? 0 : 1 + r % 3; n > 0; n--) {
            double at = ((double)test_random(&seed) + 1) / 2 * (double)p->s->vocab;
            p->pair[p->n_pair++] = (dw_head_pair){r, (int32_t)at};
        }
    p->pair[0].target = (int32_t)p->s->vocab - 1; /* the last column of all */
}

static problem make(const dw_exec *x, const shape *s)
{
    problem p = {.s = s, .ld = s->d + EXTRA};
    make_pairs(&p);
    p.w = test_array(s->vocab * s->d, 1);
    p.bias = s->bias ? test_array(s->vocab, 2) : NULL;
    p.hidden = test_array(s->rows * p.ld, 3);
    p.d_hidden = test_zeros(s->rows * p.ld);
    p.d_w = test_zeros(s->vocab * s->d);
    p.d_bias = test_zeros(s->vocab);
    p.panels = (dw_panels){.n_out = s->vocab, .k = s->d};
    p.panels.data = aligned_alloc(64, dw_panels_bytes(s->vocab, s->d, DW_PANEL_REAL));
    assert_non_null(p.panels.data);
    p.h = (dw_head_spec){.w = NULL,
                         .bias = p.bias,
                         .vocab = s->vocab,
                         .d = s->d,
                         .softcap = (dw_real)s->softcap,
                         .temperature = s->temperature};
    dw_panels_pack(x, &p.panels, p.w, s->d);
    uint64_t seed = 9;
    for (size_t i = 0; i < 3; i++) {
        p.g[i] = calloc(p.n_pair, sizeof(double));
        assert_non_null(p.g[i]);
        for (size_t k = 0; k < p.n_pair; k++)
            p.g[i][k] = (double)test_random(&seed);
    }
    for (size_t i = 0; i < 6; i++) {
        p.column[i] = calloc(p.n_pair, sizeof(double));
        assert_non_null(p.column[i]);
    }
    p.top1 = calloc(p.n_pair, 1);
    assert_non_null(p.top1);
    p.out = (dw_head_out){p.column[0], p.column[1], p.column[2], p.column[3],
                          p.column[4], p.column[5], p.top1};
    return p;
}

static void drop(problem *p)
{
    free(p->w);
    free(p->bias);
    free(p->hidden);
    free(p->d_hidden);
    free(p->d_w);
    free(p->d_bias);
    free(p->panels.data);
    free(p->pair);
    free(p->top1);
    for (size_t i = 0; i < 3; i++)
        free(p->g[i]);
    for (size_t i = 0; i < 6; i++)
        free(p->column[i]);
}

static void forward(const dw_exec *x, problem *p, dw_head_state *state)
{
    dw_err err;
    dw_head_wants wants = {true, true};
    p->h.w = &p->panels;
    p->panels.rows = p->mode == DW_HEAD_JACOBIAN ? NULL : p->w; /* frozen: packed alone */
    if (dw_head_forward(x, &p->h, p->hidden, p->ld, p->pair, p->n_pair, p->mode, wants, &p->out,
                        state, &err) < 0)
        fail_msg("%s", err.text);
}

static void backward(const dw_exec *x, problem *p, const dw_head_state *state)
{
    bool frozen = p->mode == DW_HEAD_JACOBIAN;
    for (size_t r = 0; r < p->s->rows; r++)
        for (size_t i = 0; i < p->ld; i++)
            p->d_hidden[r * p->ld + i] = 0.25; /* rows without pairs keep it */
    memset(p->d_w, 0, p->s->vocab * p->s->d * sizeof *p->d_w);
    memset(p->d_bias, 0, p->s->vocab * sizeof *p->d_bias);
    dw_head_backward(x, &p->h, p->hidden, p->ld, p->pair, p->n_pair, p->g[0], p->g[1], p->g[2],
                     p->d_hidden, p->ld, frozen ? NULL : p->d_w, frozen ? NULL : p->d_bias, state);
}

/* ---- columns ---- */

/* Expected logp, entropy, mean_logp, collision, mean_logit, top_prob of one pair; whether the
 * target is the argmax, -1 where two logits are too close to say. */
static int reference(const problem *p, size_t pair, double want[6])
{
    const shape *s = p->s;
    double *z = calloc(s->vocab, sizeof *z), max = -INFINITY, sum = 0, mean = 0;
    size_t top = 0, target = (size_t)p->pair[pair].target;
    assert_non_null(z);
    for (size_t j = 0; j < s->vocab; j++) {
        for (size_t i = 0; i < s->d; i++)
            z[j] += (double)p->w[j * s->d + i] * (double)p->hidden[p->pair[pair].row * p->ld + i];
        z[j] += p->bias != NULL ? (double)p->bias[j] : 0;
        if (s->softcap != 0)
            z[j] = s->softcap * tanh(z[j] / s->softcap);
        mean += z[j] / (double)s->vocab;
        top = z[j] > z[top] ? j : top;
    }
    max = z[top] / s->temperature;
    double second = -INFINITY, entropy = 0, square = 0;
    for (size_t j = 0; j < s->vocab; j++) {
        sum += exp(z[j] / s->temperature - max);
        second = j != top ? fmax(second, z[j]) : second;
    }
    double lse = max + log(sum);
    for (size_t j = 0; j < s->vocab; j++) {
        double logp = z[j] / s->temperature - lse;
        entropy -= exp(logp) * logp;
        square += exp(2 * logp);
    }
    want[0] = z[target] / s->temperature - lse;
    want[1] = entropy;
    want[2] = mean / s->temperature - lse;
    want[3] = square;
    want[4] = mean;
    want[5] = exp(max - lse);
    bool close = z[top] - second < 1e-5;
    free(z);
    return close ? -1 : target == top;
}

static void test_columns(void **state)
{
    static const double tolerance[6] = {2, 4, 2, 2, 2, 2};
    for (size_t i = 0; i < N_SHAPE; i++)
        for (const char *const *k = dw_exec_kernel_names(); *k != NULL; k++) {
            dw_exec x = test_exec(2, *k);
            problem p = make(&x, &shapes[i]);
            size_t hits = 0;
            for (; p.mode <= DW_HEAD_JACOBIAN; p.mode++) {
                dw_head_state st = {0};
                forward(&x, &p, &st);
                assert_true(p.mode != DW_HEAD_FORWARD || st.mem_bytes > 0);
                for (size_t n = 0; n < p.n_pair; n++) {
                    double want[6];
                    int top = reference(&p, n, want);
                    for (size_t c = 0; c < 6; c++)
                        if (!(fabs(p.column[c][n] - want[c]) <= tolerance[c] * TEST_REL))
                            fail_msg("%s, kernel %s, mode %d, pair %zu, column %zu: got %.10g, "
                                     "want %.10g",
                                     shapes[i].name, *k, (int)p.mode, n, c, p.column[c][n],
                                     want[c]);
                    assert_true(top < 0 || p.top1[n] == top);
                    hits += p.top1[n];
                }
                dw_head_state_finish(&st);
            }
            assert_true(hits > 0 || p.s->vocab > 100);
            drop(&p);
            dw_exec_finish(&x);
        }
}

/* Table B.5 of the objectives document: logits 1, 0, -1, 0.5 and label 3. */
static void test_example(void **state)
{
    static const shape s = {"example", 4, 4, 1, 0, 1, false};
    static const double want[3] = {-1.24656727, 1.19297912, -1.62156727};
    static const double grad[3][4] = {
        {-0.473990846, -0.174371488, -0.0641476854, 0.712510019},
        {-0.21159513, 0.0965299895, 0.099659084, 0.0154060565},
        {-0.223990846, 0.0756285124, 0.185852315, -0.0374899807},
    };
    dw_exec x = test_exec(1, NULL);
    problem p = make(&x, &s);
    for (size_t i = 0; i < 16; i++)
        p.w[i] = i % 5 == 0;
    dw_panels_pack(&x, &p.panels, p.w, 4);
    static const dw_real logits[4] = {1, 0, -1, DW_RC(0.5)};
    memcpy(p.hidden, logits, sizeof logits);
    assert_int_equal(p.n_pair, 1);
    for (p.mode = DW_HEAD_KEEP; p.mode <= DW_HEAD_JACOBIAN; p.mode++)
        for (size_t c = 0; c < 3; c++) {
            dw_head_state st = {0};
            forward(&x, &p, &st);
            for (size_t k = 0; k < 3; k++)
                p.g[k][0] = k == c;
            backward(&x, &p, &st);
            assert_true(fabs(p.column[c][0] - want[c]) < 3e-7);
            assert_true(fabs(p.column[3][0] - 0.341838153) < 3e-7);
            for (size_t j = 0; j < 4; j++)
                assert_true(fabs((double)p.d_hidden[j] - grad[c][j]) < 3e-7);
            dw_head_state_finish(&st);
        }
    drop(&p);
    dw_exec_finish(&x);
}

/* ---- gradients ---- */

static void run(const dw_exec *x, void *ctx)
{
    dw_head_state st = {0};
    forward(x, ctx, &st);
    backward(x, ctx, &st);
    dw_head_state_finish(&st);
}

static void test_modes_and_threads(void **state)
{
    for (size_t i = 0; i < N_SHAPE; i++) {
        dw_exec x = test_exec(1, "plain");
        problem p = make(&x, &shapes[i]);
        size_t n_hidden = p.s->rows * p.ld, n_w = p.s->vocab * p.s->d;
        p.mode = DW_HEAD_KEEP;
        run(&x, &p);
        dw_real *d_hidden = test_copy(p.d_hidden, n_hidden), *d_w = test_copy(p.d_w, n_w);
        dw_real *d_bias = test_copy(p.d_bias, p.s->vocab);
        for (size_t r = 4; r < p.s->rows; r += 5)
            for (size_t c = 0; c < p.s->d; c++)
                assert_true(d_hidden[r * p.ld + c] == (dw_real)0.25);
        dw_exec_finish(&x);
        for (; p.mode <= DW_HEAD_JACOBIAN; p.mode++) {
            test_everywhere(p.s->name, run, &p, p.d_hidden, n_hidden, 2 * TEST_REL, 4 * TEST_REL);
            assert_true(
                dw_close(p.s->name, p.d_hidden, d_hidden, n_hidden, 2 * TEST_REL, 4 * TEST_REL));
            if (p.mode == DW_HEAD_JACOBIAN)
                continue;
            test_everywhere(p.s->name, run, &p, p.d_w, n_w, 2 * TEST_REL, 4 * TEST_REL);
            assert_true(dw_close(p.s->name, p.d_w, d_w, n_w, 2 * TEST_REL, 4 * TEST_REL));
            assert_true(
                dw_close(p.s->name, p.d_bias, d_bias, p.s->vocab, 2 * TEST_REL, 4 * TEST_REL));
        }
        free(d_hidden);
        free(d_w);
        free(d_bias);
        drop(&p);
    }
}

/* More rows than are held at once give the sums of their halves. */
static void test_chunks(void **state)
{
    static const shape s = {"chunks", 40, 6, 3300, 0, 1.1, true};
    dw_exec x = test_exec(2, NULL);
    problem p = make(&x, &s);
    size_t n = p.n_pair, half = 0, n_w = s.vocab * s.d;
    while (p.pair[half].row < s.rows / 2)
        half++;
    for (p.mode = DW_HEAD_KEEP; p.mode <= DW_HEAD_JACOBIAN; p.mode++) {
        run(&x, &p);
        dw_real *all = test_copy(p.d_hidden, s.rows * p.ld), *all_w = test_copy(p.d_w, n_w);
        p.n_pair = half;
        run(&x, &p);
        assert_true(dw_close("first half", p.d_hidden, all, s.rows / 2 * p.ld, TEST_REL, TEST_REL));
        dw_real *sum = test_copy(p.d_w, n_w);
        p.pair += half;
        for (size_t i = 0; i < 3; i++)
            p.g[i] += half;
        p.n_pair = n - half;
        run(&x, &p);
        size_t from = p.pair[0].row * p.ld;
        assert_true(dw_close("second half", p.d_hidden + from, all + from, s.rows * p.ld - from,
                             TEST_REL, TEST_REL));
        for (size_t i = 0; i < n_w; i++)
            sum[i] += p.d_w[i];
        if (p.mode != DW_HEAD_JACOBIAN)
            assert_true(dw_close("weights", sum, all_w, n_w, 10 * TEST_REL, 100 * TEST_REL));
        p.pair -= half;
        for (size_t i = 0; i < 3; i++)
            p.g[i] -= half;
        p.n_pair = n;
        free(all);
        free(all_w);
        free(sum);
    }
    drop(&p);
    dw_exec_finish(&x);
}

#ifdef DW_DOUBLE
typedef struct loss {
    dw_exec x;
    problem p;
} loss;

static double loss_of(void *ctx)
{
    loss *l = ctx;
    dw_head_mode mode = l->p.mode;
    dw_panels_pack(&l->x, &l->p.panels, l->p.w, l->p.s->d);
    l->p.mode = DW_HEAD_FORWARD;
    forward(&l->x, &l->p, NULL);
    l->p.mode = mode;
    double sum = 0;
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < l->p.n_pair; i++)
            sum += l->p.g[c][i] * l->p.column[c][i];
    return sum;
}

static void test_finite_differences(void **state)
{
    static const shape small[] = {
        {"gradient", 19, 5, 6, 0, 1, true},
        {"gradient, temperature and cap", 23, 4, 7, 1.5, 0.8, true},
        {"gradient, two units", 390, 3, 3, 0, 1.7, false},
    };
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
        loss l = {.x = test_exec(1, "plain")};
        l.p = make(&l.x, &small[i]);
        problem *p = &l.p;
        for (p->mode = DW_HEAD_KEEP; p->mode <= DW_HEAD_JACOBIAN; p->mode++) {
            dw_panels_pack(&l.x, &p->panels, p->w, small[i].d);
            run(&l.x, p);
            for (size_t r = 0; r < small[i].rows; r++)
                for (size_t c = r % 5 == 4 ? 0 : small[i].d; c < p->ld; c++)
                    p->d_hidden[r * p->ld + c] = 0; /* has no influence */
            test_gradient(small[i].name, loss_of, &l, p->hidden, p->d_hidden,
                          small[i].rows * p->ld);
            if (p->mode == DW_HEAD_JACOBIAN)
                continue;
            test_gradient(small[i].name, loss_of, &l, p->w, p->d_w, small[i].vocab * small[i].d);
            if (p->bias != NULL)
                test_gradient(small[i].name, loss_of, &l, p->bias, p->d_bias, small[i].vocab);
        }
        drop(p);
        dw_exec_finish(&l.x);
    }
}
#endif

/* ---- bits ---- */

static bool same(const double *a, const double *b, size_t n)
{
    return memcmp(a, b, n * sizeof *a) == 0;
}

static void bits_of(const dw_exec *x, const shape *s)
{
    problem p = make(x, s);
    double *want[6];
    forward(x, &p, NULL);
    for (size_t c = 0; c < 6; c++) {
        want[c] = p.column[c];
        p.column[c] = calloc(p.n_pair, sizeof(double));
        assert_non_null(p.column[c]);
    }
    /* every mode, every pair alone */
    for (p.mode = DW_HEAD_FORWARD; p.mode <= DW_HEAD_JACOBIAN; p.mode++) {
        dw_head_state st = {0};
        problem one = p;
        for (size_t i = 0; i < p.n_pair; i++) {
            one.pair = p.pair + i;
            one.n_pair = 1;
            one.out =
                (dw_head_out){p.column[0] + i, p.column[1] + i, p.column[2] + i, p.column[3] + i,
                              p.column[4] + i, p.column[5] + i, p.top1 + i};
            forward(x, &one, &st);
        }
        dw_head_state_finish(&st);
        for (size_t c = 0; c < 6; c++)
            assert_true(same(p.column[c], want[c], p.n_pair));
    }
    /* logits of all rows at once and of one row, and what sampling computes from them */
    dw_real *all = test_zeros(s->rows * s->vocab), *row = test_zeros(s->vocab);
    dw_head_logits(x, &p.h, p.hidden, p.ld, s->rows, all);
    for (size_t i = 0; i < p.n_pair; i++) {
        size_t r = p.pair[i].row;
        double lse, entropy;
        dw_head_logits(x, &p.h, p.hidden + r * p.ld, p.ld, 1, row);
        assert_true(dw_same(s->name, row, all + r * s->vocab, s->vocab));
        dw_head_row_stats(&p.h, x, row, &lse, &entropy);
        double logp = dw_head_row_logp(&p.h, row, p.pair[i].target, lse);
        assert_true(same(&entropy, &want[1][i], 1));
        assert_true(same(&logp, &want[0][i], 1));
    }
    for (size_t c = 0; c < 6; c++)
        free(want[c]);
    free(all);
    free(row);
    drop(&p);
}

static void test_bits(void **state)
{
    for (const char *const *k = dw_exec_kernel_names(); *k != NULL; k++) {
        dw_exec x = test_exec(2, *k);
        for (size_t i = 0; i < N_SHAPE; i++)
            bits_of(&x, &shapes[i]);
        dw_exec_finish(&x);
    }
}

/* ---- memory ---- */

static void test_memory(void **state)
{
    dw_exec x = test_exec(1, NULL);
    problem p = make(&x, &shapes[1]);
    dw_head_state st = {0};
    dw_err err;
    size_t rows = 0;
    for (size_t i = 0; i < p.n_pair; i++)
        rows += i == 0 || p.pair[i].row != p.pair[i - 1].row;
    for (p.mode = DW_HEAD_FORWARD; p.mode <= DW_HEAD_JACOBIAN; p.mode++) {
        forward(&x, &p, &st);
        assert_int_equal(st.n_rows, rows);
        assert_int_equal(st.mem_bytes,
                         dw_head_state_bytes(p.mode, rows, p.n_pair, p.s->vocab, p.s->d, true));
        dw_head_state_finish(&st);
    }
    dw_head_spec huge = p.h;
    huge.vocab = (size_t)1 << 50; /* more than any address space; nothing of it is read */
    assert_int_equal(dw_head_forward(&x, &huge, p.hidden, p.ld, p.pair, p.n_pair, DW_HEAD_KEEP,
                                     (dw_head_wants){0}, &p.out, &st, &err),
                     DW_E_LIMIT);
    assert_non_null(strstr(err.text, "vocabulary head"));
    dw_head_state_finish(&st);
    drop(&p);
    dw_exec_finish(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_modes_and_threads),
        cmocka_unit_test(test_chunks),
#ifdef DW_DOUBLE
        cmocka_unit_test(test_finite_differences),
#endif
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
