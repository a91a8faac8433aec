/* Linear layers in GF (one multiply-add = 2): our kernels and OpenBLAS dealt over the same pool,
 * round by round in one run, and their ratio; forward on both; the gradients of the input (dX)
 * and of the weight (dW) as the engine runs them where the matrix trains; and of a matrix packed
 * alone: dX (pX), and with bf16 panels forward (h) and dX (hX). With one thread the clock is
 * processor time. Usage: bench_linear [threads [rounds [kernel]]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tensor/exec.h"
#include "tensor/gemm.h"
#include "tensor/linear.h"

enum { ROUNDS_MAX = 99 };

typedef struct shape {
    size_t rows, n_out, k;
} shape;

typedef struct state {
    dw_exec x;
    shape s;
    dw_real *in, *w, *out, *d_w;
    dw_panels panels, half;
} state;

static double gf(const shape *s, double seconds, int repeats)
{
    return 2e-9 * (double)s->rows * (double)s->n_out * (double)s->k * repeats / seconds;
}

/* The product that OpenBLAS would have run: two halves of the larger side for each thread. */
static void blas_task(void *ctx, size_t task, int thread)
{
    state *t = ctx;
    const shape *s = &t->s;
    size_t parts = 2 * (size_t)dw_pool_threads(t->x.pool);
    bool by_row = s->rows > s->n_out || s->rows >= 512;
    size_t whole = by_row ? s->rows : s->n_out, size = (whole + parts - 1) / parts;
    size_t from = task * size;
    if (from >= whole)
        return;
    size_t n = whole - from < size ? whole - from : size;
    if (by_row)
        dw_gemm(n, s->n_out, s->k, 1, (dw_mat){t->in + from * s->k, s->k, false},
                (dw_mat){t->w, s->k, true}, 0, t->out + from * s->n_out, s->n_out);
    else
        dw_gemm(s->rows, n, s->k, 1, (dw_mat){t->in, s->k, false},
                (dw_mat){t->w + from * s->k, s->k, true}, 0, t->out + from, s->n_out);
}

static void run_ours(state *t)
{
    dw_linear_forward(&t->x, t->in, t->s.k, t->s.rows, &t->panels, NULL, t->out, t->s.n_out, false);
}

static void run_blas(state *t)
{
    dw_pool_run(t->x.pool, 2 * (size_t)dw_pool_threads(t->x.pool), blas_task, t);
}

static void run_dx(state *t)
{
    dw_linear_backward_input(&t->x, t->out, t->s.n_out, t->s.rows, t->w, t->s.k, t->s.n_out, t->s.k,
                             t->in, t->s.k, false);
}

static void run_px(state *t)
{
    dw_panels_backward_input(&t->x, t->out, t->s.n_out, t->s.rows, &t->panels, 0, t->s.n_out, t->in,
                             t->s.k, false);
}

static void run_half(state *t)
{
    dw_linear_forward(&t->x, t->in, t->s.k, t->s.rows, &t->half, NULL, t->out, t->s.n_out, false);
}

static void run_half_x(state *t)
{
    dw_panels_backward_input(&t->x, t->out, t->s.n_out, t->s.rows, &t->half, 0, t->s.n_out, t->in,
                             t->s.k, false);
}

static void run_dw(state *t)
{
    dw_linear_backward_weight(&t->x, t->out, t->s.n_out, t->in, t->s.k, t->s.rows, t->s.n_out,
                              t->s.k, (dw_real)1e-30, t->d_w, t->s.k);
}

