/* Which hashes came before, and where: some tens of bytes for each. */
#ifndef DW_DATA_SEEN_H
#define DW_DATA_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dw_seen_place {
    uint32_t file, line;
} dw_seen_place;

/* Zero-initialise before use; dw_seen_finish. */
typedef struct dw_seen {
    struct dw_seen_slot *slot;
    size_t n, cap;
} dw_seen;
/* Adds a hash that is new; false: it was there, and *first is its place. */
bool dw_seen_add(dw_seen *s, uint64_t hash, dw_seen_place at, dw_seen_place *first);
bool dw_seen_has(const dw_seen *s, uint64_t hash, dw_seen_place *first);
void dw_seen_finish(dw_seen *s);

#endif
