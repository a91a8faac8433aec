/* dowel data check: what a file of rows is, what is wrong with it, and what would be trained on. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "data/folder.h"
#include "data/survey.h"
#include "model/model.h"
#include "plug/plug.h"
#include "train/feeds.h"

enum { BAD_SHOWN = 20, MAX_TOKENS = 1 << 22 };

typedef struct settings {
    dw_survey_spec s;
    dw_survey v;
    dw_tokenizer *t;
    dw_chat *chat;
    const char *type, *model;
    dw_arg_list columns; /* "prompt=question" */
    int64_t max_tokens;  /* 0: what the model has positions for */
    bool json;
    dw_buf takers; /* objectives, with commas */
    dw_buf out;
    dw_arena keep;
} settings;

static const struct {
    const char *key, *what; /* "%s" of a row and of the earlier one */
} finding[DW_N_FOUND] = {
    [DW_FOUND_EMPTY] = {"empty_answers", "with an empty answer"},
    [DW_FOUND_IDENTICAL] = {"identical_pairs", "with chosen equal to rejected"},
    [DW_FOUND_DUPLICATE] = {"duplicates", "repeating an earlier one"},
    [DW_FOUND_CONTRARY] = {"contradictions", "contradicting an earlier one"},
    [DW_FOUND_OVERLAP] = {"overlap", "that the other file also holds"},
    [DW_FOUND_SAME_PROMPT] = {"same_prompts", "with a prompt that the other file also holds"},
    [DW_FOUND_TOO_LONG] = {"too_long", "longer than"},
};

static bool is_earlier(int k)
{
    return k == DW_FOUND_DUPLICATE || k == DW_FOUND_CONTRARY || k == DW_FOUND_OVERLAP ||
           k == DW_FOUND_SAME_PROMPT;
}

static const char *file_of(const settings *s, dw_seen_place p)
{
    return p.file ? s->s.against : s->s.file;
}

/* ---- who takes it ---- */

/* Plugins that cannot be found take nothing: the rest of the report does not need them. */
static void ask_takers(settings *s)
{
    dw_registry *reg = NULL;
    dw_err no;
    if (dw_registry_create(NULL, 0, &reg, &no) < 0 || dw_registry_load_all(reg, &no) < 0) {
        dw_registry_destroy(reg);
        return;
    }
    for (size_t i = 0; i < dw_registry_count(reg); i++) {
        const dw_plugin_info *p = dw_registry_at(reg, i);
        if (p->objective.feeds_on & dw_feed_of(s->v.type))
            dw_buf_printf(&s->takers, "%s%s", s->takers.len ? ", " : "", p->plugin.id);
    }
    dw_registry_destroy(reg);
}

/* ---- for people ---- */

static uint32_t quantile(const dw_survey *v, double q)
{
    return v->length[(size_t)(q * (double)(v->n_length - 1) + 0.5)];
}

static void print_type(settings *s)
{
    const dw_survey *v = &s->v;
    dw_buf *b = &s->out;
    if (!v->known) {
        dw_buf_printf(b, "type       unknown: the first row has %s\n",
                      v->columns.len ? v->columns.ptr : "no columns");
        if (v->mapping.len)
            dw_buf_printf(b, "           a recipe could say: data = %s\n", v->mapping.ptr);
        return;
    }
    if (s->s.type >= 0)
        dw_buf_printf(b, "type       %s, as --type says\n", dw_data_type_name(v->type));
    else
        dw_buf_printf(b, "type       %s, %s", dw_kind_name(v->detected.kind),
                      v->detected.conversational ? "conversational" : "standard");
    for (size_t i = 0; s->s.type < 0 && i < v->detected.n; i++)
        dw_buf_printf(b, "%s\"%s\"", i ? ", " : ": it has ", v->detected.column[i]);
    if (s->s.type < 0 && v->mapping.len)
        dw_buf_printf(b, "\nrecipe     data = %s\n", v->mapping.ptr);
    else if (s->s.type < 0)
        dw_buf_printf(b, "\nrecipe     data = d.%s { \"%s\"%s }\n", dw_data_type_name(v->type),
                      s->s.file,
                      v->detected.layout == DW_ROWS_SHAREGPT ? ", layout = \"sharegpt\""
                      : v->detected.layout == DW_ROWS_ALPACA ? ", layout = \"alpaca\""
                      : dw_detect_whole(&v->detected)        ? ", messages = \"messages\""
                                                             : "");
    if (s->takers.len)
        dw_buf_printf(b, "objectives %s\n", s->takers.ptr);
}

