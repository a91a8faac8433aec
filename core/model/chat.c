/* How a model talks: its chat template, the tokens that end a turn, and both in what is saved. */
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "model/gguf.h"
#include "model/hub.h"
#include "model/model_internal.h"
#include "model/source.h"

/* From the text of a tokenizer_config.json. */
static dw_status of_config(dw_text text, const char *name, const dw_tokenizer *t, dw_chat **out,
                           dw_err *err)
{
    dw_json *config = NULL;
    dw_status st = dw_json_parse(text.ptr, text.len, DW_JSON_DEPTH_HEADER, 1, &config, err);
    if (st >= 0)
        st = dw_chat_of_config(config, name, t, out, err);
    else
        dw_err_prefix(err, "%s", name);
    dw_json_free(config);
    return st;
}

dw_status dw_model_chat(const dw_model *m, dw_chat **out, dw_err *err)
{
    const dw_source *s = m->source;
    *out = NULL;
    if (!s || !m->tokenizer)
        return DW_OK;
    if (s->tokenizer_config.len)
        return of_config(dw_buf_text(&s->tokenizer_config), m->dir, m->tokenizer, out, err);
    DW_TRY(dw_chat_load(s->tokenizer_dir, m->tokenizer, out, err));
    /* An adapter's folder may hold the tokenizer and no template. */
    if (!*out && strcmp(s->tokenizer_dir, m->dir) != 0)
        DW_TRY(dw_chat_load(m->dir, m->tokenizer, out, err));
    return DW_OK;
}

dw_status dw_model_words_chat(const char *dir, const dw_tokenizer *t, dw_chat **out, dw_err *err)
{
    dw_arena a = {0};
    dw_checkpoint *c = NULL;
    dw_buf json = {0}, config = {0};
    dir = dw_hub_place(&a, dir);
    const char *file = dw_gguf_path(&a, dir);
    *out = NULL;
    dw_status st = DW_OK;
    if (!file || dw_file_exists(dw_path_join(&a, dir, "tokenizer.json"))) {
        st = dw_chat_load(dir, t, out, err);
    } else {
        st = dw_gguf_checkpoint(file, &c, err);
        if (st >= 0)
            st = dw_gguf_tokenizer(dw_checkpoint_gguf(c), &json, &config, err);
        if (st >= 0 && config.len)
            st = of_config(dw_buf_text(&config), file, t, out, err);
    }
    dw_checkpoint_close(c);
    dw_buf_finish(&json);
    dw_buf_finish(&config);
    dw_arena_finish(&a);
    return st;
}

dw_status dw_model_chat_file(const dw_model *m, const char *path, dw_chat **out, dw_err *err)
{
    dw_buf text = {0}, names = {0};
    dw_json *config = NULL;
    bool there = false;
    *out = NULL;
    dw_status st = dw_file_read(path, 1 << 20, &text, err);
    if (st >= 0 && m->source)
        st = dw_model_sidecar(m, "tokenizer_config.json", &there, &names, err);
    if (st >= 0 && there)
        st = dw_json_parse(names.ptr, names.len, DW_JSON_DEPTH_HEADER, 1, &config, err);
    if (st >= 0)
        st = dw_chat_parse(dw_buf_text(&text), path, m->tokenizer, config, out, err);
    dw_json_free(config);
    dw_buf_finish(&text);
    dw_buf_finish(&names);
    return st;
}

dw_status dw_model_add_stop(dw_model *m, const char *token, dw_err *err)
{
    int32_t id = m->tokenizer ? dw_tokenizer_find(m->tokenizer, dw_text_of(token)) : -1;
    if (id < 0)
        return dw_fail(err, DW_E_RECIPE, "'%s' is no token of this model", token);
    for (size_t i = 0; i < m->n_stop; i++)
        if (m->stop[i] == id)
            return DW_OK;
    int32_t *all = dw_arena_alloc(&m->arena, (m->n_stop + 1) * sizeof *all);
    if (m->n_stop)
        memcpy(all, m->stop, m->n_stop * sizeof *all);
    all[m->n_stop++] = id;
    m->stop = all;
    return DW_OK;
}

void dw_model_set_talk(dw_model *m, int32_t turn_end, dw_text text)
{
    m->turn_end = turn_end + 1;
    if (text.len)
        m->chat_template = (dw_text){dw_arena_strndup(&m->arena, text.ptr, text.len), text.len};
}

/* ---- saving ---- */

static bool has_id(const dw_json *eos, int32_t id)
{
    int64_t x;
    if (eos && dw_json_int(eos, &x))
        return x == id;
    for (const dw_json *e = eos ? dw_json_first(eos) : NULL; e; e = dw_json_next(e))
        if (dw_json_int(e, &x) && x == id)
            return true;
    return false;
}

/* Every token that ends a turn here, the learned one among them. */
static void put_eos(dw_buf *b, const dw_model *m)
{
    dw_buf_adds(b, "\"eos_token_id\": [");
    for (size_t i = 0; i < m->n_stop; i++)
        dw_buf_printf(b, "%s%d", i ? ", " : "", m->stop[i]);
    dw_buf_addc(b, ']');
}

static void put_generation(dw_buf *b, const dw_model *m, const dw_json *root)
{
    dw_buf_adds(b, "{\n  ");
    put_eos(b, m);
    for (const dw_json *v = root ? dw_json_first(root) : NULL; v; v = dw_json_next(v)) {
        if (!strcmp(dw_json_key(v), "eos_token_id"))
            continue;
        dw_buf_adds(b, ",\n  ");
        dw_json_put_cstr(b, dw_json_key(v));
        dw_buf_adds(b, ": ");
        dw_json_put(b, v, false, 0);
    }
    dw_buf_adds(b, "\n}\n");
}

static dw_status save_generation(const dw_model *m, const char *path, dw_err *err)
{
    enum { MOST = 1 << 20 };
    dw_json *root = NULL;
    dw_buf b = {0};
    if (dw_file_exists(path))
        DW_TRY(dw_json_read(path, MOST, &root, err));
    dw_status st = DW_OK;
    if (!has_id(dw_json_get(root, "eos_token_id"), m->turn_end - 1)) {
        put_generation(&b, m, root);
        st = dw_file_write(path, b.ptr, b.len, err);
    }
    dw_json_free(root);
    dw_buf_finish(&b);
    return st;
}

dw_status dw_model_save_talk(const dw_model *m, const char *dir, bool generation, dw_err *err)
{
    dw_arena a = {0};
    dw_status st = DW_OK;
    if (generation && m->turn_end > 0)
        st = save_generation(m, dw_path_join(&a, dir, "generation_config.json"), err);
    if (m->chat_template.len && st >= 0)
        st = dw_file_write(dw_path_join(&a, dir, "chat_template.jinja"), m->chat_template.ptr,
                           m->chat_template.len, err);
    dw_arena_finish(&a);
    return st;
}
