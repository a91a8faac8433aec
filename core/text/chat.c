/* Messages to text and ids through the model's template. */
#include "text/chat.h"

#include <string.h>

#include "base/alloc.h"
#include "text/chat_impl.h"
#include "text/jinja/call.h"
#include "text/jinja/chars.h"

/* transformers' own: it marks where a message that is to be continued ends. */
static const char continue_tag[] = "CONTINUE_FINAL_MESSAGE_TAG ";

void dw_chat_out_clear(dw_chat_out *out)
{
    dw_buf_clear(&out->text);
    out->ids.n = 0;
}

void dw_chat_out_finish(dw_chat_out *out)
{
    dw_buf_finish(&out->text);
    dw_ids_finish(&out->ids);
    dw_free(out->mask);
    *out = (dw_chat_out){0};
}

void dw_chat_free(dw_chat *c)
{
    if (!c)
        return;
    dw_jinja_free(c->plain);
    dw_jinja_free(c->tools);
    dw_free(c->special);
    dw_arena_finish(&c->arena);
    dw_free(c);
}

bool dw_chat_has_generation(const dw_chat *c)
{
    return dw_jinja_has_generation(c->plain);
}

/* ---- the variables ---- */

static dw_status set(dw_jrun *r, const char *name, dw_jvalue v)
{
    return dw_jdict_set(r, r->context, dw_jtext(name, strlen(name), DW_JMARK_LITERAL), v);
}

/* A role that templates know is no text of a user: some write it inside a special token. */
static void known_role(dw_jvalue *v)
{
    static const char *const roles[] = {"system",      "user",  "assistant", "tool",
                                        "developer",   "model", "function",  "ipython",
                                        "observation", NULL};
    for (const char *const *k = roles; *k && v->kind == DW_J_STR; k++)
        if (dw_text_is((dw_text){v->s.ptr, v->s.len}, *k))
            v->s.tag = DW_JMARK_LITERAL;
}

/* One message as transformers hands it over: null members left out, and the reasoning under each
 * of the names that templates read. */
static dw_status message(dw_jrun *r, const dw_json *m, dw_jvalue *out)
{
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    const dw_json *reasoning = NULL;
    dw_jvalue v;
    for (int i = 0; i < 3 && !reasoning; i++) {
        reasoning = dw_json_get(m, names[i]);
        if (reasoning && dw_json_kind(reasoning) == DW_JSON_NULL)
            reasoning = NULL;
    }
    DW_TRY(dw_jdict_new(r, DW_J_DICT, out));
    if (reasoning) {
        DW_TRY(dw_jvalue_from_json(r, reasoning, 0, &v));
        DW_TRY(dw_jdict_set(r, out->dict, dw_jtext("thinking", 8, 0), v));
    }
    for (const dw_json *e = dw_json_first(m); e; e = dw_json_next(e)) {
        const char *key = dw_json_key(e);
        if (dw_json_kind(e) == DW_JSON_NULL)
            continue;
        DW_TRY(dw_jvalue_from_json(r, e, 0, &v));
        if (!strcmp(key, "role"))
            known_role(&v);
        DW_TRY(dw_jdict_set(r, out->dict, dw_jtext(key, strlen(key), 0), v));
    }
    if (reasoning) {
        DW_TRY(dw_jvalue_from_json(r, reasoning, 0, &v));
        DW_TRY(dw_jdict_set(r, out->dict, dw_jtext("reasoning_content", 17, 0), v));
    }
    return DW_OK;
}

static dw_status messages(dw_jrun *r, const dw_chat_job *job, dw_jvalue *out)
{
    const dw_json *lists[2] = {job->r->messages, job->more};
    size_t n = 0;
    DW_TRY(dw_jlist_new(r, DW_J_LIST, job->take, out));
    for (int i = 0; i < 2; i++)
        for (const dw_json *m = dw_json_first(lists[i]); m && n < job->take; m = dw_json_next(m)) {
            if (dw_json_kind(m) != DW_JSON_OBJECT)
                return dw_jfail(r, DW_E_INPUT, "message %zu: wanted an object, found %s", n + 1,
                                dw_json_kind_name(m));
            DW_TRY(message(r, m, &out->list->item[n++]));
        }
    return DW_OK;
}

static dw_status add_tag(dw_jrun *r, dw_jvalue *text)
{
    const dw_jstr tag = {.ptr = continue_tag, .len = sizeof continue_tag - 1};
    const dw_jstr s = text->s;
    return dw_jbuild_concat(r, &s, &tag, text);
}

/* Marks the end of the last message's content. */
static dw_status mark_end(dw_jrun *r, const dw_jvalue *list)
{
    dw_jvalue *content = dw_jdict_get(list->list->item[list->list->n - 1].dict, "content");
    if (content && content->kind == DW_J_STR)
        return add_tag(r, content);
    for (size_t i = content && content->kind == DW_J_LIST ? content->list->n : 0; i-- > 0;) {
        dw_jvalue *block = &content->list->item[i];
        dw_jvalue *text = block->kind == DW_J_DICT ? dw_jdict_get(block->dict, "text") : NULL;
        if (text && text->kind == DW_J_STR)
            return add_tag(r, text);
    }
    return dw_jfail(r, DW_E_INPUT, "the last message has no content to continue");
}

