/* What `dowel score` and `dowel generate` share. */
#include "cli/model_rows.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "cli/chat_rows.h"

static dw_status choose_storage(const char *word, dw_storage *out, dw_err *err)
{
    for (int i = 0; word && dw_storage_names[i]; i++)
        if (!strcmp(word, dw_storage_names[i])) {
            *out = (dw_storage)i;
            return DW_OK;
        }
    if (!word)
        return DW_OK;
    const char *near = dw_nearest(word, dw_storage_names);
    return dw_fail(err, DW_E_USAGE, "--storage: no '%s'%s%s%s (source, float32, bf16)", word,
                   near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

dw_status dw_cli_model_open(dw_cli_model *c, const char *dir, dw_err *err)
{
    dw_model_options o = {.no_tokenizer = true};
    DW_TRY(choose_storage(c->storage, &o.storage, err));
    DW_TRY(dw_exec_init(&c->x, (int)c->threads, c->kernel, err));
    dw_status st = dw_model_open(&c->x, dir, &o, &c->m, err);
    if (st < 0) {
        c->m = NULL;
        dw_exec_finish(&c->x);
        return st;
    }
    /* A template that cannot be read is in the way of messages only. */
    dw_err why = {{0}};
    if (dw_model_tokenizer(c->m) && dw_model_chat(c->m, &c->chat, &why) < 0)
        c->chat_why = dw_strdup(why.text);
    return DW_OK;
}

void dw_cli_model_close(dw_cli_model *c)
{
    if (!c->m)
        return;
    dw_chat_free(c->chat);
    dw_chat_out_finish(&c->said);
    dw_free(c->chat_why);
    dw_model_free(c->m);
    dw_exec_finish(&c->x);
    c->m = NULL;
}

bool dw_cli_row_encode(const dw_cli_model *c, dw_cli_row *row, const char *key, bool special,
                       dw_ids *out)
{
    const dw_tokenizer *t = dw_model_tokenizer(c->m);
    dw_text text;
    dw_err err = {{0}};
    if (!dw_cli_row_text(row, key, &text))
        return false;
    if (!t) {
        dw_cli_row_fail(row, "\"%s\" needs a tokenizer, and %s has none: give \"ids\"", key,
                        dw_model_dir(c->m));
        return false;
    }
    const unsigned flags = (special && !c->no_special ? DW_TOK_ADD_SPECIAL : 0) |
                           (c->parse_special ? DW_TOK_PARSE_SPECIAL : 0);
    if (dw_tokenizer_encode(t, text, flags, out, &err) < 0) {
        dw_cli_row_fail(row, "%s", err.text);
        return false;
    }
    return true;
}

bool dw_cli_row_messages(dw_cli_model *c, dw_cli_row *row, bool generation, dw_ids *out)
{
    if (c->chat_why) {
        dw_cli_row_fail(row, "\"messages\" need the chat template: %s", c->chat_why);
        return false;
    }
    if (!dw_cli_row_chat(c->chat, c->parse_special, row, generation, &c->said))
        return false;
    for (size_t i = 0; i < c->said.ids.n; i++)
        dw_ids_push(out, c->said.ids.id[i]);
    return true;
}

bool dw_cli_row_check(const dw_cli_model *c, dw_cli_row *row, const dw_ids *ids, size_t most)
{
    const uint32_t vocab = dw_model_description(c->m)->vocab;
    if (ids->n == 0) {
        dw_cli_row_fail(row, "no tokens: the text or the list of ids is empty");
        return false;
    }
    if (ids->n > most) {
        dw_cli_row_fail(row, "%zu tokens, the model has room for %zu", ids->n, most);
        return false;
    }
    for (size_t i = 0; i < ids->n; i++)
        if (ids->id[i] < 0 || (uint32_t)ids->id[i] >= vocab) {
            dw_cli_row_fail(row, "token id %d is outside of the model's vocabulary of %u",
                            ids->id[i], vocab);
            return false;
        }
    return true;
}

void dw_cli_row_put_logps(dw_cli_row *row, const double *logp, size_t n, bool first_null)
{
    dw_buf b = {0};
    dw_buf_addc(&b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            dw_buf_addc(&b, ',');
        if (!i && first_null)
            dw_buf_adds(&b, "null");
        else
            dw_json_put_sig(&b, logp[i], 9);
    }
    dw_buf_addc(&b, ']');
    dw_cli_row_put(row, "logps", dw_buf_text(&b));
    dw_buf_finish(&b);
}

void dw_cli_row_put_ids(dw_cli_row *row, const int32_t *id, size_t n)
{
    dw_buf b = {0};
    dw_cli_put_ids(&b, id, n);
    dw_cli_row_put(row, "ids", dw_buf_text(&b));
    dw_buf_finish(&b);
}
