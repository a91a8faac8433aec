/* Runs the stages of a pre-tokeniser over a text. */
#include <string.h>

#include "text/pretoken.h"
#include "text/regex.h"
#include "text/unicode.h"

typedef struct run {
    const dw_pretoken *p;
    dw_pretoken_scratch *s;
    dw_pretoken_fn fn;
    void *ctx;
} run;

static dw_status stage(const run *r, size_t i, dw_text text, bool first, dw_err *err);

/* One stage over one text: parts come in, pieces go to the next stage. */
typedef struct cutter {
    const run *r;
    size_t i;
    dw_text text;
    bool first;
    bool held, was_match; /* [from, to) waits for what comes after it */
    size_t from, to;
} cutter;

static dw_status pass_on(const cutter *c, size_t from, size_t to, dw_err *err)
{
    const run *r = c->r;
    dw_text piece = {c->text.ptr + from, to - from};
    if (!piece.len)
        return DW_OK;
    if (c->i + 1 == r->p->n)
        return r->fn(r->ctx, piece.ptr, piece.len, err);
    return stage(r, c->i + 1, piece, c->first && !from, err);
}

static dw_status flush(cutter *c, dw_err *err)
{
    bool held = c->held;
    c->held = false;
    return held ? pass_on(c, c->from, c->to, err) : DW_OK;
}

static dw_status hold(cutter *c, size_t from, size_t to, dw_err *err)
{
    DW_TRY(flush(c, err));
    c->held = true;
    c->from = from;
    c->to = to;
    return DW_OK;
}

/* A match or what lies between two of them, from left to right without gaps. */
static dw_status part(cutter *c, size_t from, size_t to, bool match, dw_err *err)
{
    const dw_pretoken_stage *s = &c->r->p->stage[c->i];
    if (from == to)
        return DW_OK;
    match ^= s->invert;
    bool was = c->was_match, joins = false;
    c->was_match = match;
    switch (s->behavior) {
    case DW_PRETOKEN_ISOLATED:
        return pass_on(c, from, to, err);
    case DW_PRETOKEN_REMOVED:
        return match ? DW_OK : pass_on(c, from, to, err);
    case DW_PRETOKEN_CONTIGUOUS:
        joins = c->held && match == was;
        break;
    case DW_PRETOKEN_MERGED_WITH_PREVIOUS:
        joins = c->held && match && !was;
        break;
    case DW_PRETOKEN_MERGED_WITH_NEXT:
        joins = c->held && !match && was;
        break;
    }
    if (!joins)
        return hold(c, from, to, err);
    c->to = to;
    return DW_OK;
}

static dw_status by_regex(cutter *c, const struct dw_regex *regex, dw_err *err)
{
    size_t done = 0;
    regex = dw_regex_for(regex, c->text);
    while (done < c->text.len) {
        bool found;
        size_t start, end;
        DW_TRY(dw_regex_next(regex, c->r->s->match, c->text, done, &found, &start, &end, err));
        if (!found)
            break;
        DW_TRY(part(c, done, start, false, err));
        DW_TRY(part(c, start, end, true, err));
        /* Look-behind can put an end before its start; such a match moves nothing. */
        done = end > done ? end : c->text.len;
    }
    DW_TRY(part(c, done, c->text.len, false, err));
    return flush(c, err);
}

static dw_status by_string(cutter *c, const char *s, size_t n, dw_err *err)
{
    size_t done = 0;
    const char *at;
    while ((at = memmem(c->text.ptr + done, c->text.len - done, s, n))) {
        size_t start = (size_t)(at - c->text.ptr);
        DW_TRY(part(c, done, start, false, err));
        DW_TRY(part(c, start, start + n, true, err));
        done = start + n;
    }
    DW_TRY(part(c, done, c->text.len, false, err));
    return flush(c, err);
}

/* Every character of the class is a match of its own. */
static dw_status by_class(cutter *c, bool (*is)(uint32_t c), dw_err *err)
{
    size_t from = 0, at = 0;
    while (at < c->text.len) {
        int len;
        bool match = is(dw_unicode_at(c->text.ptr + at, c->text.len - at, &len));
        size_t end = at + (size_t)len;
        if (match) {
            DW_TRY(part(c, from, at, false, err));
            DW_TRY(part(c, at, end, true, err));
            from = end;
        }
        at = end;
    }
    DW_TRY(part(c, from, at, false, err));
    return flush(c, err);
}

static int kind_of(uint32_t c)
{
    return dw_unicode_is_word(c) ? 1 : dw_unicode_is_space(c) ? 0 : 2;
}

