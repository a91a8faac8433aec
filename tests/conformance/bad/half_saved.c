/* Saves half of what it remembers. */
#include "parts.h"

LOSS(loss)
{
    (void)self, (void)err;
    const struct memory *m = self;
    nll(in, (1 + m->seen + m->other) / in->step_toks, loss);
    return DOWEL_OK;
}
static dowel_status end(void *self, uint64_t step, const double *tally, dowel_err *err)
{
    struct memory *m = self;
    (void)step, (void)tally, (void)err;
    m->other += 1;
    return DOWEL_OK;
}
static dowel_status save_half(void *self, dowel_sink *to, dowel_err *err)
{
    struct memory m = {((struct memory *)self)->seen, 0};
    (void)err;
    return to->write(to, &m, sizeof m);
}
STATEFUL(loss, end, save_half, load, forget);
