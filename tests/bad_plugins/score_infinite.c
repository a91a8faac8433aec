/* A score that is no number. */
#include "bad.h"

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    (void)self, (void)in, (void)n, (void)out, (void)err;
    out->total[0] = 1 / (double)(n - 2);
    return DOWEL_OK;
}
REWARD(score);
