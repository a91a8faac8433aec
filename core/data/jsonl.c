/* Reads rows: one JSON value a line, or the elements of one array. */
#include "data/jsonl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/json_scan.h"

enum { READ_BYTES = 1 << 16, MAX_INPUT = 1 << 30 };

struct dw_rows {
    char *name;
    dw_mapping map; /* of a file; standard input is read into `in` */
    dw_buf in;
    const char *ptr; /* what was read so far */
    size_t len, at;
    bool is_stdin, eof, began, array, done;
    uint32_t element;
    /* Line and column of `counted`, which never passes the start of the current row. */
    size_t counted;
    uint32_t line, column;
};

static dw_status refuse_packed(const dw_rows *r, dw_err *err)
{
    static const struct {
        const char *magic;
        size_t n;
        const char *what;
    } kind[] = {
        {"\x1f\x8b", 2, "compressed with gzip; unpack it first (gunzip)"},
        {"\x28\xb5\x2f\xfd", 4, "compressed with zstd; unpack it first (unzstd)"},
        {"PAR1", 4, "Parquet; convert it to JSON lines first"},
    };
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++)
        if (r->len >= kind[i].n && !memcmp(r->ptr, kind[i].magic, kind[i].n))
            return dw_fail(err, DW_E_INPUT, "%s: the file is %s", r->name, kind[i].what);
    return DW_OK;
}

/* Opening a named pipe would wait for its writer, and pipes cannot be mapped. */
static dw_status check_kind(const char *path, dw_err *err)
{
    struct stat sb;
    if (stat(path, &sb) || S_ISREG(sb.st_mode))
        return DW_OK;
    if (S_ISDIR(sb.st_mode))
        return dw_fail(err, DW_E_INPUT, "%s: a folder; wanted a file of rows", path);
    return dw_fail(err, DW_E_INPUT,
                   "%s: not a regular file; the commands that read rows take standard input as -",
                   path);
}

dw_status dw_rows_open(const char *path, dw_rows **out, dw_err *err)
{
    dw_rows *r = dw_zalloc(1, sizeof *r);
    *out = NULL;
    r->line = r->column = 1;
    r->is_stdin = !strcmp(path, "-");
    r->name = dw_strdup(r->is_stdin ? "<stdin>" : path);
    dw_status st = DW_OK;
    if (!r->is_stdin) {
        st = check_kind(path, err);
        if (!st)
            st = dw_map_open(path, &r->map, err);
        r->ptr = (const char *)r->map.ptr;
        r->len = r->map.len;
        r->eof = true;
        if (!st)
            st = refuse_packed(r, err);
    }
    if (st) {
        dw_rows_close(r);
        return st;
    }
    *out = r;
    return DW_OK;
}

void dw_rows_close(dw_rows *r)
{
    if (!r)
        return;
    dw_map_close(&r->map);
    dw_buf_finish(&r->in);
    dw_free(r->name);
    dw_free(r);
}

const char *dw_rows_name(const dw_rows *r)
{
    return r->name;
}

void dw_rows_where(const dw_rows *r, uint32_t *line, uint32_t *column)
{
    *line = r->line;
    *column = r->column;
}

dw_text dw_rows_bytes(const dw_rows *r)
{
    return (dw_text){r->map.ptr ? (const char *)r->map.ptr : "", r->map.len};
}

/* ---- standard input ---- */

/* Drops what was used and reads once; waits when there is nothing. */
static dw_status read_more(dw_rows *r, dw_err *err)
{
    char chunk[READ_BYTES];
    ssize_t n;
    if (r->counted > 0 && r->counted >= r->in.len / 2) {
        memmove(r->in.ptr, r->in.ptr + r->counted, r->in.len - r->counted);
        r->in.len -= r->counted;
        r->at -= r->counted;
        r->counted = 0;
    }
    do
        n = read(STDIN_FILENO, chunk, sizeof chunk);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return dw_fail(err, DW_E_IO, "<stdin>: %s", strerror(errno));
    if (r->in.len + (size_t)n > MAX_INPUT)
        return dw_fail(err, DW_E_LIMIT, "<stdin>: a row of more than %d bytes", MAX_INPUT);
    r->eof = n == 0;
    dw_buf_add(&r->in, chunk, (size_t)n);
    r->ptr = r->in.ptr;
    r->len = r->in.len;
    return DW_OK;
}

bool dw_rows_ready(dw_rows *r)
{
    dw_err ignored;
    while (!r->eof && !memchr(r->ptr ? r->ptr + r->at : "", '\n', r->len - r->at)) {
        struct pollfd p = {STDIN_FILENO, POLLIN, 0};
        if (poll(&p, 1, 0) <= 0)
            return false;
        if (read_more(r, &ignored) < 0)
            return true; /* the next call meets the error again and reports it */
    }
    return true;
}

/* ---- position ---- */

