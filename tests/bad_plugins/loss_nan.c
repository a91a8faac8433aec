/* A loss that is no number. */
#include <math.h>

#include "bad.h"

static dowel_status loss(void *self, const dowel_batch *in, double *loss, dowel_err *err)
{
    (void)self, (void)in, (void)loss, (void)err;
    *loss = (double)NAN;
    return DOWEL_OK;
}
OBJECTIVE(good_observe, loss);
