/* config.json -> description. Every field has a type, a range and cross-checks; a field or value
 * that would change the computation and is not supported is refused by its name. */
#ifndef DW_MODEL_CONFIG_H
#define DW_MODEL_CONFIG_H

#include "base/err.h"
#include "base/json.h"
#include "model/description.h"

dw_status dw_config_read(const char *dir, dw_description *out, dw_err *err);
dw_status dw_config_parse(const dw_json *root, dw_description *out, dw_err *err);
/* The two halves of an architecture's name: "Qwen2" and "ForCausalLM". */
const char *dw_config_body(const dw_description *d);
const char *dw_config_top(dw_top top);
/* Rotary frequencies of the description: inv_freq[head_dim * partial_rotary / 2], in double. */
void dw_config_inv_freq(const dw_description *d, double *inv_freq);

#endif
