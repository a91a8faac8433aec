/* Folders with score and value heads: what opens, what is refused and how, what a fresh head is,
 * and what is written. */
#include "model_files.h"

#include <math.h>

static const dw_model_options sequence = {.no_tokenizer = true, .top = DW_TOP_SEQUENCE, .seed = 3};

/* A copy of a golden folder with config.json or its weights changed. */
static char *broken(folder *f, const char *from, const char *find, const char *with, edit_fn edit)
{
    static int n;
    char *name = dw_arena_printf(&f->arena, "m%d", n++), *dir = subdir(f, name);
    char *source = golden(f, from), *to = dw_path_join(&f->arena, name, "config.json");
    if (find)
        put_edited(f, dw_path_join(&f->arena, source, "config.json"), to, find, with);
    else
        copy(f, source, dir, "config.json");
    if (edit)
        rewrite(dw_path_join(&f->arena, source, "model.safetensors"),
                dw_path_join(&f->arena, dir, "model.safetensors"), edit);
    else
        copy(f, source, dir, "model.safetensors");
    return dir;
}

static size_t narrow_score(dw_tensor_out *t, size_t n)
{
    named(t, n, "score.weight")->dim[0] = 2;
    return n;
}

static size_t long_bias(dw_tensor_out *t, size_t n)
{
    dw_tensor_out *b = named(t, n, "score.bias");
    static const float two[2];
    b->dim[0] = 2;
    b->raw = two;
    return n;
}

static size_t drop_score(dw_tensor_out *t, size_t n)
{
    *named(t, n, "score.weight") = t[n - 1];
    return n - 1;
}

static size_t add_lm_head(dw_tensor_out *t, size_t n)
{
    t[n] = *named(t, n, "model.embed_tokens.weight");
    t[n].name = "lm_head.weight";
    return n + 1;
}

static size_t add_other(dw_tensor_out *t, size_t n)
{
    t[n] = t[0];
    t[n].name = "v_head.summary.weight";
    return n + 1;
}

static const float nan_row[16] = {0, NAN};
static size_t nan_score(dw_tensor_out *t, size_t n)
{
    named(t, n, "score.weight")->raw = nan_row;
    return n;
}

static void test_bad_checkpoints(void **state)
{
    static const struct {
        const char *from, *find, *with;
        edit_fn edit;
        const char *message;
    } rows[] = {
        {"heads/llama_seq", NULL, NULL, narrow_score,
         "1 tensor does not fit config.json; score.weight is [2, 16], wanted [3, 16]"},
        {"heads/llama_seq", NULL, NULL, drop_score,
         "1 tensor does not fit config.json; score.weight is missing"},
        {"heads/llama_tok", NULL, NULL, long_bias,
         "1 tensor does not fit config.json; score.bias is [2], wanted [1]"},
        {"heads/llama_tok", NULL, NULL, nan_score,
         "tensor \"score.weight\" holds nan at element 1"},
        {"heads/llama_seq", NULL, NULL, add_lm_head,
         "1 tensor does not fit config.json; lm_head.weight is not part of it"},
        {"heads/qwen3_seq", "\"LABEL_0\": 0", "", NULL, NULL},
        {"heads/qwen3_seq", "\"pad_token_id\": 0", "\"pad_token_id\": 0, \"num_labels\": 0", NULL,
         "num_labels: 0 is outside 1 .. 65536"},
        {"heads/qwen3_seq", "\"pad_token_id\": 0", "\"pad_token_id\": 0, \"num_labels\": 2", NULL,
         "num_labels is 2, id2label names 1"},
        {"heads/qwen3_seq", "\"0\": \"LABEL_0\"", "", NULL,
         "id2label: 0 labels, wanted 1 .. 65536"},
        {"heads/llama_tok", "\"id2label\": {", "\"id2label\": 3, \"x\": {", NULL,
         "id2label: wanted an object, found a number"},
        {"heads/llama_tok", "\"pad_token_id\": 0",
         "\"pad_token_id\": 0, \"token_classification_bias\": false", NULL,
         "1 tensor does not fit config.json; score.bias is not part of it"},
        {"heads/qwen2_tok", "\"pad_token_id\": 0", "\"pad_token_id\": 0, \"num_labels\": 3", NULL,
         "2 tensors do not fit config.json; score.weight is [2, 16], wanted [3, 16]; score.bias is "
         "[2], wanted [3]"},
    };
    folder f;
    folder_begin(&f);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *dir = broken(&f, rows[i].from, rows[i].find, rows[i].with, rows[i].edit);
        if (!rows[i].message) { /* label2id alone says nothing */
            dw_model_free(must_open(dir, &plain));
            continue;
        }
        bool config = strstr(rows[i].message, "labels:") || strstr(rows[i].message, "num_labels") ||
                      strstr(rows[i].message, "id2label");
        must_fail(dir, &plain, config ? dw_path_join(&f.arena, dir, "config.json") : dir,
                  rows[i].message);
    }
    folder_end(&f);
}

