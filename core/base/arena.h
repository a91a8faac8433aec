/* Bump allocation: many small things that die together. */
#ifndef DW_BASE_ARENA_H
#define DW_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

/* Zero-initialise before use; one thread at a time. */
typedef struct dw_arena {
    struct dw_arena_block *head;
    size_t used; /* bytes handed out since the last reset */
} dw_arena;

void *dw_arena_alloc(dw_arena *a, size_t bytes); /* zeroed, 16-byte aligned, never NULL */
char *dw_arena_strdup(dw_arena *a, const char *s);
char *dw_arena_strndup(dw_arena *a, const char *s, size_t n); /* adds a NUL */
__attribute__((format(printf, 2, 3))) char *dw_arena_printf(dw_arena *a, const char *fmt, ...);
void dw_arena_reset(dw_arena *a);  /* keeps the largest block */
void dw_arena_finish(dw_arena *a); /* frees everything; accepts a zeroed arena */

#endif
