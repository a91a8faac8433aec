/* Messages of a row to ids, for the commands that take them. */
#include "cli/chat_rows.h"

/* A list (or an object) that a row may do without. */
static bool optional(dw_cli_row *row, const char *key, dw_json_type kind, const dw_json **out)
{
    const dw_json *v = dw_json_get(row->json, key);
    *out = NULL;
    if (!v || dw_json_kind(v) == DW_JSON_NULL)
        return true;
    if (dw_json_kind(v) != kind) {
        dw_cli_row_fail(row, "\"%s\": wanted %s, found %s", key,
                        kind == DW_JSON_ARRAY ? "a list" : "an object", dw_json_kind_name(v));
        return false;
    }
    /* An empty list of tools is none: some templates write a heading for it. */
    *out = kind == DW_JSON_ARRAY && !dw_json_first(v) ? NULL : v;
    return true;
}

static bool by_assistant(const dw_json *messages)
{
    const dw_json *last = NULL;
    for (const dw_json *m = dw_json_first(messages); m; m = dw_json_next(m))
        last = m;
    const dw_json *role = last ? dw_json_get(last, "role") : NULL;
    return role && dw_json_kind(role) == DW_JSON_STRING &&
           dw_text_is(dw_json_str(role), "assistant");
}

bool dw_cli_row_chat(const dw_chat *c, bool parse_special, dw_cli_row *row, bool generation,
                     dw_chat_out *out)
{
    dw_err err = {{0}};
    dw_chat_request q = {.messages = dw_json_get(row->json, "messages"),
                         .parse_special = parse_special};
    bool kwargs = dw_json_get(row->json, "chat_template_kwargs") != NULL;
    dw_chat_out_clear(out);
    if (!q.messages || dw_json_kind(q.messages) != DW_JSON_ARRAY || !dw_json_first(q.messages)) {
        dw_cli_row_fail(row, "\"messages\": wanted a list of at least one message, found %s",
                        q.messages && dw_json_kind(q.messages) == DW_JSON_ARRAY
                            ? "an empty one"
                            : dw_json_kind_name(q.messages));
        return false;
    }
    if (!optional(row, "tools", DW_JSON_ARRAY, &q.tools) ||
        !optional(row, "documents", DW_JSON_ARRAY, &q.documents) ||
        !optional(row, kwargs ? "chat_template_kwargs" : "variables", DW_JSON_OBJECT, &q.variables))
        return false;
    if (!c) {
        dw_cli_row_fail(row, "\"messages\" need a chat template, and the model has none");
        return false;
    }
    if (generation) {
        q.continue_final = by_assistant(q.messages);
        q.add_generation_prompt = !q.continue_final;
    }
    dw_status st =
        generation ? dw_chat_render(c, &q, out, &err) : dw_chat_render_masked(c, &q, out, &err);
    if (st < 0)
        dw_cli_row_fail(row, "%s", err.text);
    return st >= 0;
}

void dw_cli_row_put_mask(dw_cli_row *row, const unsigned char *mask, size_t n)
{
    dw_buf b = {0};
    dw_buf_addc(&b, '[');
    for (size_t i = 0; i < n; i++)
        dw_buf_adds(&b, mask[i] ? (i ? ",1" : "1") : (i ? ",0" : "0"));
    dw_buf_addc(&b, ']');
    dw_cli_row_put(row, "mask", dw_buf_text(&b));
    dw_buf_finish(&b);
}
