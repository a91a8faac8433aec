/* Attention over forests: against a scalar reference, to the bit through every cut of keys and
 * queries, and its gradients by finite differences. */
#include <string.h>

#include "tensor/attention.h"
#include "tensors.h"

enum { MAX_SEG = 8, PAGE = 32 };

/* A forest with its arrays; k and v lie side by side, as rows of a fused projection do. */
typedef struct problem {
    dw_attention a;
    dw_segment seg[MAX_SEG];
    size_t n_seg, rows, ld_q, ld_kv;
    dw_real *q, *kv, *w; /* w: derivative of the output */
    dw_real *out, *lse, *dq, *dkv;
} problem;

typedef struct shape {
    const char *name;
    dw_attention a;
    dw_segment seg[MAX_SEG];
    size_t n_seg;
} shape;

static const shape shapes[] = {
    {"one sequence", {2, 2, 8, 0, 0, 0}, {{0, 70, -1, 0}}, 1},
    {"grouped heads", {6, 2, 64, 0, 0, 0}, {{0, 130, -1, 0}, {130, 5, -1, 0}}, 2},
    {"odd head size", {3, 1, 22, 0, 0, 0}, {{0, 33, -1, 0}}, 1},
    {"tree",
     {4, 2, 16, 0, 0, 0},
     {{0, 75, -1, 0}, {75, 20, 0, 75}, {95, 3, -1, 0}, {98, 60, 0, 75}, {158, 9, 1, 95}},
     5},
    {"window", {2, 1, 16, 0, 0, 20}, {{0, 90, -1, 0}, {90, 100, 0, 90}, {190, 1, 0, 90}}, 3},
    {"wide window", {2, 1, 16, 0, 0, 64}, {{0, 200, -1, 0}}, 1},
    {"soft cap", {2, 2, 12, 0, 2.5, 0}, {{0, 40, -1, 0}, {40, 30, 0, 40}}, 2},
    {"many heads", {18, 2, 4, 0, 0, 0}, {{0, 67, -1, 0}, {67, 1, 0, 67}}, 2},
    {"cap, window, one query head for all", {5, 1, 10, 0, 3, 37}, {{0, 99, -1, 0}}, 1},
};
enum { N_SHAPE = sizeof shapes / sizeof shapes[0] };

static problem make(const shape *s)
{
    problem p = {.a = s->a, .n_seg = s->n_seg};
    memcpy(p.seg, s->seg, sizeof p.seg);
    for (size_t i = 0; i < p.n_seg; i++)
        p.rows += p.seg[i].len;
    p.a.scale = 1 / (dw_real)sqrt((double)p.a.head_dim);
    p.ld_q = (size_t)p.a.heads * p.a.head_dim + 3;
    p.ld_kv = 2 * (size_t)p.a.kv_heads * p.a.head_dim + 1;
    p.q = test_array(p.rows * p.ld_q, 1);
    p.kv = test_array(p.rows * p.ld_kv, 2);
    p.w = test_array(p.rows * p.ld_q, 3);
    for (size_t i = 0; i < p.rows * p.ld_q; i++)
        p.q[i] *= 3;
    p.out = test_zeros(p.rows * p.ld_q);
    p.lse = test_zeros(p.rows * p.a.heads);
    p.dq = test_zeros(p.rows * p.ld_q);
    p.dkv = test_zeros(p.rows * p.ld_kv);
    return p;
}

static void drop(problem *p)
{
    free(p->q);
    free(p->kv);
    free(p->w);
    free(p->out);
    free(p->lse);
    free(p->dq);
    free(p->dkv);
}

static size_t width_kv(const problem *p)
{
    return (size_t)p->a.kv_heads * p->a.head_dim;
}

/* Batch row of the key at a position of the segment's path. */
static size_t row_at(const problem *p, size_t seg, uint32_t pos)
{
    while (pos < p->seg[seg].pos0)
        seg = (size_t)p->seg[seg].parent;
    return p->seg[seg].start + pos - p->seg[seg].pos0;
}

