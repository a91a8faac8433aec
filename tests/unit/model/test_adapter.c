/* LoRA adapters in PEFT's layout: out and in again, merged into their base, and what is refused. */
#include "model_files.h"

#include <math.h>

static const dw_lora_spec lora = {.rank = 3, .alpha = 6, .targets = DW_LORA_ALL & ~DW_LORA_K};

static dw_model *open_adapted(const char *dir)
{
    dw_model_options o = {.no_tokenizer = true, .lora = &lora, .seed = 3, .trainable = true};
    dw_model *m = must_open(dir, &o);
    dw_params *p = dw_model_trained(m);
    for (size_t i = 0; i < p->n_weight; i++) /* B starts at zero: give it something */
        if (strstr(p->weight[i].name, "lora_b"))
            for (size_t k = 0; k < (size_t)p->weight[i].rows * p->weight[i].cols; k++)
                p->w[p->weight[i].offset + k] = (dw_real)(0.01 * (double)(k % 7) - 0.03);
    dw_model_changed(m);
    return m;
}

static void test_adapter(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    char *base = golden(&f, "llama/tied"), *out = subdir(&f, "adapter"), *two = subdir(&f, "two");
    char a[65], b[65];
    dw_model *m = open_adapted(base);
    dw_model_hash(m, a);
    assert_true(dw_model_has_adapter(m) && !dw_model_base(m)->g && dw_model_trained(m)->g);
    assert_int_equal(dw_model_save_adapter(m, out, &err), DW_OK);
    dw_model_free(m);
    m = must_open(out, &plain);
    dw_model_hash(m, b);
    assert_string_equal(a, b);
    assert_int_equal(dw_model_lora(m)->rank, 3);
    assert_int_equal(dw_model_lora(m)->targets, lora.targets);
    assert_int_equal(dw_model_save_adapter(m, two, &err), DW_OK);
    dw_model_free(m);
    same_file(&f, out, two, "adapter_model.safetensors");
    same_file(&f, out, two, "adapter_config.json");
    folder_end(&f);
}

/* A merged folder holds W + scale B A, computed here from the files alone. */
static void test_merge(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    char *base = golden(&f, "llama/tied"), *out = subdir(&f, "adapter"), *whole = subdir(&f, "w");
    dw_model *m = open_adapted(base);
    assert_int_equal(dw_model_save_adapter(m, out, &err), DW_OK);
    assert_int_equal(dw_model_save(m, whole, DW_SAVE_SOURCE, &err), DW_OK);
    dw_model_free(m);
    dw_checkpoint *c0 = NULL, *c1 = NULL, *ca = NULL;
    assert_int_equal(dw_checkpoint_open(base, &c0, &err), DW_OK);
    assert_int_equal(dw_checkpoint_open(whole, &c1, &err), DW_OK);
    assert_int_equal(dw_checkpoint_open_file(
                         dw_path_join(&f.arena, out, "adapter_model.safetensors"), &ca, &err),
                     DW_OK);
    assert_int_equal(dw_checkpoint_count(c0), dw_checkpoint_count(c1));
    size_t merged = 0;
    for (size_t i = 0; i < dw_checkpoint_count(c0); i++) {
        static dw_real w[8192], v[8192], a[1024], b[1024];
        const dw_tensor_entry *e = dw_checkpoint_at(c0, i);
        const dw_tensor_entry *x = dw_checkpoint_find(c1, e->name);
        int stem = (int)strlen(e->name) - 7; /* ".weight" */
        const char *name = dw_arena_printf(&f.arena, "base_model.model.%.*s.lora_", stem, e->name);
        const dw_tensor_entry *ea =
            dw_checkpoint_find(ca, dw_arena_printf(&f.arena, "%sA.weight", name));
        const dw_tensor_entry *eb =
            dw_checkpoint_find(ca, dw_arena_printf(&f.arena, "%sB.weight", name));
        if (!ea) {
            assert_memory_equal(e->data, x->data, e->bytes);
            continue;
        }
        merged++;
        assert_int_equal(dw_tensor_read(e, w, &err) | dw_tensor_read(x, v, &err), DW_OK);
        assert_int_equal(dw_tensor_read(ea, a, &err) | dw_tensor_read(eb, b, &err), DW_OK);
        for (size_t r = 0; r < e->dim[0]; r++)
            for (size_t k = 0; k < e->dim[1]; k++) {
                double want = (double)w[r * e->dim[1] + k];
                for (size_t j = 0; j < 3; j++)
                    want += 2.0 * (double)b[r * 3 + j] * (double)a[j * e->dim[1] + k];
                assert_true(fabs((double)v[r * e->dim[1] + k] - want) < 1e-6);
            }
    }
    assert_int_equal(merged, 12);
    dw_checkpoint_close(c0);
    dw_checkpoint_close(c1);
    dw_checkpoint_close(ca);
    folder_end(&f);
}

