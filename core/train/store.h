/* Rollouts as JSON lines, one sequence a line: what a run records, what a checkpoint holds of an
 * unfinished one, and what `dowel replay` reads.
 *
 * Needed in a line: "prompt_ids" and "ids" (lists of token ids), "logp" (one number per id, of what
 * sampled it), "reward" (a number, or [total, part, ...]; null: unscored). Optional: "task" (else
 * any task), "step" (lines of one task and step are one rollout, in order; else all lines are one),
 * "group" (same number, same prompt; else lines with equal prompts that stand side by side), "role"
 * ("trained", "greedy", "other"), "stop" ("eos", "length", "string"), "prompt", "completion",
 * "row" (an object: what rewards and fields read), "weight", "temperature", "max_tokens", and one
 * list of numbers per id for each of old_logp, ref_logp, teacher_logp, old_value, token_reward,
 * advantage, return (several numbers per id stand side by side). null stands for NaN. */
#ifndef DW_TRAIN_STORE_H
#define DW_TRAIN_STORE_H

#include "train/set.h"

/* Appends the set's lines; `step` counts from 1. */
void dw_store_put(dw_set *s, uint64_t step, dw_buf *out);

/* The lines of one file, or of the files of a folder in the order of their names. */
typedef struct dw_store dw_store;
/* Reads and splits; lines are checked when they are taken. Messages are "FILE:LINE: ...". */
dw_status dw_store_open(const char *path, dw_store **out, dw_err *err);
void dw_store_close(dw_store *s); /* accepts NULL */
/* The n-th rollout (from 0) of a task. DW_E_INPUT when there are fewer. all: also what the
 * estimator decided and what other models said, as a checkpoint needs it. */
dw_status dw_store_take(const dw_store *s, dw_live_task *t, uint64_t n, bool all, dw_arena *a,
                        dw_set *out, dw_err *err);

#endif
