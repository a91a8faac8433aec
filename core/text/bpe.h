/* Byte-pair merging of one pre-token (Sennrich et al. 2016, in GPT-2's byte-level form). */
#ifndef DW_TEXT_BPE_H
#define DW_TEXT_BPE_H

#include "base/json.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

typedef struct dw_bpe {
    struct dw_bpe_merge *slot; /* open addressing by the pair */
    size_t cap;                /* a power of two */
    size_t n;
    int32_t byte_id[256]; /* -1: no token stands for this byte */
    int32_t unk;          /* what such a byte becomes; -1: it is left out */
    bool fuse_unk;
    bool ignore_merges; /* a pre-token that is a token is taken whole */
    const dw_vocab *vocab;
} dw_bpe;

/* Working memory and the cache of finished words; one thread at a time. Zero-initialise. */
typedef struct dw_bpe_scratch {
    struct dw_bpe_word *cache;
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

/* Appends the ids of one pre-token (n < 2^31 bytes). DW_E_LIMIT when memory is gone. */
dw_status dw_bpe_encode(const dw_bpe *b, dw_bpe_scratch *s, const char *word, size_t n, dw_ids *out,
                        dw_err *err);
void dw_bpe_scratch_finish(dw_bpe_scratch *s);

#endif
