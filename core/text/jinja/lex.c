/* Template source to tokens, with trim_blocks and lstrip_blocks on, as jinja2's lexer does it. */
#include "text/jinja/lex.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "text/jinja/chars.h"
#include "text/jinja/run.h"
#include "text/unicode.h"

enum { MAX_TOKENS = 200000 };

typedef struct lexer {
    dw_jinja *t;
    dw_err *err;
    const char *s;
    size_t n, at;
    dw_jtoken *token;
    size_t n_token, cap_token;
    char open[DW_JLIMIT_NESTING]; /* brackets waiting to be closed */
    int n_open;
    bool line_starting; /* the last piece ended with a newline */
    size_t seen;        /* line and column are those of this byte */
    uint32_t line, column;
} lexer;

static void place(lexer *x, size_t at)
{
    for (; x->seen < at; x->seen++) {
        x->column++;
        if (x->s[x->seen] == '\n') {
            x->line++;
            x->column = 1;
        }
    }
}

#define lex_fail(x, at, ...) (lex_complain((x), (at), __VA_ARGS__), dw_failed(DW_E_INPUT))
__attribute__((format(printf, 3, 4))) static void lex_complain(lexer *x, size_t at, const char *fmt,
                                                               ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    place(x, at);
    dw_err_set(x->err, "%s:%u:%u: %s", x->t->name, x->line, x->column, text);
}

static dw_status push(lexer *x, dw_jtoken_kind kind, size_t at, dw_text text)
{
    if (x->n_token == MAX_TOKENS)
        return lex_fail(x, at, "more than %d tokens", MAX_TOKENS);
    place(x, at);
    DW_GROW(x->token, x->n_token, x->cap_token);
    x->token[x->n_token++] =
        (dw_jtoken){.kind = kind, .text = text, .line = x->line, .column = x->column};
    return DW_OK;
}

static bool here(const lexer *x, size_t at, const char *what)
{
    const size_t n = strlen(what);
    return x->n - at >= n && !memcmp(x->s + at, what, n);
}

static size_t spaces(const lexer *x, size_t at)
{
    return dw_jchars_lead(x->s + at, x->n - at);
}

/* ---- between tags ---- */

/* Length of `{% raw %}` or `{% endraw %}` at `at` as far as the word, 0 where it is none. */
static size_t raw_word(const lexer *x, size_t at, const char *word, char *sign)
{
    size_t p = at + 2;
    *sign = 0;
    if (!here(x, at, "{%"))
        return 0;
    if (p < x->n && (x->s[p] == '-' || x->s[p] == '+'))
        *sign = x->s[p++];
    p += spaces(x, p);
    if (!here(x, p, word))
        return 0;
    p += strlen(word);
    p += spaces(x, p);
    return p - at;
}

/* Text before a tag: cut as the sign inside the tag and lstrip_blocks say. */
static dw_status push_data(lexer *x, size_t from, size_t to, char sign, bool variable)
{
    size_t end = to;
    if (sign == '-') {
        end -= dw_jchars_trail(x->s + from, to - from);
    } else if (sign != '+' && !variable) {
        size_t line = to;
        while (line > from && x->s[line - 1] != '\n')
            line--;
        if ((line > from || x->line_starting) && line < to && line + spaces(x, line) >= to)
            end = line;
    }
    if (end == from)
        return DW_OK;
    return push(x, DW_JT_DATA, from, (dw_text){x->s + from, end - from});
}

/* Past the end of a block or comment tag whose closing sign stands at `at`. */
static void close_tag(lexer *x, size_t at, char sign)
{
    x->at = at + 2;
    if (sign == '-')
        x->at += spaces(x, x->at);
    else if (sign != '+' && x->at < x->n && x->s[x->at] == '\n')
        x->at++;
    x->line_starting = x->at > 0 && x->s[x->at - 1] == '\n';
}

static dw_status lex_comment(lexer *x, size_t start, size_t inside)
{
    for (size_t p = inside; p + 1 < x->n; p++) {
        if (!here(x, p, "#}"))
            continue;
        close_tag(x, p, p > inside ? x->s[p - 1] : 0);
        return DW_OK;
    }
    return lex_fail(x, start, "a comment that does not end: '#}' is missing");
}

