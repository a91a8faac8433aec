/* Rewards that are a model's own numbers. */
#ifndef DW_TRAIN_REWARD_MODEL_H
#define DW_TRAIN_REWARD_MODEL_H

#include "train/set.h"

/* Do the options of the task's reward models fit the models? They are open. */
dw_status dw_reward_model_check(const dw_live_task *t, dw_err *err);
/* Part k of the set, which is a model's:
 *  - a sequence model scores each answer once, at its last token;
 *  - a token model scores each step, at the token that ends its separator and, where text comes
 *    after the last separator, at the last token of that text: TOKEN_REWARD, and on request their
 *    minimum, product, mean or last one as the answer's own score (spec 4.2);
 *  - a causal model, implicit: every token's log-probability less that of the reference, as
 *    TOKEN_REWARD (PRIME, arXiv 2502.01456). */
dw_status dw_reward_model_score(dw_set *s, size_t k, const dowel_sample *x, dw_err *err);

#endif
