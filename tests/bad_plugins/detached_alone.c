/* Detaches what it did not ask for. */
#include "bad.h"

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    (void)self, (void)ask, (void)err;
    ask->columns = DOWEL_BIT(DOWEL_LOGP);
    ask->detached = DOWEL_BIT(DOWEL_ENTROPY);
    return DOWEL_OK;
}
OBJECTIVE(observe, good_loss);
