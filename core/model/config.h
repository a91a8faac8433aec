/* config.json -> description. Every field has a type, a range and cross-checks; a field or value
 * that would change the computation and is not supported is refused by its name. */
#ifndef DW_MODEL_CONFIG_H
#define DW_MODEL_CONFIG_H

#include "base/err.h"
#include "base/json.h"
#include "model/description.h"

dw_status dw_config_read(const char *dir, dw_description *out, dw_err *err);
dw_status dw_config_parse(const dw_json *root, dw_description *out, dw_err *err);
/* The class of transformers for this body and that top: "Qwen2ForCausalLM"; NULL where transformers
 * has none. */
const char *dw_config_class(const dw_description *d, dw_top top);
/* "CausalLM", "SequenceClassification" or "TokenClassification". */
const char *dw_config_top(dw_top top);
const char *dw_config_rope_name(dw_rope_kind kind); /* rope_type: "llama3" */
/* Elements of a head that turn; even. */
uint32_t dw_config_turned(const dw_description *d);
/* Rotary frequencies in double, inv_freq[turned / 2]; local: of layers with a window, where they
 * have their own. */
void dw_config_inv_freq(const dw_description *d, bool local, double *inv_freq);

#endif
