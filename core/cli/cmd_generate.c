/* dowel generate: continuations of prompts, from rows or typed on a terminal. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/model_rows.h"
#include "data/talk.h"
#include "model/generate.h"

enum { BATCH_ROWS = 64 };

typedef struct settings {
    dw_cli_model model;
    dw_generator *generator;
    dw_sampling sampling;
    uint32_t samples;
    bool plain;   /* typed lines are continued, not answered */
    int32_t *end; /* stops, with the template's end of a turn */
} settings;

static const char *finish_name(dw_finish f)
{
    return f == DW_FINISH_STOP ? "stop" : f == DW_FINISH_STRING ? "string" : "length";
}

/* A stream of random numbers per prompt and sample: the answer to a row does not depend on where in
 * the file it stands. */
static uint64_t key_of(const dw_ids *prompt, uint64_t sample)
{
    uint64_t key = 0;
    for (size_t i = 0; i < prompt->n; i++)
        key = dw_random(key, DW_RNG_SAMPLE, (uint64_t)prompt->id[i], i);
    return dw_random(key, DW_RNG_SAMPLE, sample, prompt->n);
}

static bool read_prompt(settings *s, dw_cli_row *row, dw_ids *ids)
{
    const dw_description *d = dw_model_description(s->model.m);
    bool ok;
    if (dw_cli_row_has(row, "ids"))
        ok = dw_cli_row_ids(row, "ids", (int32_t)d->vocab, ids);
    else if (dw_cli_row_has(row, "text"))
        ok = dw_cli_row_encode(&s->model, row, "text", true, ids);
    else if (dw_cli_row_has(row, "messages"))
        ok = dw_cli_row_messages(&s->model, row, true, ids);
    else {
        dw_cli_row_fail(row, "none of \"ids\", \"text\" and \"messages\" is there");
        return false;
    }
    return ok && dw_cli_row_check(&s->model, row, ids, (size_t)d->max_positions - 1);
}

static dw_status put_item(const settings *s, dw_cli_row *row, const dw_gen_item *it, dw_err *err)
{
    const dw_tokenizer *t = dw_model_tokenizer(s->model.m);
    dw_buf text = {0}, json = {0};
    dw_cli_row_put_ids(row, it->id, it->n);
    dw_status st = DW_OK;
    if (t)
        st = dw_tokenizer_decode(t, it->id, it->n, true, &text, err);
    if (t && st == DW_OK)
        dw_json_put_str(&json, text.ptr ? text.ptr : "", text.len);
    else
        dw_buf_adds(&json, "null");
    dw_cli_row_put(row, "text", dw_buf_text(&json));
    dw_cli_row_put_logps(row, it->logp, it->n, false);
    dw_buf_clear(&json);
    dw_json_put_cstr(&json, finish_name(it->finish));
    dw_cli_row_put(row, "finish", dw_buf_text(&json));
    dw_buf_finish(&text);
    dw_buf_finish(&json);
    return st;
}

static dw_status generate_rows(void *ctx, dw_cli_row **row, size_t n, dw_err *err)
{
    settings *s = ctx;
    const uint32_t samples = s->samples;
    dw_ids *ids = dw_zalloc(n, sizeof *ids);
    dw_cli_row **good = dw_zalloc(n, sizeof *good);
    dw_gen_item *item = dw_zalloc(n * samples, sizeof *item);
    size_t n_good = 0;
    for (size_t i = 0; i < n; i++) {
        dw_ids *one = &ids[n_good];
        one->n = 0;
        if (!read_prompt(s, row[i], one))
            continue;
        for (uint32_t k = 0; k < samples; k++)
            item[n_good * samples + k] =
                (dw_gen_item){.prompt = one->id, .n_prompt = one->n, .key = key_of(one, k)};
        good[n_good++] = row[i];
    }
    dw_status st = dw_generate(s->generator, &s->sampling, item, n_good * samples, NULL, NULL, err);
    for (size_t i = 0; i < n_good && st == DW_OK; i++)
        for (uint32_t k = 0; k < samples && st == DW_OK; k++) {
            if (k)
                dw_cli_row_again(good[i]);
            st = put_item(s, good[i], &item[i * samples + k], err);
        }
    for (size_t i = 0; i < n * samples; i++)
        dw_gen_item_finish(&item[i]);
    for (size_t i = 0; i < n; i++)
        dw_ids_finish(&ids[i]);
    dw_free(ids);
    dw_free(good);
    dw_free(item);
    return st;
}

