/* Folders in and out: a saved model is the one that was read, bit for bit; adapters in PEFT's
 * layout; and what does not fit is listed. */
#include "folder.h"

#include <math.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/json.h"
#include "model/source.h"

static dw_exec exec;
static const dw_model_options plain = {.no_tokenizer = true};

static dw_model *must_open(const char *dir, const dw_model_options *o)
{
    dw_model *m = NULL;
    dw_err err = {{0}};
    if (dw_model_open(&exec, dir, o, &m, &err) < 0)
        fail_msg("%s", err.text);
    return m;
}

static void must_fail(const char *dir, const dw_model_options *o, const char *path,
                      const char *message)
{
    dw_model *m = NULL;
    dw_err err = {{0}};
    assert_int_equal(dw_model_open(&exec, dir, o, &m, &err), DW_E_INPUT);
    assert_null(m);
    assert_string_equal(after_path(&err, path), message);
}

static char *subdir(folder *f, const char *name)
{
    char *path = folder_file(f, name);
    assert_int_equal(mkdir(path, 0755), 0);
    return path;
}

static void copy(folder *f, const char *from, const char *dir, const char *name)
{
    dw_err err = {{0}};
    assert_int_equal(
        dw_copy_file(dw_path_join(&f->arena, from, name), dw_path_join(&f->arena, dir, name), &err),
        DW_OK);
}

static void same_file(folder *f, const char *a, const char *b, const char *name)
{
    char x[65], y[65];
    dw_err err = {{0}};
    assert_int_equal(dw_sha256_file(dw_path_join(&f->arena, a, name), x, &err), DW_OK);
    assert_int_equal(dw_sha256_file(dw_path_join(&f->arena, b, name), y, &err), DW_OK);
    assert_string_equal(x, y);
}

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

static void put_edited(folder *f, const char *from, const char *to, const char *find,
                       const char *with)
{
    dw_err err = {{0}};
    dw_buf b = {0};
    assert_int_equal(dw_file_read(from, 1 << 24, &b, &err), DW_OK);
    char *at = strstr(b.ptr, find);
    assert_non_null(at);
    folder_puts(
        f, to,
        dw_arena_printf(&f->arena, "%.*s%s%s", (int)(at - b.ptr), b.ptr, with, at + strlen(find)));
    dw_buf_finish(&b);
}

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

/* Reads all tensors of a file, lets `edit` change the list, and writes them to another. */
typedef size_t (*edit_fn)(dw_tensor_out *t, size_t n);
static void rewrite(const char *from, const char *to, edit_fn edit)
{
    dw_checkpoint *c = NULL;
    dw_err err = {{0}};
    dw_tensor_out t[64];
    assert_int_equal(dw_checkpoint_open_file(from, &c, &err), DW_OK);
    size_t n = dw_checkpoint_count(c);
    assert_in_range(n, 1, 60);
    for (size_t i = 0; i < n; i++) {
        const dw_tensor_entry *e = dw_checkpoint_at(c, i);
        t[i] =
            (dw_tensor_out){.name = e->name, .dtype = e->dtype, .n_dim = e->n_dim, .raw = e->data};
        memcpy(t[i].dim, e->dim, sizeof e->dim);
    }
    n = edit(t, n);
    assert_int_equal(dw_safetensors_write(to, t, n, NULL, 0, &err), DW_OK);
    dw_checkpoint_close(c);
}

static dw_tensor_out *named(dw_tensor_out *t, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(t[i].name, name))
            return &t[i];
    fail_msg("no tensor %s", name);
    return NULL;
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
              "no such folder (a model is a Hugging Face folder on disk; nothing is downloaded)");
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
    folder_puts(&f, "generation_config.json", "{\"eos_token_id\": [9, 2, 5]}");
    dw_model *m = must_open(f.path, &plain);
    const int32_t *stop = NULL;
    assert_int_equal(dw_model_stops(m, &stop), 3);
    assert_memory_equal(stop, ((int32_t[]){2, 9, 5}), 3 * sizeof *stop);
    dw_model_free(m);
    folder_end(&f);
}

/* ---- adapters ---- */

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
    " is not supported (supported: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj)"
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
         "task_type \"SEQ_CLS\" is not supported (supported: CAUSAL_LM)"},
        {"\"bias\": \"none\"", "\"bias\": \"all\"",
         "bias \"all\" is not supported (supported: none)"},
        {"\"use_dora\": false", "\"use_dora\": true", "use_dora is set, which is not supported"},
        {"\"use_dora\": false", "\"lora_bias\": true", "lora_bias is set, which is not supported"},
        {"\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]",
         "modules_to_save is set, which is not supported"},
        {"\"use_dora\": false", "\"rank_pattern\": {\"q_proj\": 4}",
         "rank_pattern is set, which is not supported"},
        {"\"use_dora\": false", "\"alpha_pattern\": {\"q_proj\": 4}",
         "alpha_pattern is set, which is not supported"},
        {"\"use_dora\": false", "\"layers_to_transform\": [0]",
         "layers_to_transform is set, which is not supported"},
        {"\"fan_in_fan_out\": false", "\"fan_in_fan_out\": true",
         "fan_in_fan_out is set, which is not supported"},
        {"\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa_niter_4\"",
         "init_lora_weights \"pissa_niter_4\" changes the base's weights, which is not supported"},
        {"\"q_proj\"", "\"lm_head\"", "target_modules: \"lm_head\"" LIST},
        {"\"q_proj\"", "1", "target_modules: wanted strings, found a number"},
        {"\"target_modules\": [", "\"x\": [",
         "target_modules: wanted a list of names, found nothing"},
        {"\"target_modules\": [", "\"target_modules\": \".*\", \"x\": [",
         "target_modules: patterns are not supported, wanted a list of names or \"all-linear\""},
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
              "base_model_name_or_path: no folder \"org/nothing\" (looked beside the adapter and "
              "in the working directory; nothing is downloaded)");

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
        {{0, 1, false, DW_LORA_ALL}, "lora: rank 0 is outside 1 .. 4096"},
        {{8, 0, false, DW_LORA_ALL}, "lora: alpha 0 is not above 0"},
        {{8, 1, false, 0}, "lora: no known target"},
        {{8, 1, false, 1u << 20}, "lora: no known target"},
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

static int setup(void **state)
{
    dw_err err = {{0}};
    return dw_exec_init(&exec, 2, NULL, &err);
}

static int teardown(void **state)
{
    dw_exec_finish(&exec);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_shards),
        cmocka_unit_test(test_dtype),        cmocka_unit_test(test_not_over_source),
        cmocka_unit_test(test_init),         cmocka_unit_test(test_mismatch),
        cmocka_unit_test(test_tensors),      cmocka_unit_test(test_folders),
        cmocka_unit_test(test_adapter),      cmocka_unit_test(test_merge),
        cmocka_unit_test(test_bad_adapters), cmocka_unit_test(test_bad_spec),
        cmocka_unit_test(test_outline),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