static void print_findings(settings *s)
{
    const dw_survey *v = &s->v;
    for (int k = 0; k < DW_N_FOUND; k++) {
        const dw_finding *f = &v->found[k];
        if (!f->n)
            continue;
        dw_buf_printf(&s->out, "found      %llu row%s %s", (unsigned long long)f->n,
                      f->n == 1 ? "" : "s", finding[k].what);
        if (k == DW_FOUND_TOO_LONG)
            dw_buf_printf(&s->out, s->max_tokens ? " %u tokens" : " the model's %u positions",
                          s->s.data.max_tokens);
        dw_buf_addc(&s->out, ':');
        for (size_t i = 0; i < f->n && i < sizeof f->at / sizeof *f->at; i++) {
            dw_buf_printf(&s->out, "%s %s:%u", i ? "," : "", file_of(s, f->at[i]), f->at[i].line);
            if (is_earlier(k))
                dw_buf_printf(&s->out, " (%s:%u)", file_of(s, f->first[i]), f->first[i].line);
        }
        dw_buf_adds(&s->out, f->n > sizeof f->at / sizeof *f->at ? ", ...\n" : "\n");
    }
}

/* Tokens side by side, the trained ones in brackets; of a long row both its ends. */
static void print_shown(settings *s)
{
    enum { HEAD = 300, TAIL = 200 };
    const dw_survey *v = &s->v;
    dw_err no;
    if (!v->shown.n)
        return;
    dw_buf_printf(&s->out, "tokens     of %s:%u, [trained on] in brackets\n          ",
                  file_of(s, v->shown_at), v->shown_at.line);
    for (size_t i = 0; i < v->shown.n; i++) {
        dw_buf token = {0}, text = {0};
        if (i == HEAD && v->shown.n > HEAD + TAIL) {
            i = v->shown.n - TAIL;
            dw_buf_printf(&s->out, "\n           (%zu more)\n          ", i - HEAD);
        }
        (void)dw_tokenizer_decode(s->t, &v->shown.id[i], 1, false, &token, &no);
        dw_json_put_str(&text, token.ptr ? token.ptr : "", token.len);
        bool on = v->shown_mask.ptr[i];
        dw_buf_printf(&s->out, " %s%.*s%s", on ? "[" : "", (int)text.len - 2, text.ptr + 1,
                      on ? "]" : "");
        dw_buf_finish(&token);
        dw_buf_finish(&text);
    }
    dw_buf_addc(&s->out, '\n');
}

static void print_bad(settings *s)
{
    const char *p = s->v.bad_list.ptr;
    for (uint64_t i = 0; i < s->v.bad; i++) {
        const char *nl = strchr(p, '\n');
        if (i == BAD_SHOWN) {
            dw_buf_printf(&s->out, "bad        and %llu more (--json lists them all)\n",
                          (unsigned long long)(s->v.bad - i));
            break;
        }
        dw_buf_printf(&s->out, "bad        %.*s\n", (int)(nl - p), p);
        p = nl + 1;
    }
}

static void print_text(settings *s)
{
    const dw_survey *v = &s->v;
    dw_buf *b = &s->out;
    print_type(s);
    dw_buf_printf(b, "rows       %llu, %llu bad\n", (unsigned long long)v->rows,
                  (unsigned long long)v->bad);
    if (v->other_columns)
        dw_buf_printf(b, "found      %llu row%s whose columns say another type\n",
                      (unsigned long long)v->other_columns, v->other_columns == 1 ? "" : "s");
    if (v->type == DW_LABELS && v->known)
        dw_buf_printf(b, "labels     %llu good, %llu bad\n", (unsigned long long)v->good_labels,
                      (unsigned long long)v->bad_labels);
    if (v->n_length)
        dw_buf_printf(b, "lengths    min %u, median %u, p95 %u, max %u tokens\n", v->length[0],
                      quantile(v, 0.5), quantile(v, 0.95), v->length[v->n_length - 1]);
    if (v->conversational && !s->chat)
        dw_buf_adds(b, "messages   lengths and masks want a model with a chat template: --model\n");
    print_findings(s);
    print_shown(s);
    print_bad(s);
}

/* ---- for machines ---- */

static void put_place(dw_buf *b, const settings *s, dw_seen_place p)
{
    dw_json_put_cstr(b, file_of(s, p));
    dw_buf_printf(b, ", \"line\": %u", p.line);
}

