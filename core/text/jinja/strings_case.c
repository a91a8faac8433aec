/* Python's str methods that change or ask for the case and kind of characters. */
#include <string.h>

#include <utf8proc.h>

#include "text/jinja/call.h"
#include "text/jinja/chars.h"
#include "text/unicode.h"

static uint32_t at(const dw_jstr *s, size_t i, int *len)
{
    return dw_unicode_at(s->ptr + i, s->len - i, len);
}

static bool is_cased(uint32_t c)
{
    return dw_jchars_upper(c) || dw_jchars_lower(c) || dw_jchars_title(c);
}

/* Characters that stand in a word without being letters: apostrophe, soft hyphen, accents. */
static bool is_ignored(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        return c == '\'' || c == '.' || c == ':' || c == 0xb7 || c == 0x2019 || c == 0x2018 ||
               c == 0x2024 || c == 0x2027;
    }
}

/* A capital sigma at the end of a word becomes the final one. */
static bool is_final_sigma(const dw_jstr *s, size_t i)
{
    int len;
    size_t p = i;
    uint32_t c = 0;
    while (p) {
        p = dw_unicode_before(s->ptr, p);
        c = at(s, p, &len);
        if (!is_ignored(c))
            break;
        c = 0;
    }
    if (!is_cased(c))
        return false;
    (void)at(s, i, &len);
    for (p = i + (size_t)len; p < s->len; p += (size_t)len) {
        c = at(s, p, &len);
        if (!is_ignored(c))
            return !is_cased(c);
    }
    return true;
}

static dw_status put_char(dw_jrun *r, dw_jbuild *b, const dw_jstr *s, size_t i, uint32_t c,
                          dw_jcase how)
{
    uint32_t to[3];
    utf8proc_uint8_t u[4];
    int n = dw_jchars_map(c, how, to);
    if (c == 0x3a3 && how == DW_JCASE_LOWER && is_final_sigma(s, i))
        to[0] = 0x3c2;
    for (int k = 0; k < n; k++) {
        const utf8proc_ssize_t m = utf8proc_encode_char((utf8proc_int32_t)to[k], u);
        DW_TRY(dw_jbuild_add(r, b, (const char *)u, (size_t)m, dw_jstr_mark(s, i)));
    }
    return DW_OK;
}

static dw_jcase case_for(const char *how, uint32_t c, bool first, bool after_cased)
{
    switch (how[0]) {
    case 'u':
        return DW_JCASE_UPPER;
    case 'l':
        return DW_JCASE_LOWER;
    case 's':
        return dw_jchars_upper(c) ? DW_JCASE_LOWER : DW_JCASE_UPPER;
    case 't':
        return after_cased ? DW_JCASE_LOWER : DW_JCASE_TITLE;
    default: /* capitalize */
        return first ? DW_JCASE_TITLE : DW_JCASE_LOWER;
    }
}

static dw_status casefold(dw_jrun *r, const dw_jstr *s, dw_jvalue *out)
{
    dw_jbuild b = {0};
    int len;
    for (size_t i = 0; i < s->len; i += (size_t)len) {
        utf8proc_int32_t to[8];
        utf8proc_uint8_t u[4];
        const uint32_t c = at(s, i, &len);
        const utf8proc_ssize_t n =
            utf8proc_decompose_char((utf8proc_int32_t)c, to, 8, UTF8PROC_CASEFOLD, NULL);
        for (utf8proc_ssize_t k = 0; k < n && k < 8; k++) {
            const utf8proc_ssize_t m = utf8proc_encode_char(to[k], u);
            DW_TRY(dw_jbuild_add(r, &b, (const char *)u, (size_t)m, dw_jstr_mark(s, i)));
        }
    }
    *out = dw_jbuild_done(r, &b);
    return DW_OK;
}

