/* Byte-pair merging: short words by scanning for the lowest rank, long ones with a heap, and a
 * cache of finished words. */
#include "text/bpe.h"

#include <string.h>

#include "base/alloc.h"

enum {
    SHORT_WORD = 40, /* up to here a scan of all ranks beats a heap */
    CACHE_SLOTS = 1 << 14,
    CACHE_BYTES = 22,
    CACHE_IDS = 10,
};
#define NO_MERGE UINT32_MAX

typedef struct dw_bpe_merge {
    int32_t left, right;
    uint32_t rank; /* NO_MERGE: empty slot */
    int32_t id;
} dw_bpe_merge;

/* One cache line: a word and its ids. */
typedef struct dw_bpe_word {
    uint8_t len, n; /* len 0: empty */
    char byte[CACHE_BYTES];
    int32_t id[CACHE_IDS];
} dw_bpe_word;
_Static_assert(sizeof(dw_bpe_word) == 64, "a cache line");

static size_t pair_hash(int32_t left, int32_t right)
{
    uint64_t x = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(x ^ x >> 29);
}

static dw_bpe_merge *slot_of(const dw_bpe *b, int32_t left, int32_t right)
{
    for (size_t i = pair_hash(left, right);; i++) {
        dw_bpe_merge *m = &b->slot[i & (b->cap - 1)];
        if (m->rank == NO_MERGE || (m->left == left && m->right == right))
            return m;
    }
}

/* ---- reading ---- */

static dw_status merge_parts(const dw_json *m, size_t i, dw_text *left, dw_text *right, dw_err *err)
{
    if (dw_json_kind(m) == DW_JSON_STRING) {
        dw_text t = dw_json_str(m);
        const char *space = memchr(t.ptr, ' ', t.len);
        size_t rest = space ? t.len - (size_t)(space - t.ptr) - 1 : 0;
        if (!space || memchr(space + 1, ' ', rest))
            return dw_fail(err, DW_E_INPUT,
                           "model.merges[%zu]: wanted two tokens with one space between them, "
                           "found %s",
                           i, dw_vocab_quoted(t).text);
        *left = (dw_text){t.ptr, (size_t)(space - t.ptr)};
        *right = (dw_text){space + 1, rest};
        return DW_OK;
    }
    if (dw_json_kind(m) != DW_JSON_ARRAY)
        return dw_fail(err, DW_E_INPUT,
                       "model.merges[%zu]: wanted \"a b\" or [\"a\", \"b\"], found %s", i,
                       dw_json_kind_name(m));
    const dw_json *a = dw_json_first(m), *b = a ? dw_json_next(a) : NULL;
    if (!b || dw_json_next(b) || dw_json_kind(a) != DW_JSON_STRING ||
        dw_json_kind(b) != DW_JSON_STRING)
        return dw_fail(err, DW_E_INPUT, "model.merges[%zu]: wanted an array of two strings", i);
    *left = dw_json_str(a);
    *right = dw_json_str(b);
    return DW_OK;
}

static dw_status find_part(const dw_bpe *b, size_t i, dw_text token, const char *what, int32_t *id,
                           dw_err *err)
{
    *id = dw_vocab_find(b->vocab, token);
    if (*id < 0)
        return dw_fail(err, DW_E_INPUT, "model.merges[%zu]: %s %s is not in model.vocab", i, what,
                       dw_vocab_quoted(token).text);
    return DW_OK;
}

