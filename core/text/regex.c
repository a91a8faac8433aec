/* Oniguruma-syntax patterns, checked and rewritten for PCRE2 with JIT. */
#include "text/regex.h"

#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/alloc.h"
#include "text/unicode.h"

enum {
    MATCH_LIMIT = 1000000, /* backtracking steps of one match: some ten milliseconds */
    DEPTH_LIMIT = 10000,
    HEAP_LIMIT_KIB = 32768,
    STACK_MIN = 32768,
    STACK_MAX = 1 << 20,
    PATTERN_MAX = 8192,
};

struct dw_regex {
    pcre2_code *code;
    bool jit;
    dw_regex *late; /* for texts with characters newer than PCRE2's tables; NULL: no difference */
};

struct dw_regex_scratch {
    pcre2_match_data *data;
    pcre2_match_context *ctx;
    pcre2_jit_stack *stack;
};

/* ---- from Oniguruma's syntax to PCRE2's ---- */

typedef struct reader {
    const char *p, *end, *start;
    bool in_class;
    bool late; /* properties name the characters that PCRE2 may not know yet */
    dw_buf *out;
} reader;

static dw_status refuse(const reader *r, dw_err *err, const char *what, const char *at, size_t n)
{
    return dw_fail(err, DW_E_INPUT, "the pattern's %s '%.*s' at byte %zu is not supported", what,
                   (int)n, at, (size_t)(at - r->start));
}

/* \s: PCRE2's holds U+180E, which has not been white space since Unicode 6.3. */
static void put_space(reader *r, bool negated)
{
    if (r->in_class)
        dw_buf_adds(r->out, "\\x{09}-\\x{0d}\\x{85}\\p{Z}");
    else
        dw_buf_adds(r->out,
                    negated ? "[^\\x{09}-\\x{0d}\\x{85}\\p{Z}]" : "[\\x{09}-\\x{0d}\\x{85}\\p{Z}]");
}

/* From 10.40 on PCRE2 takes a script's name for all characters that are also used with it. */
#if PCRE2_MAJOR > 10 || PCRE2_MINOR >= 40
#define SCRIPT "sc:"
#else
#define SCRIPT ""
#endif

/* \p{X} with its late characters, except where a class must not hold them. */
static void put_property(reader *r, dw_text name, bool negated)
{
    bool late = r->late && !(r->in_class && negated), script = name.len > 2;
    if (late && !r->in_class)
        dw_buf_adds(r->out, negated ? "[^" : "[");
    dw_buf_printf(r->out, "\\%c{%s%.*s}", negated && (!late || r->in_class) ? 'P' : 'p',
                  script ? SCRIPT : "", (int)name.len, name.ptr);
    if (late)
        dw_unicode_put_late(name, r->out);
    if (late && !r->in_class)
        dw_buf_addc(r->out, ']');
}

static dw_status property(reader *r, const char *at, dw_err *err)
{
    static const char *const known[] = {
        "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc",  "Me",       "N",    "Nd",       "Nl",
        "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",  "S",        "Sm",   "Sc",       "Sk",
        "So", "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Han", "Hiragana", "Thai", "Katakana",
    };
    const char *close =
        r->p < r->end && *r->p == '{' ? memchr(r->p, '}', (size_t)(r->end - r->p)) : NULL;
    if (!close)
        return refuse(r, err, "escape", at, 2);
    const char *name = r->p + 1;
    if (*name == '^')
        name++;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (dw_text_is((dw_text){name, (size_t)(close - name)}, known[i])) {
            put_property(r, (dw_text){name, (size_t)(close - name)},
                         (at[1] == 'P') != (at[3] == '^'));
            r->p = close + 1;
            return DW_OK;
        }
    return refuse(r, err, "property", at, (size_t)(close + 1 - at));
}

static dw_status escape(reader *r, dw_err *err)
{
    const char *at = r->p++;
    if (r->p == r->end)
        return refuse(r, err, "escape", at, 1);
    char c = *r->p++;
    switch (c) {
    case 'p':
    case 'P':
        return property(r, at, err);
    case 's':
        put_space(r, false);
        return DW_OK;
    case 'S':
        if (r->in_class)
            break;
        put_space(r, true);
        return DW_OK;
    case 'd':
        dw_buf_adds(r->out, "\\p{Nd}");
        return DW_OK;
    case 'D':
        dw_buf_adds(r->out, "\\P{Nd}");
        return DW_OK;
    case 'r':
    case 'n':
    case 't':
    case 'f':
    case 'v':
        /* Oniguruma's \v is U+000B; PCRE2's is any vertical space. */
        dw_buf_adds(r->out, c == 'v' ? "\\x{0b}" : (char[]){'\\', c, 0});
        return DW_OK;
    default:
        if (c > ' ' && c < 127 &&
            !strchr("0123456789abcdefghijklmnopqrstuvwxyz"
                    "ABCDEFGHIJKLMNOPQRSTUVWXYZ`'<>",
                    c)) {
            dw_buf_add(r->out, at, 2);
            return DW_OK;
        }
    }
    return refuse(r, err, "escape", at, 2);
}

