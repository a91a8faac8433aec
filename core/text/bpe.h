/* Byte-pair merging of one pre-token (Sennrich et al. 2016): over bytes, as GPT-2 does it, or over
 * characters with tokens of single bytes for those without a token, as SentencePiece does it. */
#ifndef DW_TEXT_BPE_H
#define DW_TEXT_BPE_H

#include "base/json.h"
#include "text/chars.h"
#include "text/tokenizer.h"
#include "text/vocab.h"
#include "text/word_cache.h"

#define DW_BPE_NO_MERGE UINT32_MAX

typedef struct dw_bpe_merge {
    int32_t left, right;
    uint32_t rank; /* DW_BPE_NO_MERGE: empty slot */
    int32_t id;
} dw_bpe_merge;

/* Kinds of characters at the borders of merges: the ASCII characters, U+2581, others that have a
 * token, and those that have none. */
enum { DW_BPE_META = 128, DW_BPE_KNOWN, DW_BPE_UNKNOWN, DW_BPE_KINDS };

typedef struct dw_bpe {
    dw_bpe_merge *slot; /* open addressing by the pair */
    size_t cap;         /* a power of two */
    size_t n;
    int32_t byte_id[256]; /* byte-level: -1: no token stands for this byte */
    dw_chars chars;       /* over characters */
    /* joins[a][b]: some merge may join a token that ends in a with one that begins with b. Where
     * none may, a long word falls into parts that can be merged apart from each other. */
    uint8_t joins[DW_BPE_KINDS][DW_BPE_KINDS];
    int32_t n_vocab; /* ids of the model; those of added tokens may go on */
    int32_t unk;     /* what a character without a token becomes; -1: it is left out */
    bool fuse_unk;
    bool byte_fallback;
    bool ignore_merges; /* a pre-token that is a token is taken whole */
    const dw_vocab *vocab;
} dw_bpe;

/* Working memory and the cache of finished words; one thread at a time. Zero-initialise. */
typedef struct dw_bpe_scratch {
    dw_word_cache cache;
    int32_t *sym, *next;
    uint32_t *rank;
    uint64_t *heap;
    size_t cap, heap_cap, heap_n;
    uint32_t lost; /* bytes without a token met so far, and the last of them */
    uint8_t lost_byte;
} dw_bpe_scratch;

/* Reads the object "model" of tokenizer.json; the vocabulary has been read. */
dw_status dw_bpe_read(dw_bpe *b, const dw_vocab *v, const dw_json *model, dw_err *err);
void dw_bpe_finish(dw_bpe *b);
dw_bpe_merge *dw_bpe_slot(const dw_bpe *b, int32_t left, int32_t right);
/* The kind of a character, for joins. */
unsigned dw_bpe_kind(const dw_bpe *b, uint32_t c);

/* Appends the ids of one pre-token (n < 2^31 bytes of UTF-8). DW_E_LIMIT when memory is gone. */
dw_status dw_bpe_encode(const dw_bpe *b, dw_bpe_scratch *s, const char *word, size_t n, dw_ids *out,
                        dw_err *err);
void dw_bpe_scratch_finish(dw_bpe_scratch *s);

#endif
