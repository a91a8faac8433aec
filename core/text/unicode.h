/* Characters: UTF-8, GPT-2's alphabet of bytes, classes, normal forms. */
#ifndef DW_TEXT_UNICODE_H
#define DW_TEXT_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Code point at s and its length in bytes. The text must be UTF-8 and n > 0. */
uint32_t dw_unicode_at(const char *s, size_t n, int *len);
/* Start of the character that ends at byte `end`; the text must be UTF-8 and end > 0. */
size_t dw_unicode_before(const char *s, size_t end);
void dw_unicode_put(dw_buf *b, uint32_t c);

/* GPT-2's reversible alphabet ("bytes_to_unicode"): the printable bytes stand for themselves, the
 * other 68 for U+0100 upwards. Appends the bytes that a token's characters stand for; false, with
 * nothing appended, when one of them is not in the alphabet. */
bool dw_unicode_to_bytes(dw_text token, dw_buf *out);

/* Appends `bytes`, every maximal ill-formed part as one U+FFFD (Unicode 15, section 3.9, D93b). */
void dw_unicode_lossy(const char *bytes, size_t n, dw_buf *out);

/* How many of the last bytes (at most 3) are the proper start of a character. */
size_t dw_unicode_half(const char *bytes, size_t n);
/* Appends t with every `from` (not empty) replaced. */
void dw_unicode_replace(dw_text t, dw_text from, dw_text to, dw_buf *out);

/* Does the text hold a character that is newer than Unicode 14, so that PCRE2 may not know it? */
bool dw_unicode_has_late(dw_text text);
/* Appends the ranges of such characters that have a property ("L", "Lu", "Han"), as in a class of a
 * pattern. */
void dw_unicode_put_late(dw_text property, dw_buf *out);
/* Marks and characters that decompose, but not in the older tables of Hugging Face tokenizers'
 * normalizers: there they are letters like others, so here they are, too. */
bool dw_unicode_is_opaque(uint32_t c);

bool dw_unicode_is_space(uint32_t c);   /* White_Space */
bool dw_unicode_is_word(uint32_t c);    /* letter, mark, decimal digit, connector, joiner */
bool dw_unicode_is_numeric(uint32_t c); /* Nd, Nl, No */
bool dw_unicode_is_mark(uint32_t c);    /* Mn, Mc, Me, not opaque */
bool dw_unicode_is_punct(uint32_t c);   /* ASCII punctuation and symbols, and P* */
/* Appends the lower case of a character, which may be two. */
void dw_unicode_put_lower(dw_buf *b, uint32_t c);

typedef enum dw_unicode_form {
    DW_UNICODE_NFC,
    DW_UNICODE_NFD,
    DW_UNICODE_NFKC,
    DW_UNICODE_NFKD,
} dw_unicode_form;
/* Does every character of the text keep its place in this form whatever stands around it? A quick
 * test: false only says that the full one is needed. */
bool dw_unicode_surely_in(dw_unicode_form form, dw_text text);
/* Appends the text in this normal form. DW_E_LIMIT when memory is gone. */
dw_status dw_unicode_to_form(dw_unicode_form form, dw_text text, dw_buf *out, dw_err *err);

#endif
