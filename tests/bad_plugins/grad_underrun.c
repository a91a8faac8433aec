/* A derivative before the first token. */
#include "bad.h"

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    (void)self, (void)in, (void)loss, (void)err;
    dowel_grad(in, DOWEL_LOGP)[-1] = 1;
    return DOWEL_OK;
}
OBJECTIVE(good_observe, loss);