dw_status dw_jstrings_case(dw_jrun *r, const dw_jstr *s, const char *how, dw_jvalue *out)
{
    dw_jbuild b = {0};
    bool after_cased = false;
    int len;
    DW_TRY(dw_jrun_spend(r, s->len / 8));
    if (!strcmp(how, "casefold"))
        return casefold(r, s, out);
    for (size_t i = 0; i < s->len; i += (size_t)len) {
        const uint32_t c = at(s, i, &len);
        dw_jcase k = case_for(how, c, i == 0, after_cased);
        if (how[0] == 's' && !dw_jchars_upper(c) && !dw_jchars_lower(c))
            DW_TRY(dw_jbuild_add(r, &b, s->ptr + i, (size_t)len, dw_jstr_mark(s, i)));
        else
            DW_TRY(put_char(r, &b, s, i, c, k));
        after_cased = is_cased(c);
    }
    *out = dw_jbuild_done(r, &b);
    out->s.markup = s->markup;
    return DW_OK;
}

/* ---- questions ---- */

static bool every(const char *name, uint32_t c, size_t i)
{
    switch (name[2]) {
    case 'a':
        return !strcmp(name, "isascii")
                   ? c < 0x80
                   : dw_jchars_alpha(c) ||
                         (name[4] == 'n' && (dw_jchars_digit(c) || dw_jchars_numeric(c)));
    case 'd':
        return !strcmp(name, "isdecimal") ? dw_jchars_decimal(c) : dw_jchars_digit(c);
    case 'i':
        return dw_jchars_alpha(c) || c == '_' || (i && dw_unicode_is_word(c));
    case 'n':
        return dw_jchars_numeric(c);
    case 'p':
        return dw_jchars_printable(c);
    default:
        return dw_jchars_space(c);
    }
}

/* islower, isupper: no character of the other case, and at least one of this. */
static bool of_case(const dw_jstr *s, bool upper)
{
    bool any = false;
    int len;
    for (size_t i = 0; i < s->len; i += (size_t)len) {
        const uint32_t c = at(s, i, &len);
        if (dw_jchars_title(c) || (upper ? dw_jchars_lower(c) : dw_jchars_upper(c)))
            return false;
        any = any || (upper ? dw_jchars_upper(c) : dw_jchars_lower(c));
    }
    return any;
}

static bool is_title(const dw_jstr *s)
{
    bool any = false, after_cased = false;
    int len;
    for (size_t i = 0; i < s->len; i += (size_t)len) {
        const uint32_t c = at(s, i, &len);
        const bool big = dw_jchars_upper(c) || dw_jchars_title(c);
        if (big ? after_cased : dw_jchars_lower(c) && !after_cased)
            return false;
        after_cased = big || dw_jchars_lower(c);
        any = any || after_cased;
    }
    return any;
}

dw_status dw_jstrings_is(dw_jrun *r, const dw_jstr *s, const char *name, bool *out)
{
    int len;
    DW_TRY(dw_jrun_spend(r, s->len / 16));
    if (!strcmp(name, "islower") || !strcmp(name, "isupper")) {
        *out = of_case(s, name[2] == 'u');
        return DW_OK;
    }
    if (!strcmp(name, "istitle")) {
        *out = is_title(s);
        return DW_OK;
    }
    *out = s->len || !strcmp(name, "isascii") || !strcmp(name, "isprintable");
    for (size_t i = 0; i < s->len && *out; i += (size_t)len) {
        const uint32_t c = at(s, i, &len);
        *out = every(name, c, i);
    }
    return DW_OK;
}

dw_status dw_jstrings_escape(dw_jrun *r, const dw_jstr *s, dw_jvalue *out)
{
    static const struct {
        char c;
        const char *to;
    } html[] = {{'&', "&amp;"}, {'>', "&gt;"}, {'<', "&lt;"}, {'\'', "&#39;"}, {'"', "&#34;"}};
    dw_jbuild b = {0};
    for (size_t i = 0; i < s->len && !s->markup; i++) {
        const char *to = NULL;
        for (size_t k = 0; k < sizeof html / sizeof *html; k++)
            if (s->ptr[i] == html[k].c)
                to = html[k].to;
        DW_TRY(dw_jbuild_add(r, &b, to ? to : s->ptr + i, to ? strlen(to) : 1, dw_jstr_mark(s, i)));
    }
    *out = s->markup ? dw_jstring(*s) : dw_jbuild_done(r, &b);
    out->s.markup = true;
    return DW_OK;
}
