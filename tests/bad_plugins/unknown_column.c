/* Asks for a column of the future. */
#include "bad.h"

static dowel_status observe(void *self, dowel_request *ask, dowel_err *err)
{
    (void)self, (void)ask, (void)err;
    ask->columns = DOWEL_BIT(35);
    return DOWEL_OK;
}
OBJECTIVE(observe, good_loss);
