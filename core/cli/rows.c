/* The loop of the commands that read rows of JSON and write one JSON object a line. */
#include "cli/rows.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "data/jsonl.h"

typedef struct dw_cli_row_out {
    const char *key;
    dw_text json;
    uint32_t line; /* which output line, from 0 */
} dw_cli_row_out;

typedef struct batch {
    dw_arena arena;
    dw_cli_row *row; /* [n], in the order of the input */
    dw_cli_row **good;
    size_t n, cap, n_good;
} batch;

/* ---- rows ---- */

void dw_cli_row_fail(dw_cli_row *row, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    if (row->bad)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    row->bad = dw_arena_strdup(row->arena, text);
}

bool dw_cli_row_has(const dw_cli_row *row, const char *key)
{
    return dw_json_get(row->json, key) != NULL;
}

bool dw_cli_row_text(dw_cli_row *row, const char *key, dw_text *out)
{
    const dw_json *v = dw_json_get(row->json, key);
    if (v && dw_json_kind(v) == DW_JSON_STRING) {
        *out = dw_json_str(v);
        return true;
    }
    dw_cli_row_fail(row, "\"%s\": wanted a string, found %s", key, dw_json_kind_name(v));
    return false;
}

bool dw_cli_row_ids(dw_cli_row *row, const char *key, int32_t vocab, dw_ids *out)
{
    const dw_json *v = dw_json_get(row->json, key);
    if (!v || dw_json_kind(v) != DW_JSON_ARRAY) {
        dw_cli_row_fail(row, "\"%s\": wanted an array of ids, found %s", key, dw_json_kind_name(v));
        return false;
    }
    size_t i = 0;
    for (const dw_json *e = dw_json_first(v); e; e = dw_json_next(e), i++) {
        int64_t id;
        if (!dw_json_int(e, &id)) {
            dw_cli_row_fail(row, "\"%s\"[%zu]: wanted an integer, found %s", key, i,
                            dw_json_kind(e) != DW_JSON_NUMBER ? dw_json_kind_name(e)
                            : fmod(dw_json_num(e), 1) != 0    ? "a fraction"
                                                              : "a number beyond 2^53");
            return false;
        }
        if (id < 0 || id >= vocab) {
            dw_cli_row_fail(row, "\"%s\"[%zu]: id %lld is outside the vocabulary (0 .. %d)", key, i,
                            (long long)id, vocab - 1);
            return false;
        }
        dw_ids_push(out, (int32_t)id);
    }
    return true;
}

void dw_cli_row_put(dw_cli_row *row, const char *key, dw_text json)
{
    DW_GROW(row->out, row->n_out, row->cap_out);
    row->out[row->n_out++] =
        (dw_cli_row_out){dw_arena_strdup(row->arena, key),
                         {dw_arena_strndup(row->arena, json.ptr, json.len), json.len},
                         row->n_line - 1};
}

void dw_cli_row_again(dw_cli_row *row)
{
    row->n_line++;
}

void dw_cli_put_ids(dw_buf *b, const int32_t *id, size_t n)
{
    dw_buf_addc(b, '[');
    for (size_t i = 0; i < n; i++)
        dw_buf_printf(b, "%s%d", i ? "," : "", id[i]);
    dw_buf_addc(b, ']');
}

dw_status dw_cli_on_bad(const char *word, bool *skip, dw_err *err)
{
    *skip = !strcmp(word, "skip");
    if (*skip || !strcmp(word, "error"))
        return DW_OK;
    return dw_fail(err, DW_E_USAGE, "--on-bad-row: wanted error or skip, found '%s'", word);
}

/* ---- writing ---- */

static const dw_cli_row_out *output_for(const dw_cli_row *row, dw_text key, uint32_t line)
{
    for (size_t i = 0; i < row->n_out; i++)
        if (row->out[i].line == line && dw_text_is(key, row->out[i].key))
            return &row->out[i];
    return NULL;
}

/* The key before `value` as the row spells it: the text between the end of the member before it and
 * the colon. */
static dw_text raw_key(const char *from, const char *value)
{
    const char *start = memchr(from, '"', (size_t)(value - from));
    const char *end = value;
    while (end[-1] != '"')
        end--;
    return (dw_text){start, (size_t)(end - start)};
}

static void write_line(const dw_cli_row *row, uint32_t line, dw_buf *b)
{
    dw_json_member *m;
    size_t n = row->json ? dw_json_members(row->arena, row->raw.ptr, row->raw.len, &m) : 0;
    const char *from = row->raw.ptr, *comma = "";
    dw_buf_addc(b, '{');
    for (size_t i = 0; i < n; i++) {
        dw_text key = raw_key(from, m[i].raw.ptr);
        const dw_cli_row_out *o = output_for(row, m[i].key, line);
        dw_buf_adds(b, comma);
        dw_buf_add(b, key.ptr, key.len);
        dw_buf_addc(b, ':');
        dw_buf_add(b, o ? o->json.ptr : m[i].raw.ptr, o ? o->json.len : m[i].raw.len);
        from = m[i].raw.ptr + m[i].raw.len;
        comma = ",";
    }
    for (size_t i = 0; i < row->n_out; i++) {
        const dw_cli_row_out *o = &row->out[i];
        if (o->line != line || dw_cli_row_has(row, o->key))
            continue;
        dw_buf_adds(b, comma);
        dw_json_put_cstr(b, o->key);
        dw_buf_addc(b, ':');
        dw_buf_add(b, o->json.ptr, o->json.len);
        comma = ",";
    }
    dw_buf_adds(b, "}\n");
}

