/* A span beyond the end of the text. */
#include "parts.h"

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    (void)self, (void)err;
    for (uint32_t i = 0; i < n; i++) {
        out->total[i] = 0;
        out->span(out, i, 0, in[i]->completion.len + 1, 1, DOWEL_CREDIT_LAST);
    }
    return DOWEL_OK;
}
REWARD(score);
