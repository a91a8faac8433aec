/* A run small enough for tests: a folder with a random Llama of a few thousand parameters, a
 * byte-level tokenizer without merges, data files, and plans over them. */
#ifndef DW_TEST_TINY_H
#define DW_TEST_TINY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "train/plan.h"
#include "train/run.h"

typedef struct tiny {
    dw_arena arena;
    const char *dir; /* of everything; removed by tiny_finish */
} tiny;

static void tiny_must(dw_status st, const dw_err *err)
{
    if (st >= 0)
        return;
    fprintf(stderr, "unexpected error %d: %s\n", (int)st, err->text);
    abort();
}

static void tiny_write(tiny *t, const char *name, const char *text)
{
    dw_err err = {{0}};
    const char *path = dw_path_join(&t->arena, t->dir, name);
    tiny_must(dw_mkdirs(dw_path_dir(&t->arena, path), &err), &err);
    tiny_must(dw_file_write(path, text, strlen(text), &err), &err);
}

/* GPT-2's table from bytes to printable code points. */
static void tiny_byte_name(int byte, dw_buf *out)
{
    int cp = byte, n = 0;
    if (!((byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) ||
          (byte >= 174 && byte <= 255))) {
        for (int b = 0; b < byte; b++)
            n += !((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255));
        cp = 256 + n;
    }
    if (cp < 128) {
        char c = (char)cp;
        dw_json_put_str(out, &c, 1);
        return;
    }
    char u[2] = {(char)(0xc0 | (cp >> 6)), (char)(0x80 | (cp & 63))};
    dw_json_put_str(out, u, 2);
}

static void tiny_tokenizer(tiny *t)
{
    dw_buf b = {0};
    dw_buf_adds(&b, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":["
                    "{\"id\":256,\"content\":\"<|end|>\",\"single_word\":false,\"lstrip\":false,"
                    "\"rstrip\":false,\"normalized\":false,\"special\":true}],"
                    "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
                    "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
                    "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\","
                    "\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},"
                    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
                    "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
                    "\"fuse_unk\":false,\"byte_fallback\":false,\"vocab\":{");
    for (int i = 0; i < 256; i++) {
        dw_buf_adds(&b, i ? "," : "");
        tiny_byte_name(i, &b);
        dw_buf_printf(&b, ":%d", i);
    }
    dw_buf_adds(&b, ",\"<|end|>\":256},\"merges\":[]}}");
    tiny_write(t, "model/tokenizer.json", b.ptr);
    tiny_write(t, "model/tokenizer_config.json",
               "{\"eos_token\":\"<|end|>\",\"tokenizer_class\":\"PreTrainedTokenizerFast\"}");
    dw_buf_finish(&b);
}

static void tiny_data(tiny *t)
{
    dw_buf pairs = {0}, prompts = {0}, chats = {0};
    for (int i = 0; i < 11; i++) {
        dw_buf_printf(&pairs,
                      "{\"prompt\":\"q%d?\",\"chosen\":\"yes %d\",\"rejected\":\"no, never %d\"}\n",
                      i, i * 7, i);
        dw_buf_printf(&prompts, "{\"prompt\":\"%d plus %d\",\"answer\":\"%d\"}\n", i, i, 2 * i);
        dw_buf_printf(&chats, "{\"prompt\":\"say %d\",\"completion\":\"well: %d%d\"}\n", i, i, i);
    }
    tiny_write(t, "pairs.jsonl", pairs.ptr);
    tiny_write(t, "prompts.jsonl", prompts.ptr);
    tiny_write(t, "chats.jsonl", chats.ptr);
    dw_buf_finish(&pairs);
    dw_buf_finish(&prompts);
    dw_buf_finish(&chats);
}

static void tiny_weights(tiny *t)
{
    dw_exec x;
    dw_model *m = NULL;
    dw_err err = {{0}};
    dw_model_options o = {.seed = 5};
    const char *to = dw_path_join(&t->arena, t->dir, "saved");
    tiny_must(dw_exec_init(&x, 1, NULL, &err), &err);
    tiny_must(dw_model_init(&x, dw_path_join(&t->arena, t->dir, "model"), &o, &m, &err), &err);
    tiny_must(dw_mkdirs(to, &err), &err);
    tiny_must(dw_model_save(m, to, DW_SAVE_F32, &err), &err);
    dw_model_free(m);
    dw_exec_finish(&x);
}

