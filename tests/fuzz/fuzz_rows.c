/* Feeds bytes to the reader of rows: JSON, one value a line or in an array, and then every type of
 * data that such rows could be. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "data/dataset.h"
#include "data/jsonl.h"
#include "memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* A tokenizer of the 95 characters that print; others are left out. */
static dw_tokenizer *tokenizer(void)
{
    static dw_tokenizer *t;
    dw_buf b = {0};
    dw_err err = {{0}};
    if (t)
        return t;
    dw_buf_adds(&b, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":["
                    "{\"id\":95,\"content\":\"<|end|>\",\"single_word\":false,\"lstrip\":false,"
                    "\"rstrip\":false,\"normalized\":false,\"special\":true}],\"normalizer\":null,"
                    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                    "\"trim_offsets\":true,\"use_regex\":true},\"post_processor\":null,"
                    "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
                    "\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\","
                    "\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
                    "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,"
                    "\"vocab\":{\"\u0120\":0,\"\u010a\":96");
    for (int c = 33; c < 127; c++) {
        char text = (char)c;
        dw_buf_addc(&b, ',');
        dw_json_put_str(&b, &text, 1);
        dw_buf_printf(&b, ":%d", c - 32);
    }
    dw_buf_adds(&b, ",\"<|end|>\":95},\"merges\":[]}}");
    if (dw_tokenizer_parse(dw_buf_text(&b), DW_TEXT("{\"eos_token\":\"<|end|>\"}"), "fuzz", &t,
                           &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    dw_buf_finish(&b);
    return t;
}

static void scan(const char *path)
{
    dw_rows *r = NULL;
    dw_err err = {{0}};
    bool more = dw_rows_open(path, &r, &err) == DW_OK;
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
}

/* A template that writes all that it is given. */
static const dw_chat *chat(void)
{
    static dw_chat *c;
    dw_err err;
    if (!c && dw_chat_parse(DW_TEXT("{% if tools %}{{ tools | tojson }}{% endif %}{% for m in "
                                    "messages %}{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content }}"
                                    "{{ m.tool_calls | tojson if m.tool_calls }}{{ '<|im_end|>\n' "
                                    "}}{% endfor %}{% if add_generation_prompt %}"
                                    "{{ '<|im_start|>assistant\n' }}{% endif %}"),
                            "fuzz", tokenizer(), NULL, &c, &err) < 0)
        abort();
    return c;
}

/* Is something of every answer trained on? */
static bool teaches(const dw_row *r, dw_data_type type)
{
    for (uint32_t k = 0; r->mask && k < r->n_answer; k++) {
        const unsigned char *mask = r->mask + (r->answer[k].id - r->answer[0].id);
        bool any = false;
        for (uint32_t i = type == DW_TEXTS; i < r->answer[k].n; i++)
            any |= mask[i] == 1;
        if (!any)
            return false;
    }
    return true;
}

/* What the rest of the program takes for granted about a row. */
static void check(const dw_row *r, dw_data_type type)
{
    bool ok = (type == DW_TEXTS || r->n_prompt > 0) && teaches(r, type);
    for (uint32_t k = 0; k < r->n_answer; k++)
        ok = ok && r->answer[k].n > 0 && (type != DW_LISTS || r->answer[k].rank >= 1);
    for (uint32_t k = 0; k < r->n_step; k++)
        ok = ok && r->step_end[k] < r->answer[0].n &&
             (k == 0 || r->step_end[k] > r->step_end[k - 1]);
    if (!ok || !(r->weight >= 0))
        abort();
}

static void load(const char *path, dw_data_type type, dw_row_layout layout)
{
    static const char *const field[] = {"answer", "a.0"};
    const char *file[] = {path};
    dw_err err = {{0}};
    dw_dataset *d;
    dw_data_spec s = {.type = type,
                      .file = file,
                      .n_file = 1,
                      .add_eos = type != DW_STEPS,
                      .max_tokens = 200,
                      .on_long = DW_LONG_CUT_PROMPT,
                      .layout = layout,
                      .chat = chat(),
                      .field = field,
                      .n_field = 2};
    if (dw_dataset_load(&s, tokenizer(), 0, NULL, NULL, &d, &err) < 0)
        return;
    for (size_t i = 0; i < dw_dataset_len(d); i++)
        check(dw_dataset_row(d, i), type);
    dw_dataset_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    memory_file f;
    memory_file_open(&f, p, n);
    scan(f.path);
    for (int t = 0; t < DW_N_DATA_TYPE; t++)
        for (int l = DW_ROWS_NONE; l <= DW_ROWS_ALPACA; l++)
            load(f.path, (dw_data_type)t, (dw_row_layout)l);
    memory_file_close(&f);
    return 0;
}
