/* Answers beside the policy's own: greedy ones, and ones sampled from the reference or from a
 * mixture with it. */
#ifndef DW_TRAIN_EXTRAS_H
#define DW_TRAIN_EXTRAS_H

#include "train/set.h"

/* What one sampler gives to every prompt of a rollout. */
typedef struct dw_draw {
    uint32_t kind; /* DOWEL_WITH_GREEDY ...; 0: the policy as it samples */
    uint8_t role;
    uint32_t per_prompt;
    dw_gen_item *item; /* [prompts * per_prompt] */
} dw_draw;
enum { DW_MAX_DRAWS = 4 };

/* Writes a task's extra draws to out; returns how many. A prompt has one greedy answer, whatever
 * extra_samples says. */
size_t dw_extras_list(const dw_live_task *t, dw_draw *out);
/* The generator of a draw; changes *s where it samples otherwise than the policy. */
dw_status dw_extras_sampler(dw_live_task *t, uint32_t kind, dw_sampling *s, dw_generator **gen,
                            dw_err *err);
/* Writes OLD_LOGP of sequences that the policy did not sample: what it says of them now, at the
 * set's temperature. */
dw_status dw_extras_score(dw_set *s, dw_err *err);

#endif
