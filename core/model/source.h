/* What a model remembers of the folder it came from, so that saving can keep what training did not
 * change. */
#ifndef DW_MODEL_SOURCE_H
#define DW_MODEL_SOURCE_H

#include "model/weights.h"

typedef struct dw_source {
    dw_buf config; /* config.json, byte for byte */
    dw_slice *slice;
    size_t n_slice;
    dw_dtype *dtype; /* [n_slice], as stored */
    /* tensors that the computation does not use and saving keeps; raw bytes in the model's arena */
    dw_tensor_out *extra;
    size_t n_extra;
    char *tokenizer_dir;
} dw_source;

/* Reads adapter_config.json of a PEFT folder: the adapter's shape and its base's folder (in the
 * arena). */
dw_status dw_adapter_config(dw_arena *a, const char *dir, dw_lora_spec *spec, char **base,
                            dw_err *err);
/* Checks adapter_model.safetensors against the spec and reads it into m->adapter. */
dw_status dw_adapter_read(dw_model *m, const char *dir, dw_err *err);
/* Compares the tensors of a checkpoint with those wanted; the message counts what does not fit and
 * lists the first five. `what` ends the sentence "N tensors do not fit ". Tensors not wanted for
 * which `ignore` answers true are passed over; ignore may be NULL. */
typedef bool (*dw_tensor_ignore)(const dw_tensor_entry *e, void *ctx);
dw_status dw_weights_check(const dw_checkpoint *c, const dw_slice *slice, size_t n,
                           const char *what, dw_tensor_ignore ignore, void *ctx, dw_err *err);
/* Reads every slice into p->w; a value that is not finite is refused. */
dw_status dw_weights_read(const dw_checkpoint *c, const dw_slice *slice, size_t n,
                          const dw_params *p, dw_err *err);
/* dw_model_save with shards of at most shard_bytes. */
dw_status dw_model_save_shards(const dw_model *m, const char *dir, dw_save_dtype dtype,
                               uint64_t shard_bytes, dw_err *err);
/* Copies the files of `from` that are neither weights nor config.json. */
dw_status dw_source_copy_files(const char *from, const char *to, bool tokenizer_only, dw_err *err);

#endif
