/* Reads the texts of one row: prompt, answers, steps. */
#include "data/row.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "data/detect.h"
#include "data/split.h"
#include "data/talk.h"

/* ---- which type has which columns ---- */

const char *dw_data_type_name(dw_data_type t)
{
    static const char *const name[DW_N_DATA_TYPE] = {"texts",  "completions", "pairs", "prompts",
                                                     "labels", "steps",       "lists"};
    return name[t];
}

#define TYPE(t) (1u << (t))
static const struct {
    const char *name;
    uint32_t types;
} column_info[DW_N_DATA_COLUMN] = {
    [DW_COL_TEXT] = {"text", TYPE(DW_TEXTS)},
    [DW_COL_PROMPT] = {"prompt", ~TYPE(DW_TEXTS)},
    [DW_COL_COMPLETION] = {"completion", TYPE(DW_COMPLETIONS) | TYPE(DW_LABELS)},
    [DW_COL_CHOSEN] = {"chosen", TYPE(DW_PAIRS)},
    [DW_COL_REJECTED] = {"rejected", TYPE(DW_PAIRS)},
    [DW_COL_STEPS] = {"steps", TYPE(DW_STEPS)},
    [DW_COL_COMPLETIONS] = {"completions", TYPE(DW_LISTS)},
    [DW_COL_LABEL] = {"label", TYPE(DW_LABELS)},
    [DW_COL_LABELS] = {"labels", TYPE(DW_STEPS)},
    [DW_COL_RANKS] = {"ranks", TYPE(DW_LISTS)},
    [DW_COL_SCORES] = {"scores", TYPE(DW_LISTS)},
    [DW_COL_GOLD] = {"gold", TYPE(DW_PAIRS)},
    [DW_COL_TEACHER_PROMPT] = {"teacher_prompt", TYPE(DW_COMPLETIONS) | TYPE(DW_PROMPTS)},
    [DW_COL_TARGET] = {"target", TYPE(DW_PAIRS)},
    [DW_COL_MARGIN] = {"margin", TYPE(DW_PAIRS)},
    [DW_COL_WEIGHT] = {"weight", ~0u},
    [DW_COL_MESSAGES] = {"messages", ~0u},
    [DW_COL_TOOLS] = {"tools", ~0u},
    [DW_COL_DOCUMENTS] = {"documents", ~0u},
    [DW_COL_VARIABLES] = {"variables", ~0u},
    [DW_COL_SYSTEM] = {"system", ~0u},
    [DW_COL_INSTRUCTION] = {"instruction", ~0u},
    [DW_COL_INPUT] = {"input", ~0u},
    [DW_COL_OUTPUT] = {"output", ~0u},
    [DW_COL_HISTORY] = {"history", ~0u},
};
#undef TYPE

const char *dw_data_column_name(dw_data_column c)
{
    return column_info[c].name;
}

bool dw_data_has(dw_data_type t, dw_data_column c)
{
    return column_info[c].types >> t & 1;
}

bool dw_data_needs(dw_data_type t, dw_data_column c)
{
    bool either = (t == DW_PAIRS && c == DW_COL_PROMPT) || c == DW_COL_STEPS || c == DW_COL_RANKS ||
                  c == DW_COL_SCORES;
    return dw_data_has(t, c) && c < DW_COL_GOLD && !either;
}

bool dw_data_is_text(dw_data_column c)
{
    return c <= DW_COL_REJECTED || c == DW_COL_GOLD || c == DW_COL_TEACHER_PROMPT ||
           (c >= DW_COL_SYSTEM && c <= DW_COL_OUTPUT);
}

/* The field that is read where the recipe names none: the column's name, but TRL's for variables.
 */
static const char *default_field(dw_data_column c)
{
    return c == DW_COL_VARIABLES ? "chat_template_kwargs" : column_info[c].name;
}

bool dw_row_is_default(const dw_row_reader *r, dw_data_column c)
{
    const char *field = r->s->column[c].field;
    return !dw_column_is_set(&r->s->column[c]) || (field && !strcmp(field, default_field(c)));
}

