/* Characters: UTF-8, GPT-2's alphabet of bytes, classes and normal forms by utf8proc. */
#include "text/unicode.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

uint32_t dw_unicode_at(const char *s, size_t n, int *len)
{
    const unsigned char *p = (const unsigned char *)s;
    *len = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    dw_assert((size_t)*len <= n);
    switch (*len) {
    case 1:
        return p[0];
    case 2:
        return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    case 3:
        return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    default:
        return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    }
}

size_t dw_unicode_before(const char *s, size_t end)
{
    do
        end--;
    while (end > 0 && ((unsigned char)s[end] & 0xc0) == 0x80);
    return end;
}

void dw_unicode_put(dw_buf *b, uint32_t c)
{
    utf8proc_uint8_t u[4];
    dw_buf_add(b, u, (size_t)utf8proc_encode_char((utf8proc_int32_t)c, u));
}

static bool stands_for_itself(uint32_t c)
{
    return (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255);
}

static int byte_of(uint32_t c)
{
    if (stands_for_itself(c))
        return (int)c;
    if (c < 256 || c > 256 + 67)
        return -1;
    c -= 256; /* the others, in order: 0..32, 127..160, 173 */
    return c <= 32 ? (int)c : c <= 66 ? (int)(c - 33 + 127) : 173;
}

bool dw_unicode_to_bytes(dw_text token, dw_buf *out)
{
    size_t before = out->len;
    for (size_t i = 0; i < token.len;) {
        int len, byte = byte_of(dw_unicode_at(token.ptr + i, token.len - i, &len));
        if (byte < 0) {
            out->len = before;
            return false;
        }
        dw_buf_addc(out, (char)byte);
        i += (size_t)len;
    }
    return true;
}

/* Length of the longest prefix of p that some well-formed sequence starts with; at least 1. */
static size_t ill_formed(const unsigned char *p, size_t n)
{
    unsigned lo = 0x80, hi = 0xbf;
    size_t want = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
                  : p[0] >= 0xe0 && p[0] <= 0xef ? 3
                  : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                                 : 1;
    lo = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : lo;
    hi = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : hi;
    size_t k = 1;
    for (; k < want && k < n && p[k] >= lo && p[k] <= hi; k++) {
        lo = 0x80;
        hi = 0xbf;
    }
    return k;
}

void dw_unicode_lossy(const char *bytes, size_t n, dw_buf *out)
{
    size_t start = 0, i = 0;
    while (i < n) {
        int len = dw_utf8_len(bytes + i, n - i);
        if (len) {
            i += (size_t)len;
            continue;
        }
        dw_buf_add(out, bytes + start, i - start);
        dw_buf_adds(out, "\xef\xbf\xbd");
        i += ill_formed((const unsigned char *)bytes + i, n - i);
        start = i;
    }
    dw_buf_add(out, bytes + start, n - start);
}

size_t dw_unicode_half(const char *bytes, size_t n)
{
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t k = 1; k <= 3 && k <= n; k++) {
        unsigned char lead = p[n - k];
        if ((lead & 0xc0) == 0x80)
            continue;
        size_t want = lead >= 0xf0 && lead <= 0xf4 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 1;
        return want > k && lead <= 0xf4 && ill_formed(p + n - k, k) == k ? k : 0;
    }
    return 0;
}

void dw_unicode_replace(dw_text t, dw_text from, dw_text to, dw_buf *out)
{
    size_t done = 0;
    const char *at;
    while (t.len > done && (at = memmem(t.ptr + done, t.len - done, from.ptr, from.len))) {
        size_t start = (size_t)(at - t.ptr);
        dw_buf_add(out, t.ptr + done, start - done);
        dw_buf_add(out, to.ptr, to.len);
        done = start + from.len;
    }
    dw_buf_add(out, t.ptr + done, t.len - done);
}

bool dw_unicode_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= 9 && c <= 13);
    if (c == 0x85)
        return true;
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP;
}

bool dw_unicode_is_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        /* Joiners, and the circled and squared letters, which are alphabetic symbols. */
        return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
               (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
               (c >= 0x1f170 && c <= 0x1f189);
    }
}

bool dw_unicode_is_numeric(uint32_t c)
{
    if (c < 0x80)
        return c >= '0' && c <= '9';
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool dw_unicode_is_mark(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME;
}

bool dw_unicode_is_punct(uint32_t c)
{
    if (c < 0x80)
        return ispunct((int)c);
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
        return true;
    default:
        return false;
    }
}

void dw_unicode_put_lower(dw_buf *b, uint32_t c)
{
    if (c == 0x130) /* the only one that becomes two characters */
        dw_buf_adds(b, "i\xcc\x87");
    else
        dw_unicode_put(b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}

bool dw_unicode_surely_in(dw_unicode_form form, dw_text text)
{
    /* Below U+0300 nothing composes and nothing decomposes: lead bytes up to 0xcb. Decomposition
     * begins at U+00C0, that of compatibility at U+00A0. */
    static const unsigned char first[] = {0xcc, 0xc3, 0xc2, 0xc2};
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] >= first[form])
            return false;
    return true;
}

dw_status dw_unicode_to_form(dw_unicode_form form, dw_text text, dw_buf *out, dw_err *err)
{
    static const utf8proc_option_t option[] = {
        UTF8PROC_COMPOSE,
        UTF8PROC_DECOMPOSE,
        UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    static const char *const name[] = {"C", "D", "KC", "KD"};
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)text.ptr;
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t n =
        utf8proc_map(p, (utf8proc_ssize_t)text.len, &mapped, UTF8PROC_STABLE | option[form]);
    if (n < 0)
        return dw_fail(err, DW_E_LIMIT, "the text cannot be brought into normal form %s: %s",
                       name[form], utf8proc_errmsg(n));
    dw_buf_add(out, mapped, (size_t)n);
    free(mapped);
    return DW_OK;
}
