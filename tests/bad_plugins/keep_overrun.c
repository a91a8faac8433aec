/* Writes one flag too many. */
#include "bad.h"

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    (void)self, (void)in, (void)err;
    out->keep[in->n_seq] = 0;
    return DOWEL_OK;
}
static const dowel_estimator estimator = {.size = sizeof estimator, .estimate = estimate};
static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "An estimator.", DOWEL_PURE),
                                    .estimator = &estimator};
DOWEL_MODULE(&plugin);
