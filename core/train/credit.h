/* From rewards to what is trained: calling a task's estimator and applying what it decided. */
#ifndef DW_TRAIN_CREDIT_H
#define DW_TRAIN_CREDIT_H

#include "train/set.h"

/* Fills set.advantage, weights, labels and mates. Afterwards sequences that are not trained are
 * marked keep = false: greedy and unscored ones, those the estimator rejected, and, once it made a
 * pair, those without a mate. The caller logs and then compacts. */
dw_status dw_credit_assign(dw_set *s, dw_err *err);

#endif
