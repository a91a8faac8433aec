/* Sampling answers to a task's prompts. */
#ifndef DW_TRAIN_ROLLOUT_H
#define DW_TRAIN_ROLLOUT_H

#include "train/set.h"

typedef struct dw_rollout_spec {
    const dw_row *const *row; /* [n] prompts */
    const uint64_t *number;   /* [n] of each row over the run: names it for randomness */
    size_t n;
    uint32_t samples;
    bool greedy;
    bool extras; /* with what the task's plugins ask for beside them */
    uint64_t seed;
} dw_rollout_spec;

/* Fills a set with n * samples sequences and the extras, those of a prompt side by side, in groups
 * numbered like the rows. SAMPLER_LOGP is what the sampler computed (greedy: at temperature 1);
 * OLD_LOGP the same of the policy's own, of extras what the policy says of them. Memory from the
 * arena. */
dw_status dw_rollout(dw_live_task *t, dw_arena *a, const dw_rollout_spec *r, uint64_t step,
                     dw_set *out, dw_err *err);
/* Rows first .. first + n - 1 of the task's order. */
dw_status dw_rollout_step(dw_live_task *t, dw_arena *a, uint64_t first, uint32_t n, uint64_t step,
                          dw_set *out, dw_err *err);
/* completions/...: lengths of the policy's own and how many were cut; under `prefix`. */
void dw_rollout_metrics(const dw_set *s, const char *prefix, dw_metrics *to);

#endif
