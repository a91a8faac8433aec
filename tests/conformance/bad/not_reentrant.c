/* Claims to be reentrant and works in one place for all. */
#include "parts.h"

#include <sched.h>

static volatile double total;

LOSS(loss)
{
    (void)self, (void)err;
    double ignored = 0;
    total = 0;
    nll(in, 1 / in->step_toks, &ignored);
    for (uint32_t t = 0; t < in->n_tok; t++) {
        sched_yield();
        total += 1;
    }
    *loss += ignored + (total - in->n_tok);
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_REENTRANT | DOWEL_PURE);
