/* Leaves another locale behind. */
#include "bad.h"

#include <locale.h>

static dowel_status score(void *self, const dowel_sample *const *in, uint32_t n, dowel_scores *out,
                          dowel_err *err)
{
    (void)self, (void)in, (void)n, (void)out, (void)err;
    static locale_t mine;
    if (!mine)
        mine = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    uselocale(mine);
    return DOWEL_OK;
}
REWARD(score);
