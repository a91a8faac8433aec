/* Draws the progress line. */
#include "train/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

void dw_progress_begin(dw_progress *p, uint64_t step, uint64_t steps, bool quiet)
{
    const char *term = getenv("TERM");
    *p = (dw_progress){.quiet = quiet,
                       .tty = isatty(STDERR_FILENO) && (!term || strcmp(term, "dumb") != 0),
                       .first = step,
                       .step = step,
                       .steps = steps,
                       .begun = dw_now(),
                       .last_tenth = steps ? (int)(step * 10 / steps) : 0};
    p->last_line = p->begun;
}

static size_t terminal_width(void)
{
    struct winsize w;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 10)
        return w.ws_col;
    return 80;
}

static void clock_text(double seconds, char *out, size_t n)
{
    long s = seconds < 0 ? 0 : (long)(seconds + 0.5);
    snprintf(out, n, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
}

static void erase(dw_progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
}

static void draw(dw_progress *p, const char *text)
{
    size_t width = terminal_width() - 1;
    fprintf(stderr, "\r\033[K%.*s", (int)width, text);
    fflush(stderr);
    p->drawn = true;
    p->last_draw = dw_now();
}

static void compose(const dw_progress *p, dw_buf *b)
{
    char spent[32], left[32];
    double now = dw_now();
    clock_text(now - p->begun, spent, sizeof spent);
    clock_text(p->rate * (double)(p->steps - p->step), left, sizeof left);
    dw_buf_printf(b, "step %llu/%llu %3.0f%%  %s<%s  %.3g s/step  %.0f tok/s  %s",
                  (unsigned long long)p->step, (unsigned long long)p->steps,
                  p->steps ? 100.0 * (double)p->step / (double)p->steps : 100.0, spent, left,
                  p->rate, (double)p->tokens / (now - p->begun + 1e-9), p->line);
}

void dw_progress_step(dw_progress *p, uint64_t step, double seconds, uint64_t tokens,
                      const char *numbers)
{
    p->step = step;
    p->tokens += tokens;
    p->rate = p->rate == 0 ? seconds : 0.8 * p->rate + 0.2 * seconds;
    snprintf(p->line, sizeof p->line, "%s", numbers);
    if (p->quiet)
        return;
    double now = dw_now();
    int tenth = p->steps ? (int)(step * 10 / p->steps) : 0;
    dw_buf b = {0};
    compose(p, &b);
    if (p->tty) {
        if (now - p->last_draw >= 0.1 || step == p->steps)
            draw(p, b.ptr);
    } else if (now - p->last_line >= 30 || tenth != p->last_tenth || step == p->first + 1) {
        fprintf(stderr, "%s\n", b.ptr);
        p->last_line = now;
        p->last_tenth = tenth;
    }
    dw_buf_finish(&b);
}

void dw_progress_phase(dw_progress *p, const char *what, size_t done, size_t of)
{
    if (p->quiet || !p->tty || dw_now() - p->last_draw < 0.1)
        return;
    dw_buf b = {0};
    dw_buf_printf(&b, "step %llu/%llu  %s %zu/%zu  %s", (unsigned long long)p->step,
                  (unsigned long long)p->steps, what, done, of, p->line);
    draw(p, b.ptr);
    dw_buf_finish(&b);
}

void dw_progress_say(dw_progress *p, const char *fmt, ...)
{
    if (p->quiet)
        return;
    erase(p);
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    p->last_draw = 0;
}

void dw_progress_end(dw_progress *p)
{
    if (p->drawn)
        fputc('\n', stderr);
    p->drawn = false;
}
