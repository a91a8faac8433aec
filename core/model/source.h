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
    dw_buf tokenizer, tokenizer_config; /* of a GGUF file: made of its metadata */
    bool fresh_score; /* the config says CausalLM, but a score head took the vocabulary head's place
                       */
} dw_source;

/* Reads adapter_config.json of a PEFT folder: the adapter's shape, what it is for, and its base's
 * folder (in the arena). */
dw_status dw_adapter_config(dw_arena *a, const char *dir, dw_lora_spec *spec, dw_top *top,
                            char **base, dw_err *err);
/* What the same file says about single matrices of a model of this description: patterns of names,
 * ranks and alphas, layers; spec->part lives in the arena. */
dw_status dw_adapter_fit(dw_arena *a, const char *dir, const dw_description *d, dw_lora_spec *spec,
                         dw_err *err);
/* Channels of the score head that an adapter brings; 0 where it has none that could be one. */
dw_status dw_adapter_score_width(dw_arena *a, const char *dir, uint32_t *width, dw_err *err);
/* Checks adapter_model.safetensors against the spec and reads it into m->adapter; head: its score
 * head too. */
dw_status dw_adapter_read(dw_model *m, const char *dir, bool head, dw_err *err);
/* Compares the tensors of a checkpoint with those wanted; the message counts what does not fit and
 * lists the first five. `what` ends the sentence "N tensors do not fit ". Tensors not wanted for
 * which `ignore` answers true are passed over; ignore may be NULL. */
typedef bool (*dw_tensor_ignore)(const dw_tensor_entry *e, void *ctx);
dw_status dw_weights_check(const dw_checkpoint *c, const dw_slice *slice, size_t n,
                           const char *what, dw_tensor_ignore ignore, void *ctx, dw_err *err);
/* Reads every slice that belongs into p->w; a value that is not finite is refused. */
dw_status dw_weights_read(const dw_checkpoint *c, const dw_slice *slice, size_t n,
                          const dw_params *p, dw_err *err);
/* ---- heads.c ---- */

enum { DW_VALUE_WIDTH_MAX = 4096 };
/* Puts the heads that the options want on a description read from a checkpoint; *fresh: a score
 * head the checkpoint does not have, in place of its vocabulary head. */
dw_status dw_heads_choose(const dw_model_options *o, dw_description *d, bool *fresh, dw_err *err);
/* How many of the slices a checkpoint holds: without the fresh head's, which are the last. */
size_t dw_heads_stored(const dw_slice *slice, size_t n, bool fresh);
double dw_heads_std(const dw_description *d); /* of a fresh score head */
/* Reads dir/value_head/ into p where the model has a value head and the folder is there. */
dw_status dw_heads_read_value(dw_model *m, const dw_params *p, const char *dir, dw_err *err);
dw_status dw_heads_save_value(const dw_model *m, const char *dir, dw_err *err);

/* The tensors of the model as a Hugging Face folder has them, adapter merged: values, or a fetch
 * that fills *buffer (to be freed). In the arena. */
size_t dw_source_tensors(dw_arena *a, const dw_model *m, dw_save_dtype want, dw_real **buffer,
                         dw_tensor_out **out);
/* dw_model_save with shards of at most shard_bytes. */
dw_status dw_model_save_shards(const dw_model *m, const char *dir, dw_save_dtype dtype,
                               uint64_t shard_bytes, dw_err *err);
/* config.json as it was read, with what has changed: the dtype, and the architecture and labels
 * where a score head took the vocabulary head's place. */
void dw_source_put_config(dw_arena *a, dw_buf *b, const dw_model *m, dw_save_dtype want);
/* Copies the files of `from` that are neither weights nor config.json. */
dw_status dw_source_copy_files(const char *from, const char *to, bool tokenizer_only, dw_err *err);
/* The tokenizer's files of a model's source, or those made of a GGUF file's metadata. */
dw_status dw_source_put_words(const dw_model *m, const char *dir, dw_err *err);

#endif
