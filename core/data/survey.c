/* Reads every row as a load would and counts what is strange about it. */
#include "data/survey.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/json_scan.h"
#include "data/jsonl.h"
#include "data/talk.h"

typedef struct looker {
    const dw_survey_spec *s;
    dw_survey *v;
    dw_data_spec data;
    dw_row_reader reader;
    bool open;
    bool against; /* reading the other file: hashes only */
} looker;

void dw_survey_finish(dw_survey *v)
{
    dw_buf_finish(&v->bad_list);
    dw_buf_finish(&v->mapping);
    dw_buf_finish(&v->columns);
    dw_buf_finish(&v->shown_mask);
    dw_ids_finish(&v->shown);
    dw_free(v->length);
    dw_seen_finish(&v->rows_seen);
    dw_seen_finish(&v->contrary_seen);
    dw_seen_finish(&v->against_rows);
    dw_seen_finish(&v->against_prompts);
    *v = (dw_survey){0};
}

static void found(dw_survey *v, dw_finding_kind k, dw_seen_place at, dw_seen_place first)
{
    dw_finding *f = &v->found[k];
    if (f->n < sizeof f->at / sizeof *f->at) {
        f->at[f->n] = at;
        f->first[f->n] = first;
    }
    f->n++;
}

/* ---- hashes ---- */

static uint64_t with(uint64_t h, dw_text t)
{
    const uint64_t pair[2] = {h, dw_hash64(t.ptr ? t.ptr : "", t.len)};
    return dw_hash64(pair, sizeof pair);
}

/* The answers in this order; of steps their texts. */
static uint64_t answers_hash(looker *l, const dw_draft *w, uint64_t h, bool swapped)
{
    dw_arena *a = &l->reader.scratch;
    for (size_t i = 0; i < w->n_answer; i++)
        h = with(h, dw_column_flat(a, &w->answer[swapped && i < 2 ? 1 - i : i].text));
    for (size_t i = 0; i < w->n_step; i++)
        h = with(h, dw_column_flat(a, &w->step[i]));
    return h;
}

static void compare(looker *l, const dw_draft *w, dw_seen_place at)
{
    dw_survey *v = l->v;
    dw_seen_place first = {0};
    const uint64_t prompt = with(1, dw_column_flat(&l->reader.scratch, &w->prompt));
    uint64_t row = answers_hash(l, w, prompt, false);
    const uint64_t unlabelled = row;
    if (l->data.type == DW_LABELS)
        row = with(row, w->label > 0 ? DW_TEXT("+") : DW_TEXT("-"));
    if (l->against) {
        dw_seen_add(&v->against_rows, row, at, &first);
        if (l->data.type != DW_TEXTS)
            dw_seen_add(&v->against_prompts, prompt, at, &first);
        return;
    }
    if (!dw_seen_add(&v->rows_seen, row, at, &first))
        found(v, DW_FOUND_DUPLICATE, at, first);
    if (l->data.type == DW_PAIRS &&
        dw_seen_has(&v->rows_seen, answers_hash(l, w, prompt, true), &first) &&
        (first.line != at.line))
        found(v, DW_FOUND_CONTRARY, at, first);
    if (l->data.type == DW_LABELS &&
        dw_seen_has(&v->rows_seen, with(unlabelled, w->label > 0 ? DW_TEXT("-") : DW_TEXT("+")),
                    &first))
        found(v, DW_FOUND_CONTRARY, at, first);
    if (dw_seen_has(&v->against_rows, row, &first))
        found(v, DW_FOUND_OVERLAP, at, first);
    else if (dw_seen_has(&v->against_prompts, prompt, &first))
        found(v, DW_FOUND_SAME_PROMPT, at, first);
}

/* ---- one row ---- */

/* An answer without text, or a text of one token, which nothing predicts. */
static bool is_empty(const looker *l, const dw_draft *w)
{
    bool empty = l->s->tokenizer && l->data.type == DW_TEXTS && w->answer[0].n < 2;
    for (size_t i = 0; i < w->n_answer; i++)
        empty |= l->data.type != DW_STEPS && !w->answer[i].text.len;
    return empty;
}

