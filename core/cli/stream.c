/* Whole characters out of a stream of bytes. */
#include "cli/stream.h"

#include <string.h>

/* Whether s[0..n) is the proper start of a UTF-8 character. Trying the lowest and the highest
 * continuation covers the narrower second bytes of E0, ED, F0 and F4. */
static bool may_grow(const char *s, size_t n)
{
    for (int high = 0; high < 2; high++)
        for (size_t want = n + 1; want <= 4; want++) {
            char c[4];
            memcpy(c, s, n);
            memset(c + n, high ? 0xbf : 0x80, want - n);
            if (dw_utf8_len(c, want) == (int)want)
                return true;
        }
    return false;
}

void dw_stream_take(dw_buf *pending, dw_buf *out, bool last)
{
    size_t at = 0;
    while (at < pending->len) {
        const char *s = pending->ptr + at;
        const size_t left = pending->len - at;
        const int len = dw_utf8_len(s, left);
        if (len > 0) {
            dw_buf_add(out, s, (size_t)len);
            at += (size_t)len;
            continue;
        }
        if (!last && left < 4 && may_grow(s, left))
            break;
        /* one replacement for the longest start of a character, as decoders of UTF-8 do */
        size_t bad = left < 3 ? left : 3;
        while (bad > 1 && !may_grow(s, bad))
            bad--;
        dw_buf_adds(out, "\xef\xbf\xbd");
        at += bad;
    }
    const size_t rest = pending->len - at;
    if (at && rest)
        memmove(pending->ptr, pending->ptr + at, rest);
    pending->len = rest;
}
