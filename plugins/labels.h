/* Answers with a label each: totals of the step and the metrics of unpaired preference objectives.
 */
#ifndef DOWEL_PLUGINS_LABELS_H
#define DOWEL_PLUGINS_LABELS_H

#include <dowel/plugin.h>
#include <math.h>

/* survey(): how many answers of the step are wanted and unwanted. */
enum { LABEL_WANTED, LABEL_UNWANTED, LABEL_TOTALS };

/* Columns for metrics alone. */
#define LABEL_SHOWN (DOWEL_BIT(DOWEL_ENTROPY) | DOWEL_BIT(DOWEL_MEAN_LOGIT))

/* An answer that is trained on: labelled, with a counted token. */
static inline bool labelled(const dowel_batch *in, uint32_t s)
{
    double label = dowel_x(in, DOWEL_LABEL)[s];
    return in->role[s] != DOWEL_MISMATCHED && in->role[s] != DOWEL_GOLD &&
           (label > 0 || label < 0) && dowel_seq_len(in, s) > 0;
}

static inline dowel_status labels_check(const dowel_batch *in, dowel_err *err)
{
    if (in->n_seq > 0 && !dowel_x(in, DOWEL_LABEL))
        return dowel_fail(err, DOWEL_E_ARG, "the batch has no labels; give every row one");
    return DOWEL_OK;
}

static inline void labels_count(const dowel_batch *in, double *sum)
{
    for (uint32_t s = 0; s < in->n_seq; s++)
        if (labelled(in, s))
            sum[dowel_x(in, DOWEL_LABEL)[s] > 0 ? LABEL_WANTED : LABEL_UNWANTED] += 1;
}

/* How many there are: the mean of the loss is over them. Never 0 where loss() sees one. */
static inline double labels_total(const dowel_batch *in)
{
    return in->total[LABEL_WANTED] + in->total[LABEL_UNWANTED];
}

/* Sums over the wanted (0) and the unwanted (1) answers of one batch. */
struct label_sums {
    double n[2], reward[2], logp[2], logit[2], tokens[2], entropy;
};

static inline void labels_add(const dowel_batch *in, uint32_t s, double reward,
                              struct label_sums *m)
{
    int k = !(dowel_x(in, DOWEL_LABEL)[s] > 0);
    const double *logit = dowel_x(in, DOWEL_MEAN_LOGIT), *h = dowel_x(in, DOWEL_ENTROPY);
    m->n[k] += 1;
    m->reward[k] += reward;
    m->logp[k] += dowel_seq_sum(in, s, dowel_x(in, DOWEL_LOGP), NULL);
    m->tokens[k] += dowel_seq_len(in, s);
    m->logit[k] += logit ? dowel_seq_sum(in, s, logit, NULL) : 0;
    m->entropy += h ? dowel_seq_sum(in, s, h, NULL) : 0;
}

/* The margin is the difference of two means over different answers, so each batch gives its share
 * of the step's. */
static inline void labels_report(const dowel_batch *in, const struct label_sums *m)
{
    static const char *const reward[] = {"rewards/chosen", "rewards/rejected"};
    static const char *const logp[] = {"logps/chosen", "logps/rejected"};
    static const char *const logit[] = {"logits/chosen", "logits/rejected"};
    const dowel_host *host = in->host;
    double tokens = m->tokens[0] + m->tokens[1];
    for (int k = 0; k < 2; k++) {
        if (m->n[k] == 0)
            continue;
        host->metric(host, reward[k], DOWEL_MEAN, m->reward[k] / m->n[k], m->n[k]);
        host->metric(host, logp[k], DOWEL_MEAN, m->logp[k] / m->n[k], m->n[k]);
        if (dowel_x(in, DOWEL_MEAN_LOGIT))
            host->metric(host, logit[k], DOWEL_MEAN, m->logit[k] / m->tokens[k], m->tokens[k]);
    }
    if (tokens > 0 && dowel_x(in, DOWEL_ENTROPY))
        host->metric(host, "entropy", DOWEL_MEAN, m->entropy / tokens, tokens);
    if (tokens > 0 && in->total[LABEL_WANTED] > 0 && in->total[LABEL_UNWANTED] > 0)
        host->metric(
            host, "rewards/margins", DOWEL_SUM,
            m->reward[0] / in->total[LABEL_WANTED] - m->reward[1] / in->total[LABEL_UNWANTED], 1);
}

#endif
