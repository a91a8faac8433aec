/* What the files of the safetensors reader share. */
#ifndef DW_MODEL_SAFETENSORS_INTERNAL_H
#define DW_MODEL_SAFETENSORS_INTERNAL_H

#include "base/arena.h"
#include "base/hash.h"
#include "base/json.h"
#include "model/safetensors.h"

enum { DW_ST_HEADER_MAX = 100000000 }; /* the limit of the reference implementation */

struct dw_checkpoint {
    dw_arena arena; /* names, metadata */
    dw_mapping *map;
    size_t n_map, cap_map;
    dw_tensor_entry *entry;
    size_t n_entry, cap_entry;
    dw_map by_name;
    dw_meta_pair *meta;
    size_t n_meta, cap_meta;
    struct dw_gguf *gguf; /* NULL: safetensors */
};

/* Adds the tensors of a mapped file, which c owns from here on; messages do not name the file. */
dw_status dw_st_add(dw_checkpoint *c, dw_mapping map, dw_err *err);
/* Adds the shards of dir/model.safetensors.index.json. */
dw_status dw_st_add_shards(dw_checkpoint *c, const char *dir, const char *index, dw_err *err);
/* Refuses files that are no safetensors but well known: pickles, GGUF, Git LFS pointers. `head`
 * holds the first bytes of a file. DW_OK when it is none of them. */
dw_status dw_st_check_content(const unsigned char *head, size_t n, dw_err *err);
/* Names the checkpoint of another kind that a folder holds in place of safetensors. */
dw_status dw_st_explain_missing(const char *dir, const char *wanted, dw_err *err);

/* IEEE 754 half precision, exactly. */
float dw_st_half(uint16_t h);
/* Values to little-endian bytes of dtype (a float type), rounded to nearest even; overflow gives
 * infinity, a NaN stays a NaN. out [n * dw_dtype_bytes(dtype)] */
void dw_st_encode(dw_dtype dtype, const dw_real *in, size_t n, unsigned char *out);
/* Sorts into upstream's order. */
void dw_st_sort(dw_tensor_out *t, size_t n);

#endif
