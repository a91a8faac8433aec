/* Believes whatever it is given as its state. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, (1 + ((struct memory *)self)->other) / in->step_toks, loss);
    return DOWEL_OK;
}
static dowel_status load_any(void *self, dowel_source *from, uint32_t version, dowel_err *err)
{
    (void)version;
    if (from->left != sizeof(struct memory))
        return dowel_fail(err, DOWEL_E_STATE, "cut off");
    return from->read(from, self, sizeof(struct memory));
}
STATEFUL(loss, count_step, save, load_any, forget);