/* ---- on a terminal ---- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

typedef struct typing {
    const dw_tokenizer *tokenizer;
    dw_tok_stream *stream;
    dw_buf shown;
    dw_buf talk; /* "[{...},{...}": the turns so far */
} typing;

static void show(typing *t)
{
    if (t->shown.len)
        fwrite(t->shown.ptr, 1, t->shown.len, stdout);
    fflush(stdout);
    dw_buf_clear(&t->shown);
}

static bool on_token(void *ctx, const dw_gen_item *it, size_t item)
{
    typing *t = ctx;
    dw_err err = {{0}};
    (void)item;
    (void)dw_tok_stream_push(t->stream, it->id[it->n - 1], &t->shown, &err);
    show(t);
    return !interrupted;
}

static dw_status sample(settings *s, typing *t, const dw_ids *ids, dw_buf *said, dw_err *err)
{
    dw_status st = DW_OK;
    for (uint32_t k = 0; k < s->samples && st == DW_OK && !interrupted; k++) {
        dw_gen_item it = {.prompt = ids->id, .n_prompt = ids->n, .key = key_of(ids, k)};
        st = dw_generate(s->generator, &s->sampling, &it, 1, on_token, t, err);
        dw_err no; /* an answer that was stopped ends here too */
        dw_status shown = dw_tok_stream_end(t->stream, &t->shown, st ? &no : err);
        st = st ? st : shown;
        show(t);
        fputc('\n', stdout);
        if (said && k == 0 && it.n) {
            (void)dw_tokenizer_decode(t->tokenizer, it.id, it.n, true, said, &no);
        }
        dw_gen_item_finish(&it);
    }
    return st;
}

static dw_status go_on(settings *s, typing *t, dw_text line, dw_err *err)
{
    dw_ids ids = {0};
    const unsigned flags = (s->model.no_special ? 0 : DW_TOK_ADD_SPECIAL) |
                           (s->model.parse_special ? DW_TOK_PARSE_SPECIAL : 0);
    dw_status st = dw_tokenizer_encode(t->tokenizer, line, flags, &ids, err);
    if (st == DW_OK)
        st = sample(s, t, &ids, NULL, err);
    dw_ids_finish(&ids);
    return st;
}

static void put_turn(dw_buf *talk, const char *role, dw_text text)
{
    dw_buf_printf(talk, "%s{\"role\":\"%s\",\"content\":", talk->len > 1 ? "," : "", role);
    dw_json_put_str(talk, text.ptr ? text.ptr : "", text.len);
    dw_buf_addc(talk, '}');
}

/* The conversation so far as the model's template writes it. */
static dw_status write_talk(settings *s, dw_buf *talk, dw_err *err)
{
    dw_json *messages;
    dw_buf_addc(talk, ']');
    dw_status st = dw_json_parse(talk->ptr, talk->len, DW_JSON_DEPTH_ROW, 1, &messages, err);
    talk->ptr[--talk->len] = '\0';
    if (st < 0)
        return st;
    const dw_chat_request q = {.messages = messages,
                               .add_generation_prompt = true,
                               .parse_special = s->model.parse_special};
    dw_chat_out_clear(&s->model.said);
    st = dw_chat_render(s->model.chat, &q, &s->model.said, err);
    dw_json_free(messages);
    return st;
}