/* Moves the counted position up to `to`. */
static void count_to(dw_rows *r, size_t to)
{
    while (r->counted < to) {
        const char *from = r->ptr + r->counted;
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
}

static size_t space(const dw_rows *r, size_t at)
{
    return dw_json_space(r->ptr + at, r->ptr + r->len);
}

/* ---- arrays ---- */

/* Length of the value at `at`, by brackets and quotes alone: whether it is JSON is found out when
 * it is parsed. */
static size_t value_length(const dw_rows *r, size_t at)
{
    size_t depth = 0, i = at;
    for (; i < r->len; i++) {
        char c = r->ptr[i];
        if (c == '"') {
            for (i++; i < r->len && r->ptr[i] != '"'; i++)
                i += r->ptr[i] == '\\';
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (depth ? c == '}' || c == ']' : c == ',' || c == ']' || c == '}') {
            if (!depth)
                return i - at;
            if (!--depth)
                return i + 1 - at;
        }
    }
    return r->len - at;
}

static dw_status misplaced(dw_rows *r, size_t at, const char *wanted, dw_err *err)
{
    count_to(r, at);
    if (at >= r->len)
        return dw_fail(err, DW_E_INPUT, "%s:%u:%u: wanted %s, found the end of the file", r->name,
                       r->line, r->column, wanted);
    return dw_fail(err, DW_E_INPUT, "%s:%u:%u: wanted %s, found byte 0x%02x", r->name, r->line,
                   r->column, wanted, (unsigned char)r->ptr[at]);
}

static dw_status next_element(dw_rows *r, dw_text *row, bool *more, dw_err *err)
{
    r->at += space(r, r->at);
    bool closes = r->at < r->len && r->ptr[r->at] == ']';
    if (!closes && r->element) {
        if (r->at >= r->len || r->ptr[r->at] != ',')
            return misplaced(r, r->at, "',' or ']' after an element", err);
        r->at++;
        r->at += space(r, r->at);
    }
    if (closes) {
        r->at++;
        r->at += space(r, r->at);
        if (r->at < r->len)
            return misplaced(r, r->at, "nothing after the array", err);
        r->done = true;
        return DW_OK;
    }
    size_t n = value_length(r, r->at);
    if (!n || strchr(",]}", r->ptr[r->at]))
        return misplaced(r, r->at, "a value", err);
    count_to(r, r->at);
    *row = (dw_text){r->ptr + r->at, n};
    r->at += n;
    r->element++;
    *more = true;
    return DW_OK;
}

/* ---- lines ---- */

static dw_status next_line(dw_rows *r, dw_text *row, bool *more, dw_err *err)
{
    for (;;) {
        size_t left = r->len - r->at;
        const char *nl = left ? memchr(r->ptr + r->at, '\n', left) : NULL;
        if (!nl && !r->eof) {
            DW_TRY(read_more(r, err));
            continue;
        }
        if (!left)
            return DW_OK;
        size_t n = nl ? (size_t)(nl - (r->ptr + r->at)) : left;
        *row = (dw_text){r->ptr + r->at, n};
        count_to(r, r->at);
        r->at += n + (nl != NULL);
        if (dw_json_space(row->ptr, row->ptr + n) == n)
            continue;
        *more = true;
        return DW_OK;
    }
}

static dw_status begin(dw_rows *r, dw_err *err)
{
    size_t i;
    r->began = true;
    while ((i = r->len ? space(r, 0) : 0) == r->len && !r->eof)
        DW_TRY(read_more(r, err));
    r->array = i < r->len && r->ptr[i] == '[';
    if (!r->array)
        return DW_OK;
    r->at = i + 1;
    while (!r->eof)
        DW_TRY(read_more(r, err));
    return DW_OK;
}

dw_status dw_rows_next(dw_rows *r, dw_text *row, uint32_t *line, bool *more, dw_err *err)
{
    *more = false;
    if (!r->began)
        DW_TRY(begin(r, err));
    if (r->done)
        return DW_OK;
    DW_TRY(r->array ? next_element(r, row, more, err) : next_line(r, row, more, err));
    *line = r->array ? r->element : r->line;
    return DW_OK;
}

dw_status dw_rows_parse(const dw_rows *r, dw_text row, dw_json **out, dw_err *err)
{
    dw_status st = dw_json_parse(row.ptr, row.len, DW_JSON_DEPTH_ROW, (int)r->line, out, err);
    unsigned line, column;
    int used = 0;
    if (!st)
        return DW_OK;
    if (sscanf(err->text, "line %u, column %u: %n", &line, &column, &used) != 2 || !used) {
        dw_err_prefix(err, "%s", r->name);
        return st;
    }
    char why[sizeof err->text];
    snprintf(why, sizeof why, "%s", err->text + used);
    column += line == r->line ? r->column - 1 : 0;
    return dw_fail(err, st, "%s:%u:%u: %s", r->name, line, column, why);
}
