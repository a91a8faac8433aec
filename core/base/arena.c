/* Bump allocation in blocks that double. */
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

typedef struct dw_arena_block {
    struct dw_arena_block *next;
    size_t used, size;
    _Alignas(16) unsigned char bytes[];
} dw_arena_block;

enum { FIRST_BLOCK = 4096 };

void *dw_arena_alloc(dw_arena *a, size_t bytes)
{
    size_t n = bytes > SIZE_MAX - 15 ? SIZE_MAX : (bytes + 15) & ~(size_t)15;
    dw_arena_block *b = a->head;
    if (!b || b->size - b->used < n) {
        size_t size = b ? b->size * 2 : FIRST_BLOCK;
        if (size < n)
            size = n;
        b = dw_alloc(size > SIZE_MAX - sizeof *b ? SIZE_MAX : sizeof *b + size);
        b->size = size;
        b->used = 0;
        b->next = a->head;
        a->head = b;
    }
    void *p = b->bytes + b->used;
    b->used += n;
    a->used += n;
    memset(p, 0, n);
    return p;
}

char *dw_arena_strndup(dw_arena *a, const char *s, size_t n)
{
    char *p = dw_arena_alloc(a, n + 1);
    if (n)
        memcpy(p, s, n);
    return p;
}

char *dw_arena_strdup(dw_arena *a, const char *s)
{
    return dw_arena_strndup(a, s, strlen(s));
}

char *dw_arena_printf(dw_arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    char probe[1]; /* gcc's sanitizer build takes a null buffer for a mistake */
    int n = vsnprintf(probe, sizeof probe, fmt, ap);
    va_end(ap);
    char *p = dw_arena_alloc(a, (size_t)(n > 0 ? n : 0) + 1);
    vsnprintf(p, (size_t)(n > 0 ? n : 0) + 1, fmt, again);
    va_end(again);
    return p;
}

static void free_from(dw_arena_block *b)
{
    while (b) {
        dw_arena_block *next = b->next;
        dw_free(b);
        b = next;
    }
}

void dw_arena_reset(dw_arena *a)
{
    if (!a->head)
        return;
    /* The newest block is the largest: blocks only grow. */
    free_from(a->head->next);
    a->head->next = NULL;
    a->head->used = 0;
    a->used = 0;
}

void dw_arena_finish(dw_arena *a)
{
    free_from(a->head);
    a->head = NULL;
    a->used = 0;
}
