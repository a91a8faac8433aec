/* Cutting text into the pieces that merging may not cross. */
#ifndef DW_TEXT_PRETOKEN_H
#define DW_TEXT_PRETOKEN_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

enum { DW_PRETOKEN_STAGES = 16 };

typedef enum dw_pretoken_kind {
    DW_PRETOKEN_SPLIT,            /* by a pattern */
    DW_PRETOKEN_DIGITS,           /* by numeric characters */
    DW_PRETOKEN_PUNCTUATION,      /* by punctuation characters */
    DW_PRETOKEN_WHITESPACE,       /* words, and runs of what is neither word nor white space */
    DW_PRETOKEN_WHITESPACE_SPLIT, /* by white space */
    DW_PRETOKEN_METASPACE,        /* spaces become a character that starts a piece */
    DW_PRETOKEN_BYTELEVEL,        /* GPT-2's pattern, if asked for; always the last stage */
} dw_pretoken_kind;

/* What becomes of a match. */
typedef enum dw_pretoken_behavior {
    DW_PRETOKEN_ISOLATED,
    DW_PRETOKEN_REMOVED,
    DW_PRETOKEN_MERGED_WITH_PREVIOUS,
    DW_PRETOKEN_MERGED_WITH_NEXT,
    DW_PRETOKEN_CONTIGUOUS, /* matches side by side are one piece */
} dw_pretoken_behavior;

typedef enum dw_pretoken_scheme {
    DW_PRETOKEN_ALWAYS, /* every piece that does not begin with the character gets one in front */
    DW_PRETOKEN_FIRST,  /* only one at the start of the text */
    DW_PRETOKEN_NEVER,
} dw_pretoken_scheme;

typedef struct dw_pretoken_stage {
    dw_pretoken_kind kind;
    dw_pretoken_behavior behavior;
    bool invert;            /* SPLIT: what lies between the matches are the matches */
    struct dw_regex *regex; /* SPLIT by a pattern, BYTELEVEL with use_regex; else NULL */
    char *string;           /* SPLIT by a string, METASPACE: the character; else NULL */
    size_t n_string;
    bool prefix_space;         /* BYTELEVEL: a piece that does not start with a space gets one */
    dw_pretoken_scheme scheme; /* METASPACE */
    bool split;                /* METASPACE */
} dw_pretoken_stage;

/* Immutable after reading. */
typedef struct dw_pretoken {
    dw_pretoken_stage stage[DW_PRETOKEN_STAGES];
    size_t n;
    bool byte_level;     /* the last stage is BYTELEVEL */
    const char *pattern; /* "GPT-2 pattern" and so on, for people */
} dw_pretoken;

/* Reads the object "pre_tokenizer" of tokenizer.json; none and null leave the text whole. */
dw_status dw_pretoken_read(dw_pretoken *p, const dw_json *object, dw_err *err);
void dw_pretoken_finish(dw_pretoken *p);

/* Working memory; one thread at a time. Zero-initialise. */
typedef struct dw_pretoken_scratch {
    struct dw_regex_scratch *match;
    dw_buf text[DW_PRETOKEN_STAGES]; /* of the stages that change it */
} dw_pretoken_scratch;
void dw_pretoken_scratch_finish(dw_pretoken_scratch *s);

typedef dw_status (*dw_pretoken_fn)(void *ctx, const char *piece, size_t n, dw_err *err);
/* Calls fn on every piece of the text in order; no piece is empty. The text must be UTF-8. `first`:
 * nothing goes before it. */
dw_status dw_pretoken_run(const dw_pretoken *p, dw_pretoken_scratch *s, dw_text text, bool first,
                          dw_pretoken_fn fn, void *ctx, dw_err *err);
/* "prepend_scheme" and the older "add_prefix_space" of a Metaspace object. */
dw_status dw_pretoken_read_scheme(const dw_json *o, dw_pretoken_scheme *out, dw_err *err);
/* Its "replacement": one character, U+2581 by default. */
dw_status dw_pretoken_read_replacement(const dw_json *o, dw_text *out, dw_err *err);

#endif
