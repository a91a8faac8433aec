/* Sequences to forests: which sequences share a micro-batch, and where their tokens lie in it.
 *
 * A sequence is a prompt and a completion whose every token is predicted. Neighbours with the same
 * prompt (same pointer, same length) share one prompt segment. The last token of a completion
 * predicts nothing, so it has no row unless `with_last` asks for one. Token order ("columns") is
 * sequence after sequence, completion tokens only. */
#ifndef DW_DATA_PACK_H
#define DW_DATA_PACK_H

#include "model/engine.h"

typedef struct dw_packable {
    const int32_t *prompt, *completion; /* at least one token each */
    uint32_t n_prompt, n_completion;
    uint32_t unit;     /* neighbours of the same unit are never split: the halves of a pair */
    uint8_t with_last; /* 1: the last token is an input too, because a score is read there */
} dw_packable;

typedef struct dw_pack {
    dw_forest forest;
    dw_head_pair *pair; /* [n_tok], sorted by row */
    uint32_t *pair_of;  /* [n_tok] column order -> index of its pair */
    uint32_t *row_of;   /* [n_tok] row of the token itself; UINT32_MAX: it has none */
    uint32_t *start;    /* [n_seq + 1] first token of each sequence, in column order */
    size_t n_seq, n_tok;
    uint32_t longest; /* longest path from a root to a leaf, in rows */
} dw_pack;

/* End (exclusive) of the micro-batch that begins at `from`: as many whole units as fit max_rows
 * rows, at least one. */
size_t dw_pack_cut(const dw_packable *s, size_t n, size_t from, size_t max_rows);
/* Lays sequences out; memory from the arena. */
void dw_pack_build(dw_arena *a, const dw_packable *s, size_t n, dw_pack *out);
/* Rows that dw_pack_build would make. */
size_t dw_pack_rows(const dw_packable *s, size_t n);

#endif
