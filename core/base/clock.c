/* Time and memory as the system reports them. */
#include "base/clock.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const dw_clock real_clock = {monotonic};
static const dw_clock *current = &real_clock;

void dw_clock_use(const dw_clock *clock)
{
    current = clock ? clock : &real_clock;
}

double dw_now(void)
{
    return current->now();
}

long dw_rss_peak_kib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

long dw_mem_available_kib(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    if (!f)
        return -1;
    char line[128];
    long kib = -1;
    while (kib < 0 && fgets(line, sizeof line, f))
        if (!strncmp(line, "MemAvailable:", 13))
            kib = strtol(line + 13, NULL, 10);
    fclose(f);
    return kib;
}
