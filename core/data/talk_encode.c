/* Writes a row of messages with the chat template: ids, and which of them are trained on. */
#include <string.h>

#include "data/talk.h"

/* ---- the end of a turn ---- */

static bool holds(const dw_tokenizer *t, const int32_t *id, size_t n, const char *word)
{
    dw_buf text = {0};
    dw_err no;
    bool ok = dw_tokenizer_decode(t, id, n, false, &text, &no) >= 0 && text.len > 0 &&
              strstr(text.ptr, word) != NULL;
    dw_buf_finish(&text);
    return ok;
}

dw_status dw_talk_turn_end(const dw_chat *c, const dw_tokenizer *t, int32_t *id, dw_err *err)
{
    static const char ask[] = "[{\"role\":\"user\",\"content\":\"dowel\"}]";
    static const char say[] = "[{\"role\":\"assistant\",\"content\":\"dowel\"}]";
    dw_json *asked, *said = NULL;
    dw_chat_out p = {0}, rest = {0};
    *id = -1;
    dw_status st = dw_json_parse(ask, sizeof ask - 1, DW_JSON_DEPTH_HEADER, 1, &asked, err);
    if (st >= 0)
        st = dw_json_parse(say, sizeof say - 1, DW_JSON_DEPTH_HEADER, 1, &said, err);
    const dw_chat_request r = {.messages = asked};
    if (st >= 0)
        st = dw_chat_split(c, &r, said, &p, &rest, err);
    size_t n = 0;
    while (st >= 0 && n < rest.ids.n && !holds(t, rest.ids.id, n, "dowel"))
        n++;
    for (; st >= 0 && n < rest.ids.n && *id < 0; n++)
        if (dw_tokenizer_is_special(t, rest.ids.id[n]))
            *id = rest.ids.id[n];
    dw_chat_out_finish(&p);
    dw_chat_out_finish(&rest);
    dw_json_free(asked);
    dw_json_free(said);
    return st;
}

/* A template that refuses so plain a conversation has an unknown end. */
static int32_t turn_end(dw_row_reader *r)
{
    dw_err no;
    if (!r->turn_known && dw_talk_turn_end(r->s->chat, r->t, &r->turn_end, &no) < 0)
        r->turn_end = -1;
    r->turn_known = true;
    return r->turn_end;
}

/* Where an answer is over: behind its last end of a turn, or else its last special token; 0: there
 * is none. What the template writes after it (a line feed) nobody samples. */
static size_t over_at(dw_row_reader *r, const int32_t *id, size_t n)
{
    int32_t end = turn_end(r);
    size_t special = 0;
    for (size_t i = n; i > 0; i--) {
        if (id[i - 1] == end)
            return i;
        if (!special && dw_tokenizer_is_special(r->t, id[i - 1]))
            special = i;
    }
    return special;
}

/* ---- ids and mask side by side ---- */

static void push(dw_row_reader *r, int32_t id, bool trained)
{
    dw_ids_push(&r->ids, id);
    dw_buf_addc(&r->mask, trained ? 1 : 0);
}

static void push_eos(dw_row_reader *r)
{
    int32_t eos = dw_tokenizer_eos(r->t);
    if (r->s->add_eos && eos >= 0 && r->ids.id[r->ids.n - 1] != eos)
        push(r, eos, true);
}

static dw_chat_request request(const dw_draft *w, const dw_json *messages)
{
    return (dw_chat_request){.messages = messages,
                             .tools = w->tools,
                             .documents = w->documents,
                             .variables = w->variables};
}

static const dw_json *last_of(const dw_json *list)
{
    const dw_json *last = NULL;
    for (const dw_json *m = dw_json_first(list); m; m = dw_json_next(m))
        last = m;
    return last;
}

static void keep_text(dw_row_reader *r, const dw_buf *text, dw_column_text *out)
{
    size_t n = text->len;
    out->part = dw_arena_alloc(&r->scratch, sizeof *out->part);
    out->part[0].text = (dw_text){dw_arena_strndup(&r->scratch, n ? text->ptr : "", n), n};
    out->n = n > 0;
    out->len = n;
}

/* A prompt whose answer is to come: the assistant's turn is opened, or the one that it has begun
 * goes on. */
static dw_status encode_prompt(dw_row_reader *r, const dw_draft *w, const dw_json *asked,
                               dw_column_text *text, size_t *n, dw_err *err)
{
    bool begun = dw_talk_by_assistant(last_of(asked));
    dw_chat_request q = request(w, asked);
    q.add_generation_prompt = !begun;
    q.continue_final = begun;
    dw_chat_out_clear(&r->out);
    DW_TRY(dw_chat_render(r->s->chat, &q, &r->out, err));
    for (size_t i = 0; i < r->out.ids.n; i++)
        push(r, r->out.ids.id[i], false);
    *n = r->out.ids.n;
    keep_text(r, &r->out.text, text);
    return *n ? DW_OK : dw_fail(err, DW_E_INPUT, "the template writes an empty prompt");
}

