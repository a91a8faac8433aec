/* The GGUF container, versions 2 and 3, little-endian: metadata and tensors. Every length, count,
 * type, shape and offset is checked against the mapped file before anything is sized by it. */
#ifndef DW_MODEL_GGUF_H
#define DW_MODEL_GGUF_H

#include "base/arena.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "model/model.h"

typedef enum dw_gguf_type {
    DW_GGUF_U8,
    DW_GGUF_I8,
    DW_GGUF_U16,
    DW_GGUF_I16,
    DW_GGUF_U32,
    DW_GGUF_I32,
    DW_GGUF_F32,
    DW_GGUF_BOOL,
    DW_GGUF_STRING,
    DW_GGUF_ARRAY,
    DW_GGUF_U64,
    DW_GGUF_I64,
    DW_GGUF_F64,
    DW_GGUF_N_TYPE
} dw_gguf_type;

/* One key of the metadata. `at` is its value, or the first element of an array, in the mapping. */
typedef struct dw_gguf_field {
    const char *key;
    dw_gguf_type type; /* of an array: of its elements */
    bool array;
    uint64_t n; /* elements; 1 */
    const unsigned char *at;
} dw_gguf_field;

typedef struct dw_gguf_tensor {
    const char *name;
    dw_dtype dtype;
    uint32_t n_dim;
    uint64_t dim[4]; /* as stored: the first one is contiguous */
    uint64_t n, bytes;
    const unsigned char *data;
} dw_gguf_tensor;

typedef struct dw_gguf {
    dw_arena arena;
    dw_mapping map;
    dw_gguf_field *field;
    size_t n_field, cap_field;
    dw_gguf_tensor *tensor;
    size_t n_tensor, cap_tensor;
    dw_map by_key, by_name;
} dw_gguf;

/* Reads a mapped file, which g owns from here on; messages do not name the file. */
dw_status dw_gguf_read(dw_gguf *g, dw_mapping map, dw_err *err);
void dw_gguf_finish(dw_gguf *g); /* accepts a zeroed one */

const dw_gguf_field *dw_gguf_find(const dw_gguf *g, const char *key); /* NULL: none */
const dw_gguf_tensor *dw_gguf_find_tensor(const dw_gguf *g, const char *name);
/* Typed access; *there false and *out untouched where the key is missing; another type or a value
 * out of range is refused by the key's name. Integers of any width, floats of both. */
dw_status dw_gguf_int(const dw_gguf *g, const char *key, int64_t lo, int64_t hi, bool *there,
                      int64_t *out, dw_err *err);
dw_status dw_gguf_num(const dw_gguf *g, const char *key, double lo, double hi, bool *there,
                      double *out, dw_err *err);
dw_status dw_gguf_bool(const dw_gguf *g, const char *key, bool *there, bool *out, dw_err *err);
dw_status dw_gguf_str(const dw_gguf *g, const char *key, bool *there, dw_text *out, dw_err *err);
/* An array of strings, UTF-8 or not, in g's arena; *out NULL where the key is missing. */
dw_status dw_gguf_strings(dw_gguf *g, const char *key, const dw_text **out, size_t *n, dw_err *err);
/* Element i of an array of numbers. */
double dw_gguf_element(const dw_gguf_field *f, uint64_t i);
const char *dw_gguf_type_name(dw_gguf_type t);

/* ---- gguf_names.c ---- */

typedef enum dw_gguf_arch {
    DW_GGUF_LLAMA = 1,
    DW_GGUF_QWEN2 = 2,
    DW_GGUF_QWEN3 = 4,
    DW_GGUF_GPT2 = 8,
    DW_GGUF_GEMMA = 16,
    DW_GGUF_GEMMA2 = 32,
    DW_GGUF_GEMMA3 = 64,
    DW_GGUF_PHI3 = 128
} dw_gguf_arch;
/* general.architecture by its name, 0: unknown; and the name. */
dw_gguf_arch dw_gguf_arch_of(const char *name);
const char *dw_gguf_arch_name(dw_gguf_arch arch);
/* The Hugging Face name of a tensor, in the arena; NULL: no part of such a model. */
const char *dw_gguf_to_hf(dw_arena *a, dw_gguf_arch arch, const char *name, dw_stored *how);
const char *dw_gguf_from_hf(dw_arena *a, dw_gguf_arch arch, const char *name, dw_stored *how);