/* Answers a line within the conversation. What could not be answered is not part of it. */
static dw_status reply(settings *s, typing *t, dw_text line, dw_err *err)
{
    dw_buf said = {0}, *talk = &t->talk;
    if (dw_text_is(line, "/new"))
        dw_buf_clear(talk);
    if (!talk->len)
        dw_buf_addc(talk, '[');
    if (dw_text_is(line, "/new"))
        return DW_OK;
    size_t before = talk->len;
    put_turn(talk, "user", line);
    dw_status st = write_talk(s, talk, err);
    if (st == DW_OK)
        st = sample(s, t, &s->model.said.ids, &said, err);
    if (st == DW_OK || st == DW_E_SIGINT) {
        put_turn(talk, "assistant", dw_buf_text(&said));
    } else {
        talk->len = before;
        talk->ptr[before] = '\0';
    }
    dw_buf_finish(&said);
    return st;
}

static dw_status answer(settings *s, typing *t, const char *line, size_t n, dw_err *err)
{
    dw_text text = {line, n};
    if (!dw_utf8_valid(line, n))
        return dw_fail(err, DW_E_INPUT, "the line is not UTF-8");
    return s->model.chat && !s->plain ? reply(s, t, text, err) : go_on(s, t, text, err);
}

/* Asks, answers as the tokens come, asks again; with a chat template it is a conversation ("/new"
 * begins another one). Ctrl-C ends an answer, at the prompt the program.
 */
static dw_status converse(settings *s, dw_err *err)
{
    typing t = {.tokenizer = dw_model_tokenizer(s->model.m)};
    if (!t.tokenizer)
        return dw_fail(err, DW_E_INPUT, "%s has no tokenizer, so nothing can be typed",
                       dw_model_dir(s->model.m));
    if (s->model.chat_why && !s->plain)
        return dw_fail(err, DW_E_INPUT, "%s (--plain asks without the template)",
                       s->model.chat_why);
    t.stream = dw_tok_stream_create(t.tokenizer, true);
    const struct sigaction catch = {.sa_handler = on_interrupt};
    struct sigaction before;
    char *line = NULL;
    size_t cap = 0;
    dw_status st = DW_OK;
    sigaction(SIGINT, &catch, &before);
    for (;;) {
        interrupted = 0;
        fputs("> ", stdout);
        fflush(stdout);
        ssize_t n = getline(&line, &cap, stdin);
        if (n < 0)
            break;
        if (n > 0 && line[n - 1] == '\n')
            n--;
        if (n == 0)
            continue;
        st = answer(s, &t, line, (size_t)n, err);
        if (st == DW_E_SIGINT)
            st = DW_OK;
        else if (st == DW_E_INPUT) /* a line that is too long or not UTF-8 */
            fprintf(stderr, "dowel: %s\n", err->text);
        else if (st < 0)
            break;
    }
    fputc('\n', stdout);
    st = interrupted ? DW_E_SIGINT : st == DW_E_INPUT ? DW_OK : st;
    if (st == DW_OK || st == DW_E_SIGINT)
        err->text[0] = '\0';
    sigaction(SIGINT, &before, NULL);
    free(line); /* getline's own */
    dw_tok_stream_free(t.stream);
    dw_buf_finish(&t.shown);
    dw_buf_finish(&t.talk);
    return st;
}

/* A chat stops where the template ends a turn, whatever generation_config.json says. */
static void find_stops(settings *s)
{
    const int32_t *stop;
    size_t n = dw_model_stops(s->model.m, &stop);
    int32_t end = -1;
    dw_err no; /* a template that refuses the plainest conversation has no known end */
    if (s->model.chat &&
        dw_talk_turn_end(s->model.chat, dw_model_tokenizer(s->model.m), &end, &no) < 0)
        end = -1;
    s->end = dw_alloc((n + 1) * sizeof *s->end);
    if (n)
        memcpy(s->end, stop, n * sizeof *stop);
    if (end >= 0)
        s->end[n++] = end;
    s->sampling.stop = s->end;
    s->sampling.n_stop = n;
}

