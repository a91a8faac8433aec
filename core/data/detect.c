/* Detects types of data as TRL tells them apart, and layouts by their names. */
#include "data/detect.h"

#include <string.h>

#include "data/talk.h"

const char *dw_kind_name(dw_kind k)
{
    static const char *const name[DW_N_KIND] = {
        "language modeling",
        "prompt-only",
        "prompt-completion",
        "preference",
        "preference (implicit prompt)",
        "unpaired preference",
        "stepwise supervision",
        "ranked completions",
    };
    return name[k];
}

dw_data_type dw_kind_type(dw_kind k)
{
    static const dw_data_type type[DW_N_KIND] = {DW_TEXTS, DW_PROMPTS, DW_COMPLETIONS, DW_PAIRS,
                                                 DW_PAIRS, DW_LABELS,  DW_STEPS,       DW_LISTS};
    return type[k];
}

/* The richest type first: what a row has beside it does not matter. */
static const struct detect_rule {
    dw_kind kind;
    dw_row_layout layout;
    const char *column[4];
} rule[] = {
    {DW_KIND_STEPWISE, DW_ROWS_NONE, {"prompt", "completions", "labels"}},
    {DW_KIND_STEPWISE, DW_ROWS_NONE, {"prompt", "steps", "labels"}},
    {DW_KIND_RANKED, DW_ROWS_NONE, {"prompt", "completions", "ranks"}},
    {DW_KIND_RANKED, DW_ROWS_NONE, {"prompt", "completions", "scores"}},
    {DW_KIND_PREFERENCE, DW_ROWS_NONE, {"prompt", "chosen", "rejected"}},
    {DW_KIND_PREFERENCE, DW_ROWS_SHAREGPT, {"conversations", "chosen", "rejected"}},
    {DW_KIND_PREFERENCE, DW_ROWS_ALPACA, {"instruction", "chosen", "rejected"}},
    {DW_KIND_PREFERENCE_IMPLICIT, DW_ROWS_NONE, {"chosen", "rejected"}},
    {DW_KIND_UNPAIRED, DW_ROWS_NONE, {"prompt", "completion", "label"}},
    {DW_KIND_UNPAIRED, DW_ROWS_NONE, {"prompt", "completion", "kto_tag"}},
    {DW_KIND_UNPAIRED, DW_ROWS_NONE, {"messages", "label"}},
    {DW_KIND_UNPAIRED, DW_ROWS_NONE, {"messages", "kto_tag"}},
    {DW_KIND_UNPAIRED, DW_ROWS_SHAREGPT, {"conversations", "label"}},
    {DW_KIND_UNPAIRED, DW_ROWS_SHAREGPT, {"conversations", "kto_tag"}},
    {DW_KIND_UNPAIRED, DW_ROWS_ALPACA, {"instruction", "output", "kto_tag"}},
    {DW_KIND_PROMPT_COMPLETION, DW_ROWS_NONE, {"prompt", "completion"}},
    {DW_KIND_PROMPT_COMPLETION, DW_ROWS_ALPACA, {"instruction", "output"}},
    {DW_KIND_LANGUAGE_MODELING, DW_ROWS_NONE, {"messages"}},
    {DW_KIND_LANGUAGE_MODELING, DW_ROWS_SHAREGPT, {"conversations"}},
    {DW_KIND_LANGUAGE_MODELING, DW_ROWS_NONE, {"text"}},
    {DW_KIND_PROMPT_ONLY, DW_ROWS_NONE, {"prompt"}},
};

static bool has(const dw_json *row, const char *column)
{
    const dw_json *v = dw_json_get(row, column);
    return v && dw_json_kind(v) != DW_JSON_NULL;
}

/* Beside a conversation a "label" may be anything; it is a judgement where it is true or false. */
static bool judges(const dw_json *row, const struct detect_rule *r)
{
    size_t last = 0;
    if (!r->column[0])
        return false;
    while (last + 1 < 4 && r->column[last + 1])
        last++;
    return !strcmp(r->column[0], "prompt") ||
           dw_json_kind(dw_json_get(row, r->column[last])) == DW_JSON_BOOL;
}

bool dw_detect_whole(const dw_detected *d)
{
    return dw_kind_type(d->kind) != DW_TEXTS && !d->layout && !strcmp(d->column[0], "messages");
}

