/* The vocabulary head, fused with its statistics: logits never exist for a whole batch.
 *
 * Work items are (row, target) pairs: the last row of a shared prompt predicts the first token of
 * each of its children, so one row may carry several targets. A row's softmax is computed once.
 * With x = logits / temperature, p = softmax(x), per pair
 *     logp = x[target] - lse        entropy = lse - sum p x
 *     mean_logp = mean(x) - lse     collision = sum p^2
 *     mean_logit = mean(logits)     top_prob = max p       top1 = target is the argmax
 * Sums over the vocabulary run in double over fixed blocks, so a row's bits depend on nothing but
 * the row. */
#ifndef DW_TENSOR_HEAD_H
#define DW_TENSOR_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor/linear.h"

enum { DW_HEAD_BLOCK = 3072 }; /* vocabulary columns per chunk, a multiple of 16 */

typedef struct dw_head_pair {
    uint32_t row;
    int32_t target;
} dw_head_pair;

typedef struct dw_head_spec {
    const dw_panels *w;  /* packed [vocab][d] */
    const dw_real *bias; /* [vocab] or NULL */
    size_t vocab, d;
    dw_real softcap;    /* 0: none; else cap * tanh(logit / cap) before the temperature */
    double temperature; /* > 0 */
} dw_head_spec;

/* Outputs per pair; NULL where not wanted. */
typedef struct dw_head_out {
    double *logp, *entropy, *mean_logp, *collision, *mean_logit, *top_prob;
    uint8_t *top1;
} dw_head_out;

typedef enum dw_head_mode {
    DW_HEAD_FORWARD,   /* nothing is saved; no backward */
    DW_HEAD_KEEP,      /* raw logits of the rows are kept */
    DW_HEAD_RECOMPUTE, /* backward runs the chunks again */
    DW_HEAD_JACOBIAN,  /* the head is frozen: u (and v) per row are saved, backward only scales */
} dw_head_mode;

/* Which of the columns besides logp will get a derivative (JACOBIAN saves what they need). */
typedef struct dw_head_wants {
    bool entropy_grad, mean_logp_grad;
} dw_head_wants;

/* What a forward pass leaves for its backward pass; one mapping from dw_tensor_map, reused when
 * large enough. Zero-initialise. The pointers are read-only views into mem. */
typedef struct dw_head_state {
    dw_head_mode mode;
    void *mem;
    size_t mem_bytes;
    size_t n_rows, n_pairs, n_blocks; /* distinct rows, pairs, vocabulary blocks */
    dw_head_wants wants;
    uint32_t *row;                /* [n_rows] */
    uint32_t *first;              /* [n_rows + 1] first pair of each row */
    double *lse, *entropy;        /* [n_rows] */
    dw_real *pick;                /* [n_pairs] logit of the target */
    struct dw_head_stats *stats;  /* [n_blocks][n_rows] */
    dw_real *hidden;              /* [n_rows][d] */
    dw_real *grad;                /* [n_rows][d], KEEP and RECOMPUTE */
    dw_real *logits;              /* KEEP: [n_blocks][n_rows][block]; else [chunk][block] */
    dw_real *u, *v, *mean;        /* JACOBIAN: [n_rows][d]; mean is one row without soft cap */
    dw_real *v_weight, *m_weight; /* JACOBIAN: as logits */
} dw_head_state;
void dw_head_state_finish(dw_head_state *s);
/* Bytes the state will hold for so many distinct rows and pairs. A soft cap together with a
 * derivative of mean_logp in JACOBIAN mode takes more (rows * (d + DW_HEAD_BLOCK) elements). */
size_t dw_head_state_bytes(dw_head_mode mode, size_t rows, size_t pairs, size_t vocab, size_t d,
                           bool entropy_grad);

/* hidden[*][d] is indexed by pair.row; pairs are sorted by row, targets are in [0, vocab).
 * DW_E_LIMIT when memory is gone. state may be NULL in mode FORWARD (its scratch is then mapped and
 * unmapped in the call). */
dw_status dw_head_forward(const dw_exec *x, const dw_head_spec *h, const dw_real *hidden, size_t ld,
                          const dw_head_pair *pair, size_t n_pair, dw_head_mode mode,
                          dw_head_wants wants, dw_head_out *out, dw_head_state *state, dw_err *err);
/* pair, hidden and h as given to dw_head_forward. d_logp, d_entropy, d_mean_logp [n_pair]; any
 * may be NULL. KEEP mode overwrites the saved logits: once per forward. Writes d_hidden of
 * every row that has a pair (rows without one are left alone); d_w[vocab][d] += unless NULL;
 * d_bias[vocab] += unless NULL. JACOBIAN: d_w and d_bias must be NULL. */
void dw_head_backward(const dw_exec *x, const dw_head_spec *h, const dw_real *hidden, size_t ld,
                      const dw_head_pair *pair, size_t n_pair, const double *d_logp,
                      const double *d_entropy, const double *d_mean_logp, dw_real *d_hidden,
                      size_t ld_d, dw_real *d_w, dw_real *d_bias, const dw_head_state *state);

/* For sampling: raw logits [rows][vocab] (softcap applied, temperature not). */
void dw_head_logits(const dw_exec *x, const dw_head_spec *h, const dw_real *hidden, size_t ld,
                    size_t rows, dw_real *logits);
/* lse and entropy of one row of such logits, with the bits dw_head_forward computes. Does not use
 * the pool: may be called from its tasks. */
void dw_head_row_stats(const dw_head_spec *h, const dw_exec *x, const dw_real *logits, double *lse,
                       double *entropy);
/* logp of a token from the two above, with the bits of dw_head_forward. */
double dw_head_row_logp(const dw_head_spec *h, const dw_real *logits, int32_t token, double lse);

#endif
