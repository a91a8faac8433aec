/* Words already cut into tokens: one slot a hash, the newest word stays. */
#include "text/word_cache.h"

#include <string.h>

#include "base/alloc.h"

enum { SLOTS = 1 << 14 };
_Static_assert(sizeof(dw_cached_word) == 64, "a cache line");

void dw_word_cache_finish(dw_word_cache *c)
{
    dw_free(c->slot);
    c->slot = NULL;
}

dw_cached_word *dw_word_cache_slot(dw_word_cache *c, const char *word, size_t n)
{
    uint64_t w[3] = {0};
    if (!n || n > DW_WORD_CACHE_BYTES)
        return NULL;
    if (!c->slot)
        c->slot = dw_zalloc(SLOTS, sizeof *c->slot);
    memcpy(w, word, n);
    uint64_t h = (w[0] ^ n) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ h >> 32 ^ w[1]) * UINT64_C(0xd6e8feb86659fd93);
    h = (h ^ h >> 32 ^ w[2]) * UINT64_C(0x9e3779b97f4a7c15);
    return &c->slot[(h >> 40) & (SLOTS - 1)];
}

void dw_ids_push_all(dw_ids *v, const int32_t *id, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dw_ids_push(v, id[i]);
}

bool dw_word_cache_take(const dw_cached_word *slot, const char *word, size_t n, dw_ids *out)
{
    if (!slot || slot->len != n || memcmp(slot->byte, word, n) != 0)
        return false;
    dw_ids_push_all(out, slot->id, slot->n);
    return true;
}

void dw_word_cache_put(dw_cached_word *slot, const char *word, size_t n, const int32_t *id,
                       size_t n_id)
{
    if (!slot || n_id > DW_WORD_CACHE_IDS)
        return;
    slot->len = (uint8_t)n;
    slot->n = (uint8_t)n_id;
    memcpy(slot->byte, word, n);
    memcpy(slot->id, id, n_id * sizeof *id);
}
