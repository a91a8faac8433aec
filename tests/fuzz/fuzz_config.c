/* Feeds bytes to config.json. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "model/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    dw_json *v = NULL;
    dw_err err = {{0}};
    dw_description d;
    if (dw_json_parse((const char *)p, n, DW_JSON_DEPTH_HEADER, 1, &v, &err) == DW_OK &&
        dw_config_parse(v, &d, &err) == DW_OK)
        dw_assert(d.heads && d.kv_heads && d.heads % d.kv_heads == 0 &&
                  d.head_dim <= DW_MAX_HEAD_DIM && dw_config_turned(&d) <= d.head_dim &&
                  (d.head_dim % 2 == 0 || d.rope == DW_ROPE_NONE));
    dw_json_free(v);
    return 0;
}
