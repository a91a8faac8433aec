/* Model folders in and out: a saved model is the one that was read, bit for bit, and what does not
 * fit config.json is listed. */
#include "model_files.h"

#include <math.h>

#include "base/json.h"

static void test_round_trip(void **state)
{
    static const char *const cases[] = {"tied",    "untied_bias", "llama3", "linear",
                                        "mistral", "qwen2",       "qwen3"};
    folder f;
    folder_begin(&f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dw_err err = {{0}};
        char *from = golden(&f, dw_arena_printf(&f.arena, "llama/%s", cases[i]));
        char *to = subdir(&f, cases[i]);
        char a[65], b[65];
        dw_model *m = must_open(from, &plain);
        assert_int_equal(dw_model_save(m, to, DW_SAVE_SOURCE, &err), DW_OK);
        dw_model_hash(m, a);
        dw_model_free(m);
        same_file(&f, from, to, "model.safetensors");
        same_file(&f, from, to, "config.json");
        same_file(&f, from, to, "expected.json"); /* a file that nobody knows */
        assert_false(dw_file_exists(dw_path_join(&f.arena, to, "expected.safetensors")));
        m = must_open(to, &plain);
        dw_model_hash(m, b);
        assert_string_equal(a, b);
        dw_model_free(m);
    }
    folder_end(&f);
}

static void test_shards(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    char *from = golden(&f, "llama/untied_bias"), *to = subdir(&f, "out"), *back = subdir(&f, "b");
    dw_model *m = must_open(from, &plain);
    assert_int_equal(dw_model_save_shards(m, to, DW_SAVE_SOURCE, 20000, &err), DW_OK);
    dw_model_free(m);
    assert_true(dw_file_exists(dw_path_join(&f.arena, to, "model.safetensors.index.json")));
    assert_true(dw_file_exists(dw_path_join(&f.arena, to, "model-00004-of-00004.safetensors")));
    assert_false(dw_file_exists(dw_path_join(&f.arena, to, "model.safetensors")));
    m = must_open(to, &plain);
    assert_int_equal(dw_model_save(m, back, DW_SAVE_SOURCE, &err), DW_OK);
    dw_model_free(m);
    same_file(&f, from, back, "model.safetensors");
    folder_end(&f);
}

/* bfloat16 out, and from there on nothing changes any more; config.json differs in one value. */
static void test_dtype(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    char *from = golden(&f, "llama/linear"), *half = subdir(&f, "half"), *again = subdir(&f, "a");
    dw_model *m = must_open(from, &plain);
    assert_int_equal(dw_model_save(m, half, DW_SAVE_BF16, &err), DW_OK);
    dw_model_free(m);
    m = must_open(half, &plain);
    assert_string_equal(dw_model_description(m)->dtype, "bfloat16");
    assert_int_equal(dw_model_save(m, again, DW_SAVE_SOURCE, &err), DW_OK);
    dw_model_free(m);
    same_file(&f, half, again, "model.safetensors");
    same_file(&f, half, again, "config.json");
    dw_buf a = {0}, b = {0};
    assert_int_equal(dw_file_read(dw_path_join(&f.arena, from, "config.json"), 1 << 20, &a, &err),
                     DW_OK);
    assert_int_equal(dw_file_read(dw_path_join(&f.arena, half, "config.json"), 1 << 20, &b, &err),
                     DW_OK);
    char *at = strstr(a.ptr, "\"float32\"");
    assert_non_null(at);
    char *want = dw_arena_printf(&f.arena, "%.*s\"bfloat16\"%s", (int)(at - a.ptr), a.ptr, at + 9);
    assert_string_equal(b.ptr, want);
    dw_buf_finish(&a);
    dw_buf_finish(&b);
    folder_end(&f);
}