/* ---- the reader ---- */

dw_status dw_row_reader_open(dw_row_reader *r, dw_err *err)
{
    const dw_data_spec *s = r->s;
    r->turn_end = -1;
    if (r->t)
        r->before = dw_tokenizer_before(r->t, &r->n_before);
    for (int c = 0; c < DW_N_DATA_COLUMN; c++)
        if (dw_data_has(s->type, (dw_data_column)c))
            DW_TRY(dw_column_compile(&r->keep, &s->column[c], default_field((dw_data_column)c),
                                     &r->column[c], err));
    r->field = dw_arena_alloc(&r->keep, (s->n_field + 1) * sizeof *r->field);
    for (size_t i = 0; i < s->n_field; i++) {
        dw_column c = {.field = s->field[i]};
        DW_TRY(dw_column_compile(&r->keep, &c, s->field[i], &r->field[i], err));
    }
    if (s->type == DW_STEPS && r->t) {
        const char *sep = s->separator ? s->separator : "\n";
        DW_TRY(dw_tokenizer_encode(r->t, (dw_text){sep, strlen(sep)}, DW_TOK_PARSE_SPECIAL,
                                   &r->separator, err));
    }
    if (s->add_eos && s->type != DW_PROMPTS && dw_tokenizer_eos(r->t) < 0)
        return dw_fail(err, DW_E_RECIPE,
                       "completions should end in the tokenizer's eos token, and it names none "
                       "(set eos_token in tokenizer_config.json, or turn add_eos off)");
    return DW_OK;
}

static void release(dw_row_reader *r)
{
    for (size_t i = 0; i < r->n_own; i++)
        dw_json_free(r->own[i]);
    r->n_own = 0;
}

void dw_row_reader_close(dw_row_reader *r)
{
    release(r);
    dw_free(r->own);
    dw_buf_finish(&r->mask);
    dw_chat_out_finish(&r->out);
    dw_chat_out_finish(&r->rest);
    dw_chat_out_finish(&r->full);
    dw_arena_finish(&r->keep);
    dw_arena_finish(&r->scratch);
    dw_ids_finish(&r->separator);
    dw_ids_finish(&r->ids);
}

/* ---- texts ---- */

static dw_status text_of(dw_row_reader *r, const dw_column_row *row, dw_data_column c,
                         dw_column_text *out, size_t *at, dw_err *err)
{
    return dw_column_apply(&r->scratch, &r->column[c], row, out, at, err);
}

/* A list of texts; `what` names one of them. */
static dw_status texts_of(dw_row_reader *r, const dw_column_row *row, dw_data_column c,
                          const char *what, dw_column_text **out, size_t *n, size_t *at,
                          dw_err *err)
{
    dw_arena *a = &r->scratch;
    const dw_json *v;
    dw_json *own;
    DW_TRY(dw_column_json(a, &r->column[c], row, &v, &own, at, err));
    dw_status st = DW_OK;
    *n = 0;
    if (dw_json_kind(v) != DW_JSON_ARRAY)
        st = dw_fail(err, DW_E_INPUT, "\"%s\": wanted a list of texts, found %s",
                     column_info[c].name, dw_json_kind_name(v));
    else if (!dw_json_first(v))
        st = dw_fail(err, DW_E_INPUT, "\"%s\" is empty: wanted at least one %s",
                     column_info[c].name, what);
    else
        *out = dw_arena_alloc(a, dw_json_len(v) * sizeof **out);
    for (const dw_json *e = st ? NULL : dw_json_first(v); e && !st; e = dw_json_next(e), ++*n) {
        dw_text t = dw_json_kind(e) == DW_JSON_STRING ? dw_json_str(e) : (dw_text){0};
        if (dw_json_kind(e) != DW_JSON_STRING)
            st = dw_fail(err, DW_E_INPUT, "\"%s\": %s %zu is %s, wanted text", column_info[c].name,
                         what, *n + 1, dw_json_kind_name(e));
        dw_column_text *o = &(*out)[*n];
        o->part = dw_arena_alloc(a, sizeof *o->part);
        o->part[0].text = (dw_text){dw_arena_strndup(a, t.ptr ? t.ptr : "", t.len), t.len};
        o->len = t.len;
        o->n = t.len > 0;
    }
    dw_json_free(own);
    return st;
}

