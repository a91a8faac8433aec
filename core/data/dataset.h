/* Rows of text, tokenised: what a task trains on. */
#ifndef DW_DATA_DATASET_H
#define DW_DATA_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "text/tokenizer.h"

typedef enum dw_data_type {
    DW_TEXTS,       /* text */
    DW_COMPLETIONS, /* prompt, completion */
    DW_PAIRS,       /* prompt, chosen, rejected; or chosen and rejected with the prompt inside */
    DW_PROMPTS,     /* prompt */
} dw_data_type;
const char *dw_data_type_name(dw_data_type t); /* "texts" */

/* Where a field's text comes from: one of three. */
typedef struct dw_column {
    const char *field;  /* "prompt": key or dotted path of the row */
    const char *format; /* "{Body} {Question}<|im_end|>": literals may be special tokens, values
                           never are; "{{" and "}}" are braces */
    const char *lua;    /* name of a function of the row, called through dw_row_fn */
} dw_column;

/* Runs a named function on a row (raw JSON) and appends its text. [main thread] */
typedef dw_status (*dw_row_fn)(void *ctx, const char *fn, dw_text row, dw_buf *out, dw_err *err);

typedef enum dw_on_bad { DW_BAD_ERROR, DW_BAD_SKIP } dw_on_bad;
typedef enum dw_on_long { DW_LONG_DROP, DW_LONG_CUT_PROMPT, DW_LONG_ERROR } dw_on_long;

typedef struct dw_data_spec {
    dw_data_type type;
    const char *const *file; /* absolute; JSONL or a JSON array */
    size_t n_file;
    dw_column text, prompt, completion, chosen, rejected; /* unset: the field of that name */
    const char *split_marker; /* implicit pairs: the prompt ends after its last common occurrence */
    bool add_eos;             /* completions and texts end in eos (default true) */
    bool add_bos;             /* what the tokenizer's post-processor adds goes first (default
                                 true) */
    uint32_t max_tokens;      /* prompt + longest completion; 0: the model's positions */
    uint32_t max_rows;        /* 0: all */
    dw_on_bad on_bad;
    dw_on_long on_long;
} dw_data_spec;

/* Of texts the completion is the whole text and the prompt is empty (nothing predicts its first
 * token); in every other type the prompt has at least one token. The ids of a row lie in one
 * block: prompt, completion, rejected. */
typedef struct dw_row {
    const int32_t *prompt;
    uint32_t n_prompt;
    const int32_t *completion[2]; /* completion or chosen; rejected */
    uint32_t n_completion[2];
    dw_text prompt_text; /* as written, whole even where its ids were cut */
    dw_text meta;        /* the row's raw JSON object */
    uint32_t file, line; /* line from 1; element number in an array file */
    uint64_t hash;       /* of the ids: the key of caches */
} dw_row;

/* What was found while reading; every row that did not come through is in here and is printed
 * before training. */
typedef struct dw_data_counts {
    uint64_t rows, bad, too_long, cut, empty_completion, identical_pair, split_marker, split_prefix;
    uint64_t tokens; /* of all rows, shared prompts once */
    uint32_t longest;
} dw_data_counts;

typedef struct dw_dataset dw_dataset;
/* max_positions bounds max_tokens. Rows with messages (lists of objects with role and content) are
 * refused by name until templates exist. A bad row is "file:line:column: ..." and exit 4. */
dw_status dw_dataset_load(const dw_data_spec *s, const dw_tokenizer *t, uint32_t max_positions,
                          dw_row_fn fn, void *fn_ctx, dw_dataset **out, dw_err *err);
void dw_dataset_free(dw_dataset *d); /* accepts NULL */
size_t dw_dataset_len(const dw_dataset *d);
const dw_row *dw_dataset_row(const dw_dataset *d, size_t i);
const dw_data_counts *dw_dataset_counts(const dw_dataset *d);
const char *dw_dataset_file(const dw_dataset *d, uint32_t file);
void dw_dataset_hash(const dw_dataset *d, char out[65]); /* of the files' bytes */
/* One line per kind of thing that was dropped, cut or repaired; empty when nothing was. */
void dw_data_counts_print(const dw_data_counts *c, const char *name, dw_buf *out);

/* Row number `n` (counted from 0 over the whole run) of the endless shuffled order: epoch
 * n / len in an order that depends on (seed, epoch) alone. */
size_t dw_shuffle_at(uint64_t seed, size_t len, uint64_t n);

#endif
