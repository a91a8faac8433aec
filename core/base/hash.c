/* SHA-256 through libgcrypt, a fast hash, and an open-addressing table. */
#include "base/hash.h"

#include <gcrypt.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"

struct dw_sha256 {
    gcry_md_hd_t md;
};

dw_sha256 *dw_sha256_create(void)
{
    dw_sha256 *h = dw_zalloc(1, sizeof *h);
    if (!gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P)) {
        gcry_check_version(NULL);
        gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
        gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    }
    dw_assert(!gcry_md_open(&h->md, GCRY_MD_SHA256, 0));
    return h;
}

void dw_sha256_add(dw_sha256 *h, const void *bytes, size_t n)
{
    gcry_md_write(h->md, bytes, n);
}

void dw_sha256_hex(dw_sha256 *h, char out[65])
{
    const unsigned char *d = gcry_md_read(h->md, GCRY_MD_SHA256);
    for (size_t i = 0; i < 32; i++) {
        out[2 * i] = "0123456789abcdef"[d[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[d[i] & 15];
    }
    out[64] = 0;
    gcry_md_close(h->md);
    dw_free(h);
}

void dw_sha256_of(const void *bytes, size_t n, char out[65])
{
    dw_sha256 *h = dw_sha256_create();
    dw_sha256_add(h, bytes, n);
    dw_sha256_hex(h, out);
}

dw_status dw_sha256_file(const char *path, char out[65], dw_err *err)
{
    dw_mapping m;
    DW_TRY(dw_map_open(path, &m, err));
    dw_sha256_of(m.ptr, m.len, out);
    dw_map_close(&m);
    return DW_OK;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= UINT64_C(0xe9846af9b1a615d);
    x ^= x >> 32;
    x *= UINT64_C(0xe9846af9b1a615d);
    return x ^ (x >> 28);
}

uint64_t dw_hash64(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t h = mix(n + UINT64_C(0x9e3779b97f4a7c15)), w;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&w, p, 8);
        h = mix(h ^ w) + UINT64_C(0x9e3779b97f4a7c15);
    }
    w = 0;
    if (n)
        memcpy(&w, p, n);
    return mix(h ^ w);
}

typedef struct dw_map_slot {
    const char *key; /* NULL: empty */
    size_t len;
    uint64_t hash;
    int64_t value;
} dw_map_slot;

static dw_map_slot *find(const dw_map *m, dw_text key, uint64_t hash)
{
    size_t i = (size_t)hash & (m->cap - 1);
    for (;; i = (i + 1) & (m->cap - 1)) {
        dw_map_slot *s = &m->slot[i];
        if (!s->key || (s->hash == hash && s->len == key.len && !memcmp(s->key, key.ptr, key.len)))
            return s;
    }
}

static void grow(dw_map *m)
{
    dw_map bigger = {.cap = m->cap ? m->cap * 2 : 16};
    bigger.slot = dw_zalloc(bigger.cap, sizeof *bigger.slot);
    for (size_t i = 0; i < m->cap; i++) {
        dw_map_slot *s = &m->slot[i];
        if (s->key)
            *find(&bigger, (dw_text){s->key, s->len}, s->hash) = *s;
    }
    bigger.n = m->n;
    dw_free(m->slot);
    *m = bigger;
}

bool dw_map_put(dw_map *m, dw_text key, int64_t value)
{
    if (m->n * 4 >= m->cap * 3)
        grow(m);
    uint64_t hash = dw_hash64(key.ptr, key.len);
    dw_map_slot *s = find(m, key, hash);
    if (s->key)
        return false;
    *s = (dw_map_slot){key.ptr ? key.ptr : "", key.len, hash, value};
    m->n++;
    return true;
}

bool dw_map_get(const dw_map *m, dw_text key, int64_t *value)
{
    if (!m->cap)
        return false;
    const dw_map_slot *s = find(m, key, dw_hash64(key.ptr, key.len));
    if (!s->key)
        return false;
    if (value)
        *value = s->value;
    return true;
}

void dw_map_finish(dw_map *m)
{
    dw_free(m->slot);
    *m = (dw_map){0};
}
