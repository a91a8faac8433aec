/* A derivative that leads uphill. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, 1 / in->step_toks, loss);
    for (uint32_t t = 0; t < in->n_tok; t++)
        dowel_grad(in, DOWEL_LOGP)[t] *= -1;
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
