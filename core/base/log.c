/* One line to stderr per event. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_uint warnings;

unsigned dw_log_warnings(void)
{
    return atomic_load(&warnings);
}

void dw_log(dw_level level, const char *module, const char *fmt, ...)
{
    static const char *const tag[] = {"debug: ", "", "warning: ", "error: "};
    if (level == DW_WARN)
        atomic_fetch_add(&warnings, 1);
    if (level < DW_INFO)
        return;
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    fprintf(stderr, "dowel: %s%s: %s\n", tag[level], module, line);
}
