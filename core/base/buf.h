/* Growing byte buffer and borrowed text. */
#ifndef DW_BASE_BUF_H
#define DW_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed bytes; not necessarily NUL-terminated. */
typedef struct dw_text {
    const char *ptr;
    size_t len;
} dw_text;

#define DW_TEXT(literal) ((dw_text){(literal), sizeof(literal) - 1})
dw_text dw_text_of(const char *s); /* strlen */
bool dw_text_eq(dw_text a, dw_text b);
bool dw_text_is(dw_text a, const char *s);

/* Zero-initialise before use. ptr[len] is always NUL once anything was appended. */
typedef struct dw_buf {
    char *ptr;
    size_t len, cap;
} dw_buf;

void dw_buf_add(dw_buf *b, const void *bytes, size_t n);
void dw_buf_adds(dw_buf *b, const char *s);
void dw_buf_addc(dw_buf *b, char c);
__attribute__((format(printf, 2, 3))) void dw_buf_printf(dw_buf *b, const char *fmt, ...);
void dw_buf_clear(dw_buf *b);  /* keeps the memory */
void dw_buf_finish(dw_buf *b); /* frees; accepts a zeroed buffer */
dw_text dw_buf_text(const dw_buf *b);

/* The nearest of `names` (NULL-terminated) to `wrong` within two edits, or NULL. For messages of
 * the form "did you mean". */
const char *dw_nearest(const char *wrong, const char *const *names);

/* Length of the valid UTF-8 sequence at s (1..4), or 0 when the bytes are not UTF-8. */
int dw_utf8_len(const char *s, size_t n);
bool dw_utf8_valid(const char *s, size_t n);

#endif
