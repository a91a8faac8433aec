/* A derivative behind the last token. */
#include "bad.h"

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    (void)self, (void)in, (void)loss, (void)err;
    dowel_grad(in, DOWEL_LOGP)[in->n_tok] = 1;
    return DOWEL_OK;
}
OBJECTIVE(good_observe, loss);