/* ---- whole conversations ---- */

/* Where the template does not say itself what the assistant's words are, a turn ends with the token
 * that ends it. */
static void clear_tails(dw_row_reader *r, unsigned char *mask, const int32_t *id, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && mask[end])
            end++;
        size_t over = over_at(r, id + i, end - i);
        if (over)
            memset(mask + i + over, 0, end - i - over);
        i = end + 1;
    }
}

static dw_status encode_text(dw_row_reader *r, dw_draft *w, dw_err *err)
{
    const dw_chat *c = r->s->chat;
    const dw_json *all = w->answer[0].said;
    dw_chat_request q = request(w, all);
    dw_chat_out *o = &r->out;
    bool masked = r->s->loss_on == DW_LOSS_ASSISTANT;
    dw_chat_out_clear(o);
    DW_TRY(masked ? dw_chat_render_masked(c, &q, o, err) : dw_chat_render(c, &q, o, err));
    if (masked && !dw_chat_has_generation(c))
        clear_tails(r, o->mask, o->ids.id, o->ids.n);
    for (size_t i = 0; i < o->ids.n; i++)
        push(r, o->ids.id[i], !masked || o->mask[i]);
    if (o->ids.n && dw_talk_by_assistant(last_of(all)) && turn_end(r) < 0)
        push_eos(r);
    w->answer[0].n = r->ids.n;
    keep_text(r, &o->text, &w->answer[0].text);
    return DW_OK;
}

/* ---- prompt and answers ---- */

typedef struct half {
    int32_t *prompt, *rest;
    unsigned char *mask; /* of rest; NULL: all */
    size_t n_prompt, n_rest;
    dw_column_text text;
} half;

static int32_t *keep_ids(dw_row_reader *r, const dw_ids *ids)
{
    int32_t *id = dw_arena_alloc(&r->scratch, (ids->n + 1) * sizeof *id);
    if (ids->n)
        memcpy(id, ids->id, ids->n * sizeof *id);
    return id;
}

/* An answer of several messages, tool results among them: the mask of the whole conversation says
 * which of its tokens are the assistant's. */
static dw_status mask_answer(dw_row_reader *r, const dw_draft *w, const dw_json *said, half *h,
                             dw_err *err)
{
    const dw_json *all;
    DW_TRY(dw_talk_join(r, w->asked, said, &all, err));
    dw_chat_request q = request(w, all);
    dw_chat_out_clear(&r->full);
    DW_TRY(dw_chat_render_masked(r->s->chat, &q, &r->full, err));
    size_t n = r->full.ids.n;
    if (n < h->n_rest ||
        memcmp(r->full.ids.id + n - h->n_rest, h->rest, h->n_rest * sizeof *h->rest) != 0)
        return dw_fail(err, DW_E_INPUT,
                       "the answer's %zu messages are not the same tokens alone as in the whole "
                       "conversation, so what the assistant said in them cannot be told",
                       dw_json_len(said));
    h->mask = dw_arena_alloc(&r->scratch, h->n_rest + 1);
    memcpy(h->mask, r->full.mask + n - h->n_rest, h->n_rest);
    if (!dw_chat_has_generation(r->s->chat))
        clear_tails(r, h->mask, h->rest, h->n_rest);
    return DW_OK;
}

static size_t alike(const void *a, const void *b, size_t n, size_t size)
{
    size_t i = 0;
    while (i < n && !memcmp((const char *)a + i * size, (const char *)b + i * size, size))
        i++;
    return i;
}

/* Where the template closes the prompt before an answer otherwise than it opens one, the prompt is
 * what both begin with: as much as possible of what the model reads when it samples. */
static void widen_prompt(dw_row_reader *r, half *h)
{
    const dw_chat_out *open = &r->full;
    size_t n = open->ids.n, all = h->n_prompt + h->n_rest;
    if (n <= h->n_prompt ||
        alike(open->ids.id, h->prompt, h->n_prompt, sizeof *h->prompt) < h->n_prompt)
        return;
    n = n < all ? n : all;
    size_t more = alike(open->ids.id + h->n_prompt, h->rest, n - h->n_prompt, sizeof *h->rest);
    if (!more || more == h->n_rest)
        return;
    int32_t *prompt = dw_arena_alloc(&r->scratch, (h->n_prompt + more) * sizeof *prompt);
    memcpy(prompt, open->ids.id, (h->n_prompt + more) * sizeof *prompt);
    h->prompt = prompt;
    h->n_prompt += more;
    h->rest += more;
    h->n_rest -= more;
    size_t had = h->text.len, left = open->text.len - had;
    left = left < r->rest.text.len ? left : r->rest.text.len;
    dw_buf text = {0};
    dw_buf_add(&text, open->text.ptr, had + alike(open->text.ptr + had, r->rest.text.ptr, left, 1));
    keep_text(r, &text, &h->text);
    dw_buf_finish(&text);
}

