/* Divergences of many rows: chunks of logits from both heads, row by row, and the two products of
 * the backward pass. */
#include "tensor/divergence.h"

#include <string.h>

#include "base/size.h"

enum { CHUNK_BYTES = 64 << 20, CHUNK_LEAST = 16, CHUNK_MOST = 256 };

/* ---- memory ---- */

static void *take(char *base, size_t *used, size_t n, size_t size)
{
    size_t at = *used, bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 4 - *used)
        bytes = SIZE_MAX / 4 - *used; /* no machine has this: the mapping will fail */
    *used += dw_div_up(bytes, 64) * 64;
    return base ? base + at : NULL;
}

static size_t times(size_t a, size_t b)
{
    size_t n;
    return __builtin_mul_overflow(a, b, &n) ? SIZE_MAX : n;
}

typedef struct sizes {
    size_t n, vocab, d, d_other, top_k;
} sizes;

static size_t place(dw_divergence_state *s, const sizes *z, char *base)
{
    const size_t real = sizeof(dw_real);
    size_t used = 0, rows = CHUNK_BYTES / real / z->vocab;
    rows = rows < CHUNK_LEAST ? CHUNK_LEAST : dw_min_size(rows, CHUNK_MOST);
    s->n = z->n;
    s->chunk = rows = dw_min_size(rows, z->n);
    s->mine = take(base, &used, times(rows, z->d), real);
    s->other =
        take(base, &used, times(s->mode == DW_HEAD_RECOMPUTE ? z->n : rows, z->d_other), real);
    s->z = take(base, &used, times(rows, z->vocab), real);
    s->y = take(base, &used, times(rows, z->vocab), real);
    s->list = take(base, &used, times(rows, dw_min_size(z->top_k, z->vocab)), sizeof *s->list);
    s->grad = take(base, &used, s->mode == DW_HEAD_RECOMPUTE ? times(rows, z->d) : 0, real);
    s->u = take(base, &used, s->mode == DW_HEAD_JACOBIAN ? times(z->n, z->d) : 0, real);
    return used;
}

size_t dw_divergence_state_bytes(dw_head_mode mode, size_t n, size_t vocab, size_t d,
                                 size_t d_other, uint32_t top_k)
{
    dw_divergence_state s = {.mode = mode == DW_HEAD_KEEP ? DW_HEAD_RECOMPUTE : mode};
    const sizes z = {n, vocab, d, d_other, top_k};
    return place(&s, &z, NULL);
}

void dw_divergence_state_finish(dw_divergence_state *s)
{
    dw_tensor_unmap(s->mem, s->mem_bytes);
    *s = (dw_divergence_state){0};
}

static dw_status reserve(dw_divergence_state *s, const dw_divergence_call *c, dw_err *err)
{
    const sizes z = {c->n, c->mine.h.vocab, c->mine.h.d, c->other.h.d, c->spec.top_k};
    size_t bytes = place(s, &z, NULL);
    if (bytes > s->mem_bytes) {
        dw_tensor_unmap(s->mem, s->mem_bytes);
        s->mem_bytes = 0;
        s->mem = dw_tensor_map(bytes);
        if (!s->mem)
            return dw_fail(err, DW_E_LIMIT,
                           "no memory for the divergence: %.1f MiB for %zu rows; use smaller "
                           "micro-batches",
                           (double)bytes / 1048576, c->n);
        s->mem_bytes = bytes;
    }
    place(s, &z, s->mem);
    return DW_OK;
}

/* ---- chunks ---- */

typedef struct chunk_job {
    const dw_exec *x;
    const dw_divergence_call *c;
    const dw_divergence_state *s;
    size_t row0, rows;
    double *out;         /* forward */
    const double *d_out; /* backward */
} chunk_job;

static void gather(const dw_divergence_side *a, size_t row0, size_t rows, dw_real *to)
{
    for (size_t i = 0; i < rows; i++) {
        size_t row = a->row ? a->row[row0 + i] : row0 + i;
        memcpy(to + i * a->h.d, a->hidden + row * a->ld, a->h.d * sizeof *to);
    }
}

/* Where the other's hidden rows of the chunk are. */
static dw_real *others(const chunk_job *j)
{
    return j->s->other + (j->s->mode == DW_HEAD_RECOMPUTE ? j->row0 * j->c->other.h.d : 0);
}

static void logits(const chunk_job *j)
{
    const dw_divergence_call *c = j->c;
    gather(&c->mine, j->row0, j->rows, j->s->mine);
    dw_head_logits(j->x, &c->mine.h, j->s->mine, c->mine.h.d, j->rows, j->s->z);
    dw_head_logits(j->x, &c->other.h, others(j), c->other.h.d, j->rows, j->s->y);
}

