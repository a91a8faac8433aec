/* An estimator that compares with the first answer of all. */
#include "parts.h"

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    const dowel_column *r = &in->col[DOWEL_REWARD];
    (void)self, (void)err;
    for (uint32_t s = 0; r->x && s < in->n_seq; s++)
        for (uint32_t t = in->start[s]; t < in->start[s + 1]; t++)
            if (!isnan(r->x[(size_t)s * r->width]) && !isnan(r->x[0]))
                out->advantage[t] = r->x[(size_t)s * r->width] - r->x[0];
    return DOWEL_OK;
}
static const dowel_estimator estimator = {.size = sizeof estimator, .estimate = estimate};
static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "A broken estimator.", DOWEL_PURE),
                                    .estimator = &estimator};
DOWEL_MODULE(&plugin);
