/* Notices and undoes what a plugin does to the thread's floating-point mode and decimal point. */
#include <stdio.h>
#include <string.h>

#include "plug/internal.h"

#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>
enum { STICKY = 0x3f, DENORMALS = 0x8040 };
static uint64_t control_get(void)
{
    return _mm_getcsr();
}
static void control_set(uint64_t x)
{
    _mm_setcsr((unsigned)x);
}
#elif defined(__aarch64__)
enum { STICKY = 0, DENORMALS = 1 << 24 };
static uint64_t control_get(void)
{
    uint64_t x;
    __asm__ volatile("mrs %0, fpcr" : "=r"(x));
    return x;
}
static void control_set(uint64_t x)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(x));
}
#else
enum { STICKY = 0, DENORMALS = 0 };
static uint64_t control_get(void)
{
    return 0;
}
static void control_set(uint64_t x)
{
    (void)x;
}
#endif

dw_fpmode dw_fpmode_get(void)
{
    dw_fpmode m = {.control = control_get(), .locale = uselocale((locale_t)0)};
    snprintf(m.point, sizeof m.point, "%s", localeconv()->decimal_point);
    return m;
}

const char *dw_fpmode_restore(const dw_fpmode *before)
{
    const char *what = NULL;
    uint64_t now = control_get();
    if ((now ^ before->control) & ~(uint64_t)STICKY) {
        what = (now ^ before->control) & DENORMALS ? "the floating-point mode (flush to zero)"
                                                   : "the floating-point mode";
        control_set(before->control);
    }
    if (uselocale((locale_t)0) != before->locale) {
        uselocale(before->locale);
        what = what ? what : "the thread's locale";
    }
    if (strcmp(localeconv()->decimal_point, before->point) != 0) {
        setlocale(LC_NUMERIC, "C"); /* the program never leaves it */
        what = what ? what : "the decimal point";
    }
    return what;
}
