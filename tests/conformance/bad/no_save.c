/* Neither pure nor saved. */
#include "parts.h"

static double seen;

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, 1 / in->step_toks, loss);
    return DOWEL_OK;
}
static dowel_status end(void *self, uint64_t step, const double *tally, dowel_err *err)
{
    (void)self, (void)step, (void)tally, (void)err;
    seen += 1;
    return DOWEL_OK;
}
static const dowel_objective objective = {.size = sizeof objective,
                                          .feeds_on = DOWEL_TEXTS,
                                          .observe = ask_logp,
                                          .loss = loss,
                                          .step_end = end};
static const dowel_plugin plugin = {DOWEL_PLUGIN("bad", "1.0.0", "A broken objective.", 0),
                                    .objective = &objective};
DOWEL_MODULE(&plugin);