/* A bad row keeps its keys, loses what the command had put, and says why. */
static void turn_into_error(dw_cli_row *row)
{
    dw_buf why = {0};
    row->n_out = 0;
    row->n_line = 1;
    dw_json_put_cstr(&why, row->bad);
    dw_cli_row_put(row, "error", dw_buf_text(&why));
    dw_buf_finish(&why);
}

static dw_status write_out(const dw_buf *b, dw_err *err)
{
    errno = 0;
    if (fwrite(b->ptr ? b->ptr : "", 1, b->len, stdout) != b->len || fflush(stdout))
        return dw_fail(err, DW_E_IO, "standard output: %s", strerror(errno));
    return DW_OK;
}

static dw_status write_batch(batch *w, const char *name, bool skip, dw_err *err)
{
    dw_buf b = {0};
    dw_status st = DW_OK;
    for (size_t i = 0; i < w->n && !st; i++) {
        dw_cli_row *row = &w->row[i];
        if (row->bad && !skip) {
            st = dw_fail(err, DW_E_INPUT, "%s", row->bad);
            /* A row that did not parse names its place, with a column, already. */
            if (row->json)
                dw_err_prefix(err, "%s:%u", name, row->line);
            break;
        }
        if (row->bad)
            turn_into_error(row);
        for (uint32_t line = 0; line < row->n_line; line++)
            write_line(row, line, &b);
    }
    dw_err later = {{0}};
    dw_status written = write_out(&b, &later);
    dw_buf_finish(&b);
    if (written && !st)
        *err = later;
    return st ? st : written;
}

/* ---- reading ---- */

static void release(batch *w)
{
    for (size_t i = 0; i < w->n; i++) {
        dw_json_free(w->row[i].owned);
        dw_free(w->row[i].out);
    }
    w->n = w->n_good = 0;
    dw_arena_reset(&w->arena);
}

static void read_row(const dw_rows *in, dw_cli_row *row, dw_text raw)
{
    dw_err why = {{0}};
    row->raw = (dw_text){dw_arena_strndup(row->arena, raw.ptr, raw.len), raw.len};
    if (dw_rows_parse(in, raw, &row->owned, &why)) {
        dw_cli_row_fail(row, "%s", why.text);
    } else if (dw_json_kind(row->owned) != DW_JSON_OBJECT) {
        uint32_t line, column;
        dw_rows_where(in, &line, &column);
        dw_cli_row_fail(row, "%s:%u:%u: wanted an object, found %s", dw_rows_name(in), line, column,
                        dw_json_kind_name(row->owned));
    } else {
        row->json = row->owned;
    }
}

/* Reads until the batch is full, the input ends, would wait, or holds a bad row that will end the
 * command. */
static dw_status fill(dw_rows *in, batch *w, bool skip, bool *more, dw_err *err)
{
    dw_status st = DW_OK;
    while (!st && w->n < w->cap && (!w->n || dw_rows_ready(in))) {
        dw_text raw;
        uint32_t line;
        st = dw_rows_next(in, &raw, &line, more, err);
        if (st || !*more)
            break;
        dw_cli_row *row = &w->row[w->n++];
        *row = (dw_cli_row){.line = line, .arena = &w->arena, .n_line = 1};
        read_row(in, row, raw);
        if (!row->bad)
            w->good[w->n_good++] = row;
        else if (!skip)
            break;
    }
    return st;
}

static dw_status run(dw_rows *in, batch *w, bool skip, dw_cli_rows_fn fn, void *ctx, dw_err *err)
{
    bool more = true;
    while (more) {
        /* Broken structure between the rows of an array comes after the rows before it. */
        dw_err broken = {{0}};
        dw_status read = fill(in, w, skip, &more, &broken);
        dw_status st = w->n_good ? fn(ctx, w->good, w->n_good, err) : DW_OK;
        if (!st)
            st = write_batch(w, dw_rows_name(in), skip, err);
        release(w);
        if (st)
            return st;
        if (read) {
            *err = broken;
            return read;
        }
    }
    return DW_OK;
}

dw_status dw_cli_rows_run(const char *path, bool skip, size_t batch_rows, dw_cli_rows_fn fn,
                          void *ctx, dw_err *err)
{
    dw_rows *in;
    DW_TRY(dw_rows_open(path, &in, err));
    batch w = {.cap = batch_rows};
    w.row = dw_zalloc(batch_rows, sizeof *w.row);
    w.good = dw_zalloc(batch_rows, sizeof(dw_cli_row *));
    dw_status st = run(in, &w, skip, fn, ctx, err);
    release(&w);
    dw_free(w.row);
    dw_free(w.good);
    dw_arena_finish(&w.arena);
    dw_rows_close(in);
    return st;
}
