/* A score that depends on how many are scored. */
#include "parts.h"

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    (void)self, (void)err;
    for (uint32_t i = 0; i < n; i++)
        out->total[i] = (double)in[i]->completion.len + n;
    return DOWEL_OK;
}
REWARD(score);
