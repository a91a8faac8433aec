/* Rows that are laid out as other tools write them, as messages: Alpaca's columns, ShareGPT's
 * system.
 */
#include <string.h>

#include "data/talk_internal.h"

static void put_said(dw_buf *b, const char *role, dw_text text)
{
    dw_buf_printf(b, "%s{\"role\":\"%s\",\"content\":", b->len > 1 ? "," : "", role);
    dw_json_put_str(b, text.ptr ? text.ptr : "", text.len);
    dw_buf_addc(b, '}');
}

/* The text of a column that a row may do without; empty then. */
static dw_status optional_text(dw_row_reader *r, const dw_column_row *row, dw_data_column c,
                               dw_text *out, size_t *at, dw_err *err)
{
    dw_column_text t;
    *out = (dw_text){"", 0};
    if (!dw_column_there(&r->column[c], row))
        return DW_OK;
    DW_TRY(dw_column_apply(&r->scratch, &r->column[c], row, &t, at, err));
    if (t.len)
        *out = dw_column_flat(&r->scratch, &t);
    return DW_OK;
}

static dw_status put_history(dw_row_reader *r, const dw_column_row *row, dw_buf *b, size_t *at,
                             dw_err *err)
{
    const dw_json *v;
    dw_json *own;
    if (!dw_column_there(&r->column[DW_COL_HISTORY], row))
        return DW_OK;
    DW_TRY(dw_column_json(&r->scratch, &r->column[DW_COL_HISTORY], row, &v, &own, at, err));
    bool ok = dw_json_kind(v) == DW_JSON_ARRAY;
    for (const dw_json *e = ok ? dw_json_first(v) : NULL; e && ok; e = dw_json_next(e)) {
        const dw_json *q = dw_json_first(e), *a = q ? dw_json_next(q) : NULL;
        ok = dw_json_kind(e) == DW_JSON_ARRAY && a && !dw_json_next(a) &&
             dw_json_kind(q) == DW_JSON_STRING && dw_json_kind(a) == DW_JSON_STRING;
        if (!ok)
            break;
        put_said(b, "user", dw_json_str(q));
        put_said(b, "assistant", dw_json_str(a));
    }
    if (own)
        dw_json_free(own);
    return ok ? DW_OK
              : dw_fail(err, DW_E_INPUT,
                        "\"history\": wanted a list of [question, answer], both of them text");
}

static dw_status alpaca_prompt(dw_row_reader *r, const dw_column_row *row, dw_buf *b, size_t *at,
                               dw_err *err)
{
    dw_text system, input;
    dw_column_text instruction;
    dw_buf_addc(b, '[');
    DW_TRY(optional_text(r, row, DW_COL_SYSTEM, &system, at, err));
    if (system.len)
        put_said(b, "system", system);
    DW_TRY(put_history(r, row, b, at, err));
    DW_TRY(
        dw_column_apply(&r->scratch, &r->column[DW_COL_INSTRUCTION], row, &instruction, at, err));
    DW_TRY(optional_text(r, row, DW_COL_INPUT, &input, at, err));
    dw_text ask = instruction.len ? dw_column_flat(&r->scratch, &instruction) : (dw_text){"", 0};
    char *both = dw_arena_alloc(&r->scratch, ask.len + input.len + 2);
    memcpy(both, ask.ptr, ask.len);
    size_t n = ask.len;
    if (n && input.len)
        both[n++] = '\n';
    memcpy(both + n, input.ptr, input.len);
    n += input.len;
    if (!n)
        return dw_fail(err, DW_E_INPUT, "\"instruction\" and \"input\" are both empty");
    put_said(b, "user", (dw_text){both, n});
    return DW_OK;
}

/* An answer that is text becomes a message. */
static dw_status said_by_text(dw_row_reader *r, const dw_column_row *row, dw_data_column c,
                              const dw_json **out, size_t *at, dw_err *err)
{
    dw_column_text t;
    dw_buf b = {0};
    DW_TRY(dw_column_apply(&r->scratch, &r->column[c], row, &t, at, err));
    dw_buf_addc(&b, '[');
    put_said(&b, "assistant", t.len ? dw_column_flat(&r->scratch, &t) : (dw_text){"", 0});
    dw_buf_addc(&b, ']');
    return dw_talk_made(r, &b, out, err);
}

dw_status dw_talk_alpaca(dw_row_reader *r, const dw_column_row *row, dw_draft *w, size_t *at,
                         dw_err *err)
{
    dw_buf b = {0};
    dw_data_type type = r->s->type;
    dw_status st = alpaca_prompt(r, row, &b, at, err);
    if (st >= 0 && type == DW_TEXTS) {
        dw_text out;
        st = optional_text(r, row, DW_COL_OUTPUT, &out, at, err);
        put_said(&b, "assistant", out);
    }
    if (st < 0) {
        dw_buf_finish(&b);
        return st;
    }
    dw_buf_addc(&b, ']');
    const dw_json *all;
    DW_TRY(dw_talk_made(r, &b, &all, err));
    if (type == DW_TEXTS) {
        dw_talk_answer(r, w, all);
        return DW_OK;
    }
    w->asked = all;
    const dw_json *said;
    if (type == DW_COMPLETIONS || type == DW_LABELS) {
        DW_TRY(said_by_text(r, row, DW_COL_OUTPUT, &said, at, err));
        dw_talk_answer(r, w, said);
    }
    for (int c = DW_COL_CHOSEN; type == DW_PAIRS && c <= DW_COL_REJECTED; c++) {
        const dw_json *v = dw_talk_value(r, row, (dw_data_column)c);
        DW_TRY(dw_talk_is(r->s, v)
                   ? dw_talk_messages(r, v, dw_data_column_name((dw_data_column)c), &said, err)
                   : said_by_text(r, row, (dw_data_column)c, &said, at, err));
        dw_talk_answer(r, w, said);
    }
    return DW_OK;
}

/* ShareGPT keeps what the system says in a column of its own. */
dw_status dw_talk_with_system(dw_row_reader *r, const dw_column_row *row, const dw_json **all,
                              size_t *at, dw_err *err)
{
    dw_text system;
    dw_buf b = {0};
    if (r->s->layout != DW_ROWS_SHAREGPT)
        return DW_OK;
    DW_TRY(optional_text(r, row, DW_COL_SYSTEM, &system, at, err));
    if (!system.len)
        return DW_OK;
    dw_buf_addc(&b, '[');
    put_said(&b, "system", system);
    for (const dw_json *m = dw_json_first(*all); m; m = dw_json_next(m)) {
        dw_buf_addc(&b, ',');
        dw_json_put(&b, m, false, 0);
    }
    dw_buf_addc(&b, ']');
    return dw_talk_made(r, &b, all, err);
}
