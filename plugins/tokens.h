/* Means over tokens that several objectives offer, and what they report of them. */
#ifndef DOWEL_PLUGINS_TOKENS_H
#define DOWEL_PLUGINS_TOKENS_H

#include <dowel/plugin.h>

enum { BY_TOKEN = 0, BY_SEQUENCE = 1, BY_CONSTANT = 2 };
static const char *const normalizers[] = {"token", "sequence", "constant", NULL};

/* What a token of sequence s counts, of whose tokens n do, in a step with `tokens` of them. */
static inline double token_share(int64_t normalizer, const dowel_batch *in, double n, double tokens)
{
    if (normalizer == BY_TOKEN)
        return 1 / tokens;
    return 1 / (in->step_seqs * (normalizer == BY_SEQUENCE ? n > 1 ? n : 1
                                 : in->max_tok > 1         ? in->max_tok
                                                           : 1));
}

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
