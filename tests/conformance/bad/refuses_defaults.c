/* Will not have what its own defaults ask for. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    (void)in, (void)loss;
    return dowel_fail(err, DOWEL_E_ARG, "give it something else");
}
STATELESS(ask_logp, loss, DOWEL_PURE);
