/* Neither objective nor estimator, reward or judge. */
#include "bad.h"

static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "Nothing.", DOWEL_PURE)};
DOWEL_MODULE(&plugin);
