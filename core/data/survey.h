/* Looks at every row of a file and tells what would be trained on, without training. */
#ifndef DW_DATA_SURVEY_H
#define DW_DATA_SURVEY_H

#include "data/detect.h"
#include "data/row.h"
#include "data/seen.h"

typedef struct dw_survey_spec {
    const char *file;
    const char *against;           /* another file, or NULL */
    int type;                      /* a dw_data_type, or -1: detect it */
    dw_data_spec data;             /* columns and the like; type and layout are filled in */
    const dw_tokenizer *tokenizer; /* NULL: no lengths, no masks */
} dw_survey_spec;

/* Something found, with the first few places. */
typedef struct dw_finding {
    uint64_t n;
    dw_seen_place at[3], first[3]; /* the row, and the earlier one that it repeats or contradicts */
} dw_finding;

typedef enum dw_finding_kind {
    DW_FOUND_EMPTY,       /* an answer without text */
    DW_FOUND_IDENTICAL,   /* chosen is rejected */
    DW_FOUND_DUPLICATE,   /* the same prompt and answers */
    DW_FOUND_CONTRARY,    /* the same answers the other way round, or with the other label */
    DW_FOUND_OVERLAP,     /* the other file has this row */
    DW_FOUND_SAME_PROMPT, /* the other file has this prompt */
    DW_FOUND_TOO_LONG,
    DW_N_FOUND,
} dw_finding_kind;

/* Zero-initialise before use; dw_survey_finish. */
typedef struct dw_survey {
    dw_detected detected;
    bool known; /* `detected` holds, or the type was given */
    dw_data_type type;
    uint64_t rows, bad, conversational, other_columns; /* rows whose columns say another type */
    dw_buf bad_list;                                   /* a line for each bad row */
    dw_buf mapping; /* where !known: a line for a recipe, or empty */
    dw_buf columns; /* of the first row, with commas */
    dw_finding found[DW_N_FOUND];
    uint64_t good_labels, bad_labels;
    uint32_t *length; /* [n_length] tokens of each row's prompt and longest answer, sorted */
    size_t n_length, cap_length;
    dw_ids shown;      /* one row: prompt and first answer */
    dw_buf shown_mask; /* 1: trained on */
    dw_seen_place shown_at;
    dw_seen rows_seen, contrary_seen, against_rows, against_prompts;
} dw_survey;
/* Bad rows are listed, not an error. */
dw_status dw_survey_run(const dw_survey_spec *s, dw_survey *out, dw_err *err);
void dw_survey_finish(dw_survey *v);

#endif
