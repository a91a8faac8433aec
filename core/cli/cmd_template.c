/* dowel template: rows of messages to text, ids and which of them the assistant said. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/rows.h"
#include "cli/show_tokens.h"
#include "model/model.h"
#include "text/chat.h"

enum { BATCH_ROWS = 64, MAX_TEMPLATE = 1 << 20 };

typedef struct settings {
    dw_tokenizer *t; /* NULL: text only */
    dw_chat *chat;
    bool parse_special, no_mask, show, colour;
    dw_chat_out out; /* reused */
    dw_buf line;
} settings;

/* ---- one row ---- */

static bool read_request(dw_cli_row *row, bool parse_special, dw_chat_request *r)
{
    dw_err err = {{0}};
    *r = (dw_chat_request){.messages = dw_json_get(row->json, "messages"),
                           .tools = dw_json_get(row->json, "tools"),
                           .documents = dw_json_get(row->json, "documents"),
                           .variables = dw_json_get(row->json, "variables"),
                           .parse_special = parse_special};
    if (!r->messages)
        dw_cli_row_fail(row, "\"messages\": wanted an array, found nothing");
    const dw_json **optional[] = {&r->tools, &r->documents, &r->variables};
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        if (*optional[i] && dw_json_kind(*optional[i]) == DW_JSON_NULL)
            *optional[i] = NULL;
    if (dw_json_get_bool(row->json, "add_generation_prompt", false, &r->add_generation_prompt,
                         &err) ||
        dw_json_get_bool(row->json, "continue_final_message", false, &r->continue_final, &err))
        dw_cli_row_fail(row, "%s", err.text);
    return !row->bad;
}

/* With the mask where there can be one: `why` says why there is none. */
static dw_status render(settings *s, const dw_chat_request *r, bool *masked, dw_err *why,
                        dw_err *err)
{
    *masked = false;
    if (s->t && !s->no_mask && !r->continue_final) {
        dw_status st = dw_chat_render_masked(s->chat, r, &s->out, why);
        *masked = !st;
        if (!st)
            return st;
        dw_chat_out_clear(&s->out);
    }
    return dw_chat_render(s->chat, r, &s->out, err);
}

static void put_mask(dw_buf *b, const dw_chat_out *out)
{
    dw_buf_clear(b);
    if (!out) {
        dw_buf_adds(b, "null");
        return;
    }
    dw_buf_addc(b, '[');
    for (size_t i = 0; i < out->ids.n; i++)
        dw_buf_printf(b, "%s%d", i ? "," : "", out->mask[i]);
    dw_buf_addc(b, ']');
}

/* For people: how many tokens, whose they are, and the tokens themselves. */
static void show_row(settings *s, dw_cli_row *row, bool masked, const char *why)
{
    dw_err err = {{0}};
    size_t trained = 0;
    row->n_line = 0; /* in place of the row */
    dw_buf_clear(&s->line);
    for (size_t i = 0; i < s->out.ids.n && masked; i++)
        trained += s->out.mask[i];
    if (!s->t)
        dw_buf_printf(&s->line, "row %u: %zu bytes\n", row->line, s->out.text.len);
    else if (masked)
        dw_buf_printf(&s->line, "row %u: %zu tokens, %zu of them the assistant's\n", row->line,
                      s->out.ids.n, trained);
    else
        dw_buf_printf(&s->line, "row %u: %zu tokens%s%s\n", row->line, s->out.ids.n,
                      *why ? "; " : "", why);
    if (!s->t)
        dw_show_text(&s->line, dw_buf_text(&s->out.text));
    else if (dw_show_tokens(&s->line, s->t, s->out.ids.id, s->out.ids.n,
                            masked ? s->out.mask : NULL, s->colour, &err))
        dw_cli_row_fail(row, "%s", err.text);
    dw_buf_adds(&s->line, "\n\n");
    if (!row->bad)
        fwrite(s->line.ptr, 1, s->line.len, stdout);
}

