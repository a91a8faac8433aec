/* JSON out: strings, numbers, nodes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"

void dw_json_put_str(dw_buf *b, const char *s, size_t n)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    dw_buf_addc(b, '"');
    size_t plain = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        int len = c < 0x80 ? 1 : dw_utf8_len(s + i, n - i);
        if (len && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
            i += (size_t)len - 1;
            continue;
        }
        dw_buf_add(b, s + plain, i - plain);
        plain = i + 1;
        if (!len) { /* a message cut inside a character, a file name of other bytes */
            dw_buf_adds(b, "\xef\xbf\xbd");
            continue;
        }
        const char *e = c ? strchr(from, c) : NULL;
        if (e)
            dw_buf_printf(b, "\\%c", to[e - from]);
        else
            dw_buf_printf(b, "\\u%04x", c);
    }
    dw_buf_add(b, s + plain, n - plain);
    dw_buf_addc(b, '"');
}

void dw_json_put_cstr(dw_buf *b, const char *s)
{
    dw_json_put_str(b, s, strlen(s));
}

void dw_json_put_num(dw_buf *b, double x)
{
    char text[40];
    if (!isfinite(x)) {
        dw_buf_adds(b, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    dw_buf_adds(b, text);
}

void dw_json_put_sig(dw_buf *b, double x, int digits)
{
    if (isfinite(x))
        dw_buf_printf(b, "%.*g", digits, x);
    else
        dw_buf_adds(b, "null");
}

static void line(dw_buf *b, int indent, int depth)
{
    if (indent > 0)
        dw_buf_printf(b, "\n%*s", indent * depth, "");
}

static int by_key(const void *a, const void *b)
{
    return strcmp(dw_json_key(*(const dw_json *const *)a), dw_json_key(*(const dw_json *const *)b));
}

static void put(dw_buf *b, const dw_json *v, bool sort_keys, int indent, int depth);

static void put_members(dw_buf *b, const dw_json *v, bool sort_keys, int indent, int depth)
{
    bool object = dw_json_kind(v) == DW_JSON_OBJECT;
    size_t n = dw_json_len(v), i = 0;
    const dw_json **member = dw_alloc((n + 1) * sizeof(const dw_json *));
    for (const dw_json *c = dw_json_first(v); c; c = dw_json_next(c))
        member[i++] = c;
    if (object && sort_keys && n > 1)
        qsort(member, n, sizeof *member, by_key);
    dw_buf_addc(b, object ? '{' : '[');
    for (i = 0; i < n; i++) {
        if (i)
            dw_buf_addc(b, ',');
        line(b, indent, depth + 1);
        if (object) {
            dw_json_put_cstr(b, dw_json_key(member[i]));
            dw_buf_adds(b, indent > 0 ? ": " : ":");
        }
        put(b, member[i], sort_keys, indent, depth + 1);
    }
    if (n)
        line(b, indent, depth);
    dw_buf_addc(b, object ? '}' : ']');
    dw_free(member);
}

static void put(dw_buf *b, const dw_json *v, bool sort_keys, int indent, int depth)
{
    dw_text t;
    switch (dw_json_kind(v)) {
    case DW_JSON_NULL:
        dw_buf_adds(b, "null");
        break;
    case DW_JSON_BOOL:
        dw_buf_adds(b, dw_json_bool(v) ? "true" : "false");
        break;
    case DW_JSON_NUMBER:
        dw_json_put_num(b, dw_json_num(v));
        break;
    case DW_JSON_STRING:
        t = dw_json_str(v);
        dw_json_put_str(b, t.ptr, t.len);
        break;
    case DW_JSON_ARRAY:
    case DW_JSON_OBJECT:
        put_members(b, v, sort_keys, indent, depth);
        break;
    }
}

void dw_json_put(dw_buf *b, const dw_json *v, bool sort_keys, int indent)
{
    put(b, v, sort_keys, indent, 0);
}
