/* An id with capitals and a blank. */
#include "bad.h"

static const dowel_plugin plugin = {DOWEL_PLUGIN("My Reward", "1.0.0", "A reward.", DOWEL_PURE),
                                    .reward = &good_reward};
DOWEL_MODULE(&plugin);
