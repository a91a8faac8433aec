/* Leaves another rounding mode behind. */
#include "bad.h"

#include <fenv.h>

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    (void)self, (void)in, (void)n, (void)out, (void)err;
    fesetround(FE_UPWARD);
    return DOWEL_OK;
}
REWARD(score);
