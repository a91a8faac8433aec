/* Forgot the size of the reward table. */
#include "bad.h"

static const dowel_reward reward = {.score = good_score};
static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "A reward.", DOWEL_PURE),
                                    .reward = &reward};
DOWEL_MODULE(&plugin);