static dw_status run(settings *s, const char *dir, const char *file, bool skip, dw_err *err)
{
    DW_TRY(dw_cli_model_open(&s->model, dir, err));
    find_stops(s);
    dw_status st = dw_generator_create(s->model.m, &s->generator, err);
    if (st == DW_OK)
        st = file ? dw_cli_rows_run(file, skip, BATCH_ROWS, generate_rows, s, err)
                  : converse(s, err);
    dw_generator_destroy(s->generator);
    dw_cli_model_close(&s->model);
    dw_free(s->end);
    return st;
}

dw_status dw_cmd_generate(int argc, char **argv, dw_err *err)
{
    settings s = {.sampling = {.temperature = 1, .top_p = 1}};
    const char *on_bad = "error", *word[2] = {NULL, NULL};
    int64_t max_new = 64, top_k = 0, samples = 1, seed = 0;
    dw_arg_list stop = {0};
    bool help, skip = false;
    const dw_arg arg[] = {
        {"--greedy", DW_ARG_FLAG, &s.sampling.greedy, 0, 0, NULL,
         "always the most probable token; log-probabilities at temperature 1"},
        {"--max-new-tokens", DW_ARG_INT, &max_new, 1, INT32_MAX, "N", "default 64"},
        {"--temperature", DW_ARG_NUM, &s.sampling.temperature, 1e-3, 1e3, "T", "default 1"},
        {"--top-k", DW_ARG_INT, &top_k, 0, INT32_MAX, "K", "default 0: off"},
        {"--top-p", DW_ARG_NUM, &s.sampling.top_p, 1e-9, 1, "P", "default 1: off"},
        {"--min-p", DW_ARG_NUM, &s.sampling.min_p, 0, 1, "P", "default 0: off"},
        {"--stop", DW_ARG_LIST, &stop, 0, 0, "TEXT", "end when the answer holds it; repeatable"},
        {"--samples", DW_ARG_INT, &samples, 1, 4096, "N", "answers per row, a line each"},
        {"--seed", DW_ARG_INT, &seed, 0, 9007199254740992, "N", "default 0"},
        {"--plain", DW_ARG_FLAG, &s.plain, 0, 0, NULL,
         "on a terminal: go on with what is typed, without the chat template"},
        {"--no-special", DW_ARG_FLAG, &s.model.no_special, 0, 0, NULL,
         "add no special tokens to texts"},
        {"--parse-special", DW_ARG_FLAG, &s.model.parse_special, 0, 0, NULL,
         "special tokens written in a text become their ids"},
        {"--on-bad-row", DW_ARG_STR, &on_bad, 0, 0, "error|skip",
         "stop at a bad row (default), or write {\"error\"} and go on"},
        {"--threads", DW_ARG_INT, &s.model.threads, 0, 1024, "N", "0, the default: one per CPU"},
        {"--kernel", DW_ARG_STR, &s.model.kernel, 0, 0, "K", "auto (default), plain, avx2, avx512"},
        {"--storage", DW_ARG_STR, &s.model.storage, 0, 0, "TYPE",
         "of frozen weights in memory: source (default; bf16 stays bf16), float32, bfloat16"},
    };
    dw_status st = dw_args_parse(argc, argv, "dowel generate MODEL [FILE]", arg,
                                 sizeof arg / sizeof *arg, word, 1, 2, &help, err);
    if (st == DW_OK && !help)
        st = dw_cli_on_bad(on_bad, &skip, err);
    if (st == DW_OK && !help && !word[1] && !isatty(STDIN_FILENO))
        st = dw_fail(err, DW_E_USAGE,
                     "generate: FILE is missing, and standard input is not a terminal to ask on: "
                     "give a file of rows, or - for standard input");
    if (st == DW_OK && !help) {
        s.sampling.max_new = (uint32_t)max_new;
        s.sampling.top_k = (uint32_t)top_k;
        s.sampling.seed = (uint64_t)seed;
        s.sampling.stop_string = stop.item;
        s.sampling.n_stop_string = stop.n;
        s.samples = (uint32_t)samples;
        st = run(&s, word[0], word[1], skip, err);
    }
    dw_free(stop.item);
    return st;
}
