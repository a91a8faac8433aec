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
    uint32_t n_dim;  /* 1 for vectors */
    bool transposed; /* the file has [cols][rows]: Conv1D of GPT-2 */
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
/* The shape in the file. */
static inline void dw_slice_dims(const dw_slice *s, uint64_t dim[2])
{
    dim[0] = s->transposed ? s->cols : s->rows;
    dim[1] = s->transposed ? s->rows : s->cols;
}
/* out[cols][rows] = in[rows][cols] */
void dw_slice_turn(const dw_real *in, size_t rows, size_t cols, dw_real *out);
/* The values of a tensor as the engine has them, out [rows][cols]. */
dw_status dw_slice_read(const dw_slice *s, const dw_tensor_entry *e, dw_real *out, dw_err *err);
/* What precedes the names of the body in this checkpoint: it may be that of another class. Leaves
 * d->prefix alone where no spelling is found. */
void dw_names_find_prefix(const dw_checkpoint *c, dw_description *d);
/* "score.", or "classifier." where the score head has that name. */
const char *dw_names_score(const dw_description *d);
/* A tensor of the score head, of a model or of an adapter. */
bool dw_names_is_score(const char *name);
/* Of a parameter in the arena. */
static inline dw_real *dw_slice_values(const dw_params *p, const dw_slice *s)
{
    dw_assert(!p->weight[s->weight].mapped);
    return p->w + p->weight[s->weight].offset + (size_t)s->row0 * s->cols;
}

/* A target of adapters. */
typedef struct dw_lora_target {
    uint32_t bit; /* DW_LORA_Q */
    dw_site site;
    const char *name; /* "q" */
} dw_lora_target;
enum { DW_N_LORA_TARGET = 9 };
/* q k v o gate up down qkv gate_up */
extern const dw_lora_target dw_lora_targets[DW_N_LORA_TARGET];
/* What target t of a layer gets; and alpha / rank, or alpha / sqrt(rank). */
dw_lora_part dw_lora_at(const dw_lora_spec *s, uint32_t layer, int t);
double dw_lora_scale(const dw_lora_spec *s, dw_lora_part p);
/* What PEFT calls a target of a layer, "model.layers.0.self_attn.q_proj", in the arena. */
char *dw_lora_module(dw_arena *a, const dw_description *d, uint32_t layer, uint32_t bit);
/* All matrices of the family. */
uint32_t dw_lora_family(const dw_description *d);
/* Turns the wanted targets into those of the family: DW_LORA_ALL into all there are, q, k and v
 * into qkv where they are one matrix. DW_E_INPUT where the family has no such matrix. */
dw_status dw_lora_fit(const dw_description *d, uint32_t *targets, dw_err *err);
/* A target within its layer: "self_attn.q_proj"; NULL where the family has none. */
const char *dw_lora_path(const dw_description *d, uint32_t bit);
/* The targets that a name in PEFT's target_modules means in any family: "c_proj" is two. 0: none.
 */
uint32_t dw_lora_named(dw_text name);
/* The names to write into target_modules, as few as say it exactly; out [DW_N_LORA_TARGET]. Returns
 * how many. */
size_t dw_lora_modules(const dw_description *d, uint32_t targets, const char **out);
/* Outputs and inputs of a target's matrix, and its first output in the fused matrix. */
typedef struct dw_target_shape {
    uint32_t out, in, out0;
} dw_target_shape;
dw_target_shape dw_lora_target_shape(const dw_description *d, uint32_t bit);

#endif
