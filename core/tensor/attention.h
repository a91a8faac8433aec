/* Causal grouped-query attention over a forest of segments.
 *
 * A segment attends to its ancestors fully and to itself causally. Keys are walked in blocks that
 * are aligned to absolute positions (key j of a path is in block j / DW_KEY_BLOCK whatever segment
 * or cache page it lives in), and partial softmaxes merge block by block from the root, so that a
 * row's bits are the same alone, in a batch, below a shared prompt and through a KV cache. */
#ifndef DW_TENSOR_ATTENTION_H
#define DW_TENSOR_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#include "tensor/exec.h"

enum { DW_KEY_BLOCK = 64, DW_HEAD_DIM_MAX = 256 };

typedef struct dw_segment {
    uint32_t start, len; /* rows of the batch; len > 0 */
    int32_t parent;      /* index of an earlier segment, or -1 */
    uint32_t pos0;       /* position of its first row: the parent's pos0 + len, or 0 */
} dw_segment;

typedef struct dw_attention {
    uint32_t heads, kv_heads, head_dim; /* heads is a multiple of kv_heads; head_dim at most
                                           DW_HEAD_DIM_MAX */
    dw_real scale;                      /* of the scores, usually 1 / sqrt(head_dim) */
    dw_real softcap;                    /* 0: none; else cap * tanh(score / cap) */
    uint32_t window;                    /* 0: none; else position p sees keys > p - window */
} dw_attention;

/* Consecutive keys and values: row i at k + i * ld, heads side by side [kv_heads * head_dim].
 * Or, where `block` is not NULL (k, v, ld are ignored then), one key block in the layout of the
 * kernels, filled by dw_attention_block_store: such a span begins at a position that is a multiple
 * of DW_KEY_BLOCK and has len <= DW_KEY_BLOCK, less only if it is the last. A cache of such blocks
 * decodes fastest (nothing is rearranged per token); the bits are the same either way. */
typedef struct dw_key_span {
    const dw_real *k, *v;
    size_t ld;
    uint32_t len;
    const dw_real *block;
} dw_key_span;

/* Elements of such a block, all kv heads; 64-byte aligned memory of the caller. */
size_t dw_attention_block_elements(const dw_attention *a);
/* Puts n rows of keys and values in slots first, first + 1, ... of the block. A cache that shares a
 * prompt copies the prompt's last, partly filled block for each continuation. */
void dw_attention_block_store(const dw_attention *a, dw_real *block, uint32_t first,
                              const dw_real *k, const dw_real *v, size_t ld, uint32_t n);

/* `rows` consecutive queries at positions pos0, pos0 + 1, ... over the keys of `span`, in order
 * from position 0; together the spans hold at least pos0 + rows keys. */
typedef struct dw_query {
    const dw_real *q; /* row i at q + i * ld_q, [heads * head_dim] */
    dw_real *out;     /* row i at out + i * ld_out */
    dw_real *lse;     /* [rows][heads], log-sum-exp of the scores, or NULL */
    size_t ld_q, ld_out;
    uint32_t rows, pos0;
    const dw_key_span *span; /* keys beyond pos0 + rows are not read */
    uint32_t n_span;
} dw_query;

void dw_attention_forward(const dw_exec *x, const dw_attention *a, const dw_query *query,
                          size_t n_query);

/* Of a whole forest: q, k, v, out, d_* are indexed by batch row. lse [rows][heads] from the forward
 * pass; dq, dk, dv are written (not added). Scratch is taken from `scratch`
 * (dw_attention_backward_scratch elements). One owner per partial sum: deterministic for any number
 * of threads. */
typedef struct dw_attention_grad {
    const dw_real *q, *k, *v, *out, *d_out, *lse;
    dw_real *dq, *dk, *dv;
    size_t ld_q, ld_kv, ld_out; /* of q, dq; of k, v, dk, dv; of out, d_out */
} dw_attention_grad;
size_t dw_attention_backward_scratch(const dw_exec *x, const dw_attention *a, const dw_segment *seg,
                                     size_t n_seg);
void dw_attention_backward(const dw_exec *x, const dw_attention *a, const dw_segment *seg,
                           size_t n_seg, const dw_attention_grad *g, dw_real *scratch);

#endif
