/* config.json of a saved model: the source's bytes with a few values replaced or added. */
#include <string.h>

#include "base/json.h"
#include "model/config.h"
#include "model/source.h"

typedef struct edit {
    const char *key, *raw; /* raw NULL: nothing to do */
    bool add;              /* when the key is not there */
    bool only_null;        /* replace null, nothing else */
    bool done;
} edit;

enum { EDITS = 8 };

static void apply(dw_arena *a, dw_buf *b, const dw_buf *config, edit *e)
{
    dw_json_member *m = NULL;
    size_t n = dw_json_members(a, config->ptr, config->len, &m);
    dw_buf body = {0};
    const char *done = memchr(config->ptr, '{', config->len);
    dw_buf_add(b, config->ptr, (size_t)(++done - config->ptr));
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < EDITS; k++) {
            if (!e[k].raw || !dw_text_is(m[i].key, e[k].key))
                continue;
            e[k].done = true;
            if (e[k].only_null && !dw_text_is(m[i].raw, "null"))
                continue;
            dw_buf_add(&body, done, (size_t)(m[i].raw.ptr - done));
            dw_buf_adds(&body, e[k].raw);
            done = m[i].raw.ptr + m[i].raw.len;
        }
    dw_buf_add(&body, done, (size_t)(config->ptr + config->len - done));
    for (int k = 0; k < EDITS; k++)
        if (e[k].raw && e[k].add && !e[k].done)
            dw_buf_printf(b, "\n  \"%s\": %s%s", e[k].key, e[k].raw, n ? "," : "");
    dw_buf_add(b, body.ptr, body.len);
    dw_buf_finish(&body);
}

/* transformers reads the score of the last token that is not padding, so padding must be no token
 * that ends a text; one that the tokenizer names wins, as batches are padded with it. */
static int32_t padding(const dw_model *m)
{
    const dw_tokenizer *t = m->tokenizer;
    int32_t id = m->desc.pad;
    if (id < 0 && t)
        id = dw_tokenizer_pad(t);
    if (id < 0 && t)
        id = dw_tokenizer_find(t, DW_TEXT("<unk>"));
    if (id < 0)
        id = m->desc.bos;
    for (size_t i = 0; i < m->n_stop && m->desc.pad < 0; i++)
        if (id == m->stop[i] && !(t && id == dw_tokenizer_pad(t)))
            id = -1;
    return id < (int32_t)m->desc.vocab ? id : -1;
}

static char *raw(dw_arena *a, dw_buf *b)
{
    char *s = dw_arena_strdup(a, b->ptr);
    dw_buf_finish(b);
    return s;
}

/* {"0": "LABEL_0", ...}, or the inverse; what transformers calls labels that have no name. */
static char *labels(dw_arena *a, uint32_t n, bool inverse)
{
    dw_buf b = {0};
    for (uint32_t i = 0; i < n; i++)
        dw_buf_printf(&b, inverse ? "%s\n    \"LABEL_%u\": %u" : "%s\n    \"%u\": \"LABEL_%u\"",
                      i ? "," : "{", i, i);
    dw_buf_adds(&b, "\n  }");
    return raw(a, &b);
}

void dw_source_put_config(dw_arena *a, dw_buf *b, const dw_model *m, dw_save_dtype want)
{
    static const char *const dtypes[] = {[DW_SAVE_SOURCE] = NULL,
                                         [DW_SAVE_F32] = "\"float32\"",
                                         [DW_SAVE_BF16] = "\"bfloat16\"",
                                         [DW_SAVE_F16] = "\"float16\""};
    edit e[EDITS] = {{.key = "dtype", .raw = dtypes[want]},
                     {.key = "torch_dtype", .raw = dtypes[want]}};
    if (m->source->fresh_score) {
        const uint32_t n = m->desc.score_width;
        const int32_t pad = padding(m);
        e[2] = (edit){
            .key = "architectures",
            .raw = dw_arena_printf(a, "[\n    \"%s\"\n  ]", dw_config_class(&m->desc, m->desc.top)),
            .add = true};
        e[3] = (edit){.key = "id2label", .raw = labels(a, n, false), .add = true};
        e[4] = (edit){.key = "label2id", .raw = labels(a, n, true), .add = true};
        e[5] = (edit){.key = "num_labels", .raw = dw_arena_printf(a, "%u", n), .add = true};
        e[6] = (edit){.key = "token_classification_bias", .raw = "true"};
        if (pad >= 0)
            e[7] = (edit){.key = "pad_token_id",
                          .raw = dw_arena_printf(a, "%d", pad),
                          .add = true,
                          .only_null = true};
    }
    apply(a, b, &m->source->config, e);
}
