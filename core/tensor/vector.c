/* Passes over whole arenas: sums, scaling, optimiser updates. */
#include "tensor/vector.h"

#include <string.h>

#include "tensor/kernels.h"

/* Blocks are cut by n alone: at most MAX_BLOCKS of at least MIN_BLOCK elements. */
enum { MAX_BLOCKS = 256, MIN_BLOCK = 4096 };

typedef struct vec_job vec_job;
struct vec_job {
    void (*block)(vec_job *j, size_t from, size_t n, size_t index);
    const dw_exec *x;
    const dw_real *a, *b;
    dw_real *y, *m, *v;
    const void *options;
    dw_real factor;
    size_t n, size;
    double part[MAX_BLOCKS];
};

static void vec_task(void *ctx, size_t task, int thread)
{
    vec_job *j = ctx;
    size_t from = task * j->size;
    j->block(j, from, j->n - from < j->size ? j->n - from : j->size, task);
}

static size_t run(const dw_exec *x, vec_job *j)
{
    j->x = x;
    j->size = (j->n + MAX_BLOCKS - 1) / MAX_BLOCKS;
    j->size = j->size < MIN_BLOCK ? MIN_BLOCK : (j->size + 15) / 16 * 16;
    size_t blocks = (j->n + j->size - 1) / j->size;
    dw_pool_run(x->pool, blocks, vec_task, j);
    return blocks;
}

static double total(const dw_exec *x, vec_job *j)
{
    size_t blocks = run(x, j);
    double s = 0;
    for (size_t i = 0; i < blocks; i++)
        s += j->part[i];
    return s;
}

static void block_dot(vec_job *j, size_t from, size_t n, size_t index)
{
    const dw_real *a = j->a + from, *b = j->b + from;
    double s[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++)
            s[k] += (double)a[i + k] * (double)b[i + k];
    for (int k = 0; i < n; i++, k++)
        s[k] += (double)a[i] * (double)b[i];
    j->part[index] = ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

double dw_vec_dot(const dw_exec *x, const dw_real *a, const dw_real *b, size_t n)
{
    vec_job j = {.block = block_dot, .a = a, .b = b, .n = n};
    return total(x, &j);
}

double dw_vec_sumsq(const dw_exec *x, const dw_real *v, size_t n)
{
    return dw_vec_dot(x, v, v, n);
}

/* 0 * v is 0 unless v is infinite or not a number. */
static void block_finite(vec_job *j, size_t from, size_t n, size_t index)
{
    const dw_real *a = j->a + from;
    dw_real s[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++)
            s[k] += 0 * a[i + k];
    for (int k = 0; i < n; i++, k++)
        s[k] += 0 * a[i];
    j->part[index] = 0;
    for (int k = 0; k < 8; k++)
        j->part[index] += s[k];
}

bool dw_vec_finite(const dw_exec *x, const dw_real *v, size_t n)
{
    vec_job j = {.block = block_finite, .a = v, .n = n};
    return total(x, &j) == 0;
}

static void block_zero(vec_job *j, size_t from, size_t n, size_t index)
{
    memset(j->y + from, 0, n * sizeof *j->y);
}

void dw_vec_zero(const dw_exec *x, dw_real *v, size_t n)
{
    vec_job j = {.block = block_zero, .y = v, .n = n};
    (void)run(x, &j);
}

static void block_scale(vec_job *j, size_t from, size_t n, size_t index)
{
    dw_real *y = j->y + from, f = j->factor;
    for (size_t i = 0; i < n; i++)
        y[i] *= f;
}

void dw_vec_scale(const dw_exec *x, dw_real *v, dw_real a, size_t n)
{
    vec_job j = {.block = block_scale, .y = v, .factor = a, .n = n};
    (void)run(x, &j);
}

static void block_add(vec_job *j, size_t from, size_t n, size_t index)
{
    j->x->kernels->axpy(j->factor, j->a + from, j->y + from, n);
}

void dw_vec_add(const dw_exec *x, dw_real *y, const dw_real *v, dw_real a, size_t n)
{
    vec_job j = {.block = block_add, .y = y, .a = v, .factor = a, .n = n};
    (void)run(x, &j);
}

static void block_adamw(vec_job *j, size_t from, size_t n, size_t index)
{
    const dw_adamw *o = j->options;
    const double bias1 = 1 - pow(o->beta1, (double)o->step);
    const double bias2 = 1 - pow(o->beta2, (double)o->step);
    dw_adamw_terms t = {
        .keep = (dw_real)(1 - o->lr * o->decay),
        .beta1_rest = (dw_real)(1 - o->beta1),
        .beta2 = (dw_real)o->beta2,
        .beta2_rest = (dw_real)(1 - o->beta2),
        .step = (dw_real)(o->lr / bias1),
        .root = (dw_real)(1 / sqrt(bias2)),
        .eps = (dw_real)o->eps,
        .grad_scale = (dw_real)o->grad_scale,
    };
    j->x->kernels->adamw(&t, j->y + from, j->a + from, j->m + from, j->v + from, n);
}

void dw_vec_adamw(const dw_exec *x, const dw_adamw *o, dw_real *w, const dw_real *g, dw_real *m,
                  dw_real *v, size_t n)
{
    vec_job j = {.block = block_adamw, .options = o, .y = w, .a = g, .m = m, .v = v, .n = n};
    (void)run(x, &j);
}

static void block_sgd(vec_job *j, size_t from, size_t n, size_t index)
{
    const dw_sgd *o = j->options;
    const dw_real lr = (dw_real)o->lr, scale = (dw_real)o->grad_scale, decay = (dw_real)o->decay;
    const dw_real momentum = (dw_real)o->momentum;
    const dw_real *g = j->a + from;
    dw_real *w = j->y + from;
    if (o->momentum == 0) {
        for (size_t i = 0; i < n; i++)
            w[i] -= lr * (g[i] * scale + decay * w[i]);
        return;
    }
    dw_real *m = j->m + from;
    for (size_t i = 0; i < n; i++) {
        dw_real d = g[i] * scale + decay * w[i];
        m[i] = o->step <= 1 ? d : momentum * m[i] + d;
        w[i] -= lr * m[i];
    }
}

void dw_vec_sgd(const dw_exec *x, const dw_sgd *o, dw_real *w, const dw_real *g, dw_real *m,
                size_t n)
{
    vec_job j = {.block = block_sgd, .options = o, .y = w, .a = g, .m = m, .n = n};
    (void)run(x, &j);
}
