/* Coefficients that combine several objectives' gradients, from their Gram matrix. */
#include "train/combine.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"

enum { MAX_ROUNDS = 2000, LINE_STEPS = 60 };

/* a' G b */
static double form(const double *g, size_t k, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            sum += a[i] * g[i * k + j] * b[j];
    return sum;
}

static void equal_norms(const dw_combine_spec *s, const double *g, const double *weight, size_t k,
                        double *reference, double *c)
{
    double mean = 0;
    for (size_t i = 0; i < k; i++)
        mean += sqrt(g[i * k + i]) / weight[i] / (double)k;
    *reference = *reference > 0 ? s->decay * *reference + (1 - s->decay) * mean : mean;
    for (size_t i = 0; i < k; i++)
        c[i] = weight[i] * *reference / sqrt(g[i * k + i]);
}

static void shuffle(size_t *order, size_t k, uint64_t seed, uint64_t step, uint64_t who)
{
    for (size_t i = 0; i < k; i++)
        order[i] = i;
    for (size_t i = k; i > 1; i--) {
        uint64_t r = dw_random_below(seed, DW_RNG_COMBINE, step, who * 4096 + i, i);
        size_t was = order[i - 1];
        order[i - 1] = order[r];
        order[r] = was;
    }
}

/* Each gradient in turn loses what points against the others; projections use the originals. */
static void project(const double *g, size_t k, uint64_t seed, uint64_t step, double *c)
{
    double *w = dw_zalloc(k, sizeof *w);
    size_t *order = dw_zalloc(k, sizeof *order);
    memset(c, 0, k * sizeof *c);
    for (size_t i = 0; i < k; i++) {
        memset(w, 0, k * sizeof *w);
        w[i] = 1;
        shuffle(order, k, seed, step, i);
        for (size_t n = 0; n < k; n++) {
            size_t j = order[n];
            double d = 0;
            if (j == i)
                continue;
            for (size_t m = 0; m < k; m++)
                d += w[m] * g[m * k + j];
            if (d < 0)
                w[j] -= d / g[j * k + j];
        }
        for (size_t m = 0; m < k; m++)
            c[m] += w[m];
    }
    dw_free(order);
    dw_free(w);
}

/* ---- minima over the simplex ---- */

/* f(w) = linear . w + scale * sqrt(w' G w), or w' G w where scale is 0. */
typedef struct hull {
    const double *g, *linear;
    size_t k;
    double scale;
} hull;

static double value(const hull *h, const double *w)
{
    double q = form(h->g, h->k, w, w), sum = h->scale > 0 ? h->scale * sqrt(fmax(q, 0)) : q;
    for (size_t i = 0; h->linear && i < h->k; i++)
        sum += h->linear[i] * w[i];
    return sum;
}

static void slope(const hull *h, const double *w, double *d)
{
    double norm = sqrt(fmax(form(h->g, h->k, w, w), 1e-300));
    for (size_t i = 0; i < h->k; i++) {
        double gw = 0;
        for (size_t j = 0; j < h->k; j++)
            gw += h->g[i * h->k + j] * w[j];
        d[i] = (h->linear ? h->linear[i] : 0) + (h->scale > 0 ? h->scale * gw / norm : 2 * gw);
    }
}

/* The best t in [0, most] of moving t from one vertex to another; the function is convex. */
static double line(const hull *h, double *w, size_t from, size_t to, double most)
{
    double lo = 0, hi = most, a = w[from], b = w[to];
    for (int n = 0; n < LINE_STEPS; n++) {
        double t[2] = {lo + (hi - lo) / 3, hi - (hi - lo) / 3}, f[2];
        for (int i = 0; i < 2; i++) {
            w[from] = a - t[i];
            w[to] = b + t[i];
            f[i] = value(h, w);
        }
        if (f[0] <= f[1])
            hi = t[1];
        else
            lo = t[0];
    }
    w[from] = a;
    w[to] = b;
    return (lo + hi) / 2;
}

