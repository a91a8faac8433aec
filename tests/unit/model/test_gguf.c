/* GGUF: values of every type, files that are wrong in one place, and damage. */
#include "folder.h"

#include <math.h>

#include "gguf_build.h"
#include "model/model_internal.h"

/* ---- values ---- */

static void every_type_as_the_reference_reads_it(void **state)
{
    enum { EACH = 512, TYPES = 11 };
    folder f;
    dw_gguf g = {0};
    dw_mapping map;
    dw_err err = {{0}};
    dw_buf want = {0};
    (void)state;
    folder_begin(&f);
    if (dw_map_open(golden(&f, "gguf/types.gguf"), &map, &err) < 0 ||
        dw_gguf_read(&g, map, &err) < 0 ||
        dw_file_read(golden(&f, "gguf/types.f32"), 1 << 20, &want, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(g.n_tensor, TYPES);
    assert_int_equal(want.len, TYPES * EACH * sizeof(float));
    for (size_t i = 0; i < TYPES; i++) {
        const dw_gguf_tensor *t = &g.tensor[i];
        dw_tensor_entry e = {.name = t->name,
                             .dtype = t->dtype,
                             .n = t->n,
                             .data = t->data,
                             .bytes = t->bytes,
                             .n_dim = 2,
                             .dim = {2, 256}};
        dw_real have[EACH];
        assert_int_equal(t->n, EACH);
        assert_int_equal(dw_tensor_read(&e, have, &err), DW_OK);
        for (size_t k = 0; k < EACH; k++) {
            float x;
            memcpy(&x, want.ptr + (i * EACH + k) * sizeof x, sizeof x);
            if ((float)have[k] != x)
                fail_msg("%s, value %zu: %.9g, wanted %.9g", t->name, k, (double)have[k],
                         (double)x);
        }
    }
    dw_buf_finish(&want);
    dw_gguf_finish(&g);
    folder_end(&f);
}

/* ---- files that are wrong ---- */

static void put_u64_at(dw_buf *b, size_t at, uint64_t x)
{
    memcpy(b->ptr + at, &x, 8);
}

static void put_u32_at(dw_buf *b, size_t at, uint32_t x)
{
    memcpy(b->ptr + at, &x, 4);
}

/* Shape of a matrix: n_dim, cols, rows, type, offset. */
enum { N_DIM = 0, COLS = 4, ROWS = 12, TYPE = 20, OFFSET = 24 };

static void container(gguf_build *g, int n)
{
    dw_buf *t = &g->tensor[0].bytes;
    switch (n) {
    case 0:
        g->version = 1;
        break;
    case 1:
        g->version = 3u << 24;
        break;
    case 2:
        g->more_fields = UINT64_MAX / 2;
        break;
    case 3:
        g->more_tensors = UINT64_MAX / 2;
        break;
    case 4:
        g->more_tensors = 1;
        break;
    case 5:
        g->field[0].name = "";
        break;
    case 6:
        g->field[0].name = "\xff";
        break;
    case 7:
        g->field[1].name = g->field[0].name;
        break;
    case 8:
        put_u32_at(&g->field[1].bytes, 0, 13);
        break;
    case 9:
        gguf_u64(gguf_array(g, "x", DW_GGUF_ARRAY, 1), 0);
        break;
    case 10:
        gguf_array(g, "x", DW_GGUF_U64, UINT64_MAX / 4);
        break;
    case 11:
        gguf_array(g, "x", DW_GGUF_STRING, UINT64_MAX / 16);
        break;
    case 12:
        dw_buf_addc(gguf_array(g, "x", DW_GGUF_BOOL, 1), 2);
        break;
    case 13:
        gguf_int(g, "general.alignment", 24);
        break;
    case 14:
        gguf_int(g, "general.alignment", 4);
        break;
    case 15:
        gguf_str(g, "general.alignment", "32");
        break;
    case 16:
        put_u32_at(t, N_DIM, 0);
        break;
    case 17:
        put_u32_at(t, N_DIM, 5);
        break;
    case 18:
        put_u64_at(t, ROWS, 0);
        break;
    case 19:
        put_u64_at(t, ROWS, UINT64_MAX / 2);
        break;
    case 20:
        put_u32_at(t, TYPE, 99);
        break;
    case 21:
        put_u32_at(t, TYPE, 20);
        break;
    case 22:
        put_u32_at(t, TYPE, 14);
        break;
    case 23:
        put_u64_at(t, OFFSET, 32);
        break;
    case 24:
        g->tensor[1].name = g->tensor[0].name;
        break;
    case 25:
        g->tensor[0].name = "";
        break;
    case 26:
        g->cut = 100;
        break;
    case 27:
        g->more = 40;
        break;
    case 28:
        put_u64_at(t, ROWS, UINT64_C(1) << 50);
        break;
    default:
        g->tensor[0].name = "a\xff";
        break;
    }
}

static const char *const container_says[] = {
    "version 1; wanted 2 or 3",
    "version 50331648 (a big-endian file); wanted 2 or 3",
    "9223372036854775820 keys do not fit into 15528 bytes",
    "9223372036854775818 tensors do not fit into 15528 bytes",
    "a tensor's name at byte 1598 has 0 bytes, wanted 1 to 127",
    "a key at byte 24 has 0 bytes, wanted 1 to 65535",
    "a key at byte 24 is not text",
    "key \"general.architecture\" stands there twice",
    "llama.block_count: type 13 is unknown",
    "x: an array of arrays, which no model needs",
    "x: its value at byte 987: 18446744073709551615 bytes are wanted, and the file has 14597 more",
    "x: 1152921504606846975 strings are wanted, and the file has 14597 more bytes",
    "x: a bool is 2, wanted 0 or 1",
    "general.alignment is 24, wanted a power of two",
    "general.alignment is 4, wanted 8 to 65536",
    "general.alignment is string, wanted an integer",
    "tensor \"token_embd.weight\": has 0 dimensions, wanted 1 to 4",
    "tensor \"token_embd.weight\": has 5 dimensions, wanted 1 to 4",
    "tensor \"token_embd.weight\": dimension 1 is 0",
    "tensor \"token_embd.weight\": the number of elements overflows",
    "tensor \"token_embd.weight\": type 99 is unknown",
    ("tensor \"token_embd.weight\": is IQ4_NL; wanted F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, "
     "Q5_1, "
     "Q4_K, Q5_K or Q6_K"),
    "tensor \"token_embd.weight\": rows of 32 elements are no whole blocks of 256 (Q6_K)",
    "tensor \"token_embd.weight\": begins at byte 32 of the data, wanted 0",
    "tensor \"token_embd.weight\" stands there twice",
    "a tensor's name at byte 962 has 0 bytes, wanted 1 to 127",
    ("tensor \"blk.0.ffn_down.weight\" needs bytes up to 13952 of the data, the file holds 13852 "
     "(cut off?)"),
    "40 bytes follow the last tensor",
    "tensor \"output_norm.weight\": begins at byte 3584 of the data, wanted 144115188075855872",
    "a tensor's name at byte 962 is not text",
};

static void model(gguf_build *g, int n)
{
    static const float nan_ = NAN;
    switch (n) {
    case 0:
        gguf_drop(g, "general.architecture");
        break;
    case 1:
        gguf_str(g, "general.architecture", "mamba");
        break;
    case 2:
        gguf_int(g, "general.architecture", 1);
        break;
    case 3:
        gguf_drop(g, "llama.block_count");
        break;
    case 4:
        gguf_int(g, "llama.block_count", 0);
        break;
    case 5:
        gguf_float(g, "llama.block_count", 1);
        break;
    case 6:
        gguf_drop(g, "llama.attention.head_count");
        break;
    case 7: {
        dw_buf *b = gguf_array(g, "llama.attention.head_count", DW_GGUF_U32, 2);
        gguf_u32(b, 2);
        gguf_u32(b, 1);
        break;
    }
    case 8:
        gguf_int(g, "llama.attention.value_length", 8);
        break;
    case 9:
        gguf_int(g, "llama.expert_count", 8);
        break;
    case 10:
        gguf_float(g, "llama.attention.layer_norm_rms_epsilon", nan_);
        break;
    case 11:
        gguf_str(g, "llama.attention.layer_norm_rms_epsilon", "x");
        break;
    case 12:
        gguf_str(g, "llama.rope.scaling.type", "yarn");
        break;
    case 13:
        gguf_int(g, "llama.rope.dimension_count", 8);
        break;
    case 14:
        g->tensor[0].name = "token_embedding.weight";
        break;
    case 15:
        g->tensor[0].name = "blk.0.attn_q_norm.weight";
        break;
    case 16:
        g->tensor[1].name = "output_norm.scale";
        break;
    case 17:
        g->tensor[5].name = "blk.7.attn_q.weight";
        break;
    case 18:
        gguf_int(g, "llama.attention.head_count", 3);
        break;
    case 19:
        gguf_int(g, "llama.embedding_length", 64);
        break;
    case 20:
        gguf_tensor(g, "rope_freqs.weight", 0, 8, 0);
        break;
    case 21:
        gguf_int(g, "llama.context_length", 0);
        break;
    default:
        gguf_float(g, "llama.rope.freq_base", -1);
        break;
    }
}

static const char *const model_says[] = {
    "general.architecture is missing",
    ("general.architecture is \"mamba\"; wanted llama, qwen2, qwen3, gpt2, gemma, gemma2, gemma3 "
     "or "
     "phi3"),
    "general.architecture is uint32, wanted a string",
    "llama.block_count is missing",
    "llama.block_count is 0, wanted 1 to 2147483647",
    "llama.block_count is float32, wanted an integer",
    "tensor \"blk.0.attn_q.weight\" has 32 rows, no pairs in 0 heads",
    "llama.attention.head_count is an array of uint32, wanted an integer",
    "llama.attention.value_length is 8, wanted that of keys, 16",
    "llama.expert_count is 8: mixtures of experts are not supported",
    "llama.attention.layer_norm_rms_epsilon is nan, wanted 0 to 1",
    "llama.attention.layer_norm_rms_epsilon is string, wanted a number",
    "llama.rope.scaling.type \"yarn\" is not supported",
    "llama.rope.dimension_count is 8, wanted the size of a head, 16",
    "tensor \"token_embedding.weight\" is no part of llama",
    "tensor \"blk.0.attn_q_norm.weight\" is no part of llama",
    "tensor \"output_norm.scale\" is no part of llama",
    ("2 tensors do not fit config.json; model.layers.0.self_attn.k_proj.weight is missing; "
     "model.layers.7.self_attn.q_proj.weight is not part of it"),
    "tensor \"blk.0.attn_q.weight\" has 32 rows, no pairs in 3 heads",
    ("11 tensors do not fit config.json; model.embed_tokens.weight is [28, 32], wanted [28, 64]; "
     "model.layers.0.self_attn.q_proj.weight is [32, 32], wanted [64, 64]; "
     "model.layers.0.self_attn.k_proj.weight is [32, 32], wanted [64, 64]; "
     "model.layers.0.self_attn.v_proj.weight is [32, 32], wanted [64, 64]; "
     "model.layers.0.self_attn.o_proj.weight is [32, 32], wanted [64, 64]; ..."),
    "tensor \"rope_freqs.weight\" is none of the scalings that are known",
    "llama.context_length is 0, wanted 1 to 2147483647",
    "llama.rope.freq_base is -1, wanted 0.001 to 1e+12",
};

static void words(gguf_build *g, int n)
{
    dw_buf *b;
    switch (n) {
    case 0:
        gguf_drop(g, "tokenizer.ggml.model");
        break;
    case 1:
        gguf_str(g, "tokenizer.ggml.model", "bert");
        break;
    case 2:
        gguf_drop(g, "tokenizer.ggml.pre");
        break;
    case 3:
        gguf_str(g, "tokenizer.ggml.pre", "default");
        break;
    case 4:
        gguf_drop(g, "tokenizer.ggml.tokens");
        break;
    case 5:
        gguf_u32(gguf_array(g, "tokenizer.ggml.tokens", DW_GGUF_U32, 1), 1);
        break;
    case 6:
        b = gguf_array(g, "tokenizer.ggml.tokens", DW_GGUF_STRING, 2);
        gguf_text(b, "a");
        gguf_text(b, "a");
        break;
    case 7:
        gguf_text(gguf_array(g, "tokenizer.ggml.tokens", DW_GGUF_STRING, 1), "\xff");
        break;
    case 8:
        gguf_text(gguf_array(g, "tokenizer.ggml.tokens", DW_GGUF_STRING, 1), "");
        break;
    case 9:
        gguf_u32(gguf_array(g, "tokenizer.ggml.token_type", DW_GGUF_I32, 1), 1);
        break;
    case 10:
        gguf_drop(g, "tokenizer.ggml.merges");
        break;
    case 11:
        gguf_text(gguf_array(g, "tokenizer.ggml.merges", DW_GGUF_STRING, 1), "ab");
        break;
    case 12:
        gguf_text(gguf_array(g, "tokenizer.ggml.merges", DW_GGUF_STRING, 1), "a \xff");
        break;
    case 13:
        gguf_int(g, "tokenizer.ggml.eos_token_id", 28);
        break;
    case 14:
        gguf_str(g, "tokenizer.ggml.model", "llama");
        break;
    case 15:
        gguf_str(g, "tokenizer.ggml.model", "llama");
        b = gguf_array(g, "tokenizer.ggml.scores", DW_GGUF_F32, 28);
        for (int i = 0; i < 28; i++)
            gguf_u32(b, i == 3 ? 0x7fc00000 : 0);
        break;
    case 16:
        gguf_str(g, "tokenizer.ggml.add_bos_token", "yes");
        break;
    case 17:
        gguf_int(g, "tokenizer.chat_template", 1);
        break;
    default:
        gguf_text(gguf_array(g, "tokenizer.ggml.merges", DW_GGUF_STRING, 1), "a q");
        break;
    }
}

static const char *const words_say[] = {
    "tokenizer.ggml.model is missing",
    "tokenizer.ggml.model \"bert\" is not supported; wanted gpt2 or llama",
    "tokenizer.ggml.pre is missing, so nobody knows how its words are split",
    ("tokenizer.ggml.pre \"default\" is not supported; wanted gpt-2, smollm, llama-bpe, qwen2, "
     "deepseek-v3 or gpt-4o"),
    "tokenizer.ggml.tokens: wanted at least one token",
    "tokenizer.ggml.tokens is an array of uint32, wanted an array of strings",
    "tokenizer.ggml.tokens, entry 1: the same as entry 0",
    "tokenizer.ggml.tokens, entry 0: not UTF-8",
    "tokenizer.ggml.tokens, entry 0: empty",
    "tokenizer.ggml.token_type: wanted 28 numbers, one for each token",
    "tokenizer.ggml.merges is missing",
    "tokenizer.ggml.merges, entry 0: no two tokens with a space between them",
    "tokenizer.ggml.merges, entry 0: no two tokens with a space between them",
    "tokenizer.ggml.eos_token_id is 28, the tokens end at 27",
    "tokenizer.ggml.scores is missing",
    "tokenizer.ggml.scores, entry 3 is nan",
    "tokenizer.ggml.add_bos_token is string, wanted a bool",
    "tokenizer.chat_template is uint32, wanted a string",
    "model.merges[0]: the result \"aq\" is not in model.vocab",
};

typedef struct zoo {
    const char *name;
    void (*edit)(gguf_build *g, int n);
    const char *const *says;
    int n;
} zoo;

static dw_status open_bytes(folder *f, const char *bytes, size_t n, dw_model **m, dw_err *err)
{
    dw_exec x;
    dw_model_options o = {.trainable = false};
    char *path = folder_put(f, "x.gguf", bytes, n);
    assert_int_equal(dw_exec_init(&x, 1, "plain", err), DW_OK);
    dw_status st = dw_model_outline(&x, path, &o, m, err);
    dw_model_free(*m);
    *m = NULL;
    dw_exec_finish(&x);
    return st;
}

static void every_fault_by_its_name(void **state)
{
    const zoo all[] = {
        {"container", container, container_says, sizeof container_says / sizeof *container_says},
        {"model", model, model_says, sizeof model_says / sizeof *model_says},
        {"words", words, words_say, sizeof words_say / sizeof *words_say},
    };
    int cases = 0, wrong = 0;
    folder f;
    (void)state;
    folder_begin(&f);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        for (int i = 0; i < all[k].n; i++, cases++) {
            gguf_build g;
            dw_buf b = {0};
            dw_model *m = NULL;
            dw_err err = {{0}};
            gguf_llama(&g);
            all[k].edit(&g, i);
            gguf_bytes(&g, &b);
            dw_status st = open_bytes(&f, b.ptr, b.len, &m, &err);
            const char *say = st < 0 ? after_path(&err, folder_file(&f, "x.gguf")) : "accepted";
            if (st != DW_E_INPUT || strcmp(say, all[k].says[i])) {
                print_message("%s %d\n  wanted %s\n  got    %s\n", all[k].name, i, all[k].says[i],
                              say);
                wrong++;
            }
            dw_buf_finish(&b);
            gguf_build_finish(&g);
        }
    folder_end(&f);
    assert_int_equal(wrong, 0);
    assert_true(cases >= 60);
}

static void a_good_one_opens(void **state)
{
    gguf_build g;
    dw_buf b = {0};
    dw_model *m = NULL;
    dw_err err = {{0}};
    folder f;
    (void)state;
    folder_begin(&f);
    gguf_llama(&g);
    gguf_bytes(&g, &b);
    if (open_bytes(&f, b.ptr, b.len, &m, &err) < 0)
        fail_msg("%s", err.text);
    dw_buf_finish(&b);
    gguf_build_finish(&g);
    folder_end(&f);
}

/* ---- damage ---- */

static dw_status read_copy(const char *bytes, size_t n, dw_err *err)
{
    dw_gguf g = {0};
    char *copy = malloc(n + 1); /* so that a sanitizer sees one byte too many */
    memcpy(copy, bytes, n);
    dw_status st = dw_gguf_read(&g, (dw_mapping){(const unsigned char *)copy, n}, err);
    dw_buf config = {0}, a = {0}, t = {0};
    dw_err ignored;
    if (st >= 0) {
        (void)dw_gguf_config(&g, &config, &ignored);
        (void)dw_gguf_tokenizer(&g, &a, &t, &ignored);
    }
    dw_buf_finish(&config);
    dw_buf_finish(&a);
    dw_buf_finish(&t);
    g.map = (dw_mapping){0}; /* not a mapping */
    dw_gguf_finish(&g);
    free(copy);
    return st;
}

static void cut_anywhere_and_flipped_everywhere(void **state)
{
    gguf_build g;
    dw_buf b = {0};
    dw_err err = {{0}};
    size_t accepted = 0;
    (void)state;
    gguf_llama(&g);
    gguf_bytes(&g, &b);
    size_t head = b.len - (size_t)g.end;
    assert_int_equal(read_copy(b.ptr, b.len, &err), DW_OK);
    /* every length of the head, some of the data; the last padding may be missing */
    for (size_t n = 0; n + 32 < b.len; n += n < head ? 1 : 61)
        assert_int_equal(read_copy(b.ptr, n, &err), DW_E_INPUT);
    for (size_t bit = 0; bit < 8 * head; bit++) {
        b.ptr[bit / 8] ^= (char)(1 << bit % 8);
        dw_status st = read_copy(b.ptr, b.len, &err);
        assert_true(st == DW_OK || st == DW_E_INPUT);
        accepted += st == DW_OK; /* a letter of a name, a value of the metadata */
        b.ptr[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_true(accepted < 8 * head);
    dw_buf_finish(&b);
    gguf_build_finish(&g);
}

/* What tokenizer.json leaves out has the value that Hugging Face's tokenizers give it. */
static void a_way_to_split_has_its_name(void **state)
{
    static const char *const ways[][2] = {
        {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}", "gpt-2"},
        {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true}", "gpt-2"},
        {"{\"type\":\"ByteLevel\"}", NULL},
        {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", NULL},
        {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}", NULL},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":"
         "true},{\"type\":\"ByteLevel\",\"add_prefix_space\":false}]}",
         "smollm"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"},{\"type\":\"ByteLevel\","
         "\"add_prefix_space\":false}]}",
         NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char text[400];
        dw_json *v = NULL;
        dw_err err;
        const int n = snprintf(text, sizeof text, "{\"pre_tokenizer\":%s}", ways[i][0]);
        assert_int_equal(dw_json_parse(text, (size_t)n, DW_JSON_DEPTH_HEADER, 1, &v, &err), DW_OK);
        const char *name = dw_gguf_pre_of(v);
        if (ways[i][1])
            assert_string_equal(name, ways[i][1]);
        else
            assert_null(name);
        dw_json_free(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_as_the_reference_reads_it),
        cmocka_unit_test(a_good_one_opens),
        cmocka_unit_test(every_fault_by_its_name),
        cmocka_unit_test(a_way_to_split_has_its_name),
        cmocka_unit_test(cut_anywhere_and_flipped_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
