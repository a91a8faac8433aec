/* dowel tokenize: rows of text or messages to ids, or ids to text. */
#include "base/alloc.h"
#include "cli/args.h"
#include "cli/chat_rows.h"
#include "cli/cmd.h"
#include "cli/rows.h"
#include "model/model.h"

enum { BATCH_ROWS = 256 };

typedef struct settings {
    dw_tokenizer *t;
    dw_chat *chat; /* of messages; NULL: none */
    bool broken;   /* or its template cannot be read: why */
    dw_err why;
    dw_chat_out said;
    bool decode, no_special, parse_special;
    dw_ids ids; /* reused */
    dw_buf text;
} settings;

static void encode_row(settings *s, dw_cli_row *row)
{
    dw_err err = {{0}};
    dw_text text;
    if (!dw_cli_row_text(row, "text", &text))
        return;
    unsigned flags =
        (s->no_special ? 0 : DW_TOK_ADD_SPECIAL) | (s->parse_special ? DW_TOK_PARSE_SPECIAL : 0);
    if (dw_tokenizer_encode(s->t, text, flags, &s->ids, &err)) {
        dw_cli_row_fail(row, "%s", err.text);
        return;
    }
    dw_cli_put_ids(&s->text, s->ids.id, s->ids.n);
    dw_cli_row_put(row, "ids", dw_buf_text(&s->text));
}

/* Messages: what the chat template makes of them, and which tokens are the assistant's. */
static void encode_messages(settings *s, dw_cli_row *row)
{
    const dw_json *ask = dw_json_get(row->json, "add_generation_prompt");
    bool generation = ask && dw_json_kind(ask) == DW_JSON_BOOL && dw_json_bool(ask);
    if (s->broken)
        dw_cli_row_fail(row, "\"messages\" need the chat template: %s", s->why.text);
    if (s->broken || !dw_cli_row_chat(s->chat, s->parse_special, row, generation, &s->said))
        return;
    dw_cli_put_ids(&s->text, s->said.ids.id, s->said.ids.n);
    dw_cli_row_put(row, "ids", dw_buf_text(&s->text));
    if (!generation)
        dw_cli_row_put_mask(row, s->said.mask, s->said.ids.n);
}

static void decode_row(settings *s, dw_cli_row *row)
{
    dw_err err = {{0}};
    dw_buf plain = {0};
    if (!dw_cli_row_ids(row, "ids", dw_tokenizer_size(s->t), &s->ids))
        return;
    if (dw_tokenizer_decode(s->t, s->ids.id, s->ids.n, s->no_special, &plain, &err)) {
        dw_cli_row_fail(row, "%s", err.text);
    } else {
        dw_json_put_str(&s->text, plain.ptr ? plain.ptr : "", plain.len);
        dw_cli_row_put(row, "text", dw_buf_text(&s->text));
    }
    dw_buf_finish(&plain);
}

static dw_status tokenize_rows(void *ctx, dw_cli_row **row, size_t n, dw_err *err)
{
    settings *s = ctx;
    (void)err;
    for (size_t i = 0; i < n; i++) {
        s->ids.n = 0;
        dw_buf_clear(&s->text);
        if (s->decode)
            decode_row(s, row[i]);
        else if (dw_cli_row_has(row[i], "messages") && !dw_cli_row_has(row[i], "text"))
            encode_messages(s, row[i]);
        else
            encode_row(s, row[i]);
    }
    return DW_OK;
}

dw_status dw_cmd_tokenize(int argc, char **argv, dw_err *err)
{
    settings s = {0};
    const char *on_bad = "error", *word[2];
    bool help, skip;
    const dw_arg arg[] = {
        {"--decode", DW_ARG_FLAG, &s.decode, 0, 0, NULL, "rows of {\"ids\"} become {\"text\"}"},
        {"--no-special", DW_ARG_FLAG, &s.no_special, 0, 0, NULL,
         "add no special tokens; with --decode, leave them out"},
        {"--parse-special", DW_ARG_FLAG, &s.parse_special, 0, 0, NULL,
         "special tokens written in the text become their ids"},
        {"--on-bad-row", DW_ARG_STR, &on_bad, 0, 0, "error|skip",
         "stop at a bad row (default), or write {\"error\"} and go on"},
    };
    DW_TRY(dw_args_parse(argc, argv, "dowel tokenize MODEL FILE", arg, sizeof arg / sizeof *arg,
                         word, 2, 2, &help, err));
    if (help)
        return DW_OK;
    DW_TRY(dw_cli_on_bad(on_bad, &skip, err));
    DW_TRY(dw_model_words(word[0], &s.t, err));
    if (dw_model_words_chat(word[0], s.t, &s.chat, &s.why) < 0)
        s.broken = true; /* in the way of messages only */
    dw_status st = dw_cli_rows_run(word[1], skip, BATCH_ROWS, tokenize_rows, &s, err);
    dw_chat_free(s.chat);
    dw_chat_out_finish(&s.said);
    dw_tokenizer_free(s.t);
    dw_ids_finish(&s.ids);
    dw_buf_finish(&s.text);
    return st;
}
