/* The metrics that objectives on pairs report. */
#ifndef DOWEL_PLUGINS_PAIRS_REPORT_H
#define DOWEL_PLUGINS_PAIRS_REPORT_H

#include "pairs.h"

/* The likelihood term on the wanted answers, and its metric. */
static inline double pairs_nll(const dowel_batch *in, const struct pair *list, uint32_t n,
                               double weight)
{
    double tokens = in->total[PAIR_CHOSEN_TOKENS], loss = 0, sum = 0, here = 0;
    for (uint32_t i = 0; i < n; i++) {
        loss += answer_nll(in, list[i].chosen.seq, weight, tokens);
        sum -= dowel_seq_sum(in, list[i].chosen.seq, dowel_x(in, DOWEL_LOGP), NULL);
        here += list[i].chosen.n;
    }
    if (here > 0)
        in->host->metric(in->host, "nll_loss", DOWEL_MEAN, sum / here, here);
    return loss;
}

/* The columns for metrics alone: entropy, hits and raw logits; no derivative. */
#define PAIR_SHOWN (DOWEL_BIT(DOWEL_ENTROPY) | DOWEL_BIT(DOWEL_TOP1) | DOWEL_BIT(DOWEL_MEAN_LOGIT))

enum { SIDE_CHOSEN = 1, SIDE_REJECTED = 2 };

/* A mean over the tokens of one side or both; nothing where the column is not there. */
static inline void report_side_mean(const dowel_batch *in, const struct pair *list, uint32_t n,
                                    const char *name, uint32_t column, int sides)
{
    const double *x = dowel_x(in, column);
    double sum = 0, tokens = 0;
    for (uint32_t i = 0; x && i < n; i++) {
        if (sides & SIDE_CHOSEN) {
            sum += dowel_seq_sum(in, list[i].chosen.seq, x, NULL);
            tokens += list[i].chosen.n;
        }
        if (sides & SIDE_REJECTED) {
            sum += dowel_seq_sum(in, list[i].rejected.seq, x, NULL);
            tokens += list[i].rejected.n;
        }
    }
    if (tokens > 0)
        in->host->metric(in->host, name, DOWEL_MEAN, sum / tokens, tokens);
}

/* What TRL's pair trainers report, from `reward` and `logp` of the halves. */
static inline void pairs_report(const dowel_batch *in, const struct pair *list, uint32_t n)
{
    const dowel_host *host = in->host;
    double c = 0, r = 0, right = 0, lc = 0, lr = 0, pairs = n;
    if (n == 0)
        return;
    for (uint32_t i = 0; i < n; i++) {
        c += list[i].chosen.reward;
        r += list[i].rejected.reward;
        right += list[i].chosen.reward > list[i].rejected.reward; /* a tie is an error */
        lc += list[i].chosen.logp;
        lr += list[i].rejected.logp;
    }
    host->metric(host, "rewards/chosen", DOWEL_MEAN, c / pairs, pairs);
    host->metric(host, "rewards/rejected", DOWEL_MEAN, r / pairs, pairs);
    host->metric(host, "rewards/margins", DOWEL_MEAN, (c - r) / pairs, pairs);
    host->metric(host, "rewards/accuracies", DOWEL_MEAN, right / pairs, pairs);
    host->metric(host, "logps/chosen", DOWEL_MEAN, lc / pairs, pairs);
    host->metric(host, "logps/rejected", DOWEL_MEAN, lr / pairs, pairs);
    report_side_mean(in, list, n, "logits/chosen", DOWEL_MEAN_LOGIT, SIDE_CHOSEN);
    report_side_mean(in, list, n, "logits/rejected", DOWEL_MEAN_LOGIT, SIDE_REJECTED);
    report_side_mean(in, list, n, "entropy", DOWEL_ENTROPY, SIDE_CHOSEN | SIDE_REJECTED);
    report_side_mean(in, list, n, "mean_token_accuracy", DOWEL_TOP1, SIDE_CHOSEN);
}

/* What TRL's online trainers add, over both halves; counted tokens only. Nothing for given text. */
static inline void pairs_report_online(const dowel_batch *in, const struct pair *list, uint32_t n,
                                       double beta)
{
    const double *logp = dowel_x(in, DOWEL_LOGP), *ref = dowel_x(in, DOWEL_REF_LOGP);
    const dowel_column *reward = &in->col[DOWEL_REWARD];
    const dowel_host *host = in->host;
    double kl = 0, minus = 0, score = 0, answers = 2 * (double)n;
    if (n == 0 || in->stop[list[0].chosen.seq] == 0)
        return;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t both[] = {list[i].chosen.seq, list[i].rejected.seq};
        for (int k = 0; k < 2; k++) {
            kl += ref ? dowel_seq_sum(in, both[k], logp, ref) : 0;
            minus -= dowel_seq_sum(in, both[k], logp, NULL);
            score += reward->x ? reward->x[(size_t)both[k] * reward->width] : 0;
        }
    }
    host->metric(host, "objective/entropy", DOWEL_MEAN, minus / answers, answers);
    if (!ref)
        return;
    host->metric(host, "objective/kl", DOWEL_MEAN, kl / answers, answers);
    host->metric(host, "objective/non_score_reward", DOWEL_MEAN, -beta * kl / answers, answers);
    if (reward->x)
        host->metric(host, "objective/rlhf_reward", DOWEL_MEAN, (score - beta * kl) / answers,
                     answers);
}

#endif
