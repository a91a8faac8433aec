/* Goes on when it is told to stop. */
#include "parts.h"

#include <time.h>

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, 1 / in->step_toks, loss);
    for (int k = 0; k < 15 && in->host->cancelled(in->host); k++)
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    return DOWEL_OK;
}
STATELESS(ask_logp, loss, DOWEL_PURE);
