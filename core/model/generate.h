/* Batched sampling with a paged KV cache. Prompts that are the same ids are computed once;
 * finished sequences leave at once and waiting ones join. Tokens depend on (seed, key of the
 * sequence, position) only, never on the batch. The log-probabilities returned have the bits that
 * dw_engine_forward and dw_engine_head compute for the same tokens and temperature. */
#ifndef DW_MODEL_GENERATE_H
#define DW_MODEL_GENERATE_H

#include "model/model.h"

typedef struct dw_generator dw_generator;

typedef enum dw_finish { DW_FINISH_STOP = 1, DW_FINISH_LENGTH = 2, DW_FINISH_STRING = 3 } dw_finish;

typedef struct dw_sampling {
    bool greedy;
    double temperature;  /* > 0; also the temperature of the log-probabilities; greedy
                            decoding reports them at 1 */
    uint32_t top_k;      /* 0: off */
    double top_p, min_p; /* 1 and 0: off */
    uint32_t max_new;    /* > 0 */
    const int32_t *stop; /* ids that end a completion (kept as its last token) */
    size_t n_stop;
    const char *const *stop_string; /* end a completion when its text contains one */
    size_t n_stop_string;
    uint64_t seed;
    uint32_t max_live; /* sequences at once; 0: 32 */
    bool no_adapter;
    /* A second model, or the same one without its adapter, that goes along: tokens come from the
     * logits (1 - mixture) z + mixture z' of the two, and so do the log-probabilities. */
    dw_generator *with; /* NULL: none; not the generator that is called. Same vocabulary */
    bool with_no_adapter;
    double mixture; /* 0 to 1 */
} dw_sampling;

typedef struct dw_gen_item {
    const int32_t *prompt; /* at least one id */
    size_t n_prompt;
    uint64_t key; /* names this sequence for randomness */
    /* out; freed by dw_gen_item_finish */
    int32_t *id; /* the new tokens */
    double *logp;
    uint32_t n;
    dw_finish finish;
} dw_gen_item;
void dw_gen_item_finish(dw_gen_item *it);

dw_status dw_generator_create(dw_model *m, dw_generator **out, dw_err *err);
void dw_generator_destroy(dw_generator *g);
/* Called as tokens appear (item, token index); return false to cancel everything (DW_E_SIGINT).
 * May be NULL. */
typedef bool (*dw_gen_progress)(void *ctx, const dw_gen_item *it, size_t item);
dw_status dw_generate(dw_generator *g, const dw_sampling *s, dw_gen_item *item, size_t n,
                      dw_gen_progress progress, void *ctx, dw_err *err);
/* Bytes of cache for n live sequences of such lengths. */
size_t dw_generate_bytes(const dw_model *m, size_t n_prompts, size_t prompt_len, size_t n,
                         size_t max_new);

#endif
