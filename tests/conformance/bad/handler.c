/* Takes a signal for itself while it is loaded. */
#include "parts.h"

#include <signal.h>

__attribute__((constructor)) static void begin(void)
{
    signal(SIGUSR1, SIG_IGN);
}

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, 1 / in->step_toks, loss);
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
