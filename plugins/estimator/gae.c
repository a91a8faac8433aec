/* gae: generalised advantages from a critic's values and rewards shaped by the divergence from the
 * reference. */
#include "../gae.h"

static const dowel_param params[] = {GAE_PARAMS(struct gae_opts)};

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    const struct shaper *x = self;
    return gae_observe(x->opts, ask, err);
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    struct shaper *x = self;
    return gae_estimate(x->opts, &x->state, in, out, err);
}

static const dowel_estimator estimator = {
    .size = sizeof estimator, .observe = observe, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("gae", "1.0.0", "Generalised advantages from a critic's values.", 0),
    DOWEL_OPTIONS(struct gae_opts, params), SHAPER_CALLS, .estimator = &estimator};
DOWEL_MODULE(&plugin);
