/* Characters: UTF-8, GPT-2's alphabet of bytes, normal forms by utf8proc. */
#include "text/unicode.h"

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

static dw_status put_form(dw_unicode_form form, dw_text text, dw_buf *out, dw_err *err)
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
    if (!text.len)
        return DW_OK;
    utf8proc_ssize_t n =
        utf8proc_map(p, (utf8proc_ssize_t)text.len, &mapped, UTF8PROC_STABLE | option[form]);
    if (n < 0)
        return dw_fail(err, DW_E_LIMIT, "the text cannot be brought into normal form %s: %s",
                       name[form], utf8proc_errmsg(n));
    dw_buf_add(out, mapped, (size_t)n);
    free(mapped);
    return DW_OK;
}

/* An opaque character neither changes nor moves, and nothing moves across it. */
dw_status dw_unicode_to_form(dw_unicode_form form, dw_text text, dw_buf *out, dw_err *err)
{
    size_t from = 0;
    for (size_t i = 0; i < text.len;) {
        int len;
        uint32_t c = dw_unicode_at(text.ptr + i, text.len - i, &len);
        if (c >= 0x300 && dw_unicode_is_opaque(c)) {
            DW_TRY(put_form(form, (dw_text){text.ptr + from, i - from}, out, err));
            from = i + (size_t)len;
            dw_buf_add(out, text.ptr + i, (size_t)len);
        }
        i += (size_t)len;
    }
    return put_form(form, (dw_text){text.ptr + from, text.len - from}, out, err);
}
