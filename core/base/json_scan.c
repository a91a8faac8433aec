/* Refuses everything cJSON would let through: RFC 8259 to the letter, UTF-8, unique keys, numbers
 * that fit a double. */
#include "base/json_scan.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/alloc.h"
#include "base/hash.h"

typedef struct key_seen {
    uint64_t hash;
    size_t at;
} key_seen;

typedef struct scan {
    const char *text;
    size_t n, at;
    int depth, max_depth, first_line;
    size_t nul_escapes, odd_numbers;
    bool escaped; /* the string at hand holds a backslash */
    dw_json_sink sink;
    key_seen *key; /* of all open objects, innermost last */
    size_t n_key, cap_key;
    dw_buf word;
    dw_err *err;
} scan;

__attribute__((format(printf, 3, 4))) static dw_status bad(scan *s, size_t at, const char *fmt, ...)
{
    size_t line = (size_t)s->first_line, start = 0;
    for (size_t i = 0; i < at && i < s->n; i++)
        if (s->text[i] == '\n') {
            line++;
            start = i + 1;
        }
    char what[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return dw_fail(s->err, DW_E_INPUT, "line %zu, column %zu: %s", line, at - start + 1, what);
}

size_t dw_json_space(const char *p, const char *end)
{
    const char *q = p;
    while (q < end && (*q == ' ' || *q == '\n' || *q == '\t' || *q == '\r'))
        q++;
    return (size_t)(q - p);
}

static void space(scan *s)
{
    s->at += dw_json_space(s->text + s->at, s->text + s->n);
}

static void tell(const scan *s, char kind, size_t from, size_t to)
{
    if (s->sink.part)
        s->sink.part(s->sink.ctx, kind, s->text + from, to - from, s->escaped);
}

static int peek(const scan *s)
{
    return s->at < s->n ? (unsigned char)s->text[s->at] : -1;
}

static const char *shown(int c, char out[8])
{
    if (c < 0)
        return "the end of the text";
    if (c < 0x20 || c >= 0x7f)
        snprintf(out, 8, "0x%02x", (unsigned)c);
    else
        snprintf(out, 8, "'%c'", c);
    return out;
}

static dw_status unexpected(scan *s, const char *wanted)
{
    char c[8];
    return bad(s, s->at, "found %s, wanted %s", shown(peek(s), c), wanted);
}

static int hex4(const char *p, size_t left)
{
    if (left < 4)
        return -1;
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int c = (unsigned char)p[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

/* At the backslash; moves past the escape. */
static dw_status escape(scan *s)
{
    const char *p = s->text + s->at;
    size_t left = s->n - s->at;
    if (left >= 2) {
        switch (p[1]) {
        case 'n':
        case '"':
        case '\\':
        case '/':
        case 'b':
        case 'f':
        case 'r':
        case 't':
            s->at += 2;
            return DW_OK;
        default:
            break;
        }
    }
    if (left < 2 || p[1] != 'u')
        return bad(s, s->at, "unknown escape in a string");
    int u = hex4(p + 2, left - 2);
    if (u < 0)
        return bad(s, s->at, "\\u wants four hexadecimal digits");
    if (u >= 0xdc00 && u <= 0xdfff)
        return bad(s, s->at, "lone low surrogate in a string");
    if (u >= 0xd800 && u <= 0xdbff) {
        int low = left >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, left - 8) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return bad(s, s->at, "lone high surrogate in a string");
        s->at += 12;
        return DW_OK;
    }
    s->nul_escapes += u == 0;
    s->at += 6;
    return DW_OK;
}

/* How many bytes at p are plain in a string: printing ASCII, no quote, no backslash. (Where it
 * stops at a 0x7f the caller steps over it.) */
static size_t plain(const char *p, const char *end)
{
    const char *q = p;
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'),
                  low = _mm_set1_epi8(0x20);
    for (; end - q >= 16; q += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)q);
        /* signed: bytes from 0x80 on are below 0x20, too */
        const __m128i odd =
            _mm_or_si128(_mm_cmplt_epi8(x, low),
                         _mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, slash)));
        const int bits = _mm_movemask_epi8(odd);
        if (bits)
            return (size_t)(q - p) + (size_t)__builtin_ctz((unsigned)bits);
    }
