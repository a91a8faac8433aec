/* Takes it for granted that there is a sequence. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, 1 / in->step_toks, loss);
    if (dowel_seq_len(in, in->n_seq - 1) > 1000)
        *loss += 1;
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
