/* Models of every family written as GGUF and read back. */
#include "folder.h"

#include <math.h>

#include "model/gguf.h"
#include "model/model_internal.h"

static const char tokenizer[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[{\"id\":3,"
    "\"content\":\"<e>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":"
    "false,\"special\":true}],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
    "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},\"post_processor\":null,"
    "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
    "\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
    "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,"
    "\"byte_fallback\":false,\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"<e>\":3},\"merges\":[[\"a\","
    "\"b\"]]}}";

static void round_trip(const char *config, dw_dtype dtype, double within)
{
    folder f;
    dw_exec x;
    dw_err err = {{0}};
    dw_model *a = NULL, *b = NULL;
    dw_model_options o = {.seed = 5, .trainable = true}; /* so that all weights are read */
    folder_begin(&f);
    assert_int_equal(dw_copy_file(golden(&f, config), folder_file(&f, "config.json"), &err), DW_OK);
    folder_puts(&f, "tokenizer.json", tokenizer);
    folder_puts(&f, "tokenizer_config.json",
                "{\"eos_token\":\"<e>\",\"chat_template\":\"{{ messages }}\"}");
    assert_int_equal(dw_exec_init(&x, 1, "plain", &err), DW_OK);
    if (dw_model_init(&x, f.path, &o, &a, &err) < 0)
        fail_msg("%s", err.text);
    char *path = folder_file(&f, "out.gguf");
    if (dw_gguf_export(a, path, dtype, &err) < 0 || dw_model_open(&x, path, &o, &b, &err) < 0)
        fail_msg("%s: %s", config, err.text);
    const dw_params *p = dw_model_base(a), *q = dw_model_base(b);
    assert_int_equal(p->n_weight, q->n_weight);
    for (size_t i = 0; i < p->n_weight; i++) {
        const dw_weight *w = &p->weight[i];
        assert_string_equal(w->name, q->weight[i].name);
        assert_int_equal(w->rows, q->weight[i].rows);
        for (size_t k = 0; k < (size_t)w->rows * w->cols; k++) {
            double have = (double)q->w[q->weight[i].offset + k], want = (double)p->w[w->offset + k];
            if (!(fabs(have - want) <= within))
                fail_msg("%s: %s[%zu]: %.9g, wanted %.9g", config, w->name, k, have, want);
        }
    }
    const dw_description *d = &a->desc, *e = &b->desc;
    assert_true(d->rope_theta == e->rope_theta && d->attn_scale == e->attn_scale &&
                d->attn_softcap == e->attn_softcap && d->head_softcap == e->head_softcap &&
                d->embed_scale == e->embed_scale && d->tied == e->tied && d->rope == e->rope);
    for (uint32_t i = 0; i < d->layers; i++)
        assert_int_equal(d->window[i], e->window[i]);
    assert_int_equal(dw_tokenizer_eos(dw_model_tokenizer(b)), 3);
    bool there;
    dw_buf text = {0};
    assert_int_equal(dw_model_sidecar(b, "tokenizer_config.json", &there, &text, &err), DW_OK);
    assert_true(there && strstr(text.ptr, "{{ messages }}"));
    dw_buf_finish(&text);
    dw_model_free(a);
    dw_model_free(b);
    dw_exec_finish(&x);
    folder_end(&f);
}

static void models_come_back(void **state)
{
    (void)state;
    round_trip("llama/tied/config.json", DW_DT_F32, 0);
    round_trip("llama/untied_bias/config.json", DW_DT_F32, 0);
    round_trip("llama/llama3/config.json", DW_DT_F32, 0);
    round_trip("llama/linear/config.json", DW_DT_F32, 0);
    round_trip("llama/qwen2/config.json", DW_DT_F32, 0);
    round_trip("llama/qwen3/config.json", DW_DT_F32, 0);
    round_trip("llama/tied/config.json", DW_DT_BF16, 4e-4);
    round_trip("arch/gpt2/config.json", DW_DT_F32, 0);
    round_trip("arch/gemma/config.json", DW_DT_F32, 1e-7);
    round_trip("arch/phi3/config.json", DW_DT_F32, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(models_come_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
