/* Reads a column that it did not ask for. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, 1 / in->step_toks, loss);
    if (in->n_tok > 0)
        *loss += 0 * in->col[DOWEL_REF_LOGP].x[0];
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