/* What is asked for and what is there. */
static void test_kinds(void **state)
{
    folder f;
    folder_begin(&f);
    char *seq = golden(&f, "heads/llama_seq"), *tok = golden(&f, "heads/llama_tok");
    char *lm = golden(&f, "llama/tied"), *lora = golden(&f, "heads/lora_seq");
    dw_model_options o = sequence;
#define CONFIG(dir) dw_path_join(&f.arena, dir, "config.json")
    must_fail(tok, &o, CONFIG(tok),
              "the checkpoint is TokenClassification, wanted SequenceClassification");
    o.top = DW_TOP_TOKEN;
    must_fail(lora, &o, lora,
              "the adapter is for SequenceClassification, wanted TokenClassification");
    o.top = DW_TOP_SEQUENCE;
    o.score_width = 2;
    must_fail(seq, &o, CONFIG(seq), "the score head has 3 channels, wanted 2");
    o.score_width = 3;
    dw_model *m = must_open(seq, &o);
    assert_int_equal(dw_model_score_width(m), 3);
    dw_model_free(m);
    must_fail(lora, &o, dw_path_join(&f.arena, lora, "adapter_model.safetensors"),
              "1 tensor does not fit adapter_config.json and its base; "
              "base_model.model.score.weight is [2, 16], wanted [3, 16]");
    o = (dw_model_options){.no_tokenizer = true, .score_width = 2};
    dw_err err = {{0}};
    assert_int_equal(dw_model_open(&exec, lm, &o, &m, &err), DW_E_USAGE);
    assert_string_equal(after_path(&err, CONFIG(lm)),
                        "a score head of 2 channels is wanted, but no classification model");
    /* the untied head of a causal model is left out, and nothing else */
    char *untied = golden(&f, "llama/untied_bias");
    m = must_open(untied, &sequence);
    assert_int_equal(dw_model_top(m), DW_TOP_SEQUENCE);
    assert_int_equal(dw_params_find(dw_model_base(m), "head"), -1);
    dw_model_free(m);
    char *more = broken(&f, "llama/untied_bias", NULL, NULL, add_other);
    must_fail(more, &sequence, more,
              "1 tensor does not fit config.json; v_head.summary.weight is not part of it");
    folder_end(&f);
}

/* Normal, variance 1 / (d + 1); the seed's alone; the same whatever is on top. */
static void test_fresh(void **state)
{
    folder f;
    folder_begin(&f);
    static const dw_lora_spec lora = {.rank = 2, .alpha = 2, .targets = DW_LORA_ALL};
    dw_model_options o = sequence;
    o.score_width = 400;
    dw_model *m[4];
    const dw_real *w[4];
    for (int i = 0; i < 4; i++) {
        o.seed = i == 1 ? 4 : 3;
        o.lora = i == 2 ? &lora : NULL;
        o.top = i == 3 ? DW_TOP_TOKEN : DW_TOP_SEQUENCE;
        m[i] = must_open(golden(&f, "llama/tied"), &o);
        const dw_params *p = dw_model_trained(m[i]);
        w[i] = p->w + p->weight[dw_params_find(p, "score")].offset;
    }
    enum { N = 400 * 32 };
    double sum = 0, sq = 0;
    for (size_t i = 0; i < N; i++) {
        sum += (double)w[0][i];
        sq += (double)(w[0][i] * w[0][i]);
    }
    assert_true(fabs(sum / N) < 5 / sqrt(33.0 * N));
    assert_true(fabs(sq / N * 33 - 1) < 5 * sqrt(2.0 / N));
    assert_memory_not_equal(w[0], w[1], N * sizeof **w);
    assert_memory_equal(w[0], w[2], N * sizeof **w);
    assert_memory_equal(w[0], w[3], N * sizeof **w);
    for (int i = 0; i < 4; i++)
        dw_model_free(m[i]);
    folder_end(&f);
}