#endif
    while (q < end && *q >= 0x20 && *q < 0x7f && *q != '"' && *q != '\\')
        q++;
    return (size_t)(q - p);
}

/* Length of a character of two bytes or more, or 0: dw_utf8_len with what is usual first. */
static size_t wide(const char *p, const char *end)
{
    const unsigned char *u = (const unsigned char *)p;
    if (end - p >= 2 && u[0] >= 0xc2 && u[0] <= 0xdf && (u[1] & 0xc0) == 0x80)
        return 2;
    return (size_t)dw_utf8_len(p, (size_t)(end - p));
}

static dw_status string(scan *s)
{
    const size_t open = s->at++;
    const char *p = s->text + s->at, *end = s->text + s->n;
    s->escaped = false;
    while (p += plain(p, end), p < end) {
        const unsigned char c = (unsigned char)*p;
        size_t len = 1;
        s->at = (size_t)(p - s->text);
        if (c == '"') {
            s->at++;
            return DW_OK;
        }
        if (c == '\\') {
            s->escaped = true;
            if (end - p > 1 && p[1] == 'n') { /* by far the most frequent */
                p += 2;
                continue;
            }
            DW_TRY(escape(s));
            p = s->text + s->at;
            continue;
        }
        if (c < 0x20)
            return bad(s, s->at, "control character 0x%02x in a string must be escaped", c);
        if (c >= 0x80)
            len = wide(p, end);
        if (!len)
            return bad(s, s->at, "byte 0x%02x is not UTF-8", c);
        p += len;
    }
    return bad(s, open, "string is never closed");
}

static size_t digits(scan *s)
{
    size_t from = s->at;
    while (s->at < s->n && s->text[s->at] >= '0' && s->text[s->at] <= '9')
        s->at++;
    return s->at - from;
}

bool dw_json_odd_number(const char *p, size_t n)
{
    const char *point = memchr(p, '.', n);
    if (memchr(p, 'e', n) || memchr(p, 'E', n))
        return true;
    if (!point)
        return n > 15 || (n == 2 && p[0] == '-' && p[1] == '0');
    for (const char *q = point + 1; q < p + n; q++)
        if (*q != '0')
            return false;
    return true;
}

static dw_status number(scan *s)
{
    size_t from = s->at;
    bool exponent = false;
    if (peek(s) == '-')
        s->at++;
    size_t lead = s->at;
    size_t n = digits(s);
    if (!n)
        return unexpected(s, "a digit");
    if (n > 1 && s->text[lead] == '0')
        return bad(s, lead, "number with a leading zero");
    if (peek(s) == '.') {
        s->at++;
        if (!digits(s))
            return unexpected(s, "a digit after the point");
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        exponent = true;
        s->at++;
        if (peek(s) == '+' || peek(s) == '-')
            s->at++;
        if (!digits(s))
            return unexpected(s, "a digit of the exponent");
    }
    /* Only an exponent or hundreds of digits can leave the range of a double. */
    if (exponent || s->at - from > 300) {
        dw_buf_clear(&s->word);
        dw_buf_add(&s->word, s->text + from, s->at - from);
        if (isinf(strtod(s->word.ptr, NULL)))
            return bad(s, from, "number is too large");
    }
    s->odd_numbers += !s->sink.part && dw_json_odd_number(s->text + from, s->at - from);
    tell(s, '0', from, s->at);
    return DW_OK;
}

static dw_status literal(scan *s, const char *word)
{
    size_t n = strlen(word);
    if (s->n - s->at < n || memcmp(s->text + s->at, word, n) != 0)
        return unexpected(s, "a value");
    tell(s, *word, s->at, s->at + n);
    s->at += n;
    return DW_OK;
}