static void reference_row(const problem *p, size_t seg, uint32_t pos, size_t head, double *out,
                          double *lse)
{
    const dw_attention *a = &p->a;
    size_t hd = a->head_dim, kv = head / (a->heads / a->kv_heads);
    const dw_real *q = p->q + row_at(p, seg, pos) * p->ld_q + head * hd;
    uint32_t from = a->window != 0 && pos + 1 > a->window ? pos + 1 - a->window : 0;
    double *score = calloc(pos + 1, sizeof *score), max = -INFINITY, sum = 0;
    assert_non_null(score);
    for (uint32_t i = from; i <= pos; i++) {
        const dw_real *k = p->kv + row_at(p, seg, i) * p->ld_kv + kv * hd;
        for (size_t d = 0; d < hd; d++)
            score[i] += (double)q[d] * (double)k[d];
        score[i] *= (double)a->scale;
        if (a->softcap != 0)
            score[i] = (double)a->softcap * tanh(score[i] / (double)a->softcap);
        max = fmax(max, score[i]);
    }
    for (uint32_t i = from; i <= pos; i++)
        sum += exp(score[i] - max);
    *lse = max + log(sum);
    for (size_t d = 0; d < hd; d++)
        out[d] = 0;
    for (uint32_t i = from; i <= pos; i++)
        for (size_t d = 0; d < hd; d++)
            out[d] += exp(score[i] - *lse) *
                      (double)p->kv[row_at(p, seg, i) * p->ld_kv + width_kv(p) + kv * hd + d];
    free(score);
}

/* The path of a segment as spans, root first. */
static uint32_t path_spans(const problem *p, size_t seg, dw_key_span *span)
{
    size_t chain[MAX_SEG];
    uint32_t n = 0;
    for (int32_t s = (int32_t)seg; s >= 0; s = p->seg[s].parent)
        chain[n++] = (size_t)s;
    for (uint32_t i = 0; i < n; i++) {
        const dw_segment *s = &p->seg[chain[n - 1 - i]];
        const dw_real *k = p->kv + s->start * p->ld_kv;
        span[i] = (dw_key_span){.k = k, .v = k + width_kv(p), .ld = p->ld_kv, .len = s->len};
    }
    return n;
}

static dw_query query_of(const problem *p, size_t seg, const dw_key_span *span, uint32_t n_span)
{
    const dw_segment *s = &p->seg[seg];
    return (dw_query){.q = p->q + s->start * p->ld_q,
                      .out = p->out + s->start * p->ld_q,
                      .lse = p->lse + s->start * p->a.heads,
                      .ld_q = p->ld_q,
                      .ld_out = p->ld_q,
                      .rows = s->len,
                      .pos0 = s->pos0,
                      .span = span,
                      .n_span = n_span};
}

static void forward(const dw_exec *x, problem *p)
{
    dw_key_span span[MAX_SEG][MAX_SEG];
    dw_query query[MAX_SEG];
    for (size_t s = 0; s < p->n_seg; s++)
        query[s] = query_of(p, s, span[s], path_spans(p, s, span[s]));
    dw_attention_forward(x, &p->a, query, p->n_seg);
}

static void backward(const dw_exec *x, problem *p)
{
    size_t n = dw_attention_backward_scratch(x, &p->a, p->seg, p->n_seg);
    dw_real *scratch = malloc(n * sizeof *scratch);
    assert_non_null(scratch);
    for (size_t i = 0; i < n; i++) /* nothing may be taken from here */
        scratch[i] = (dw_real)NAN;
    dw_attention_grad g = {p->q,  p->kv,  p->kv + width_kv(p),  p->out,  p->w,     p->lse,
                           p->dq, p->dkv, p->dkv + width_kv(p), p->ld_q, p->ld_kv, p->ld_q};
    dw_attention_backward(x, &p->a, p->seg, p->n_seg, &g, scratch);
    free(scratch);
}

