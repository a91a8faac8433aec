/* An option at whose lower end the loss is not finite. */
#include "parts.h"

struct opts {
    double scale;
};
static const dowel_param params[] = {
    DOWEL_OPT_REAL(struct opts, scale, "1", 0, 2, 0, "Divides the loss."),
};

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, 1 / (in->step_toks * ((const struct opts *)self)->scale), loss);
    return DOWEL_OK;
}
static const dowel_objective objective = {
    .size = sizeof objective, .feeds_on = DOWEL_TEXTS, .observe = ask_logp, .loss = loss};
static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "A broken objective.", DOWEL_PURE),
                                    DOWEL_OPTIONS(struct opts, params), .objective = &objective};
DOWEL_MODULE(&plugin);