static void add_answer(dw_draft *w, dw_column_text text)
{
    w->answer[w->n_answer++] = (dw_draft_answer){.text = text, .rank = NAN};
}

static dw_status split_pair(dw_row_reader *r, dw_draft *w, dw_err *err)
{
    dw_arena *a = &r->scratch;
    dw_column_text *chosen = &w->answer[0].text, *rejected = &w->answer[1].text;
    bool by_marker;
    size_t cut = dw_split_prompt(dw_column_flat(a, chosen), dw_column_flat(a, rejected),
                                 r->s->split_marker, &by_marker);
    if (!cut)
        return dw_fail(err, DW_E_INPUT,
                       "chosen and rejected begin with no common prompt (name the prompt's field, "
                       "or the marker it ends with)");
    w->prompt = dw_column_slice(a, chosen, 0, cut);
    *chosen = dw_column_slice(a, chosen, cut, chosen->len);
    *rejected = dw_column_slice(a, rejected, cut, rejected->len);
    w->split_marker = by_marker;
    w->split_prefix = !by_marker;
    return DW_OK;
}

static dw_status read_pair(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                           dw_err *err)
{
    dw_arena *a = &r->scratch;
    const dw_json *prompt = dw_json_get(row->json, "prompt");
    bool explicit = dw_column_is_set(&r->s->column[DW_COL_PROMPT]) ||
                    (!r->s->split_marker && prompt && dw_json_kind(prompt) != DW_JSON_NULL);
    dw_column_text half[3];
    DW_TRY(text_of(r, row, DW_COL_CHOSEN, &half[0], at, err));
    DW_TRY(text_of(r, row, DW_COL_REJECTED, &half[1], at, err));
    add_answer(w, half[0]);
    add_answer(w, half[1]);
    if (explicit)
        DW_TRY(text_of(r, row, DW_COL_PROMPT, &w->prompt, at, err));
    /* Equal halves are counted, not split. */
    else if (!dw_text_eq(dw_column_flat(a, &half[0]), dw_column_flat(a, &half[1])))
        DW_TRY(split_pair(r, w, err));
    if (!dw_column_there(&r->column[DW_COL_GOLD], row))
        return DW_OK;
    DW_TRY(text_of(r, row, DW_COL_GOLD, &half[2], at, err));
    if (!half[2].len)
        return dw_fail(err, DW_E_INPUT, "\"gold\" is empty (leave it out, or give an answer)");
    add_answer(w, half[2]);
    w->has_gold = true;
    return DW_OK;
}

/* TRL calls the steps "completions"; that name is taken where the row has no "steps". */
static dw_status read_steps(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                            dw_err *err)
{
    dw_column_plan own = r->column[DW_COL_STEPS];
    dw_column_piece trl = {.field = "completions"};
    if (!dw_column_is_set(&r->s->column[DW_COL_STEPS]) && !dw_json_get(row->json, "steps") &&
        dw_json_get(row->json, "completions"))
        r->column[DW_COL_STEPS].piece = &trl;
    dw_status st = texts_of(r, row, DW_COL_STEPS, "step", &w->step, &w->n_step, at, err);
    r->column[DW_COL_STEPS] = own;
    DW_TRY(st);
    for (size_t i = 0; i < w->n_step; i++)
        if (!w->step[i].len)
            return dw_fail(err, DW_E_INPUT, "step %zu of %zu is empty", i + 1, w->n_step);
    add_answer(w, (dw_column_text){0});
    return DW_OK;
}

