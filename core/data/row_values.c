/* Reads the numbers of one row: labels, ranks, weights, fields. */
#include <math.h>
#include <string.h>

#include "data/row.h"

/* A number between lo and hi from JSON; true and false where `bools`. */
static dw_status number(const dw_json *v, bool bools, double lo, double hi, double *out,
                        const char *wanted, dw_err *err)
{
    if (bools && dw_json_kind(v) == DW_JSON_BOOL) {
        *out = dw_json_bool(v);
        return DW_OK;
    }
    if (dw_json_kind(v) != DW_JSON_NUMBER)
        return dw_fail(err, DW_E_INPUT, "wanted %s, found %s", wanted, dw_json_kind_name(v));
    *out = dw_json_num(v);
    if (*out < lo || *out > hi)
        return dw_fail(err, DW_E_INPUT, "wanted %s, found %g", wanted, *out);
    return DW_OK;
}

/* One number that a row may do without. */
static dw_status optional(dw_row_reader *r, const dw_column_row *row, dw_data_column c, double lo,
                          double hi, const char *wanted, double *out, bool *has, size_t *at,
                          dw_err *err)
{
    const dw_json *v;
    dw_json *own;
    if (!dw_data_has(r->s->type, c) || !dw_column_there(&r->column[c], row))
        return DW_OK;
    DW_TRY(dw_column_json(&r->scratch, &r->column[c], row, &v, &own, at, err));
    dw_status st = DW_OK;
    if (dw_json_kind(v) != DW_JSON_NULL) {
        st = number(v, false, lo, hi, out, wanted, err);
        *has = true;
    }
    dw_json_free(own);
    if (st)
        dw_err_prefix(err, "\"%s\"", dw_data_column_name(c));
    return st;
}

/* Rows from tables hold text. */
static dw_status label_of(const dw_json *v, double *out, dw_err *err)
{
    static const struct {
        const char *text;
        double x;
    } all[] = {{"true", 1},  {"True", 1},  {"TRUE", 1}, {"1", 1},  {"false", 0},
               {"False", 0}, {"FALSE", 0}, {"0", 0},    {"-1", -1}};
    for (size_t i = 0; dw_json_kind(v) == DW_JSON_STRING && i < sizeof all / sizeof *all; i++)
        if (dw_text_is(dw_json_str(v), all[i].text)) {
            *out = all[i].x;
            return DW_OK;
        }
    return number(v, true, -1, 1, out, "true, false, 1, 0 or -1", err);
}

/* LLaMA-Factory calls the label "kto_tag"; that name is taken where the row has no "label". */
static dw_status read_label(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                            dw_err *err)
{
    const dw_json *v;
    dw_json *own;
    double x = 0;
    dw_column_piece tag = {.field = "kto_tag"};
    dw_column_plan plan = r->column[DW_COL_LABEL];
    if (dw_row_is_default(r, DW_COL_LABEL) && !dw_json_get(row->json, "label") &&
        dw_json_get(row->json, tag.field))
        plan = (dw_column_plan){.piece = &tag, .n = 1};
    DW_TRY(dw_column_json(&r->scratch, &plan, row, &v, &own, at, err));
    dw_status st = label_of(v, &x, err);
    if (!st && x != 1 && x != 0 && x != -1)
        st = dw_fail(err, DW_E_INPUT, "wanted true, false, 1, 0 or -1, found %g", x);
    dw_json_free(own);
    if (st)
        dw_err_prefix(err, "\"label\"");
    w->label = x > 0 ? 1 : -1;
    return st;
}

/* A list with one number for each of n things; null is NaN where `nulls`. */
typedef struct number_list {
    dw_data_column column;
    const char *of; /* "steps" */
    size_t n;
    bool bools, nulls;
    double lo, hi;
    const char *wanted;
} number_list;

static dw_status read_numbers(dw_row_reader *r, const dw_column_row *row, const number_list *l,
                              double **out, size_t *at, dw_err *err)
{
    const char *name = dw_data_column_name(l->column);
    const dw_json *v;
    dw_json *own;
    size_t n = 0;
    DW_TRY(dw_column_json(&r->scratch, &r->column[l->column], row, &v, &own, at, err));
    dw_status st = DW_OK;
    if (dw_json_kind(v) != DW_JSON_ARRAY)
        st =
            dw_fail(err, DW_E_INPUT, "\"%s\": wanted a list, found %s", name, dw_json_kind_name(v));
    else if (dw_json_len(v) != l->n)
        st = dw_fail(err, DW_E_INPUT, "%zu %s but %zu in \"%s\": wanted one for each", l->n, l->of,
                     dw_json_len(v), name);
    *out = dw_arena_alloc(&r->scratch, (l->n + 1) * sizeof **out);
    for (const dw_json *e = st ? NULL : dw_json_first(v); e && !st; e = dw_json_next(e), n++) {
        (*out)[n] = NAN;
        if (l->nulls && dw_json_kind(e) == DW_JSON_NULL)
            continue;
        st = number(e, l->bools, l->lo, l->hi, &(*out)[n], l->wanted, err);
        if (st)
            dw_err_prefix(err, "\"%s\", number %zu", name, n + 1);
    }
    dw_json_free(own);
    return st;
}

