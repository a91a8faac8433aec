/* SentencePiece's precompiled character map: a double-array trie from sequences of characters to
 * what they become. */
#ifndef DW_TEXT_CHARSMAP_H
#define DW_TEXT_CHARSMAP_H

#include "base/buf.h"
#include "base/err.h"

/* Zero-initialise. Immutable after reading. */
typedef struct dw_charsmap {
    uint32_t *unit;
    size_t n_unit;
    char *text; /* the replacements, each ended by a NUL */
    size_t n_text;
} dw_charsmap;

/* From the base64 text of "precompiled_charsmap". */
dw_status dw_charsmap_read(dw_charsmap *m, dw_text base64, dw_err *err);
void dw_charsmap_finish(dw_charsmap *m);

/* Appends the text in its normal form, grapheme by grapheme as Hugging Face tokenizers does it. */
void dw_charsmap_run(const dw_charsmap *m, dw_text text, dw_buf *out);

#endif
