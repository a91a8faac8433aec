/* A pair of which only one half knows. */
#include "bad.h"

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    (void)self, (void)in, (void)err;
    out->mate[0] = 1;
    return DOWEL_OK;
}
static const dowel_estimator estimator = {.size = sizeof estimator, .estimate = estimate};
static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "An estimator.", DOWEL_PURE),
                                    .estimator = &estimator};
DOWEL_MODULE(&plugin);
