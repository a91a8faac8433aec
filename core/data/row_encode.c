/* Turns the texts of one row into ids and makes them fit. */
#include <string.h>

#include "data/talk.h"

static bool begins_with(const int32_t *id, size_t n, const int32_t *head, size_t n_head)
{
    return n >= n_head && (!n_head || !memcmp(id, head, n_head * sizeof *id));
}

static void append(dw_ids *to, const int32_t *id, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dw_ids_push(to, id[i]);
}

/* The tokenizer's first tokens in front of what begins at `start`, unless they are there. */
static void lead(dw_row_reader *r, size_t start)
{
    dw_ids *ids = &r->ids;
    if (!r->s->add_bos || begins_with(ids->id + start, ids->n - start, r->before, r->n_before))
        return;
    append(ids, r->before, r->n_before);
    memmove(ids->id + start + r->n_before, ids->id + start,
            (ids->n - start - r->n_before) * sizeof *ids->id);
    memcpy(ids->id + start, r->before, r->n_before * sizeof *ids->id);
}

/* The end token behind what begins at `start`, unless it is there. */
static void end(dw_row_reader *r, size_t start)
{
    int32_t eos = dw_tokenizer_eos(r->t);
    if (r->s->add_eos && (r->ids.n == start || r->ids.id[r->ids.n - 1] != eos))
        dw_ids_push(&r->ids, eos);
}

static dw_status encode(dw_row_reader *r, const dw_column_text *text, dw_err *err)
{
    return dw_tokenizer_encode_parts(r->t, text->part, text->n, 0, &r->ids, err);
}

static dw_status encode_prompt(dw_row_reader *r, const dw_column_text *text, const char *what,
                               size_t *n, dw_err *err)
{
    size_t start = r->ids.n;
    DW_TRY(encode(r, text, err));
    lead(r, start);
    *n = r->ids.n - start;
    if (!*n)
        return dw_fail(err, DW_E_INPUT,
                       "the %s is empty and this tokenizer puts no token in front, so nothing "
                       "predicts the first token",
                       what);
    return DW_OK;
}

/* Every step is encoded on its own and so is the separator behind it, as in TRL, so that the mark
 * has a token of its own whatever the tokenizer would merge. */
dw_status dw_row_encode_steps(dw_row_reader *r, dw_draft *w, dw_err *err)
{
    size_t start = r->ids.n;
    w->step_end = dw_arena_alloc(&r->scratch, w->n_step * sizeof *w->step_end);
    for (size_t i = 0; i < w->n_step; i++) {
        DW_TRY(encode(r, &w->step[i], err));
        append(&r->ids, r->separator.id, r->separator.n);
        if (r->ids.n == start + (i > 0 ? w->step_end[i - 1] + 1 : 0))
            return dw_fail(err, DW_E_INPUT,
                           "step %zu of %zu has no token that could carry its mark", i + 1,
                           w->n_step);
        w->step_end[i] = (uint32_t)(r->ids.n - start - 1);
    }
    return DW_OK;
}

dw_status dw_row_encode(dw_row_reader *r, dw_draft *w, dw_err *err)
{
    bool texts = r->s->type == DW_TEXTS;
    if (w->talk)
        return dw_talk_encode(r, w, err);
    r->ids.n = 0;
    if (!texts)
        DW_TRY(encode_prompt(r, &w->prompt, "prompt", &w->n_prompt, err));
    for (size_t i = 0; i < w->n_answer; i++) {
        size_t start = r->ids.n;
        if (r->s->type == DW_STEPS)
            DW_TRY(dw_row_encode_steps(r, w, err));
        else
            DW_TRY(encode(r, &w->answer[i].text, err));
        if (texts)
            lead(r, start);
        end(r, start);
        w->answer[i].n = r->ids.n - start;
    }
    if (w->has_teacher_prompt)
        DW_TRY(encode_prompt(r, &w->teacher_prompt, "teacher's prompt", &w->n_teacher_prompt, err));
    return DW_OK;
}

/* ---- length ---- */

