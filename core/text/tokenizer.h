/* Words to ids and back, as the model's tokenizer.json says. Unknown components are refused by
 * name; nothing is guessed. */
#ifndef DW_TEXT_TOKENIZER_H
#define DW_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct dw_tokenizer dw_tokenizer; /* immutable after loading: any thread */

typedef struct dw_ids {
    int32_t *id;
    size_t n, cap;
} dw_ids; /* zero-initialise */
void dw_ids_push(dw_ids *v, int32_t id);
void dw_ids_finish(dw_ids *v);

enum {
    /* Special added tokens written in the text become their ids. Off for text that people typed. */
    DW_TOK_PARSE_SPECIAL = 1u << 0,
    /* The post-processor adds what it adds (BOS and so on). */
    DW_TOK_ADD_SPECIAL = 1u << 1,
};

/* Reads dir/tokenizer.json and, where they exist, tokenizer_config.json and
 * special_tokens_map.json (for the names of bos, eos, pad, unk). */
dw_status dw_tokenizer_load(const char *dir, dw_tokenizer **out, dw_err *err);
/* From memory; `name` is for messages. config may be empty. */
dw_status dw_tokenizer_parse(dw_text json, dw_text config, const char *name, dw_tokenizer **out,
                             dw_err *err);
void dw_tokenizer_free(dw_tokenizer *t); /* accepts NULL */

/* Appends ids. The text must be UTF-8 (an error says at which byte it is not). */
dw_status dw_tokenizer_encode(const dw_tokenizer *t, dw_text text, unsigned flags, dw_ids *out,
                              dw_err *err);
/* The same for a text that is put together from parts: special tokens are found inside literal
 * parts (what a recipe wrote) and never in the others (what a row holds) or across a border;
 * everything between special tokens is encoded as one text, borders or not. DW_TOK_PARSE_SPECIAL
 * has no effect. */
typedef struct dw_tok_part {
    dw_text text;
    bool literal;
} dw_tok_part;
dw_status dw_tokenizer_encode_parts(const dw_tokenizer *t, const dw_tok_part *part, size_t n,
                                    unsigned flags, dw_ids *out, dw_err *err);
/* Appends the text of ids; bytes that are not UTF-8 become U+FFFD as in Hugging Face tokenizers.
 * An id out of range is an error. */
dw_status dw_tokenizer_decode(const dw_tokenizer *t, const int32_t *id, size_t n, bool skip_special,
                              dw_buf *out, dw_err *err);
/* The same as ids come: what is appended is whole characters, and all of it put together is what
 * decoding the whole gives. One text a stream until its end, then the next. */
typedef struct dw_tok_stream dw_tok_stream; /* one thread at a time; t must outlive it */
dw_tok_stream *dw_tok_stream_create(const dw_tokenizer *t, bool skip_special);
dw_status dw_tok_stream_push(dw_tok_stream *s, int32_t id, dw_buf *out, dw_err *err);
dw_status dw_tok_stream_end(dw_tok_stream *s, dw_buf *out, dw_err *err); /* what was held back */
void dw_tok_stream_free(dw_tok_stream *s);                               /* accepts NULL */
/* The raw bytes one token stands for (of an added token its content) in the middle of a text;
 * may be half a character. */
dw_status dw_tokenizer_piece(const dw_tokenizer *t, int32_t id, dw_buf *out, dw_err *err);

/* What the post-processor puts in front of a text (BOS, or nothing); lives as long as t. */
const int32_t *dw_tokenizer_before(const dw_tokenizer *t, size_t *n);
int32_t dw_tokenizer_size(const dw_tokenizer *t);                /* highest id + 1 */
int32_t dw_tokenizer_find(const dw_tokenizer *t, dw_text token); /* exact vocabulary or added
                                                                    token text; -1 */
bool dw_tokenizer_is_special(const dw_tokenizer *t, int32_t id);
int32_t dw_tokenizer_bos(const dw_tokenizer *t); /* -1: none; from tokenizer_config.json */
int32_t dw_tokenizer_eos(const dw_tokenizer *t);
int32_t dw_tokenizer_pad(const dw_tokenizer *t);
const char *dw_tokenizer_kind(const dw_tokenizer *t); /* "byte-level BPE, GPT-2 pattern" */

#endif