static dw_status whitespace(cutter *c, dw_err *err)
{
    size_t from = 0, at = 0;
    int was = 0;
    while (at < c->text.len) {
        int len, kind = kind_of(dw_unicode_at(c->text.ptr + at, c->text.len - at, &len));
        if (kind != was) {
            if (was)
                DW_TRY(pass_on(c, from, at, err));
            from = at;
        }
        was = kind;
        at += (size_t)len;
    }
    return was ? pass_on(c, from, at, err) : DW_OK;
}

static bool begins_with(dw_text t, const char *s, size_t n)
{
    return t.len >= n && !memcmp(t.ptr, s, n);
}

/* Every replacement character begins a piece. */
static dw_status before_each(cutter *c, const char *s, size_t n, dw_err *err)
{
    size_t from = 0;
    const char *at;
    while (from + n <= c->text.len &&
           (at = memmem(c->text.ptr + from + 1, c->text.len - from - 1, s, n))) {
        size_t next = (size_t)(at - c->text.ptr);
        DW_TRY(pass_on(c, from, next, err));
        from = next;
    }
    return pass_on(c, from, c->text.len, err);
}

static dw_status metaspace(cutter *c, dw_err *err)
{
    const dw_pretoken_stage *s = &c->r->p->stage[c->i];
    dw_buf *b = &c->r->s->text[c->i];
    dw_text t = c->text;
    bool wants = s->scheme == DW_PRETOKEN_ALWAYS || (s->scheme == DW_PRETOKEN_FIRST && c->first);
    bool prepend = wants && t.ptr[0] != ' ' && !begins_with(t, s->string, s->n_string);
    const char *space = memchr(t.ptr, ' ', t.len);
    if (prepend || space) {
        dw_buf_clear(b);
        if (prepend)
            dw_buf_add(b, s->string, s->n_string);
        size_t from = 0;
        for (; space; space = memchr(t.ptr + from, ' ', t.len - from)) {
            dw_buf_add(b, t.ptr + from, (size_t)(space - t.ptr) - from);
            dw_buf_add(b, s->string, s->n_string);
            from = (size_t)(space - t.ptr) + 1;
        }
        dw_buf_add(b, t.ptr + from, t.len - from);
        c->text = dw_buf_text(b);
    }
    return s->split ? before_each(c, s->string, s->n_string, err) : pass_on(c, 0, c->text.len, err);
}

static dw_status bytelevel(cutter *c, dw_err *err)
{
    const dw_pretoken_stage *s = &c->r->p->stage[c->i];
    dw_buf *b = &c->r->s->text[c->i];
    if (s->prefix_space && c->text.ptr[0] != ' ') {
        dw_buf_clear(b);
        dw_buf_addc(b, ' ');
        dw_buf_add(b, c->text.ptr, c->text.len);
        c->text = dw_buf_text(b);
    }
    return s->regex ? by_regex(c, s->regex, err) : pass_on(c, 0, c->text.len, err);
}

static dw_status stage(const run *r, size_t i, dw_text text, bool first, dw_err *err)
{
    const dw_pretoken_stage *s = &r->p->stage[i];
    cutter c = {.r = r, .i = i, .text = text, .first = first};
    switch (s->kind) {
    case DW_PRETOKEN_SPLIT:
        return s->regex ? by_regex(&c, s->regex, err) : by_string(&c, s->string, s->n_string, err);
    case DW_PRETOKEN_DIGITS:
        return by_class(&c, dw_unicode_is_numeric, err);
    case DW_PRETOKEN_PUNCTUATION:
        return by_class(&c, dw_unicode_is_punct, err);
    case DW_PRETOKEN_WHITESPACE:
        return whitespace(&c, err);
    case DW_PRETOKEN_WHITESPACE_SPLIT:
        return by_class(&c, dw_unicode_is_space, err);
    case DW_PRETOKEN_METASPACE:
        return metaspace(&c, err);
    default:
        return bytelevel(&c, err);
    }
}

dw_status dw_pretoken_run(const dw_pretoken *p, dw_pretoken_scratch *s, dw_text text, bool first,
                          dw_pretoken_fn fn, void *ctx, dw_err *err)
{
    if (!text.len)
        return DW_OK;
    if (!p->n)
        return fn(ctx, text.ptr, text.len, err);
    if (!s->match)
        s->match = dw_regex_scratch_create();
    run r = {p, s, fn, ctx};
    return stage(&r, 0, text, first, err);
}
