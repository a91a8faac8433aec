/* A 135M-shaped random model in one run: the sgemm peak, training steps full and with LoRA, their
 * growth with tokens, decoding at three batch sizes, and memory planned against mapped.
 * Usage: bench_engine [threads [rounds [kernel [parts]]]], parts some of the letters f (full),
 * l (LoRA), g (growth), d (decoding), c (count processor time, not the clock: for one thread on a
 * busy machine); a round is one step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/rng.h"
#include "model/engine_internal.h"
#include "model/generate.h"
#include "tensor/gemm.h"
#include "tensor/vector.h"

enum { MOST_ROUNDS = 99, MOST_TOKENS = 4096 };

static dw_exec exec;
static int rounds = 5;

static _Noreturn void die(const char *text)
{
    (void)fprintf(stderr, "bench_engine: %s\n", text);
    exit(9);
}

static double processor_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    const double d = *(const double *)a - *(const double *)b;
    return d < 0 ? -1 : d > 0;
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return v[n / 2];
}

/* ---- the peak: OpenBLAS dealt over the pool, 1024 x 3072 x 576 ---- */

enum { PEAK_M = 1024, PEAK_N = 3072, PEAK_K = 576 };
static dw_real *peak_in, *peak_w, *peak_out;

static void peak_task(void *ctx, size_t task, int thread)
{
    const size_t parts = 2 * (size_t)dw_pool_threads(exec.pool), size = PEAK_M / parts;
    (void)ctx;
    (void)thread;
    dw_gemm(size, PEAK_N, PEAK_K, 1, (dw_mat){peak_in + task * size * PEAK_K, PEAK_K, false},
            (dw_mat){peak_w, PEAK_K, true}, 0, peak_out + task * size * PEAK_N, PEAK_N);
}

static double peak(void)
{
    enum { REPEATS = 40 };
    const double start = dw_now();
    for (int i = 0; i < REPEATS; i++)
        dw_pool_run(exec.pool, 2 * (size_t)dw_pool_threads(exec.pool), peak_task, NULL);
    return 2e-9 * PEAK_M * PEAK_N * PEAK_K * REPEATS / (dw_now() - start);
}

static void fill(dw_real *v, size_t n, double size, uint32_t s)
{
    for (size_t i = 0; i < n; i++) {
        s = s * 1664525U + 1013904223U;
        v[i] = (dw_real)(((double)(s >> 8) / (1 << 24) - 0.5) * size);
    }
}

static dw_model *make_model(const dw_lora_spec *lora, bool trainable)
{
    const dw_description d = {.family = "llama",
                              .layers = 30,
                              .d = 576,
                              .heads = 9,
                              .kv_heads = 3,
                              .head_dim = 64,
                              .ffn = 1536,
                              .vocab = 49152,
                              .max_positions = 8192,
                              .norm_eps = 1e-5,
                              .gated = true,
                              .act = DW_ACT_SILU,
                              .tied = true,
                              .embed_scale = 1,
                              .rope = DW_ROPE_DEFAULT,
                              .rope_theta = 10000,
                              .partial_rotary = 1,
                              .attn_scale = 0.125,
                              .bos = -1,
                              .pad = -1,
                              .dtype = "float32"};
    const dw_model_options o = {.trainable = trainable, .lora = lora, .no_tokenizer = true};
    dw_model *m;
    dw_err err;
    if (dw_model_build(&exec, &d, &o, &m, &err) < 0)
        die(err.text);
    fill(m->base.w, m->base.n, 0.07, 1);
    fill(m->adapter.w, m->adapter.n, 0.02, 2);
    for (size_t i = 0; i < m->base.n_weight; i++)
        if (!m->base.weight[i].decay)
            for (size_t k = 0; k < m->base.weight[i].rows; k++)
                m->base.w[m->base.weight[i].offset + k] = 1;
    dw_model_changed(m);
    return m;
}

/* ---- training ---- */

typedef struct trainer {
    dw_model *m;
    dw_engine *e;
    dw_real *adam_m, *adam_v;
    size_t adam_bytes;
    int32_t id[MOST_TOKENS];
    dw_segment seg[MOST_TOKENS];
    dw_head_pair pair[MOST_TOKENS];
    double logp[MOST_TOKENS], d_logp[MOST_TOKENS];
    double forward, head, backward, update; /* seconds of the last step */
} trainer;

static trainer *trainer_make(const dw_lora_spec *lora)
{
    dw_err err;
    trainer *t = calloc(1, sizeof *t);
    if (!t)
        die("no memory");
    t->m = make_model(lora, true);
    t->adam_bytes = dw_model_trained(t->m)->n * sizeof(dw_real);
    t->adam_m = dw_tensor_map(t->adam_bytes);
    t->adam_v = dw_tensor_map(t->adam_bytes);
    if (!t->adam_m || !t->adam_v || dw_engine_create(t->m, &t->e, &err) < 0)
        die("no memory");
    return t;
}