static dw_status group(reader *r, dw_err *err)
{
    static const char *const head[] = {"(?:", "(?i:", "(?!", "(?=", "(?<!", "(?<=", "(?>"};
    size_t left = (size_t)(r->end - r->p);
    if (left < 2 || r->p[1] != '?') {
        if (left >= 2 && r->p[1] == '*')
            return refuse(r, err, "verb", r->p, 2);
        /* What is captured is never used. */
        dw_buf_adds(r->out, "(?:");
        r->p++;
        return DW_OK;
    }
    for (size_t i = 0; i < sizeof head / sizeof *head; i++) {
        size_t n = strlen(head[i]);
        if (left >= n && !memcmp(r->p, head[i], n)) {
            dw_buf_add(r->out, r->p, n);
            r->p += n;
            return DW_OK;
        }
    }
    return refuse(r, err, "group", r->p, left < 4 ? left : 4);
}

/* A class: single characters, ranges and escapes. Oniguruma nests and intersects classes, PCRE2
 * does not. */
static dw_status character_class(reader *r, dw_err *err)
{
    const char *at = r->p++;
    dw_buf_addc(r->out, '[');
    r->in_class = true;
    if (r->p < r->end && *r->p == '^') {
        dw_buf_addc(r->out, '^');
        r->p++;
    }
    const char *first = r->p;
    for (; r->p < r->end && (*r->p != ']' || r->p == first);) {
        if (*r->p == '[' || *r->p == ']' || (*r->p == '&' && r->p + 1 < r->end && r->p[1] == '&'))
            return refuse(r, err, "class", at, (size_t)(r->p + 1 - at));
        if (*r->p == '\\')
            DW_TRY(escape(r, err));
        else
            dw_buf_addc(r->out, *r->p++);
    }
    if (r->p == r->end)
        return refuse(r, err, "class", at, (size_t)(r->end - at));
    r->in_class = false;
    dw_buf_addc(r->out, ']');
    r->p++;
    return DW_OK;
}

/* "{n}", "{n,}", "{n,m}"; what follows it may not be a second quantifier, which Oniguruma and PCRE2
 * read differently. */
static dw_status counted(reader *r, dw_err *err)
{
    const char *at = r->p;
    size_t n = 1;
    while (at + n < r->end && ((at[n] >= '0' && at[n] <= '9') || at[n] == ','))
        n++;
    bool closed = at + n < r->end && at[n] == '}' && n > 1 && at[1] != ',';
    if (!closed || (at + n + 1 < r->end && (at[n + 1] == '+' || at[n + 1] == '?')))
        return refuse(r, err, "quantifier", at, closed ? n + 2 : n);
    dw_buf_add(r->out, at, n + 1);
    r->p += n + 1;
    return DW_OK;
}

static dw_status translate(dw_text pattern, bool late, dw_buf *out, dw_err *err)
{
    reader r = {pattern.ptr, pattern.ptr + pattern.len, pattern.ptr, false, late, out};
    while (r.p < r.end) {
        switch (*r.p) {
        case '\\':
            DW_TRY(escape(&r, err));
            break;
        case '(':
            DW_TRY(group(&r, err));
            break;
        case '[':
            DW_TRY(character_class(&r, err));
            break;
        case '{':
            DW_TRY(counted(&r, err));
            break;
        default:
            dw_buf_addc(out, *r.p++);
        }
    }
    return DW_OK;
}

/* ---- compiling and matching ---- */

static dw_status check_compiled(const dw_regex *r, dw_err *err)
{
    uint32_t empty = 1;
    pcre2_pattern_info(r->code, PCRE2_INFO_MATCHEMPTY, &empty);
    if (empty)
        return dw_fail(err, DW_E_INPUT, "the pattern can match the empty text");
    return DW_OK;
}

