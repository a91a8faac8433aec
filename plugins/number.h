/* Numbers as people write them in texts. */
#ifndef DOWEL_PLUGINS_NUMBER_H
#define DOWEL_PLUGINS_NUMBER_H

#include <ctype.h>
#include <dowel/plugin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static inline dowel_text text_trim(dowel_text t)
{
    while (t.len > 0 && isspace((unsigned char)t.ptr[0])) {
        t.ptr++;
        t.len--;
    }
    while (t.len > 0 && isspace((unsigned char)t.ptr[t.len - 1]))
        t.len--;
    return t;
}

static inline bool text_currency(dowel_text *t)
{
    static const char *const sign[] = {"$", "\xe2\x82\xac", "\xc2\xa3", "\xc2\xa5"};
    for (size_t i = 0; i < sizeof sign / sizeof *sign; i++) {
        size_t n = strlen(sign[i]);
        if (t->len >= n && !memcmp(t->ptr, sign[i], n)) {
            t->ptr += n;
            t->len -= n;
            return true;
        }
    }
    return false;
}

/* "$1,234.50", "-72", "72." and "72%": commas must stand between digits; no hexadecimal, no inf. */
static inline bool text_number(dowel_text t, double *out)
{
    char digits[64], *end;
    size_t n = 0;
    t = text_trim(t);
    while (t.len > 0 && strchr(".,%", t.ptr[t.len - 1]) && t.ptr[t.len - 1])
        t.len--;
    text_currency(&t);
    if (t.len > 0 && (*t.ptr == '-' || *t.ptr == '+')) {
        digits[n++] = *t.ptr++;
        t.len--;
        text_currency(&t);
    }
    for (uint64_t i = 0; i < t.len; i++) {
        unsigned char c = (unsigned char)t.ptr[i];
        if (c == ',' && i > 0 && isdigit((unsigned char)t.ptr[i - 1]) && i + 1 < t.len &&
            isdigit((unsigned char)t.ptr[i + 1]))
            continue;
        if (!(isdigit(c) || c == '.' || c == 'e' || c == 'E' || c == '-' || c == '+') ||
            n + 1 >= sizeof digits)
            return false;
        digits[n++] = (char)c;
    }
    digits[n] = 0;
    *out = strtod(digits, &end);
    return n > 0 && end != digits && !*end && isfinite(*out);
}

#endif
