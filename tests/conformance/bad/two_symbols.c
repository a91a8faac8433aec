/* Exports more than its module. */
#include "parts.h"

DOWEL_EXPORT extern int another_symbol;
int another_symbol = 1;

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, another_symbol / in->step_toks, loss);
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
