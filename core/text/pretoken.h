/* Cutting text into the pieces that merging may not cross. */
#ifndef DW_TEXT_PRETOKEN_H
#define DW_TEXT_PRETOKEN_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

enum { DW_PRETOKEN_STAGES = 16 };

typedef enum dw_pretoken_kind {
    DW_PRETOKEN_SPLIT,     /* a pattern's matches and what lies between them */
    DW_PRETOKEN_DIGITS,    /* runs of numeric characters, or each one of them */
    DW_PRETOKEN_BYTELEVEL, /* GPT-2's pattern, if asked for; always the last stage */
} dw_pretoken_kind;

typedef struct dw_pretoken_stage {
    dw_pretoken_kind kind;
    struct dw_regex *regex; /* SPLIT, and BYTELEVEL with use_regex; else NULL */
    bool individual;        /* DIGITS */
    bool prefix_space;      /* BYTELEVEL: a piece that does not start with a space gets one */
} dw_pretoken_stage;

/* Immutable after reading. */
typedef struct dw_pretoken {
    dw_pretoken_stage stage[DW_PRETOKEN_STAGES];
    size_t n;
    const char *pattern; /* "GPT-2 pattern" and so on, for people */
} dw_pretoken;

/* Reads the object "pre_tokenizer" of tokenizer.json. */
dw_status dw_pretoken_read(dw_pretoken *p, const dw_json *object, dw_err *err);
void dw_pretoken_finish(dw_pretoken *p);

/* Working memory; one thread at a time. Zero-initialise. */
typedef struct dw_pretoken_scratch {
    struct dw_regex_scratch *match;
    dw_buf prefixed;
} dw_pretoken_scratch;
void dw_pretoken_scratch_finish(dw_pretoken_scratch *s);

typedef dw_status (*dw_pretoken_fn)(void *ctx, const char *piece, size_t n, dw_err *err);
/* Calls fn on every piece of the text in order; no piece is empty. The text must be UTF-8. */
dw_status dw_pretoken_run(const dw_pretoken *p, dw_pretoken_scratch *s, dw_text text,
                          dw_pretoken_fn fn, void *ctx, dw_err *err);

#endif
