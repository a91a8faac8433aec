/* Templates from text and from a model's folder. */
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "text/chat_impl.h"

enum { MAX_FILE = 16 << 20 };

static void special(dw_chat *c, const char *name, const dw_json *v)
{
    if (v && dw_json_kind(v) == DW_JSON_OBJECT)
        v = dw_json_get(v, "content");
    if (!v || dw_json_kind(v) != DW_JSON_STRING)
        return;
    for (size_t i = 0; i < c->n_special; i++)
        if (!strcmp(c->special[i].name, name))
            return;
    const dw_text s = dw_json_str(v);
    DW_GROW(c->special, c->n_special, c->cap_special);
    c->special[c->n_special++] = (dw_chat_special){
        dw_arena_strdup(&c->arena, name), {dw_arena_strndup(&c->arena, s.ptr, s.len), s.len}};
}

void dw_chat_specials(dw_chat *c, const dw_json *config)
{
    for (const dw_json *e = dw_json_first(config); e; e = dw_json_next(e)) {
        const char *key = dw_json_key(e);
        const size_t n = strlen(key);
        if (n > 6 && !strcmp(key + n - 6, "_token"))
            special(c, key, e);
    }
    /* tokens of the model's own, by name */
    const dw_json *extra = config ? dw_json_get(config, "extra_special_tokens") : NULL;
    if (extra && dw_json_kind(extra) == DW_JSON_OBJECT)
        for (const dw_json *e = dw_json_first(extra); e; e = dw_json_next(e))
            special(c, dw_json_key(e), e);
}

dw_status dw_chat_parse(dw_text tmpl, const char *name, const dw_tokenizer *t,
                        const dw_json *config, dw_chat **out, dw_err *err)
{
    dw_chat *c = dw_zalloc(1, sizeof *c);
    c->t = t;
    *out = NULL;
    const dw_status st = dw_jinja_parse(tmpl, name, &c->plain, err);
    if (st) {
        dw_chat_free(c);
        return st;
    }
    if (config && dw_json_kind(config) == DW_JSON_OBJECT)
        dw_chat_specials(c, config);
    *out = c;
    return DW_OK;
}

/* "chat_template" of tokenizer_config.json: a text, or a list of texts with names. */
static dw_status from_config(const dw_json *config, const char *path, const dw_tokenizer *t,
                             dw_chat **out, dw_err *err)
{
    const dw_json *v = dw_json_get(config, "chat_template"), *plain = NULL, *tools = NULL;
    if (!v || dw_json_kind(v) == DW_JSON_NULL)
        return DW_OK;
    if (dw_json_kind(v) == DW_JSON_STRING)
        plain = v;
    for (const dw_json *e = dw_json_kind(v) == DW_JSON_ARRAY ? dw_json_first(v) : NULL; e;
         e = dw_json_next(e)) {
        const dw_json *name = dw_json_get(e, "name"), *text = dw_json_get(e, "template");
        if (!name || !text || dw_json_kind(name) != DW_JSON_STRING ||
            dw_json_kind(text) != DW_JSON_STRING)
            return dw_fail(err, DW_E_INPUT,
                           "%s: chat_template: wanted a list of {\"name\", \"template\"}", path);
        if (dw_text_is(dw_json_str(name), "default"))
            plain = text;
        else if (dw_text_is(dw_json_str(name), "tool_use"))
            tools = text;
    }
    if (!plain)
        return dw_fail(err, DW_E_INPUT,
                       "%s: chat_template: wanted a string, or a list with a \"default\"", path);
    DW_TRY(dw_chat_parse(dw_json_str(plain), "chat_template", t, config, out, err));
    const dw_status st =
        tools ? dw_jinja_parse(dw_json_str(tools), "chat_template (tool_use)", &(*out)->tools, err)
              : DW_OK;
    if (st) {
        dw_chat_free(*out);
        *out = NULL;
    }
    return st;
}

static dw_status from_file(const char *path, const char *tools, const dw_json *config,
                           const dw_tokenizer *t, dw_chat **out, dw_err *err)
{
    dw_buf text = {0};
    dw_status st = dw_file_read(path, MAX_FILE, &text, err);
    if (!st)
        st = dw_chat_parse(dw_buf_text(&text), path, t, config, out, err);
    if (!st && dw_file_exists(tools)) {
        dw_buf_clear(&text);
        st = dw_file_read(tools, MAX_FILE, &text, err);
        if (!st)
            st = dw_jinja_parse(dw_buf_text(&text), tools, &(*out)->tools, err);
    }
    if (st) {
        dw_chat_free(*out);
        *out = NULL;
    }
    dw_buf_finish(&text);
    return st;
}

static dw_status read_if_there(const char *path, dw_json **out, dw_err *err)
{
    *out = NULL;
    return dw_file_exists(path) ? dw_json_read(path, MAX_FILE, out, err) : DW_OK;
}

dw_status dw_chat_of_config(const dw_json *config, const char *name, const dw_tokenizer *t,
                            dw_chat **out, dw_err *err)
{
    *out = NULL;
    return from_config(config, name, t, out, err);
}

dw_status dw_chat_load(const char *dir, const dw_tokenizer *t, dw_chat **out, dw_err *err)
{
    dw_arena a = {0};
    dw_json *config = NULL, *map = NULL;
    const char *file = dw_path_join(&a, dir, "chat_template.jinja");
    const char *tools = dw_path_join(&a, dir, "additional_chat_templates/tool_use.jinja");
    const char *path = dw_path_join(&a, dir, "tokenizer_config.json");
    *out = NULL;
    dw_status st = read_if_there(path, &config, err);
    if (!st)
        st = read_if_there(dw_path_join(&a, dir, "special_tokens_map.json"), &map, err);
    if (!st && dw_file_exists(file))
        st = from_file(file, tools, config, t, out, err);
    else if (!st && config)
        st = from_config(config, path, t, out, err);
    if (*out && map)
        dw_chat_specials(*out, map);
    dw_json_free(config);
    dw_json_free(map);
    dw_arena_finish(&a);
    return st;
}