static void look_at_answers(looker *l, const dw_draft *w, dw_seen_place at)
{
    dw_arena *a = &l->reader.scratch;
    dw_survey *v = l->v;
    const bool empty = is_empty(l, w);
    bool equal =
        l->data.type == DW_PAIRS && w->n_answer > 1 &&
        dw_text_eq(dw_column_flat(a, &w->answer[0].text), dw_column_flat(a, &w->answer[1].text));
    if (empty)
        found(v, DW_FOUND_EMPTY, at, at);
    else if (equal)
        found(v, DW_FOUND_IDENTICAL, at, at);
    v->good_labels += l->data.type == DW_LABELS && w->label > 0;
    v->bad_labels += l->data.type == DW_LABELS && w->label < 0;
}

static void show(looker *l, const dw_draft *w, dw_seen_place at)
{
    dw_survey *v = l->v;
    const dw_row_reader *r = &l->reader;
    size_t n = w->n_prompt + (w->n_answer ? w->answer[0].n : 0);
    for (size_t i = 0; i < n && i < r->ids.n; i++) {
        bool answer = i >= w->n_prompt && (l->data.type != DW_TEXTS || i > 0);
        dw_ids_push(&v->shown, r->ids.id[i]);
        dw_buf_addc(&v->shown_mask, answer && (!w->masked || r->mask.ptr[i]));
    }
    v->shown_at = at;
}

static dw_status measure(looker *l, dw_draft *w, dw_seen_place at, dw_err *err)
{
    dw_survey *v = l->v;
    DW_TRY(dw_row_encode(&l->reader, w, err));
    if (l->against)
        return DW_OK;
    if (!is_empty(l, w))
        DW_TRY(dw_row_teaches(&l->reader, w, err));
    size_t n = dw_row_tokens(w);
    DW_GROW(v->length, v->n_length, v->cap_length);
    v->length[v->n_length++] = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
    if (l->data.max_tokens && n > l->data.max_tokens)
        found(v, DW_FOUND_TOO_LONG, at, at);
    if (!v->shown.n)
        show(l, w, at);
    return DW_OK;
}

static dw_status look_at(looker *l, const dw_column_row *row, dw_seen_place at, size_t *place,
                         dw_err *err)
{
    dw_draft w;
    *place = 0;
    bool talk = dw_talk_row(&l->reader, row);
    l->v->conversational += talk && !l->against;
    if (talk && !l->data.chat) { /* nothing writes it as text: only whole rows can be compared */
        dw_seen_place first;
        dw_seen *seen = l->against ? &l->v->against_rows : &l->v->rows_seen;
        if (!dw_seen_add(seen, with(1, row->raw), at, &first) && !l->against)
            found(l->v, DW_FOUND_DUPLICATE, at, first);
        if (!l->against && dw_seen_has(&l->v->against_rows, with(1, row->raw), &first))
            found(l->v, DW_FOUND_OVERLAP, at, first);
        return DW_OK;
    }
    DW_TRY(dw_row_read(&l->reader, row, &w, place, err));
    *place = 0;
    if (l->s->tokenizer)
        DW_TRY(measure(l, &w, at, err));
    if (!l->against)
        look_at_answers(l, &w, at);
    compare(l, &w, at);
    return DW_OK;
}

/* The first row says which type the file is. */
static dw_status begin(looker *l, const dw_json *row, dw_err *err)
{
    dw_survey *v = l->v;
    v->known = dw_detect(row, &v->detected);
    for (const dw_json *m = dw_json_first(row); m; m = dw_json_next(m))
        dw_buf_printf(&v->columns, "%s%s", v->columns.len ? ", " : "", dw_json_key(m));
    if (l->s->type >= 0) {
        v->known = true;
        v->type = (dw_data_type)l->s->type;
    } else if (v->known) {
        v->type = dw_kind_type(v->detected.kind);
        l->data.layout = v->detected.layout;
        if (dw_detect_whole(&v->detected))
            l->data.column[DW_COL_MESSAGES].field = "messages";
        /* The prompt may be there under another name; the halves are not in need of theirs. */
        if (v->detected.kind == DW_KIND_PREFERENCE_IMPLICIT)
            dw_detect_mapping(row, l->s->file, &v->mapping);
        if (v->mapping.len && !strstr(v->mapping.ptr, ", prompt = \""))
            dw_buf_clear(&v->mapping);
    } else {
        dw_detect_mapping(row, l->s->file, &v->mapping);
        return DW_OK;
    }
    l->data.type = v->type;
    l->data.add_eos =
        l->s->tokenizer && v->type != DW_STEPS && dw_tokenizer_eos(l->s->tokenizer) >= 0;
    l->reader = (dw_row_reader){.s = &l->data, .t = l->s->tokenizer, .limit = SIZE_MAX};
    DW_TRY(dw_row_reader_open(&l->reader, err));
    l->open = true;
    return DW_OK;
}

