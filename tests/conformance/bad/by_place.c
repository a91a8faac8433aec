/* Weighs a sequence by its place in the batch. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    for (uint32_t s = 0; s < in->n_seq; s++) {
        double w = (1 + s) / in->step_toks;
        *loss -= w * dowel_seq_sum(in, s, dowel_x(in, DOWEL_LOGP), NULL);
        dowel_seq_add(in, s, dowel_grad(in, DOWEL_LOGP), -w);
    }
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
