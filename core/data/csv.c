/* Takes records of CSV apart and writes them as JSON objects. */
#include "data/csv.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

void dw_csv_finish(dw_csv *c)
{
    for (size_t i = 0; i < c->n_key; i++)
        dw_free(c->key[i]);
    dw_free(c->key);
    dw_free(c->cell);
    dw_buf_finish(&c->json);
    *c = (dw_csv){0};
}

static void fault(dw_csv *c, size_t at, const char *what)
{
    if (c->bad)
        return;
    c->bad = what;
    c->bad_at = at;
}

static void add_cell(dw_csv *c, size_t at, size_t len, bool quoted)
{
    DW_GROW(c->cell, c->n_cell, c->cap_cell);
    c->cell[c->n_cell++] = (dw_csv_cell){.at = at, .len = len, .quoted = quoted};
}

/* ---- cells ---- */

enum { NEED_MORE = -1 };

/* At the opening quote; moves behind the closing one. */
static int quoted_cell(dw_csv *c, dw_text t, bool end, size_t *at)
{
    size_t open = *at;
    for (size_t i = open + 1;;) {
        const char *q = i < t.len ? memchr(t.ptr + i, '"', t.len - i) : NULL;
        if (!q || (q + 1 == t.ptr + t.len && !end)) {
            if (!end)
                return NEED_MORE;
            fault(c, open, "the quotes that open here are never closed");
            return 0;
        }
        i = (size_t)(q - t.ptr) + 1;
        if (i < t.len && t.ptr[i] == '"') {
            i++;
            continue;
        }
        add_cell(c, open + 1, i - open - 2, true);
        *at = i;
        return 0;
    }
}

static int plain_cell(dw_csv *c, dw_text t, bool end, size_t *at)
{
    size_t i = *at;
    while (i < t.len && t.ptr[i] != c->separator && t.ptr[i] != '\n' && t.ptr[i] != '\r' &&
           t.ptr[i] != '"')
        i++;
    if (i == t.len && !end)
        return NEED_MORE;
    if (i < t.len && t.ptr[i] == '"') {
        fault(c, i,
              "a quote inside a cell that does not begin with one (put the cell in quotes, and "
              "write every quote in it twice)");
        return 0;
    }
    add_cell(c, *at, i - *at, false);
    *at = i;
    return 0;
}

/* Behind a cell: 1 where the record ends, *at then behind the line's end; 0 where a cell follows.
 */
static int after_cell(dw_csv *c, dw_text t, bool end, size_t *at)
{
    if (*at == t.len)
        return end ? 1 : NEED_MORE;
    if (t.ptr[*at] == c->separator) {
        ++*at;
        return 0;
    }
    if (t.ptr[*at] == '\n') {
        ++*at;
        return 1;
    }
    if (t.ptr[*at] != '\r') {
        fault(c, *at, "found more text after the closing quote, wanted the next cell");
        return 0;
    }
    if (*at + 1 == t.len && !end)
        return NEED_MORE;
    if (*at + 1 < t.len && t.ptr[*at + 1] != '\n') {
        fault(c, *at, "a carriage return outside quotes without a line feed after it");
        return 0;
    }
    *at += *at + 1 < t.len ? 2 : 1;
    return 1;
}

/* Not UTF-8, or a byte that no text has. */
static void check_bytes(dw_csv *c, dw_text t)
{
    for (size_t i = 0; i < t.len;) {
        unsigned char b = (unsigned char)t.ptr[i];
        int len = b < 0x80 ? 1 : dw_utf8_len(t.ptr + i, t.len - i);
        if (b && len) {
            i += (size_t)len;
            continue;
        }
        if (b)
            snprintf(c->why, sizeof c->why, "byte 0x%02x is not UTF-8", b);
        else
            snprintf(c->why, sizeof c->why, "byte 0x00 in a table of text");
        fault(c, i, c->why);
        return;
    }
}

