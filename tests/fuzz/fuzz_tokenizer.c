/* Feeds bytes to tokenizer.json: whatever is accepted encodes, and what it encodes decodes. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const char text[] =
        "It's 42\n\n  cafe\xcc\x81 <|im_start|> \xf0\x9f\x98\x80\tx<0x41>\xe2\x96\x81\xef\xac\x81";
    dw_tokenizer *t = NULL;
    dw_err err = {{0}};
    dw_ids ids = {0};
    dw_buf out = {0};
    if (dw_tokenizer_parse((dw_text){(const char *)p, n}, (dw_text){NULL, 0}, "fuzz", &t, &err) ==
        DW_OK) {
        for (unsigned flags = 0; flags <= (DW_TOK_ADD_SPECIAL | DW_TOK_PARSE_SPECIAL); flags++) {
            ids.n = 0;
            if (dw_tokenizer_encode(t, (dw_text){text, sizeof text - 1}, flags, &ids, &err) < 0)
                continue;
            for (size_t i = 0; i < ids.n; i++)
                dw_assert(ids.id[i] >= 0 && ids.id[i] < dw_tokenizer_size(t));
            dw_buf_clear(&out);
            if (dw_tokenizer_decode(t, ids.id, ids.n, false, &out, &err) == DW_OK)
                dw_assert(!out.len || dw_utf8_valid(out.ptr, out.len));
        }
    }
    dw_ids_finish(&ids);
    dw_buf_finish(&out);
    dw_tokenizer_free(t);
    return 0;
}
