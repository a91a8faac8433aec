/* Hashes: SHA-256 for identity, a fast 64-bit one for tables, and a table from bytes to integers.
 */
#ifndef DW_BASE_HASH_H
#define DW_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Incremental SHA-256 (libgcrypt). */
typedef struct dw_sha256 dw_sha256;
dw_sha256 *dw_sha256_create(void);
void dw_sha256_add(dw_sha256 *h, const void *bytes, size_t n);
void dw_sha256_hex(dw_sha256 *h, char out[65]); /* finishes and frees h */
void dw_sha256_of(const void *bytes, size_t n, char out[65]);
dw_status dw_sha256_file(const char *path, char out[65], dw_err *err);

uint64_t dw_hash64(const void *bytes, size_t n); /* not stable across releases; never stored */

/* Bytes -> int64. Keys are borrowed: they must outlive the map. Zero-initialise before use. */
typedef struct dw_map {
    struct dw_map_slot *slot;
    size_t n, cap;
} dw_map;
bool dw_map_put(dw_map *m, dw_text key, int64_t value); /* false: key was there; value unchanged */
bool dw_map_get(const dw_map *m, dw_text key, int64_t *value); /* value may be NULL */
void dw_map_finish(dw_map *m);

#endif