static void test_not_over_source(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    char *from = golden(&f, "llama/tied"), *to = subdir(&f, "m");
    copy(&f, from, to, "config.json");
    copy(&f, from, to, "model.safetensors");
    dw_model *m = must_open(to, &plain);
    char *roundabout = dw_arena_printf(&f.arena, "%s/../m", to);
    assert_int_equal(dw_model_save(m, roundabout, DW_SAVE_SOURCE, &err), DW_E_USAGE);
    assert_string_equal(after_path(&err, roundabout),
                        "is the folder the model was read from; save elsewhere");
    dw_model_free(m);
    folder_end(&f);
}

static void test_init(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    char *dir = golden(&f, "llama/untied_bias");
    dw_model_options o = {.no_tokenizer = true, .seed = 7};
    dw_model *m[3];
    char hash[3][65];
    for (int i = 0; i < 3; i++) {
        o.seed = i == 2 ? 8 : 7;
        assert_int_equal(dw_model_init(&exec, dir, &o, &m[i], &err), DW_OK);
        dw_model_hash(m[i], hash[i]);
    }
    assert_string_equal(hash[0], hash[1]);
    assert_string_not_equal(hash[0], hash[2]);
    const dw_params *p = dw_model_base(m[0]);
    for (size_t i = 0; i < p->n_weight; i++) {
        const dw_weight *w = &p->weight[i];
        size_t n = (size_t)w->rows * w->cols;
        double sum = 0, sq = 0;
        for (size_t k = 0; k < n; k++) {
            double v = (double)p->w[w->offset + k];
            sum += v;
            sq += v * v;
        }
        bool norm = strstr(w->name, "norm") != NULL;
        if (!w->decay)
            assert_true(sum == (norm ? (double)n : 0));
        else /* normal(0, 0.02): the standard error of the deviation is 0.02 / sqrt(2n) */
            assert_true(fabs(sqrt(sq / (double)n) - 0.02) < 5 * 0.02 / sqrt(2.0 * (double)n));
    }
    for (int i = 0; i < 3; i++)
        dw_model_free(m[i]);
    folder_end(&f);
}

/* ---- what does not fit ---- */

static void test_mismatch(void **state)
{
    static const struct {
        const char *find, *with, *message;
    } rows[] = {
        {"\"vocab_size\": 64", "\"vocab_size\": 65",
         "1 tensor does not fit config.json; model.embed_tokens.weight is [64, 32], wanted [65, "
         "32]"},
        {"\"vocab_size\": 64", "\"vocab_size\": 16000000",
         "1 tensor does not fit config.json; model.embed_tokens.weight is [64, 32], wanted "
         "[16000000, 32]"},
        {"\"num_key_value_heads\": 2", "\"num_key_value_heads\": 1",
         "4 tensors do not fit config.json; model.layers.0.self_attn.k_proj.weight is [16, 32], "
         "wanted [8, 32]; model.layers.0.self_attn.v_proj.weight is [16, 32], wanted [8, 32]; "
         "model.layers.1.self_attn.k_proj.weight is [16, 32], wanted [8, 32]; "
         "model.layers.1.self_attn.v_proj.weight is [16, 32], wanted [8, 32]"},
        {"\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false",
         "1 tensor does not fit config.json; lm_head.weight is missing"},
        {"\"mlp_bias\": false", "\"mlp_bias\": true",
         "6 tensors do not fit config.json; model.layers.0.mlp.gate_proj.bias is missing; "
         "model.layers.0.mlp.up_proj.bias is missing; model.layers.0.mlp.down_proj.bias is "
         "missing; model.layers.1.mlp.gate_proj.bias is missing; model.layers.1.mlp.up_proj.bias "
         "is missing; ..."},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 512",
         "4590 tensors do not fit config.json; model.layers.2.self_attn.q_proj.weight is missing; "
         "model.layers.2.self_attn.k_proj.weight is missing; "
         "model.layers.2.self_attn.v_proj.weight is missing; "
         "model.layers.2.self_attn.o_proj.weight is missing; model.layers.2.mlp.gate_proj.weight "
         "is missing; ..."},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1",
         "9 tensors do not fit config.json; model.layers.1.input_layernorm.weight is not part of "
         "it; model.layers.1.mlp.down_proj.weight is not part of it; "
         "model.layers.1.mlp.gate_proj.weight is not part of it; "
         "model.layers.1.mlp.up_proj.weight is not part of it; "
         "model.layers.1.post_attention_layernorm.weight is not part of it; ..."},
    };
    folder f;
    folder_begin(&f);
    char *from = golden(&f, "llama/tied");
    copy(&f, from, f.path, "model.safetensors");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_edited(&f, dw_path_join(&f.arena, from, "config.json"), "config.json", rows[i].find,
                   rows[i].with);
        must_fail(f.path, &plain, f.path, rows[i].message);
    }
    folder_end(&f);
}

