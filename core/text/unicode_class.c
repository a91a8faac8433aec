/* What a character is: by utf8proc, with tables for what it does not know yet. */
#include <string.h>

#include <utf8proc.h>

#include "text/unicode.h"
#include "text/unicode_late.h"

/* The row of a table that holds c, or NULL. */
static const uint32_t *row_of(int table, uint32_t c)
{
    const dw_unicode_ranges *t = &dw_unicode_late[table];
    size_t lo = 0, hi = t->n, last = table == DW_UNICODE_LATE_LOWER ? 0 : 1;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->cell[mid * t->columns + last] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    const uint32_t *row = t->cell + lo * t->columns;
    return lo < t->n && row[0] <= c ? row : NULL;
}

static bool is_late(uint32_t c)
{
    return dw_unicode_late_page[c >> 14] >> (c >> 8 & 63) & 1 &&
           row_of(DW_UNICODE_LATE_CATEGORY, c);
}

/* 'L' << 8 | 'u' and so on. */
static unsigned category(uint32_t c)
{
    if (is_late(c))
        return row_of(DW_UNICODE_LATE_CATEGORY, c)[2];
    const char *s = utf8proc_category_string((utf8proc_int32_t)c);
    return (unsigned)s[0] << 8 | (unsigned char)s[1];
}

bool dw_unicode_has_late(dw_text text)
{
    for (size_t i = 0; i < text.len;) {
        int len;
        if ((unsigned char)text.ptr[i] < 0xcc) {
            i++;
            continue;
        }
        if (is_late(dw_unicode_at(text.ptr + i, text.len - i, &len)))
            return true;
        i += (size_t)len;
    }
    return false;
}

void dw_unicode_put_late(dw_text property, dw_buf *out)
{
    bool script = property.len > 2;
    const dw_unicode_ranges *t =
        &dw_unicode_late[script ? DW_UNICODE_LATE_SCRIPT : DW_UNICODE_LATE_CATEGORY];
    for (size_t i = 0; i < t->n; i++) {
        const uint32_t *row = t->cell + i * t->columns;
        bool second =
            property.len < 2 || (row[2] & 0xff) == (unsigned char)property.ptr[script ? 2 : 1];
        if (row[2] >> 8 == (unsigned char)property.ptr[0] && second)
            dw_buf_printf(out, "\\x{%x}-\\x{%x}", row[0], row[1]);
    }
}

bool dw_unicode_is_opaque(uint32_t c)
{
    return row_of(DW_UNICODE_NO_MARK, c) != NULL;
}

bool dw_unicode_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || category(c) >> 8 == 'Z';
}

bool dw_unicode_is_word(uint32_t c)
{
    unsigned k = category(c);
    if (k >> 8 == 'L' || k >> 8 == 'M' || k == ('N' << 8 | 'd') || k == ('N' << 8 | 'l') ||
        k == ('P' << 8 | 'c'))
        return true;
    /* Joiners, and the circled and squared letters, which are alphabetic symbols. */
    return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
           (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
           (c >= 0x1f170 && c <= 0x1f189);
}

bool dw_unicode_is_numeric(uint32_t c)
{
    if (c < 0x80)
        return c >= '0' && c <= '9';
    return category(c) >> 8 == 'N' || row_of(DW_UNICODE_LATE_NUMERIC, c);
}

bool dw_unicode_is_mark(uint32_t c)
{
    /* Two letters that were marks in the older tables. */
    return (category(c) >> 8 == 'M' && !dw_unicode_is_opaque(c)) || c == 0x1cf2 || c == 0x1cf3;
}

bool dw_unicode_is_punct(uint32_t c)
{
    if (c < 0x80)
        return c > 0x20 && c < 0x7f && !(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') &&
               !(c >= 'a' && c <= 'z');
    return category(c) >> 8 == 'P' && !row_of(DW_UNICODE_NO_PUNCT, c);
}

void dw_unicode_put_lower(dw_buf *b, uint32_t c)
{
    const uint32_t *late = row_of(DW_UNICODE_LATE_LOWER, c);
    if (c == 0x130) /* the only one that becomes two characters */
        dw_buf_adds(b, "i\xcc\x87");
    else
        dw_unicode_put(b, late ? late[1] : (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}