/* ---- value heads ---- */

static void fill_trained(dw_model *m)
{
    dw_params *p = dw_model_trained(m);
    for (size_t i = 0; i < p->n; i++)
        p->w[i] += (dw_real)(0.01 * sin((double)i));
    dw_model_changed(m);
}

static const dw_real *value_of(dw_model *m, size_t *n)
{
    const dw_params *p = dw_model_trained(m);
    const dw_weight *w = &p->weight[dw_params_find(p, "value")];
    *n = (size_t)w->rows * w->cols;
    return p->w + w->offset;
}

/* Zero at first; in value_head/ of whatever was saved; in the hash. */
static void test_value(void **state)
{
    static const dw_lora_spec lora = {.rank = 2, .alpha = 2, .targets = DW_LORA_Q};
    folder f;
    folder_begin(&f);
    for (int kind = 0; kind < 3; kind++) { /* everything, an adapter, an adapter merged */
        dw_err err = {{0}};
        char hash[3][65];
        size_t n = 0;
        char *dir = subdir(&f, dw_arena_printf(&f.arena, "value%d", kind));
        dw_model_options o = {
            .no_tokenizer = true, .trainable = true, .value_width = 2, .lora = kind ? &lora : NULL};
        dw_model *m = must_open(golden(&f, "llama/tied"), &o);
        assert_int_equal(dw_model_value_width(m), 2);
        const dw_real *v = value_of(m, &n);
        assert_int_equal(n, 64);
        for (size_t i = 0; i < n; i++)
            assert_true(v[i] == 0);
        fill_trained(m);
        dw_model_hash(m, hash[0]);
        assert_int_equal(kind == 1 ? dw_model_save_adapter(m, dir, &err)
                                   : dw_model_save(m, dir, DW_SAVE_SOURCE, &err),
                         DW_OK);
        o.lora = NULL;
        dw_model *again = must_open(dir, &o);
        size_t same = 0;
        const dw_real *u = value_of(again, &same);
        assert_int_equal(n, same);
        assert_memory_equal(u, v, n * sizeof *v);
        dw_model_hash(again, hash[1]);
        if (kind < 2)
            assert_string_equal(hash[0], hash[1]);
        dw_model_free(again);
        dw_model_free(m);
        if (kind == 0) { /* a random model takes nothing from the folder but its config.json */
            assert_int_equal(dw_model_init(&exec, dir, &o, &m, &err), DW_OK);
            v = value_of(m, &n);
            for (size_t i = 0; i < n; i++)
                assert_true(v[i] == 0);
            dw_model_free(m);
        }
        m = must_open(dir, &plain); /* none is wanted */
        assert_int_equal(dw_model_value_width(m), 0);
        dw_model_hash(m, hash[2]);
        assert_string_not_equal(hash[1], hash[2]);
        dw_model_free(m);
    }
    folder_end(&f);
}

static size_t short_value(dw_tensor_out *t, size_t n)
{
    named(t, n, "value_head.weight")->dim[1] = 31;
    return n;
}

