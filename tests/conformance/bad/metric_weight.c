/* A mean that does not say of how many. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, 1 / in->step_toks, loss);
    if (in->n_seq > 0)
        in->host->metric(in->host, "tokens", DOWEL_MEAN, in->n_tok / (double)in->n_seq, 1);
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
