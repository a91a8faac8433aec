/* Claims to be pure and depends on which process it is in. */
#include "parts.h"

#include <unistd.h>

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, (1 + (double)getpid() * 1e-9) / in->step_toks, loss);
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
