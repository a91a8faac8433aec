/* Which data feeds which objective: the one place that knows. */
#ifndef DW_TRAIN_FEEDS_H
#define DW_TRAIN_FEEDS_H

#include <dowel/plugin.h>

#include "data/dataset.h"

/* The bit of dowel_objective.feeds_on that stands for data of a type; of prompts DOWEL_ROLLOUTS,
 * because answers are sampled to them. */
uint32_t dw_feed_of(dw_data_type t);
/* "completions, labels or texts": the types that feed any of `feeds_on`. */
void dw_feeds_print(uint32_t feeds_on, dw_buf *out);

#endif