static dw_status lex_raw(lexer *x, size_t start, size_t inside)
{
    for (size_t p = inside; p < x->n; p++) {
        char sign, last = 0;
        size_t n = x->s[p] == '{' ? raw_word(x, p, "endraw", &sign) : 0;
        if (!n)
            continue;
        size_t end = p + n;
        if (end < x->n && (x->s[end] == '-' || x->s[end] == '+'))
            last = x->s[end++];
        if (!here(x, end, "%}"))
            continue;
        x->line_starting = false;
        DW_TRY(push_data(x, inside, p, sign, false));
        close_tag(x, end, last);
        return DW_OK;
    }
    return lex_fail(x, start, "a raw block that does not end: '{%% endraw %%}' is missing");
}

/* ---- inside tags ---- */

static bool is_word(char c)
{
    const unsigned char u = (unsigned char)c;
    return (u >= '0' && u <= '9') || (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z') || u == '_' ||
           u >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* (\d+_)*\d+ */
static size_t digits(const lexer *x, size_t at)
{
    size_t p = at;
    while (p < x->n && (is_digit(x->s[p]) ||
                        (x->s[p] == '_' && p > at && p + 1 < x->n && is_digit(x->s[p + 1]))))
        p++;
    return p - at;
}

static size_t float_length(const lexer *x, size_t at)
{
    size_t n = digits(x, at), fraction = 0, exponent = 0;
    if (!n || (at && x->s[at - 1] == '.'))
        return 0;
    if (at + n < x->n && x->s[at + n] == '.') {
        fraction = digits(x, at + n + 1);
        n += fraction ? fraction + 1 : 0;
    }
    if (at + n < x->n && (x->s[at + n] | 0x20) == 'e') {
        size_t sign = at + n + 1 < x->n && strchr("+-", x->s[at + n + 1]) ? 1 : 0;
        exponent = digits(x, at + n + 1 + sign);
        n += exponent ? exponent + 1 + sign : 0;
    }
    return fraction || exponent ? n : 0;
}

static int base_of(const lexer *x, size_t at)
{
    const char c = x->n - at > 2 && x->s[at] == '0' ? (char)(x->s[at + 1] | 0x20) : 0;
    return c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
}

static dw_status lex_number(lexer *x)
{
    char text[72];
    size_t m = 0, start = x->at, n = float_length(x, start);
    const bool real = n > 0;
    int base = 10;
    if (!real) {
        base = base_of(x, start);
        n = base == 10 ? digits(x, start) : 2;
        while (base != 10 && start + n < x->n &&
               (x->s[start + n] == '_' || strchr("0123456789abcdefABCDEF", x->s[start + n])))
            n++;
        /* Python writes no leading zeros: "07" is 0 and then 7, which no template means. */
        if (base == 10 && x->s[start] == '0' && n > 1 && strspn(x->s + start, "0_") < n)
            return lex_fail(x, start, "a number with leading zeros");
    }
    for (size_t i = base == 10 ? 0 : 2; i < n && m + 1 < sizeof text; i++)
        if (x->s[start + i] != '_')
            text[m++] = x->s[start + i];
    text[m] = 0;
    if (m + 1 == sizeof text)
        return lex_fail(x, start, "a number of too many digits");
    DW_TRY(push(x, real ? DW_JT_FLOAT : DW_JT_INTEGER, start, (dw_text){x->s + start, n}));
    dw_jtoken *k = &x->token[x->n_token - 1];
    char *end;
    errno = 0;
    if (real)
        k->real = strtod(text, &end);
    else
        k->integer = strtoll(text, &end, base);
    k->big = !real && errno == ERANGE && base == 10; /* the parser keeps its digits */
    if (k->big)
        k->text = (dw_text){dw_arena_strdup(&x->t->arena, text), m};
    else if (*end || end == text || (!real && errno))
        return lex_fail(x, start, "a number that cannot be read: '%s'", text);
    x->at += n;
    return DW_OK;
}

static bool hex(const char *p, const char *end, int n, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < n; i++, p++) {
        const char *d = p < end && *p ? strchr("0123456789abcdef", *p | 0x20) : NULL;
        if (!d || (*p < '0'))
            return false;
        *out = *out * 16 + (uint32_t)(d - "0123456789abcdef");
    }
    return true;
}

/* One escape after a backslash at p; what it stands for goes to b. */
static const char *unescape(const char *p, const char *end, dw_buf *b)
{
    static const char from[] = "ntrabfv\\'\"", to[] = "\n\t\r\a\b\f\v\\'\"";
    const char *simple = *p ? strchr(from, *p) : NULL;
    const int wide = *p == 'x' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
    uint32_t c = 0;
    if (simple) {
        dw_buf_addc(b, to[simple - from]);
        return p + 1;
    }
    if (wide) {
        if (!hex(p + 1, end, wide, &c) || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return NULL;
        dw_unicode_put(b, c);
        return p + 1 + wide;
    }
    if (*p >= '0' && *p <= '7') {
        for (int i = 0; i < 3 && p < end && *p >= '0' && *p <= '7'; i++, p++)
            c = c * 8 + (uint32_t)(*p - '0');
        dw_unicode_put(b, c);
        return p;
    }
    if (*p == 'N')
        return NULL;
    if (*p != '\n') { /* Python leaves what it does not know */
        dw_buf_addc(b, '\\');
        dw_buf_addc(b, *p);
    }
    return p + 1;
}

static dw_status lex_string(lexer *x)
{
    const size_t start = x->at;
    const char quote = x->s[start], *end = x->s + x->n, *p = x->s + start + 1;
    dw_buf b = {0};
    while (p < end && *p != quote) {
        if (*p != '\\') {
            dw_buf_addc(&b, *p++);
            continue;
        }
        p = p + 1 < end ? unescape(p + 1, end, &b) : NULL;
        if (!p)
            break;
    }
    dw_status st = DW_OK;
    if (!p)
        st = lex_fail(x, start, "a string with an escape that cannot be read");
    else if (p >= end)
        st = lex_fail(x, start, "a string that does not end");
    else
        st = push(x, DW_JT_STRING, start,
                  (dw_text){dw_arena_strndup(&x->t->arena, b.ptr ? b.ptr : "", b.len), b.len});
    if (!st)
        x->at = (size_t)(p + 1 - x->s);
    dw_buf_finish(&b);
    return st;
}

static dw_status lex_operator(lexer *x)
{
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    const char c = x->s[x->at];
    size_t n = 0;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (here(x, x->at, two[i]))
            n = 2;
    if (!n && c && strchr("+-/*%~[](){}><=.:|,;", c))
        n = 1;
    if (!n)
        return lex_fail(x, x->at, "unexpected character '%.*s'",
                        dw_utf8_len(x->s + x->at, x->n - x->at), x->s + x->at);
    DW_TRY(push(x, DW_JT_OP, x->at, (dw_text){x->s + x->at, n}));
    if (n == 1 && strchr("([{", c)) {
        if (x->n_open == DW_JLIMIT_NESTING)
            return lex_fail(x, x->at, "brackets nested deeper than %d", DW_JLIMIT_NESTING);
        x->open[x->n_open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (n == 1 && strchr(")]}", c)) {
        if (!x->n_open || x->open[x->n_open - 1] != c)
            return lex_fail(x, x->at, "unexpected '%c'%s%.1s%s", c, x->n_open ? ", wanted '" : "",
                            x->n_open ? &x->open[x->n_open - 1] : "", x->n_open ? "'" : "");
        x->n_open--;
    }
    x->at += n;
    return DW_OK;
}

/* The end of the tag at x->at, if it stands there: its sign, and where the closing two characters
 * are. */
static bool tag_end(const lexer *x, bool variable, char *sign, size_t *at)
{
    const char *mark = variable ? "}}" : "%}";
    *sign = 0;
    *at = x->at;
    if (x->n_open)
        return false;
    if (here(x, x->at, mark))
        return true;
    *sign = x->s[x->at];
    *at = x->at + 1;
    return (*sign == '-' || (*sign == '+' && !variable)) && here(x, *at, mark);
}

static dw_status lex_tag(lexer *x, size_t start, bool variable)
{
    x->n_open = 0;
    while (x->at < x->n) {
        char sign;
        size_t end;
        x->at += spaces(x, x->at);
        if (x->at >= x->n)
            break;
        if (tag_end(x, variable, &sign, &end)) {
            DW_TRY(push(x, variable ? DW_JT_VARIABLE_END : DW_JT_BLOCK_END, x->at,
                        (dw_text){x->s + end, 2}));
            close_tag(x, end, variable && !sign ? '+' : sign);
            return DW_OK;
        }
        const char c = x->s[x->at];
        if (is_digit(c)) {
            DW_TRY(lex_number(x));
        } else if (is_word(c)) {
            size_t p = x->at;
            while (p < x->n && is_word(x->s[p]))
                p++;
            DW_TRY(push(x, DW_JT_NAME, x->at, (dw_text){x->s + x->at, p - x->at}));
            x->at = p;
        } else if (c == '"' || c == '\'') {
            DW_TRY(lex_string(x));
        } else {
            DW_TRY(lex_operator(x));
        }
    }
    return lex_fail(x, start, "a tag that does not end: '%s' is missing", variable ? "}}" : "%}");
}

/* ---- the whole ---- */

static dw_status lex_all(lexer *x)
{
    x->line_starting = true;
    while (x->at < x->n) {
        const size_t from = x->at;
        size_t p = from;
        char sign = 0;
        while (p < x->n &&
               !(x->s[p] == '{' && p + 1 < x->n && strchr("{%#", x->s[p + 1]) && x->s[p + 1]))
            p++;
        if (p >= x->n)
            return push(x, DW_JT_DATA, from, (dw_text){x->s + from, x->n - from});
        const char kind = x->s[p + 1];
        size_t inside = p + 2;
        if (inside < x->n && (x->s[inside] == '-' || x->s[inside] == '+'))
            sign = x->s[inside++];
        DW_TRY(push_data(x, from, p, sign, kind == '{'));
        size_t raw = kind == '%' ? raw_word(x, p, "raw", &sign) : 0;
        const bool strips = raw && here(x, p + raw, "-%}");
        if (raw && (strips || here(x, p + raw, "%}"))) {
            inside = p + raw + (strips ? 3 : 2);
            DW_TRY(lex_raw(x, p, strips ? inside + spaces(x, inside) : inside));
        } else if (kind == '#') {
            DW_TRY(lex_comment(x, p, inside));
        } else {
            x->at = inside;
            DW_TRY(push(x, kind == '{' ? DW_JT_VARIABLE_BEGIN : DW_JT_BLOCK_BEGIN, p,
                        (dw_text){x->s + p, 2}));
            DW_TRY(lex_tag(x, p, kind == '{'));
        }
    }
    return DW_OK;
}

/* \r\n and \r become \n, and one newline at the very end goes. */
static dw_text tidy(dw_jinja *t, dw_text source)
{
    char *s = dw_arena_alloc(&t->arena, source.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < source.len; i++) {
        const char c = source.ptr[i];
        s[n++] = c == '\r' ? '\n' : c;
        if (c == '\r' && i + 1 < source.len && source.ptr[i + 1] == '\n')
            i++;
    }
    if (n && s[n - 1] == '\n')
        n--;
    s[n] = 0;
    return (dw_text){s, n};
}

dw_status dw_jlex_run(dw_jinja *t, dw_text source, dw_jtoken **out, size_t *n, dw_err *err)
{
    t->source = tidy(t, source);
    lexer x = {.t = t, .err = err, .s = t->source.ptr, .n = t->source.len, .line = 1, .column = 1};
    dw_status st = lex_all(&x);
    if (!st)
        st = push(&x, DW_JT_END, x.n, (dw_text){"", 0});
    if (!st) {
        *out = dw_arena_alloc(&t->arena, x.n_token * sizeof **out);
        memcpy(*out, x.token, x.n_token * sizeof **out);
        *n = x.n_token;
    }
    dw_free(x.token);
    return st;
}