static dw_status take(looker *l, dw_rows *in, dw_text raw, dw_seen_place at, dw_err *err)
{
    dw_json *json;
    dw_survey *v = l->v;
    size_t place = 0;
    DW_TRY(dw_rows_parse(in, raw, &json, err));
    dw_status st = DW_OK;
    if (dw_json_kind(json) != DW_JSON_OBJECT)
        st = dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(json));
    else if (!l->open && !v->columns.len)
        st = begin(l, json, err);
    dw_detected own;
    if (!st && l->open && !l->against && l->s->type < 0)
        v->other_columns += !dw_detect(json, &own) || own.kind != v->detected.kind;
    const dw_column_row row = {.raw = raw, .json = json, .table = dw_rows_is_table(in)};
    if (!st && l->open)
        st = look_at(l, &row, at, &place, err);
    if (st) {
        uint32_t line, column;
        dw_rows_place(in, raw, place == DW_COLUMN_REFUSED ? 0 : place, &line, &column);
        dw_err_prefix(err, "%s:%u:%u", dw_rows_name(in), line, column);
    }
    dw_json_free(json);
    return st;
}

static dw_status take_file(looker *l, const char *file, dw_err *err)
{
    dw_rows *in;
    dw_survey *v = l->v;
    DW_TRY(dw_rows_open(file, &in, err));
    for (;;) {
        dw_text raw;
        dw_seen_place at = {.file = l->against};
        bool more;
        dw_err why = {{0}};
        dw_status st = dw_rows_next(in, &raw, &at.line, &more, &why);
        if (!st && !more)
            break;
        bool over = st < 0; /* broken between rows: nothing more can be read */
        while (!st && raw.len && dw_json_space(raw.ptr + raw.len - 1, raw.ptr + raw.len))
            raw.len--;
        v->rows += !l->against && !st;
        if (!st) {
            dw_arena_reset(&l->reader.scratch);
            st = take(l, in, raw, at, &why);
        }
        if (st && st != DW_E_INPUT) {
            *err = why;
            dw_rows_close(in);
            return st;
        }
        if (st && !l->against) {
            v->bad++;
            dw_buf_printf(&v->bad_list, "%s\n", why.text);
        }
        if (over)
            break;
    }
    dw_rows_close(in);
    return DW_OK;
}

static int by_size(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The other file is read first, as the type that this file's first row says. */
static dw_status peek(looker *l, dw_err *err)
{
    dw_rows *in;
    dw_text raw;
    uint32_t line;
    bool more = true;
    dw_err why;
    DW_TRY(dw_rows_open(l->s->file, &in, err));
    dw_status st = DW_OK;
    while (!st && more && !l->v->columns.len) {
        dw_json *json;
        if (dw_rows_next(in, &raw, &line, &more, &why) || !more)
            break;
        if (dw_rows_parse(in, raw, &json, &why) < 0)
            continue;
        if (dw_json_kind(json) == DW_JSON_OBJECT)
            st = begin(l, json, err);
        dw_json_free(json);
    }
    dw_rows_close(in);
    return st;
}

dw_status dw_survey_run(const dw_survey_spec *s, dw_survey *out, dw_err *err)
{
    looker l = {.s = s, .v = out, .data = s->data};
    dw_status st = peek(&l, err);
    if (!st && s->against && l.open) {
        l.against = true;
        st = take_file(&l, s->against, err);
        l.against = false;
    }
    if (!st)
        st = take_file(&l, s->file, err);
    if (out->n_length)
        qsort(out->length, out->n_length, sizeof *out->length, by_size);
    if (l.open)
        dw_row_reader_close(&l.reader);
    return st;
}
