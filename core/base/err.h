/* Status codes and the caller's message buffer. */
#ifndef DW_BASE_ERR_H
#define DW_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A status is 0 or the negated exit code of the program, so that main() can return it. */
typedef enum dw_status {
    DW_OK = 0,
    DW_E_GATE = -1,    /* finished, but a check failed */
    DW_E_USAGE = -2,   /* unknown flag or command */
    DW_E_RECIPE = -3,  /* the recipe or its plan is wrong */
    DW_E_INPUT = -4,   /* model, tokenizer, data or checkpoint is wrong */
    DW_E_IO = -5,      /* disk full, permission, save failed */
    DW_E_PLUGIN = -6,  /* plugin not found, refused, failed */
    DW_E_NUMERIC = -8, /* NaN or infinity where none may be */
    DW_E_LIMIT = -9,   /* out of memory or another limit */
    DW_E_BUG = -70,
    DW_E_SIGINT = -130, /* stopped by the user, state saved */
    DW_E_SIGTERM = -143,
} dw_status;

/* One line, no trailing newline, lower case at the start. Owned by the caller; written only when a
 * call returns a negative status. `err` may not be NULL. */
typedef struct dw_err {
    char text[2048];
} dw_err;

/* Formats the message and gives `status`, so that a caller writes `return dw_fail(...)`. Inline so
 * that compilers and analysers see which status comes back. */
#define dw_fail(err, status, ...) (dw_err_set((err), __VA_ARGS__), dw_failed(status))
__attribute__((format(printf, 2, 3))) void dw_err_set(dw_err *err, const char *fmt, ...);
static inline dw_status dw_failed(dw_status status)
{
    return status;
}
/* Puts "<formatted>: " in front of the message that is already there. */
__attribute__((format(printf, 2, 3))) void dw_err_prefix(dw_err *err, const char *fmt, ...);

/* Returns from the calling function when `call` failed and nothing has to be released. */
#define DW_TRY(call)                                                                               \
    do {                                                                                           \
        dw_status dw_try_ = (call);                                                                \
        if (dw_try_ < 0)                                                                           \
            return dw_try_;                                                                        \
    } while (0)

/* A broken promise of our own: prints file, line and the breadcrumb, exits 70. On in every build;
 * user input must never reach it. */
#define dw_assert(cond) ((cond) ? (void)0 : dw_assert_failed(#cond, __FILE__, __LINE__))
_Noreturn void dw_assert_failed(const char *cond, const char *file, int line);

/* What the thread was doing, for crash and assert messages ("dpo.loss"); NULL clears. The string
 * must live until it is replaced. */
void dw_breadcrumb(const char *what);

#endif
