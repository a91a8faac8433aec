/* Normalizers of tokenizer.json: what is done to a text before anything cuts it. */
#ifndef DW_TEXT_NORMALIZE_H
#define DW_TEXT_NORMALIZE_H

#include "base/json.h"
#include "text/charsmap.h"
#include "text/regex.h"
#include "text/unicode.h"

enum { DW_NORMALIZE_STEPS = 32 };

typedef enum dw_normalize_kind {
    DW_NORMALIZE_FORM, /* NFC, NFD, NFKC, NFKD */
    DW_NORMALIZE_LOWERCASE,
    DW_NORMALIZE_STRIP,         /* white space at the ends */
    DW_NORMALIZE_STRIP_ACCENTS, /* combining marks */
    DW_NORMALIZE_REPLACE,
    DW_NORMALIZE_PREPEND, /* in front of a text that is not empty */
    DW_NORMALIZE_CHARSMAP,
} dw_normalize_kind;

typedef struct dw_normalize_step {
    dw_normalize_kind kind;
    dw_unicode_form form;
    bool left, right; /* STRIP */
    char *from, *to;  /* REPLACE by a string, PREPEND (to) */
    size_t n_from, n_to;
    dw_regex *regex; /* REPLACE by a pattern; else NULL */
    dw_charsmap map;
} dw_normalize_step;

/* Zero-initialise. Immutable after reading. */
typedef struct dw_normalize {
    dw_normalize_step step[DW_NORMALIZE_STEPS];
    size_t n;
} dw_normalize;

/* Reads the object "normalizer" of tokenizer.json; none and null are no steps. */
dw_status dw_normalize_read(dw_normalize *z, const dw_json *object, dw_err *err);
void dw_normalize_finish(dw_normalize *z);
/* " NFC", " NFKC" ...: the first normal form, or "". */
const char *dw_normalize_form_name(const dw_normalize *z);

/* Working memory; one thread at a time. Zero-initialise. */
typedef struct dw_normalize_scratch {
    dw_buf a, b;
    dw_regex_scratch *match;
} dw_normalize_scratch;
void dw_normalize_scratch_finish(dw_normalize_scratch *s);

/* *out is the text itself or lies in the scratch until its next use. The text must be UTF-8. */
dw_status dw_normalize_run(const dw_normalize *z, dw_normalize_scratch *s, dw_text text,
                           dw_text *out, dw_err *err);

/* The pattern {"String": s} or {"Regex": r} of Replace and Split: exactly one of them is set. The
 * text borrows from the JSON. */
typedef struct dw_pattern {
    dw_text text;
    dw_regex *regex;
} dw_pattern;
dw_status dw_pattern_read(const dw_json *owner, dw_pattern *out, dw_err *err);

#endif
