/* Reads rows: one JSON value a line, the elements of one array, or the records of a table. */
#include "data/jsonl.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json_scan.h"
#include "data/csv.h"
#include "data/input.h"

typedef enum layout { LINES, ARRAY, TABLE } layout;

struct dw_rows {
    dw_input in;
    size_t at, searched; /* behind the current row; no line feed lies before `searched` */
    layout layout;
    bool began, done;
    uint32_t element;
    /* Line and column of `counted`, which never passes the start of the current row. */
    size_t counted;
    uint32_t line, column;
    dw_csv csv;
    dw_text record; /* of a table: the current row as the file has it */
};

dw_status dw_rows_open(const char *path, dw_rows **out, dw_err *err)
{
    dw_rows *r = dw_zalloc(1, sizeof *r);
    char ending[16];
    *out = NULL;
    r->line = r->column = 1;
    dw_status st = dw_input_open(&r->in, path, err);
    if (st) {
        dw_rows_close(r);
        return st;
    }
    dw_input_ending(path, ending);
    r->csv.separator = !strcmp(ending, ".csv") ? ',' : !strcmp(ending, ".tsv") ? '\t' : 0;
    *out = r;
    return DW_OK;
}

void dw_rows_close(dw_rows *r)
{
    if (!r)
        return;
    dw_input_close(&r->in);
    dw_csv_finish(&r->csv);
    dw_free(r);
}

const char *dw_rows_name(const dw_rows *r)
{
    return r->in.name;
}

bool dw_rows_is_table(const dw_rows *r)
{
    return r->csv.separator != 0;
}

void dw_rows_where(const dw_rows *r, uint32_t *line, uint32_t *column)
{
    *line = r->line;
    *column = r->column;
}

void dw_rows_place(const dw_rows *r, dw_text row, size_t at, uint32_t *line, uint32_t *column)
{
    dw_text text = row;
    if (r->layout == TABLE) {
        at = dw_csv_place(&r->csv, at);
        text = r->record;
    }
    *line = r->line;
    *column = r->column;
    for (size_t i = 0; i < at && i < text.len; i++) {
        *line += text.ptr[i] == '\n';
        *column = text.ptr[i] == '\n' ? 1 : *column + 1;
    }
}

void dw_rows_hash(const dw_rows *r, dw_sha256 *sha)
{
    dw_input_hash(&r->in, sha);
}

/* ---- reading on ---- */

/* Drops what was used and reads once; waits when there is nothing. */
static dw_status read_more(dw_rows *r, size_t least, dw_err *err)
{
    size_t drop = r->counted;
    DW_TRY(dw_input_more(&r->in, &drop, least, err));
    r->at -= drop;
    r->counted -= drop;
    r->searched -= drop < r->searched ? drop : r->searched;
    return DW_OK;
}

bool dw_rows_ready(dw_rows *r)
{
    dw_err ignored;
    const dw_input *in = &r->in;
    while (!in->eof && !memchr(in->ptr + r->at, '\n', in->len - r->at)) {
        if (!dw_input_ready(in))
            return false;
        if (read_more(r, 1, &ignored) < 0)
            return true; /* the next call meets the error again and reports it */
    }
    return true;
}

/* ---- position ---- */

/* Moves the counted position up to `to`. */
static void count_to(dw_rows *r, size_t to)
{
    while (r->counted < to) {
        const char *from = r->in.ptr + r->counted;
        const char *nl = memchr(from, '\n', to - r->counted);
        if (!nl) {
            r->column += (uint32_t)(to - r->counted);
            r->counted = to;
        } else {
            r->line++;
            r->column = 1;
            r->counted += (size_t)(nl - from) + 1;
        }
    }
    if (!r->in.unpack)
        dw_input_passed(&r->in, r->counted);
}

static size_t space(const dw_rows *r, size_t at)
{
    return dw_json_space(r->in.ptr + at, r->in.ptr + r->in.len);
}

/* Moves over white space; reads on where it reaches what was read so far. */
static dw_status skip_space(dw_rows *r, dw_err *err)
{
    for (;;) {
        r->at += space(r, r->at);
        if (r->at < r->in.len || r->in.eof)
            return DW_OK;
        DW_TRY(read_more(r, 1, err));
    }
}

/* As much again as there is: what is looked through anew stays in proportion. */
static size_t as_much(const dw_rows *r)
{
    return r->in.len - r->counted + 1;
}

/* ---- arrays ---- */

/* Length of the value at `at`, by brackets and quotes alone: whether it is JSON is found out when
 * it is parsed. *closed: its end was found. */
