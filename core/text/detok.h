/* Decoders of tokenizer.json: the texts of tokens to one text, piece by piece. */
#ifndef DW_TEXT_DETOK_H
#define DW_TEXT_DETOK_H

#include "base/json.h"
#include "text/regex.h"

enum { DW_DETOK_STAGES = 16 };

typedef enum dw_detok_kind {
    DW_DETOK_BYTELEVEL,    /* the byte alphabet; joins the tokens */
    DW_DETOK_METASPACE,    /* a character to spaces; none at the start of a text */
    DW_DETOK_BYTEFALLBACK, /* tokens "<0xNN>" to bytes */
    DW_DETOK_FUSE,         /* joins the tokens */
    DW_DETOK_STRIP,        /* a character at the ends of each token */
    DW_DETOK_REPLACE,
    DW_DETOK_SPACES, /* no decoder: a space between the tokens */
} dw_detok_kind;

typedef struct dw_detok_stage {
    dw_detok_kind kind;
    bool joined; /* an earlier stage has joined the tokens: they arrive as parts of one */
    char *from, *to;
    size_t n_from, n_to;
    dw_regex *regex;
    bool keeps_first;   /* METASPACE: the first token keeps its spaces */
    size_t start, stop; /* STRIP: at most so many */
} dw_detok_stage;

/* Zero-initialise. Immutable after reading. */
typedef struct dw_detok {
    dw_detok_stage stage[DW_DETOK_STAGES];
    size_t n;
} dw_detok;

/* Reads the object "decoder" of tokenizer.json. */
dw_status dw_detok_read(dw_detok *d, const dw_json *object, dw_err *err);
void dw_detok_finish(dw_detok *d);

/* One text being decoded: zero-initialise but for the decoder. What a stage cannot pass on yet
 * (half a character, bytes that may turn out to be none) it holds. */
typedef struct dw_detok_run {
    const dw_detok *d;
    struct {
        dw_buf held, text;
        size_t seen; /* tokens; STRIP of joined ones: characters left out at the start */
        bool begun;  /* STRIP: the start is behind */
    } at[DW_DETOK_STAGES];
    dw_regex_scratch *match;
} dw_detok_run;
/* Appends what is certain after this token. */
dw_status dw_detok_push(dw_detok_run *r, dw_text token, dw_buf *out, dw_err *err);
/* Appends the rest; the run can be used for another text. */
dw_status dw_detok_end(dw_detok_run *r, dw_buf *out, dw_err *err);
void dw_detok_run_finish(dw_detok_run *r);

/* Appends the bytes a token stands for in the middle of a text: may be half a character. */
void dw_detok_piece(const dw_detok *d, dw_text token, dw_buf *out);

#endif