static size_t edit_tied_copy(dw_tensor_out *t, size_t n)
{
    t[n] = *named(t, n, "model.embed_tokens.weight");
    t[n].name = "lm_head.weight";
    return n + 1;
}

static size_t edit_other_head(dw_tensor_out *t, size_t n)
{
    static float other[64 * 32] = {1};
    n = edit_tied_copy(t, n);
    t[n - 1].raw = other;
    return n;
}

static size_t edit_buffers(dw_tensor_out *t, size_t n)
{
    static const float freq[4] = {1, 2, 3, 4};
    t[n] = (dw_tensor_out){.name = "model.layers.0.self_attn.rotary_emb.inv_freq",
                           .dtype = DW_DT_F32,
                           .n_dim = 1,
                           .dim = {4},
                           .raw = freq};
    return n + 1;
}

static size_t edit_nan(dw_tensor_out *t, size_t n)
{
    static float v[32] = {1, 2, NAN};
    named(t, n, "model.norm.weight")->raw = v;
    return n;
}

static size_t edit_int(dw_tensor_out *t, size_t n)
{
    named(t, n, "model.norm.weight")->dtype = DW_DT_I32;
    return n;
}

static size_t edit_transposed(dw_tensor_out *t, size_t n)
{
    dw_tensor_out *x = named(t, n, "model.layers.1.mlp.up_proj.weight");
    x->dim[0] = 32;
    x->dim[1] = 40;
    return n;
}

static void test_tensors(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    char *from = golden(&f, "llama/tied"), *to = subdir(&f, "out");
    char *source = dw_path_join(&f.arena, from, "model.safetensors");
    char *file = folder_file(&f, "model.safetensors");
    copy(&f, from, f.path, "config.json");

    rewrite(source, file, edit_tied_copy); /* a second copy of the head is not written again */
    dw_model *m = must_open(f.path, &plain);
    assert_int_equal(dw_model_save(m, to, DW_SAVE_SOURCE, &err), DW_OK);
    dw_model_free(m);
    same_file(&f, from, to, "model.safetensors");

    rewrite(source, file, edit_buffers); /* what the computation ignores is kept */
    m = must_open(f.path, &plain);
    assert_int_equal(dw_model_save(m, to, DW_SAVE_F16, &err), DW_OK);
    dw_model_free(m);
    dw_checkpoint *c = NULL;
    assert_int_equal(dw_checkpoint_open(to, &c, &err), DW_OK);
    const dw_tensor_entry *e =
        dw_checkpoint_find(c, "model.layers.0.self_attn.rotary_emb.inv_freq");
    assert_non_null(e);
    assert_int_equal(e->dtype, DW_DT_F32);
    assert_int_equal(dw_checkpoint_find(c, "model.norm.weight")->dtype, DW_DT_F16);
    dw_checkpoint_close(c);

    rewrite(source, file, edit_other_head);
    must_fail(f.path, &plain, f.path,
              "tie_word_embeddings is true, but lm_head.weight differs from "
              "model.embed_tokens.weight");
    rewrite(source, file, edit_nan);
    must_fail(f.path, &plain, f.path, "tensor \"model.norm.weight\" holds nan at element 2");
    rewrite(source, file, edit_int);
    must_fail(f.path, &plain, f.path,
              "tensor \"model.norm.weight\" is I32, wanted F32, F16, BF16 or F64");
    rewrite(source, file, edit_transposed);
    must_fail(f.path, &plain, f.path,
              "1 tensor does not fit config.json; model.layers.1.mlp.up_proj.weight is [32, 40], "
              "wanted [40, 32]");
    folder_end(&f);
}