static dw_status compile(dw_text pattern, dw_regex **out, dw_err *err)
{
    dw_regex *r = dw_zalloc(1, sizeof *r);
    dw_status st = DW_OK;
    int code;
    PCRE2_SIZE at;
    r->code = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_NO_AUTO_CAPTURE, &code, &at, NULL);
    if (!r->code) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(code, why, sizeof why);
        st = dw_fail(err, DW_E_INPUT, "the pattern does not compile: %s", (char *)why);
    } else {
        st = check_compiled(r, err);
    }
    if (st) {
        dw_regex_free(r);
        return st;
    }
    /* Where the system forbids it, the interpreter does the same, slower. */
    r->jit = !pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
    *out = r;
    return DW_OK;
}

dw_status dw_regex_compile(dw_text pattern, dw_regex **out, dw_err *err)
{
    *out = NULL;
    if (!pattern.len || pattern.len > PATTERN_MAX)
        return dw_fail(err, DW_E_INPUT, "the pattern has %zu bytes, wanted 1 .. %d", pattern.len,
                       PATTERN_MAX);
    dw_buf text = {0}, late = {0};
    dw_status st = translate(pattern, false, &text, err);
    if (!st)
        st = compile(dw_buf_text(&text), out, err);
    if (!st)
        st = translate(pattern, true, &late, err);
    if (!st && !dw_text_eq(dw_buf_text(&text), dw_buf_text(&late)))
        st = compile(dw_buf_text(&late), &(*out)->late, err);
    dw_buf_finish(&text);
    dw_buf_finish(&late);
    if (st) {
        dw_regex_free(*out);
        *out = NULL;
    }
    return st;
}

const dw_regex *dw_regex_for(const dw_regex *r, dw_text text)
{
    return r->late && dw_unicode_has_late(text) ? r->late : r;
}

void dw_regex_free(dw_regex *r)
{
    if (!r)
        return;
    dw_regex_free(r->late);
    pcre2_code_free(r->code);
    dw_free(r);
}

dw_regex_scratch *dw_regex_scratch_create(void)
{
    dw_regex_scratch *s = dw_zalloc(1, sizeof *s);
    s->data = pcre2_match_data_create(1, NULL);
    s->ctx = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(STACK_MIN, STACK_MAX, NULL);
    if (s->ctx) {
        pcre2_set_match_limit(s->ctx, MATCH_LIMIT);
        pcre2_set_depth_limit(s->ctx, DEPTH_LIMIT);
        pcre2_set_heap_limit(s->ctx, HEAP_LIMIT_KIB);
        if (s->stack)
            pcre2_jit_stack_assign(s->ctx, NULL, s->stack);
    }
    return s;
}

void dw_regex_scratch_free(dw_regex_scratch *s)
{
    if (!s)
        return;
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->ctx);
    pcre2_jit_stack_free(s->stack);
    dw_free(s);
}

dw_status dw_regex_next(const dw_regex *r, dw_regex_scratch *s, dw_text text, size_t from,
                        bool *found, size_t *start, size_t *end, dw_err *err)
{
    *found = false;
    if (!s->data || !s->ctx)
        return dw_fail(err, DW_E_LIMIT, "out of memory for the pattern");
    PCRE2_SPTR subject = (PCRE2_SPTR)text.ptr;
    int rc =
        r->jit ? pcre2_jit_match(r->code, subject, text.len, from, 0, s->data, s->ctx)
               : pcre2_match(r->code, subject, text.len, from, PCRE2_NO_UTF_CHECK, s->data, s->ctx);
    if (rc == PCRE2_ERROR_NOMATCH)
        return DW_OK;
    if (rc < 0) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(rc, why, sizeof why);
        return dw_fail(err, DW_E_INPUT, "the pre-tokenizer's pattern gave up after byte %zu: %s",
                       from, (char *)why);
    }
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(s->data);
    *found = true;
    *start = o[0];
    *end = o[1];
    return DW_OK;
}

dw_status dw_regex_replace(const dw_regex *r, dw_regex_scratch *s, dw_text text, dw_text to,
                           dw_buf *out, dw_err *err)
{
    size_t from = 0;
    r = dw_regex_for(r, text);
    while (from < text.len) {
        bool found;
        size_t start, end;
        DW_TRY(dw_regex_next(r, s, text, from, &found, &start, &end, err));
        if (!found)
            break;
        dw_buf_add(out, text.ptr + from, start - from);
        dw_buf_add(out, to.ptr, to.len);
        /* Look-behind can put an end before its start; such a match moves nothing. */
        from = end > from ? end : text.len;
    }
    dw_buf_add(out, text.ptr + from, text.len - from);
    return DW_OK;
}