static void json_type(settings *s)
{
    const dw_survey *v = &s->v;
    dw_buf *b = &s->out;
    dw_buf_adds(b, "{\"file\": ");
    dw_json_put_cstr(b, s->s.file);
    dw_buf_adds(b, ", \"type\": ");
    dw_json_put_cstr(b, !v->known        ? "unknown"
                        : s->s.type >= 0 ? dw_data_type_name(v->type)
                                         : dw_kind_name(v->detected.kind));
    dw_buf_adds(b, ", \"data\": ");
    dw_json_put_cstr(b, v->known ? dw_data_type_name(v->type) : "");
    dw_buf_printf(b, ", \"conversational\": %s, \"columns\": [",
                  v->conversational || v->detected.conversational ? "true" : "false");
    for (size_t i = 0; i < v->detected.n; i++) {
        dw_buf_adds(b, i ? ", " : "");
        dw_json_put_cstr(b, v->detected.column[i]);
    }
    dw_buf_adds(b, "], \"mapping\": ");
    dw_json_put_cstr(b, v->mapping.len ? v->mapping.ptr : "");
    dw_buf_adds(b, ", \"objectives\": ");
    dw_json_put_cstr(b, s->takers.len ? s->takers.ptr : "");
    dw_buf_printf(b, ", \"max_tokens\": %u, \"rows\": %llu, \"bad\": [", s->s.data.max_tokens,
                  (unsigned long long)v->rows);
}

static void json_findings(settings *s)
{
    dw_buf *b = &s->out;
    for (int k = 0; k < DW_N_FOUND; k++) {
        const dw_finding *f = &s->v.found[k];
        dw_buf_printf(b, ", \"%s\": {\"rows\": %llu, \"examples\": [", finding[k].key,
                      (unsigned long long)f->n);
        for (size_t i = 0; i < f->n && i < sizeof f->at / sizeof *f->at; i++) {
            dw_buf_adds(b, i ? ", {\"file\": " : "{\"file\": ");
            put_place(b, s, f->at[i]);
            if (is_earlier(k)) {
                dw_buf_adds(b, ", \"earlier\": {\"file\": ");
                put_place(b, s, f->first[i]);
                dw_buf_addc(b, '}');
            }
            dw_buf_addc(b, '}');
        }
        dw_buf_adds(b, "]}");
    }
}

static void print_json(settings *s)
{
    const dw_survey *v = &s->v;
    dw_buf *b = &s->out;
    json_type(s);
    const char *p = v->bad_list.ptr;
    for (uint64_t i = 0; i < v->bad; i++) {
        const char *nl = strchr(p, '\n');
        dw_buf_adds(b, i ? ", " : "");
        dw_json_put_str(b, p, (size_t)(nl - p));
        p = nl + 1;
    }
    dw_buf_addc(b, ']');
    if (v->type == DW_LABELS && v->known)
        dw_buf_printf(b, ", \"labels\": {\"good\": %llu, \"bad\": %llu}",
                      (unsigned long long)v->good_labels, (unsigned long long)v->bad_labels);
    if (v->n_length)
        dw_buf_printf(b, ", \"tokens\": {\"min\": %u, \"median\": %u, \"p95\": %u, \"max\": %u}",
                      v->length[0], quantile(v, 0.5), quantile(v, 0.95),
                      v->length[v->n_length - 1]);
    json_findings(s);
    dw_buf_printf(b, ", \"other_columns\": %llu", (unsigned long long)v->other_columns);
    if (v->shown.n) {
        dw_buf_adds(b, ", \"shown\": {\"file\": ");
        put_place(b, s, v->shown_at);
        dw_buf_adds(b, ", \"ids\": [");
        for (size_t i = 0; i < v->shown.n; i++)
            dw_buf_printf(b, "%s%d", i ? ", " : "", v->shown.id[i]);
        dw_buf_adds(b, "], \"mask\": [");
        for (size_t i = 0; i < v->shown.n; i++)
            dw_buf_printf(b, "%s%d", i ? ", " : "", v->shown_mask.ptr[i]);
        dw_buf_adds(b, "]}");
    }
    dw_buf_adds(b, "}\n");
}

/* ---- the command ---- */