/* Ranks and alphas of their own, layers left out: written as patterns and read again. */
static void test_patterns(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    char *base = golden(&f, "llama/tied"), *out = subdir(&f, "adapter"), *two = subdir(&f, "two");
    dw_lora_part part[2 * DW_N_LORA_TARGET] = {{0}};
    for (int t = 0; t < 7; t++) {
        part[t] = (dw_lora_part){(uint32_t)(2 + t % 3), 4 + t};
        part[DW_N_LORA_TARGET + t] = (dw_lora_part){3, 6};
    }
    part[DW_N_LORA_TARGET + 1].rank = part[DW_N_LORA_TARGET + 6].rank = 0;
    const dw_lora_spec spec = {.rank = 3, .alpha = 6, .targets = DW_LORA_ALL, .part = part};
    const dw_model_options o = {.no_tokenizer = true, .lora = &spec, .seed = 3, .trainable = true};
    dw_model *m = must_open(base, &o);
    char a[65], b[65];
    for (size_t i = 0; i < m->adapter.n; i++)
        m->adapter.w[i] += (dw_real)(0.01 * (double)(i % 7) - 0.03);
    dw_model_hash(m, a);
    assert_int_equal(m->layer[0].lora[DW_SITE_QKV].a.rows, 2 + 3 + 4);
    assert_int_equal(m->layer[1].lora[DW_SITE_QKV].n_target, 2);
    assert_int_equal(m->layer[1].lora[DW_SITE_DOWN].n_target, 0);
    assert_int_equal(dw_model_save_adapter(m, out, &err), DW_OK);
    dw_model_free(m);
    m = must_open(out, &plain);
    dw_model_hash(m, b);
    assert_string_equal(a, b);
    for (uint32_t i = 0; i < 2; i++)
        for (int t = 0; t < 7; t++) {
            const dw_lora_part p = dw_lora_at(dw_model_lora(m), i, t);
            const dw_lora_part *want = &part[i * DW_N_LORA_TARGET + (uint32_t)t];
            assert_int_equal(p.rank, want->rank);
            assert_true(!p.rank || p.alpha == want->alpha);
        }
    assert_int_equal(dw_model_save_adapter(m, two, &err), DW_OK);
    dw_model_free(m);
    same_file(&f, out, two, "adapter_model.safetensors");
    same_file(&f, out, two, "adapter_config.json");
    folder_end(&f);
}