static void row_task(void *ctx, size_t i, int thread)
{
    const chunk_job *j = ctx;
    const dw_divergence_call *c = j->c;
    const size_t vocab = c->mine.h.vocab;
    dw_real *z = j->s->z + i * vocab;
    const double scale = j->d_out ? j->d_out[j->row0 + i] : 1;
    if (scale == 0) {
        memset(z, 0, vocab * sizeof *z);
        return;
    }
    const bool wanted = j->d_out || j->s->mode == DW_HEAD_JACOBIAN;
    double d = dw_divergence_row(&c->spec, z, j->s->y + i * vocab, vocab,
                                 j->s->list + i * dw_min_size(c->spec.top_k, vocab),
                                 (double)c->mine.h.softcap, scale, wanted ? z : NULL);
    if (j->out)
        j->out[j->row0 + i] = d;
}

/* d[rows][d] = derivatives of the chunk's logits times the head's matrix, in blocks of the
 * vocabulary as the head sums them. */
static void to_hidden(const chunk_job *j, dw_real *d)
{
    const dw_head_spec *h = &j->c->mine.h;
    for (size_t v = 0; v < h->vocab; v += DW_HEAD_BLOCK)
        dw_panels_backward_input(j->x, j->s->z + v, h->vocab, j->rows, h->w, v,
                                 dw_min_size(DW_HEAD_BLOCK, h->vocab - v), d, h->d, v > 0);
}

dw_status dw_divergence_forward(const dw_exec *x, const dw_divergence_call *c, dw_head_mode mode,
                                double *out, dw_divergence_state *s, dw_err *err)
{
    dw_assert(c->n > 0 && c->mine.h.vocab == c->other.h.vocab && c->spec.temperature > 0);
    s->mode = mode == DW_HEAD_KEEP ? DW_HEAD_RECOMPUTE : mode;
    DW_TRY(reserve(s, c, err));
    chunk_job j = {.x = x, .c = c, .s = s, .out = out};
    for (; j.row0 < c->n; j.row0 += s->chunk) {
        j.rows = dw_min_size(s->chunk, c->n - j.row0);
        gather(&c->other, j.row0, j.rows, others(&j));
        logits(&j);
        dw_pool_run(x->pool, j.rows, row_task, &j);
        if (s->mode == DW_HEAD_JACOBIAN)
            to_hidden(&j, s->u + j.row0 * c->mine.h.d);
    }
    return DW_OK;
}

/* ---- backward ---- */

/* Rows may repeat: in order, on one thread. */
static void scatter(const chunk_job *j, const dw_divergence_grad *g, const dw_real *from,
                    bool scale)
{
    const dw_divergence_side *a = &j->c->mine;
    const size_t d = a->h.d;
    for (size_t i = 0; i < j->rows; i++) {
        const dw_real f = scale ? (dw_real)g->d_out[j->row0 + i] : 1;
        const size_t row = a->row ? a->row[j->row0 + i] : j->row0 + i;
        dw_real *to = g->d_hidden + row * g->ld;
        for (size_t k = 0; k < d && f != 0; k++)
            to[k] += f * from[i * d + k];
    }
}

void dw_divergence_backward(const dw_exec *x, const dw_divergence_call *c,
                            const dw_divergence_grad *g, const dw_divergence_state *s)
{
    const dw_head_spec *h = &c->mine.h;
    chunk_job j = {.x = x, .c = c, .s = s, .d_out = g->d_out};
    dw_assert(s->mode != DW_HEAD_FORWARD && s->n == c->n);
    dw_assert(s->mode != DW_HEAD_JACOBIAN || (!g->d_w && !g->d_bias));
    for (; j.row0 < c->n; j.row0 += s->chunk) {
        j.rows = dw_min_size(s->chunk, c->n - j.row0);
        if (s->mode == DW_HEAD_JACOBIAN) {
            scatter(&j, g, s->u + j.row0 * h->d, true);
            continue;
        }
        logits(&j);
        dw_pool_run(x->pool, j.rows, row_task, &j);
        to_hidden(&j, s->grad);
        scatter(&j, g, s->grad, false);
        if (g->d_w)
            dw_linear_backward_weight(x, s->z, h->vocab, s->mine, h->d, j.rows, h->vocab, h->d, 1,
                                      g->d_w, h->d);
        if (g->d_bias)
            dw_linear_backward_bias(x, s->z, h->vocab, j.rows, h->vocab, g->d_bias);
    }
}
