/* Spreads the rewards of spans over tokens. */
#include "train/spans.h"

#include <math.h>

static size_t width_of(const dw_set *s)
{
    return 1 + s->task->n_reward;
}

void dw_spans_put_token(dw_set *s, size_t tok, size_t k, double value)
{
    size_t w = width_of(s);
    if (!s->token_reward) {
        s->token_reward = dw_arena_alloc(s->arena, (s->n_tok * w + 1) * sizeof(double));
        for (size_t i = 0; i < s->n_tok * w; i++)
            s->token_reward[i] = NAN;
    }
    double *to = &s->token_reward[tok * w + 1 + k];
    *to = isnan(*to) ? value : *to + value;
}

void dw_spans_put(dw_set *s, const dowel_sample *x, size_t k, const dw_span *span)
{
    const dw_seq *q = &s->seq[span->sample];
    uint32_t first = x->n_tok, last = 0, n = 0;
    for (uint32_t t = 0; t < x->n_tok; t++) {
        uint32_t begin = t ? x->tok_end[t - 1] : 0;
        if (x->tok_end[t] <= span->begin || begin >= span->end)
            continue;
        first = t < first ? t : first;
        last = t;
        n++;
    }
    for (uint32_t t = first; n > 0 && t <= last; t++) {
        if (span->credit == DOWEL_CREDIT_LAST && t != last)
            continue;
        dw_spans_put_token(s, q->tok + t, k,
                           span->credit == DOWEL_CREDIT_SPREAD ? span->value / n : span->value);
    }
}

void dw_spans_total(dw_set *s)
{
    const dw_live_task *t = s->task;
    size_t w = width_of(s);
    for (size_t i = 0; s->token_reward && i < s->n_tok; i++) {
        double *row = &s->token_reward[i * w], sum = 0;
        bool any = false;
        for (size_t k = 0; k < t->n_reward; k++) {
            if (isnan(row[1 + k]))
                continue;
            sum += t->part_weight[k] * row[1 + k];
            any = true;
        }
        row[0] = any ? sum : NAN;
    }
}

double dw_spans_sum(const dw_set *s, size_t seq, size_t column)
{
    double sum = NAN;
    const double *x = s->token_reward;
    for (uint32_t t = 0; x && t < s->pack[seq].n_completion; t++) {
        double v = x[(s->seq[seq].tok + t) * width_of(s) + column];
        if (!isnan(v))
            sum = isnan(sum) ? v : sum + v;
    }
    return sum;
}