static dw_status read_step_labels(dw_row_reader *r, const dw_column_row *row, dw_draft *w,
                                  size_t *at, dw_err *err)
{
    number_list l = {.column = DW_COL_LABELS,
                     .of = "steps",
                     .n = w->n_step,
                     .bools = true,
                     .nulls = true,
                     .hi = 1,
                     .wanted = "true, false, a number from 0 to 1 or null"};
    return read_numbers(r, row, &l, &w->step_label, at, err);
}

/* Whether a list is ordered by its scores; the recipe says so, or the row has only those. */
static dw_status by_scores(dw_row_reader *r, const dw_column_row *row, bool *scores, dw_err *err)
{
    bool ranks = dw_column_is_set(&r->s->column[DW_COL_RANKS]);
    *scores = dw_column_is_set(&r->s->column[DW_COL_SCORES]);
    if (!ranks && !*scores) {
        ranks = dw_column_there(&r->column[DW_COL_RANKS], row);
        *scores = dw_column_there(&r->column[DW_COL_SCORES], row);
    }
    if (ranks && *scores)
        return dw_fail(err, DW_E_INPUT,
                       "both ranks and scores order the completions; name one of them in the "
                       "recipe");
    if (!ranks && !*scores)
        return dw_fail(err, DW_E_INPUT,
                       "neither \"ranks\" nor \"scores\" say which completion is the best");
    return DW_OK;
}

/* A rank is 1 and how many are strictly better. */
static dw_status read_ranks(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                            dw_err *err)
{
    bool scores;
    double *x;
    DW_TRY(by_scores(r, row, &scores, err));
    number_list l = {.column = scores ? DW_COL_SCORES : DW_COL_RANKS,
                     .of = "completions",
                     .n = w->n_answer,
                     .lo = -INFINITY,
                     .hi = INFINITY,
                     .wanted = "a number"};
    DW_TRY(read_numbers(r, row, &l, &x, at, err));
    for (size_t i = 0; i < w->n_answer; i++) {
        w->answer[i].rank = 1;
        for (size_t k = 0; k < w->n_answer; k++)
            w->answer[i].rank += scores ? x[k] > x[i] : x[k] < x[i];
    }
    return DW_OK;
}

static dw_status read_fields(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                             dw_err *err)
{
    const dw_data_spec *s = r->s;
    w->field = dw_arena_alloc(&r->scratch, (s->n_field + 1) * sizeof *w->field);
    for (size_t i = 0; i < s->n_field; i++) {
        const dw_json *v;
        dw_json *own;
        w->field[i] = NAN;
        if (!dw_column_there(&r->field[i], row))
            continue;
        DW_TRY(dw_column_json(&r->scratch, &r->field[i], row, &v, &own, at, err));
        dw_status st = number(v, false, -INFINITY, INFINITY, &w->field[i], "a number", err);
        if (st) {
            dw_err_prefix(err, "field \"%s\", which an objective reads", s->field[i]);
            return st;
        }
    }
    return DW_OK;
}

dw_status dw_row_values(dw_row_reader *r, const dw_column_row *row, dw_draft *out, size_t *at,
                        dw_err *err)
{
    dw_data_type type = r->s->type;
    if (type == DW_LABELS)
        DW_TRY(read_label(r, row, out, at, err));
    if (type == DW_STEPS)
        DW_TRY(read_step_labels(r, row, out, at, err));
    if (type == DW_LISTS)
        DW_TRY(read_ranks(r, row, out, at, err));
    DW_TRY(optional(r, row, DW_COL_WEIGHT, 0, INFINITY, "a number of 0 or more", &out->weight,
                    &out->has_weight, at, err));
    DW_TRY(optional(r, row, DW_COL_TARGET, 0, 1, "a number from 0 to 1", &out->target,
                    &out->has_target, at, err));
    DW_TRY(optional(r, row, DW_COL_MARGIN, -INFINITY, INFINITY, "a number", &out->margin,
                    &out->has_margin, at, err));
    return read_fields(r, row, out, at, err);
}
