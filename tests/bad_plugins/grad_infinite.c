/* A derivative that is no number. */
#include "bad.h"

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    (void)self, (void)in, (void)loss, (void)err;
    dowel_grad(in, DOWEL_LOGP)[2] = 1 / (double)(in->n_seq - 2);
    return DOWEL_OK;
}
OBJECTIVE(good_observe, loss);
