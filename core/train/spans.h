/* Rewards of parts of an answer: from bytes of its text to tokens. */
#ifndef DW_TRAIN_SPANS_H
#define DW_TRAIN_SPANS_H

#include "train/set.h"

/* Puts a reward's span on the tokens that touch its bytes, in the column of part k (from 0). A
 * token that two spans touch gets both; one on the border of two belongs to both. */
void dw_spans_put(dw_set *s, const dowel_sample *x, size_t k, const dw_span *span);
/* The value of one token in part k. */
void dw_spans_put_token(dw_set *s, size_t tok, size_t k, double value);
/* After all parts: the first column, their sum by weight. NaN stays out of it. */
void dw_spans_total(dw_set *s);
/* Sum over a sequence's tokens of a column (0: the total); NaN without a span. */
double dw_spans_sum(const dw_set *s, size_t seq, size_t column);

#endif
