/* A model: description, parameters in one arena, adapter, tokenizer, and the Hugging Face folder it
 * came from. */
#ifndef DW_MODEL_MODEL_H
#define DW_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/description.h"
#include "model/safetensors.h"
#include "tensor/exec.h"
#include "tensor/linear.h"
#include "text/chat.h"
#include "text/tokenizer.h"

/* One tensor of the engine. Fused matrices (qkv, gate and up) are one parameter here and several
 * tensors in the file; model/weights maps between the two. */
typedef struct dw_weight {
    const char *name;         /* "layers.3.qkv", "embed", "layers.3.lora_a.qkv" */
    size_t offset;            /* in elements, into the arenas */
    uint32_t rows, cols;      /* cols = 1 for vectors */
    bool decay;               /* matrices are decayed, norms and biases are not */
    struct dw_mapped *mapped; /* NULL, or a frozen matrix that is in no arena (model/frozen.h) */
} dw_weight;

/* Flat parameter memory: w, and when trainable g (gradients); same offsets everywhere. */
typedef struct dw_params {
    dw_weight *weight;
    size_t n_weight;
    size_t n;       /* elements in all */
    dw_real *w, *g; /* g NULL when frozen */
} dw_params;

enum { /* targets of an adapter */
       DW_LORA_Q = 1u << 0,
       DW_LORA_K = 1u << 1,
       DW_LORA_V = 1u << 2,
       DW_LORA_O = 1u << 3,
       DW_LORA_GATE = 1u << 4,
       DW_LORA_UP = 1u << 5,
       DW_LORA_DOWN = 1u << 6,
       DW_LORA_ALL = 127,         /* whatever the family has */
       DW_LORA_QKV = 1u << 7,     /* where q, k and v are one matrix: GPT-2, Phi-3 */
       DW_LORA_GATE_UP = 1u << 8, /* where gate and up are: Phi-3 */
};
/* What one matrix of one layer gets; rank 0: nothing. */
typedef struct dw_lora_part {
    uint32_t rank;
    double alpha;
} dw_lora_part;
typedef struct dw_lora_spec {
    uint32_t rank;
    double alpha; /* scale = alpha / rank, or alpha / sqrt(rank) with rslora */
    bool rslora;
    uint32_t targets;
    const dw_lora_part *part; /* NULL: rank and alpha everywhere; else [layers][targets], targets in
                                 the order of their bits (model/weights.h) */
} dw_lora_spec;

typedef struct dw_model dw_model;

/* How frozen matrices are kept in memory. SOURCE: those of a bf16 checkpoint as bf16, which loses
 * no bit, others as float32. BF16 rounds what is more. */
typedef enum dw_storage { DW_STORE_SOURCE, DW_STORE_F32, DW_STORE_BF16 } dw_storage;
extern const char *const dw_storage_names[]; /* "source", "float32", "bfloat16", NULL */

typedef struct dw_model_options {
    bool trainable; /* allocate gradients (of the adapter where there is one) */
    bool writable;  /* frozen, but its weights will be overwritten: kept as if it trained */
    dw_storage storage;
    const dw_lora_spec *lora; /* new adapter on top, or NULL */
    uint64_t seed;            /* of the adapter's or the random model's weights */
    bool no_tokenizer;        /* a missing tokenizer.json is not an error */
    /* What is wanted on the body; DW_TOP_LM: whatever the checkpoint has. A causal checkpoint
     * opened with SEQUENCE or TOKEN gets a fresh score head (normal, variance 1 / (d + 1), seed) in
     * place of its vocabulary head; a classification checkpoint keeps its own. */
    dw_top top;
    uint32_t score_width; /* channels of that head; 0: one, or as the checkpoint has */
    uint32_t value_width; /* a value head of so many channels; read from DIR/value_head/ when that
                             is there, else zero; 0: none */
} dw_model_options;

/* Opens a Hugging Face folder, a GGUF file (or a folder with one and nothing else), or a PEFT
 * adapter folder (adapter_config.json; its base comes from base_model_name_or_path, relative to the
 * adapter's folder or absolute, else to the working directory). Pickle checkpoints are named and
 * refused. x must outlive the model.
 *
 * A base that does not train stays in the mapped checkpoint: opening reads the small tensors, and a
 * matrix is read, checked for values that are not finite and packed when a pass first needs it (an
 * error of that pass). Its files must not change while the model is open. */
dw_status dw_model_open(const dw_exec *x, const char *dir, const dw_model_options *o,
                        dw_model **out, dw_err *err);
/* Random weights (normal, std initializer_range) from dir/config.json and a seed. */
dw_status dw_model_init(const dw_exec *x, const char *dir, const dw_model_options *o,
                        dw_model **out, dw_err *err);
