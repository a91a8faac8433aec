/* Ids by character, and the tokens "<0x00>" to "<0xFF>" that stand for single bytes. */
#include "text/chars.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "text/unicode.h"

static void put(dw_chars *c, uint32_t ch, int32_t id)
{
    int32_t **page = &c->page[ch >> 8];
    if (!*page) {
        *page = dw_alloc(256 * sizeof **page);
        for (int i = 0; i < 256; i++)
            (*page)[i] = -1;
    }
    (*page)[ch & 0xff] = id;
}

void dw_chars_build(dw_chars *c, const dw_vocab *v)
{
    for (int32_t id = 0; id < v->n; id++) {
        dw_text t = v->entry[id].token;
        int len;
        if (!t.ptr || !t.len)
            continue;
        uint32_t ch = dw_unicode_at(t.ptr, t.len, &len);
        if ((size_t)len == t.len)
            put(c, ch, id);
    }
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
        c->byte_id[byte] = dw_vocab_find(v, dw_text_of(name));
    }
}

void dw_chars_finish(dw_chars *c)
{
    for (size_t i = 0; i < sizeof c->page / sizeof *c->page; i++)
        dw_free(c->page[i]);
    memset(c->page, 0, sizeof c->page);
}

bool dw_chars_has_bytes(const dw_chars *c, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c->byte_id[(unsigned char)s[i]] < 0)
            return false;
    return true;
}

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int dw_chars_byte_of(dw_text t)
{
    if (t.len != 6 || memcmp(t.ptr, "<0x", 3) != 0 || t.ptr[5] != '>')
        return -1;
    int high = digit(t.ptr[3]), low = digit(t.ptr[4]);
    /* A number with a sign, "+F", is what Hugging Face's reader takes as well. */
    if (t.ptr[3] == '+')
        high = 0;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}
