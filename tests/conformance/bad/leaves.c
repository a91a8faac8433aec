/* Ends the process. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, 1 / in->step_toks, loss);
    if (in->n_seq > 50)
        _Exit(7);
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
