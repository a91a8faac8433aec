/* Folders of other families than Llama that are broken, and adapters that do not belong to them:
 * each is refused by the name of what is wrong. */
#include "model_files.h"

#include <math.h>

static size_t vision(dw_tensor_out *t, size_t n)
{
    t[n] = t[0];
    t[n].name = "model.vision_tower.embeddings.position_embedding.weight";
    return n + 1;
}

/* As nn.Linear has it. */
static size_t linear(dw_tensor_out *t, size_t n)
{
    dw_tensor_out *x = named(t, n, "transformer.h.1.attn.c_attn.weight");
    x->dim[0] = 60;
    x->dim[1] = 20;
    return n;
}

static size_t not_a_number(dw_tensor_out *t, size_t n)
{
    static float v[22 * 20];
    v[2 * 22 + 5] = NAN;
    named(t, n, "transformer.h.0.mlp.c_fc.weight")->raw = v;
    return n;
}

static size_t without_bias(dw_tensor_out *t, size_t n)
{
    *named(t, n, "transformer.ln_f.bias") = t[n - 1];
    return n - 1;
}

static size_t crossed(dw_tensor_out *t, size_t n)
{
    named(t, n, "transformer.h.0.attn.masked_bias")->name =
        "transformer.h.0.crossattention.masked_bias";
    return n;
}

static size_t few_positions(dw_tensor_out *t, size_t n)
{
    named(t, n, "transformer.wpe.weight")->dim[0] = 39;
    return n;
}

static size_t other_prefix(dw_tensor_out *t, size_t n)
{
    named(t, n, "transformer.wte.weight")->name = "gpt.wte.weight";
    return n;
}

static size_t one_norm_less(dw_tensor_out *t, size_t n)
{
    *named(t, n, "model.layers.2.pre_feedforward_layernorm.weight") = t[n - 1];
    return n - 1;
}

static size_t half_fused(dw_tensor_out *t, size_t n)
{
    named(t, n, "model.layers.0.mlp.gate_up_proj.weight")->dim[0] = 20;
    return n;
}

static size_t apart(dw_tensor_out *t, size_t n)
{
    named(t, n, "model.layers.1.self_attn.qkv_proj.weight")->name =
        "model.layers.1.self_attn.q_proj.weight";
    return n;
}

static void test_tensors(void **state)
{
    static const struct {
        const char *from;
        edit_fn edit;
        const char *message;
    } rows[] = {
        {"gemma3_parts", vision,
         "\"model.vision_tower.embeddings.position_embedding.weight\": models of several parts are "
         "not supported; save the decoder alone"},
        {"gpt2", linear,
         "1 tensor does not fit config.json; transformer.h.1.attn.c_attn.weight is [60, 20], "
         "wanted "
         "[20, 60]"},
        {"gpt2", not_a_number,
         "tensor \"transformer.h.0.mlp.c_fc.weight\" holds nan at element 49"},
        {"gpt2", without_bias,
         "1 tensor does not fit config.json; transformer.ln_f.bias is missing"},
        {"gpt2", crossed,
         "1 tensor does not fit config.json; transformer.h.0.crossattention.masked_bias is not "
         "part "
         "of it"},
        {"gpt2", few_positions,
         "1 tensor does not fit config.json; transformer.wpe.weight is [39, 20], wanted [40, 20]"},
        {"gpt2", other_prefix,
         "2 tensors do not fit config.json; transformer.wte.weight is missing; gpt.wte.weight is "
         "not part of it"},
        {"gemma2", one_norm_less,
         "1 tensor does not fit config.json; model.layers.2.pre_feedforward_layernorm.weight is "
         "missing"},
        {"phi3", half_fused,
         "1 tensor does not fit config.json; model.layers.0.mlp.gate_up_proj.weight is [20, 24], "
         "wanted [40, 24]"},
        {"phi3", apart,
         "2 tensors do not fit config.json; model.layers.1.self_attn.qkv_proj.weight is missing; "
         "model.layers.1.self_attn.q_proj.weight is not part of it"},
    };
    folder f;
    folder_begin(&f);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *from = golden(&f, dw_arena_printf(&f.arena, "arch/%s", rows[i].from));
        copy(&f, from, f.path, "config.json");
        rewrite(dw_path_join(&f.arena, from, "model.safetensors"),
                folder_file(&f, "model.safetensors"), rows[i].edit);
        dw_model_options o = plain;
        o.trainable = rows[i].edit == not_a_number; /* frozen matrices are read when needed */
        must_fail(f.path, &o, f.path, rows[i].message);
    }
    folder_end(&f);
}

