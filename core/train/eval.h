/* Evaluating a task on held-out rows. */
#ifndef DW_TRAIN_EVAL_H
#define DW_TRAIN_EVAL_H

#include "train/step.h"

/* Given answers: the objectives' losses and metrics, one row at a time, so that every mean has an
 * interval. Prompts: answers are sampled (greedy where one is asked for, else at the rollout's
 * temperature) and scored. Names get "eval_" behind the task's prefix; "eval_rows" counts rows.
 * Nothing of the training state changes. */
dw_status dw_eval_task(dw_live_task *t, dw_metrics *out, dw_err *err);
/* Books the result: *gained when the task's metric is the best so far. DW_E_RECIPE when the metric
 * does not exist (the message lists those that do). */
dw_status dw_eval_book(dw_live_task *t, const dw_metrics *m, uint64_t step, bool *gained,
                       dw_err *err);
/* A table of the first and the last evaluation in RUN/metrics.jsonl; nothing without evaluations.
 */
void dw_eval_table(const char *metrics_path, dw_buf *out);

#endif