/* Pairwise Frank-Wolfe: weight goes from the worst vertex that has some to the best one. */
static void minimise(const hull *h, double *w)
{
    double *d = dw_zalloc(h->k, sizeof *d);
    for (size_t i = 0; i < h->k; i++)
        w[i] = 1.0 / (double)h->k;
    for (int n = 0; n < MAX_ROUNDS; n++) {
        size_t worst = h->k, best = 0;
        slope(h, w, d);
        for (size_t i = 0; i < h->k; i++) {
            if (d[i] < d[best])
                best = i;
            if (w[i] > 0 && (worst == h->k || d[i] > d[worst]))
                worst = i;
        }
        double gap = d[worst] - d[best];
        if (worst == best || gap <= 1e-12 * (fabs(d[worst]) + fabs(d[best])))
            break;
        double most = w[worst], t = line(h, w, worst, best, most);
        bool all = t > most * (1 - 1e-9);
        w[best] += all ? most : t;
        w[worst] = all ? 0 : most - t;
        if (!all && t < 1e-15)
            break;
    }
    dw_free(d);
}

static void shortest(const dw_combine_spec *s, const double *g, size_t k, double *c)
{
    double *scaled = dw_zalloc(k * k, sizeof *scaled);
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            scaled[i * k + j] =
                s->normalize ? g[i * k + j] / sqrt(g[i * k + i] * g[j * k + j]) : g[i * k + j];
    const hull h = {.g = scaled, .k = k};
    double length = 0;
    minimise(&h, c);
    for (size_t i = 0; i < k; i++)
        length += sqrt(g[i * k + i]) / (double)k;
    for (size_t i = 0; i < k; i++) /* directions get the mean length back */
        c[i] *= (double)k * (s->normalize ? length / sqrt(g[i * k + i]) : 1);
    dw_free(scaled);
}

static void conflict_averse(const dw_combine_spec *s, const double *g, size_t k, double *c)
{
    double *row = dw_zalloc(k, sizeof *row);
    double mean = 0;
    for (size_t i = 0; i < k; i++) {
        row[i] = 0;
        for (size_t j = 0; j < k; j++)
            row[i] += g[i * k + j] / (double)k;
        mean += row[i] / (double)k;
    }
    double radius = s->c * sqrt(fmax(mean, 0)); /* c |g0| */
    const hull h = {.g = g, .linear = row, .k = k, .scale = radius};
    if (radius > 0) {
        minimise(&h, c);
        double norm = sqrt(fmax(form(g, k, c, c), 0));
        for (size_t i = 0; i < k; i++)
            c[i] = (1 + (double)k * (norm > 0 ? radius / norm * c[i] : 0)) / (1 + s->c);
    } else {
        for (size_t i = 0; i < k; i++)
            c[i] = 1;
    }
    dw_free(row);
}

static void among(const dw_combine_spec *s, const double *g, const double *weight, size_t k,
                  uint64_t seed, uint64_t step, double *reference, double *c)
{
    for (size_t i = 0; i < k; i++)
        c[i] = 1;
    if (k < 2 && s->kind != DW_COMBINE_NORM)
        return;
    switch (s->kind) {
    case DW_COMBINE_SUM:
        break;
    case DW_COMBINE_NORM:
        equal_norms(s, g, weight, k, reference, c);
        break;
    case DW_COMBINE_PCGRAD:
        project(g, k, seed, step, c);
        break;
    case DW_COMBINE_MGDA:
        shortest(s, g, k, c);
        break;
    case DW_COMBINE_CAGRAD:
        conflict_averse(s, g, k, c);
        break;
    }
}

void dw_combine(const dw_combine_spec *s, const double *gram, const double *weight, size_t k,
                uint64_t seed, uint64_t step, double *reference, double *c)
{
    size_t n = 0, *live = dw_zalloc(k + 1, sizeof *live);
    for (size_t i = 0; i < k; i++) {
        c[i] = 1;
        if (gram[i * k + i] > 0 && weight[i] > 0)
            live[n++] = i;
    }
    double *g = dw_zalloc(n * n + 1, sizeof *g), *w = dw_zalloc(n + 1, sizeof *w),
           *out = dw_zalloc(n + 1, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        w[i] = weight[live[i]];
        for (size_t j = 0; j < n; j++)
            g[i * n + j] = gram[live[i] * k + live[j]];
    }
    if (n > 0)
        among(s, g, w, n, seed, step, reference, out);
    for (size_t i = 0; i < n; i++)
        c[live[i]] = out[i];
    dw_free(out);
    dw_free(w);
    dw_free(g);
    dw_free(live);
}
