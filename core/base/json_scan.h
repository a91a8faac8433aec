/* The strict pre-scan that runs before cJSON sees a byte, and walks over text that passed it. */
#ifndef DW_BASE_JSON_SCAN_H
#define DW_BASE_JSON_SCAN_H

#include "base/buf.h"
#include "base/err.h"

/* Told of every part of the text as the scan passes it: '{' '[' '}' ']', 'k' a key and 's' a string
 * (p, n: between the quotes; escaped: holds a backslash), '0' a number, and 't' 'f' 'n'. What comes
 * before a fault was told. */
typedef struct dw_json_sink {
    void (*part)(void *ctx, char kind, const char *p, size_t n, bool escaped);
    void *ctx;
} dw_json_sink;

/* Checks that text is exactly one JSON value. *nul_escapes counts "\u0000" in string values,
 * *odd_numbers those that dw_json_odd_number finds. */
dw_status dw_json_scan(const char *text, size_t n, int max_depth, int first_line,
                       size_t *nul_escapes, size_t *odd_numbers, dw_err *err);
/* The same check and the parts by the way. */
dw_status dw_json_scan_into(dw_json_sink sink, const char *text, size_t n, int max_depth,
                            int first_line, dw_err *err);
/* A number whose spelling says more than its value as a double: 1.0, 1e3, -0, long integers. */
bool dw_json_odd_number(const char *p, size_t n);
/* Length of the value at p in text that passed the scan, and of white space. */
size_t dw_json_skip(const char *p, const char *end);
size_t dw_json_space(const char *p, const char *end);
/* Appends the bytes that the inside of a string literal stands for. */
void dw_json_unescape(const char *p, size_t n, dw_buf *out);
/* Writes them to `out`, which has room for n bytes; returns how many there are. */
size_t dw_json_unescape_to(const char *p, size_t n, char *out);

#endif
