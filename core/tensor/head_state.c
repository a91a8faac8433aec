/* Memory of the head: one mapping, laid out by mode. */
#include <stdint.h>

#include "tensor/head_stats.h"

/* Hands out pieces of a mapping; with base NULL it only counts. */
typedef struct layout {
    char *base;
    size_t used;
} layout;

static void *take(layout *l, size_t n, size_t size)
{
    const size_t align = 64;
    void *p = l->base == NULL ? NULL : l->base + l->used;
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2 - l->used)
        bytes = SIZE_MAX / 2 - l->used; /* no machine has this: the mapping will fail */
    l->used += dw_div_up(bytes, align) * align;
    return p;
}

static size_t times(size_t a, size_t b)
{
    size_t n;
    return __builtin_mul_overflow(a, b, &n) ? SIZE_MAX : n;
}

/* mean_rows: rows of the mean's array, 0 when it is not wanted. */
static size_t place(dw_head_state *s, size_t vocab, size_t d, size_t mean_rows, char *base)
{
    layout l = {.base = base};
    size_t rows = s->n_rows, real = sizeof(dw_real);
    size_t wide = vocab < DW_HEAD_BLOCK ? vocab : DW_HEAD_BLOCK;
    size_t block = (rows < DW_HEAD_CHUNK ? rows : DW_HEAD_CHUNK) * wide;
    bool jacobian = s->mode == DW_HEAD_JACOBIAN;
    s->row = take(&l, rows, sizeof *s->row);
    s->first = take(&l, rows + 1, sizeof *s->first);
    s->lse = take(&l, rows, sizeof *s->lse);
    s->entropy = take(&l, rows, sizeof *s->entropy);
    s->pick = take(&l, s->n_pairs, real);
    /* JACOBIAN keeps one more, the merged one. */
    s->stats = take(&l, times(rows, s->n_blocks + jacobian), sizeof *s->stats);
    s->hidden = take(&l, times(rows, d), real);
    s->grad = s->logits = s->u = s->v = s->mean = s->v_weight = s->m_weight = NULL;
    if (s->mode == DW_HEAD_KEEP)
        s->logits = take(&l, times(rows, vocab), real);
    else if (s->mode != DW_HEAD_FORWARD)
        s->logits = take(&l, block, real);
    if (s->mode == DW_HEAD_KEEP || s->mode == DW_HEAD_RECOMPUTE)
        s->grad = take(&l, times(rows, d), real);
    if (jacobian)
        s->u = take(&l, times(rows, d), real);
    if (jacobian && s->wants.entropy_grad) {
        s->v = take(&l, times(rows, d), real);
        s->v_weight = take(&l, block, real);
    }
    if (jacobian && mean_rows > 0)
        s->mean = take(&l, times(mean_rows, d), real);
    if (jacobian && mean_rows > 1)
        s->m_weight = take(&l, block, real);
    return l.used;
}

static size_t blocks_of(size_t vocab)
{
    return dw_div_up(vocab, DW_HEAD_BLOCK);
}

size_t dw_head_state_bytes(dw_head_mode mode, size_t rows, size_t pairs, size_t vocab, size_t d,
                           bool entropy_grad)
{
    dw_head_state s = {.mode = mode,
                       .n_rows = rows,
                       .n_pairs = pairs,
                       .n_blocks = blocks_of(vocab),
                       .wants = {.entropy_grad = entropy_grad}};
    return place(&s, vocab, d, 1, NULL);
}

dw_status dw_head_state_layout(dw_head_state *s, const dw_head_spec *h, size_t rows, size_t pairs,
                               dw_err *err)
{
    s->n_rows = rows;
    s->n_pairs = pairs;
    s->n_blocks = blocks_of(h->vocab);
    /* With a soft cap the mean of the weight rows is weighted, and so a row's own. The small
     * vector is always laid out, so that dw_head_state_bytes is exact without being told. */
    size_t mean_rows = s->wants.mean_logp_grad && h->softcap != 0 ? rows + 1 : 1;
    size_t bytes = place(s, h->vocab, h->d, mean_rows, NULL);
    if (bytes > s->mem_bytes) {
        dw_tensor_unmap(s->mem, s->mem_bytes);
        s->mem_bytes = 0;
        s->mem = dw_tensor_map(bytes);
        if (s->mem == NULL)
            return dw_fail(err, DW_E_LIMIT,
                           "no memory for the vocabulary head: %.1f MiB for %zu rows; use smaller "
                           "micro-batches",
                           (double)bytes / 1048576, rows);
        s->mem_bytes = bytes;
    }
    (void)place(s, h->vocab, h->d, mean_rows, s->mem);
    return DW_OK;
}

void dw_head_state_finish(dw_head_state *s)
{
    dw_tensor_unmap(s->mem, s->mem_bytes);
    *s = (dw_head_state){0};
}