static size_t first_line(dw_text t, bool end)
{
    const char *nl = memchr(t.ptr, '\n', t.len);
    return nl ? (size_t)(nl - t.ptr) + 1 : end ? t.len : 0;
}

size_t dw_csv_scan(dw_csv *c, dw_text t, bool end)
{
    size_t at = 0;
    c->n_cell = 0;
    c->bad = NULL;
    for (int over = 0; !over;) {
        over = at < t.len && t.ptr[at] == '"' ? quoted_cell(c, t, end, &at)
                                              : plain_cell(c, t, end, &at);
        if (!over && !c->bad)
            over = after_cell(c, t, end, &at);
        if (over == NEED_MORE)
            return 0;
        if (c->bad)
            return first_line(t, end);
    }
    check_bytes(c, (dw_text){t.ptr, at});
    return at;
}

/* ---- rows ---- */

static void put_cell(dw_buf *out, const dw_csv_cell *cell, dw_text record)
{
    const char *p = record.ptr + cell->at;
    if (!cell->quoted || !memchr(p, '"', cell->len)) {
        dw_json_put_str(out, p, cell->len);
        return;
    }
    dw_buf plain = {0};
    for (size_t i = 0; i < cell->len; i++) {
        dw_buf_addc(&plain, p[i]);
        i += p[i] == '"';
    }
    dw_json_put_str(out, plain.ptr, plain.len);
    dw_buf_finish(&plain);
}

void dw_csv_header(dw_csv *c, dw_text record)
{
    if (c->bad)
        return;
    if (c->n_cell == 1 && memchr(record.ptr, ';', record.len))
        fault(c, (size_t)((const char *)memchr(record.ptr, ';', record.len) - record.ptr),
              "the header has one column and a ';': save the table with commas between its cells");
    if (c->n_cell == 1 && memchr(record.ptr, '\t', record.len))
        fault(c, (size_t)((const char *)memchr(record.ptr, '\t', record.len) - record.ptr),
              "the header has one column and a tab: call a table with tabs FILE.tsv");
    c->key = dw_zalloc(c->n_cell + 1, sizeof *c->key);
    for (size_t i = 0; i < c->n_cell; i++) {
        dw_buf_clear(&c->json);
        put_cell(&c->json, &c->cell[i], record);
        c->key[i] = dw_strdup(c->json.ptr);
        c->n_key = i + 1;
        for (size_t k = 0; k < i; k++)
            if (!strcmp(c->key[k], c->key[i])) {
                snprintf(c->why, sizeof c->why, "column %.80s appears twice in the header",
                         c->key[i]);
                fault(c, c->cell[i].at - c->cell[i].quoted, c->why);
            }
    }
}

void dw_csv_row(dw_csv *c, dw_text record)
{
    if (!c->bad && c->n_cell != c->n_key) {
        snprintf(c->why, sizeof c->why, "%zu cell%s, but the header has %zu", c->n_cell,
                 c->n_cell == 1 ? "" : "s", c->n_key);
        fault(c, c->n_cell > c->n_key ? c->cell[c->n_key].at - c->cell[c->n_key].quoted : 0,
              c->why);
    }
    if (c->bad)
        return;
    dw_buf_clear(&c->json);
    for (size_t i = 0; i < c->n_cell; i++) {
        dw_buf_addc(&c->json, i ? ',' : '{');
        dw_buf_adds(&c->json, c->key[i]);
        dw_buf_addc(&c->json, ':');
        c->cell[i].json_at = c->json.len;
        put_cell(&c->json, &c->cell[i], record);
    }
    dw_buf_addc(&c->json, '}');
}

size_t dw_csv_place(const dw_csv *c, size_t at)
{
    size_t place = 0;
    if (c->bad)
        return c->bad_at;
    for (size_t i = 0; at && i < c->n_cell && c->cell[i].json_at <= at; i++)
        place = c->cell[i].at - c->cell[i].quoted;
    return place;
}
