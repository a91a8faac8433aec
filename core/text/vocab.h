/* The vocabulary of a model: tokens by id and ids by token. */
#ifndef DW_TEXT_VOCAB_H
#define DW_TEXT_VOCAB_H

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"

/* Ids above this are taken for a broken file. */
enum { DW_VOCAB_MAX_ID = (1 << 22) - 1 };

typedef struct dw_vocab_entry {
    dw_text token; /* as the file spells it; ptr is NULL where no token has this id */
    dw_text shown; /* what a decoder gets: of a normalized added token its normal form */
    dw_text bytes; /* what it stands for */
    bool special;  /* a special added token */
    bool spelled;  /* byte-level: written in the byte alphabet, so merging can reach it */
} dw_vocab_entry;

/* Zero-initialise; everything borrowed from it lives until dw_vocab_finish. */
typedef struct dw_vocab {
    dw_arena arena;
    dw_vocab_entry *entry; /* [n] */
    int32_t n, cap;        /* highest id + 1 */
    int64_t limit;         /* ids from here on are refused: most of the ids would be holes */
    dw_map by_token;       /* token -> id */
    dw_map by_bytes;       /* bytes -> id of the entries that are spelled */
    bool byte_level;       /* to be set before reading: tokens are written in the byte alphabet */
} dw_vocab;

/* From the object {token: id, ...}. */
dw_status dw_vocab_read(dw_vocab *v, const dw_json *object, dw_err *err);
/* From the array [[token, score], ...]; score receives [v->n] values that the caller frees. */
dw_status dw_vocab_read_scored(dw_vocab *v, const dw_json *array, double **score, dw_err *err);
/* A token from outside the model's vocabulary, or one that is in it already under this id. */
dw_status dw_vocab_add(dw_vocab *v, dw_text token, int64_t id, const char *where, dw_err *err);
/* Sets what a token is shown as; the text must live as long as the vocabulary. */
void dw_vocab_show(dw_vocab *v, int32_t id, dw_text shown);
int32_t dw_vocab_find(const dw_vocab *v, dw_text token); /* -1: none */
void dw_vocab_finish(dw_vocab *v);

/* A token for a message: quoted, escaped, cut to what fits. */
typedef struct dw_vocab_quote {
    char text[80];
} dw_vocab_quote;
dw_vocab_quote dw_vocab_quoted(dw_text token);

#endif
