/* Words already cut into tokens. */
#ifndef DW_TEXT_WORD_CACHE_H
#define DW_TEXT_WORD_CACHE_H

#include "text/tokenizer.h"

enum { DW_WORD_CACHE_BYTES = 22, DW_WORD_CACHE_IDS = 10 };

/* One cache line: a word and its ids. */
typedef struct dw_cached_word {
    uint8_t len, n; /* len 0: empty */
    char byte[DW_WORD_CACHE_BYTES];
    int32_t id[DW_WORD_CACHE_IDS];
} dw_cached_word;

/* One thread at a time. Zero-initialise. */
typedef struct dw_word_cache {
    dw_cached_word *slot;
} dw_word_cache;
void dw_word_cache_finish(dw_word_cache *c);

/* Where a word of n bytes is kept; NULL for an empty or a long one. */
dw_cached_word *dw_word_cache_slot(dw_word_cache *c, const char *word, size_t n);
/* Appends the word's ids; false when the slot holds another word (or is NULL). */
bool dw_word_cache_take(const dw_cached_word *slot, const char *word, size_t n, dw_ids *out);
/* Remembers the word unless the slot is NULL or the ids are too many. */
void dw_word_cache_put(dw_cached_word *slot, const char *word, size_t n, const int32_t *id,
                       size_t n_id);

void dw_ids_push_all(dw_ids *v, const int32_t *id, size_t n);

#endif
