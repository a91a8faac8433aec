/* Tables of characters that Hugging Face tokenizers and our libraries take from different versions
 * of Unicode. Private to text/unicode*.c. */
#ifndef DW_TEXT_UNICODE_LATE_H
#define DW_TEXT_UNICODE_LATE_H

#include <stddef.h>
#include <stdint.h>

enum {
    DW_UNICODE_LATE_CATEGORY, /* newer than Unicode 14: what the character is, 'L' << 8 | 'u' */
    DW_UNICODE_LATE_SCRIPT,   /* the same: of which script, by its first and third letter */
    DW_UNICODE_LATE_NUMERIC,  /* digits that are newer still */
    DW_UNICODE_NO_PUNCT,      /* punctuation that Hugging Face's tables do not have */
    DW_UNICODE_NO_MARK,       /* the same of marks and of what decomposes */
    DW_UNICODE_LATE_LOWER,    /* a character and its lower case */
    DW_UNICODE_LATE_TABLES,
};

/* Rows of `columns` numbers, ascending: first and last character of a range (LOWER: one character),
 * and what the table says of it. */
typedef struct dw_unicode_ranges {
    const uint32_t *cell;
    size_t n, columns;
} dw_unicode_ranges;

extern const dw_unicode_ranges dw_unicode_late[DW_UNICODE_LATE_TABLES];
/* A bit for every 256 characters: some of them are in CATEGORY. */
extern const uint64_t dw_unicode_late_page[68];

#endif