/* What dw_model_open would give, without its weights and their memory: everything is checked (but
 * the values), and description, tokenizer, counts and the *_bytes functions work. For plans and
 * for people. Not for saving, hashing or running. */
dw_status dw_model_outline(const dw_exec *x, const char *dir, const dw_model_options *o,
                           dw_model **out, dw_err *err);
void dw_model_free(dw_model *m); /* accepts NULL */

const dw_description *dw_model_description(const dw_model *m);
const dw_tokenizer *dw_model_tokenizer(const dw_model *m); /* NULL when there is none */
const char *dw_model_dir(const dw_model *m);               /* the base's folder */
/* Appends a text file that came with the model, "tokenizer_config.json": of the adapter's folder
 * where it brings a tokenizer, else of the base's, or what a GGUF file's metadata says in its place
 * (tokenizer.json, tokenizer_config.json). *there is false, and nothing appended, when there is
 * none. */
dw_status dw_model_sidecar(const dw_model *m, const char *name, bool *there, dw_buf *out,
                           dw_err *err);
/* The tokenizer of a model's folder or GGUF file, without the model. */
dw_status dw_model_words(const char *dir, dw_tokenizer **out, dw_err *err);
/* The chat template that goes with it; *out is NULL when there is none. t must outlive it. */
dw_status dw_model_words_chat(const char *dir, const dw_tokenizer *t, dw_chat **out, dw_err *err);
bool dw_model_has_adapter(const dw_model *m);
dw_top dw_model_top(const dw_model *m);
uint32_t dw_model_score_width(const dw_model *m); /* 0: no score head */
uint32_t dw_model_value_width(const dw_model *m); /* 0: no value head */
const dw_lora_spec *dw_model_lora(const dw_model *m);
/* DW_E_USAGE when the model has no vocabulary head: no log-probabilities, no generation. */
dw_status dw_model_speaks(const dw_model *m, dw_err *err);
/* What training moves: the adapter's parameters, or all of them. */
dw_params *dw_model_trained(dw_model *m);
/* Base parameters (the same as trained in full training). */
const dw_params *dw_model_base(const dw_model *m);
size_t dw_model_n_params(const dw_model *m); /* of the base, its heads included */
size_t dw_model_n_adapter_params(const dw_model *m);
/* Memory of the model itself: weights, gradients, packed copies. */
size_t dw_model_bytes(const dw_model *m);
/* Call after the trained parameters changed: repacks panels, drops caches. */
void dw_model_changed(dw_model *m);
/* SHA-256 over the weights' content (base and adapter), for caches and manifests. */
void dw_model_hash(const dw_model *m, char out[65]);
/* Ids that end a completion: config.json, generation_config.json and the tokenizer's eos. */
size_t dw_model_stops(const dw_model *m, const int32_t **id);

/* Another token that ends a completion, by its text. DW_E_RECIPE: the tokenizer has no such token.
 */
dw_status dw_model_add_stop(dw_model *m, const char *token, dw_err *err);
/* The model's own chat template; *out is NULL when it has none. The model must outlive it. */
dw_status dw_model_chat(const dw_model *m, dw_chat **out, dw_err *err);
/* Another template for it, from a file. */
dw_status dw_model_chat_file(const dw_model *m, const char *path, dw_chat **out, dw_err *err);
/* What training taught of conversations, for saving: where generation_config.json does not name the
 * token that ends a turn (-1: none), it gets all of dw_model_stops; a template that is not the
 * model's own (else empty) becomes chat_template.jinja. */
void dw_model_set_talk(dw_model *m, int32_t turn_end, dw_text chat_template);

typedef enum dw_save_dtype { DW_SAVE_SOURCE, DW_SAVE_F32, DW_SAVE_BF16, DW_SAVE_F16 } dw_save_dtype;
/* Writes a Hugging Face folder into `dir` (which exists, usually inside a stage): weights in one
 * file or shards, config.json with the dtype changed where needed, and every other file of the
 * source that is not weights, unchanged. With an adapter: merged. A score head makes it a
 * SequenceClassification or TokenClassification checkpoint; a value head goes into dir/value_head/
 * (config.json, model.safetensors), which transformers does not look at. */
dw_status dw_model_save(const dw_model *m, const char *dir, dw_save_dtype dtype, dw_err *err);
/* Writes a PEFT adapter folder: adapter_config.json, adapter_model.safetensors, tokenizer files; a
 * score head as modules_to_save, a value head in dir/value_head/. */
dw_status dw_model_save_adapter(const dw_model *m, const char *dir, dw_err *err);

#endif
