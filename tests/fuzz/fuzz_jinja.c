/* Feeds bytes to the template interpreter as a template: whatever it accepts renders or is refused,
 * within its limits. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "text/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const char talk[] =
    "[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\" H\xc3\xa9 "
    "<|im_end|>\\n\"},"
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"<think>x</think>y\"}],"
    "\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1.0,\"b\":[null,true]}}}]},"
    "{\"role\":\"tool\",\"content\":\"{}\",\"n\":12345678901234567890}]";
static const char tools[] = "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":"
                            "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"number\"}}}}}]";

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    dw_err err = {{0}};
    dw_json *messages = NULL, *t = NULL;
    dw_chat *c = NULL;
    dw_chat_out out = {0};
    dw_assert(!dw_json_parse(talk, sizeof talk - 1, 64, 1, &messages, &err));
    dw_assert(!dw_json_parse(tools, sizeof tools - 1, 64, 1, &t, &err));
    if (!dw_chat_parse((dw_text){(const char *)p, n}, "fuzz", NULL, NULL, &c, &err)) {
        for (int open = 0; open < 2; open++) {
            const dw_chat_request r = {
                .messages = messages, .tools = open ? t : NULL, .add_generation_prompt = open != 0};
            err.text[0] = 0;
            dw_chat_out_clear(&out);
            const dw_status st = dw_chat_render(c, &r, &out, &err);
            dw_assert((st != DW_OK) == (err.text[0] != 0));
            dw_assert(st == DW_OK || out.text.len == 0);
            dw_assert(st != DW_E_BUG);
            dw_assert(dw_utf8_valid(dw_buf_text(&out.text).ptr, out.text.len));
        }
    } else {
        dw_assert(err.text[0] != 0);
    }
    dw_chat_free(c);
    dw_chat_out_finish(&out);
    dw_json_free(messages);
    dw_json_free(t);
    return 0;
}
