/* Feeds bytes to a plan: what is accepted prints as a plan that is accepted. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "train/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    dw_json *v = NULL, *again = NULL;
    dw_err err = {{0}};
    dw_plan *plan = NULL, *second = NULL;
    dw_buf out = {0};
    if (dw_json_parse((const char *)p, n, DW_JSON_DEPTH_HEADER, 1, &v, &err) == DW_OK &&
        dw_plan_parse(v, &plan, &err) == DW_OK) {
        dw_plan_print(plan, &out);
        dw_assert(dw_json_parse(out.ptr, out.len, DW_JSON_DEPTH_HEADER, 1, &again, &err) == DW_OK);
        dw_assert(dw_plan_parse(again, &second, &err) == DW_OK);
    }
    dw_plan_free(plan);
    dw_plan_free(second);
    dw_buf_finish(&out);
    return 0;
}
