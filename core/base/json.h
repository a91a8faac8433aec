/* JSON: a strict reader in front of cJSON, and a writer. The only users of cJSON.h are behind this
 * header.
 *
 * Reading refuses what RFC 8259 refuses, and also: bytes that are not UTF-8, duplicate keys,
 * numbers that overflow a double, nesting beyond a limit, a byte order mark, anything after the
 * value. Strings may hold U+0000. */
#ifndef DW_BASE_JSON_H
#define DW_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

typedef struct dw_json dw_json; /* a node; lives as long as its root */

typedef enum dw_json_type {
    DW_JSON_NULL,
    DW_JSON_BOOL,
    DW_JSON_NUMBER,
    DW_JSON_STRING,
    DW_JSON_ARRAY,
    DW_JSON_OBJECT,
} dw_json_type;

enum { DW_JSON_DEPTH_HEADER = 64, DW_JSON_DEPTH_ROW = 256 };

/* Parses one value. The message is "line L, column C: ..." (1-based, columns in bytes); callers
 * prefix the file. `first_line` is the number of the first line, 1 for whole files. Free the root
 * with dw_json_free. */
dw_status dw_json_parse(const char *text, size_t n, int max_depth, int first_line, dw_json **out,
                        dw_err *err);
/* Reads and parses a whole file of at most max_bytes; messages start with `path`. */
dw_status dw_json_read(const char *path, size_t max_bytes, dw_json **out, dw_err *err);
/* The same tree of the same text, in one pass and one block of memory: for rows, of which there are
 * many. dw_json_parse stays the measure; the tests compare them. */
dw_status dw_json_parse_row(const char *text, size_t n, int max_depth, int first_line,
                            dw_json **out, dw_err *err);
void dw_json_free(dw_json *root); /* accepts NULL */

dw_json_type dw_json_kind(const dw_json *v);
const char *dw_json_kind_name(const dw_json *v); /* "a string", "an object", ...; NULL: "nothing" */
/* NULL when v is not an object or has no such key; case-sensitive. A linear walk: for objects of
 * many keys build a dw_map from dw_json_first/next. */
const dw_json *dw_json_get(const dw_json *v, const char *key);
/* By dotted path, array indices as numbers: "tests.0.input". */
const dw_json *dw_json_path(const dw_json *v, const char *path);
const dw_json *dw_json_first(const dw_json *v); /* first element or member, or NULL */
const dw_json *dw_json_next(const dw_json *v);
const char *dw_json_key(const dw_json *v); /* of an object's member */
size_t dw_json_len(const dw_json *v);      /* elements or members; walks */
double dw_json_num(const dw_json *v);      /* of a number */
bool dw_json_bool(const dw_json *v);       /* of a bool */
/* Of a string. The bytes live as long as the root. */
dw_text dw_json_str(const dw_json *v);
/* The digits of a number as they were written, where its value does not tell them: "1.0", "-0" and
 * integers beyond 2^53; empty for all others. */
dw_text dw_json_spelling(const dw_json *v);
/* A number that is an integer with |x| <= 2^53. */
bool dw_json_int(const dw_json *v, int64_t *out);

/* Typed access for configuration objects: missing keys give the fallback, null counts as missing
 * for the *_or forms, and another type is an error that names key, wanted and found. */
dw_status dw_json_get_int(const dw_json *obj, const char *key, int64_t fallback, int64_t lo,
                          int64_t hi, int64_t *out, dw_err *err);
dw_status dw_json_get_num(const dw_json *obj, const char *key, double fallback, double lo,
                          double hi, double *out, dw_err *err);
dw_status dw_json_get_bool(const dw_json *obj, const char *key, bool fallback, bool *out,
                           dw_err *err);
/* *out borrows from the root; fallback may be NULL. A string with U+0000 is refused. */
dw_status dw_json_get_cstr(const dw_json *obj, const char *key, const char *fallback,
                           const char **out, dw_err *err);

/* The members of a top-level object as raw spans of the source text, so that a program can hand
 * through what it does not understand byte for byte. `text` must have passed dw_json_parse. Keys
 * are unescaped into the arena. Returns the number of members; 0 for anything but an object. */
typedef struct dw_json_member {
    dw_text key;
    dw_text raw;
} dw_json_member;
size_t dw_json_members(dw_arena *a, const char *text, size_t n, dw_json_member **out);

/* ---- writing: appends to a buffer; the caller writes punctuation ---- */
/* Quoted and escaped; bytes that are not UTF-8 become U+FFFD: the output is always JSON. */
void dw_json_put_str(dw_buf *b, const char *s, size_t n);
void dw_json_put_cstr(dw_buf *b, const char *s);
/* Shortest of %.15g, %.16g, %.17g that reads back the same; NaN and infinities as null. */
void dw_json_put_num(dw_buf *b, double x);
void dw_json_put_sig(dw_buf *b, double x, int digits); /* %.<digits>g; null when not finite */
/* A node: sort_keys for canonical output, indent > 0 for people. */
void dw_json_put(dw_buf *b, const dw_json *v, bool sort_keys, int indent);

#endif
