/* Feeds bytes to the JSON reader and writer: what is read, written and read again is the same, and
 * rows are read in one pass as cJSON reads them. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* The one-pass tree against cJSON's: the same message, or the same tree to the spelling. */
static void compare(const char *p, size_t n, const dw_json *v, dw_status st, const dw_err *err)
{
    dw_json *row = NULL;
    dw_err why = {{0}};
    dw_buf one = {0}, two = {0};
    dw_assert(dw_json_parse_row(p, n, DW_JSON_DEPTH_ROW, 1, &row, &why) == st);
    dw_assert(!strcmp(why.text, err->text) && (st < 0) == !row);
    if (row) {
        dw_json_put(&one, v, false, 0);
        dw_json_put(&two, row, false, 0);
        dw_assert(one.len == two.len && !memcmp(one.ptr, two.ptr, one.len));
    }
    dw_buf_finish(&one);
    dw_buf_finish(&two);
    dw_json_free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    dw_json *v = NULL, *again = NULL;
    dw_err err = {{0}};
    dw_arena a = {0};
    dw_buf one = {0}, two = {0};
    dw_json_member *m;
    const dw_status st = dw_json_parse((const char *)p, n, DW_JSON_DEPTH_ROW, 1, &v, &err);
    compare((const char *)p, n, v, st, &err);
    if (st == DW_OK) {
        (void)dw_json_members(&a, (const char *)p, n, &m);
        dw_json_put(&one, v, true, 0);
        dw_assert(dw_utf8_valid(one.ptr, one.len));
        dw_assert(dw_json_parse(one.ptr, one.len, DW_JSON_DEPTH_ROW, 1, &again, &err) == DW_OK);
        dw_json_put(&two, again, true, 0);
        dw_assert(one.len == two.len && !memcmp(one.ptr, two.ptr, one.len));
    }
    dw_buf_finish(&one);
    dw_buf_finish(&two);
    dw_arena_finish(&a);
    dw_json_free(v);
    dw_json_free(again);
    return 0;
}
