/* No version. */
#include "bad.h"

static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "", "A reward.", DOWEL_PURE),
                                    .reward = &good_reward};
DOWEL_MODULE(&plugin);
