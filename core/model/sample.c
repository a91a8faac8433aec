/* The choice of the next token: temperature, top-k, top-p and min-p in the order and with the
 * meaning of Hugging Face transformers. */
#include <math.h>

#include "model/generate_internal.h"

static int32_t largest(const dw_real *logits, size_t vocab)
{
    size_t best = 0;
    for (size_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best])
            best = i;
    return (int32_t)best;
}

/* Larger logit first, then smaller id. */
static bool before(const dw_candidate *a, const dw_candidate *b)
{
    return a->logit != b->logit ? a->logit > b->logit : a->id < b->id;
}

static void sift(dw_candidate *heap, size_t n, size_t i)
{
    const dw_candidate v = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &v))
            break;
        heap[i] = heap[child];
    }
    heap[i] = v;
}

/* Takes candidates from the top of a heap to the end of its array until `enough`, so that only what
 * survives is ever sorted. Returns how many; they end up at the front, best first. */
static size_t take_best(dw_candidate *cand, size_t n, size_t k, double mass)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(cand, n, i);
    double sum = 0;
    dw_real last = 0;
    size_t taken = 0;
    while (taken < n) {
        const dw_candidate top = cand[0];
        /* ties with the k-th stay, as a comparison with its value leaves them in */
        if (sum >= mass || (taken >= k && top.logit != last))
            break;
        last = top.logit;
        sum += top.weight;
        cand[0] = cand[n - taken - 1];
        cand[n - taken - 1] = top;
        taken++;
        sift(cand, n - taken, 0);
    }
    for (size_t i = 0, j = n - 1; i < j; i++, j--) {
        const dw_candidate t = cand[i];
        cand[i] = cand[j];
        cand[j] = t;
    }
    return taken;
}

size_t dw_sample_keep(const dw_sampling *s, const dw_real *logits, size_t vocab, dw_candidate *cand)
{
    const double inv = 1 / s->temperature, top = logits[largest(logits, vocab)];
    size_t n = 0;
    double total = 0;
    for (size_t i = 0; i < vocab; i++) {
        const double w = (double)dw_rexp((dw_real)(((double)logits[i] - top) * inv));
        cand[n++] = (dw_candidate){w, logits[i], (int32_t)i};
        total += w;
    }
    if (s->top_k && s->top_k < n) {
        n = take_best(cand, n, s->top_k, INFINITY);
        total = 0;
        for (size_t i = 0; i < n; i++)
            total += cand[i].weight;
    }
    if (s->top_p < 1)
        n = take_best(cand, n, n, s->top_p * total);
    if (s->min_p > 0) {
        size_t kept = 0;
        for (size_t i = 0; i < n; i++)
            if (cand[i].weight >= s->min_p)
                cand[kept++] = cand[i];
        n = kept;
    }
    return n;
}

int32_t dw_sample_choose(const dw_sampling *s, const dw_real *logits, size_t vocab, double u,
                         dw_candidate *cand)
{
    if (s->greedy)
        return largest(logits, vocab);
    const size_t n = dw_sample_keep(s, logits, vocab, cand);
    double total = 0, sum = 0;
    for (size_t i = 0; i < n; i++)
        total += cand[i].weight;
    for (size_t i = 0; i < n; i++) {
        sum += cand[i].weight;
        if (sum > u * total)
            return cand[i].id;
    }
    size_t last = n - 1; /* rounding: the last that can be chosen at all */
    while (last > 0 && cand[last].weight <= 0)
        last--;
    return cand[last].id;
}
