/* Reads a completion up to a NUL byte that may not be its end. */
#include "parts.h"

#include <string.h>

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    (void)self, (void)err;
    for (uint32_t i = 0; i < n; i++) {
        out->total[i] = in[i]->completion.len ? 1 : NAN;
        if (strlen(in[i]->completion.ptr) != in[i]->completion.len)
            abort();
    }
    return DOWEL_OK;
}
REWARD(score);
