/* Time, behind a seam. */
#ifndef DW_BASE_CLOCK_H
#define DW_BASE_CLOCK_H

#include <stdint.h>

double dw_now(void);             /* seconds, monotonic */
long dw_rss_peak_kib(void);      /* peak resident set of this process */
long dw_mem_available_kib(void); /* MemAvailable, or -1 */

typedef struct dw_clock {
    double (*now)(void);
} dw_clock;
void dw_clock_use(const dw_clock *clock); /* NULL restores; tests only */

#endif
