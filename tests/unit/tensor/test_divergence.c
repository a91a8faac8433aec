/* Divergences: the printed examples of the reference document, finite differences, bounds,
 * extremes, and the two heads' passes against rows done by hand. */
#include <string.h>

#include "tensor/divergence.h"
#include "tensors.h"

/* The logits and the teacher of the printed examples. */
static const dw_real z4[4] = {1, 0, -1, DW_RC(0.5)};
static const dw_real y4[4] = {DW_RC(0.2), DW_RC(0.4), DW_RC(-0.3), 1};

#ifdef DW_DOUBLE
static const double near = 6e-10;
#else
static const double near = 5e-8;
#endif

static void test_printed(void **state)
{
    static const struct {
        const char *name;
        dw_divergence_spec s;
        double value, dz[4];
    } rows[] = {
        {"KL(q|p)",
         {DW_FORWARD_KL, 0, 1, 0, false},
         0.169077451,
         {0.276107186, -0.0673241606, -0.0558748215, -0.152908204}},
        {"KL(p|q)",
         {DW_REVERSE_KL, 0, 1, 0, false},
         0.194304439,
         {0.321936615, -0.090811923, -0.0526521451, -0.178472547}},
        {"JSD 0.5",
         {DW_JENSEN_SHANNON, 0.5, 1, 0, false},
         0.0443558555,
         {0.071773833, -0.019000043, -0.0129238241, -0.0398499659}},
        {"JSD 0.5, renormalised",
         {DW_JENSEN_SHANNON, 0.5, 1, 2, false},
         0.04988209834,
         {0.0746414128, 0, 0, -0.0746414128}},
        {"JSD 0.5, tail",
         {DW_JENSEN_SHANNON, 0.5, 1, 2, true},
         0.0436817605,
         {0.0719693614, -0.0235678588, -0.00867013073, -0.0397313719}},
        {"KL(p|q), renormalised",
         {DW_REVERSE_KL, 0, 1, 2, false},
         0.2062208123,
         {0.305504826, 0, 0, -0.305504826}},
        {"KL(p|q), tail",
         {DW_REVERSE_KL, 0, 1, 2, true},
         0.1921000601,
         {0.322981471, -0.106107787, -0.0390348733, -0.17783881}},
        {"JSD 0.01",
         {DW_JENSEN_SHANNON, 0.01, 1, 0, false},
         0.001674933395,
         {0.00273402022, -0.000667960403, -0.000551771523, -0.0015142883}},
        /* the ends of the interior formula would be 0 (T30) */
        {"JSD 0",
         {DW_JENSEN_SHANNON, 0, 1, 0, false},
         0.169077451,
         {0.276107186, -0.0673241606, -0.0558748215, -0.152908204}},
        {"JSD 1",
         {DW_JENSEN_SHANNON, 1, 1, 0, false},
         0.194304439,
         {0.321936615, -0.090811923, -0.0526521451, -0.178472547}},
        /* as many as there are is all of them */
        {"KL(p|q) of four",
         {DW_REVERSE_KL, 0, 1, 4, false},
         0.194304439,
         {0.321936615, -0.090811923, -0.0526521451, -0.178472547}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t list[4];
        dw_real dz[4];
        double d = dw_divergence_row(&rows[i].s, z4, y4, 4, list, 0, 1, dz);
        if (!(fabs(d - rows[i].value) <= near))
            fail_msg("%s: %.12g, wanted %.12g", rows[i].name, d, rows[i].value);
        for (int v = 0; v < 4; v++)
            if (!(fabs((double)dz[v] - rows[i].dz[v]) <= near))
                fail_msg("%s: dz[%d] %.12g, wanted %.12g", rows[i].name, v, (double)dz[v],
                         rows[i].dz[v]);
    }
}

/* ---- every kind ---- */

static const dw_divergence_spec specs[] = {
    {DW_FORWARD_KL, 0, 0.7, 0, false},       {DW_REVERSE_KL, 0, 1.4, 0, false},
    {DW_JENSEN_SHANNON, 0.3, 0.7, 0, false}, {DW_FORWARD_KL, 0, 0.7, 5, true},
    {DW_REVERSE_KL, 0, 1.4, 5, true},        {DW_JENSEN_SHANNON, 0.3, 0.7, 5, true},
    {DW_FORWARD_KL, 0, 0.7, 5, false},       {DW_REVERSE_KL, 0, 1.4, 5, false},
    {DW_JENSEN_SHANNON, 0.3, 0.7, 5, false}, {DW_JENSEN_SHANNON, 0.9, 1, 1, true},
};
enum { N_SPEC = sizeof specs / sizeof *specs };

/* The tail never has more than the whole; what is renormalised to one token is nothing; a
 * divergence from oneself is 0 and flat. */
static void test_bounds(void **state)
{
    enum { V = 40 };
    for (uint64_t seed = 1; seed < 30; seed++) {
        dw_real *z = test_array(V, seed), *y = test_array(V, seed + 100), dz[V];
        uint32_t list[V];
        for (size_t v = 0; v < V; v++) {
            z[v] *= 4;
            y[v] *= 4;
        }
        for (size_t i = 0; i < N_SPEC; i++) {
            dw_divergence_spec s = specs[i];
            s.top_k = 0;
            double full = dw_divergence_row(&s, z, y, V, list, 0, 1, NULL);
            s.top_k = 1 + (uint32_t)(seed % 20);
            s.tail = true;
            double tail = dw_divergence_row(&s, z, y, V, list, 0, 1, NULL);
            assert_true(full > 0 && tail >= 0 && tail <= full * (1 + 1e-12));
            s.tail = false;
            assert_true(dw_divergence_row(&s, z, y, V, list, 0, 1, NULL) >= -1e-15);
            s.top_k = 1;
            assert_true(dw_divergence_row(&s, z, y, V, list, 0, 1, dz) == 0);
            s.top_k = 3;
            s.tail = seed % 2;
            assert_true(fabs(dw_divergence_row(&s, z, z, V, list, 0, 1, dz)) < 1e-14);
            for (size_t v = 0; v < V; v++)
                assert_true(fabs((double)dz[v]) < 1e-7);
        }
        free(z);
        free(y);
    }
}

/* The k likeliest, of equal ones the first. */
static void test_ties(void **state)
{
    static const dw_real z[8] = {1, 3, 2, 3, 2, 0, 2, 2};
    static const dw_real y[8] = {0};
    const dw_divergence_spec s = {DW_REVERSE_KL, 0, 1, 4, false};
    uint32_t list[4];
    dw_real dz[8];
    dw_divergence_row(&s, z, y, 8, list, 0, 1, dz);
    static const uint32_t want[4] = {1, 2, 3, 4};
    assert_memory_equal(list, want, sizeof want);
    for (int v = 0; v < 8; v++)
        assert_true((dz[v] != 0) == (v >= 1 && v <= 4));
}

/* Distributions that have nothing in common: numbers, not NaN. */
static void test_extremes(void **state)
{
    enum { V = 12 };
    dw_real z[V] = {900, -900, 0, 3}, y[V] = {-900, 900, 0, 3}, dz[V];
    uint32_t list[V];
    for (size_t i = 0; i < N_SPEC; i++) {
        double d = dw_divergence_row(&specs[i], z, y, V, list, 0, 1, dz);
        assert_true(isfinite(d) && d >= 0);
        for (int v = 0; v < V; v++)
            assert_true(isfinite((double)dz[v]));
        if (specs[i].kind == DW_JENSEN_SHANNON && !specs[i].top_k) {
            double b = specs[i].beta, most = -b * log(b) - (1 - b) * log(1 - b);
            assert_true(fabs(d - most) < 1e-6);
        }
    }
}

#ifdef DW_DOUBLE
static void test_differences(void **state)
{
    enum { V = 30 };
    const double cap = 3;
    dw_real *raw = test_array(V, 5), *y = test_array(V, 6);
    for (size_t i = 0; i < N_SPEC; i++)
        for (int capped = 0; capped < 2; capped++) {
            dw_real z[V], dz[V];
            uint32_t list[V];
            for (int v = 0; v < V; v++)
                z[v] = capped ? cap * tanh(4 * raw[v] / cap) : 4 * raw[v];
            dw_divergence_row(&specs[i], z, y, V, list, capped ? cap : 0, -1.5, dz);
            for (int v = 0; v < V; v++) {
                double side[2];
                for (int s = 0; s < 2; s++) {
                    double at = 4 * raw[v] + (s ? 1e-6 : -1e-6), old = z[v];
                    z[v] = capped ? cap * tanh(at / cap) : at;
                    side[s] = dw_divergence_row(&specs[i], z, y, V, list, 0, 1, NULL);
                    z[v] = old;
                }
                double want = -1.5 * (side[1] - side[0]) / 2e-6;
                if (!(fabs(want - dz[v]) < 1e-8))
                    fail_msg("spec %zu, token %d: %.12g, differences %.12g", i, v, dz[v], want);
            }
            /* in place */
            dw_divergence_row(&specs[i], z, y, V, list, capped ? cap : 0, -1.5, z);
            assert_memory_equal(z, dz, sizeof z);
        }
    free(raw);
    free(y);
}
#endif

/* ---- through the heads ---- */

enum { N = 70, VOCAB = 2 * DW_HEAD_BLOCK + 100, D = 6, D_OTHER = 4 };

typedef struct problem {
    dw_real *w[2], *hidden[2], *bias;
    dw_panels panels[2];
    uint32_t row[2][N];
    double g[N];
    dw_divergence_call c;
} problem;

static void make(problem *p, const dw_exec *x)
{
    static const size_t d[2] = {D, D_OTHER};
    p->bias = test_array(VOCAB, 3);
    for (int i = 0; i < 2; i++) {
        p->w[i] = test_array(VOCAB * d[i], 10 + (uint64_t)i);
        p->hidden[i] = test_array(N * d[i], 20 + (uint64_t)i);
        p->panels[i] = (dw_panels){.n_out = VOCAB, .k = d[i], .rows = i ? NULL : p->w[i]};
        p->panels[i].data = aligned_alloc(64, dw_panels_bytes(VOCAB, d[i], DW_PANEL_REAL));
        assert_non_null(p->panels[i].data);
        dw_panels_pack(x, &p->panels[i], p->w[i], d[i]);
        for (uint32_t k = 0; k < N; k++)
            p->row[i][k] = i ? N - 1 - k : k / 2;
    }
    uint64_t seed = 4;
    for (size_t i = 0; i < N; i++)
        p->g[i] = i % 7 == 3 ? 0 : (double)test_random(&seed);
    p->c = (dw_divergence_call){.n = N};
    dw_divergence_side *side[2] = {&p->c.mine, &p->c.other};
    for (int i = 0; i < 2; i++)
        *side[i] = (dw_divergence_side){{.w = &p->panels[i],
                                         .bias = i ? NULL : p->bias,
                                         .vocab = VOCAB,
                                         .d = d[i],
                                         .softcap = i ? 0 : 2,
                                         .temperature = 1},
                                        p->hidden[i],
                                        d[i],
                                        p->row[i]};
}

static void drop(problem *p)
{
    for (int i = 0; i < 2; i++) {
        free(p->w[i]);
        free(p->hidden[i]);
        free(p->panels[i].data);
    }
    free(p->bias);
}

typedef struct result {
    double out[N];
    dw_real d_hidden[N * D];
    dw_real *d_w, *d_bias; /* NULL with a frozen head */
} result;

static void run(const dw_exec *x, problem *p, dw_head_mode mode, result *r)
{
    dw_err err = {{0}};
    dw_divergence_state s = {0};
    const bool frozen = mode == DW_HEAD_JACOBIAN;
    memset(r->d_hidden, 0, sizeof r->d_hidden);
    r->d_w = frozen ? NULL : test_zeros(VOCAB * D);
    r->d_bias = frozen ? NULL : test_zeros(VOCAB);
    assert_int_equal(dw_divergence_forward(x, &p->c, mode, r->out, &s, &err), 0);
    assert_int_equal(s.mem_bytes,
                     dw_divergence_state_bytes(mode, N, VOCAB, D, D_OTHER, p->c.spec.top_k));
    /* the other model's rows may be gone by now */
    dw_divergence_call c = p->c;
    c.other.hidden = NULL;
    c.other.row = NULL;
    const dw_divergence_grad g = {p->g, r->d_hidden, D, r->d_w, r->d_bias};
    dw_divergence_backward(x, &c, &g, &s);
    dw_divergence_state_finish(&s);
}

static double distance(const dw_real *a, const dw_real *b, size_t n)
{
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    assert_true(norm > 0);
    return sqrt(diff / norm);
}

/* Rows by hand, all derivatives by plain loops; both modes; any number of threads, the same bits.
 */
static void test_heads(void **state)
{
    for (size_t i = 0; i < N_SPEC; i += 2) {
        static result first[2], again;
        problem p;
        dw_err err = {{0}};
        for (int threads = 1; threads <= 3; threads += 2) {
            dw_exec x;
            assert_int_equal(dw_exec_init(&x, threads, NULL, &err), 0);
            make(&p, &x);
            p.c.spec = specs[i];
            for (int m = 0; m < 2; m++) {
                result *r = threads == 1 ? &first[m] : &again;
                run(&x, &p, m ? DW_HEAD_JACOBIAN : DW_HEAD_RECOMPUTE, r);
                if (threads == 1)
                    continue;
                assert_memory_equal(again.out, first[m].out, sizeof again.out);
                assert_memory_equal(again.d_hidden, first[m].d_hidden, sizeof again.d_hidden);
                if (!m)
                    assert_memory_equal(again.d_w, first[m].d_w, VOCAB * D * sizeof *again.d_w);
                free(again.d_w);
                free(again.d_bias);
            }
            if (threads == 1) { /* one row alone has the same bits */
                dw_divergence_state s = {0};
                double alone;
                dw_divergence_call c = p.c;
                c.n = 1;
                c.mine.row += 37;
                c.other.row += 37;
                assert_int_equal(dw_divergence_forward(&x, &c, DW_HEAD_FORWARD, &alone, &s, &err),
                                 0);
                assert_memory_equal(&alone, &first[0].out[37], sizeof alone);
                dw_divergence_state_finish(&s);
            }
            if (threads == 3) {
                dw_real *z = test_zeros(VOCAB), *y = test_zeros(VOCAB);
                dw_real *d_w = test_zeros(VOCAB * D), *d_bias = test_zeros(VOCAB);
                dw_real *d_hidden = test_zeros(N * D);
                uint32_t list[8];
                for (size_t k = 0; k < N; k++) {
                    const dw_real *h = p.hidden[0] + p.row[0][k] * D;
                    dw_head_logits(&x, &p.c.mine.h, h, D, 1, z);
                    dw_head_logits(&x, &p.c.other.h, p.hidden[1] + p.row[1][k] * D_OTHER, D_OTHER,
                                   1, y);
                    double d = dw_divergence_row(&specs[i], z, y, VOCAB, list, 2, p.g[k], z);
                    assert_true(fabs(d - first[0].out[k]) <= 1e-12);
                    for (size_t v = 0; v < VOCAB; v++) {
                        d_bias[v] += z[v];
                        for (size_t c = 0; c < D; c++) {
                            d_w[v * D + c] += z[v] * h[c];
                            d_hidden[p.row[0][k] * D + c] += z[v] * p.w[0][v * D + c];
                        }
                    }
                }
                const double bound = sizeof(dw_real) == 8 ? 1e-12 : 2e-5;
                for (int m = 0; m < 2; m++)
                    assert_true(distance(first[m].d_hidden, d_hidden, N * D) < bound);
                assert_true(distance(first[0].d_w, d_w, VOCAB * D) < bound);
                assert_true(distance(first[0].d_bias, d_bias, VOCAB) < bound);
                free(z);
                free(y);
                free(d_w);
                free(d_bias);
                free(d_hidden);
            }
            drop(&p);
            dw_exec_finish(&x);
        }
        free(first[0].d_w);
        free(first[0].d_bias);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_printed),     cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_ties),        cmocka_unit_test(test_extremes),
#ifdef DW_DOUBLE
        cmocka_unit_test(test_differences),
#endif
        cmocka_unit_test(test_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
