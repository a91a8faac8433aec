/* Builds GGUF files in memory, right or wrong, for tests. */
#ifndef DW_TESTS_GGUF_BUILD_H
#define DW_TESTS_GGUF_BUILD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "model/gguf.h"

enum { GGUF_MOST = 64 };

typedef struct gguf_part { /* a key or a tensor */
    const char *name;
    dw_buf bytes;  /* behind the name: a key's type and value; a tensor's shape, type, offset */
    uint64_t data; /* bytes of a tensor's values */
} gguf_part;

typedef struct gguf_build {
    uint32_t version;
    uint64_t more_fields, more_tensors; /* said, and not there */
    gguf_part field[GGUF_MOST], tensor[GGUF_MOST];
    size_t n_field, n_tensor;
    uint64_t end;
    size_t cut, more; /* bytes left out and added at the end */
} gguf_build;

static inline void gguf_u32(dw_buf *b, uint32_t x)
{
    dw_buf_add(b, &x, 4);
}

static inline void gguf_u64(dw_buf *b, uint64_t x)
{
    dw_buf_add(b, &x, 8);
}

static inline void gguf_text(dw_buf *b, const char *s)
{
    gguf_u64(b, strlen(s));
    dw_buf_adds(b, s);
}

/* The part of this name, emptied, or a new one. */
static inline dw_buf *gguf_field(gguf_build *g, const char *name)
{
    for (size_t i = 0; i < g->n_field; i++)
        if (!strcmp(g->field[i].name, name)) {
            dw_buf_clear(&g->field[i].bytes);
            return &g->field[i].bytes;
        }
    g->field[g->n_field].name = name;
    return &g->field[g->n_field++].bytes;
}

static inline void gguf_drop(gguf_build *g, const char *name)
{
    for (size_t i = 0; i < g->n_field; i++)
        if (!strcmp(g->field[i].name, name)) {
            dw_buf_finish(&g->field[i].bytes);
            memmove(&g->field[i], &g->field[i + 1], (--g->n_field - i) * sizeof *g->field);
            g->field[g->n_field] = (gguf_part){0};
            return;
        }
    abort();
}

static inline void gguf_int(gguf_build *g, const char *key, uint32_t x)
{
    dw_buf *b = gguf_field(g, key);
    gguf_u32(b, DW_GGUF_U32);
    gguf_u32(b, x);
}

static inline void gguf_float(gguf_build *g, const char *key, float x)
{
    dw_buf *b = gguf_field(g, key);
    gguf_u32(b, DW_GGUF_F32);
    dw_buf_add(b, &x, 4);
}

static inline void gguf_str(gguf_build *g, const char *key, const char *s)
{
    dw_buf *b = gguf_field(g, key);
    gguf_u32(b, DW_GGUF_STRING);
    gguf_text(b, s);
}

static inline dw_buf *gguf_array(gguf_build *g, const char *key, uint32_t type, uint64_t n)
{
    dw_buf *b = gguf_field(g, key);
    gguf_u32(b, DW_GGUF_ARRAY);
    gguf_u32(b, type);
    gguf_u64(b, n);
    return b;
}

static inline gguf_part *gguf_tensor(gguf_build *g, const char *name, uint32_t type, uint64_t cols,
                                     uint64_t rows)
{
    gguf_part *t = &g->tensor[g->n_tensor++];
    dw_dtype d = dw_gguf_dtype(type);
    t->name = name;
    gguf_u32(&t->bytes, rows ? 2 : 1);
    gguf_u64(&t->bytes, cols);
    if (rows)
        gguf_u64(&t->bytes, rows);
    gguf_u32(&t->bytes, type);
    gguf_u64(&t->bytes, g->end);
    t->data = cols / dw_quant_block(d) * dw_quant_bytes(d) * (rows ? rows : 1);
    g->end += t->data + dw_gguf_padding(t->data);
    return t;
}

static inline void gguf_bytes(const gguf_build *g, dw_buf *out)
{
    dw_buf_adds(out, "GGUF");
    gguf_u32(out, g->version);
    gguf_u64(out, g->n_tensor + g->more_tensors);
    gguf_u64(out, g->n_field + g->more_fields);
    for (size_t i = 0; i < g->n_field; i++) {
        gguf_text(out, g->field[i].name);
        dw_buf_add(out, g->field[i].bytes.ptr, g->field[i].bytes.len);
    }
    for (size_t i = 0; i < g->n_tensor; i++) {
        gguf_text(out, g->tensor[i].name);
        dw_buf_add(out, g->tensor[i].bytes.ptr, g->tensor[i].bytes.len);
    }
    for (size_t n = dw_gguf_padding(out->len); n > 0; n--)
        dw_buf_addc(out, 0);
    for (size_t i = 0; i < g->n_tensor; i++)
        for (uint64_t n = g->tensor[i].data + dw_gguf_padding(g->tensor[i].data); n > 0; n--)
            dw_buf_addc(out, 0);
    for (size_t i = 0; i < g->more; i++)
        dw_buf_addc(out, 'x');
    out->len -= g->cut;
}

static inline void gguf_build_finish(gguf_build *g)
{
    for (size_t i = 0; i < GGUF_MOST; i++) {
        dw_buf_finish(&g->field[i].bytes);
        dw_buf_finish(&g->tensor[i].bytes);
    }
}

/* A llama of one layer, width 32, two heads, with the letters as its tokens. */
static inline void gguf_llama(gguf_build *g)
{
    static const char *const names[] = {"blk.0.attn_q.weight",   "blk.0.attn_k.weight",
                                        "blk.0.attn_v.weight",   "blk.0.attn_output.weight",
                                        "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"};
    *g = (gguf_build){.version = 3};
    gguf_str(g, "general.architecture", "llama");
    gguf_int(g, "llama.block_count", 1);
    gguf_int(g, "llama.context_length", 64);
    gguf_int(g, "llama.embedding_length", 32);
    gguf_int(g, "llama.feed_forward_length", 32);
    gguf_int(g, "llama.attention.head_count", 2);
    gguf_float(g, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_str(g, "tokenizer.ggml.model", "gpt2");
    gguf_str(g, "tokenizer.ggml.pre", "gpt-2");
    dw_buf *b = gguf_array(g, "tokenizer.ggml.tokens", DW_GGUF_STRING, 28);
    for (char c = 'a'; c <= 'z'; c++)
        gguf_text(b, (char[2]){c, 0});
    gguf_text(b, "ab");
    gguf_text(b, "<end>");
    b = gguf_array(g, "tokenizer.ggml.token_type", DW_GGUF_I32, 28);
    for (uint32_t i = 0; i < 28; i++)
        gguf_u32(b, i < 27 ? 1 : 3);
    gguf_text(gguf_array(g, "tokenizer.ggml.merges", DW_GGUF_STRING, 1), "a b");
    gguf_int(g, "tokenizer.ggml.eos_token_id", 27);
    gguf_tensor(g, "token_embd.weight", 0, 32, 28);
    gguf_tensor(g, "output_norm.weight", 0, 32, 0);
    gguf_tensor(g, "blk.0.attn_norm.weight", 0, 32, 0);
    gguf_tensor(g, "blk.0.ffn_norm.weight", 0, 32, 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        gguf_tensor(g, names[i], i % 2 ? 8 : 1, 32, 32);
    gguf_tensor(g, "blk.0.ffn_down.weight", 2, 32, 32);
}

#endif
