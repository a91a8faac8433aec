/* A flag that does not exist. */
#include "bad.h"

static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "A reward.", 64),
                                    .reward = &good_reward};
DOWEL_MODULE(&plugin);
