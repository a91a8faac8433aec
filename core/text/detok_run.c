/* Decodes token by token: what comes out, put together, is what decoding the whole gives. */
#include <string.h>

#include "base/alloc.h"
#include "text/chars.h"
#include "text/detok.h"
#include "text/unicode.h"

#define REPLACEMENT DW_TEXT("\xef\xbf\xbd")

static dw_status enter(dw_detok_run *r, size_t i, dw_text t, dw_buf *out, dw_err *err);

static dw_status pass_on(dw_detok_run *r, size_t i, dw_text t, dw_buf *out, dw_err *err)
{
    if (i + 1 < r->d->n)
        return enter(r, i + 1, t, out, err);
    dw_buf_add(out, t.ptr, t.len);
    return DW_OK;
}

static dw_text text_of(const dw_buf *b)
{
    return (dw_text){b->ptr ? b->ptr : "", b->len};
}

/* ---- bytes ---- */

/* Bytes that may still become a character stay, all others go on. */
static dw_status pass_characters(dw_detok_run *r, size_t i, bool last, dw_buf *out, dw_err *err)
{
    dw_buf *held = &r->at[i].held, *text = &r->at[i].text;
    size_t n = last ? held->len : held->len - dw_unicode_half(held->ptr, held->len);
    if (!n)
        return DW_OK;
    dw_buf_clear(text);
    dw_unicode_lossy(held->ptr, n, text);
    memmove(held->ptr, held->ptr + n, held->len - n);
    held->len -= n;
    return pass_on(r, i, text_of(text), out, err);
}

static dw_status bytelevel(dw_detok_run *r, size_t i, dw_text t, dw_buf *out, dw_err *err)
{
    dw_buf *held = &r->at[i].held;
    if (!dw_unicode_to_bytes(t, held))
        dw_buf_add(held, t.ptr, t.len);
    return pass_characters(r, i, false, out, err);
}

/* The bytes of a run of byte tokens are a text only if all of them are: a bad one makes every one
 * of them a U+FFFD, so nothing goes on before the run ends. */
static dw_status end_bytes(dw_detok_run *r, size_t i, dw_buf *out, dw_err *err)
{
    dw_buf *held = &r->at[i].held;
    size_t n = held->len;
    if (!n)
        return DW_OK;
    bool sound = dw_utf8_valid(held->ptr, n);
    if (sound)
        DW_TRY(pass_on(r, i, text_of(held), out, err));
    for (size_t k = 0; k < n && !sound; k++)
        DW_TRY(pass_on(r, i, REPLACEMENT, out, err));
    dw_buf_clear(held);
    return DW_OK;
}

static dw_status bytefallback(dw_detok_run *r, size_t i, dw_text t, dw_buf *out, dw_err *err)
{
    int byte = dw_chars_byte_of(t);
    if (byte >= 0) {
        dw_buf_addc(&r->at[i].held, (char)byte);
        return DW_OK;
    }
    DW_TRY(end_bytes(r, i, out, err));
    return pass_on(r, i, t, out, err);
}

/* ---- characters ---- */

static dw_status replace(dw_detok_run *r, size_t i, dw_text t, dw_buf *out, dw_err *err)
{
    const dw_detok_stage *s = &r->d->stage[i];
    dw_buf *b = &r->at[i].text;
    dw_buf_clear(b);
    if (s->from) {
        dw_unicode_replace(t, (dw_text){s->from, s->n_from}, (dw_text){s->to, s->n_to}, b);
        return pass_on(r, i, text_of(b), out, err);
    }
    if (!r->match)
        r->match = dw_regex_scratch_create();
    DW_TRY(dw_regex_replace(s->regex, r->match, t, (dw_text){s->to, s->n_to}, b, err));
    return pass_on(r, i, text_of(b), out, err);
}

static dw_status metaspace(dw_detok_run *r, size_t i, dw_text t, dw_buf *out, dw_err *err)
{
    const dw_detok_stage *s = &r->d->stage[i];
    dw_buf *b = &r->at[i].text;
    bool first = !s->keeps_first && (s->joined || !r->at[i].seen);
    r->at[i].seen++;
    dw_buf_clear(b);
    dw_unicode_replace(t, (dw_text){s->from, s->n_from}, (dw_text){s->to, first ? 0 : s->n_to}, b);
    return pass_on(r, i, text_of(b), out, err);
}

static bool begins(const dw_detok_stage *s, dw_text t)
{
    return t.len >= s->n_from && !memcmp(t.ptr, s->from, s->n_from);
}

static bool ends(const dw_detok_stage *s, dw_text t)
{
    return t.len >= s->n_from && !memcmp(t.ptr + t.len - s->n_from, s->from, s->n_from);
}

