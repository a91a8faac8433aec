/* Byte-pair merging: short words by scanning for the lowest rank, long ones with a heap. */
#include <string.h>

#include "base/alloc.h"
#include "text/bpe.h"
#include "text/unicode.h"

enum { SHORT_WORD = 40 }; /* up to here a scan of all ranks beats a heap */

static bool make_room(dw_bpe_scratch *s, size_t n)
{
    if (n <= s->cap)
        return true;
    size_t cap = s->cap ? s->cap : 256;
    while (cap < n)
        cap *= 2;
    dw_free(s->sym);
    dw_free(s->next);
    dw_free(s->rank);
    dw_free(s->heap);
    s->cap = 0;
    s->sym = dw_try_alloc(cap * sizeof *s->sym);
    s->next = dw_try_alloc(cap * 2 * sizeof *s->next);
    s->rank = dw_try_alloc(cap * sizeof *s->rank);
    /* n - 1 pairs to start with, and every one of at most n - 1 merges makes two new ones. */
    s->heap_cap = cap * 3;
    s->heap = dw_try_alloc(s->heap_cap * sizeof *s->heap);
    if (!s->sym || !s->next || !s->rank || !s->heap)
        return false;
    s->cap = cap;
    return true;
}

/* Bytes to single-byte tokens; returns how many. */
static size_t start_bytes(const dw_bpe *b, dw_bpe_scratch *s, const char *word, size_t n)
{
    size_t k = 0;
    bool was_unk = false;
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)word[i];
        int32_t id = b->byte_id[byte];
        bool is_unk = id < 0;
        if (is_unk) {
            if (b->unk < 0) {
                s->lost++;
                s->lost_byte = byte;
                continue;
            }
            id = b->unk;
        }
        if (!(is_unk && was_unk && b->fuse_unk))
            s->sym[k++] = id;
        was_unk = is_unk;
    }
    return k;
}

/* Characters to their tokens; returns how many, at most n. An unknown one that waits to be fused
 * with the next is not written before the bytes of a character that falls back to them: so the
 * order is Hugging Face's. */
static size_t start_characters(const dw_bpe *b, dw_bpe_scratch *s, const char *word, size_t n)
{
    size_t k = 0;
    bool waits = false;
    for (size_t i = 0; i < n;) {
        int len;
        const char *at = word + i;
        int32_t id = dw_chars_id(&b->chars, dw_unicode_at(at, n - i, &len));
        i += (size_t)len;
        if (id >= 0) {
            if (waits)
                s->sym[k++] = b->unk;
            waits = false;
            s->sym[k++] = id;
        } else if (b->byte_fallback && dw_chars_has_bytes(&b->chars, at, (size_t)len)) {
            for (int j = 0; j < len; j++)
                s->sym[k++] = b->chars.byte_id[(unsigned char)at[j]];
        } else if (b->unk >= 0) {
            if (waits && !b->fuse_unk)
                s->sym[k++] = b->unk;
            waits = true;
        } else {
            s->lost++;
            s->lost_byte = (uint8_t)*at;
        }
    }
    if (waits)
        s->sym[k++] = b->unk;
    return k;
}

static uint32_t rank_of(const dw_bpe *b, int32_t left, int32_t right)
{
    return dw_bpe_slot(b, left, right)->rank;
}

static size_t merge_short(const dw_bpe *b, dw_bpe_scratch *s, size_t n)
{
    int32_t *sym = s->sym;
    uint32_t *rank = s->rank;
    for (size_t i = 0; i + 1 < n; i++)
        rank[i] = rank_of(b, sym[i], sym[i + 1]);
    while (n > 1) {
        size_t at = 0;
        uint32_t best = rank[0];
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < best) {
                best = rank[i];
                at = i;
            }
        if (best == DW_BPE_NO_MERGE)
            break;
        sym[at] = dw_bpe_slot(b, sym[at], sym[at + 1])->id;
        n--;
        memmove(sym + at + 1, sym + at + 2, (n - at - 1) * sizeof *sym);
        if (at + 1 < n) {
            memmove(rank + at + 1, rank + at + 2, (n - at - 2) * sizeof *rank);
            rank[at] = rank_of(b, sym[at], sym[at + 1]);
        }
        if (at > 0)
            rank[at - 1] = rank_of(b, sym[at - 1], sym[at]);
    }
    return n;
}

