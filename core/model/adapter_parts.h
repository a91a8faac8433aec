/* Which matrices an adapter has, layer by layer, in the words of adapter_config.json. */
#ifndef DW_MODEL_ADAPTER_PARTS_H
#define DW_MODEL_ADAPTER_PARTS_H

#include "base/json.h"
#include "model/weights.h"

/* A name of target_modules that is more than a matrix within its layer. */
bool dw_adapter_is_whole_name(dw_text name);
/* Resolves target_modules, layers_to_transform, layers_pattern, rank_pattern and alpha_pattern as
 * PEFT does. Where they say something that spec's rank, alpha and targets do not, sets
 * spec->targets and spec->part (in the arena). Messages begin with the field. */
dw_status dw_adapter_parts(dw_arena *a, const dw_json *root, const dw_description *d,
                           dw_lora_spec *spec, dw_err *err);
/* Appends target_modules, rank_pattern and alpha_pattern: `,\n  "key": ...`. */
void dw_adapter_put_parts(dw_arena *a, dw_buf *b, const dw_description *d,
                          const dw_lora_spec *spec);

#endif
