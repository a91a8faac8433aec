/* Points the output elsewhere instead of writing into it. */
#include "bad.h"

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    (void)self, (void)in, (void)n, (void)out, (void)err;
    static double mine[2];
    out->total = mine;
    return DOWEL_OK;
}
REWARD(score);