static dw_status value(scan *s);

enum { FEW = 24 }; /* keys that are sorted without a call for each comparison */

static int by_hash(const void *a, const void *b)
{
    const key_seen *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static void sort_few(key_seen *k, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const key_seen x = k[i];
        size_t j = i;
        for (; j > 0 && (k[j - 1].hash > x.hash || (k[j - 1].hash == x.hash && k[j - 1].at > x.at));
             j--)
            k[j] = k[j - 1];
        k[j] = x;
    }
}

static dw_status unique(scan *s, size_t first)
{
    size_t n = s->n_key - first;
    if (n < 2) { /* also where there is no array yet */
        s->n_key = first;
        return DW_OK;
    }
    key_seen *k = s->key + first;
    if (n > FEW)
        qsort(k, n, sizeof *k, by_hash);
    else
        sort_few(k, n);
    for (size_t i = 1; i < n; i++)
        if (k[i].hash == k[i - 1].hash) {
            size_t at = k[i].at, from = s->at;
            s->at = at;
            dw_status st = string(s);
            size_t len = s->at - at;
            s->at = from;
            DW_TRY(st);
            return bad(s, at, "key %.*s appears twice in one object", (int)(len > 80 ? 80 : len),
                       s->text + at);
        }
    s->n_key = first;
    return DW_OK;
}

static dw_status key(scan *s)
{
    if (peek(s) != '"')
        return unexpected(s, "a key in double quotes");
    size_t from = s->at, nul = s->nul_escapes;
    DW_TRY(string(s));
    if (s->nul_escapes != nul)
        return bad(s, from, "key with U+0000");
    const char *p = s->text + from + 1;
    size_t n = s->at - from - 2;
    tell(s, 'k', from + 1, from + 1 + n);
    if (s->escaped) {
        dw_buf_clear(&s->word);
        dw_json_unescape(p, n, &s->word);
        p = s->word.ptr;
        n = s->word.len;
    }
    DW_GROW(s->key, s->n_key, s->cap_key);
    s->key[s->n_key++] = (key_seen){dw_hash64(p, n), from};
    return DW_OK;
}

static dw_status container(scan *s, bool object)
{
    char close = object ? '}' : ']';
    size_t first = s->n_key;
    if (++s->depth > s->max_depth)
        return bad(s, s->at, "nested deeper than %d levels", s->max_depth);
    tell(s, object ? '{' : '[', s->at, s->at + 1);
    s->at++;
    space(s);
    while (peek(s) != close) {
        if (object) {
            DW_TRY(key(s));
            space(s);
            if (peek(s) != ':')
                return unexpected(s, "':' after the key");
            s->at++;
        }
        space(s);
        DW_TRY(value(s));
        space(s);
        if (peek(s) == close)
            break;
        if (peek(s) != ',')
            return unexpected(s, object ? "',' or '}' after a value" : "',' or ']' after a value");
        s->at++;
        space(s);
        if (peek(s) == close)
            return unexpected(s, object ? "a key after ','" : "a value after ','");
    }
    tell(s, close, s->at, s->at + 1);
    s->at++;
    s->depth--;
    return object ? unique(s, first) : DW_OK;
}

static dw_status text_value(scan *s)
{
    const size_t from = s->at + 1;
    DW_TRY(string(s));
    tell(s, 's', from, s->at - 1);
    return DW_OK;
}

static dw_status value(scan *s)
{
    switch (peek(s)) {
    case '{':
        return container(s, true);
    case '[':
        return container(s, false);
    case '"':
        return text_value(s);
    case 't':
        return literal(s, "true");
    case 'f':
        return literal(s, "false");
    case 'n':
        return literal(s, "null");
    default:
        if (peek(s) == '-' || (peek(s) >= '0' && peek(s) <= '9'))
            return number(s);
        return unexpected(s, "a value");
    }
}

