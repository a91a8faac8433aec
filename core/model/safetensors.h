/* The safetensors format. Every rule is enforced before a tensor is touched: header length, strict
 * JSON, names unique, dtypes known, shape products checked, data contiguous without holes or
 * overlap, end equal to the file's size, __metadata__ string to string. */
#ifndef DW_MODEL_SAFETENSORS_H
#define DW_MODEL_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/file.h"
#include "tensor/real.h"

typedef enum dw_dtype {
    DW_DT_F32,
    DW_DT_F16,
    DW_DT_BF16,
    DW_DT_F64,
    DW_DT_I64,
    DW_DT_I32,
    DW_DT_I16,
    DW_DT_I8,
    DW_DT_U8,
    DW_DT_BOOL,
    DW_DT_OTHER, /* known to the format, not to us */
    /* of GGUF alone: blocks of values, read as float32 */
    DW_DT_Q8_0,
    DW_DT_Q4_0,
    DW_DT_Q4_1,
    DW_DT_Q5_0,
    DW_DT_Q5_1,
    DW_DT_Q4_K,
    DW_DT_Q5_K,
    DW_DT_Q6_K,
    DW_N_DTYPE
} dw_dtype;
size_t dw_dtype_bytes(dw_dtype t);     /* 0: not the same for every value, or unknown */
const char *dw_dtype_name(dw_dtype t); /* "F32" */

/* How a file's values lie otherwise than Hugging Face's; dw_tensor_read undoes it. */
typedef enum dw_stored {
    DW_STORED_PLAIN,
    DW_STORED_PAIRS,      /* rows of each head by turns from its halves (llama's rotary in GGUF) */
    DW_STORED_TRANSPOSED, /* [columns][rows] */
    DW_STORED_PLUS_ONE    /* 1 is to be taken off */
} dw_stored;

typedef struct dw_tensor_entry {
    const char *name;
    dw_dtype dtype;
    uint32_t n_dim;
    uint64_t dim[8];
    uint64_t n;                /* elements */
    const unsigned char *data; /* little-endian, in the mapping; any alignment */
    uint64_t bytes;
    uint32_t shard;
    dw_stored stored;
    uint32_t heads; /* of DW_STORED_PAIRS */
} dw_tensor_entry;

/* All tensors of a checkpoint: model.safetensors, or the shards that
 * model.safetensors.index.json lists (opened beneath the folder only; index and shards must agree
 * exactly). */
typedef struct dw_checkpoint dw_checkpoint;
/* `dir` may be a GGUF file, or a folder with one of those and nothing else: the same tensors under
 * Hugging Face's names. */
dw_status dw_checkpoint_open(const char *dir, dw_checkpoint **out, dw_err *err);
dw_status dw_checkpoint_open_file(const char *path, dw_checkpoint **out, dw_err *err);
void dw_checkpoint_close(dw_checkpoint *c); /* accepts NULL */
size_t dw_checkpoint_count(const dw_checkpoint *c);
const dw_tensor_entry *dw_checkpoint_at(const dw_checkpoint *c, size_t i); /* file order */
const dw_tensor_entry *dw_checkpoint_find(const dw_checkpoint *c, const char *name);
/* The file's metadata where the checkpoint is a GGUF file, else NULL. */
struct dw_gguf *dw_checkpoint_gguf(const dw_checkpoint *c);
/* Value of __metadata__[key], or NULL. */
const char *dw_checkpoint_meta(const dw_checkpoint *c, const char *key);

/* Values in Hugging Face's order as dw_real: of F32, F16, BF16, F64 and the quantised types;
 * DW_E_INPUT for others. out [e->n] */
dw_status dw_tensor_read(const dw_tensor_entry *e, dw_real *out, dw_err *err);

/* DW_E_INPUT, as dw_tensor_read gives it, for a type that cannot be read. */
dw_status dw_tensor_readable(const dw_tensor_entry *e, dw_err *err);
/* Whether single rows of a matrix can be read; and rows row0 .. row0 + n, out [n][dim[1]]. */
bool dw_tensor_by_rows(const dw_tensor_entry *e);
dw_status dw_tensor_read_rows(const dw_tensor_entry *e, size_t row0, size_t n, dw_real *out,
                              dw_err *err);
/* Tells the system that the tensor's pages of the file will be read soon, or are done with. */
void dw_tensor_advise(const dw_tensor_entry *e, bool soon);

/* Writing: header first, then data in order (upstream's order: by alignment descending, then name).
 * The caller gives entries with data in dw_real or raw bytes of the target dtype. */
typedef struct dw_tensor_out dw_tensor_out;
/* Makes the values of a tensor when they are about to be written, valid until the next call. */
typedef const dw_real *(*dw_tensor_fetch)(void *ctx, const dw_tensor_out *t);
struct dw_tensor_out {
    const char *name;
    dw_dtype dtype; /* to be written */
    uint32_t n_dim;
    uint64_t dim[8];
    const void *raw;       /* bytes of dtype already, or NULL: */
    const dw_real *values; /* converted with round to nearest even, or NULL: */
    dw_tensor_fetch fetch; /* called with ctx, converted likewise */
    void *ctx;
};
typedef struct dw_meta_pair {
    const char *key, *value;
} dw_meta_pair;
/* Writes to `path` directly (meant for files inside a dw_stage). A tensor of DW_DT_OTHER is a bug
 * of the caller. */
dw_status dw_safetensors_write(const char *path, const dw_tensor_out *t, size_t n,
                               const dw_meta_pair *meta, size_t n_meta, dw_err *err);

#endif
