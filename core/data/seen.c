/* An open table from hashes to places. */
#include "data/seen.h"

#include "base/alloc.h"

typedef struct dw_seen_slot {
    uint64_t hash; /* 0: free */
    dw_seen_place at;
} dw_seen_slot;

static dw_seen_slot *find(const dw_seen *s, uint64_t hash)
{
    size_t i = (size_t)(hash * UINT64_C(0x9e3779b97f4a7c15)) & (s->cap - 1);
    while (s->slot[i].hash && s->slot[i].hash != hash)
        i = (i + 1) & (s->cap - 1);
    return &s->slot[i];
}

static void grow(dw_seen *s)
{
    dw_seen old = *s;
    s->cap = old.cap ? 2 * old.cap : 1024;
    s->slot = dw_zalloc(s->cap, sizeof *s->slot);
    for (size_t i = 0; i < old.cap; i++)
        if (old.slot[i].hash)
            *find(s, old.slot[i].hash) = old.slot[i];
    dw_free(old.slot);
}

bool dw_seen_has(const dw_seen *s, uint64_t hash, dw_seen_place *first)
{
    if (!s->cap)
        return false;
    const dw_seen_slot *x = find(s, hash ? hash : 1);
    *first = x->at;
    return x->hash != 0;
}

bool dw_seen_add(dw_seen *s, uint64_t hash, dw_seen_place at, dw_seen_place *first)
{
    if (dw_seen_has(s, hash, first))
        return false;
    if (2 * (s->n + 1) > s->cap)
        grow(s);
    s->n++;
    *find(s, hash ? hash : 1) = (dw_seen_slot){hash ? hash : 1, at};
    return true;
}

void dw_seen_finish(dw_seen *s)
{
    dw_free(s->slot);
    *s = (dw_seen){0};
}