static dw_status read_type(settings *s, dw_err *err)
{
    const char *name[DW_N_DATA_TYPE + 1] = {NULL};
    s->s.type = -1;
    for (int t = 0; t < DW_N_DATA_TYPE; t++) {
        name[t] = dw_data_type_name((dw_data_type)t);
        if (s->type && !strcmp(name[t], s->type))
            s->s.type = t;
    }
    if (!s->type || s->s.type >= 0)
        return DW_OK;
    const char *near = dw_nearest(s->type, name);
    return dw_fail(err, DW_E_USAGE,
                   "--type: '%s' is no type of data%s%s%s (texts, completions, "
                   "pairs, prompts, labels, steps or lists)",
                   s->type, near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* "prompt=question" or "prompt={Body} {Question}". */
static dw_status read_column(settings *s, const char *word, dw_err *err)
{
    const char *is = strchr(word, '=');
    for (int c = 0; is && is[1] && c < DW_N_DATA_COLUMN; c++) {
        const char *name = dw_data_column_name((dw_data_column)c);
        if (strlen(name) != (size_t)(is - word) || strncmp(name, word, strlen(name)) != 0)
            continue;
        dw_column *to = &s->s.data.column[c];
        *to = (dw_column){0};
        *(strchr(is, '{') ? &to->format : &to->field) = is + 1;
        return DW_OK;
    }
    return dw_fail(err, DW_E_USAGE,
                   "--column: '%s': wanted NAME=FIELD or NAME=FORMAT, as in "
                   "prompt=question",
                   word);
}

/* A folder may hold a tokenizer alone: then nothing is too long. */
static uint32_t positions_of(const char *dir)
{
    const dw_model_options o = {.no_tokenizer = true};
    dw_err no;
    dw_exec x;
    dw_model *m = NULL;
    uint32_t n = 0;
    if (dw_exec_init(&x, 1, NULL, &no) < 0)
        return 0;
    if (dw_model_outline(&x, dir, &o, &m, &no) >= 0)
        n = dw_model_description(m)->max_positions;
    dw_model_free(m);
    dw_exec_finish(&x);
    return n;
}

static dw_status check(settings *s, dw_err *err)
{
    DW_TRY(read_type(s, err));
    for (size_t i = 0; i < s->columns.n; i++)
        DW_TRY(read_column(s, s->columns.item[i], err));
    if (s->model) {
        DW_TRY(dw_model_words(s->model, &s->t, err));
        DW_TRY(dw_model_words_chat(s->model, s->t, &s->chat, err));
    }
    s->s.tokenizer = s->t;
    s->s.data.chat = s->chat;
    s->s.data.add_bos = true;
    s->s.data.max_tokens = (uint32_t)s->max_tokens;
    if (s->model && !s->max_tokens)
        s->s.data.max_tokens = positions_of(s->model);
    DW_TRY(dw_folder_file(&s->keep, s->s.file, "train", &s->s.file, err));
    if (s->s.against)
        DW_TRY(dw_folder_file(&s->keep, s->s.against, "valid", &s->s.against, err));
    DW_TRY(dw_survey_run(&s->s, &s->v, err));
    if (s->v.known)
        ask_takers(s);
    if (s->json)
        print_json(s);
    else
        print_text(s);
    if (fwrite(s->out.ptr, 1, s->out.len, stdout) != s->out.len || fflush(stdout))
        return dw_fail(err, DW_E_IO, "standard output: cannot be written");
    if (s->v.bad)
        return dw_fail(err, DW_E_INPUT, "%s: %llu bad row%s", s->s.file,
                       (unsigned long long)s->v.bad, s->v.bad == 1 ? "" : "s");
    if (!s->v.rows)
        return dw_fail(err, DW_E_INPUT, "%s: no rows", s->s.file);
    return s->v.known ? DW_OK
                      : dw_fail(err, DW_E_INPUT, "%s: no type of data has these columns: %s",
                                s->s.file, s->v.columns.ptr);
}

dw_status dw_cmd_data(int argc, char **argv, dw_err *err)
{
    settings s = {0};
    const char *word[2];
    bool help;
    const dw_arg arg[] = {
        {"--model", DW_ARG_STR, &s.model, 0, 0, "MODEL", "count tokens, and show a row as tokens"},
        {"--type", DW_ARG_STR, &s.type, 0, 0, "TYPE",
         "texts, completions, pairs, prompts, labels, steps or lists (default: by the columns)"},
        {"--column", DW_ARG_LIST, &s.columns, 0, 0, "NAME=FIELD",
         "where a column comes from: a field or a format (may be repeated)"},
        {"--max-tokens", DW_ARG_INT, &s.max_tokens, 1, MAX_TOKENS, "N",
         "count rows that are longer (default: the positions of --model)"},
        {"--against", DW_ARG_STR, &s.s.against, 0, 0, "FILE", "find rows that FILE holds, too"},
        {"--json", DW_ARG_FLAG, &s.json, 0, 0, NULL, "print JSON"},
    };
    DW_TRY(dw_args_parse(argc, argv, "dowel data check FILE", arg, sizeof arg / sizeof *arg, word,
                         2, 2, &help, err));
    if (help)
        return DW_OK;
    if (strcmp(word[0], "check") != 0)
        return dw_fail(err, DW_E_USAGE, "data: unknown subcommand '%s' (dowel data check FILE)",
                       word[0]);
    s.s.file = word[1];
    if (!strcmp(s.s.file, "-"))
        return dw_fail(err, DW_E_USAGE, "data check: wanted a file; it is read twice");
    dw_status st = check(&s, err);
    dw_survey_finish(&s.v);
    dw_arena_finish(&s.keep);
    dw_chat_free(s.chat);
    dw_tokenizer_free(s.t);
    dw_buf_finish(&s.takers);
    dw_buf_finish(&s.out);
    dw_free(s.columns.item);
    return st;
}
