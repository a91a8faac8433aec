/* Ids by character, and the tokens "<0x00>" to "<0xFF>" that stand for single bytes. */
#ifndef DW_TEXT_CHARS_H
#define DW_TEXT_CHARS_H

#include "text/vocab.h"

/* Zero-initialise. Immutable after building. */
typedef struct dw_chars {
    int32_t *page[0x1100]; /* [256] each, or NULL; -1: no token */
    int32_t byte_id[256];  /* of "<0xNN>"; -1: none */
} dw_chars;

void dw_chars_build(dw_chars *c, const dw_vocab *v);
void dw_chars_finish(dw_chars *c);

/* The token that is exactly this character, or -1. */
static inline int32_t dw_chars_id(const dw_chars *c, uint32_t ch)
{
    const int32_t *page = c->page[ch >> 8];
    return page ? page[ch & 0xff] : -1;
}

/* Do all of these bytes have tokens? */
bool dw_chars_has_bytes(const dw_chars *c, const char *s, size_t n);
/* The byte a token of the form "<0xNN>" stands for, or -1. */
int dw_chars_byte_of(dw_text token);

#endif
