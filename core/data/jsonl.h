/* Rows of a file: JSON lines, the elements of one JSON array, or the records of a table; packed
 * with gzip or zstd where the build has them. */
#ifndef DW_DATA_JSONL_H
#define DW_DATA_JSONL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"

typedef struct dw_rows dw_rows;
/* "-" is standard input. Blank lines are skipped, a byte order mark at the start too. FILE.csv and
 * FILE.tsv (and those with .gz or .zst behind) are tables: their first record names the columns,
 * and every other one arrives as an object of strings. */
dw_status dw_rows_open(const char *path, dw_rows **out, dw_err *err);
void dw_rows_close(dw_rows *r); /* accepts NULL */
/* Next row: raw bytes of one JSON value and its line (or element number). *more is false at the
 * end. The text lives until the next call. It is not parsed yet. */
dw_status dw_rows_next(dw_rows *r, dw_text *row, uint32_t *line, bool *more, dw_err *err);
/* Parses the row that dw_rows_next gave last; the message is "name:line:column: ...". */
dw_status dw_rows_parse(const dw_rows *r, dw_text row, dw_json **out, dw_err *err);
/* False when dw_rows_next would wait for somebody to write. */
bool dw_rows_ready(dw_rows *r);
const char *dw_rows_name(const dw_rows *r); /* for messages: the path, or "<stdin>" */
/* Where the row starts: line and column (bytes) from 1. */
void dw_rows_where(const dw_rows *r, uint32_t *line, uint32_t *column);
/* Where byte `at` of the row that dw_rows_next gave last lies in the file. */
void dw_rows_place(const dw_rows *r, dw_text row, size_t at, uint32_t *line, uint32_t *column);
bool dw_rows_is_table(const dw_rows *r); /* every value is a string */
/* Adds a file's bytes as they lie on disk; nothing for standard input. */
void dw_rows_hash(const dw_rows *r, dw_sha256 *sha);

#endif
