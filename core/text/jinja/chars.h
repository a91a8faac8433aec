/* What Python's str knows of characters: spaces, case, what can be printed. Private to text/. */
#ifndef DW_TEXT_JINJA_CHARS_H
#define DW_TEXT_JINJA_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool dw_jchars_space(uint32_t c);     /* str.isspace, and \s of re */
bool dw_jchars_printable(uint32_t c); /* str.isprintable */
bool dw_jchars_alpha(uint32_t c);
bool dw_jchars_digit(uint32_t c);   /* str.isdigit */
bool dw_jchars_decimal(uint32_t c); /* str.isdecimal */
bool dw_jchars_numeric(uint32_t c); /* str.isnumeric */
bool dw_jchars_upper(uint32_t c);
bool dw_jchars_lower(uint32_t c);
bool dw_jchars_title(uint32_t c);
bool dw_jchars_line(uint32_t c); /* ends a line for str.splitlines */

typedef enum dw_jcase { DW_JCASE_UPPER, DW_JCASE_LOWER, DW_JCASE_TITLE } dw_jcase;
/* Full mapping of one character, one to three of them; the final sigma is the caller's matter. */
int dw_jchars_map(uint32_t c, dw_jcase how, uint32_t out[3]);

/* White space at the ends of UTF-8 text, in bytes. */
size_t dw_jchars_lead(const char *s, size_t n);
size_t dw_jchars_trail(const char *s, size_t n);

#endif
