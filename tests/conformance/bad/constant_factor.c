/* A factor that is meant as a constant, of a column that nobody can hold still. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    const double *l = dowel_x(in, DOWEL_LOGP);
    for (uint32_t t = 0; t < in->n_tok; t++) {
        if (!in->mask[t])
            continue;
        double c = exp(l[t]) / in->step_toks;
        *loss -= c * l[t];
        dowel_grad(in, DOWEL_LOGP)[t] -= c;
    }
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