static dw_status split(dw_row_reader *r, const dw_draft *w, const dw_json *said, half *h,
                       dw_err *err)
{
    dw_chat_request q = request(w, w->asked);
    dw_chat_out_clear(&r->out);
    dw_chat_out_clear(&r->rest);
    DW_TRY(dw_chat_split(r->s->chat, &q, said, &r->out, &r->rest, err));
    *h = (half){.prompt = keep_ids(r, &r->out.ids),
                .rest = keep_ids(r, &r->rest.ids),
                .n_prompt = r->out.ids.n,
                .n_rest = r->rest.ids.n};
    keep_text(r, &r->out.text, &h->text);
    q.add_generation_prompt = true;
    dw_chat_out_clear(&r->full);
    DW_TRY(dw_chat_render(r->s->chat, &q, &r->full, err));
    widen_prompt(r, h);
    if (r->s->loss_on == DW_LOSS_ALL)
        return DW_OK;
    if (dw_json_len(said) > 1)
        DW_TRY(mask_answer(r, w, said, h, err));
    size_t over = over_at(r, h->rest, h->n_rest);
    if (over)
        h->n_rest = over;
    return DW_OK;
}

/* What an answer has beyond the first n tokens of its own prompt. */
static void push_half(dw_row_reader *r, const half *h, size_t n)
{
    for (size_t i = n; i < h->n_prompt; i++)
        push(r, h->prompt[i], true);
    for (size_t i = 0; i < h->n_rest; i++)
        push(r, h->rest[i], !h->mask || h->mask[i]);
}

static dw_status encode_answers(dw_row_reader *r, dw_draft *w, dw_err *err)
{
    half *h = dw_arena_alloc(&r->scratch, (w->n_answer + 1) * sizeof *h);
    size_t shortest = 0;
    for (size_t i = 0; i < w->n_answer; i++) {
        DW_TRY(split(r, w, w->answer[i].said, &h[i], err));
        shortest = h[i].n_prompt < h[shortest].n_prompt ? i : shortest;
    }
    const half *p = &h[shortest];
    w->n_prompt = p->n_prompt;
    w->prompt = p->text;
    if (!p->n_prompt)
        return dw_fail(err, DW_E_INPUT, "the template writes an empty prompt");
    for (size_t i = 0; i < p->n_prompt; i++)
        push(r, p->prompt[i], false);
    for (size_t i = 0; i < w->n_answer; i++) {
        if (memcmp(h[i].prompt, p->prompt, p->n_prompt * sizeof *p->prompt) != 0)
            return dw_fail(err, DW_E_INPUT,
                           "the template writes another prompt before answer %zu than before "
                           "answer %zu",
                           i + 1, shortest + 1);
        size_t start = r->ids.n;
        push_half(r, &h[i], p->n_prompt);
        if (r->ids.n > start && turn_end(r) < 0)
            push_eos(r);
        w->answer[i].n = r->ids.n - start;
    }
    return DW_OK;
}

/* ---- all of it ---- */

static void note_mask(dw_row_reader *r, dw_draft *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_answer; i++)
        n += w->answer[i].n;
    for (size_t i = 0; i < n; i++)
        w->masked |= !r->mask.ptr[w->n_prompt + i];
}

dw_status dw_talk_encode(dw_row_reader *r, dw_draft *w, dw_err *err)
{
    r->ids.n = 0;
    dw_buf_clear(&r->mask);
    (void)turn_end(r);
    if (r->s->type == DW_TEXTS) {
        DW_TRY(encode_text(r, w, err));
        note_mask(r, w);
        return DW_OK;
    }
    if (r->s->type == DW_PROMPTS || r->s->type == DW_STEPS)
        DW_TRY(encode_prompt(r, w, w->asked, &w->prompt, &w->n_prompt, err));
    else
        DW_TRY(encode_answers(r, w, err));
    note_mask(r, w);
    if (w->has_teacher_prompt)
        DW_TRY(
            encode_prompt(r, w, w->teacher_asked, &w->teacher_prompt, &w->n_teacher_prompt, err));
    if (r->s->type != DW_STEPS)
        return DW_OK;
    size_t start = r->ids.n;
    DW_TRY(dw_row_encode_steps(r, w, err));
    w->answer[0].n = r->ids.n - start;
    return DW_OK;
}
