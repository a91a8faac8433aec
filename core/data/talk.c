/* Reads rows of messages: what was asked, what was answered, and what the template needs beside. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "data/talk_internal.h"

/* ---- owning what is made for a row ---- */

const dw_json *dw_row_hold(dw_row_reader *r, dw_json *v)
{
    DW_GROW(r->own, r->n_own, r->cap_own);
    r->own[r->n_own++] = v;
    return v;
}

dw_status dw_talk_made(dw_row_reader *r, dw_buf *text, const dw_json **out, dw_err *err)
{
    dw_json *v;
    dw_status st = dw_json_parse(text->ptr, text->len, DW_JSON_DEPTH_ROW + 8, 1, &v, err);
    dw_buf_finish(text);
    if (st >= 0)
        *out = dw_row_hold(r, v);
    return st;
}

/* ---- which rows are conversations ---- */

static const char *role_key(const dw_data_spec *s)
{
    return s->role_key ? s->role_key : "from";
}

static const char *content_key(const dw_data_spec *s)
{
    return s->content_key ? s->content_key : "value";
}

static bool is_message(const dw_data_spec *s, const dw_json *v)
{
    return v && dw_json_kind(v) == DW_JSON_OBJECT &&
           (dw_json_get(v, "role") || dw_json_get(v, role_key(s)));
}

bool dw_talk_is(const dw_data_spec *s, const dw_json *v)
{
    return is_message(s, v) ||
           (v && dw_json_kind(v) == DW_JSON_ARRAY && is_message(s, dw_json_first(v)));
}

/* The value of a column that is a field of the row or what a function gave, or NULL. */
const dw_json *dw_talk_value(const dw_row_reader *r, const dw_column_row *row, dw_data_column c)
{
    if (r->column[c].made)
        return r->column[c].made;
    const char *field = dw_column_field(&r->column[c]);
    return field ? dw_json_path(row->json, field) : NULL;
}

/* The field that holds a whole conversation: as the recipe names it, or under one of its usual
 * names. */
static const char *whole_field(const dw_row_reader *r, const dw_column_row *row)
{
    static const char *const usual[] = {"messages", "conversations", "conversation"};
    const dw_column *c = &r->s->column[DW_COL_MESSAGES];
    if (c->field)
        return c->field;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (dw_talk_is(r->s, dw_json_get(row->json, usual[i])))
            return usual[i];
    return r->s->layout == DW_ROWS_SHAREGPT ? "conversations" : "messages";
}

static bool any_column(const dw_row_reader *r, const dw_column_row *row)
{
    static const dw_data_column all[] = {DW_COL_PROMPT, DW_COL_COMPLETION, DW_COL_CHOSEN,
                                         DW_COL_REJECTED};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (dw_data_has(r->s->type, all[i]) && dw_talk_is(r->s, dw_talk_value(r, row, all[i])))
            return true;
    return false;
}

bool dw_talk_row(const dw_row_reader *r, const dw_column_row *row)
{
    const dw_data_spec *s = r->s;
    if (s->layout || dw_column_is_set(&s->column[DW_COL_MESSAGES]))
        return true;
    if (s->type != DW_TEXTS)
        return any_column(r, row);
    const dw_json *text = dw_talk_value(r, row, DW_COL_TEXT);
    if (text || !dw_row_is_default(r, DW_COL_TEXT))
        return dw_talk_is(s, text);
    const dw_json *all = dw_json_get(row->json, whole_field(r, row));
    return dw_talk_is(s, all) || (all && dw_json_kind(all) == DW_JSON_ARRAY);
}

/* ---- one message ---- */