static void run_forward(const dw_exec *x, void *ctx)
{
    forward(x, ctx);
}

static void run_backward(const dw_exec *x, void *ctx)
{
    problem *p = ctx;
    for (size_t i = 0; i < p->rows; i++) { /* written, not added */
        for (size_t c = 0; c < p->ld_q - 3; c++)
            p->dq[i * p->ld_q + c] = (dw_real)NAN;
        for (size_t c = 0; c < p->ld_kv - 1; c++)
            p->dkv[i * p->ld_kv + c] = (dw_real)NAN;
    }
    backward(x, p);
}

static void test_reference(void **state)
{
    for (size_t i = 0; i < N_SHAPE; i++) {
        problem p = make(&shapes[i]);
        dw_real *out = test_zeros(p.rows * p.ld_q), *lse = test_zeros(p.rows * p.a.heads);
        for (size_t s = 0; s < p.n_seg; s++)
            for (uint32_t r = 0; r < p.seg[s].len; r++)
                for (size_t h = 0; h < p.a.heads; h++) {
                    double o[DW_HEAD_DIM_MAX], l;
                    size_t row = p.seg[s].start + r;
                    reference_row(&p, s, p.seg[s].pos0 + r, h, o, &l);
                    lse[row * p.a.heads + h] = (dw_real)l;
                    for (size_t d = 0; d < p.a.head_dim; d++)
                        out[row * p.ld_q + h * p.a.head_dim + d] = (dw_real)o[d];
                }
        dw_exec x = test_exec(2, "plain");
        forward(&x, &p);
        dw_exec_finish(&x);
        assert_true(dw_close(shapes[i].name, p.out, out, p.rows * p.ld_q, 0, 3 * TEST_REL));
        assert_true(
            dw_close(shapes[i].name, p.lse, lse, p.rows * p.a.heads, TEST_REL, 3 * TEST_REL));
        test_everywhere(shapes[i].name, run_forward, &p, p.out, p.rows * p.ld_q, 0, TEST_REL);
        free(out);
        free(lse);
        drop(&p);
    }
}

/* One segment's path again, with its keys cut in pages of PAGE positions or in packed key blocks,
 * and its rows in runs of `run`. */
static void run_pages(const dw_exec *x, problem *p, size_t seg, uint32_t run, bool packed)
{
    uint32_t end = p->seg[seg].pos0 + p->seg[seg].len, page = packed ? DW_KEY_BLOCK : PAGE;
    uint32_t n_span = (end + page - 1) / page;
    size_t wide = width_kv(p), slot = dw_attention_block_elements(&p->a);
    dw_key_span *span = calloc(n_span, sizeof *span);
    dw_real *memory = test_zeros(n_span * (slot + page * 2 * wide));
    assert_non_null(span);
    for (uint32_t i = 0; i < n_span; i++) {
        dw_real *m = memory + i * (slot + page * 2 * wide), *rows = m + slot;
        uint32_t len = end - i * page < page ? end - i * page : page;
        for (size_t e = 0; e < slot + page * 2 * wide; e++)
            m[e] = (dw_real)NAN; /* what lies beyond the keys must not matter */
        for (uint32_t k = 0; k < len; k++) {
            memcpy(rows + k * 2 * wide, p->kv + row_at(p, seg, i * page + k) * p->ld_kv,
                   2 * wide * sizeof *rows);
            dw_attention_block_store(&p->a, m, packed ? k : 0, rows + k * 2 * wide,
                                     rows + k * 2 * wide + wide, 2 * wide, 1);
        }
        span[i] = (dw_key_span){.k = rows, .v = rows + wide, .ld = 2 * wide, .len = len};
        if (packed)
            span[i] = (dw_key_span){.block = m, .len = len};
    }
    for (uint32_t r = 0; r < p->seg[seg].len; r += run) {
        dw_query q = query_of(p, seg, span, n_span);
        q.q += r * q.ld_q;
        q.out += r * q.ld_out;
        q.lse += r * p->a.heads;
        q.pos0 += r;
        q.rows = q.rows - r < run ? q.rows - r : run;
        dw_attention_forward(x, &p->a, &q, 1);
    }
    free(span);
    free(memory);
}

