/* Forgot DOWEL_PLUGIN(), so the size is 0. */
#include "bad.h"

static const dowel_plugin plugin = {.id = "bad", .reward = &good_reward};
DOWEL_MODULE(&plugin);