static void test_bad_values(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    char *dir = subdir(&f, "m"), *at = dw_path_join(&f.arena, dir, "value_head");
    char *config = dw_path_join(&f.arena, at, "config.json");
    char *weights = dw_path_join(&f.arena, at, "model.safetensors");
    dw_model_options o = {.no_tokenizer = true, .value_width = 1};
    dw_model *m = must_open(golden(&f, "llama/tied"), &o);
    assert_int_equal(dw_model_save(m, dir, DW_SAVE_SOURCE, &err), DW_OK);
    dw_model_free(m);
    o.value_width = 2;
    must_fail(dir, &o, config, "the value head has 1 channel, wanted 2");
    o.value_width = 1;
    static const struct {
        const char *find, *with, *message;
    } rows[] = {
        {"\"width\": 1", "\"width\": 3", "the value head has 3 channels, wanted 1"},
        {"\"width\": 1", "\"width\": -1", "width: -1 is outside 0 .. 4294967295"},
        {"\"hidden_size\": 32", "\"hidden_size\": 33", "hidden_size is 33, the model's is 32"},
        {"value head 1", "value head 2",
         "format is \"dowel value head 2\", wanted \"dowel value head 1\""},
    };
    char *good = dw_path_join(&f.arena, f.path, "good.json");
    assert_int_equal(dw_copy_file(config, good, &err), DW_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_edited(&f, good, "m/value_head/config.json", rows[i].find, rows[i].with);
        must_fail(dir, &o, config, rows[i].message);
    }
    assert_int_equal(dw_copy_file(good, config, &err), DW_OK);
    char *whole = dw_path_join(&f.arena, f.path, "whole.safetensors");
    assert_int_equal(dw_copy_file(weights, whole, &err), DW_OK);
    rewrite(whole, weights, short_value);
    must_fail(dir, &o, weights,
              "1 tensor does not fit the value head's config.json; value_head.weight is [1, 31], "
              "wanted [1, 32]");
    assert_int_equal(unlink(weights), 0);
    assert_int_equal(dw_model_open(&exec, dir, &o, &m, &err), DW_E_INPUT);
    assert_non_null(strstr(err.text, "value_head/model.safetensors"));
    o.value_width = 5000;
    assert_int_equal(dw_model_open(&exec, dir, &o, &m, &err), DW_E_USAGE);
    assert_string_equal(after_path(&err, dw_path_join(&f.arena, dir, "config.json")),
                        "a value head of 5000 channels, at most 4096 are supported");
    folder_end(&f);
}

/* An outline has the same sizes and the same refusals. */
static void test_outline(void **state)
{
    folder f;
    folder_begin(&f);
    dw_err err = {{0}};
    dw_model_options o = {.no_tokenizer = true, .value_width = 1, .trainable = true};
    static const char *const from[] = {"llama/tied", "heads/qwen2_tok", "heads/lora_seq"};
    for (size_t i = 0; i < 3; i++) {
        char *dir = golden(&f, from[i]);
        dw_model *m = must_open(dir, &o), *line = NULL;
        assert_int_equal(dw_model_outline(&exec, dir, &o, &line, &err), DW_OK);
        assert_int_equal(dw_model_bytes(m), dw_model_bytes(line));
        assert_int_equal(dw_model_top(m), dw_model_top(line));
        assert_int_equal(dw_model_score_width(m), dw_model_score_width(line));
        assert_int_equal(dw_model_n_params(m), dw_model_n_params(line));
        dw_model_free(m);
        dw_model_free(line);
    }
    char *bad = broken(&f, "heads/llama_seq", NULL, NULL, narrow_score);
    dw_model *m = NULL;
    assert_int_equal(dw_model_outline(&exec, bad, &o, &m, &err), DW_E_INPUT);
    folder_end(&f);
}

/* An adapter whose file lacks the head it names. */
static size_t drop_adapter_score(dw_tensor_out *t, size_t n)
{
    *named(t, n, "base_model.model.score.weight") = t[n - 1];
    return n - 1;
}

