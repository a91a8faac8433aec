/* Saves where it lies in memory. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    nll(in, 1 / in->step_toks, loss);
    return DOWEL_OK;
}
static dowel_status save_place(void *self, dowel_sink *to, dowel_err *err)
{
    (void)err;
    to->write(to, self, sizeof(struct memory));
    return to->write(to, &self, sizeof self);
}
static dowel_status load_place(void *self, dowel_source *from, uint32_t version, dowel_err *err)
{
    void *old;
    (void)version;
    if (from->read(from, self, sizeof(struct memory)) < 0 || from->read(from, &old, sizeof old) < 0)
        return dowel_fail(err, DOWEL_E_STATE, "cut off");
    return DOWEL_OK;
}
STATEFUL(loss, count_step, save_place, load_place, forget);