static dw_status add_merge(dw_bpe *b, const dw_json *m, size_t i, dw_buf *joined, dw_err *err)
{
    dw_text l = {0}, r = {0};
    int32_t left, right, id;
    DW_TRY(merge_parts(m, i, &l, &r, err));
    DW_TRY(find_part(b, i, l, "the token", &left, err));
    DW_TRY(find_part(b, i, r, "the token", &right, err));
    dw_buf_clear(joined);
    dw_buf_add(joined, l.ptr, l.len);
    dw_buf_add(joined, r.ptr, r.len);
    DW_TRY(find_part(b, i, dw_buf_text(joined), "the result", &id, err));
    dw_bpe_merge *slot = slot_of(b, left, right);
    if (slot->rank != NO_MERGE)
        return dw_fail(err, DW_E_INPUT, "model.merges[%zu]: %s and %s are merged at %u already", i,
                       dw_vocab_quoted(l).text, dw_vocab_quoted(r).text, slot->rank);
    *slot = (dw_bpe_merge){left, right, (uint32_t)i, id};
    return DW_OK;
}

static dw_status read_merges(dw_bpe *b, const dw_json *merges, dw_err *err)
{
    if (!merges || dw_json_kind(merges) != DW_JSON_ARRAY)
        return dw_fail(err, DW_E_INPUT, "model.merges: wanted an array, found %s",
                       dw_json_kind_name(merges));
    b->n = dw_json_len(merges);
    for (b->cap = 1024; b->cap < b->n + b->n / 2; b->cap *= 2)
        ;
    b->slot = dw_alloc(b->cap * sizeof *b->slot);
    for (size_t i = 0; i < b->cap; i++)
        b->slot[i].rank = NO_MERGE;
    dw_buf joined = {0};
    dw_status st = DW_OK;
    size_t i = 0;
    for (const dw_json *m = dw_json_first(merges); m && !st; m = dw_json_next(m))
        st = add_merge(b, m, i++, &joined, err);
    dw_buf_finish(&joined);
    return st;
}

/* Options that change ids and that real byte-level models leave off. */
static dw_status refuse_variants(const dw_json *model, dw_err *err)
{
    static const char *const affix[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < 2; i++) {
        const char *s;
        DW_TRY(dw_json_get_cstr(model, affix[i], "", &s, err));
        if (*s)
            return dw_fail(err, DW_E_INPUT, "%s \"%s\" is not supported (byte-level BPE has none)",
                           affix[i], s);
    }
    double dropout;
    bool fallback;
    DW_TRY(dw_json_get_num(model, "dropout", 0, 0, 1, &dropout, err));
    if (dropout > 0)
        return dw_fail(err, DW_E_INPUT, "dropout %g is not supported: ids would be random",
                       dropout);
    DW_TRY(dw_json_get_bool(model, "byte_fallback", false, &fallback, err));
    if (fallback)
        return dw_fail(err, DW_E_INPUT,
                       "byte_fallback is not supported yet (this is a "
                       "SentencePiece model; byte-level BPE is what is read)");
    return DW_OK;
}

static dw_status read_options(dw_bpe *b, const dw_json *model, dw_err *err)
{
    const char *unk;
    DW_TRY(refuse_variants(model, err));
    DW_TRY(dw_json_get_bool(model, "ignore_merges", false, &b->ignore_merges, err));
    DW_TRY(dw_json_get_bool(model, "fuse_unk", false, &b->fuse_unk, err));
    DW_TRY(dw_json_get_cstr(model, "unk_token", NULL, &unk, err));
    if (unk && (b->unk = dw_vocab_find(b->vocab, dw_text_of(unk))) < 0)
        return dw_fail(err, DW_E_INPUT, "unk_token: %s is not in model.vocab",
                       dw_vocab_quoted(dw_text_of(unk)).text);
    return DW_OK;
}

dw_status dw_bpe_read(dw_bpe *b, const dw_vocab *v, const dw_json *model, dw_err *err)
{
    b->vocab = v;
    b->unk = -1;
    dw_status st = read_options(b, model, err);
    if (st) {
        dw_err_prefix(err, "model");
        return st;
    }
    int known = 0;
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        int64_t id;
        b->byte_id[byte] = dw_map_get(&v->by_bytes, (dw_text){&c, 1}, &id) ? (int32_t)id : -1;
        known += b->byte_id[byte] >= 0;
    }
    if (!known)
        return dw_fail(err, DW_E_INPUT,
                       "model.vocab: no single byte has a token, so this is not "
                       "a byte-level vocabulary");
    return read_merges(b, dw_json_get(model, "merges"), err);
}

