/* Rotary position embedding: rotation and its transpose, in place. */
#include "tensor/rope.h"

#include "base/size.h"
#include "tensor/kernels.h"

enum { ROW_BLOCK = 16, FREQ_BLOCK = 64 };

typedef struct rope_job {
    dw_real *v;
    const uint32_t *pos;
    const double *inv_freq;
    size_t ld, rows, heads, head_dim, n_freq;
    double factor;
    bool adjacent, inverse;
} rope_job;

static void turn_halves(dw_real *a, dw_real *b, const dw_real *c, const dw_real *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dw_real x = a[i], y = b[i];
        a[i] = x * c[i] - y * s[i];
        b[i] = y * c[i] + x * s[i];
    }
}

static void turn_neighbours(dw_real *v, const dw_real *c, const dw_real *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dw_real x = v[2 * i], y = v[2 * i + 1];
        v[2 * i] = x * c[i] - y * s[i];
        v[2 * i + 1] = y * c[i] + x * s[i];
    }
}

static void turn_row(const rope_job *j, size_t r)
{
    dw_real c[FREQ_BLOCK], s[FREQ_BLOCK];
    for (size_t f0 = 0; f0 < j->n_freq; f0 += FREQ_BLOCK) {
        size_t n = j->n_freq - f0 < FREQ_BLOCK ? j->n_freq - f0 : FREQ_BLOCK;
        for (size_t i = 0; i < n; i++) {
            double sine, cosine;
            sincos(j->pos[r] * j->inv_freq[f0 + i], &sine, &cosine);
            c[i] = (dw_real)(cosine * j->factor);
            s[i] = (dw_real)((j->inverse ? -sine : sine) * j->factor);
        }
        dw_real *head = j->v + r * j->ld;
        for (size_t h = 0; h < j->heads; h++, head += j->head_dim)
            if (j->adjacent)
                turn_neighbours(head + 2 * f0, c, s, n);
            else
                turn_halves(head + f0, head + f0 + j->n_freq, c, s, n);
    }
}

static void rope_task(void *ctx, size_t task, int thread)
{
    const rope_job *j = ctx;
    size_t end = (task + 1) * ROW_BLOCK < j->rows ? (task + 1) * ROW_BLOCK : j->rows;
    for (size_t r = task * ROW_BLOCK; r < end; r++)
        turn_row(j, r);
}

void dw_rope(const dw_exec *x, dw_real *v, size_t ld, size_t rows, const uint32_t *pos,
             size_t heads, size_t head_dim, const double *inv_freq, size_t n_freq, double factor,
             bool adjacent, bool inverse)
{
    rope_job j = {v, pos, inv_freq, ld, rows, heads, head_dim, n_freq, factor, adjacent, inverse};
    dw_pool_run(x->pool, dw_div_up(rows, ROW_BLOCK), rope_task, &j);
}
