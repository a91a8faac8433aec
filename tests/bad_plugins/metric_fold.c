/* A metric that cannot be folded. */
#include "bad.h"

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    (void)self, (void)in, (void)n, (void)out, (void)err;
    out->host->metric(out->host, "m", 9, 1, 1);
    return DOWEL_OK;
}
REWARD(score);
