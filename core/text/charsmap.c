/* Reads and applies SentencePiece's character map. Its units come from a file, so every step is
 * checked against the array, and every replacement against the text. */
#include "text/charsmap.h"

#include <string.h>

#include <utf8proc.h>

#include "base/alloc.h"
#include "text/unicode.h"

enum { GRAPHEME_MAX = 6 }; /* bytes; longer graphemes are looked up by character */

static int sextet(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static dw_status decode_base64(dw_text t, dw_buf *out, dw_err *err)
{
    uint32_t bits = 0;
    size_t pad = 0;
    if (t.len % 4)
        return dw_fail(err, DW_E_INPUT,
                       "precompiled_charsmap: %zu characters of base64, wanted a multiple of 4",
                       t.len);
    for (size_t i = 0; i < t.len; i++) {
        bool is_pad = t.ptr[i] == '=' && i + 2 >= t.len;
        int six = is_pad ? 0 : sextet(t.ptr[i]);
        if (six < 0 || (pad && !is_pad))
            return dw_fail(err, DW_E_INPUT, "precompiled_charsmap: character %zu is not base64", i);
        pad += is_pad;
        bits = bits << 6 | (uint32_t)six;
        if (i % 4 != 3)
            continue;
        for (size_t k = 0; k + pad < 3; k++)
            dw_buf_addc(out, (char)(bits >> (16 - 8 * k) & 0xff));
        bits = 0;
    }
    return DW_OK;
}

static uint32_t little(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

static dw_status split(dw_charsmap *m, dw_text t, dw_err *err)
{
    if (t.len < 4)
        return dw_fail(err, DW_E_INPUT, "precompiled_charsmap: %zu bytes, wanted at least 4",
                       t.len);
    size_t trie = little(t.ptr);
    if (trie % 4 || trie > t.len - 4 || !trie)
        return dw_fail(err, DW_E_INPUT,
                       "precompiled_charsmap: a trie of %zu bytes in a map of %zu, wanted a "
                       "multiple of 4 from 4 to %zu",
                       trie, t.len, t.len - 4);
    m->n_unit = trie / 4;
    m->unit = dw_alloc(trie);
    for (size_t i = 0; i < m->n_unit; i++)
        m->unit[i] = little(t.ptr + 4 + 4 * i);
    m->n_text = t.len - 4 - trie;
    m->text = dw_strndup(t.ptr + 4 + trie, m->n_text);
    if (!dw_utf8_valid(m->text, m->n_text))
        return dw_fail(err, DW_E_INPUT, "precompiled_charsmap: the replacements are not UTF-8");
    return DW_OK;
}

/* ---- the units of darts-clone ---- */

static bool has_leaf(uint32_t unit)
{
    return unit >> 8 & 1;
}

static uint32_t label(uint32_t unit)
{
    return unit & (UINT32_C(1) << 31 | 0xff);
}

static size_t offset(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & UINT32_C(1) << 9) >> 6);
}

/* Every leaf must name a replacement inside the text that begins at a character. */
static dw_status check(const dw_charsmap *m, dw_err *err)
{
    for (size_t i = 0; i < m->n_unit; i++) {
        if (!has_leaf(m->unit[i]) || m->unit[i] >> 31)
            continue;
        size_t at = i ^ offset(m->unit[i]);
        if (at >= m->n_unit)
            return dw_fail(err, DW_E_INPUT,
                           "precompiled_charsmap: unit %zu points at unit %zu of %zu", i, at,
                           m->n_unit);
        size_t value = m->unit[at] & (UINT32_C(0x7fffffff));
        if (value >= m->n_text || ((unsigned char)m->text[value] & 0xc0) == 0x80)
            return dw_fail(err, DW_E_INPUT,
                           "precompiled_charsmap: unit %zu names byte %zu of the replacements, "
                           "which is no start of one (%zu bytes)",
                           at, value, m->n_text);
    }
    return DW_OK;
}

dw_status dw_charsmap_read(dw_charsmap *m, dw_text base64, dw_err *err)
{
    dw_buf bytes = {0};
    dw_status st = decode_base64(base64, &bytes, err);
    if (!st)
        st = split(m, (dw_text){bytes.ptr ? bytes.ptr : "", bytes.len}, err);
    if (!st)
        st = check(m, err);
    dw_buf_finish(&bytes);
    if (st)
        dw_charsmap_finish(m);
    return st;
}

void dw_charsmap_finish(dw_charsmap *m)
{
    dw_free(m->unit);
    dw_free(m->text);
    *m = (dw_charsmap){0};
}

/* The replacement of the shortest key that the text begins with. It stands for the whole text even
 * where the key is shorter: that is what Hugging Face tokenizers does. */
static bool find(const dw_charsmap *m, const char *s, size_t n, dw_text *out)
{
    size_t at = offset(m->unit[0]);
    for (size_t i = 0; i < n && s[i]; i++) {
        unsigned char c = (unsigned char)s[i];
        at ^= c;
        if (at >= m->n_unit || label(m->unit[at]) != c)
            return false;
        bool leaf = has_leaf(m->unit[at]);
        at ^= offset(m->unit[at]);
        if (!leaf)
            continue;
        const char *text = m->text + (m->unit[at] & UINT32_C(0x7fffffff));
        *out = (dw_text){text, strlen(text)};
        return true;
    }
    return false;
}

static void put_grapheme(const dw_charsmap *m, const char *s, size_t n, dw_buf *out)
{
    dw_text to;
    if (n < GRAPHEME_MAX && find(m, s, n, &to)) {
        dw_buf_add(out, to.ptr, to.len);
        return;
    }
    for (size_t i = 0; i < n;) {
        int len;
        dw_unicode_at(s + i, n - i, &len);
        if (find(m, s + i, (size_t)len, &to))
            dw_buf_add(out, to.ptr, to.len);
        else
            dw_buf_add(out, s + i, (size_t)len);
        i += (size_t)len;
    }
}

void dw_charsmap_run(const dw_charsmap *m, dw_text text, dw_buf *out)
{
    size_t from = 0;
    utf8proc_int32_t state = 0, before = -1;
    for (size_t i = 0; i < text.len;) {
        int len;
        utf8proc_int32_t c = (utf8proc_int32_t)dw_unicode_at(text.ptr + i, text.len - i, &len);
        if (before >= 0 && utf8proc_grapheme_break_stateful(before, c, &state)) {
            put_grapheme(m, text.ptr + from, i - from, out);
            from = i;
        }
        before = c;
        i += (size_t)len;
    }
    put_grapheme(m, text.ptr + from, text.len - from, out);
}
