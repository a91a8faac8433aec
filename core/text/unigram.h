/* The likeliest cut of a text into tokens (Kudo 2018), by Viterbi. */
#ifndef DW_TEXT_UNIGRAM_H
#define DW_TEXT_UNIGRAM_H

#include "base/json.h"
#include "text/chars.h"
#include "text/tokenizer.h"
#include "text/trie.h"
#include "text/vocab.h"
#include "text/word_cache.h"

typedef struct dw_unigram {
    double *score; /* [n], natural logarithms */
    double unk_score;
    int32_t unk; /* -1: a character without a token is an error */
    bool byte_fallback;
    dw_chars chars;
    dw_trie trie;
    int32_t n; /* tokens of the model; added ones have ids from here on */
    const dw_vocab *vocab;
} dw_unigram;

/* Working memory; one thread at a time. Zero-initialise. */
typedef struct dw_unigram_scratch {
    dw_word_cache cache;
    struct dw_unigram_best *best;
    size_t cap;
} dw_unigram_scratch;

/* Reads the object "model" of tokenizer.json, its vocabulary too. */
dw_status dw_unigram_read(dw_unigram *u, dw_vocab *v, const dw_json *model, dw_err *err);
/* To be called when the special tokens are known: they are never cut out of a text. */
void dw_unigram_build(dw_unigram *u);
void dw_unigram_finish(dw_unigram *u);

/* Appends the ids of one pre-token. DW_E_LIMIT when memory is gone. */
dw_status dw_unigram_encode(const dw_unigram *u, dw_unigram_scratch *s, const char *word, size_t n,
                            dw_ids *out, dw_err *err);
void dw_unigram_scratch_finish(dw_unigram_scratch *s);

#endif
