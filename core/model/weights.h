/* The engine's fused parameters and the names that Hugging Face gives to their parts. */
#ifndef DW_MODEL_WEIGHTS_H
#define DW_MODEL_WEIGHTS_H

#include "model/model_internal.h"

/* One tensor of a checkpoint: `rows` rows of a parameter, from row0 on; contiguous, since a fused
 * parameter stacks its parts. */
typedef struct dw_slice {
    const char *name; /* "model.layers.0.self_attn.k_proj.weight" */
    uint32_t weight;  /* index into dw_params.weight */
    uint32_t row0, rows, cols;
    uint32_t n_dim; /* 1 for vectors */
} dw_slice;

/* Fills p->weight and p->n (offsets in multiples of 16 elements) from a description; no memory for
 * values yet. Names live in the arena. DW_E_INPUT when the sizes overflow. */
dw_status dw_weights_base(dw_arena *a, const dw_description *d, dw_params *p, dw_err *err);
dw_status dw_weights_adapter(dw_arena *a, const dw_description *d, const dw_lora_spec *s,
                             dw_params *p, dw_err *err);
/* The tensors of a checkpoint of such a model, in the order of transformers. */
size_t dw_weights_slices(dw_arena *a, const dw_description *d, const dw_params *p, dw_slice **out);
/* The same for an adapter in PEFT's names. */
size_t dw_weights_adapter_slices(dw_arena *a, const dw_description *d, const dw_lora_spec *s,
                                 const dw_params *p, dw_slice **out);
/* The tensors of value_head/, of base or adapter. */
size_t dw_weights_value_slices(dw_arena *a, const dw_params *p, dw_slice **out);
static inline dw_real *dw_slice_values(const dw_params *p, const dw_slice *s)
{
    return p->w + p->weight[s->weight].offset + (size_t)s->row0 * s->cols;
}

/* A target of adapters. */
typedef struct dw_lora_target {
    uint32_t bit; /* DW_LORA_Q */
    dw_site site;
    const char *name;   /* "q" */
    const char *module; /* "q_proj" */
    const char *path;   /* "self_attn.q_proj" */
} dw_lora_target;
enum { DW_N_LORA_TARGET = 7 };
extern const dw_lora_target dw_lora_targets[DW_N_LORA_TARGET]; /* q k v o gate up down */
/* Outputs and inputs of a target's matrix, and its first output in the fused matrix. */
typedef struct dw_target_shape {
    uint32_t out, in, out0;
} dw_target_shape;
dw_target_shape dw_lora_target_shape(const dw_description *d, uint32_t bit);

#endif