/* A PEFT adapter of one family on a base of another. */
static void test_adapters(void **state)
{
    static const struct {
        const char *adapter, *find, *with, *message;
    } rows[] = {
        {"lora_gpt2", "../gpt2", "../gemma",
         "lora: gemma has no matrix 'qkv' (there are q, k, v, o, gate, up, down)"},
        {"lora_gpt2", "../gpt2", "../phi3",
         "lora: phi3 has no matrix 'up' (there are o, down, qkv, gate_up)"},
        {"lora_phi3", "../phi3", "../gpt2",
         "lora: gpt2 has no matrix 'gate_up' (there are o, up, down, qkv)"},
        {"lora_gemma2", "../gemma2", "../gpt2",
         "lora: gpt2 has no matrix 'v' (there are o, up, down, qkv)"},
        {"lora_gemma3", "../gemma3", "../phi3",
         "lora: phi3 has no matrix 'q' (there are o, down, qkv, gate_up)"},
    };
    folder f;
    folder_begin(&f);
    char *config = folder_file(&f, "adapter_config.json");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *from = golden(&f, dw_arena_printf(&f.arena, "arch/%s", rows[i].adapter));
        char *base = golden(&f, dw_arena_printf(&f.arena, "arch/%s", rows[i].with + 3));
        char root[4096];
        assert_non_null(realpath(base, root));
        copy(&f, from, f.path, "adapter_model.safetensors");
        put_edited(&f, dw_path_join(&f.arena, from, "adapter_config.json"), "adapter_config.json",
                   rows[i].find, root);
        must_fail(f.path, &plain, config, rows[i].message);
    }
    folder_end(&f);
}

/* What a recipe may ask of a new adapter. */
static void test_targets(void **state)
{
    static const struct {
        const char *base;
        uint32_t want, have;
        const char *message;
    } rows[] = {
        {"gpt2", DW_LORA_ALL, DW_LORA_QKV | DW_LORA_O | DW_LORA_UP | DW_LORA_DOWN, NULL},
        {"gpt2", DW_LORA_Q | DW_LORA_K | DW_LORA_V, DW_LORA_QKV, NULL},
        {"gpt2", DW_LORA_GATE, 0, "lora: gpt2 has no matrix 'gate' (there are o, up, down, qkv)"},
        {"gpt2", DW_LORA_Q | DW_LORA_V, 0,
         "lora: gpt2 has no matrix 'q' (there are o, up, down, qkv)"},
        {"phi3", DW_LORA_ALL, DW_LORA_QKV | DW_LORA_O | DW_LORA_GATE_UP | DW_LORA_DOWN, NULL},
        {"phi3", DW_LORA_GATE | DW_LORA_UP | DW_LORA_O, DW_LORA_GATE_UP | DW_LORA_O, NULL},
        {"phi3", DW_LORA_UP, 0, "lora: phi3 has no matrix 'up' (there are o, down, qkv, gate_up)"},
        {"gemma2", DW_LORA_ALL, DW_LORA_ALL, NULL},
        {"gemma2", DW_LORA_QKV, 0,
         "lora: gemma2 has no matrix 'qkv' (there are q, k, v, o, gate, up, down)"},
        {"gemma2", 1u << 9, 0, "lora: no known target"},
        {"gemma2", 0, 0, "lora: no known target"},
    };
    folder f;
    folder_begin(&f);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const dw_lora_spec lora = {.rank = 2, .alpha = 2, .targets = rows[i].want};
        const dw_model_options o = {.no_tokenizer = true, .lora = &lora};
        char *dir = golden(&f, dw_arena_printf(&f.arena, "arch/%s", rows[i].base));
        if (rows[i].message) {
            must_fail(dir, &o, dir, rows[i].message);
            continue;
        }
        dw_model *m = must_open(dir, &o);
        assert_int_equal(dw_model_lora(m)->targets, rows[i].have);
        dw_model_free(m);
    }
    folder_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_adapters),
        cmocka_unit_test(test_targets),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