/* A variable that says what the tokenizer's own token of that name is may become that token. */
static uint8_t origin(const dw_chat *c, const char *name, const dw_json *v)
{
    for (size_t i = 0; i < c->n_special && dw_json_kind(v) == DW_JSON_STRING; i++)
        if (!strcmp(c->special[i].name, name) && dw_text_eq(c->special[i].text, dw_json_str(v)))
            return DW_JMARK_LITERAL;
    return 0;
}

static dw_status fill(dw_jrun *r, void *ctx)
{
    const dw_chat_job *job = ctx;
    const dw_chat *c = job->c;
    dw_jvalue v;
    DW_TRY(messages(r, job, &v));
    if (job->r->continue_final)
        DW_TRY(mark_end(r, &v));
    DW_TRY(set(r, "messages", v));
    v = dw_jnone();
    if (job->r->tools)
        DW_TRY(dw_jvalue_from_json(r, job->r->tools, 0, &v));
    DW_TRY(set(r, "tools", v));
    v = dw_jnone();
    if (job->r->documents)
        DW_TRY(dw_jvalue_from_json(r, job->r->documents, 0, &v));
    DW_TRY(set(r, "documents", v));
    DW_TRY(set(r, "add_generation_prompt", dw_jbool(job->generation_prompt)));
    for (size_t i = 0; i < c->n_special; i++) {
        const dw_chat_special *s = &c->special[i];
        DW_TRY(set(r, s->name, dw_jtext(s->text.ptr, s->text.len, DW_JMARK_LITERAL)));
    }
    for (const dw_json *e = dw_json_first(job->r->variables); e; e = dw_json_next(e)) {
        const char *name = dw_json_key(e);
        DW_TRY(dw_jvalue_from_json(r, e, origin(c, name, e), &v));
        DW_TRY(set(r, name, v));
    }
    return DW_OK;
}

/* ---- text ---- */

/* Everything from the tag on goes: what the template writes behind a finished message. */
static dw_status cut_at_tag(dw_jinja_text *out, dw_err *err)
{
    const size_t n = sizeof continue_tag - 2; /* without its blank */
    size_t at = out->text.len;
    while (at > 0 && (at + n > out->text.len || memcmp(out->text.ptr + at, continue_tag, n) != 0))
        at--;
    if (out->text.len < n || memcmp(out->text.ptr + at, continue_tag, n) != 0)
        return dw_fail(err, DW_E_INPUT,
                       "the last message cannot be continued: the template does not write its end");
    if (out->text.len < at + n + 1 || out->text.ptr[at + n] != ' ')
        at -= dw_jchars_trail(out->text.ptr, at);
    out->text.len = at;
    out->text.ptr[at] = 0;
    out->mark.len = at;
    return DW_OK;
}

size_t dw_chat_count(const dw_chat_request *r, const dw_json *more)
{
    return (r->messages ? dw_json_len(r->messages) : 0) + (more ? dw_json_len(more) : 0);
}

static dw_status check(const dw_chat_job *job, dw_err *err)
{
    const dw_chat_request *r = job->r;
    const struct {
        const char *name;
        const dw_json *v;
        dw_json_type kind;
    } part[] = {{"messages", r->messages, DW_JSON_ARRAY},
                {"completion", job->more, DW_JSON_ARRAY},
                {"tools", r->tools, DW_JSON_ARRAY},
                {"documents", r->documents, DW_JSON_ARRAY},
                {"variables", r->variables, DW_JSON_OBJECT}};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (part[i].v && dw_json_kind(part[i].v) != part[i].kind)
            return dw_fail(err, DW_E_INPUT, "\"%s\": wanted %s, found %s", part[i].name,
                           part[i].kind == DW_JSON_ARRAY ? "an array" : "an object",
                           dw_json_kind_name(part[i].v));
    if (!job->take && !job->more)
        return dw_fail(err, DW_E_INPUT, "no messages: a template needs at least one");
    if (r->continue_final && job->generation_prompt)
        return dw_fail(err, DW_E_INPUT,
                       "a message that is continued and a generation prompt exclude each other");
    return DW_OK;
}

dw_status dw_chat_text(const dw_chat_job *job, dw_jinja_text *out, dw_err *err)
{
    const dw_chat *c = job->c;
    dw_chat_job j = *job;
    dw_buf_clear(&out->text);
    dw_buf_clear(&out->mark);
    DW_TRY(check(job, err));
    DW_TRY(dw_jinja_render(c->tools && job->r->tools ? c->tools : c->plain, fill, &j, out, err));
    return job->r->continue_final ? cut_at_tag(out, err) : DW_OK;
}

