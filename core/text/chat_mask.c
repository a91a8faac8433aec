/* Which tokens of a conversation the assistant said. */
#include <string.h>

#include "base/alloc.h"
#include "text/chat_impl.h"
#include "text/jinja/chars.h"
#include "text/jinja/value.h"
#include "text/unicode.h"

/* ---- where tokens end in the text ---- */

/* The text that the tokenizer worked on, and for each of its bytes the byte it came from. */
typedef struct view {
    dw_buf text;
    size_t *from; /* [text.len + 1]; NULL: the text itself */
} view;

/* Moves past one token's piece; false where the text does not go on with it. fresh: at the start,
 * or behind a special token. */
static bool step(const view *v, dw_text piece, bool fresh, size_t *at)
{
    const size_t left = v->text.len - *at;
    if (!piece.len || !v->text.ptr)
        return !piece.len;
    if (piece.len <= left && !memcmp(v->text.ptr + *at, piece.ptr, piece.len)) {
        *at += piece.len;
        return true;
    }
    /* The blank that some tokenizers put in front of a text. */
    if (fresh && piece.ptr[0] == ' ' && piece.len - 1 <= left &&
        !memcmp(v->text.ptr + *at, piece.ptr + 1, piece.len - 1)) {
        *at += piece.len - 1;
        return true;
    }
    return false;
}

/* ends[i]: where token i ends, in bytes of the original text. */
static bool align(const dw_tokenizer *t, const view *v, const dw_ids *ids, size_t first,
                  size_t *ends)
{
    dw_buf piece = {0};
    dw_err err = {{0}};
    size_t at = 0;
    bool fits = true;
    for (size_t i = first; i < ids->n && fits; i++) {
        dw_buf_clear(&piece);
        fits = !dw_tokenizer_piece(t, ids->id[i], &piece, &err);
        /* Added tokens may take the white space around them. */
        const bool fresh = i == first || dw_tokenizer_is_special(t, ids->id[i - 1]);
        if (fits && !step(v, dw_buf_text(&piece), fresh, &at)) {
            at += dw_jchars_lead(v->text.ptr + at, v->text.len - at);
            fits = step(v, dw_buf_text(&piece), fresh, &at);
        }
        ends[i - first] = v->from ? v->from[at] : at;
    }
    at += fits ? dw_jchars_lead(v->text.ptr + at, v->text.len - at) : 0;
    dw_buf_finish(&piece);
    return fits && at == v->text.len;
}

/* A normal form of the text, in pieces that begin at ASCII characters: those never join what is
 * before. */
static dw_status compose(dw_unicode_form form, dw_text text, view *out, dw_err *err)
{
    size_t cap = 0;
    for (size_t from = 0, to; from < text.len; from = to) {
        for (to = from + 1; to < text.len && (unsigned char)text.ptr[to] >= 0x80;)
            to++;
        const size_t had = out->text.len;
        const dw_text part = {text.ptr + from, to - from};
        DW_TRY(dw_unicode_to_form(form, part, &out->text, err));
        const dw_text now = {out->text.ptr + had, out->text.len - had};
        const bool same = dw_text_eq(part, now);
        for (size_t i = had; i < out->text.len; i++) {
            DW_GROW(out->from, i, cap);
            out->from[i] = same ? from + (i - had) : from;
        }
    }
    DW_GROW(out->from, out->text.len, cap);
    out->from[out->text.len] = text.len;
    return DW_OK;
}

static dw_status find_ends(const dw_tokenizer *t, dw_text text, const dw_ids *ids, size_t first,
                           size_t *ends, dw_err *err)
{
    view v = {.text = {(char *)(uintptr_t)text.ptr, text.len, 0}};
    if (align(t, &v, ids, first, ends))
        return DW_OK;
    static const dw_unicode_form form[] = {DW_UNICODE_NFC, DW_UNICODE_NFKC};
    for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
        v = (view){{0}, NULL};
        const dw_status st = compose(form[i], text, &v, err);
        const bool found = !st && align(t, &v, ids, first, ends);
        dw_buf_finish(&v.text);
        dw_free(v.from);
        if (st || found)
            return st;
    }
    return dw_fail(err, DW_E_INPUT,
                   "the tokenizer changes the text in a way that hides which token is whose: no "
                   "mask");
}

/* ---- marks to tokens ---- */

/* White space that the template writes behind the end of a turn is not the assistant's. */
static void trim_turn(const dw_tokenizer *t, const dw_ids *ids, size_t first, unsigned char *mask)
{
    const size_t n = ids->n - first;
    dw_buf piece = {0};
    dw_err err = {{0}};
    for (size_t i = n; i-- > 0;) {
        if (!mask[i] || (i + 1 < n && mask[i + 1]))
            continue;
        size_t k = i + 1;
        for (; k > 0 && mask[k - 1]; k--) {
            dw_buf_clear(&piece);
            if (dw_tokenizer_is_special(t, ids->id[first + k - 1]) ||
                dw_tokenizer_piece(t, ids->id[first + k - 1], &piece, &err) ||
                dw_jchars_lead(piece.ptr, piece.len) != piece.len)
                break;
        }
        if (k && mask[k - 1] && dw_tokenizer_is_special(t, ids->id[first + k - 1]))
            memset(mask + k, 0, i + 1 - k);
    }
    dw_buf_finish(&piece);
}

