/* The allocation seam: every allocation of the core goes through here, so tests can make the nth
 * one fail. */
#ifndef DW_BASE_ALLOC_H
#define DW_BASE_ALLOC_H

#include <stddef.h>

/* Small allocations: never NULL; when memory is gone the program says so and exits 9. */
void *dw_alloc(size_t bytes);           /* uninitialised */
void *dw_zalloc(size_t n, size_t size); /* zeroed; n * size is checked */
void *dw_realloc(void *p, size_t bytes);
char *dw_strdup(const char *s);
char *dw_strndup(const char *s, size_t n);
/* Allocations sized by data: NULL when memory is gone. */
void *dw_try_alloc(size_t bytes);
void dw_free(void *p); /* accepts NULL */

/* Makes room for one more element of an array that doubles. `*cap` counts elements. */
#define DW_GROW(ptr, n, cap)                                                                       \
    ((n) < (cap) ? (void)0                                                                         \
                 : (void)((cap) = (cap) ? (cap)*2 : 8,                                             \
                          (ptr) = dw_realloc((ptr), sizeof *(ptr) * (size_t)(cap))))

/* Tests only: the seam. NULL restores the C library. */
typedef struct dw_alloc_seam {
    void *(*alloc)(size_t bytes);
    void *(*resize)(void *p, size_t bytes);
    void (*release)(void *p);
} dw_alloc_seam;
void dw_alloc_use(const dw_alloc_seam *seam);

#endif