static size_t longest_answer(const dw_draft *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_answer; i++)
        n = w->answer[i].n > n ? w->answer[i].n : n;
    return n;
}

size_t dw_row_tokens(const dw_draft *w)
{
    return w->n_prompt + longest_answer(w);
}

static void cut_ids(dw_row_reader *r, const dw_draft *w, size_t at, size_t n, size_t *part)
{
    dw_ids *ids = &r->ids;
    memmove(ids->id + at, ids->id + at + n, (ids->n - at - n) * sizeof *ids->id);
    if (w->masked && at + n <= r->mask.len) {
        memmove(r->mask.ptr + at, r->mask.ptr + at + n, r->mask.len - at - n);
        r->mask.len -= n;
    }
    ids->n -= n;
    *part -= n;
}

/* Tokens at `at` that stay in front of what is cut: the tokenizer's first ones. */
static size_t led_by(const dw_row_reader *r, const dw_draft *w, size_t at, size_t n)
{
    bool led = (w->talk || r->s->add_bos) && begins_with(r->ids.id + at, n, r->before, r->n_before);
    return led ? r->n_before : 0;
}

/* Of a conversation everything before the assistant's first word may go, but one token that
 * predicts it. */
static dw_row_fit cut_talk(dw_row_reader *r, dw_draft *w)
{
    size_t n = w->answer[0].n, over = n - r->limit, first = led_by(r, w, 0, n), asked = 0;
    while (w->masked && asked < n && !r->mask.ptr[asked])
        asked++;
    if (r->s->on_long != DW_LONG_CUT_PROMPT || asked <= over || asked - over < first)
        return DW_FITS_NOT;
    cut_ids(r, w, first, over, &w->answer[0].n);
    return DW_FITS_CUT;
}

/* Cuts a prompt that begins at `at` on its left, behind the tokens in front; an answer is never
 * cut. */
static bool cut_prompt(dw_row_reader *r, const dw_draft *w, size_t at, size_t *n, bool *cut)
{
    size_t total = *n + longest_answer(w), over = total - r->limit;
    if (total <= r->limit)
        return true;
    size_t first = led_by(r, w, at, *n);
    if (r->s->on_long != DW_LONG_CUT_PROMPT || *n <= over || *n - over <= first)
        return false;
    cut_ids(r, w, at + first, over, n);
    *cut = true;
    return true;
}

dw_row_fit dw_row_cut(dw_row_reader *r, dw_draft *w)
{
    bool cut = false;
    if (r->s->type == DW_TEXTS) {
        if (w->answer[0].n <= r->limit)
            return DW_FITS;
        if (w->talk)
            return cut_talk(r, w);
        if (r->s->on_long != DW_LONG_CUT_PROMPT)
            return DW_FITS_NOT;
        cut_ids(r, w, r->limit, w->answer[0].n - r->limit, &w->answer[0].n);
        return DW_FITS_CUT;
    }
    size_t teacher = r->ids.n - w->n_teacher_prompt;
    if (w->has_teacher_prompt && !cut_prompt(r, w, teacher, &w->n_teacher_prompt, &cut))
        return DW_FITS_NOT;
    if (!cut_prompt(r, w, 0, &w->n_prompt, &cut))
        return DW_FITS_NOT;
    return cut ? DW_FITS_CUT : DW_FITS;
}

dw_status dw_row_teaches(const dw_row_reader *r, const dw_draft *w, dw_err *err)
{
    const char *mask = w->masked ? r->mask.ptr + w->n_prompt : NULL;
    for (size_t i = 0; mask && i < w->n_answer; i++) {
        bool any = false;
        for (size_t k = r->s->type == DW_TEXTS; k < w->answer[i].n; k++)
            any |= mask[k] != 0;
        if (!any)
            return dw_fail(err, DW_E_INPUT,
                           "the assistant says nothing in it, so there is no token to train on "
                           "(loss_on = \"all\" trains on every message)");
        mask += w->answer[i].n;
    }
    return DW_OK;
}