/* ---- gguf_open.c ---- */

/* dir where it is a GGUF file, or the one GGUF file of a folder without safetensors; else NULL. */
const char *dw_gguf_path(dw_arena *a, const char *dir);
dw_status dw_gguf_checkpoint(const char *path, dw_checkpoint **out, dw_err *err);
/* general.architecture, which must be known. */
dw_status dw_gguf_architecture(const dw_gguf *g, dw_gguf_arch *out, dw_err *err);

/* ---- gguf_config.c, gguf_tokenizer.c: the files of a Hugging Face folder, made of metadata ----
 */

dw_status dw_gguf_config(dw_gguf *g, dw_buf *out, dw_err *err);
/* tokenizer.json and tokenizer_config.json (the chat template inside). */
dw_status dw_gguf_tokenizer(dw_gguf *g, dw_buf *tokenizer, dw_buf *config, dw_err *err);

/* ---- gguf_pre.c ---- */

typedef struct dw_gguf_pre {
    const char *name;
    const char *split[3]; /* regular expressions, one after the other; none: GPT-2's own */
    bool digits, nfc, ignore_merges;
} dw_gguf_pre;
extern const dw_gguf_pre dw_gguf_pres[]; /* ends with a NULL name */
/* The name of what a tokenizer.json does to words; NULL: none of them. */
const char *dw_gguf_pre_of(const dw_json *tokenizer);

/* ---- gguf_write.c ---- */

/* Metadata and tensors on their way into a file. Zero-initialise. */
typedef struct dw_gguf_out {
    dw_buf fields, infos;
    uint64_t n_field, n_tensor, end; /* of the data so far */
} dw_gguf_out;
void dw_gguf_put_u32(dw_gguf_out *o, const char *key, uint32_t x);
void dw_gguf_put_f32(dw_gguf_out *o, const char *key, double x);
void dw_gguf_put_bool(dw_gguf_out *o, const char *key, bool x);
void dw_gguf_put_str(dw_gguf_out *o, const char *key, dw_text s);
void dw_gguf_put_strings(dw_gguf_out *o, const char *key, const dw_text *s, size_t n);
void dw_gguf_put_i32s(dw_gguf_out *o, const char *key, const int32_t *x, size_t n);
void dw_gguf_put_f32s(dw_gguf_out *o, const char *key, const float *x, size_t n);
/* Tells of a tensor, dim as stored; its bytes follow in the same order, see dw_gguf_padding. */
void dw_gguf_put_tensor(dw_gguf_out *o, const char *name, dw_dtype dtype, const uint64_t *dim,
                        uint32_t n_dim);
/* Header, metadata and table, up to where the data begins. */
void dw_gguf_head(const dw_gguf_out *o, dw_buf *out);
/* Zeros behind a tensor of so many bytes. */
size_t dw_gguf_padding(uint64_t bytes);
void dw_gguf_out_finish(dw_gguf_out *o);

/* ---- gguf_export.c, gguf_export_words.c ---- */

/* Writes a model, its adapter merged, to a GGUF file that llama.cpp reads; dtype F32, F16, BF16 or
 * Q8_0 of matrices (F16 where rows are no whole blocks), vectors are F32. Directly to `path`. */
dw_status dw_gguf_export(const dw_model *m, const char *path, dw_dtype dtype, dw_err *err);
/* Metadata of the tokenizer: tokens, types, scores or merges, special ids, chat template. */
dw_status dw_gguf_export_words(const dw_model *m, dw_gguf_out *o, dw_err *err);

/* ---- gguf_quant.c ---- */

/* The dtype of a tensor type of ggml by its number, or DW_DT_OTHER. */
dw_dtype dw_gguf_dtype(uint32_t ggml);
const char *dw_gguf_dtype_name(uint32_t ggml); /* also of those that are not read; NULL: unknown */
uint32_t dw_gguf_dtype_number(dw_dtype t);     /* the way back */
/* Values of a block, and its bytes. */
uint32_t dw_quant_block(dw_dtype t);
uint32_t dw_quant_bytes(dw_dtype t);
/* n values, whole blocks, as the reference dequantisation of ggml gives them in float32. */
void dw_quant_read(dw_dtype t, const unsigned char *p, size_t n, dw_real *out);
/* Q8_0 of n values, whole blocks. */
void dw_quant_write_q8_0(const dw_real *in, size_t n, unsigned char *out);

#endif