static dw_status read_list(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                           dw_err *err)
{
    dw_column_text *text;
    size_t n;
    DW_TRY(texts_of(r, row, DW_COL_COMPLETIONS, "completion", &text, &n, at, err));
    if (n < 2)
        return dw_fail(err, DW_E_INPUT, "a list of one completion ranks nothing: wanted two");
    w->answer = dw_arena_alloc(&r->scratch, n * sizeof *w->answer);
    for (size_t i = 0; i < n; i++)
        add_answer(w, text[i]);
    return DW_OK;
}

static dw_status read_texts(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                            dw_err *err)
{
    dw_data_type type = r->s->type;
    dw_column_text text;
    if (dw_talk_row(r, row)) {
        DW_TRY(dw_talk_read(r, row, w, at, err));
        return type == DW_STEPS ? read_steps(r, row, w, at, err) : DW_OK;
    }
    if (type == DW_PAIRS)
        return read_pair(r, row, w, at, err);
    if (type != DW_TEXTS)
        DW_TRY(text_of(r, row, DW_COL_PROMPT, &w->prompt, at, err));
    if (type == DW_STEPS)
        return read_steps(r, row, w, at, err);
    if (type == DW_LISTS)
        return read_list(r, row, w, at, err);
    if (type != DW_PROMPTS) {
        DW_TRY(text_of(r, row, type == DW_TEXTS ? DW_COL_TEXT : DW_COL_COMPLETION, &text, at, err));
        add_answer(w, text);
    }
    if (!dw_data_has(type, DW_COL_TEACHER_PROMPT) ||
        !dw_column_there(&r->column[DW_COL_TEACHER_PROMPT], row))
        return DW_OK;
    DW_TRY(text_of(r, row, DW_COL_TEACHER_PROMPT, &w->teacher_prompt, at, err));
    w->has_teacher_prompt = true;
    return DW_OK;
}

/* Functions that may give text or messages are called first: which of them it is decides how the
 * row is read. */
static dw_status call_functions(dw_row_reader *r, const dw_column_row *row, dw_err *err)
{
    for (int c = 0; c < DW_N_DATA_COLUMN; c++) {
        dw_json *own;
        bool either = c <= DW_COL_REJECTED || c == DW_COL_GOLD || c == DW_COL_TEACHER_PROMPT ||
                      c == DW_COL_MESSAGES;
        if (!either || !dw_data_has(r->s->type, (dw_data_column)c) || !r->column[c].lua)
            continue;
        DW_TRY(dw_column_call(&r->scratch, &r->column[c], row, &own, err));
        if (own)
            dw_row_hold(r, own);
    }
    return DW_OK;
}

/* Whether the row is without a field that the type needs and that goes by its usual name. */
static bool lacks(const dw_row_reader *r, const dw_column_row *row)
{
    for (int c = 0; c < DW_N_DATA_COLUMN; c++)
        if ((dw_data_needs(r->s->type, (dw_data_column)c) ||
             (r->s->type == DW_STEPS && c == DW_COL_STEPS)) &&
            dw_row_is_default(r, (dw_data_column)c) && !dw_json_get(row->json, column_info[c].name))
            return true;
    return false;
}

static void hint(const dw_row_reader *r, const dw_column_row *row, dw_err *err)
{
    dw_buf b = {0};
    dw_detect_hint(row->json, r->s, strstr(err->text, "did you mean") != NULL, &b);
    size_t n = strlen(err->text);
    if (b.len)
        snprintf(err->text + n, sizeof err->text - n, "%s", b.ptr);
    dw_buf_finish(&b);
}

dw_status dw_row_read(dw_row_reader *r, const dw_column_row *row, dw_draft *out, size_t *at,
                      dw_err *err)
{
    release(r);
    *out = (dw_draft){.weight = 1, .label = 1, .target = 1};
    out->answer = dw_arena_alloc(&r->scratch, 3 * sizeof *out->answer);
    *at = 0;
    DW_TRY(call_functions(r, row, err));
    dw_status st = read_texts(r, row, out, at, err);
    if (st == DW_E_INPUT && !*at && lacks(r, row))
        hint(r, row, err);
    DW_TRY(st);
    return dw_row_values(r, row, out, at, err);
}
