/* Takes a state that was cut off for a whole one. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, 1 / in->step_toks, loss);
    return DOWEL_OK;
}
static dowel_status load_some(void *self, dowel_source *from, uint32_t version, dowel_err *err)
{
    struct memory m = {0, 0};
    size_t n = from->left < sizeof m ? from->left : sizeof m;
    (void)version, (void)err;
    if (n == 0)
        return dowel_fail(err, DOWEL_E_STATE, "no state");
    from->read(from, &m, n);
    *(struct memory *)self = m;
    return DOWEL_OK;
}
STATEFUL(loss, count_step, save, load_some, forget);
