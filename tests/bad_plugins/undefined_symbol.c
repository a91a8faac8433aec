/* Needs a function that is nowhere. */
#include "bad.h"

double dowel_has_no_such_function(double x);

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    (void)self, (void)in, (void)err;
    out->total[0] = dowel_has_no_such_function(n);
    return DOWEL_OK;
}
REWARD(score);
