/* Feeds bytes to rows of JSON, one a line or in an array. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "data/jsonl.h"
#include "memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    memory_file f;
    dw_rows *r = NULL;
    dw_err err = {{0}};
    memory_file_open(&f, p, n);
    bool more = dw_rows_open(f.path, &r, &err) == DW_OK;
    while (more) {
        dw_text row;
        uint32_t line;
        dw_json *v = NULL;
        if (dw_rows_next(r, &row, &line, &more, &err) < 0)
            break;
        if (more)
            (void)dw_rows_parse(r, row, &v, &err);
        dw_json_free(v);
    }
    dw_rows_close(r);
    memory_file_close(&f);
    return 0;
}