static inline tiny tiny_make(void)
{
    tiny t = {0};
    char name[] = "/tmp/dowel-test-XXXXXX";
    if (!mkdtemp(name))
        abort();
    t.dir = dw_arena_strdup(&t.arena, name);
    tiny_write(&t, "model/config.json",
               "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
               "\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":2,"
               "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"vocab_size\":257,"
               "\"max_position_embeddings\":256,\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,"
               "\"tie_word_embeddings\":true,\"hidden_act\":\"silu\",\"eos_token_id\":256,"
               "\"initializer_range\":0.2,\"torch_dtype\":\"float32\"}");
    tiny_tokenizer(&t);
    tiny_data(&t);
    tiny_weights(&t);
    return t;
}

static inline void tiny_finish(tiny *t)
{
    dw_err err = {{0}};
    dw_remove_tree(t->dir, &err);
    dw_arena_finish(&t->arena);
}

/* Pieces of plans; %s is the folder. */
#define TINY_SFT                                                                                   \
    "\"sft\":{\"data\":{\"type\":\"completions\",\"files\":[\"DIR/chats.jsonl\"]},\"rows\":4,"     \
    "\"objectives\":{\"sft\":{\"plugin\":\"sft\",\"weight\":1}}}"
#define TINY_DPO                                                                                   \
    "\"dpo\":{\"data\":{\"type\":\"pairs\",\"files\":[\"DIR/pairs.jsonl\"]},\"rows\":4,"           \
    "\"objectives\":{\"dpo\":{\"plugin\":\"dpo\",\"weight\":1}}}"
#define TINY_GRPO                                                                                  \
    "\"grpo\":{\"data\":{\"type\":\"prompts\",\"files\":[\"DIR/prompts.jsonl\"]},\"rows\":2,"      \
    "\"rollout\":{\"samples\":4,\"max_tokens\":12},\"rewards\":{\"brief\":{\"weight\":1,"          \
    "\"plugin\":\"brevity\",\"options\":{\"budget\":4,\"slope\":0.02}}},"                          \
    "\"objectives\":{\"grpo\":{\"plugin\":\"grpo\",\"weight\":1}}}"

/* Fills in plugin options: plan.json needs them complete. */
static inline dw_plan *tiny_plan(tiny *t, const char *tasks, const char *weights, const char *rest)
{
    dw_buf b = {0};
    dw_buf_printf(&b,
                  "{\"dowel\":1,\"name\":\"tiny\",\"seed\":17,\"model\":{\"path\":\"DIR/saved\""
                  "%s},\"tasks\":{%s},\"schedule\":[{\"steps\":6,\"weights\":{%s}}],"
                  "\"optimizer\":{\"kind\":\"adamw\",\"lr\":0.003}%s}",
                  strstr(rest, "LORA") ? ",\"adapter\":{\"rank\":4,\"alpha\":8}" : "", tasks,
                  weights, strstr(rest, "LORA") ? rest + 4 : rest);
    dw_buf full = {0};
    for (const char *p = b.ptr; *p;) {
        if (!strncmp(p, "DIR", 3)) {
            dw_buf_adds(&full, t->dir);
            p += 3;
        } else {
            dw_buf_addc(&full, *p++);
        }
    }
    dw_json *root = NULL;
    dw_plan *plan = NULL;
    dw_err err = {{0}};
    tiny_must(dw_json_parse(full.ptr, full.len, DW_JSON_DEPTH_HEADER, 1, &root, &err), &err);
    tiny_must(dw_plan_parse(root, &plan, &err), &err);
    dw_buf_finish(&b);
    dw_buf_finish(&full);
    return plan;
}

static inline dw_run_options tiny_options(tiny *t, const char *run, uint64_t stop_at)
{
    return (dw_run_options){.out = dw_path_join(&t->arena, t->dir, run),
                            .threads = 1,
                            .quiet = true,
                            .stop_at = stop_at};
}

#endif
