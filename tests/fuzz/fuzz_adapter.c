/* Feeds bytes to adapter_config.json, and what is accepted to models of two families. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "fuzz_folder.h"
#include "model/config.h"
#include "model/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const char *const configs[] = {
    "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":32,"
    "\"intermediate_size\":40,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"vocab_size\":64,\"hidden_act\":\"silu\","
    "\"max_position_embeddings\":128,\"rms_norm_eps\":1e-5}",
    "{\"model_type\":\"gpt2\",\"architectures\":[\"GPT2LMHeadModel\"],\"n_embd\":32,"
    "\"n_layer\":3,\"n_head\":4,\"n_positions\":64,\"vocab_size\":64}",
};

/* Every part that a spec names is one that can be made. */
static void check(const dw_description *d, const dw_lora_spec *s)
{
    dw_assert(s->rank > 0 && isfinite(s->alpha));
    for (size_t i = 0; s->part && i < (size_t)d->layers; i++)
        dw_assert(!s->part[i].rank || isfinite(s->part[i].alpha));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    dw_arena a = {0};
    dw_err err = {{0}};
    char own_folder[600];
    dw_lora_spec spec;
    dw_top top;
    char *base;
    /* What the corpus names as bases lies beside it. */
    static const char *const beside[] = {"tied", "llama", "gpt2", "own"};
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        snprintf(own_folder, sizeof own_folder, "%s/%s", fuzz_folder(), beside[i]);
        (void)mkdir(own_folder, 0755);
    }
    fuzz_folder_put("own/adapter_config.json", p, n);
    if (dw_adapter_config(&a, own_folder, &spec, &top, &base, &err) >= 0)
        for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
            dw_json *v = NULL;
            dw_description d;
            dw_lora_spec own = spec;
            dw_assert(dw_json_parse(configs[i], strlen(configs[i]), DW_JSON_DEPTH_HEADER, 1, &v,
                                    &err) == DW_OK &&
                      dw_config_parse(v, &d, &err) == DW_OK);
            if (dw_adapter_fit(&a, own_folder, &d, &own, &err) >= 0)
                check(&d, &own);
            dw_json_free(v);
        }
    dw_arena_finish(&a);
    return 0;
}
