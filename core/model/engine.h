/* Forward and backward passes of a model over a forest of segments. One engine per thread of
 * control; memory grows to the largest batch it has seen. */
#ifndef DW_MODEL_ENGINE_H
#define DW_MODEL_ENGINE_H

#include "model/model.h"
#include "tensor/attention.h"
#include "tensor/divergence.h"
#include "tensor/head.h"

typedef struct dw_forest {
    const int32_t *id; /* [n_row] */
    size_t n_row;
    const dw_segment *seg;
    size_t n_seg;
} dw_forest;

enum {
    DW_PASS_SAVE = 1u << 0,       /* keep what backward needs */
    DW_PASS_NO_ADAPTER = 1u << 1, /* the reference under LoRA */
};

typedef struct dw_engine dw_engine;
dw_status dw_engine_create(dw_model *m, dw_engine **out, dw_err *err);
void dw_engine_destroy(dw_engine *e); /* accepts NULL */

/* Runs the body. The final (normed) hidden rows stay in the engine until the next forward. */
dw_status dw_engine_forward(dw_engine *e, const dw_forest *f, unsigned flags, dw_err *err);
const dw_real *dw_engine_hidden(const dw_engine *e); /* [n_row][d] */
/* The head over (row, target) pairs of the last forward; pairs sorted by row. The mode is chosen
 * here: FORWARD without DW_PASS_SAVE; JACOBIAN when the head is frozen; KEEP while the logits fit
 * keep_bytes, else RECOMPUTE. A model with a score head on top has none of this: an error. */
dw_status dw_engine_head(dw_engine *e, const dw_head_pair *pair, size_t n_pair, double temperature,
                         dw_head_wants wants, dw_head_out *out, dw_err *err);
typedef enum dw_read { DW_READ_VALUE, DW_READ_SCORE } dw_read;
/* The value or the score head at rows of the last forward (any order, repeats allowed), out
 * [n][width]. */
dw_status dw_engine_read(dw_engine *e, dw_read which, const uint32_t *row, size_t n, double *out,
                         dw_err *err);

typedef struct dw_divergence {
    int kind;                  /* DW_FORWARD_KL ..., q the other model */
    double beta, temperature;  /* of both sides */
    uint32_t top_k;            /* the policy's likeliest; 0: the whole vocabulary */
    bool tail;                 /* the others as one more outcome; else renormalised */
    dw_engine *other;          /* its last forward gives q; the same vocabulary */
    const uint32_t *other_row; /* [n_pair] row of the other's last forward for each pair; NULL: the
                                  same row numbers */
} dw_divergence;
/* The divergence at the rows of the pairs (their targets are not looked at), out [n_pair]. After it
 * the other engine may run again; its model must not change before backward. */
dw_status dw_engine_divergence(dw_engine *e, const dw_head_pair *pair, size_t n_pair,
                               const dw_divergence *d, double *out, dw_err *err);

/* Derivatives of a loss; NULL: none. Parallel to the arguments of the call that read the numbers.
 */
typedef struct dw_engine_grads {
    const double *logp, *entropy, *mean_logp; /* [n_pair] of dw_engine_head */
    const double *divergence;                 /* [n_pair] of dw_engine_divergence */
    const double *value, *score;              /* [n][width] of dw_engine_read */
} dw_engine_grads;
/* Gradients of the last forward (with DW_PASS_SAVE), added to dw_model_trained(m)->g. At most one
 * head, one divergence, one value and one score read since that forward take part: the last of
 * each. Once per forward. */
dw_status dw_engine_backward(dw_engine *e, const dw_engine_grads *d, dw_err *err);
void dw_engine_keep_bytes(dw_engine *e, size_t bytes); /* budget of KEEP, default 512 MiB */

/* Memory in bytes for a batch of such a shape, before it is run; sums what forward, head and
 * backward will map. */
typedef struct dw_engine_need {
    size_t rows, sum_len_sq, head_rows, head_pairs;
    bool save;
    bool entropy_grad;       /* the head will be asked for derivatives of the entropy */
    size_t divergence_pairs; /* 0: no divergence */
    size_t divergence_width; /* hidden_size of the other model */
    uint32_t divergence_top_k;
} dw_engine_need;
size_t dw_engine_bytes(const dw_model *m, const dw_engine_need *need);

#endif
