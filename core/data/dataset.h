/* Rows of text, tokenised: what a task trains on. */
#ifndef DW_DATA_DATASET_H
#define DW_DATA_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "text/chat.h"
#include "text/tokenizer.h"

typedef enum dw_data_type {
    DW_TEXTS,       /* text */
    DW_COMPLETIONS, /* prompt, completion */
    DW_PAIRS,       /* prompt, chosen, rejected; or chosen and rejected with the prompt inside */
    DW_PROMPTS,     /* prompt */
    DW_LABELS,      /* prompt, completion, label */
    DW_STEPS,       /* prompt, steps, labels: one a step */
    DW_LISTS,       /* prompt, completions, and their ranks or scores */
    DW_N_DATA_TYPE,
} dw_data_type;
const char *dw_data_type_name(dw_data_type t); /* "texts" */

/* What a row may hold. */
typedef enum dw_data_column {
    DW_COL_TEXT,
    DW_COL_PROMPT,
    DW_COL_COMPLETION,
    DW_COL_CHOSEN,
    DW_COL_REJECTED,
    DW_COL_STEPS,       /* list of texts */
    DW_COL_COMPLETIONS, /* list of texts */
    DW_COL_LABEL,       /* true, false, 1, 0 or -1 */
    DW_COL_LABELS,      /* list, for each step true, false, 0 .. 1, or null: nobody said */
    DW_COL_RANKS,       /* list of numbers, the smallest is the best */
    DW_COL_SCORES,      /* list of numbers, the largest is the best */
    /* from here on: a row may do without */
    DW_COL_GOLD,           /* pairs: a third, good answer */
    DW_COL_TEACHER_PROMPT, /* what a teacher reads in place of the prompt */
    DW_COL_TARGET,         /* pairs: how likely it is that chosen is the better one, 0 .. 1 */
    DW_COL_MARGIN,         /* pairs: by how much chosen is better */
    DW_COL_WEIGHT,         /* >= 0 */
    /* of conversations */
    DW_COL_MESSAGES,    /* a whole conversation, where text or prompt and answer are not given */
    DW_COL_TOOLS,       /* list of schemas, or that list as a string */
    DW_COL_DOCUMENTS,   /* list; only where the recipe names it */
    DW_COL_VARIABLES,   /* object of variables for the template; chat_template_kwargs */
    DW_COL_SYSTEM,      /* layouts: what the system says first */
    DW_COL_INSTRUCTION, /* layout alpaca: these four */
    DW_COL_INPUT,
    DW_COL_OUTPUT,
    DW_COL_HISTORY, /* list of [question, answer] */
    DW_N_DATA_COLUMN,
} dw_data_column;
const char *dw_data_column_name(dw_data_column c); /* "teacher_prompt"; also the field's */
bool dw_data_has(dw_data_type t, dw_data_column c);
/* Whether each of its rows must have it, under that name where the recipe gives no other: pairs may
 * hold the prompt inside, steps may be called completions as in TRL, and lists have ranks or
 * scores.
 */
bool dw_data_needs(dw_data_type t, dw_data_column c);
bool dw_data_is_text(dw_data_column c); /* and not a number, a truth value or a list */

/* Where a column comes from: one of three. A format or a function that stands for something else
 * than text gives it as JSON. */
typedef struct dw_column {
    const char *field;  /* "prompt": key or dotted path of the row */
    const char *format; /* "{Body} {Question}<|im_end|>": literals may be special tokens, values
                           never are; "{{" and "}}" are braces */
    const char *lua;    /* name of a function of the row, called through dw_row_fn */
} dw_column;

/* Runs a named function on a row (raw JSON) and appends its text; *json: the text is JSON, of what
 * the function gave instead of text. [main thread] */
typedef dw_status (*dw_row_fn)(void *ctx, const char *fn, dw_text row, dw_buf *out, bool *json,
                               dw_err *err);

typedef enum dw_on_bad { DW_BAD_ERROR, DW_BAD_SKIP } dw_on_bad;
typedef enum dw_on_duplicate { DW_DUPLICATE_KEEP, DW_DUPLICATE_DROP } dw_on_duplicate;
typedef enum dw_on_long { DW_LONG_DROP, DW_LONG_CUT_PROMPT, DW_LONG_ERROR } dw_on_long;
/* What of a conversation is trained on. ALL: of texts every token, of answers every message. */
typedef enum dw_loss_on { DW_LOSS_ASSISTANT, DW_LOSS_ALL } dw_loss_on;
/* Whose names for columns, roles and keys of messages a row uses where the recipe gives no others.
 * Alpaca's rows become messages: system, history, instruction and input; output. */
typedef enum dw_row_layout { DW_ROWS_NONE, DW_ROWS_SHAREGPT, DW_ROWS_ALPACA } dw_row_layout;

enum { DW_CHAT_TEMPLATE_MAX = 1 << 20 }; /* bytes of a template's file */

