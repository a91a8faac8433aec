/* The parts of a tokenizer. Private to text/. */
#ifndef DW_TEXT_TOKENIZER_IMPL_H
#define DW_TEXT_TOKENIZER_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "text/added.h"
#include "text/bpe.h"
#include "text/detok.h"
#include "text/normalize.h"
#include "text/pretoken.h"
#include "text/tokenizer.h"
#include "text/unigram.h"
#include "text/vocab.h"

typedef struct dw_encode_scratch dw_encode_scratch;
void dw_encode_scratch_free(dw_encode_scratch *s);

struct dw_tokenizer {
    dw_vocab vocab;
    bool is_unigram;
    dw_bpe bpe;
    dw_unigram unigram;
    dw_normalize normalize;
    dw_pretoken pretoken;
    dw_detok decoder;
    dw_added added;
    dw_ids before, after; /* what the post-processor adds */
    int32_t bos, eos, pad;
    char kind[96];

    /* Working memory that no call is using: each encoding call takes one and gives it back, so that
     * word caches outlive calls and threads never share one. */
    pthread_mutex_t lock;
    dw_encode_scratch **idle;
    size_t n_idle, cap_idle;
    atomic_flag said_lost; /* bytes without a token: said once */
};

#endif