static dw_status check_content(const dw_json *content, const dw_json *message, dw_err *err)
{
    const dw_json *calls = dw_json_get(message, "tool_calls");
    bool called = calls && dw_json_kind(calls) != DW_JSON_NULL;
    if (!content || dw_json_kind(content) == DW_JSON_NULL) {
        if (called || dw_json_get(message, "function_call"))
            return DW_OK;
        return dw_fail(err, DW_E_INPUT, "has neither \"content\" nor \"tool_calls\"");
    }
    if (dw_json_kind(content) == DW_JSON_STRING)
        return DW_OK;
    if (dw_json_kind(content) != DW_JSON_ARRAY)
        return dw_fail(err, DW_E_INPUT, "\"content\": wanted text, found %s",
                       dw_json_kind_name(content));
    for (const dw_json *p = dw_json_first(content); p; p = dw_json_next(p)) {
        const dw_json *text = dw_json_get(p, "text");
        if (!text || dw_json_kind(text) != DW_JSON_STRING)
            return dw_fail(err, DW_E_INPUT,
                           "\"content\": wanted text or parts of text, found a part without "
                           "\"text\" (images and sound are not supported)");
    }
    return DW_OK;
}

static dw_status check_message(const dw_data_spec *s, const dw_json *m, dw_err *err)
{
    if (dw_json_kind(m) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(m));
    const dw_json *role = dw_json_get(m, "role"), *content = dw_json_get(m, "content");
    const char *key = "role";
    if (!role) {
        key = role_key(s);
        role = dw_json_get(m, key);
        content = dw_json_get(m, content_key(s));
    }
    if (!role)
        return dw_fail(err, DW_E_INPUT, "has no \"role\"");
    if (dw_json_kind(role) != DW_JSON_STRING || !dw_json_str(role).len)
        return dw_fail(err, DW_E_INPUT, "\"%s\": wanted a name, found %s", key,
                       dw_json_kind(role) == DW_JSON_STRING ? "an empty string"
                                                            : dw_json_kind_name(role));
    return check_content(content, m, err);
}

