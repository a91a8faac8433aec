/* Columns: from a row to the text of one field, with what may hold special tokens kept apart. */
#ifndef DW_DATA_COLUMN_H
#define DW_DATA_COLUMN_H

#include "data/dataset.h"

/* A format string taken apart: literals and fields by turns. */
typedef struct dw_column_piece {
    dw_text literal;   /* where field is NULL */
    const char *field; /* name or dotted path */
} dw_column_piece;

typedef struct dw_column_plan {
    dw_column_piece *piece;
    size_t n;
    const char *lua; /* instead of pieces */
    /* What the function gave for the row at hand, once dw_column_call has called it. */
    bool called;
    dw_text said;        /* text, or */
    const dw_json *made; /* something else, messages say */
} dw_column_plan;

/* What is known of the row a column is applied to. */
typedef struct dw_column_row {
    dw_text raw;
    const dw_json *json; /* an object */
    dw_row_fn fn;
    void *fn_ctx;
    bool table; /* every value is a string: numbers and lists are read from it, "" is nothing */
} dw_column_row;

/* Parts of a text, in the arena. */
typedef struct dw_column_text {
    dw_tok_part *part;
    size_t n;
    size_t len; /* bytes of all parts */
} dw_column_text;

/* An unset column stands for the field `name`. A format that cannot be read is DW_E_RECIPE. */
dw_status dw_column_compile(dw_arena *a, const dw_column *c, const char *name, dw_column_plan *out,
                            dw_err *err);
bool dw_column_is_set(const dw_column *c);
/* DW_E_INPUT: the row lacks a field or holds something else there; *at is where in the raw row, or
 * DW_COLUMN_REFUSED when it holds messages, which is no fault of this row alone. */
#define DW_COLUMN_REFUSED SIZE_MAX
dw_status dw_column_apply(dw_arena *a, const dw_column_plan *p, const dw_column_row *row,
                          dw_column_text *out, size_t *at, dw_err *err);

/* Calls a column's function, whose result dw_column_apply then takes; *own, or NULL, is to be freed
 * after the row. */
dw_status dw_column_call(dw_arena *a, dw_column_plan *p, const dw_column_row *row, dw_json **own,
                         dw_err *err);
/* What a column holds where that need not be text: the field's value, or what the format or the
 * function gives, read as JSON; then *own is to be freed after *out was used. The same errors. */
dw_status dw_column_json(dw_arena *a, const dw_column_plan *p, const dw_column_row *row,
                         const dw_json **out, dw_json **own, size_t *at, dw_err *err);
/* Whether the row has anything for a column that it may do without: a field that is not null. */
bool dw_column_there(const dw_column_plan *p, const dw_column_row *row);

/* The field that a column is, or NULL where it is a format or a function. */
const char *dw_column_field(const dw_column_plan *p);
/* Where in the raw row a field's value begins, a dotted path too; 0 where it is not there. */
size_t dw_column_at(dw_arena *a, dw_text raw, const char *field);
/* Fails with the names of the fields that the row has. */
dw_status dw_column_missing(const dw_json *row, const char *field, dw_err *err);

/* Bytes [from, to) of a text. */
dw_column_text dw_column_slice(dw_arena *a, const dw_column_text *t, size_t from, size_t to);
/* The whole text in one piece. */
dw_text dw_column_flat(dw_arena *a, const dw_column_text *t);

#endif
