/* Parts of reading config.json that have files of their own; used by model/config*.c and
 * model/open.c. */
#ifndef DW_MODEL_CONFIG_INTERNAL_H
#define DW_MODEL_CONFIG_INTERNAL_H

#include "model/config.h"

/* rope_theta, rope_scaling and rope_parameters, both spellings. d->head_dim and max_positions are
 * known. */
dw_status dw_config_rope(const dw_json *root, dw_description *d, dw_err *err);
/* sliding_window, use_sliding_window, max_window_layers and layer_types of the family. */
dw_status dw_config_windows(const dw_json *root, dw_description *d, dw_err *err);
/* eos_token_id: an id, a list of at most 16, null or absent. Also in generation_config.json. */
dw_status dw_config_eos(const dw_json *root, uint32_t vocab, int32_t eos[16], uint32_t *n,
                        dw_err *err);

#endif
