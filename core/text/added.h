/* Added tokens: found in the text before anything else looks at it. */
#ifndef DW_TEXT_ADDED_H
#define DW_TEXT_ADDED_H

#include "base/json.h"
#include "text/normalize.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

typedef struct dw_added_token {
    dw_text content; /* what is searched for (of a normalized token: its normal form) */
    int32_t id;
    bool special, lstrip, rstrip, single_word, normalized;
} dw_added_token;

/* Tokens sorted bytewise by content, with where each first byte begins. */
typedef struct dw_added_set {
    dw_added_token *token;
    size_t n, n_plain; /* n_plain: how many are not special */
    uint32_t first[257];
} dw_added_set;

/* Immutable after reading. */
typedef struct dw_added {
    dw_added_set raw;     /* sought in the text as it came (normalized: false) */
    dw_added_set normal;  /* sought in what is left, after the normalizer */
    dw_added_set literal; /* the special ones of both and the plain ones of raw */
    uint8_t *special;     /* by id: 1 special */
    int32_t n_special;    /* length of special[] */
} dw_added;

/* Reads the array "added_tokens" and puts the tokens into the vocabulary. */
dw_status dw_added_read(dw_added *a, dw_vocab *v, const dw_json *array, const dw_normalize *z,
                        dw_err *err);
void dw_added_finish(dw_added *a);

typedef struct dw_added_match {
    /* With the white space that lstrip and rstrip take. What lies between one match's end and the
     * next one's start is text; after a token inside white space that was taken, end < start. */
    size_t start, end;
    int32_t id;
} dw_added_match;

/* What special tokens may be found in: everything, nothing, or only inside these spans (a token
 * never crosses a border). */
typedef enum dw_added_mode { DW_ADDED_ALL, DW_ADDED_PLAIN, DW_ADDED_SPANS } dw_added_mode;
typedef struct dw_added_span {
    size_t start, end;
} dw_added_span;

/* Walks through the matches from left to right. Zero-initialise all but the first five. */
typedef struct dw_added_finder {
    const dw_added_set *set;
    dw_text text;
    dw_added_mode mode;
    const dw_added_span *span; /* ascending; DW_ADDED_SPANS only */
    size_t n_span;
    size_t at, done, in_span;
} dw_added_finder;
/* False at the end. */
bool dw_added_next(dw_added_finder *f, dw_added_match *out);

#endif
