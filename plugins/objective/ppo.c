/* ppo: proximal policy optimisation with a value head, and the generalised advantages it uses. */
#include "../ppo.h"

#include "../gae.h"

struct opts {
    GAE_EMBEDDED;
    PPO_EMBEDDED;
};

static const dowel_param params[] = {PPO_PARAMS(struct opts, "0.2"), GAE_PARAMS(struct opts)};

static const struct opts *opts_of(const void *self)
{
    return ((const struct shaper *)self)->opts;
}

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    return ppo_observe(&opts_of(self)->ppo, 1, ask, err);
}

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    return ppo_loss(&opts_of(self)->ppo, 1, in, loss, err);
}

static dowel_status observe_rollout(void *self, dowel_request *ask, dowel_err *err)
{
    return gae_observe(&opts_of(self)->gae, ask, err);
}

static dowel_status estimate(void *self, const dowel_batch *in, dowel_credit *out, dowel_err *err)
{
    struct shaper *x = self;
    return gae_estimate(&opts_of(self)->gae, &x->state, in, out, err);
}

static const char *const shown[] = {"objective/scores", "objective/kl", "loss/value_avg", NULL};
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_ROLLOUTS,
                                          .shown = shown,
                                          .observe = observe,
                                          .loss = loss};
static const dowel_estimator estimator = {
    .size = sizeof estimator, .observe = observe_rollout, .estimate = estimate};
static const dowel_plugin plugin = {
    DOWEL_PLUGIN("ppo", "1.0.0", "Proximal policy optimisation with a value head.", 0),
    DOWEL_OPTIONS(struct opts, params), SHAPER_CALLS, .objective = &objective,
    .estimator = &estimator};
DOWEL_MODULE(&plugin);
