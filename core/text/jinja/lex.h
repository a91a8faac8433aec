/* Template source to tokens. Private to text/. */
#ifndef DW_TEXT_JINJA_LEX_H
#define DW_TEXT_JINJA_LEX_H

#include "text/jinja/node.h"

typedef enum dw_jtoken_kind {
    DW_JT_END,
    DW_JT_DATA,
    DW_JT_BLOCK_BEGIN,
    DW_JT_BLOCK_END,
    DW_JT_VARIABLE_BEGIN,
    DW_JT_VARIABLE_END,
    DW_JT_NAME,
    DW_JT_STRING,
    DW_JT_INTEGER,
    DW_JT_FLOAT,
    DW_JT_OP, /* text is the operator */
} dw_jtoken_kind;

typedef struct dw_jtoken {
    dw_jtoken_kind kind;
    dw_text text; /* of a string: what it stands for */
    uint32_t line, column;
    bool big; /* an integer beyond 64 bits: its digits in text */
    int64_t integer;
    double real;
} dw_jtoken;

/* Tokens in the template's arena, ending with DW_JT_END. t->source is set. */
dw_status dw_jlex_run(dw_jinja *t, dw_text source, dw_jtoken **out, size_t *n, dw_err *err);

#endif
