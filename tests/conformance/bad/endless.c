/* Does not come back from a large batch. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, 1 / in->step_toks, loss);
    for (volatile int run = 1; in->n_seq > 50 && run;)
        ;
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
