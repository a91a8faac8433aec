/* Feeds bytes to the reader of tables and to what unpacks: rows are JSON whatever the bytes are,
 * and every place that is named lies in the file. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/csv.h"
#include "data/jsonl.h"
#include "data/unpack.h"
#include "memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void table(dw_text all, char separator)
{
    dw_csv c = {.separator = separator};
    size_t at = 0;
    for (bool header = true; at < all.len; header = false) {
        const dw_text rest = {all.ptr + at, all.len - at};
        const size_t len = dw_csv_scan(&c, rest, true);
        dw_assert(len > 0 && len <= rest.len);
        if (header)
            dw_csv_header(&c, (dw_text){rest.ptr, len});
        else
            dw_csv_row(&c, (dw_text){rest.ptr, len});
        dw_assert(!c.bad || c.bad_at <= rest.len);
        if (!header && !c.bad) {
            dw_json *v;
            dw_err err;
            const dw_text row = dw_buf_text(&c.json);
            dw_assert(dw_json_parse_row(row.ptr, row.len, 8, 1, &v, &err) == DW_OK);
            dw_assert(dw_json_len(v) == c.n_key);
            dw_json_free(v);
            for (size_t i = 0; i < row.len; i++)
                dw_assert(dw_csv_place(&c, i) <= len);
        }
        if (header && c.bad)
            break;
        /* Without its last byte a record that a line feed ends is not over. */
        if (!c.bad && rest.ptr[len - 1] == '\n')
            dw_assert(!dw_csv_scan(&c, (dw_text){rest.ptr, len - 1}, false) || c.bad);
        at += len;
    }
    dw_csv_finish(&c);
}

static void packed(dw_text all)
{
    dw_unpack *u = NULL;
    dw_err err;
    dw_buf out = {0};
    size_t at = 0, used = 1;
    const dw_packing kind = dw_unpack_kind(all);
    if (kind == DW_PACK_NONE || dw_unpack_open(kind, &u, &err) < 0)
        return;
    while (used && at < all.len && out.len < 1 << 22) {
        if (dw_unpack_put(u, (dw_text){all.ptr + at, all.len - at}, &used, 4096, &out, &err) < 0)
            break;
        dw_assert(used <= all.len - at);
        at += used;
    }
    dw_buf_finish(&out);
    dw_unpack_close(u);
}

static void rows(const void *p, size_t n)
{
    memory_file f;
    dw_rows *r = NULL;
    dw_err err;
    dw_text row;
    uint32_t line;
    memory_file_open(&f, p, n);
    bool more = dw_rows_open(f.path, &r, &err) == DW_OK;
    for (size_t k = 0; more && k < 1000; k++) {
        dw_json *v = NULL;
        if (dw_rows_next(r, &row, &line, &more, &err) < 0)
            break;
        if (more)
            (void)dw_rows_parse(r, row, &v, &err);
        dw_json_free(v);
    }
    dw_rows_close(r);
    memory_file_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    const dw_text all = {(const char *)p, n};
    table(all, ',');
    table(all, '\t');
    packed(all);
    rows(p, n);
    return 0;
}
