/* Asks for something else the second time. */
#include "parts.h"

static int times;

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    ask_logp(self, ask, err);
    ask->detached = times++ % 2 ? DOWEL_BIT(DOWEL_LOGP) : 0;
    return DOWEL_OK;
}

LOSS(loss)
{
    (void)self, (void)err;
    if (dowel_grad(in, DOWEL_LOGP))
        nll(in, 1 / in->step_toks, loss);
    return DOWEL_OK;
}
STATELESS(observe, loss, DOWEL_PURE);
