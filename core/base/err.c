/* Builds error messages and reports broken promises of our own. */
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local const char *breadcrumb;

void dw_err_set(dw_err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
}

void dw_err_prefix(dw_err *err, const char *fmt, ...)
{
    char old[sizeof err->text], head[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(head, sizeof head, fmt, ap);
    va_end(ap);
    size_t n = strlen(head), room = sizeof err->text - 1;
    if (n > room - 2)
        n = room - 2;
    memcpy(err->text, head, n);
    memcpy(err->text + n, ": ", 2);
    size_t m = strlen(old);
    if (m > room - n - 2)
        m = room - n - 2;
    memcpy(err->text + n + 2, old, m);
    err->text[n + 2 + m] = 0;
}

void dw_assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "dowel: bug: %s:%d: '%s' does not hold%s%s (please report this)\n", file, line,
            cond, breadcrumb ? " in " : "", breadcrumb ? breadcrumb : "");
    exit(70);
}

void dw_breadcrumb(const char *what)
{
    breadcrumb = what;
}