void dw_bpe_finish(dw_bpe *b)
{
    dw_free(b->slot);
    b->slot = NULL;
}

/* ---- merging ---- */

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
static size_t start_symbols(const dw_bpe *b, dw_bpe_scratch *s, const char *word, size_t n)
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

static uint32_t rank_of(const dw_bpe *b, int32_t left, int32_t right)
{
    return slot_of(b, left, right)->rank;
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
        if (best == NO_MERGE)
            break;
        sym[at] = slot_of(b, sym[at], sym[at + 1])->id;
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
    if (rank == NO_MERGE)
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
        rank[i] = i + 1 < n ? rank_of(b, sym[i], sym[i + 1]) : NO_MERGE;
        heap_push(s, rank[i], i);
    }
    while (s->heap_n) {
        uint64_t top = heap_pop(s);
        size_t at = (uint32_t)top;
        if (rank[at] != (uint32_t)(top >> 32))
            continue;
        int32_t right = next[at];
        sym[at] = slot_of(b, sym[at], sym[right])->id;
        rank[right] = NO_MERGE;
        next[at] = next[right];
        rank[at] = NO_MERGE;
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

static dw_bpe_word *cache_slot(dw_bpe_scratch *s, const char *word, size_t n)
{
    uint64_t w[3] = {0};
    memcpy(w, word, n);
    uint64_t h = (w[0] ^ n) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ h >> 32 ^ w[1]) * UINT64_C(0xd6e8feb86659fd93);
    h = (h ^ h >> 32 ^ w[2]) * UINT64_C(0x9e3779b97f4a7c15);
    return &s->cache[(h >> 40) & (CACHE_SLOTS - 1)];
}

static void push_all(dw_ids *out, const int32_t *id, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dw_ids_push(out, id[i]);
}

dw_status dw_bpe_encode(const dw_bpe *b, dw_bpe_scratch *s, const char *word, size_t n, dw_ids *out,
                        dw_err *err)
{
    dw_bpe_word *slot = NULL;
    if (!n)
        return DW_OK;
    if (n <= CACHE_BYTES) {
        if (!s->cache)
            s->cache = dw_zalloc(CACHE_SLOTS, sizeof *s->cache);
        slot = cache_slot(s, word, n);
        if (slot->len == n && !memcmp(slot->byte, word, n)) {
            push_all(out, slot->id, slot->n);
            return DW_OK;
        }
    }
    int64_t whole;
    if (b->ignore_merges && dw_map_get(&b->vocab->by_bytes, (dw_text){word, n}, &whole)) {
        dw_ids_push(out, (int32_t)whole);
        return DW_OK;
    }
    if (!make_room(s, n))
        return dw_fail(err, DW_E_LIMIT, "out of memory for a word of %zu bytes", n);
    uint32_t lost = s->lost;
    size_t k = start_symbols(b, s, word, n);
    k = k <= SHORT_WORD ? merge_short(b, s, k) : merge_long(b, s, k);
    push_all(out, s->sym, k);
    if (slot && k <= CACHE_IDS && lost == s->lost) {
        slot->len = (uint8_t)n;
        slot->n = (uint8_t)k;
        memcpy(slot->byte, word, n);
        memcpy(slot->id, s->sym, k * sizeof *s->sym);
    }
    return DW_OK;
}

void dw_bpe_scratch_finish(dw_bpe_scratch *s)
{
    dw_free(s->cache);
    dw_free(s->sym);
    dw_free(s->next);
    dw_free(s->rank);
    dw_free(s->heap);
    *s = (dw_bpe_scratch){0};
}