/* ShareGPT's names for who speaks. */
static dw_text role_of(dw_text from)
{
    static const struct {
        const char *from, *role;
    } all[] = {{"human", "user"},
               {"gpt", "assistant"},
               {"chatgpt", "assistant"},
               {"bot", "assistant"},
               {"model", "assistant"},
               {"observation", "tool"},
               {"function_response", "tool"},
               {"function_call", "assistant"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (dw_text_is(from, all[i].from))
            return dw_text_of(all[i].role);
    return from;
}

static void put_member(dw_buf *b, const char *key, const dw_json *v)
{
    dw_buf_addc(b, ',');
    dw_json_put_cstr(b, key);
    dw_buf_addc(b, ':');
    dw_json_put(b, v, false, 0);
}

/* The text of a function_call turn is {"name", "arguments"}, or a list of those. */
static bool put_calls(dw_buf *b, const dw_json *content)
{
    dw_err no;
    dw_json *v;
    dw_text t = dw_json_str(content);
    if (dw_json_parse(t.ptr, t.len, DW_JSON_DEPTH_ROW, 1, &v, &no) < 0)
        return false;
    bool list = dw_json_kind(v) == DW_JSON_ARRAY;
    const dw_json *e = list ? dw_json_first(v) : v;
    bool calls = e && dw_json_get(e, "name");
    dw_buf_adds(b, calls ? ",\"content\":\"\",\"tool_calls\":[" : "");
    for (const char *comma = ""; calls && e; e = list ? dw_json_next(e) : NULL, comma = ",") {
        dw_buf_printf(b, "%s{\"type\":\"function\",\"function\":", comma);
        dw_json_put(b, e, false, 0);
        dw_buf_addc(b, '}');
    }
    dw_buf_adds(b, calls ? "]" : "");
    dw_json_free(v);
    return calls;
}

static void put_message(const dw_data_spec *s, dw_buf *b, const dw_json *m)
{
    if (dw_json_get(m, "role")) {
        dw_json_put(b, m, false, 0);
        return;
    }
    dw_text from = dw_json_str(dw_json_get(m, role_key(s))), role = role_of(from);
    const dw_json *content = dw_json_get(m, content_key(s));
    dw_buf_adds(b, "{\"role\":");
    dw_json_put_str(b, role.ptr, role.len);
    bool calls = dw_text_is(from, "function_call") && content &&
                 dw_json_kind(content) == DW_JSON_STRING && put_calls(b, content);
    if (content && !calls)
        put_member(b, "content", content);
    for (const dw_json *v = dw_json_first(m); v; v = dw_json_next(v)) {
        const char *key = dw_json_key(v);
        if (strcmp(key, role_key(s)) != 0 && strcmp(key, content_key(s)) != 0)
            put_member(b, key, v);
    }
    dw_buf_addc(b, '}');
}

/* ---- lists of messages ---- */

/* A list of messages, or one message, in the chat's spelling; `what` is for messages of ours. */
dw_status dw_talk_messages(dw_row_reader *r, const dw_json *v, const char *what,
                           const dw_json **out, dw_err *err)
{
    bool list = v && dw_json_kind(v) == DW_JSON_ARRAY, as_it_is = list;
    size_t n = 0;
    if (!list && !is_message(r->s, v))
        return dw_fail(err, DW_E_INPUT, "\"%s\": wanted messages, found %s", what,
                       v ? dw_json_kind_name(v) : "nothing");
    for (const dw_json *m = list ? dw_json_first(v) : v; m; m = list ? dw_json_next(m) : NULL) {
        dw_status st = check_message(r->s, m, err);
        n++;
        if (st < 0) {
            dw_err_prefix(err, "\"%s\", message %zu", what, n);
            return st;
        }
        as_it_is &= dw_json_get(m, "role") != NULL;
    }
    if (!n)
        return dw_fail(err, DW_E_INPUT, "\"%s\" is empty: wanted at least one message", what);
    if (as_it_is) {
        *out = v;
        return DW_OK;
    }
    dw_buf b = {0};
    const char *comma = "[";
    for (const dw_json *m = list ? dw_json_first(v) : v; m; m = list ? dw_json_next(m) : NULL) {
        dw_buf_adds(&b, comma);
        put_message(r->s, &b, m);
        comma = ",";
    }
    dw_buf_addc(&b, ']');
    return dw_talk_made(r, &b, out, err);
}

/* Messages [from, to) of a list. */
static dw_status part_of(dw_row_reader *r, const dw_json *list, size_t from, size_t to,
                         const dw_json **out, dw_err *err)
{
    dw_buf b = {0};
    size_t i = 0;
    dw_buf_addc(&b, '[');
    for (const dw_json *m = dw_json_first(list); m && i < to; m = dw_json_next(m), i++) {
        if (i < from)
            continue;
        dw_buf_adds(&b, i > from ? "," : "");
        dw_json_put(&b, m, false, 0);
    }
    dw_buf_addc(&b, ']');
    return dw_talk_made(r, &b, out, err);
}

dw_status dw_talk_join(dw_row_reader *r, const dw_json *a, const dw_json *b, const dw_json **out,
                       dw_err *err)
{
    dw_buf text = {0};
    dw_buf_addc(&text, '[');
    for (int i = 0; i < 2; i++)
        for (const dw_json *m = dw_json_first(i ? b : a); m; m = dw_json_next(m)) {
            dw_buf_adds(&text, text.len > 1 ? "," : "");
            dw_json_put(&text, m, false, 0);
        }
    dw_buf_addc(&text, ']');
    return dw_talk_made(r, &text, out, err);
}

static const dw_json *last_of(const dw_json *list)
{
    const dw_json *last = NULL;
    for (const dw_json *m = dw_json_first(list); m; m = dw_json_next(m))
        last = m;
    return last;
}

bool dw_talk_by_assistant(const dw_json *m)
{
    const dw_json *role = dw_json_get(m, "role");
    return role && dw_json_kind(role) == DW_JSON_STRING &&
           dw_text_is(dw_json_str(role), "assistant");
}

/* How many messages two conversations begin with alike; the last one of either is never among
 * them. */
static size_t common(const dw_json *a, const dw_json *b)
{
    dw_buf x = {0}, y = {0};
    size_t n = 0;
    const dw_json *p = dw_json_first(a), *q = dw_json_first(b);
    for (; p && q && dw_json_next(p) && dw_json_next(q); p = dw_json_next(p), q = dw_json_next(q)) {
        dw_buf_clear(&x);
        dw_buf_clear(&y);
        dw_json_put(&x, p, true, 0);
        dw_json_put(&y, q, true, 0);
        if (!dw_text_eq(dw_buf_text(&x), dw_buf_text(&y)))
            break;
        n++;
    }
    dw_buf_finish(&x);
    dw_buf_finish(&y);
    return n;
}

/* ---- messages ---- */

/* What tells whether an answer is empty or equal to another: its words where there is nothing
 * else, otherwise all of it. */
void dw_talk_answer(dw_row_reader *r, dw_draft *w, const dw_json *said)
{
    const dw_json *only = dw_json_first(said);
    const dw_json *content = only && !dw_json_next(only) ? dw_json_get(only, "content") : NULL;
    const dw_json *calls = only ? dw_json_get(only, "tool_calls") : NULL;
    bool plain = content && dw_json_kind(content) == DW_JSON_STRING &&
                 (!calls || dw_json_kind(calls) == DW_JSON_NULL);
    dw_buf b = {0};
    dw_text t;
    if (plain) {
        t = dw_json_str(content);
    } else {
        dw_json_put(&b, said, true, 0);
        t = dw_buf_text(&b);
    }
    dw_draft_answer *a = &w->answer[w->n_answer++];
    *a = (dw_draft_answer){.said = said, .rank = NAN};
    a->text.part = dw_arena_alloc(&r->scratch, sizeof *a->text.part);
    a->text.part[0].text =
        (dw_text){dw_arena_strndup(&r->scratch, t.len ? t.ptr : "", t.len), t.len};
    a->text.len = t.len;
    a->text.n = t.len > 0;
    dw_buf_finish(&b);
}

static dw_status column_messages(dw_row_reader *r, const dw_column_row *row, dw_data_column c,
                                 const dw_json **out, size_t *at, dw_err *err)
{
    const char *name = dw_data_column_name(c), *field = dw_column_field(&r->column[c]);
    const dw_json *v = dw_talk_value(r, row, c);
    if (field && v)
        *at = dw_column_at(&r->scratch, row->raw, field);
    if (v && dw_json_kind(v) == DW_JSON_STRING)
        return dw_fail(err, DW_E_INPUT,
                       "\"%s\" is text while the row holds messages elsewhere: give all of it as "
                       "messages, or all as text",
                       name);
    if (!v) {
        dw_column_text none;
        if (field)
            return dw_column_apply(&r->scratch, &r->column[c], row, &none, at, err);
        return dw_fail(err, DW_E_INPUT,
                       "\"%s\" comes from a %s, which %s text, while the row holds messages "
                       "elsewhere: a function may return messages, a list of "
                       "{role = ..., content = ...}",
                       name, r->column[c].lua ? "function" : "format",
                       r->column[c].lua ? "gave" : "gives");
    }
    return dw_talk_messages(r, v, name, out, err);
}

/* A conversation whose last message is the answer. */
static dw_status split_last(dw_row_reader *r, const dw_json *all, dw_draft *w, dw_err *err)
{
    size_t n = dw_json_len(all);
    const dw_json *said;
    bool answered = dw_talk_by_assistant(last_of(all));
    if (r->s->type == DW_PROMPTS) {
        if (answered && n > 1)
            return part_of(r, all, 0, n - 1, &w->asked, err);
        w->asked = all;
        return DW_OK;
    }
    if (!answered || n < 2)
        return dw_fail(err, DW_E_INPUT,
                       "the conversation does not end with an answer of the assistant after a "
                       "question");
    DW_TRY(part_of(r, all, 0, n - 1, &w->asked, err));
    DW_TRY(part_of(r, all, n - 1, n, &said, err));
    dw_talk_answer(r, w, said);
    return DW_OK;
}

static dw_status read_halves(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                             dw_err *err)
{
    const dw_json *half[2] = {NULL};
    DW_TRY(column_messages(r, row, DW_COL_CHOSEN, &half[0], at, err));
    DW_TRY(column_messages(r, row, DW_COL_REJECTED, &half[1], at, err));
    *at = 0;
    if (w->asked) {
        dw_talk_answer(r, w, half[0]);
        dw_talk_answer(r, w, half[1]);
        return DW_OK;
    }
    size_t n = common(half[0], half[1]);
    if (!n)
        return dw_fail(err, DW_E_INPUT,
                       "chosen and rejected begin with no common message, and the row has no "
                       "prompt of messages");
    DW_TRY(part_of(r, half[0], 0, n, &w->asked, err));
    for (int i = 0; i < 2; i++) {
        const dw_json *said;
        DW_TRY(part_of(r, half[i], n, SIZE_MAX, &said, err));
        dw_talk_answer(r, w, said);
    }
    w->split_messages = true;
    return DW_OK;
}

static dw_status read_gold(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                           dw_err *err)
{
    const dw_json *said = NULL;
    if (!dw_column_there(&r->column[DW_COL_GOLD], row))
        return DW_OK;
    DW_TRY(column_messages(r, row, DW_COL_GOLD, &said, at, err));
    dw_talk_answer(r, w, said);
    w->has_gold = true;
    return DW_OK;
}

static dw_status read_list(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                           dw_err *err)
{
    const dw_json *v;
    dw_json *own;
    char name[64];
    size_t n = 0;
    DW_TRY(dw_column_json(&r->scratch, &r->column[DW_COL_COMPLETIONS], row, &v, &own, at, err));
    if (own)
        dw_row_hold(r, own);
    if (dw_json_kind(v) != DW_JSON_ARRAY || dw_json_len(v) < 2)
        return dw_fail(err, DW_E_INPUT,
                       "\"completions\": wanted a list of at least two answers, each of them a "
                       "list of messages");
    w->answer = dw_arena_alloc(&r->scratch, dw_json_len(v) * sizeof *w->answer);
    for (const dw_json *e = dw_json_first(v); e; e = dw_json_next(e)) {
        const dw_json *said;
        snprintf(name, sizeof name, "completions.%zu", n++);
        DW_TRY(dw_talk_messages(r, e, name, &said, err));
        dw_talk_answer(r, w, said);
    }
    return DW_OK;
}

/* Prompt and answers in columns of their own. */
static dw_status read_columns(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                              dw_err *err)
{
    dw_data_type type = r->s->type;
    const dw_json *said = NULL, *prompt = dw_talk_value(r, row, DW_COL_PROMPT);
    /* Data sets that repeat the question as text beside two whole conversations. */
    bool inside =
        type == DW_PAIRS && dw_row_is_default(r, DW_COL_PROMPT) &&
        (!prompt || dw_json_kind(prompt) == DW_JSON_STRING || dw_json_kind(prompt) == DW_JSON_NULL);
    if (!inside && !w->asked)
        DW_TRY(column_messages(r, row, DW_COL_PROMPT, &w->asked, at, err));
    if (type == DW_PAIRS) {
        DW_TRY(read_halves(r, row, w, at, err));
        return read_gold(r, row, w, at, err);
    }
    if (type == DW_LISTS)
        return read_list(r, row, w, at, err);
    if (type == DW_COMPLETIONS || type == DW_LABELS) {
        DW_TRY(column_messages(r, row, DW_COL_COMPLETION, &said, at, err));
        dw_talk_answer(r, w, said);
    }
    return DW_OK;
}

/* One conversation that holds everything, or of pairs everything up to the answers: a field, or
 * what the function of column `c` made. */
static dw_status read_whole(dw_row_reader *r, const dw_column_row *row, dw_data_column c,
                            dw_draft *w, size_t *at, dw_err *err)
{
    const dw_column_plan *p = &r->column[c];
    const char *field = p->lua                 ? dw_data_column_name(c)
                        : c == DW_COL_MESSAGES ? whole_field(r, row)
                                               : dw_column_field(p);
    const dw_json *all, *v = p->lua ? p->made : dw_json_path(row->json, field);
    if (!v)
        return dw_column_missing(row->json, field, err);
    *at = p->lua ? 0 : dw_column_at(&r->scratch, row->raw, field);
    DW_TRY(dw_talk_messages(r, v, field, &all, err));
    DW_TRY(dw_talk_with_system(r, row, &all, at, err));
    if (r->s->type == DW_TEXTS) {
        dw_talk_answer(r, w, all);
        return DW_OK;
    }
    if (r->s->type == DW_COMPLETIONS || r->s->type == DW_LABELS || r->s->type == DW_PROMPTS)
        return split_last(r, all, w, err);
    w->asked = all;
    return read_columns(r, row, w, at, err);
}

/* ---- what the template needs beside ---- */

/* A column of JSON, which may be written as a string of JSON; NULL where the row has none. */
static dw_status extra(dw_row_reader *r, const dw_column_row *row, dw_data_column c,
                       dw_json_type wanted, const dw_json **out, size_t *at, dw_err *err)
{
    const dw_json *v;
    dw_json *own, *parsed;
    const char *field = dw_column_field(&r->column[c]);
    const char *name = field ? field : dw_data_column_name(c);
    *out = NULL;
    if (!dw_column_there(&r->column[c], row))
        return DW_OK;
    DW_TRY(dw_column_json(&r->scratch, &r->column[c], row, &v, &own, at, err));
    if (own)
        dw_row_hold(r, own);
    if (dw_json_kind(v) == DW_JSON_STRING) {
        dw_text t = dw_json_str(v);
        if (!t.len)
            return DW_OK;
        dw_status st = dw_json_parse(t.ptr, t.len, DW_JSON_DEPTH_ROW, 1, &parsed, err);
        if (st < 0) {
            dw_err_prefix(err, "\"%s\" is a string that should hold JSON", dw_data_column_name(c));
            return st;
        }
        v = dw_row_hold(r, parsed);
    }
    if (dw_json_kind(v) == DW_JSON_NULL)
        return DW_OK;
    if (dw_json_kind(v) != wanted)
        return dw_fail(err, DW_E_INPUT, "\"%s\": wanted %s, or that as a string, found %s", name,
                       wanted == DW_JSON_ARRAY ? "a list" : "an object", dw_json_kind_name(v));
    /* An empty list of tools is none: some templates write a heading for it. */
    *out = wanted == DW_JSON_ARRAY && !dw_json_first(v) ? NULL : v;
    return DW_OK;
}

static dw_status read_extras(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                             dw_err *err)
{
    DW_TRY(extra(r, row, DW_COL_TOOLS, DW_JSON_ARRAY, &w->tools, at, err));
    if (dw_column_is_set(&r->s->column[DW_COL_DOCUMENTS]))
        DW_TRY(extra(r, row, DW_COL_DOCUMENTS, DW_JSON_ARRAY, &w->documents, at, err));
    return extra(r, row, DW_COL_VARIABLES, DW_JSON_OBJECT, &w->variables, at, err);
}

static dw_status read_teacher(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                              dw_err *err)
{
    if (!dw_data_has(r->s->type, DW_COL_TEACHER_PROMPT) ||
        !dw_column_there(&r->column[DW_COL_TEACHER_PROMPT], row))
        return DW_OK;
    w->has_teacher_prompt = true;
    return column_messages(r, row, DW_COL_TEACHER_PROMPT, &w->teacher_asked, at, err);
}

dw_status dw_talk_read(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                       dw_err *err)
{
    const dw_data_spec *s = r->s;
    w->talk = true;
    if (!s->chat) {
        *at = DW_COLUMN_REFUSED;
        if (s->chat_why)
            return dw_fail(err, DW_E_INPUT,
                           "the row holds messages, and the model's chat template cannot be read: "
                           "%s (template = \"chat.jinja\" in the recipe names another one)",
                           s->chat_why);
        return dw_fail(err, DW_E_INPUT,
                       "the row holds messages, and the model has no chat template to write them "
                       "with: name one in the recipe (template = \"chat.jinja\"), or build the "
                       "text with a format string or a Lua function");
    }
    DW_TRY(read_extras(r, row, w, at, err));
    if (s->layout == DW_ROWS_ALPACA)
        DW_TRY(dw_talk_alpaca(r, row, w, at, err));
    else if (s->type == DW_TEXTS && !s->layout && !dw_column_is_set(&s->column[DW_COL_MESSAGES]) &&
             dw_talk_value(r, row, DW_COL_TEXT))
        DW_TRY(read_whole(r, row, DW_COL_TEXT, w, at, err));
    else if (s->type == DW_TEXTS || dw_column_is_set(&s->column[DW_COL_MESSAGES]) ||
             (s->layout && dw_json_get(row->json, whole_field(r, row))))
        DW_TRY(read_whole(r, row, DW_COL_MESSAGES, w, at, err));
    else
        DW_TRY(read_columns(r, row, w, at, err));
    return read_teacher(r, row, w, at, err);
}