static void bits_of(const dw_exec *x, const shape *s)
{
    static const uint32_t runs[] = {1, 2, 7, 50, 1000};
    problem p = make(s);
    size_t n = p.rows * p.ld_q, n_lse = p.rows * p.a.heads;
    forward(x, &p);
    dw_real *out = test_copy(p.out, n), *lse = test_copy(p.lse, n_lse);
    for (size_t seg = 0; seg < p.n_seg; seg++)
        for (size_t i = 0; i < 2 * sizeof runs / sizeof runs[0]; i++) {
            size_t row = p.seg[seg].start;
            for (size_t e = 0; e < p.seg[seg].len * p.ld_q; e++)
                if (e % p.ld_q < p.ld_q - 3)
                    p.out[row * p.ld_q + e] = (dw_real)NAN;
            run_pages(x, &p, seg, runs[i / 2], i % 2);
            assert_true(dw_same(s->name, p.out, out, n));
            assert_true(dw_same(s->name, p.lse, lse, n_lse));
        }
    free(out);
    free(lse);
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

static void test_backward_everywhere(void **state)
{
    for (size_t i = 0; i < N_SHAPE; i++) {
        problem p = make(&shapes[i]);
        dw_exec x = test_exec(1, "plain");
        forward(&x, &p);
        dw_exec_finish(&x);
        test_everywhere(shapes[i].name, run_backward, &p, p.dq, p.rows * p.ld_q, 0, TEST_REL);
        test_everywhere(shapes[i].name, run_backward, &p, p.dkv, p.rows * p.ld_kv, 0, 4 * TEST_REL);
        drop(&p);
    }
}

#ifdef DW_DOUBLE
typedef struct loss {
    dw_exec x;
    problem p;
} loss;

static double loss_of(void *ctx)
{
    loss *l = ctx;
    forward(&l->x, &l->p);
    double sum = 0;
    for (size_t r = 0; r < l->p.rows; r++)
        for (size_t c = 0; c < l->p.ld_q - 3; c++)
            sum += l->p.out[r * l->p.ld_q + c] * l->p.w[r * l->p.ld_q + c];
    return sum;
}

static void test_finite_differences(void **state)
{
    static const shape small[] = {
        {"gradient: grouped heads", {4, 2, 4, 0, 0, 0}, {{0, 11, -1, 0}}, 1},
        {"gradient: tree",
         {2, 1, 4, 0, 0, 0},
         {{0, 66, -1, 0}, {66, 5, 0, 66}, {71, 4, -1, 0}, {75, 6, 0, 66}, {81, 3, 1, 71}},
         5},
        {"gradient: window", {2, 2, 4, 0, 0, 5}, {{0, 20, -1, 0}, {20, 9, 0, 20}}, 2},
        {"gradient: soft cap", {2, 1, 6, 0, 1.5, 0}, {{0, 10, -1, 0}, {10, 9, 0, 10}}, 2},
    };
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
        loss l = {test_exec(1, "plain"), make(&small[i])};
        forward(&l.x, &l.p);
        backward(&l.x, &l.p);
        test_gradient(small[i].name, loss_of, &l, l.p.q, l.p.dq, l.p.rows * l.p.ld_q);
        test_gradient(small[i].name, loss_of, &l, l.p.kv, l.p.dkv, l.p.rows * l.p.ld_kv);
        drop(&l.p);
        dw_exec_finish(&l.x);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_backward_everywhere),
#ifdef DW_DOUBLE
        cmocka_unit_test(test_finite_differences),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