static void test_bad_adapters(void **state)
{
    folder f;
    folder_begin(&f);
    char *from = golden(&f, "heads/lora_seq"), *dir = subdir(&f, "a");
    subdir(&f, "base");
    copy(&f, golden(&f, "heads/base"), folder_file(&f, "base"), "config.json");
    copy(&f, golden(&f, "heads/base"), folder_file(&f, "base"), "model.safetensors");
    copy(&f, from, dir, "adapter_config.json");
    char *weights = dw_path_join(&f.arena, dir, "adapter_model.safetensors");
    rewrite(dw_path_join(&f.arena, from, "adapter_model.safetensors"), weights, drop_adapter_score);
    must_fail(dir, &plain, weights,
              "1 tensor does not fit adapter_config.json and its base; "
              "base_model.model.score.weight is missing");
    copy(&f, from, dir, "adapter_model.safetensors");
    dw_model *m = must_open(dir, &plain);
    assert_int_equal(dw_model_top(m), DW_TOP_SEQUENCE);
    assert_int_equal(dw_model_score_width(m), 2);
    dw_model_free(m);
    static const struct {
        const char *find, *with, *message;
    } rows[] = {
        {"\"SEQ_CLS\"", "\"FEATURE_EXTRACTION\"",
         "task_type \"FEATURE_EXTRACTION\" is not supported (supported: CAUSAL_LM, SEQ_CLS, "
         "TOKEN_CLS)"},
        {"\"SEQ_CLS\"", "\"CAUSAL_LM\"", "modules_to_save is set, which is not supported"},
        {"\"score\"", "\"lm_head\"",
         "modules_to_save: \"lm_head\" is not supported (supported: score)"},
        {"\"classifier\",\n    \"score\"", "\"classifier\"",
         "task_type is SEQ_CLS, but modules_to_save does not name score"},
    };
    char *config = dw_path_join(&f.arena, dir, "adapter_config.json");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_edited(&f, dw_path_join(&f.arena, from, "adapter_config.json"), "a/adapter_config.json",
                   rows[i].find, rows[i].with);
        must_fail(dir, &plain, config, rows[i].message);
    }
    folder_end(&f);
}

/* A fresh head on an adapter that was trained as a language model. */
static void test_causal_adapter(void **state)
{
    folder f;
    folder_begin(&f);
    dw_model_options o = sequence;
    o.trainable = true;
    dw_model *m = must_open(golden(&f, "llama/lora"), &o);
    assert_true(dw_model_has_adapter(m));
    assert_int_equal(dw_model_top(m), DW_TOP_SEQUENCE);
    const dw_params *p = dw_model_trained(m), *b = dw_model_base(m);
    const dw_real *w = p->w + p->weight[dw_params_find(p, "score")].offset;
    const dw_real *u = b->w + b->weight[dw_params_find(b, "score")].offset;
    assert_true(w[0] != 0);
    assert_memory_equal(w, u, 32 * sizeof *w);
    dw_model_free(m);
    folder_end(&f);
}

/* Padding that no text ends with. */
static void test_padding(void **state)
{
    static const struct {
        const char *with, *want;
    } rows[] = {
        {"\"pad_token_id\": 5", "\"pad_token_id\": 5"},
        {"\"pad_token_id\": null", "\"pad_token_id\": 1"}, /* bos */
        {"\"x\": 0", "\"pad_token_id\": 1"},
    };
    folder f;
    folder_begin(&f);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dw_err err = {{0}};
        dw_buf b = {0};
        char *from = broken(&f, "llama/tied", "\"pad_token_id\": 0", rows[i].with, NULL);
        char *to = subdir(&f, dw_arena_printf(&f.arena, "out%zu", i));
        dw_model *m = must_open(from, &sequence);
        assert_int_equal(dw_model_save(m, to, DW_SAVE_SOURCE, &err), DW_OK);
        assert_int_equal(dw_file_read(dw_path_join(&f.arena, to, "config.json"), 1 << 20, &b, &err),
                         DW_OK);
        assert_non_null(strstr(b.ptr, rows[i].want));
        assert_non_null(strstr(b.ptr, "\"LlamaForSequenceClassification\""));
        dw_buf_finish(&b);
        dw_model_free(m);
        dw_model_free(must_open(to, &plain));
    }
    folder_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_checkpoints), cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_fresh),           cmocka_unit_test(test_value),
        cmocka_unit_test(test_bad_values),      cmocka_unit_test(test_outline),
        cmocka_unit_test(test_bad_adapters),    cmocka_unit_test(test_causal_adapter),
        cmocka_unit_test(test_padding),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
