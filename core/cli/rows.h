/* Commands that read rows of JSON and write one JSON object a line: what they share. */
#ifndef DW_CLI_ROWS_H
#define DW_CLI_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "text/tokenizer.h"

/* One row of the input. Everything in it lives as long as the call that was given it. */
typedef struct dw_cli_row {
    uint32_t line;       /* from 1; element number in an array file */
    const dw_json *json; /* an object */
    dw_arena *arena;     /* for what the command puts into it */
    /* Filled by the functions below. */
    struct dw_cli_row_out *out;
    size_t n_out, cap_out;
    uint32_t n_line; /* output lines; 1 unless dw_cli_row_again was called */
    const char *bad; /* why the row is bad, or NULL */
    /* Private to rows.c. */
    dw_text raw;
    dw_json *owned;
} dw_cli_row;

/* A field of the row; false, with the row marked bad, when it is missing or of another kind. */
bool dw_cli_row_text(dw_cli_row *row, const char *key, dw_text *out);
/* An array of ids, each in 0 .. vocab - 1; appends. */
bool dw_cli_row_ids(dw_cli_row *row, const char *key, int32_t vocab, dw_ids *out);
bool dw_cli_row_has(const dw_cli_row *row, const char *key);

/* Output of a row: `json` is the value as JSON text and is copied. A key that the row has already
 * is replaced where it stands, others follow after the row's own keys. */
void dw_cli_row_put(dw_cli_row *row, const char *key, dw_text json);
/* What follows goes into a further output line of the same row (several samples of a prompt). */
void dw_cli_row_again(dw_cli_row *row);
/* Marks the row bad; the first reason stays. */
__attribute__((format(printf, 2, 3))) void dw_cli_row_fail(dw_cli_row *row, const char *fmt, ...);

/* Appends "[1,2]". */
void dw_cli_put_ids(dw_buf *b, const int32_t *id, size_t n);

/* Works on n rows that could be read: puts output into each or marks it bad. A negative status
 * ends the command. */
typedef dw_status (*dw_cli_rows_fn)(void *ctx, dw_cli_row **row, size_t n, dw_err *err);

/* "error" or "skip"; anything else is a usage error. */
dw_status dw_cli_on_bad(const char *word, bool *skip, dw_err *err);

/* Reads PATH ("-" is standard input) and hands rows to fn in batches of at most `batch`, fewer when
 * the writer at the other end waits for an answer. Output goes to stdout in the order of the rows,
 * keys that fn did not put are copied byte for byte, and is flushed after every batch. A bad row
 * ends with DW_E_INPUT and "FILE:LINE: ..." after the rows before it were written; with `skip` it
 * becomes its own keys and "error". */
dw_status dw_cli_rows_run(const char *path, bool skip, size_t batch, dw_cli_rows_fn fn, void *ctx,
                          dw_err *err);

#endif
