/* State that changes in loss(). */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    ((struct memory *)self)->seen += 1;
    nll(in, 1 / in->step_toks, loss);
    return DOWEL_OK;
}
STATEFUL(loss, NULL, save, load, forget);
