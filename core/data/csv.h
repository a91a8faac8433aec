/* Tables of text: CSV after RFC 4180 with a header row, or the same with tabs. */
#ifndef DW_DATA_CSV_H
#define DW_DATA_CSV_H

#include "base/err.h"
#include "base/json.h"

typedef struct dw_csv_cell {
    size_t at, len; /* in the record, without the quotes around it */
    bool quoted;    /* "" stands for a quote */
    size_t json_at; /* where its value starts in the row */
} dw_csv_cell;

/* Zero-initialise, set the separator; dw_csv_finish. */
typedef struct dw_csv {
    char separator; /* ',' or a tab; 0: no table */
    char **key;     /* [n_key] the header: strings as JSON writes them */
    size_t n_key;
    dw_csv_cell *cell; /* [n_cell] of the record at hand */
    size_t n_cell, cap_cell;
    dw_buf json;     /* the record at hand as a row */
    const char *bad; /* what is wrong with it, or NULL */
    size_t bad_at;   /* where in the record */
    char why[128];
} dw_csv;
void dw_csv_finish(dw_csv *c);

/* Takes the record at the start of `text` apart. Returns its length with the end of its last line,
 * or 0: more text is needed (never at the end, where nothing follows `text`). Line breaks inside
 * quotes belong to the record. A record that breaks the rules has c->bad set and is its first line
 * alone; the fault may lie behind it, in text that its quotes hold together. */
size_t dw_csv_scan(dw_csv *c, dw_text text, bool end);
/* Keeps the scanned record as the header; c->bad is set where it cannot be one. */
void dw_csv_header(dw_csv *c, dw_text record);
/* Makes c->json of the scanned record: an object of strings; or sets c->bad. */
void dw_csv_row(dw_csv *c, dw_text record);
/* From a byte of c->json to the byte of the record that it came from. */
size_t dw_csv_place(const dw_csv *c, size_t at);

#endif