/* What the words of adapter_config.json mean, as peft 0.21 resolves them. */
static void test_meanings(void **state)
{
    static const struct {
        const char *targets, *more; /* raw JSON */
        const char *ranks[2];       /* of q k v o gate up down in the two layers; 0: none */
    } rows[] = {
        {"[\"q_proj\"]", "", {"3000000", "3000000"}},
        {"\"all-linear\"",
         "\"rank_pattern\": {\"q_proj\": 5, \"layers.1.*\": 2}, ",
         {"5333333", "5222222"}},
        {"[\"q_proj\", \"mlp.up_proj\"]",
         "\"rank_pattern\": {\"up_proj\": 4}, ",
         {"3000040", "3000040"}},
        {"[\"q_proj\", \"down_proj\"]", "\"layers_to_transform\": [1], ", {"0000000", "3000003"}},
        {"[\"q_proj\"]",
         "\"layers_to_transform\": 0, \"layers_pattern\": \"layers\", ",
         {"3000000", "0000000"}},
        {"[\"model.layers.1.self_attn.v_proj\", \"o_proj\"]", "", {"0003000", "0033000"}},
        {"\".*\\\\.(q|v)_proj\"", "", {"3030000", "3030000"}},
        {"\"model\\\\.layers\\\\.0\\\\.mlp\\\\.(gate|up)_proj\"",
         "\"rank_pattern\": {\"^model.layers.0.mlp.up_proj\": 7}, ",
         {"0000370", "0000000"}},
        {"[\"k_proj\"]",
         "\"rank_pattern\": {\"proj\": 9, \"attn.k_proj\": 8}, ",
         {"0300000", "0300000"}},
        {"[\"k_proj\"]", "\"rank_pattern\": {\"self_attn.k_proj\": 8}, ", {"0800000", "0800000"}},
        {"[\"k_proj\", \"v_proj\"]",
         "\"rank_pattern\": {\"[kv]_proj\": 6, \"v_proj\": 1}, ",
         {"0660000", "0660000"}},
    };
    folder f;
    folder_begin(&f);
    char *base = golden(&f, "llama/tied");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dw_err err = {{0}};
        dw_arena a = {0};
        dw_json *root = NULL;
        dw_model *m = must_open(base, &plain);
        dw_lora_spec spec = {.rank = 3, .alpha = 6};
        dw_lora_part none = {0};
        dw_top top;
        char *from = NULL;
        folder_puts(&f, "adapter_config.json",
                    dw_arena_printf(&a,
                                    "{\"base_model_name_or_path\": \"%s\", \"peft_type\": "
                                    "\"LORA\", \"r\": 3, \"lora_alpha\": 6, %s"
                                    "\"target_modules\": %s}",
                                    base, rows[i].more, rows[i].targets));
        if (dw_adapter_config(&a, f.path, &spec, &top, &from, &err) < 0 ||
            dw_adapter_fit(&a, f.path, &m->desc, &spec, &err) < 0)
            fail_msg("case %zu: %s", i, err.text);
        for (uint32_t layer = 0; layer < 2; layer++)
            for (int t = 0; t < 7; t++) {
                const dw_lora_part p = layer < m->desc.layers ? dw_lora_at(&spec, layer, t) : none;
                if (p.rank != (uint32_t)(rows[i].ranks[layer][t] - '0'))
                    fail_msg("case %zu: layer %u, target %d: rank %u", i, layer, t, p.rank);
            }
        dw_json_free(root);
        dw_model_free(m);
        dw_arena_finish(&a);
    }
    folder_end(&f);
}

static size_t edit_adapter_missing(dw_tensor_out *t, size_t n)
{
    return n - 2;
}

static size_t edit_adapter_rank(dw_tensor_out *t, size_t n)
{
    named(t, n, "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight")->dim[0] = 2;
    return n;
}

static size_t edit_adapter_extra(dw_tensor_out *t, size_t n)
{
    t[n] = t[0];
    t[n].name = "base_model.model.lm_head.lora_A.weight";
    return n + 1;
}