static double seconds_of(const state *t)
{
    struct timespec now;
    (void)clock_gettime(
        dw_pool_threads(t->x.pool) == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double measure(state *t, void (*fn)(state *), int repeats)
{
    double start = seconds_of(t);
    for (int i = 0; i < repeats; i++)
        fn(t);
    return gf(&t->s, seconds_of(t) - start, repeats);
}

static int ascending(const void *a, const void *b)
{
    double d = *(const double *)a - *(const double *)b;
    return d < 0 ? -1 : d > 0;
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return v[n / 2];
}

static void fill(dw_real *v, size_t n)
{
    unsigned s = 12345;
    for (size_t i = 0; i < n; i++) {
        s = s * 1664525U + 1013904223U;
        v[i] = (dw_real)(s >> 8) / (dw_real)(1 << 24) - (dw_real)0.5;
    }
}

static void *map(size_t n)
{
    void *p = dw_tensor_map(n * sizeof(dw_real));
    if (p == NULL) {
        (void)fprintf(stderr, "bench_linear: no memory\n");
        exit(9);
    }
    return p;
}

static void bench(state *t, int rounds)
{
    const shape *s = &t->s;
    t->in = map(s->rows * s->k);
    t->w = map(s->n_out * s->k);
    t->d_w = map(s->n_out * s->k);
    t->out = map(s->rows * s->n_out);
    size_t bytes = dw_panels_bytes(s->n_out, s->k, DW_PANEL_REAL);
    t->panels = (dw_panels){map(bytes / sizeof(dw_real)), s->n_out, s->k, DW_PANEL_REAL, NULL};
    t->half = (dw_panels){map(bytes / sizeof(dw_real)), s->n_out, s->k, DW_PANEL_BF16, NULL};
    fill(t->in, s->rows * s->k);
    fill(t->w, s->n_out * s->k);
    dw_panels_pack(&t->x, &t->panels, t->w, s->k);
    dw_panels_pack(&t->x, &t->half, t->w, s->k);
    int repeats = (int)(4e9 / (2.0 * (double)s->rows * (double)s->n_out * (double)s->k)) + 1;
    repeats = repeats > 400 ? 400 : repeats;
    static void (*const run[])(state *) = {run_ours, run_blas, run_dx,    run_dw,
                                           run_px,   run_half, run_half_x};
    enum { RUNS = sizeof run / sizeof *run };
    double v[RUNS + 1][ROUNDS_MAX];
    for (int p = 0; p < RUNS; p++)
        (void)measure(t, run[p], 1);
    for (int i = 0; i < rounds; i++) {
        for (int p = 0; p < RUNS; p++)
            v[p][i] = measure(t, run[p], repeats);
        v[RUNS][i] = v[0][i] / v[1][i];
    }
    (void)printf("%5zu x %5zu x %5zu  ours %6.1f  blas %6.1f  ratio %5.2f  dX %6.1f  dW %6.1f  pX "
                 "%6.1f  h %6.1f  hX %6.1f\n",
                 s->rows, s->n_out, s->k, median(v[0], rounds), median(v[1], rounds),
                 median(v[RUNS], rounds), median(v[2], rounds), median(v[3], rounds),
                 median(v[4], rounds), median(v[5], rounds), median(v[6], rounds));
    (void)fflush(stdout);
    dw_tensor_unmap(t->in, s->rows * s->k * sizeof(dw_real));
    dw_tensor_unmap(t->w, s->n_out * s->k * sizeof(dw_real));
    dw_tensor_unmap(t->d_w, s->n_out * s->k * sizeof(dw_real));
    dw_tensor_unmap(t->out, s->rows * s->n_out * sizeof(dw_real));
    dw_tensor_unmap(t->panels.data, bytes);
    dw_tensor_unmap(t->half.data, bytes);
}

int main(int argc, char **argv)
{
    static const shape shapes[] = {
        {1024, 3072, 576}, {1024, 576, 1536}, {1024, 960, 576}, {1024, 576, 576}, {1024, 6144, 576},
        {256, 3072, 576},  {256, 576, 1536},  {256, 960, 576},  {64, 3072, 576},  {64, 576, 1536},
        {32, 3072, 576},   {16, 3072, 576},   {16, 576, 1536},  {8, 3072, 576},   {6, 3072, 576},
        {4, 3072, 576},    {2, 3072, 576},    {1, 3072, 576},   {1, 576, 1536},   {1, 49152, 576},
        {1024, 16, 576},   {1024, 576, 16},   {1024, 3072, 16}, {16, 16, 576},
    };
    int threads = argc > 1 ? atoi(argv[1]) : 0, rounds = argc > 2 ? atoi(argv[2]) : 5;
    const char *only = argc > 3 ? argv[3] : NULL;
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    char blas[128];
    dw_exec_describe(blas, sizeof blas);
    const char *const *name = dw_exec_kernel_names();
    for (; *name != NULL; name++) {
        if (only != NULL && strcmp(only, *name) != 0)
            continue;
        state t = {0};
        dw_err err;
        if (dw_exec_init(&t.x, threads, *name, &err) < 0) {
            (void)fprintf(stderr, "bench_linear: %s\n", err.text);
            return 2;
        }
        (void)printf("kernel %s, %d threads, %s, median of %d rounds, GF; rows x n_out x k\n",
                     *name, dw_pool_threads(t.x.pool), blas, rounds);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            t.s = shapes[i];
            bench(&t, rounds);
        }
        dw_exec_finish(&t.x);
    }
    return 0;
}