bool dw_detect(const dw_json *row, dw_detected *out)
{
    const dw_data_spec plain = {0};
    for (size_t i = 0; i < sizeof rule / sizeof *rule; i++) {
        size_t n = 0;
        bool talk = false;
        while (n < 4 && rule[i].column[n] && has(row, rule[i].column[n])) {
            talk |= dw_talk_is(&plain, dw_json_get(row, rule[i].column[n]));
            n++;
        }
        if (n < 4 && rule[i].column[n])
            continue;
        if (rule[i].kind == DW_KIND_UNPAIRED && !judges(row, &rule[i]))
            continue;
        *out = (dw_detected){.kind = rule[i].kind, .layout = rule[i].layout, .n = n};
        memcpy(out->column, rule[i].column, sizeof out->column);
        out->conversational = talk || rule[i].layout != DW_ROWS_NONE;
        return true;
    }
    return false;
}

/* ---- other names ---- */

static const char *find(const dw_json *row, const char *const *name)
{
    for (; *name; name++)
        if (has(row, *name))
            return *name;
    return NULL;
}

bool dw_detect_mapping(const dw_json *row, const char *file, dw_buf *out)
{
    static const char *const asks[] = {"prompt", "question", "instruction", "query",    "problem",
                                       "input",  "context",  "user",        "Question", NULL};
    static const char *const says[] = {"completion", "answer", "response",  "output", "solution",
                                       "target",     "reply",  "assistant", "Answer", NULL};
    static const char *const better[] = {"chosen", "preferred", "accepted", "response_chosen",
                                         "good",   "winner",    "j",        NULL};
    static const char *const worse[] = {"rejected", "dispreferred", "refused", "response_rejected",
                                        "bad",      "loser",        "k",       NULL};
    static const char *const whole[] = {"text", "content", "document", "body", "story", NULL};
    const char *a = find(row, asks), *s = find(row, says), *b = find(row, better),
               *w = find(row, worse), *t = find(row, whole);
    if (b && w)
        dw_buf_printf(out, "d.pairs { \"%s\"%s%s%s, chosen = \"%s\", rejected = \"%s\" }", file,
                      a ? ", prompt = \"" : "", a ? a : "", a ? "\"" : "", b, w);
    else if (a && s)
        dw_buf_printf(out, "d.completions { \"%s\", prompt = \"%s\", completion = \"%s\" }", file,
                      a, s);
    else if (t)
        dw_buf_printf(out, "d.texts { \"%s\", text = \"%s\" }", file, t);
    else if (a)
        dw_buf_printf(out, "d.prompts { \"%s\", prompt = \"%s\" }", file, a);
    return out->len > 0;
}

/* ---- the wrong type ---- */

static bool is_column(dw_data_type t, const char *name)
{
    for (int c = 0; c < DW_COL_GOLD; c++)
        if (dw_data_has(t, (dw_data_column)c) &&
            !strcmp(dw_data_column_name((dw_data_column)c), name))
            return true;
    return false;
}

void dw_detect_hint(const dw_json *row, const dw_data_spec *s, bool misspelt, dw_buf *out)
{
    dw_detected d;
    if (!dw_detect(row, &d)) {
        const char *file = s->n_file ? s->file[0] : "", *slash = strrchr(file, '/');
        dw_buf line = {0};
        if (!s->layout && !misspelt && dw_detect_mapping(row, slash ? slash + 1 : file, &line))
            dw_buf_printf(out, "; a recipe could say %s", line.ptr);
        dw_buf_finish(&line);
        return;
    }
    const dw_data_type type = dw_kind_type(d.kind);
    const bool other = type != s->type, laid = d.layout && d.layout != s->layout;
    if (!other && !laid)
        return;
    bool foreign = laid; /* a row of the type that merely lacks a field looks like a lesser one */
    for (size_t i = 0; i < d.n && !foreign; i++)
        foreign = !is_column(s->type, d.column[i]);
    if (!foreign)
        return;
    dw_buf_printf(out, "; this looks like %s (", dw_data_type_name(type));
    for (size_t i = 0; i < d.n; i++)
        dw_buf_printf(out, "%s%s", i ? ", " : "", d.column[i]);
    dw_buf_printf(out, ")%s%s%s", laid ? " of layout = \"" : "",
                  !laid                          ? ""
                  : d.layout == DW_ROWS_SHAREGPT ? "sharegpt"
                                                 : "alpaca",
                  laid ? "\"" : "");
    if (other)
        dw_buf_printf(out, ", not %s", dw_data_type_name(s->type));
}
