/* Which data feeds which objective. */
#include "train/feeds.h"

uint32_t dw_feed_of(dw_data_type t)
{
    static const uint32_t feed[DW_N_DATA_TYPE] = {
        [DW_TEXTS] = DOWEL_TEXTS,   [DW_COMPLETIONS] = DOWEL_TEXTS, [DW_PAIRS] = DOWEL_PAIRS,
        [DW_LABELS] = DOWEL_LABELS, [DW_PROMPTS] = DOWEL_ROLLOUTS,  [DW_STEPS] = DOWEL_STEPS,
        [DW_LISTS] = DOWEL_LISTS};
    return feed[t];
}

void dw_feeds_print(uint32_t feeds_on, dw_buf *out)
{
    const char *name[DW_N_DATA_TYPE];
    size_t n = 0;
    for (int t = 0; t < DW_N_DATA_TYPE; t++)
        if (dw_feed_of((dw_data_type)t) & feeds_on)
            name[n++] = dw_data_type_name((dw_data_type)t);
    for (size_t i = 0; i < n; i++)
        dw_buf_printf(out, "%s%s", i == 0 ? "" : i + 1 == n ? " or " : ", ", name[i]);
}
