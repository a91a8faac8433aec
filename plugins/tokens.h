/* Means over tokens, as several objectives report them. */
#ifndef DOWEL_PLUGINS_TOKENS_H
#define DOWEL_PLUGINS_TOKENS_H

#include <dowel/plugin.h>

/* Reports the mean of a column over the batch's counted tokens. */
static inline void report_token_mean(const dowel_batch *in, uint32_t column, const char *name)
{
    const double *x = dowel_x(in, column);
    double sum = 0, n = 0;
    for (uint32_t s = 0; x && s < in->n_seq; s++) {
        sum += dowel_seq_sum(in, s, x, NULL);
        n += dowel_seq_len(in, s);
    }
    if (n > 0)
        in->host->metric(in->host, name, DOWEL_MEAN, sum / n, n);
}

#endif
