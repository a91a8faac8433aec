/* Rows of a file: JSON lines, or the elements of one JSON array. */
#ifndef DW_DATA_JSONL_H
#define DW_DATA_JSONL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

typedef struct dw_rows dw_rows;
/* "-" is standard input. Blank lines are skipped. */
dw_status dw_rows_open(const char *path, dw_rows **out, dw_err *err);
void dw_rows_close(dw_rows *r); /* accepts NULL */
/* Next row: raw bytes of one JSON value and its line (or element number). *more is false at the
 * end. The text lives until the next call. It is not parsed yet. */
dw_status dw_rows_next(dw_rows *r, dw_text *row, uint32_t *line, bool *more, dw_err *err);
const char *dw_rows_name(const dw_rows *r); /* for messages: the path, or "<stdin>" */

#endif