static dw_text strip_start(const dw_detok_stage *s, dw_text t, size_t *done)
{
    for (; *done < s->start && begins(s, t); ++*done) {
        t.ptr += s->n_from;
        t.len -= s->n_from;
    }
    return t;
}

static dw_status strip(dw_detok_run *r, size_t i, dw_text t, dw_buf *out, dw_err *err)
{
    const dw_detok_stage *s = &r->d->stage[i];
    dw_buf *held = &r->at[i].held, *text = &r->at[i].text;
    if (!s->joined) {
        size_t done = 0;
        t = strip_start(s, t, &done);
        for (size_t k = 0; k < s->stop && ends(s, t); k++)
            t.len -= s->n_from;
        return pass_on(r, i, t, out, err);
    }
    if (!r->at[i].begun) {
        t = strip_start(s, t, &r->at[i].seen);
        r->at[i].begun = t.len > 0;
    }
    /* What may be the end stays: so many of the character in a row. */
    dw_buf_add(held, t.ptr, t.len);
    dw_text sure = text_of(held);
    for (size_t k = 0; k < s->stop && ends(s, sure); k++)
        sure.len -= s->n_from;
    dw_buf_clear(text);
    dw_buf_add(text, sure.ptr, sure.len);
    if (held->len)
        memmove(held->ptr, held->ptr + sure.len, held->len - sure.len);
    held->len -= sure.len;
    return text->len ? pass_on(r, i, text_of(text), out, err) : DW_OK;
}

static dw_status spaces(dw_detok_run *r, size_t i, dw_text t, dw_buf *out, dw_err *err)
{
    if (r->at[i].seen++)
        DW_TRY(pass_on(r, i, DW_TEXT(" "), out, err));
    return pass_on(r, i, t, out, err);
}

/* Whether a stage after a joining one has to see the whole text. */
static bool waits(const dw_detok_stage *s)
{
    return s->joined && (s->kind == DW_DETOK_BYTELEVEL || s->kind == DW_DETOK_BYTEFALLBACK ||
                         s->kind == DW_DETOK_REPLACE);
}

static dw_status apply(dw_detok_run *r, size_t i, dw_text t, dw_buf *out, dw_err *err)
{
    switch (r->d->stage[i].kind) {
    case DW_DETOK_BYTELEVEL:
        return bytelevel(r, i, t, out, err);
    case DW_DETOK_METASPACE:
        return metaspace(r, i, t, out, err);
    case DW_DETOK_BYTEFALLBACK:
        return bytefallback(r, i, t, out, err);
    case DW_DETOK_STRIP:
        return strip(r, i, t, out, err);
    case DW_DETOK_REPLACE:
        return replace(r, i, t, out, err);
    case DW_DETOK_SPACES:
        return spaces(r, i, t, out, err);
    default:
        return pass_on(r, i, t, out, err);
    }
}

static dw_status enter(dw_detok_run *r, size_t i, dw_text t, dw_buf *out, dw_err *err)
{
    if (!waits(&r->d->stage[i]))
        return apply(r, i, t, out, err);
    dw_buf_add(&r->at[i].held, t.ptr, t.len);
    return DW_OK;
}

dw_status dw_detok_push(dw_detok_run *r, dw_text token, dw_buf *out, dw_err *err)
{
    if (r->d->n)
        return enter(r, 0, token, out, err);
    dw_buf_add(out, token.ptr, token.len);
    return DW_OK;
}

static dw_status end_stage(dw_detok_run *r, size_t i, dw_buf *out, dw_err *err)
{
    if (waits(&r->d->stage[i])) {
        dw_buf whole = r->at[i].held;
        r->at[i].held = (dw_buf){0};
        dw_status st = apply(r, i, text_of(&whole), out, err);
        dw_buf_finish(&whole);
        DW_TRY(st);
    }
    if (r->d->stage[i].kind == DW_DETOK_BYTELEVEL)
        return pass_characters(r, i, true, out, err);
    return r->d->stage[i].kind == DW_DETOK_BYTEFALLBACK ? end_bytes(r, i, out, err) : DW_OK;
}

dw_status dw_detok_end(dw_detok_run *r, dw_buf *out, dw_err *err)
{
    dw_status st = DW_OK;
    for (size_t i = 0; i < r->d->n && !st; i++)
        st = end_stage(r, i, out, err);
    for (size_t i = 0; i < r->d->n; i++) {
        dw_buf_clear(&r->at[i].held);
        r->at[i].seen = 0;
        r->at[i].begun = false;
    }
    return st;
}

void dw_detok_run_finish(dw_detok_run *r)
{
    for (size_t i = 0; i < DW_DETOK_STAGES; i++) {
        dw_buf_finish(&r->at[i].held);
        dw_buf_finish(&r->at[i].text);
    }
    dw_regex_scratch_free(r->match);
    r->match = NULL;
}
