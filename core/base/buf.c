/* Growing byte buffer, borrowed text, and small text helpers. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

dw_text dw_text_of(const char *s)
{
    return (dw_text){s, strlen(s)};
}

bool dw_text_eq(dw_text a, dw_text b)
{
    return a.len == b.len && (!a.len || !memcmp(a.ptr, b.ptr, a.len));
}

bool dw_text_is(dw_text a, const char *s)
{
    return dw_text_eq(a, dw_text_of(s));
}

static void reserve(dw_buf *b, size_t more)
{
    size_t need = b->len + more + 1;
    if (need <= b->cap)
        return;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    b->ptr = dw_realloc(b->ptr, cap);
    b->cap = cap;
}

void dw_buf_add(dw_buf *b, const void *bytes, size_t n)
{
    reserve(b, n);
    if (n)
        memcpy(b->ptr + b->len, bytes, n);
    b->len += n;
    b->ptr[b->len] = 0;
}

void dw_buf_adds(dw_buf *b, const char *s)
{
    dw_buf_add(b, s, strlen(s));
}

void dw_buf_addc(dw_buf *b, char c)
{
    dw_buf_add(b, &c, 1);
}

void dw_buf_printf(dw_buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    char probe[1];
    int n = vsnprintf(probe, sizeof probe, fmt, ap);
    va_end(ap);
    if (n > 0) {
        reserve(b, (size_t)n);
        vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void dw_buf_clear(dw_buf *b)
{
    b->len = 0;
    if (b->ptr)
        b->ptr[0] = 0;
}

void dw_buf_finish(dw_buf *b)
{
    dw_free(b->ptr);
    *b = (dw_buf){0};
}

dw_text dw_buf_text(const dw_buf *b)
{
    return (dw_text){b->ptr ? b->ptr : "", b->len};
}

enum { NEAR = 2, LONGEST_NAME = 63 };

/* Optimal string alignment distance: a transposition is one edit. */
static int distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST_NAME || m > LONGEST_NAME)
        return NEAR + 1;
    int row[3][LONGEST_NAME + 1];
    for (size_t j = 0; j <= m; j++)
        row[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *now = row[i % 3], *last = row[(i - 1) % 3], *before = row[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

const char *dw_nearest(const char *wrong, const char *const *names)
{
    const char *best = NULL;
    int least = NEAR + 1;
    /* A short word is near to everything: allow fewer edits than it has letters. */
    int allowed = strlen(wrong) > 3 ? NEAR : 1;
    for (size_t i = 0; names[i]; i++) {
        int d = distance(wrong, names[i]);
        if (d < least && d <= allowed) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

int dw_utf8_len(const char *s, size_t n)
{
    const unsigned char *u = (const unsigned char *)s;
    if (!n)
        return 0;
    if (u[0] < 0x80)
        return 1;
    int len = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
    if (u[0] < 0xc2 || u[0] > 0xf4 || (size_t)len > n)
        return 0;
    for (int i = 1; i < len; i++)
        if ((u[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong forms, surrogates, and beyond U+10FFFF show in the second byte. */
    if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ||
        (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f))
        return 0;
    return len;
}

bool dw_utf8_valid(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        int len = dw_utf8_len(s + i, n - i);
        if (!len)
            return false;
        i += (size_t)len;
    }
    return true;
}
