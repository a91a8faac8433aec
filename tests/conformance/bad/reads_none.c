/* Takes no state for a state. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, 1 / in->step_toks, loss);
    return DOWEL_OK;
}
static dowel_status load_none(void *self, dowel_source *from, uint32_t version, dowel_err *err)
{
    return from->left == 0 ? DOWEL_OK : load(self, from, version, err);
}
STATEFUL(loss, count_step, save, load_none, forget);
