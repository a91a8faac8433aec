/* Two plugins of one id. */
#include "bad.h"

static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "A reward.", DOWEL_PURE),
                                    .reward = &good_reward};
DOWEL_MODULE(&plugin, &plugin);
