/* The bridge between the models and the columns: the one place that knows both. */
#ifndef DW_TRAIN_OBSERVE_H
#define DW_TRAIN_OBSERVE_H

#include <dowel/plugin.h>

#include "data/pack.h"

/* Columns that come from a model; those with a gradient first. */
enum dw_seen {
    DW_SEEN_LOGP,
    DW_SEEN_ENTROPY,
    DW_SEEN_MEAN_LOGP,
    DW_SEEN_VALUE,
    DW_SEEN_SCORE,
    DW_SEEN_DIVERGENCE,
    DW_SEEN_CHOICES,
    DW_N_SEEN_GRAD,
    DW_SEEN_TOP1 = DW_N_SEEN_GRAD,
    DW_SEEN_COLLISION,
    DW_SEEN_TOP_PROB,
    DW_SEEN_MEAN_LOGIT,
    DW_N_SEEN
};
extern const int dw_seen_column[DW_N_SEEN]; /* DOWEL_LOGP ... */

/* What a vocabulary head says about tokens. */
#define DW_HEAD_COLUMNS                                                                            \
    (DOWEL_BIT(DOWEL_LOGP) | DOWEL_BIT(DOWEL_ENTROPY) | DOWEL_BIT(DOWEL_MEAN_LOGP) |               \
     DOWEL_BIT(DOWEL_CHOICES) | DOWEL_BIT(DOWEL_TOP1) | DOWEL_BIT(DOWEL_COLLISION) |               \
     DOWEL_BIT(DOWEL_TOP_PROB) | DOWEL_BIT(DOWEL_MEAN_LOGIT))
#define DW_VALUE_COLUMNS                                                                           \
    (DOWEL_BIT(DOWEL_VALUE) | DOWEL_BIT(DOWEL_OLD_VALUE) | DOWEL_BIT(DOWEL_RETURN))

/* Rows of SCORE and CHOICES are marks, of everything else tokens. */
static inline bool dw_seen_by_mark(int seen)
{
    return seen == DW_SEEN_SCORE || seen == DW_SEEN_CHOICES;
}

/* Who is asked what. */
typedef struct dw_view {
    uint64_t columns; /* DOWEL_BIT()s of the columns above; others are ignored */
    dw_engine *e;     /* of the model that speaks or scores */
    unsigned flags;   /* DW_PASS_NO_ADAPTER */
    bool moves;       /* it takes part in backward */
    dw_head_wants wants;
    dw_engine *critic; /* of VALUE: may be e; NULL: no VALUE */
    bool critic_moves;
    dw_read value_by;
    uint32_t value_width, score_width;
    dw_divergence divergence; /* temperature 0: the view's; other: set when it is wanted */
    unsigned other_flags;
    const dw_pack *other_pack; /* what the other model reads; NULL: the same pack */
    const int32_t *choice;     /* [n_choice] */
    uint32_t n_choice;
    double temperature;
} dw_view;

/* What the models say about a micro-batch, rows in column order; NULL where not asked. */
typedef struct dw_observed {
    double *x[DW_N_SEEN];
    uint32_t width[DW_N_SEEN];
    size_t n_tok, n_mark;
    /* for backward: how the engine was asked */
    uint32_t *pair_at;   /* [n_tok] of the pack's pairs among those given to the head */
    uint32_t *choice_at; /* [n_mark * n_choice] */
    size_t n_pair;
} dw_observed;

/* Forward over one pack. mark: [n_tok] which tokens SCORE and CHOICES look at, or NULL. save: for
 * dw_observe_backward. Memory from the arena. A number that is not finite is DW_E_NUMERIC. */
dw_status dw_observe(const dw_view *v, dw_arena *a, const dw_pack *p, const uint8_t *mark,
                     bool save, dw_observed *out, dw_err *err);
/* Backward of the last dw_observe with save; grad: derivatives of the step's loss in the shapes of
 * seen->x, NULL: zero. */
dw_status dw_observe_backward(const dw_view *v, dw_arena *a, const dw_pack *p,
                              const dw_observed *seen, double *const grad[DW_N_SEEN_GRAD],
                              dw_err *err);
/* A view of log-probabilities alone. */
dw_view dw_view_logp(dw_engine *e, unsigned flags, double temperature);

#endif
