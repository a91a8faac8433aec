/* Comparison of number arrays in tests: prints the worst offender with its index and both values.
 */
#ifndef DW_TESTS_CLOSE_H
#define DW_TESTS_CLOSE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "tensor/real.h"

/* |got - want| <= abs + rel * |want| for every element; equal infinities are close, NaN is close
 * to NaN only. Says which element is worst, how bad, and how many are out. */
static inline bool dw_close(const char *what, const dw_real *got, const dw_real *want, size_t n,
                            double rel, double abs)
{
    size_t bad = 0, worst = 0;
    double worst_by = 0;
    for (size_t i = 0; i < n; i++) {
        double g = (double)got[i], w = (double)want[i];
        if (g == w || (isnan(g) && isnan(w)))
            continue;
        double by = fabs(g - w) / (abs + rel * fabs(w));
        if (by <= 1)
            continue;
        if (bad++ == 0 || !(by <= worst_by)) {
            worst = i;
            worst_by = by;
        }
    }
    if (bad > 0)
        (void)fprintf(stderr,
                      "%s: %zu of %zu elements differ; the worst is [%zu]: got %.9g, want %.9g "
                      "(difference %.3g, allowed %.3g)\n",
                      what, bad, n, worst, (double)got[worst], (double)want[worst],
                      fabs((double)got[worst] - (double)want[worst]),
                      abs + rel * fabs((double)want[worst]));
    return bad == 0;
}

/* The same bits. */
static inline bool dw_same(const char *what, const dw_real *got, const dw_real *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0) {
            (void)fprintf(stderr, "%s: bits differ first at [%zu] of %zu: %.9g and %.9g\n", what, i,
                          n, (double)got[i], (double)want[i]);
            return false;
        }
    return true;
}

#endif