static void test_folders(void **state)
{
    folder f;
    folder_begin(&f);
    must_fail(folder_file(&f, "none"), &plain, folder_file(&f, "none"),
              "no such folder (a model is a Hugging Face folder, a GGUF file, or a name in Hugging "
              "Face's cache; nothing is downloaded)");
    char *file = golden(&f, "llama/tied/model.safetensors");
    must_fail(file, &plain, file, "a file; wanted the folder that holds it");
    copy(&f, golden(&f, "llama/tied"), f.path, "model.safetensors");
    must_fail(f.path, &plain, folder_file(&f, "config.json"),
              "cannot open: No such file or directory");
    copy(&f, golden(&f, "llama/tied"), f.path, "config.json");
    must_fail(f.path, &(dw_model_options){0}, f.path, "no tokenizer.json in the folder");
    folder_puts(&f, "generation_config.json", "{\"eos_token_id\": [2, 640]}");
    must_fail(f.path, &plain, folder_file(&f, "generation_config.json"),
              "eos_token_id: 640 is outside 0 .. 63");
    folder_puts(&f, "generation_config.json", "[2]");
    must_fail(f.path, &plain, folder_file(&f, "generation_config.json"),
              "wanted an object, found an array");
    folder_puts(&f, "generation_config.json", "{\"eos_token_id\": [9, 2, 5]}");
    dw_model *m = must_open(f.path, &plain);
    const int32_t *stop = NULL;
    assert_int_equal(dw_model_stops(m, &stop), 3);
    assert_memory_equal(stop, ((int32_t[]){2, 9, 5}), 3 * sizeof *stop);
    dw_model_free(m);
    folder_end(&f);
}

/* An outline knows what the model would be, and the command prints it. */
static void test_outline(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    dw_model *m = NULL;
    const dw_model_options o = {.no_tokenizer = true, .trainable = true};
    char *dir = golden(&f, "llama/tied");
    assert_int_equal(dw_model_outline(&exec, dir, &o, &m, &err), DW_OK);
    dw_model *whole = must_open(dir, &o);
    assert_int_equal(dw_model_n_params(m), 16032);
    assert_int_equal(dw_model_bytes(m), dw_model_bytes(whole));
    /* weights and gradients, and a packed copy of the matrices; nothing is padded much */
    assert_in_range(dw_model_bytes(m), 3 * 4 * 15500, 3 * 4 * 16500);
    dw_model_free(m);
    dw_model_free(whole);
    const char *bin = getenv("DOWEL_BIN");
    if (bin) {
        static char text[8192];
        char *lora_dir = golden(&f, "llama/lora");
        FILE *p = popen(dw_arena_printf(&f.arena, "%s inspect %s --json", bin, lora_dir), "r");
        assert_non_null(p);
        size_t n = fread(text, 1, sizeof text - 1, p);
        assert_int_equal(pclose(p), 0);
        dw_json *root = NULL;
        assert_int_equal(dw_json_parse(text, n, 64, 1, &root, &err), DW_OK);
        assert_true(dw_json_num(dw_json_get(root, "parameters")) == 16032);
        assert_true(dw_json_num(dw_json_path(root, "adapter.rank")) == 3);
        assert_true(dw_json_num(dw_json_path(root, "adapter.parameters")) == 2352);
        assert_true(dw_json_num(dw_json_path(root, "memory.train_full")) > 200000);
        assert_true(dw_json_num(dw_json_path(root, "tensors.F32")) == 20);
        dw_json_free(root);
    }
    folder_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_shards),
        cmocka_unit_test(test_dtype),      cmocka_unit_test(test_not_over_source),
        cmocka_unit_test(test_init),       cmocka_unit_test(test_mismatch),
        cmocka_unit_test(test_tensors),    cmocka_unit_test(test_folders),
        cmocka_unit_test(test_outline),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