static void template_row(settings *s, dw_cli_row *row)
{
    dw_err err = {{0}}, why = {{0}};
    dw_chat_request r;
    bool masked;
    if (!read_request(row, s->parse_special, &r))
        return;
    dw_chat_out_clear(&s->out);
    if (render(s, &r, &masked, &why, &err)) {
        dw_cli_row_fail(row, "%s", err.text);
        return;
    }
    if (s->show) {
        show_row(s, row, masked, why.text);
        return;
    }
    dw_buf_clear(&s->line);
    dw_json_put_str(&s->line, s->out.text.ptr ? s->out.text.ptr : "", s->out.text.len);
    dw_cli_row_put(row, "text", dw_buf_text(&s->line));
    if (!s->t)
        return;
    dw_buf_clear(&s->line);
    dw_cli_put_ids(&s->line, s->out.ids.id, s->out.ids.n);
    dw_cli_row_put(row, "ids", dw_buf_text(&s->line));
    if (s->no_mask)
        return;
    put_mask(&s->line, masked ? &s->out : NULL);
    dw_cli_row_put(row, "mask", dw_buf_text(&s->line));
    if (!why.text[0])
        return;
    dw_buf_clear(&s->line);
    dw_json_put_cstr(&s->line, why.text);
    dw_cli_row_put(row, "mask_error", dw_buf_text(&s->line));
}

static dw_status template_rows(void *ctx, dw_cli_row **row, size_t n, dw_err *err)
{
    (void)err;
    for (size_t i = 0; i < n; i++)
        template_row(ctx, row[i]);
    return DW_OK;
}

/* ---- opening ---- */

static dw_status open_file(settings *s, const char *path, const char *dir, dw_err *err)
{
    dw_buf text = {0};
    dw_json *config = NULL;
    dw_arena a = {0};
    dw_status st = dw_file_read(path, MAX_TEMPLATE, &text, err);
    const char *file = s->t ? dw_path_join(&a, dir, "tokenizer_config.json") : NULL;
    if (!st && file && dw_file_exists(file))
        st = dw_json_read(file, 16 << 20, &config, err);
    if (!st)
        st = dw_chat_parse(dw_buf_text(&text), path, s->t, config, &s->chat, err);
    dw_json_free(config);
    dw_arena_finish(&a);
    dw_buf_finish(&text);
    return st;
}

static dw_status open_chat(settings *s, const char *dir, const char *file, dw_err *err)
{
    const bool model = strcmp(dir, "-") != 0;
    if (model)
        DW_TRY(dw_model_words(dir, &s->t, err));
    if (file)
        return open_file(s, file, dir, err);
    if (!model)
        return dw_fail(err, DW_E_USAGE, "a template without a model: give --template FILE");
    DW_TRY(dw_model_words_chat(dir, s->t, &s->chat, err));
    if (s->chat)
        return DW_OK;
    return dw_fail(err, DW_E_INPUT,
                   "%s: no chat template (chat_template.jinja, or \"chat_template\" in "
                   "tokenizer_config.json); --template FILE gives one",
                   dir);
}

dw_status dw_cmd_template(int argc, char **argv, dw_err *err)
{
    settings s = {0};
    const char *on_bad = "error", *file = NULL, *word[2] = {NULL, NULL};
    bool help, skip;
    const dw_arg arg[] = {
        {"--template", DW_ARG_STR, &file, 0, 0, "FILE",
         "this template in place of the model's; without a model (-) text only"},
        {"--parse-special", DW_ARG_FLAG, &s.parse_special, 0, 0, NULL,
         "special tokens written in messages become their ids"},
        {"--no-mask", DW_ARG_FLAG, &s.no_mask, 0, 0, NULL, "do not ask whose tokens they are"},
        {"--show", DW_ARG_FLAG, &s.show, 0, 0, NULL,
         "show the tokens, the assistant's marked (on a terminal it does anyway)"},
        {"--on-bad-row", DW_ARG_STR, &on_bad, 0, 0, "error|skip",
         "stop at a bad row (default), or write {\"error\"} and go on"},
    };
    DW_TRY(dw_args_parse(argc, argv, "dowel template [MODEL] FILE", arg, sizeof arg / sizeof *arg,
                         word, 1, 2, &help, err));
    if (help)
        return DW_OK;
    s.show = s.show || isatty(STDOUT_FILENO);
    s.colour = dw_show_colour(STDOUT_FILENO);
    DW_TRY(dw_cli_on_bad(on_bad, &skip, err));
    const char *model = word[1] ? word[0] : "-", *rows = word[1] ? word[1] : word[0];
    dw_status st = open_chat(&s, model, file, err);
    if (!st)
        st = dw_cli_rows_run(rows, skip, BATCH_ROWS, template_rows, &s, err);
    dw_chat_free(s.chat);
    dw_tokenizer_free(s.t);
    dw_chat_out_finish(&s.out);
    dw_buf_finish(&s.line);
    return st;
}