static size_t value_length(const dw_rows *r, size_t at, bool *closed)
{
    size_t depth = 0, i = at, n = r->in.len;
    const char *p = r->in.ptr;
    *closed = true;
    for (; i < n; i++) {
        char c = p[i];
        if (c == '"') {
            for (i++; i < n && p[i] != '"'; i++)
                i += p[i] == '\\';
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (depth ? c == '}' || c == ']' : c == ',' || c == ']' || c == '}') {
            if (!depth)
                return i - at;
            if (!--depth)
                return i + 1 - at;
        }
    }
    *closed = false;
    return n - at;
}

static dw_status misplaced(dw_rows *r, size_t at, const char *wanted, dw_err *err)
{
    count_to(r, at);
    if (at >= r->in.len)
        return dw_fail(err, DW_E_INPUT, "%s:%u:%u: wanted %s, found the end of the file",
                       r->in.name, r->line, r->column, wanted);
    return dw_fail(err, DW_E_INPUT, "%s:%u:%u: wanted %s, found byte 0x%02x", r->in.name, r->line,
                   r->column, wanted, (unsigned char)r->in.ptr[at]);
}

static dw_status close_array(dw_rows *r, dw_err *err)
{
    r->at++;
    DW_TRY(skip_space(r, err));
    if (r->at < r->in.len)
        return misplaced(r, r->at, "nothing after the array", err);
    r->done = true;
    return DW_OK;
}

static dw_status next_element(dw_rows *r, dw_text *row, bool *more, dw_err *err)
{
    DW_TRY(skip_space(r, err));
    if (r->at < r->in.len && r->in.ptr[r->at] == ']')
        return close_array(r, err);
    if (r->element) {
        if (r->at >= r->in.len || r->in.ptr[r->at] != ',')
            return misplaced(r, r->at, "',' or ']' after an element", err);
        r->at++;
        DW_TRY(skip_space(r, err));
    }
    count_to(r, r->at);
    bool closed;
    size_t n;
    while (n = value_length(r, r->at, &closed), !closed && !r->in.eof)
        DW_TRY(read_more(r, as_much(r), err));
    if (!n || strchr(",]}", r->in.ptr[r->at]))
        return misplaced(r, r->at, "a value", err);
    *row = (dw_text){r->in.ptr + r->at, n};
    r->at += n;
    r->element++;
    *more = true;
    return DW_OK;
}

/* ---- lines ---- */

static dw_status next_line(dw_rows *r, dw_text *row, bool *more, dw_err *err)
{
    for (;;) {
        size_t from = r->searched > r->at ? r->searched : r->at;
        const char *nl = from < r->in.len ? memchr(r->in.ptr + from, '\n', r->in.len - from) : NULL;
        if (!nl && !r->in.eof) {
            r->searched = r->in.len;
            count_to(r, r->at);
            DW_TRY(read_more(r, 1, err));
            continue;
        }
        if (r->at == r->in.len)
            return DW_OK;
        size_t n = (nl ? (size_t)(nl - r->in.ptr) : r->in.len) - r->at;
        *row = (dw_text){r->in.ptr + r->at, n};
        count_to(r, r->at);
        r->at += n + (nl != NULL);
        if (dw_json_space(row->ptr, row->ptr + n) == n)
            continue;
        *more = true;
        return DW_OK;
    }
}

/* ---- tables ---- */

/* The next record that is not an empty line; length 0: there is none. */
static dw_status next_record(dw_rows *r, dw_err *err)
{
    for (;;) {
        count_to(r, r->at);
        dw_text rest = {r->in.ptr + r->at, r->in.len - r->at};
        r->record = (dw_text){rest.ptr, 0};
        if (!rest.len && r->in.eof)
            return DW_OK;
        size_t n = dw_csv_scan(&r->csv, rest, r->in.eof);
        if (!n) {
            DW_TRY(read_more(r, as_much(r), err));
            continue;
        }
        r->at += n;
        r->record.len = r->csv.bad && r->csv.bad_at > n ? r->csv.bad_at : n; /* up to the fault */
        if (dw_json_space(rest.ptr, rest.ptr + n) < n)
            return DW_OK;
    }
}

static dw_status table_fault(const dw_rows *r, dw_err *err)
{
    uint32_t line, column;
    dw_rows_place(r, r->record, 0, &line, &column);
    return dw_fail(err, DW_E_INPUT, "%s:%u:%u: %s", r->in.name, line, column, r->csv.bad);
}

static dw_status next_of_table(dw_rows *r, dw_text *row, bool *more, dw_err *err)
{
    DW_TRY(next_record(r, err));
    if (!r->record.len)
        return DW_OK;
    dw_csv_row(&r->csv, r->record);
    *row = r->csv.bad ? r->record : dw_buf_text(&r->csv.json);
    *more = true;
    return DW_OK;
}

/* ---- all of them ---- */

static dw_status begin(dw_rows *r, dw_err *err)
{
    r->began = true;
    if (r->csv.separator) {
        r->layout = TABLE;
        DW_TRY(next_record(r, err));
        if (r->record.len)
            dw_csv_header(&r->csv, r->record);
        return r->csv.bad ? table_fault(r, err) : DW_OK;
    }
    DW_TRY(skip_space(r, err));
    if (r->at < r->in.len && r->in.ptr[r->at] == '[') {
        r->layout = ARRAY;
        r->at++;
    } else {
        r->at = r->counted; /* lines count from the first one */
    }
    return DW_OK;
}

dw_status dw_rows_next(dw_rows *r, dw_text *row, uint32_t *line, bool *more, dw_err *err)
{
    *more = false;
    if (!r->began)
        DW_TRY(begin(r, err));
    if (r->done)
        return DW_OK;
    DW_TRY(r->layout == ARRAY   ? next_element(r, row, more, err)
           : r->layout == TABLE ? next_of_table(r, row, more, err)
                                : next_line(r, row, more, err));
    *line = r->layout == ARRAY ? r->element : r->line;
    return DW_OK;
}

dw_status dw_rows_parse(const dw_rows *r, dw_text row, dw_json **out, dw_err *err)
{
    *out = NULL;
    if (r->layout == TABLE && r->csv.bad)
        return table_fault(r, err);
    dw_status st = dw_json_parse_row(row.ptr, row.len, DW_JSON_DEPTH_ROW, (int)r->line, out, err);
    unsigned line, column;
    int used = 0;
    if (!st)
        return DW_OK;
    if (sscanf(err->text, "line %u, column %u: %n", &line, &column, &used) != 2 || !used) {
        dw_err_prefix(err, "%s", r->in.name);
        return st;
    }
    char why[sizeof err->text];
    snprintf(why, sizeof why, "%s", err->text + used);
    column += line == r->line ? r->column - 1 : 0;
    return dw_fail(err, st, "%s:%u:%u: %s", r->in.name, line, column, why);
}
