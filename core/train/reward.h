/* Scoring sampled answers: every reward of a task, mixed. */
#ifndef DW_TRAIN_REWARD_H
#define DW_TRAIN_REWARD_H

#include "train/set.h"

/* Fills seq.reward, seq.why and, where a reward used spans or scored steps, set.token_reward. A
 * part that is NaN stays out of the mix; a sequence without any opinion has the total NaN, spans
 * beside it or not. */
dw_status dw_reward_score(dw_set *s, dw_err *err);
/* What people are told of a sequence's total (column 0) or part: its score or, without one, the sum
 * of its spans; NaN: neither. */
double dw_reward_told(const dw_set *s, size_t seq, size_t column);
/* Of the policy's own answers: reward, reward_std, rewards/NAME/mean and std, frac_reward_zero_std,
 * frac_unscored. */
void dw_reward_metrics(const dw_set *s, const char *prefix, dw_metrics *to);

/* Appends one line per sequence for samples.jsonl; dropped: only those with keep = false. */
void dw_reward_log(const dw_set *s, uint64_t step, bool dropped, dw_buf *out);

#endif