/* By its mark, or by the first character, which is ASCII in all JSON. */
static bool utf16(const char *text, size_t n)
{
    return n >= 2 && (!memcmp(text, "\xff\xfe", 2) || !memcmp(text, "\xfe\xff", 2) ||
                      (!text[0] != !text[1] && (text[0] | text[1]) > 0x08));
}

static dw_status run(scan *s)
{
    const char *text = s->text;
    dw_status st;
    if (s->n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
        st = bad(s, 0, "starts with a byte order mark; save it as UTF-8 without one");
    } else if (utf16(text, s->n)) {
        st = bad(s, 0, "this is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)");
    } else {
        space(s);
        st = value(s);
        space(s);
        if (!st && s->at < s->n)
            st = unexpected(s, "nothing after the value");
    }
    dw_free(s->key);
    dw_buf_finish(&s->word);
    return st;
}

dw_status dw_json_scan(const char *text, size_t n, int max_depth, int first_line,
                       size_t *nul_escapes, size_t *odd_numbers, dw_err *err)
{
    scan s = {.text = text, .n = n, .max_depth = max_depth, .first_line = first_line, .err = err};
    dw_status st = run(&s);
    *nul_escapes = s.nul_escapes;
    *odd_numbers = s.odd_numbers;
    return st;
}

dw_status dw_json_scan_into(dw_json_sink sink, const char *text, size_t n, int max_depth,
                            int first_line, dw_err *err)
{
    scan s = {.text = text,
              .n = n,
              .max_depth = max_depth,
              .first_line = first_line,
              .sink = sink,
              .err = err};
    return run(&s);
}

size_t dw_json_skip(const char *p, const char *end)
{
    const char *q = p;
    int depth = 0;
    do {
        char c = *q++;
        if (c == '"') {
            while (*q != '"')
                q += *q == '\\' ? 2 : 1;
            q++;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (!depth) {
            while (q < end && !strchr(" \t\r\n,]}", *q))
                q++;
        }
    } while (depth && q < end);
    return (size_t)(q - p);
}

static size_t put_utf8(char *b, unsigned u)
{
    if (u < 0x80) {
        b[0] = (char)u;
        return 1;
    }
    if (u < 0x800) {
        b[0] = (char)(0xc0 | u >> 6);
        b[1] = (char)(0x80 | (u & 63));
        return 2;
    }
    if (u < 0x10000) {
        b[0] = (char)(0xe0 | u >> 12);
        b[1] = (char)(0x80 | (u >> 6 & 63));
        b[2] = (char)(0x80 | (u & 63));
        return 3;
    }
    b[0] = (char)(0xf0 | u >> 18);
    b[1] = (char)(0x80 | (u >> 12 & 63));
    b[2] = (char)(0x80 | (u >> 6 & 63));
    b[3] = (char)(0x80 | (u & 63));
    return 4;
}

/* By a backslash and this character. */
static char meant(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case 'r':
        return '\r';
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    default:
        return c;
    }
}

size_t dw_json_unescape_to(const char *p, size_t n, char *out)
{
    char *o = out;
    for (const char *end = p + n; p < end;) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        const size_t run = (size_t)((slash ? slash : end) - p);
        memcpy(o, p, run);
        o += run;
        p += run;
        if (p == end)
            break;
        if (p[1] == 'u') {
            unsigned u = (unsigned)hex4(p + 2, 4);
            p += 6;
            if (u >= 0xd800 && u <= 0xdbff) {
                u = 0x10000 + ((u - 0xd800) << 10) + ((unsigned)hex4(p + 2, 4) - 0xdc00);
                p += 6;
            }
            o += put_utf8(o, u);
        } else {
            *o++ = meant(p[1]);
            p += 2;
        }
    }
    return (size_t)(o - out);
}

void dw_json_unescape(const char *p, size_t n, dw_buf *out)
{
    char small[256], *plain = n <= sizeof small ? small : dw_alloc(n);
    dw_buf_add(out, plain, dw_json_unescape_to(p, n, plain));
    if (plain != small)
        dw_free(plain);
}