static void trainer_free(trainer *t)
{
    dw_tensor_unmap(t->adam_m, t->adam_bytes);
    dw_tensor_unmap(t->adam_v, t->adam_bytes);
    dw_engine_destroy(t->e);
    dw_model_free(t->m);
    free(t);
}

/* One optimiser step on `n` sequences of `len` tokens; seconds. */
static double train_step(trainer *t, uint32_t n, uint32_t len, long step)
{
    dw_err err;
    dw_params *p = dw_model_trained(t->m);
    size_t pairs = 0;
    for (uint32_t s = 0; s < n; s++) {
        t->seg[s] = (dw_segment){s * len, len, -1, 0};
        for (uint32_t i = 0; i < len; i++)
            t->id[s * len + i] = (int32_t)dw_random_below(7, DW_RNG_TEST, s, i, 49152);
        for (uint32_t i = 0; i + 1 < len; i++) {
            t->d_logp[pairs] = -1.0 / (n * (len - 1));
            t->pair[pairs++] = (dw_head_pair){s * len + i, t->id[s * len + i + 1]};
        }
    }
    const dw_forest f = {t->id, (size_t)n * len, t->seg, n};
    dw_head_out out = {.logp = t->logp};
    const double a = dw_now();
    dw_vec_zero(&exec, p->g, p->n);
    if (dw_engine_forward(t->e, &f, DW_PASS_SAVE, &err) < 0)
        die(err.text);
    const double b = dw_now();
    if (dw_engine_head(t->e, t->pair, pairs, 1, (dw_head_wants){.entropy_grad = false}, &out,
                       &err) < 0)
        die(err.text);
    const double c = dw_now();
    if (dw_engine_backward(t->e, &(dw_engine_grads){.logp = t->d_logp}, &err) < 0)
        die(err.text);
    const double d = dw_now();
    const dw_adamw o = {.lr = 1e-5,
                        .beta1 = 0.9,
                        .beta2 = 0.999,
                        .eps = 1e-8,
                        .grad_scale = 1 / (1 + dw_vec_sumsq(&exec, p->g, p->n)),
                        .step = step};
    dw_vec_adamw(&exec, &o, p->w, p->g, t->adam_m, t->adam_v, p->n);
    dw_model_changed(t->m);
    const double e = dw_now();
    t->forward = b - a;
    t->head = c - b;
    t->backward = d - c;
    t->update = e - d;
    return e - a;
}

/* Multiply-adds count 2. Backward counts what a pass over saved activations needs: twice the
 * forward products, once where weights are frozen; recomputed scores are not counted. */
static double step_gflop(const dw_model *m, uint32_t n, uint32_t len)
{
    const dw_widths w = dw_widths_of(&m->desc);
    const double rows = (double)n * len, layers = m->desc.layers;
    const double body = layers * (double)(w.d * (w.qkv + w.q + w.gu) + w.ffn * w.d);
    const double head = (double)m->desc.vocab * m->desc.d;
    const double attention = layers * 2 * (double)w.q * n * (double)len * len / 2;
    double adapter = 0;
    for (uint32_t l = 0; m->has_adapter && l < m->desc.layers; l++)
        for (int s = 0; s < DW_N_SITE; s++) {
            const dw_lora_site *x = &m->layer[l].lora[s];
            adapter += (double)x->a.rows * x->a.cols;
            for (uint32_t t = 0; t < x->n_target; t++)
                adapter += (double)x->b[t].rows * x->b[t].cols;
        }
    const double factor = m->has_adapter ? 2 : 3;
    return 2e-9 * (rows * (factor * (body + head) + 3 * adapter) + 3 * attention);
}

static void train(trainer *t, const char *name, uint32_t n, uint32_t len)
{
    double time[MOST_ROUNDS], share[MOST_ROUNDS], top[MOST_ROUNDS];
    const double work = step_gflop(t->m, n, len);
    const size_t rows = (size_t)n * len;
    long step = 1;
    (void)train_step(t, n, len, step++);
    for (int i = 0; i < rounds; i++) {
        top[i] = peak();
        time[i] = train_step(t, n, len, step++);
        share[i] = work / time[i] / top[i];
    }
    const double s = median(time, rounds);
    const dw_engine_need need = {.rows = rows,
                                 .sum_len_sq = rows * len,
                                 .head_rows = rows - n,
                                 .head_pairs = rows - n,
                                 .save = true};
    const double mapped = (double)(t->e->mem_bytes + t->e->attn_bytes + t->e->head.mem_bytes);
    (void)printf(
        "%-5s %2u x %4u  %7.1f tok/s  step %6.3f s  %6.1f GF  sgemm %6.1f  share %.2f  "
        "[forward %.2f head %.2f backward %.2f update %.2f]  planned %.0f MB, mapped %.0f\n",
        name, n, len, (double)rows / s, s, work / s, median(top, rounds), median(share, rounds),
        t->forward, t->head, t->backward, t->update, (double)dw_engine_bytes(t->m, &need) / 1e6,
        mapped / 1e6);
    (void)fflush(stdout);
}

