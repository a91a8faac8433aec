/* The divergence of one row: values and derivatives from two rows of logits. */
#include <stdlib.h>

#include "tensor/divergence.h"

/* ---- the likeliest tokens ---- */

static bool before(const dw_real *z, uint32_t a, uint32_t b)
{
    return z[a] > z[b] || (z[a] == z[b] && a < b);
}

/* A heap of k ids whose root is the one to give up first. */
static void sift(const dw_real *z, uint32_t *heap, size_t k)
{
    for (size_t i = 0, child = 1; child < k; child = 2 * i + 1) {
        if (child + 1 < k && before(z, heap[child], heap[child + 1]))
            child++;
        if (!before(z, heap[i], heap[child]))
            return;
        uint32_t t = heap[i];
        heap[i] = heap[child];
        heap[child] = t;
        i = child;
    }
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* list: the k largest of z, of equal ones the first, by id. */
static void likeliest(const dw_real *z, size_t vocab, size_t k, uint32_t *list)
{
    for (size_t i = 0; i < k; i++) { /* insert at the end, move up */
        size_t at = i;
        list[at] = (uint32_t)i;
        for (size_t up; at > 0 && before(z, list[up = (at - 1) / 2], list[at]); at = up) {
            uint32_t t = list[up];
            list[up] = list[at];
            list[at] = t;
        }
    }
    for (size_t v = k; v < vocab; v++)
        if (before(z, (uint32_t)v, list[0])) {
            list[0] = (uint32_t)v;
            sift(z, list, k);
        }
    qsort(list, k, sizeof *list, by_id);
}

/* ---- distributions ---- */

/* Tokens of the vocabulary, or those of a list, or all but those. */
typedef struct tokens {
    size_t vocab, k;
    const uint32_t *list; /* NULL: all */
} tokens;

/* log sum exp of z / tau over the list, or over its complement. */
static double log_sum(const tokens *t, const dw_real *z, double inverse, bool outside)
{
    double max = -INFINITY, sum = 0;
    for (int pass = 0; pass < 2; pass++) {
        size_t next = 0, n = t->list && !outside ? t->k : t->vocab;
        for (size_t i = 0; i < n; i++) {
            size_t v = t->list && !outside ? t->list[i] : i;
            if (outside && next < t->k && t->list[next] == v) {
                next++;
                continue;
            }
            double x = (double)z[v] * inverse;
            if (pass == 0)
                max = x > max ? x : max;
            else
                sum += exp(x - max);
        }
    }
    return max + log(sum);
}

/* Log-probabilities are z / tau - lse; tail: that of all tokens outside of the list together. */
typedef struct side {
    const dw_real *z;
    double inverse, lse, tail;
} side;

static side side_of(const dw_divergence_spec *s, const tokens *t, const dw_real *z)
{
    side a = {.z = z, .inverse = 1 / s->temperature};
    a.lse = log_sum(t, z, a.inverse, false);
    if (t->list && s->tail) {
        double out = log_sum(t, z, a.inverse, true), in = a.lse;
        double hi = in > out ? in : out, lo = in > out ? out : in;
        a.lse = hi + log1p(exp(lo - hi));
        a.tail = out - a.lse;
    }
    return a;
}

static double log_p(const side *a, size_t v)
{
    return (double)a->z[v] * a->inverse - a->lse;
}

/* ---- one outcome ---- */

/* Its part of the divergence; p times the derivative by p (up to what is the same for all). */
typedef struct part {
    double p, value, weight;
} part;

static int kind_of(const dw_divergence_spec *s)
{
    if (s->kind == DW_JENSEN_SHANNON && s->beta == 0)
        return DW_FORWARD_KL;
    if (s->kind == DW_JENSEN_SHANNON && s->beta == 1)
        return DW_REVERSE_KL;
    return s->kind;
}

static part measure(int kind, double beta, double lp, double lq)
{
    part o = {.p = exp(lp)};
    if (kind == DW_REVERSE_KL) {
        o.value = o.weight = o.p > 0 ? o.p * (lp - lq) : 0;
        return o;
    }
    double q = exp(lq);
    if (kind == DW_FORWARD_KL) {
        o.value = q > 0 ? q * (lq - lp) : 0;
        o.weight = -q;
        return o;
    }
    double m = beta * q + (1 - beta) * o.p;
    if (!(m > 0))
        return o;
    double lm = log(m);
    o.weight = o.p > 0 ? (1 - beta) * o.p * (lp - lm) : 0;
    o.value = o.weight + (q > 0 ? beta * q * (lq - lm) : 0);
    return o;
}

/* ---- a row ---- */

typedef struct row {
    const dw_divergence_spec *s;
    int kind;
    tokens t;
    side mine, other;
    double value, sum; /* of all parts: values, weights */
    double outside;    /* of a token that is not listed: its derivative divided by its p */
} row;

static part part_of(const row *r, size_t v)
{
    return measure(r->kind, r->s->beta, log_p(&r->mine, v), log_p(&r->other, v));
}

static void add_up(row *r)
{
    for (size_t i = 0; i < (r->t.list ? r->t.k : r->t.vocab); i++) {
        part o = part_of(r, r->t.list ? r->t.list[i] : i);
        r->value += o.value;
        r->sum += o.weight;
    }
    if (!r->t.list || !r->s->tail)
        return;
    part o = measure(r->kind, r->s->beta, r->mine.tail, r->other.tail);
    r->value += o.value;
    r->sum += o.weight;
    r->outside = o.p > 0 ? o.weight / o.p - r->sum : 0;
}

/* With D's derivative g by the outcomes' probabilities c, and w = c g: dD/dz = (w - c sum w) / tau
 * for a token that is an outcome of its own. One of the tail moves it all together; renormalised,
 * those outside move nothing. */
static void differentiate(const row *r, double softcap, double scale, dw_real *dz)
{
    size_t next = 0;
    const double inverse = r->mine.inverse * scale;
    for (size_t v = 0; v < r->t.vocab; v++) {
        const double z = (double)r->mine.z[v]; /* dz may be z */
        const double slope = softcap != 0 ? 1 - z / softcap * (z / softcap) : 1;
        double d = 0;
        if (!r->t.list || (next < r->t.k && r->t.list[next] == v)) {
            part o = part_of(r, v);
            d = o.weight - o.p * r->sum;
            next++;
        } else if (r->s->tail) {
            d = exp(log_p(&r->mine, v)) * r->outside;
        }
        dz[v] = (dw_real)(d * inverse * slope);
    }
}

double dw_divergence_row(const dw_divergence_spec *s, const dw_real *z, const dw_real *y,
                         size_t vocab, uint32_t *list, double softcap, double scale, dw_real *dz)
{
    const bool some = s->top_k && s->top_k < vocab;
    if (s->kind == DW_SORTED_DISTANCE)
        return dw_divergence_sorted(s, z, y, vocab, softcap, scale, dz);
    row r = {.s = s, .kind = kind_of(s), .t = {vocab, s->top_k, some ? list : NULL}};
    if (some)
        likeliest(z, vocab, s->top_k, list);
    r.mine = side_of(s, &r.t, z);
    r.other = side_of(s, &r.t, y);
    add_up(&r);
    if (dz)
        differentiate(&r, softcap, scale, dz);
    return r.value;
}
