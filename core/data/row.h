/* One row of a data set on its way from JSON to ids. */
#ifndef DW_DATA_ROW_H
#define DW_DATA_ROW_H

#include "data/column.h"

/* What rows are read with. */
typedef struct dw_row_reader {
    const dw_data_spec *s;
    const dw_tokenizer *t;
    dw_column_plan column[DW_N_DATA_COLUMN];
    dw_column_plan *field; /* [n_field] */
    const int32_t *before; /* what goes in front of a prompt */
    size_t n_before;
    size_t limit; /* tokens of a row; SIZE_MAX: none */
    dw_ids separator;
    dw_ids ids;       /* of the row at hand: prompt, answers, the teacher's prompt */
    dw_buf mask;      /* parallel to ids where dw_draft.masked */
    int32_t turn_end; /* dw_data_counts.turn_end */
    bool turn_known;
    dw_chat_out out, rest, full; /* of the template, reused */
    dw_json **own;               /* [n_own] made for the row at hand */
    size_t n_own, cap_own;
    dw_arena keep, scratch; /* for the whole load; for the row at hand */
} dw_row_reader;

/* An answer between its text and its ids. */
typedef struct dw_draft_answer {
    dw_column_text text; /* of steps: empty; of messages: what tells whether it is empty, or equal
                            to another */
    const dw_json *said; /* messages, or NULL */
    size_t n;            /* tokens */
    double rank;
} dw_draft_answer;

/* A row between its text and its place in the data set; memory of the reader's scratch arena. */
typedef struct dw_draft {
    dw_column_text prompt, teacher_prompt;
    const dw_json *asked, *teacher_asked;         /* the same as messages, or NULL */
    const dw_json *tools, *documents, *variables; /* for the template, or NULL */
    size_t n_prompt, n_teacher_prompt;            /* tokens */
    dw_draft_answer *answer;
    size_t n_answer;
    dw_column_text *step; /* [n_step] */
    uint32_t *step_end;
    double *step_label;
    size_t n_step;
    double weight, label, target, margin, *field;
    bool has_weight, has_target, has_margin, has_gold, has_teacher_prompt;
    bool split_marker, split_prefix, split_messages;
    bool talk;   /* messages */
    bool masked; /* r->mask says what is trained */
} dw_draft;

/* Compiles the columns and encodes the separator; s, t and limit are set. t may be NULL where
 * nothing is encoded. */
dw_status dw_row_reader_open(dw_row_reader *r, dw_err *err);
void dw_row_reader_close(dw_row_reader *r);

/* Texts and numbers of a row. DW_E_INPUT: *at is where in the raw row, or DW_COLUMN_REFUSED. */
dw_status dw_row_read(dw_row_reader *r, const dw_column_row *row, dw_draft *out, size_t *at,
                      dw_err *err);
/* Its numbers: the part of dw_row_read that is not text. */
dw_status dw_row_values(dw_row_reader *r, const dw_column_row *row, dw_draft *out, size_t *at,
                        dw_err *err);

/* Is this the field that is read where the recipe names none? */
bool dw_row_is_default(const dw_row_reader *r, dw_data_column c);
/* Owns a node until the next row. */
const dw_json *dw_row_hold(dw_row_reader *r, dw_json *v);

/* Appends the ids of a draft's steps. */
dw_status dw_row_encode_steps(dw_row_reader *r, dw_draft *w, dw_err *err);
/* Ids of a draft, into r->ids. */
dw_status dw_row_encode(dw_row_reader *r, dw_draft *w, dw_err *err);
/* DW_E_INPUT where an answer of an encoded draft has no token that is trained on; of texts nothing
 * predicts the first one. */
dw_status dw_row_teaches(const dw_row_reader *r, const dw_draft *w, dw_err *err);
typedef enum dw_row_fit { DW_FITS, DW_FITS_CUT, DW_FITS_NOT } dw_row_fit;
/* Cuts prompts (of texts the end) where on_long says so. */
dw_row_fit dw_row_cut(dw_row_reader *r, dw_draft *w);
/* Tokens of a prompt and the longest answer. */
size_t dw_row_tokens(const dw_draft *w);

#endif