dw_status dw_chat_encode(const dw_chat_job *job, dw_text text, const char *mark, dw_ids *out,
                         dw_err *err)
{
    if (!job->c->t)
        return DW_OK;
    if (job->r->parse_special)
        return dw_tokenizer_encode(job->c->t, text, DW_TOK_PARSE_SPECIAL, out, err);
    dw_tok_part *part = NULL;
    size_t n = 0, cap = 0;
    for (size_t from = 0, to; from < text.len; from = to) {
        const char literal = mark ? mark[from] & DW_JMARK_LITERAL : 0;
        for (to = from + 1; to < text.len && (mark ? mark[to] & DW_JMARK_LITERAL : 0) == literal;)
            to++;
        DW_GROW(part, n, cap);
        part[n++] = (dw_tok_part){{text.ptr + from, to - from}, literal != 0};
    }
    const dw_status st = dw_tokenizer_encode_parts(job->c->t, part, n, 0, out, err);
    dw_free(part);
    return st;
}

dw_status dw_chat_render(const dw_chat *c, const dw_chat_request *r, dw_chat_out *out, dw_err *err)
{
    dw_jinja_text text = {0};
    const dw_chat_job job = {c, r, NULL, dw_chat_count(r, NULL), r->add_generation_prompt};
    dw_status st = dw_chat_text(&job, &text, err);
    if (!st)
        st = dw_chat_encode(&job, dw_buf_text(&text.text), text.mark.ptr, &out->ids, err);
    if (!st)
        dw_buf_add(&out->text, text.text.ptr, text.text.len);
    dw_jinja_text_finish(&text);
    return st;
}

/* ---- prompt and completion ---- */

static bool begins(const dw_buf *whole, const dw_buf *with)
{
    return with->len <= whole->len && (!with->len || !memcmp(whole->ptr, with->ptr, with->len));
}

/* The prompt's text, as much of it as the whole begins with. */
static dw_status border(const dw_chat_job *whole, const dw_jinja_text *all, dw_jinja_text *prompt,
                        dw_err *err)
{
    dw_chat_job job = {whole->c, whole->r, NULL, dw_chat_count(whole->r, NULL), true};
    for (int open = 1; open >= 0; open--) {
        job.generation_prompt = open;
        if (!job.take)
            return DW_OK; /* nothing before the completion */
        DW_TRY(dw_chat_text(&job, prompt, err));
        if (begins(&all->text, &prompt->text))
            return DW_OK;
    }
    size_t at = 0;
    while (at < prompt->text.len && prompt->text.ptr[at] == all->text.ptr[at])
        at++;
    return dw_fail(err, DW_E_INPUT,
                   "the template writes the prompt otherwise when the completion follows it (from "
                   "byte %zu of the text on): it cannot be split",
                   at);
}

/* The ids behind the prompt's: of the whole where they begin with the prompt's, else of the rest
 * alone. */
static dw_status rest_ids(const dw_chat_job *job, const dw_jinja_text *all, size_t from,
                          const dw_ids *p, size_t p_from, dw_ids *out, dw_err *err)
{
    dw_ids whole = {0};
    dw_status st = dw_chat_encode(job, dw_buf_text(&all->text), all->mark.ptr, &whole, err);
    const size_t n = p->n - p_from;
    const bool same =
        n <= whole.n && (!n || !memcmp(whole.id, p->id + p_from, n * sizeof *whole.id));
    if (!st && same)
        for (size_t i = n; i < whole.n; i++)
            dw_ids_push(out, whole.id[i]);
    else if (!st)
        st = dw_chat_encode(job, (dw_text){all->text.ptr + from, all->text.len - from},
                            all->mark.ptr + from, out, err);
    dw_ids_finish(&whole);
    return st;
}

dw_status dw_chat_split(const dw_chat *c, const dw_chat_request *prompt, const dw_json *completion,
                        dw_chat_out *p, dw_chat_out *rest, dw_err *err)
{
    const dw_chat_job job = {c, prompt, completion, dw_chat_count(prompt, completion), false};
    dw_jinja_text all = {0}, head = {0};
    const size_t p_had = p->ids.n, rest_had = rest->ids.n;
    dw_status st = dw_chat_text(&job, &all, err);
    if (!st)
        st = border(&job, &all, &head, err);
    const size_t n = head.text.len;
    if (!st)
        st = dw_chat_encode(&job, dw_buf_text(&head.text), head.mark.ptr, &p->ids, err);
    if (!st && all.text.len > n)
        st = rest_ids(&job, &all, n, &p->ids, p_had, &rest->ids, err);
    if (st) {
        p->ids.n = p_had;
        rest->ids.n = rest_had;
    } else {
        dw_buf_add(&p->text, head.text.ptr, n);
        dw_buf_add(&rest->text, all.text.len ? all.text.ptr + n : "", all.text.len - n);
    }
    dw_jinja_text_finish(&all);
    dw_jinja_text_finish(&head);
    return st;
}