static void test_bad_adapters(void **state)
{
#define LIST                                                                                       \
    " is not supported (supported: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, "           \
    "down_proj, qkv_proj, gate_up_proj, c_attn, c_proj, c_fc)"
    static const struct {
        const char *find, *with, *message;
    } rows[] = {
        {"\"r\": 3", "\"r\": 0", "r: 0 is outside 1 .. 4096"},
        {"\"r\": 3", "\"r\": \"3\"", "r: wanted an integer, found a string"},
        {"\"r\": 3", "\"r\": 1e9", "r: 1000000000 is outside 1 .. 4096"},
        {"\"lora_alpha\": 6", "\"lora_alpha\": -1", "lora_alpha: -1 is outside 1e-09 .. 1e+09"},
        {"\"LORA\"", "\"IA3\"", "peft_type \"IA3\" is not supported (supported: LORA)"},
        {"\"peft_type\": \"LORA\"", "\"x\": 1", "peft_type is missing"},
        {"\"CAUSAL_LM\"", "\"SEQ_CLS\"",
         "task_type is SEQ_CLS, but modules_to_save does not name score"},
        {"\"bias\": \"none\"", "\"bias\": \"all\"",
         "bias \"all\" is not supported (supported: none)"},
        {"\"use_dora\": false", "\"use_dora\": true", "use_dora is set, which is not supported"},
        {"\"use_dora\": false", "\"lora_bias\": true", "lora_bias is set, which is not supported"},
        {"\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]",
         "modules_to_save is set, which is not supported"},
        {"\"use_dora\": false", "\"rank_pattern\": {\"q_proj\": 0}",
         "rank_pattern: \"q_proj\" is not a whole number in 1 .. 4096"},
        {"\"use_dora\": false", "\"rank_pattern\": {\"q_proj\": 2.5}",
         "rank_pattern: \"q_proj\" is not a whole number in 1 .. 4096"},
        {"\"use_dora\": false", "\"rank_pattern\": [4]",
         "rank_pattern: wanted an object, found an array"},
        {"\"use_dora\": false", "\"alpha_pattern\": {\"q_proj\": \"4\"}",
         "alpha_pattern: \"q_proj\" is not a number in 1e-09 .. 1e+09"},
        {"\"use_dora\": false", "\"alpha_pattern\": {\"q_proj\": -4}",
         "alpha_pattern: \"q_proj\" is not a number in 1e-09 .. 1e+09"},
        {"\"use_dora\": false", "\"layers_to_transform\": [2]",
         "layers_to_transform: wanted numbers of layers, 0 .. 1"},
        {"\"use_dora\": false", "\"layers_to_transform\": \"0\"",
         "layers_to_transform: wanted numbers of layers, 0 .. 1"},
        {"\"use_dora\": false", "\"layers_to_transform\": 0, \"layers_pattern\": \"blocks\"",
         "target_modules: no matrix of the base is meant"},
        {"\"use_dora\": false", "\"exclude_modules\": [\"q_proj\"]",
         "exclude_modules is set, which is not supported"},
        {"\"use_dora\": false", "\"trainable_token_indices\": [1]",
         "trainable_token_indices is set, which is not supported"},
        {"\"q_proj\"", "\"model.layers.7.self_attn.q_proj\"",
         "target_modules: \"model.layers.7.self_attn.q_proj\" is no matrix of the base"},
        {"\"target_modules\": [", "\"target_modules\": \"nothing\", \"x\": [",
         "target_modules: no matrix of the base is meant"},
        {"\"q_proj\"", "\"c_attn\"",
         "lora: llama has no matrix 'qkv' (there are q, k, v, o, gate, up, down)"},
        {"\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa_niter_4\"",
         "init_lora_weights \"pissa_niter_4\" changes the base's weights, which is not supported"},
        {"\"q_proj\"", "\"lm_head\"", "target_modules: \"lm_head\"" LIST},
        {"\"q_proj\"", "1", "target_modules: wanted strings, found a number"},
        {"\"target_modules\": [", "\"x\": [",
         "target_modules: wanted a list of names, found nothing"},
        {"\"target_modules\": [", "\"target_modules\": \".*\", \"x\": [",
         "target_modules: \".*\" means \"lm_head\" too, which is not supported"},
        {"\"target_modules\": [", "\"target_modules\": [], \"x\": [", "target_modules is empty"},
        {"\"use_rslora\": false", "\"use_rslora\": 1",
         "use_rslora: wanted true or false, found a number"},
        {"\"base_model_name_or_path\"", "\"x\"", "base_model_name_or_path is missing"},
    };
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    char *out = subdir(&f, "adapter");
    dw_model *m = open_adapted(golden(&f, "llama/tied"));
    assert_int_equal(dw_model_save_adapter(m, out, &err), DW_OK);
    dw_model_free(m);
    char *config = dw_path_join(&f.arena, out, "adapter_config.json");
    char *good = folder_file(&f, "good.json");
    assert_int_equal(dw_copy_file(config, good, &err), DW_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_edited(&f, good, "adapter/adapter_config.json", rows[i].find, rows[i].with);
        must_fail(out, &plain, config, rows[i].message);
    }
    put_edited(&f, good, "adapter/adapter_config.json", "\"base_model_name_or_path\": \"",
               "\"base_model_name_or_path\": \"org/nothing\", \"x\": \"");
    must_fail(out, &plain, config,
              "base_model_name_or_path: no folder \"org/nothing\" (looked beside the adapter, in "
              "the working directory and in Hugging Face's cache; nothing is downloaded)");

    char *file = dw_path_join(&f.arena, out, "adapter_model.safetensors");
    put_edited(&f, good, "adapter/adapter_config.json", "\"r\": 3", "\"r\": 4");
#define L0 "base_model.model.model.layers.0."
    must_fail(out, &plain, file,
              "24 tensors do not fit adapter_config.json and its base; " L0
              "self_attn.q_proj.lora_A.weight is [3, 32], wanted [4, 32]; " L0
              "self_attn.q_proj.lora_B.weight is [32, 3], wanted [32, 4]; " L0
              "self_attn.v_proj.lora_A.weight is [3, 32], wanted [4, 32]; " L0
              "self_attn.v_proj.lora_B.weight is [16, 3], wanted [16, 4]; " L0
              "self_attn.o_proj.lora_A.weight is [3, 32], wanted [4, 32]; ...");
    put_edited(&f, good, "adapter/adapter_config.json", "\"q_proj\",", "");
    must_fail(out, &plain, file,
              "4 tensors do not fit adapter_config.json and its base; " L0
              "self_attn.q_proj.lora_A.weight is not part of it; " L0
              "self_attn.q_proj.lora_B.weight is not part of it; "
              "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight is not part of it; "
              "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight is not part of it");
    put_edited(&f, good, "adapter/adapter_config.json", "\"q_proj\",", "\"q_proj\", \"k_proj\",");
    must_fail(out, &plain, file,
              "4 tensors do not fit adapter_config.json and its base; " L0
              "self_attn.k_proj.lora_A.weight is missing; " L0
              "self_attn.k_proj.lora_B.weight is missing; "
              "base_model.model.model.layers.1.self_attn.k_proj.lora_A.weight is missing; "
              "base_model.model.model.layers.1.self_attn.k_proj.lora_B.weight is missing");
    assert_int_equal(dw_copy_file(good, config, &err), DW_OK);
    char *whole = folder_file(&f, "good.safetensors");
    assert_int_equal(dw_copy_file(file, whole, &err), DW_OK);
    rewrite(whole, file, edit_adapter_missing);
    must_fail(out, &plain, file,
              "2 tensors do not fit adapter_config.json and its base; "
              "base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight is missing; "
              "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight is missing");
    rewrite(whole, file, edit_adapter_rank);
    must_fail(out, &plain, file,
              "1 tensor does not fit adapter_config.json and its base; " L0
              "mlp.down_proj.lora_A.weight is [2, 40], wanted [3, 40]");
    rewrite(whole, file, edit_adapter_extra);
    must_fail(out, &plain, file,
              "1 tensor does not fit adapter_config.json and its base; "
              "base_model.model.lm_head.lora_A.weight is not part of it");
    assert_int_equal(dw_copy_file(whole, file, &err), DW_OK);
    dw_model_options on_top = {.no_tokenizer = true, .lora = &lora};
    must_fail(out, &on_top, out,
              "an adapter already; another one on top of it is not supported (merge it first)");
    unlink(file);
    must_fail(out, &plain, out, "no adapter_model.safetensors in the folder");
    folder_puts(&f, "adapter/adapter_model.bin", "PK");
    must_fail(out, &plain, out,
              "the weights are a PyTorch pickle (adapter_model.bin): a pickle can run code when it "
              "is read; convert it once with transformers: "
              "AutoModelForCausalLM.from_pretrained(IN).save_pretrained(OUT)");
    folder_end(&f);
}

static void test_bad_spec(void **state)
{
    static const struct {
        dw_lora_spec spec;
        const char *message;
    } rows[] = {
        {{0, 1, false, DW_LORA_ALL, NULL}, "lora: rank 0 is outside 1 .. 4096"},
        {{8, 0, false, DW_LORA_ALL, NULL}, "lora: alpha 0 is not above 0"},
        {{8, 1, false, 0, NULL}, "lora: no known target"},
        {{8, 1, false, 1u << 20, NULL}, "lora: no known target"},
    };
    folder f;
    folder_begin(&f);
    char *dir = golden(&f, "llama/tied");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dw_model_options o = {.no_tokenizer = true, .lora = &rows[i].spec};
        must_fail(dir, &o, dir, rows[i].message);
    }
    folder_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapter),      cmocka_unit_test(test_merge),
        cmocka_unit_test(test_patterns),     cmocka_unit_test(test_meanings),
        cmocka_unit_test(test_bad_adapters), cmocka_unit_test(test_bad_spec),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