/* ---- decoding ---- */

typedef struct stopwatch {
    size_t first, tokens;
    double start;
} stopwatch;

static bool on_token(void *ctx, const dw_gen_item *it, size_t item)
{
    stopwatch *w = ctx;
    (void)it;
    (void)item;
    if (++w->tokens == w->first)
        w->start = dw_now();
    return true;
}

static void decode(dw_model *m, size_t n, size_t prompt_len, uint32_t max_new)
{
    int32_t prompt[1024];
    dw_gen_item item[64];
    dw_generator *g;
    dw_err err;
    for (size_t i = 0; i < prompt_len; i++)
        prompt[i] = (int32_t)dw_random_below(8, DW_RNG_TEST, 0, i, 49152);
    for (size_t i = 0; i < n; i++)
        item[i] = (dw_gen_item){.prompt = prompt, .n_prompt = prompt_len, .key = i};
    const dw_sampling s = {
        .temperature = 1, .top_p = 1, .max_new = max_new, .max_live = (uint32_t)n};
    stopwatch w = {.first = n};
    if (dw_generator_create(m, &g, &err) < 0)
        die(err.text);
    const double start = dw_now();
    if (dw_generate(g, &s, item, n, on_token, &w, &err) < 0)
        die(err.text);
    const double end = dw_now();
    (void)printf(
        "decode batch %2zu  prompt %zu + %u  %7.1f tok/s  step %6.2f ms  first token %.3f s\n", n,
        prompt_len, max_new, (double)(w.tokens - n) / (end - w.start),
        (end - w.start) * 1e3 / (max_new - 1), w.start - start);
    (void)fflush(stdout);
    for (size_t i = 0; i < n; i++)
        dw_gen_item_finish(&item[i]);
    dw_generator_destroy(g);
}

int main(int argc, char **argv)
{
    static const dw_lora_spec lora = {.rank = 16, .alpha = 32, .targets = DW_LORA_ALL};
    const int threads = argc > 1 ? atoi(argv[1]) : 0;
    const char *kernel = argc > 3 ? argv[3] : NULL, *parts = argc > 4 ? argv[4] : "lfgd";
    char blas[128];
    dw_err err;
    rounds = argc > 2 ? atoi(argv[2]) : rounds;
    rounds = rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
    const dw_clock processor = {.now = processor_time};
    if (strchr(parts, 'c'))
        dw_clock_use(&processor);
    if (dw_exec_init(&exec, threads, kernel, &err) < 0)
        die(err.text);
    dw_exec_describe(blas, sizeof blas);
    peak_in = dw_tensor_map((size_t)PEAK_M * PEAK_K * sizeof(dw_real));
    peak_w = dw_tensor_map((size_t)PEAK_N * PEAK_K * sizeof(dw_real));
    peak_out = dw_tensor_map((size_t)PEAK_M * PEAK_N * sizeof(dw_real));
    if (!peak_in || !peak_w || !peak_out)
        die("no memory");
    fill(peak_in, (size_t)PEAK_M * PEAK_K, 1, 3);
    fill(peak_w, (size_t)PEAK_N * PEAK_K, 1, 4);
    (void)peak();
    (void)printf("kernel %s, %d threads, %s; median of %d steps\nsgemm peak %.1f GF\n",
                 dw_exec_kernel(&exec), dw_pool_threads(exec.pool), blas, rounds, peak());
    if (strchr(parts, 'd')) {
        dw_model *m = make_model(NULL, false);
        decode(m, 1, 32, 33);
        decode(m, 8, 32, 33);
        decode(m, 32, 32, 33);
        decode(m, 8, 512, 33);
        dw_model_free(m);
        (void)printf("peak RSS %.2f GB\n", (double)dw_rss_peak_kib() * 1024 / 1e9);
    }
    for (int full = 0; full < 2; full++) {
        if (!strchr(parts, full ? 'f' : 'l'))
            continue;
        trainer *t = trainer_make(full ? NULL : &lora);
        const char *name = full ? "full" : "LoRA";
        train(t, name, 4, 256);
        (void)printf("peak RSS %.2f GB\n", (double)dw_rss_peak_kib() * 1024 / 1e9);
        if (strchr(parts, 'g')) {
            train(t, name, 2, 256);
            train(t, name, 8, 256);
            train(t, name, 1, 1024);
        }
        trainer_free(t);
    }
    (void)printf("peak RSS %.2f GB\n", (double)dw_rss_peak_kib() * 1024 / 1e9);
    dw_exec_finish(&exec);
    return 0;
}