static void heap_push(dw_bpe_scratch *s, uint32_t rank, size_t at)
{
    if (rank == DW_BPE_NO_MERGE)
        return;
    uint64_t x = (uint64_t)rank << 32 | at;
    size_t i = s->heap_n++;
    for (; i > 0 && s->heap[(i - 1) / 2] > x; i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = x;
}

static uint64_t heap_pop(dw_bpe_scratch *s)
{
    uint64_t top = s->heap[0], x = s->heap[--s->heap_n];
    size_t i = 0;
    for (size_t c; (c = 2 * i + 1) < s->heap_n; i = c) {
        c += c + 1 < s->heap_n && s->heap[c + 1] < s->heap[c];
        if (s->heap[c] >= x)
            break;
        s->heap[i] = s->heap[c];
    }
    s->heap[i] = x;
    return top;
}

/* The symbols are a list: next[] to the right, prev[] in the upper half of the same array. rank[i]
 * is the rank of the pair that starts at i; an entry of the heap whose rank differs is stale. */
static size_t merge_long(const dw_bpe *b, dw_bpe_scratch *s, size_t n)
{
    int32_t *sym = s->sym, *next = s->next, *prev = s->next + s->cap;
    uint32_t *rank = s->rank;
    s->heap_n = 0;
    for (size_t i = 0; i < n; i++) {
        next[i] = i + 1 < n ? (int32_t)i + 1 : -1;
        prev[i] = (int32_t)i - 1;
        rank[i] = i + 1 < n ? rank_of(b, sym[i], sym[i + 1]) : DW_BPE_NO_MERGE;
        heap_push(s, rank[i], i);
    }
    while (s->heap_n) {
        uint64_t top = heap_pop(s);
        size_t at = (uint32_t)top;
        if (rank[at] != (uint32_t)(top >> 32))
            continue;
        int32_t right = next[at];
        sym[at] = dw_bpe_slot(b, sym[at], sym[right])->id;
        rank[right] = DW_BPE_NO_MERGE;
        next[at] = next[right];
        rank[at] = DW_BPE_NO_MERGE;
        if (next[at] >= 0) {
            prev[next[at]] = (int32_t)at;
            rank[at] = rank_of(b, sym[at], sym[next[at]]);
            heap_push(s, rank[at], at);
        }
        if (prev[at] >= 0) {
            size_t before = (size_t)prev[at];
            rank[before] = rank_of(b, sym[before], sym[at]);
            heap_push(s, rank[before], before);
        }
    }
    size_t k = 0;
    for (int32_t i = n ? 0 : -1; i >= 0; i = next[i])
        sym[k++] = sym[i];
    return k;
}

/* A word, or a part of one that merges do not leave. */
static dw_status encode_part(const dw_bpe *b, dw_bpe_scratch *s, const char *word, size_t n,
                             dw_ids *out, dw_err *err)
{
    dw_cached_word *slot = dw_word_cache_slot(&s->cache, word, n);
    if (dw_word_cache_take(slot, word, n, out))
        return DW_OK;
    if (!make_room(s, n))
        return dw_fail(err, DW_E_LIMIT, "out of memory for a word of %zu bytes", n);
    uint32_t lost = s->lost;
    size_t k = b->vocab->byte_level ? start_bytes(b, s, word, n) : start_characters(b, s, word, n);
    k = k <= SHORT_WORD ? merge_short(b, s, k) : merge_long(b, s, k);
    dw_ids_push_all(out, s->sym, k);
    if (lost == s->lost)
        dw_word_cache_put(slot, word, n, s->sym, k);
    return DW_OK;
}

/* Cuts where no merge reaches across, so that a text without pre-tokens is not one long word. */
static dw_status encode_parts(const dw_bpe *b, dw_bpe_scratch *s, const char *word, size_t n,
                              dw_ids *out, dw_err *err)
{
    size_t from = 0;
    unsigned before = DW_BPE_UNKNOWN;
    for (size_t i = 0; i < n;) {
        int len;
        unsigned kind = dw_bpe_kind(b, dw_unicode_at(word + i, n - i, &len));
        if (!b->joins[before][kind] && i > from) {
            DW_TRY(encode_part(b, s, word + from, i - from, out, err));
            from = i;
        }
        before = kind;
        i += (size_t)len;
    }
    return encode_part(b, s, word + from, n - from, out, err);
}

dw_status dw_bpe_encode(const dw_bpe *b, dw_bpe_scratch *s, const char *word, size_t n, dw_ids *out,
                        dw_err *err)
{
    int64_t whole;
    if (!n)
        return DW_OK;
    if (b->vocab->byte_level) {
        if (dw_word_cache_take(dw_word_cache_slot(&s->cache, word, n), word, n, out))
            return DW_OK;
        if (b->ignore_merges && dw_map_get(&b->vocab->by_bytes, (dw_text){word, n}, &whole) &&
            !b->vocab->entry[whole].special) {
            dw_ids_push(out, (int32_t)whole);
            return DW_OK;
        }
        return encode_part(b, s, word, n, out, err);
    }
    if (b->ignore_merges && dw_map_get(&b->vocab->by_token, (dw_text){word, n}, &whole) &&
        whole < b->n_vocab && !b->vocab->entry[whole].special) {
        dw_ids_push(out, (int32_t)whole);
        return DW_OK;
    }
    return encode_parts(b, s, word, n, out, err);
}

void dw_bpe_scratch_finish(dw_bpe_scratch *s)
{
    dw_word_cache_finish(&s->cache);
    dw_free(s->sym);
    dw_free(s->next);
    dw_free(s->rank);
    dw_free(s->heap);
    *s = (dw_bpe_scratch){0};
}
