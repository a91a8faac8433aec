/* Divides by what happens to be in the batch. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    if (in->n_tok > 0)
        nll(in, 1.0 / in->n_tok, loss);
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
