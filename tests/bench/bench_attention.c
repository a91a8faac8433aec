/* Attention and the vocabulary head in GF of CPU time (one multiply-add = 2; masked pairs and
 * recomputed logits are not counted), beside the linear layers' own products in the same round.
 * Shapes of SmolLM2-135M. Usage: bench_attention [threads [rounds [kernel]]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tensor/attention.h"
#include "tensor/exec.h"
#include "tensor/head.h"
#include "tensor/linear.h"

enum { ROUNDS_MAX = 99, HEADS = 9, KV_HEADS = 3, HEAD_DIM = 64, D = 576, VOCAB = 49152 };
enum { LD_QKV = (HEADS + 2 * KV_HEADS) * HEAD_DIM, LD_KV = 2 * KV_HEADS * HEAD_DIM };

static dw_exec x;
static bool cpu_time; /* one thread: CPU seconds, which other programs disturb less */

static double now(void)
{
    if (!cpu_time)
        return dw_now();
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static dw_real *array(size_t n)
{
    dw_real *v = dw_tensor_map(n * sizeof *v);
    if (v == NULL) {
        (void)fprintf(stderr, "bench_attention: no memory\n");
        exit(9);
    }
    unsigned s = 12345;
    for (size_t i = 0; i < n; i++) {
        s = s * 1664525U + 1013904223U;
        v[i] = (dw_real)(s >> 8) / (dw_real)(1 << 24) - (dw_real)0.5;
    }
    return v;
}

static int ascending(const void *a, const void *b)
{
    double d = *(const double *)a - *(const double *)b;
    return d < 0 ? -1 : d > 0;
}

static double median_of(void (*fn)(void *), void *ctx, int rounds, double flops)
{
    double v[ROUNDS_MAX];
    fn(ctx);
    int repeats = (int)(1e9 / flops) + 1;
    for (int r = 0; r < rounds; r++) {
        double start = now();
        for (int i = 0; i < repeats; i++)
            fn(ctx);
        v[r] = 1e-9 * flops * repeats / (now() - start);
    }
    qsort(v, (size_t)rounds, sizeof *v, ascending);
    return v[rounds / 2];
}

/* ---- attention ---- */

typedef struct forest {
    dw_attention a;
    dw_segment seg[64];
    dw_query query[64];
    dw_key_span span[64][2];
    size_t n, rows;
    dw_real *qkv, *out, *d_out, *d_qkv, *lse, *scratch;
    size_t n_scratch;
} forest;

static void run_forward(void *ctx)
{
    forest *f = ctx;
    dw_attention_forward(&x, &f->a, f->query, f->n);
}

static void run_backward(void *ctx)
{
    forest *f = ctx;
    size_t k = HEADS * HEAD_DIM, v = k + KV_HEADS * HEAD_DIM;
    dw_attention_grad g = {f->qkv,   f->qkv + k,   f->qkv + v,   f->out, f->d_out, f->lse,
                           f->d_qkv, f->d_qkv + k, f->d_qkv + v, LD_QKV, LD_QKV,   D};
    dw_attention_backward(&x, &f->a, f->seg, f->n, &g, f->scratch);
}

/* `trees` prompts of `prompt` rows, each with `children` continuations of `len` rows. */
static void bench_forest(size_t trees, uint32_t prompt, size_t children, uint32_t len, int rounds)
{
    static forest f;
    f = (forest){.a = {HEADS, KV_HEADS, HEAD_DIM, 0.125F, 0, 0}};
    double pairs = 0;
    for (size_t t = 0; t < trees; t++) {
        int32_t root = (int32_t)f.n;
        for (size_t c = 0; c <= children; c++) {
            dw_segment *s = &f.seg[f.n++];
            *s = (dw_segment){(uint32_t)f.rows, c == 0 ? prompt : len, c == 0 ? -1 : root,
                              c == 0 ? 0 : prompt};
            f.rows += s->len;
            pairs += (double)s->len * ((double)s->pos0 + ((double)s->len + 1) / 2);
        }
    }
    f.qkv = array(f.rows * LD_QKV);
    f.d_qkv = array(f.rows * LD_QKV);
    f.out = array(f.rows * D);
    f.d_out = array(f.rows * D);
    f.lse = array(f.rows * HEADS);
    f.n_scratch = dw_attention_backward_scratch(&x, &f.a, f.seg, f.n);
    f.scratch = array(f.n_scratch);
    for (size_t i = 0; i < f.n; i++) {
        dw_query *q = &f.query[i];
        const dw_segment *s = &f.seg[i];
        *q = (dw_query){.q = f.qkv + s->start * LD_QKV,
                        .out = f.out + s->start * D,
                        .lse = f.lse + s->start * HEADS,
                        .ld_q = LD_QKV,
                        .ld_out = D,
                        .rows = s->len,
                        .pos0 = s->pos0,
                        .span = f.span[i]};
        for (int32_t p = (int32_t)i; p >= 0; p = f.seg[p].parent)
            q->n_span++;
        uint32_t at = q->n_span;
        for (int32_t p = (int32_t)i; p >= 0; p = f.seg[p].parent) {
            dw_real *k = f.qkv + f.seg[p].start * LD_QKV + HEADS * HEAD_DIM;
            f.span[i][--at] = (dw_key_span){
                .k = k, .v = k + KV_HEADS * HEAD_DIM, .ld = LD_QKV, .len = f.seg[p].len};
        }
    }
    double flops = 4 * pairs * D;
    double forward = median_of(run_forward, &f, rounds, flops);
    double backward = median_of(run_backward, &f, rounds, 2.5 * flops);
    (void)printf("%zu x (%u + %zu x %u)  forward %6.1f  backward %6.1f\n", trees, prompt, children,
                 children == 0 ? 0 : len, forward, backward);
    dw_tensor_unmap(f.qkv, f.rows * LD_QKV * sizeof(dw_real));
    dw_tensor_unmap(f.d_qkv, f.rows * LD_QKV * sizeof(dw_real));
    dw_tensor_unmap(f.out, f.rows * D * sizeof(dw_real));
    dw_tensor_unmap(f.d_out, f.rows * D * sizeof(dw_real));
    dw_tensor_unmap(f.lse, f.rows * HEADS * sizeof(dw_real));
    dw_tensor_unmap(f.scratch, f.n_scratch * sizeof(dw_real));
}

/* One new row for each of `live` sequences over `context` keys. */
static void bench_decode(size_t live, uint32_t context, int rounds)
{
    static forest f;
    f = (forest){.a = {HEADS, KV_HEADS, HEAD_DIM, 0.125F, 0, 0}, .n = live};
    size_t block = dw_attention_block_elements(&f.a), n_block = context / DW_KEY_BLOCK;
    dw_real *rows = array(live * context * LD_KV), *packed = array(live * n_block * block);
    dw_key_span *page = calloc(live * n_block * 3, sizeof *page),
                *blocks = page + live * n_block * 2;
    if (page == NULL)
        exit(9);
    f.qkv = array(live * D);
    f.out = array(live * D);
    double us[2];
    for (int form = 0; form < 2; form++) {
        for (size_t i = 0; i < live; i++) {
            dw_key_span *span = form == 0 ? page + i * n_block * 2 : blocks + i * n_block;
            uint32_t n = (uint32_t)(form == 0 ? 2 * n_block : n_block);
            f.query[i] =
                (dw_query){f.qkv + i * D, f.out + i * D, NULL, D, D, 1, context - 1, span, n};
            for (uint32_t s = 0; s < n; s++) {
                const dw_real *k = rows + (i * context + s * (context / n)) * LD_KV;
                span[s] = (dw_key_span){k, k + KV_HEADS * HEAD_DIM, LD_KV, context / n, NULL};
                if (form == 1) {
                    span[s].block = packed + (i * n_block + s) * block;
                    dw_attention_block_store(&f.a, packed + (i * n_block + s) * block, 0, k,
                                             k + KV_HEADS * HEAD_DIM, LD_KV, DW_KEY_BLOCK);
                }
            }
        }
        us[form] = 1e3 / median_of(run_forward, &f, rounds, 1e6); /* per call */
    }
    (void)printf("decode, %zu rows over %u keys: pages of rows %7.1f us, packed blocks %7.1f us\n",
                 live, context, us[0], us[1]);
    free(page);
    dw_tensor_unmap(rows, live * context * LD_KV * sizeof(dw_real));
    dw_tensor_unmap(packed, live * n_block * block * sizeof(dw_real));
    dw_tensor_unmap(f.qkv, live * D * sizeof(dw_real));
    dw_tensor_unmap(f.out, live * D * sizeof(dw_real));
}

/* ---- head ---- */

typedef struct head {
    dw_head_spec h;
    dw_panels panels;
    dw_real *w, *d_w, *hidden, *d_hidden, *logits;
    dw_head_pair *pair;
    double *logp, *entropy, *grad;
    size_t rows;
    dw_head_mode mode;
    bool entropy_grad;
    dw_head_state state;
} head;

static void run_head_forward(void *ctx)
{
    head *h = ctx;
    dw_head_out out = {.logp = h->logp, .entropy = h->entropy};
    dw_err err;
    if (dw_head_forward(&x, &h->h, h->hidden, D, h->pair, h->rows, h->mode,
                        (dw_head_wants){.entropy_grad = h->entropy_grad}, &out, &h->state,
                        &err) < 0)
        exit(9);
}

static void run_head_both(void *ctx)
{
    head *h = ctx;
    run_head_forward(ctx);
    dw_head_backward(&x, &h->h, h->hidden, D, h->pair, h->rows, h->grad,
                     h->entropy_grad ? h->grad : NULL, NULL, h->d_hidden, D,
                     h->mode == DW_HEAD_JACOBIAN ? NULL : h->d_w, NULL, &h->state);
}

static void run_forward_product(void *ctx)
{
    head *h = ctx;
    dw_panels part = h->panels;
    for (size_t b = 0; b < VOCAB; b += DW_HEAD_BLOCK) {
        part.n_out = DW_HEAD_BLOCK;
        part.data = (dw_real *)h->panels.data + b * D;
        dw_linear_forward(&x, h->hidden, D, h->rows, &part, NULL, h->logits, DW_HEAD_BLOCK, false);
    }
}

static void run_products(void *ctx)
{
    head *h = ctx;
    run_forward_product(ctx);
    for (size_t b = 0; b < VOCAB; b += DW_HEAD_BLOCK) {
        dw_linear_backward_input(&x, h->logits, DW_HEAD_BLOCK, h->rows, h->w + b * D, D,
                                 DW_HEAD_BLOCK, D, h->d_hidden, D, b > 0);
        dw_linear_backward_weight(&x, h->logits, DW_HEAD_BLOCK, h->hidden, D, h->rows,
                                  DW_HEAD_BLOCK, D, 1e-20F, h->d_w + b * D, D);
    }
}

static void bench_head(size_t rows, int rounds)
{
    static const char *const names[] = {"forward", "keep", "recompute", "jacobian"};
    static head h;
    h = (head){.rows = rows};
    h.w = array((size_t)VOCAB * D);
    h.d_w = array((size_t)VOCAB * D);
    h.panels = (dw_panels){array((size_t)VOCAB * D), VOCAB, D, DW_PANEL_REAL, h.w};
    dw_panels_pack(&x, &h.panels, h.w, D);
    h.h = (dw_head_spec){.w = &h.panels, .vocab = VOCAB, .d = D, .temperature = 1};
    h.hidden = array(rows * D);
    h.d_hidden = array(rows * D);
    h.logits = array(rows * DW_HEAD_BLOCK);
    h.pair = calloc(rows, sizeof *h.pair);
    h.logp = calloc(3 * rows, sizeof *h.logp);
    if (h.pair == NULL || h.logp == NULL)
        exit(9);
    h.entropy = h.logp + rows;
    h.grad = h.entropy + rows;
    for (size_t i = 0; i < rows; i++) {
        h.pair[i] = (dw_head_pair){(uint32_t)i, (int32_t)(i * 47 % VOCAB)};
        h.grad[i] = 0.1;
    }
    double one = 2.0 * (double)rows * VOCAB * D;
    double f = median_of(run_forward_product, &h, rounds, one);
    double fb = median_of(run_products, &h, rounds, 3 * one);
    (void)printf("head, %zu rows: products alone: forward %6.1f, with backward %6.1f\n", rows, f,
                 fb);
    for (h.mode = DW_HEAD_FORWARD; h.mode <= DW_HEAD_JACOBIAN; h.mode++) {
        if (h.mode == DW_HEAD_FORWARD) {
            double v = median_of(run_head_forward, &h, rounds, one);
            (void)printf("    %-10s %6.1f (%.2f of its product)\n", names[h.mode], v, v / f);
            continue;
        }
        double n = h.mode == DW_HEAD_JACOBIAN ? 2 : h.mode == DW_HEAD_RECOMPUTE ? 4 : 3;
        double v = median_of(run_head_both, &h, rounds, n * one);
        (void)printf("    %-10s %6.1f (%.2f), %.0f products, state %.1f MiB\n", names[h.mode], v,
                     v / fb, n, (double)h.state.mem_bytes / 1048576);
    }
    dw_head_state_finish(&h.state);
    dw_tensor_unmap(h.w, (size_t)VOCAB * D * sizeof(dw_real));
    dw_tensor_unmap(h.d_w, (size_t)VOCAB * D * sizeof(dw_real));
    dw_tensor_unmap(h.panels.data, (size_t)VOCAB * D * sizeof(dw_real));
    dw_tensor_unmap(h.hidden, rows * D * sizeof(dw_real));
    dw_tensor_unmap(h.d_hidden, rows * D * sizeof(dw_real));
    dw_tensor_unmap(h.logits, rows * DW_HEAD_BLOCK * sizeof(dw_real));
    free(h.pair);
    free(h.logp);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 0, rounds = argc > 2 ? atoi(argv[2]) : 5;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    dw_err err;
    if (dw_exec_init(&x, threads, argc > 3 ? argv[3] : NULL, &err) < 0) {
        (void)fprintf(stderr, "bench_attention: %s\n", err.text);
        return 2;
    }
    cpu_time = dw_pool_threads(x.pool) == 1;
    (void)printf("kernel %s, %d threads, median of %d rounds, GF of %s time\n", dw_exec_kernel(&x),
                 dw_pool_threads(x.pool), rounds, cpu_time ? "CPU" : "wall");
    bench_forest(8, 128, 0, 0, rounds);
    bench_forest(4, 256, 0, 0, rounds);
    bench_forest(2, 512, 0, 0, rounds);
    bench_forest(1, 1024, 0, 0, rounds);
    bench_forest(1, 128, 8, 128, rounds);
    bench_forest(4, 100, 2, 60, rounds);
    bench_decode(1, 512, rounds);
    bench_decode(16, 512, rounds);
    bench_head(200, rounds);
    bench_head(1024, rounds);
    dw_exec_finish(&x);
    return 0;
}