typedef struct dw_data_spec {
    dw_data_type type;
    const char *const *file; /* absolute; JSONL, a JSON array or a table, packed or not; or a
                                folder with a file for each split */
    size_t n_file;
    dw_column column[DW_N_DATA_COLUMN]; /* unset: the field of that name */
    const char *map; /* function that makes another row of each, or null: the row is left out */
    const char *separator;    /* of steps: ends every one of them (NULL: a line feed) */
    const char *const *field; /* [n_field] further fields that hold numbers, by dotted path */
    size_t n_field;
    const char *split_marker; /* implicit pairs: the prompt ends after its last common occurrence */
    bool add_eos;             /* completions and texts end in eos (default true) */
    bool add_bos;        /* what the tokenizer's post-processor adds goes first; default true */
    bool held;           /* of `holdout`: the rows that are set aside, and no others */
    uint32_t max_tokens; /* prompt + longest completion; 0: the model's positions */
    uint32_t max_rows;   /* 0: all */
    dw_on_bad on_bad;
    double max_bad; /* bad rows to skip: from 1 up rows, below 1 a share of them; 0: any number */
    const char *split; /* of folders: "train" (NULL), "valid" or "test" */
    double holdout;    /* share of the prompts that is set aside, by a hash of their text */
    dw_on_duplicate on_duplicate;
    dw_on_long on_long;
    const char *template_file; /* absolute; NULL: the model's own template */
    dw_row_layout layout;
    dw_loss_on loss_on;
    const char *role_key, *content_key; /* of messages without "role"; NULL: "from" and "value" */
    const dw_chat *chat;  /* what messages are written with, for the load; NULL: there is none */
    const char *chat_why; /* why it cannot be read, where that is so */
} dw_data_spec;

typedef struct dw_answer {
    const int32_t *id;
    uint32_t n;
    double rank; /* lists: 1 is the best, equals share a rank; else NaN */
} dw_answer;

/* Of texts the only answer is the whole text and the prompt is empty (nothing predicts its first
 * token); in every other type the prompt has at least one token. The ids of a row lie in one
 * block: prompt, answers, the teacher's prompt. */
typedef struct dw_row {
    const int32_t *prompt;
    uint32_t n_prompt;
    const unsigned char *mask; /* of the answers' tokens as they lie in the block, from answer[0].id
                                  on: 1 = trained on; NULL: all are */
    uint32_t n_answer;         /* prompts: 0 */
    const dw_answer *answer;   /* the completion; chosen, rejected and perhaps gold; a list's */
    const int32_t *teacher_prompt; /* NULL: the teacher reads the prompt */
    uint32_t n_teacher_prompt;
    uint32_t n_step;          /* steps, else 0 */
    const uint32_t *step_end; /* [n_step] the token of the answer that carries the step's mark: the
                                 last one of its separator */
    const double *step_label; /* [n_step] probability that the step is right, NaN: nobody said */
    double weight;            /* 1 unless the row says more */
    double label;             /* labels: +1 or -1; else +1 */
    double target, margin;    /* pairs: 1 and 0 unless the row says more */
    const double *field;      /* [n_field] NaN where the row has no such field */
    dw_text prompt_text;      /* as written, of messages as the template writes them; whole even
                                 where its ids were cut */
    dw_text meta;             /* the row's raw JSON object */
    uint32_t file, line;      /* line from 1; element number in an array file */
    uint64_t hash;            /* of the ids: the key of caches */
} dw_row;

/* What was found while reading; every row that did not come through is in here and is printed
 * before training. */
typedef struct dw_data_counts {
    uint64_t rows, bad, too_long, cut, empty_completion, identical_pair, split_marker, split_prefix;
    uint64_t left_out, set_aside; /* by map; by holdout, or not held */
    uint64_t duplicate;           /* the same tokens (and label) as an earlier row */
    bool duplicates_dropped;
    char duplicate_at[512]; /* the first of them and what it repeats: "file:line and ..." */
    uint64_t tied_list;     /* nothing in it is better than anything */
    uint64_t weights, targets, margins, gold, teacher_prompts; /* rows that bring their own */
    uint64_t talks;                                            /* rows of messages */
    uint64_t split_messages; /* pairs of those whose prompt was in both halves */
    uint64_t tokens;         /* of all rows, shared prompts once */
    uint64_t trained;        /* tokens of answers that are trained on */
    uint32_t longest;
    int32_t turn_end; /* the token with which the template ends an assistant's turn; -1: no row of
                         messages was read, or the template ends turns with none */
} dw_data_counts;

typedef struct dw_dataset dw_dataset;
/* max_positions bounds max_tokens. Rows with messages (lists of objects with role and content, or
 * with ShareGPT's from and value) are written with s->chat, whatever the other rows hold. A bad row
 * is "file:line:column: ..." and exit 4. */
dw_status dw_dataset_load(const dw_data_spec *s, const dw_tokenizer *t, uint32_t max_positions,
                          dw_row_fn fn, void *fn_ctx, dw_dataset **out, dw_err *err);
/* Several sources of one type in one data set; share[i] > 0. Rows come in these proportions. */
typedef struct dw_data_source {
    const dw_data_spec *spec;
    double weight;
} dw_data_source;
dw_status dw_dataset_load_mixture(const dw_data_source *source, size_t n, const dw_tokenizer *t,
                                  uint32_t max_positions, dw_row_fn fn, void *fn_ctx,
                                  dw_dataset **out, dw_err *err);
void dw_dataset_free(dw_dataset *d); /* accepts NULL */
/* A line for each bad row that was skipped; empty when none was. */
dw_text dw_dataset_bad_rows(const dw_dataset *d);

size_t dw_dataset_len(const dw_dataset *d);
const dw_row *dw_dataset_row(const dw_dataset *d, size_t i);
const dw_data_counts *dw_dataset_counts(const dw_dataset *d);
const char *dw_dataset_file(const dw_dataset *d, uint32_t file);
void dw_dataset_hash(const dw_dataset *d, char out[65]); /* of the files' bytes */
/* One line per kind of thing that was dropped, cut, repaired or strange; empty when nothing was. */
void dw_data_counts_print(const dw_data_counts *c, const char *name, dw_buf *out);

#endif
