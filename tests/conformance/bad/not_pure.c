/* Claims to be pure and counts its calls. */
#include "parts.h"

static int calls;

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, (1 + calls++ * 1e-9) / in->step_toks, loss);
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
