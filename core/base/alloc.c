/* The allocation seam. */
#include "base/alloc.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const dw_alloc_seam libc_seam = {malloc, realloc, free};
static const dw_alloc_seam *seam = &libc_seam;

void dw_alloc_use(const dw_alloc_seam *s)
{
    seam = s ? s : &libc_seam;
}

static _Noreturn void out_of_memory(size_t bytes)
{
    fprintf(stderr, "dowel: out of memory: %zu bytes were refused\n", bytes);
    exit(9);
}

void *dw_try_alloc(size_t bytes)
{
    return seam->alloc(bytes ? bytes : 1);
}

void *dw_alloc(size_t bytes)
{
    void *p = dw_try_alloc(bytes);
    if (!p)
        out_of_memory(bytes);
    return p;
}

void *dw_zalloc(size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size)
        out_of_memory(SIZE_MAX);
    void *p = dw_alloc(n * size);
    memset(p, 0, n * size);
    return p;
}

void *dw_realloc(void *p, size_t bytes)
{
    void *q = seam->resize(p, bytes ? bytes : 1);
    if (!q)
        out_of_memory(bytes);
    return q;
}

char *dw_strndup(const char *s, size_t n)
{
    char *p = dw_alloc(n + 1);
    memcpy(p, s, n);
    p[n] = 0;
    return p;
}

char *dw_strdup(const char *s)
{
    return dw_strndup(s, strlen(s));
}

void dw_free(void *p)
{
    seam->release(p);
}