/* A token with a byte of the assistant's is the assistant's. */
static dw_status mask_tokens(const dw_chat_job *job, const dw_jinja_text *text, dw_chat_out *out,
                             size_t first, bool trim, dw_err *err)
{
    const size_t n = out->ids.n - first;
    size_t *ends = dw_alloc((n + 1) * sizeof *ends);
    const dw_status st =
        find_ends(job->c->t, dw_buf_text(&text->text), &out->ids, first, ends, err);
    if (!st) {
        if (out->cap_mask < out->ids.n) {
            out->cap_mask = out->ids.cap;
            out->mask = dw_realloc(out->mask, out->cap_mask);
        }
        unsigned char *mask = out->mask + first;
        for (size_t i = 0, at = 0; i < n; i++) {
            mask[i] = 0;
            /* The pieces of one character share its mark. */
            const size_t from = at < ends[i] || !at ? at : at - 1;
            for (size_t b = from; b < ends[i]; b++)
                mask[i] |= (text->mark.ptr[b] & DW_JMARK_ASSISTANT) != 0;
            at = ends[i];
        }
        if (trim)
            trim_turn(job->c->t, &out->ids, first, mask);
    }
    dw_free(ends);
    return st;
}

/* ---- by prefixes ---- */

static bool begins(const dw_jinja_text *whole, const dw_jinja_text *with)
{
    return with->text.len <= whole->text.len &&
           (!with->text.len || !memcmp(whole->text.ptr, with->text.ptr, with->text.len));
}

static const dw_json *nth(const dw_json *list, size_t i)
{
    const dw_json *m = dw_json_first(list);
    while (m && i--)
        m = dw_json_next(m);
    return m;
}

static bool is_assistant(const dw_json *m)
{
    const dw_json *role = m ? dw_json_get(m, "role") : NULL;
    return role && dw_json_kind(role) == DW_JSON_STRING &&
           dw_text_is(dw_json_str(role), "assistant");
}

/* The rendering of the first `take` messages; an error where the whole does not begin with it. */
static dw_status prefix(dw_chat_job job, size_t take, bool prompt, const dw_jinja_text *whole,
                        dw_jinja_text *out, dw_err *err)
{
    job.take = take;
    job.generation_prompt = prompt;
    DW_TRY(dw_chat_text(&job, out, err));
    if (begins(whole, out))
        return DW_OK;
    size_t at = 0;
    while (at < whole->text.len && at < out->text.len && whole->text.ptr[at] == out->text.ptr[at])
        at++;
    return dw_fail(err, DW_E_INPUT,
                   "which tokens are the assistant's cannot be told: the template has no "
                   "{%% generation %%}, and it writes the first %zu messages otherwise when more "
                   "follow (from byte %zu of the text on)",
                   take, at);
}

static dw_status mark_by_prefixes(const dw_chat_job *job, dw_jinja_text *whole, dw_err *err)
{
    dw_jinja_text head = {0};
    dw_status st = DW_OK;
    for (size_t i = 0; i < job->take && !st; i++) {
        size_t from = 0;
        if (!is_assistant(nth(job->r->messages, i)))
            continue;
        if (i)
            st = prefix(*job, i, true, whole, &head, err);
        if (!st && i)
            from = head.text.len;
        if (!st)
            st = prefix(*job, i + 1, false, whole, &head, err);
        for (size_t b = from; !st && b < head.text.len; b++)
            whole->mark.ptr[b] = (char)(whole->mark.ptr[b] | DW_JMARK_ASSISTANT);
    }
    dw_jinja_text_finish(&head);
    return st;
}

dw_status dw_chat_render_masked(const dw_chat *c, const dw_chat_request *r, dw_chat_out *out,
                                dw_err *err)
{
    dw_jinja_text text = {0};
    const dw_chat_job job = {c, r, NULL, dw_chat_count(r, NULL), r->add_generation_prompt};
    const size_t first = out->ids.n;
    const bool tools = c->tools && r->tools;
    const bool said = dw_jinja_has_generation(tools ? c->tools : c->plain);
    if (!c->t)
        return dw_fail(err, DW_E_INPUT, "a mask needs a tokenizer");
    if (r->continue_final)
        return dw_fail(err, DW_E_INPUT, "a message that is continued has no mask");
    dw_status st = dw_chat_text(&job, &text, err);
    if (!st && !said)
        st = mark_by_prefixes(&job, &text, err);
    if (!st)
        st = dw_chat_encode(&job, dw_buf_text(&text.text), text.mark.ptr, &out->ids, err);
    if (!st)
        st = mask_tokens(&job, &text, out, first, !said, err);
    if (st)
        out->ids.n = first;
    else
        dw_buf_add(&out->text, text.text.ptr, text.text.len);
    dw_jinja_text_finish(&text);
    return st;
}
