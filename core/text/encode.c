/* Text to ids and ids to text. */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

struct dw_encode_scratch {
    dw_bpe_scratch bpe;
    dw_unigram_scratch unigram;
    dw_normalize_scratch normalize;
    dw_pretoken_scratch pretoken;
    dw_buf joined;
    dw_added_span *span;
    size_t cap_span;
};

/* The pool is not what a caller means by const. */
static dw_encode_scratch *take(const dw_tokenizer *t)
{
    dw_tokenizer *pool = (dw_tokenizer *)(uintptr_t)t;
    dw_encode_scratch *s = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->n_idle)
        s = pool->idle[--pool->n_idle];
    pthread_mutex_unlock(&pool->lock);
    return s ? s : dw_zalloc(1, sizeof *s);
}

static void give_back(const dw_tokenizer *t, dw_encode_scratch *s)
{
    dw_tokenizer *pool = (dw_tokenizer *)(uintptr_t)t;
    if (s->bpe.lost && !atomic_flag_test_and_set(&pool->said_lost))
        dw_log(DW_WARN, "text",
               "byte 0x%02x of the text has no token in this vocabulary; such bytes are left out, "
               "as Hugging Face tokenizers does (said once)",
               s->bpe.lost_byte);
    pthread_mutex_lock(&pool->lock);
    DW_GROW(pool->idle, pool->n_idle, pool->cap_idle);
    pool->idle[pool->n_idle++] = s;
    pthread_mutex_unlock(&pool->lock);
}

void dw_encode_scratch_free(dw_encode_scratch *s)
{
    dw_bpe_scratch_finish(&s->bpe);
    dw_unigram_scratch_finish(&s->unigram);
    dw_normalize_scratch_finish(&s->normalize);
    dw_pretoken_scratch_finish(&s->pretoken);
    dw_buf_finish(&s->joined);
    dw_free(s->span);
    dw_free(s);
}

/* One encoding call. */
typedef struct job {
    const dw_tokenizer *t;
    dw_encode_scratch *s;
    dw_ids *out;
} job;

static dw_status encode_piece(void *ctx, const char *piece, size_t n, dw_err *err)
{
    job *j = ctx;
    return j->t->is_unigram
               ? dw_unigram_encode(&j->t->unigram, &j->s->unigram, piece, n, j->out, err)
               : dw_bpe_encode(&j->t->bpe, &j->s->bpe, piece, n, j->out, err);
}

static dw_status encode_plain(job *j, dw_text text, bool first, dw_err *err)
{
    return dw_pretoken_run(&j->t->pretoken, &j->s->pretoken, text, first, encode_piece, j, err);
}

/* Text that holds no added token of the raw set: normalise it, then look for the others. `first`:
 * nothing goes before it. */
static dw_status encode_rest(job *j, dw_text text, bool first, bool parse_special, dw_err *err)
{
    DW_TRY(dw_normalize_run(&j->t->normalize, &j->s->normalize, text, &text, err));
    dw_added_finder f = {
        &j->t->added.normal, text, parse_special ? DW_ADDED_ALL : DW_ADDED_PLAIN, NULL, 0, 0, 0, 0};
    dw_added_match m;
    size_t done = 0;
    while (dw_added_next(&f, &m)) {
        DW_TRY(encode_plain(j, (dw_text){text.ptr + done, m.start - done}, first && !done, err));
        dw_ids_push(j->out, m.id);
        done = m.end;
    }
    return encode_plain(j, (dw_text){text.ptr + done, text.len - done}, first && !done, err);
}

static dw_status encode_all(job *j, dw_added_finder *f, bool parse_special, dw_err *err)
{
    dw_added_match m;
    dw_text text = f->text;
    size_t done = 0;
    while (dw_added_next(f, &m)) {
        DW_TRY(
            encode_rest(j, (dw_text){text.ptr + done, m.start - done}, !done, parse_special, err));
        dw_ids_push(j->out, m.id);
        done = m.end;
    }
    return encode_rest(j, (dw_text){text.ptr + done, text.len - done}, !done, parse_special, err);
}

static dw_status check_text(dw_text text, dw_err *err)
{
    if (text.len > INT32_MAX)
        return dw_fail(err, DW_E_LIMIT, "a text of %zu bytes is too long (at most %d)", text.len,
                       INT32_MAX);
    if (dw_utf8_valid(text.ptr, text.len))
        return DW_OK;
    size_t at = 0;
    for (int len; (len = dw_utf8_len(text.ptr + at, text.len - at)) > 0;)
        at += (size_t)len;
    return dw_fail(err, DW_E_INPUT, "the text is not UTF-8: byte 0x%02x at byte %zu",
                   (unsigned char)text.ptr[at], at);
}

static dw_status encode_found(const dw_tokenizer *t, dw_encode_scratch *s, dw_added_finder *f,
                              unsigned flags, dw_ids *out, dw_err *err)
{
    job j = {t, s, out};
    size_t had = out->n;
    DW_TRY(check_text(f->text, err));
    for (size_t i = 0; i < t->before.n && (flags & DW_TOK_ADD_SPECIAL); i++)
        dw_ids_push(out, t->before.id[i]);
    dw_status st = encode_all(&j, f, f->mode == DW_ADDED_ALL, err);
    if (st) {
        out->n = had;
        return st;
    }
    for (size_t i = 0; i < t->after.n && (flags & DW_TOK_ADD_SPECIAL); i++)
        dw_ids_push(out, t->after.id[i]);
    return DW_OK;
}

dw_status dw_tokenizer_encode(const dw_tokenizer *t, dw_text text, unsigned flags, dw_ids *out,
                              dw_err *err)
{
    dw_encode_scratch *s = take(t);
    dw_added_finder f = {.set = &t->added.raw,
                         .text = {text.ptr ? text.ptr : "", text.len},
                         .mode = flags & DW_TOK_PARSE_SPECIAL ? DW_ADDED_ALL : DW_ADDED_PLAIN};
    dw_status st = encode_found(t, s, &f, flags, out, err);
    give_back(t, s);
    return st;
}

dw_status dw_tokenizer_encode_parts(const dw_tokenizer *t, const dw_tok_part *part, size_t n,
                                    unsigned flags, dw_ids *out, dw_err *err)
{
    dw_encode_scratch *s = take(t);
    size_t n_span = 0;
    dw_buf_clear(&s->joined);
    for (size_t i = 0; i < n; i++) {
        size_t start = s->joined.len;
        dw_buf_add(&s->joined, part[i].text.ptr, part[i].text.len);
        if (!part[i].literal || !part[i].text.len)
            continue;
        DW_GROW(s->span, n_span, s->cap_span);
        s->span[n_span++] = (dw_added_span){start, s->joined.len};
    }
    dw_text text = dw_buf_text(&s->joined);
    dw_added_finder f = {.set = &t->added.literal,
                         .text = {text.ptr ? text.ptr : "", text.len},
                         .mode = DW_ADDED_SPANS,
                         .span = s->span,
                         .n_span = n_span};
    dw_status st = encode_found(t, s, &f, flags, out, err);
    give_back(t, s);
    return st;
}
