/* Wants totals that nobody counts. */
#include "bad.h"

static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_TEXTS,
                                          .n_total = 2,
                                          .observe = good_observe,
                                          .loss = good_loss};
static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "An objective.", DOWEL_PURE),
                                    .objective = &objective};
DOWEL_MODULE(&plugin);
