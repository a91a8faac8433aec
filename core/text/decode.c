/* Ids to text, whole or as they come. */
#include <string.h>

#include "base/alloc.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

static dw_status find(const dw_tokenizer *t, int32_t id, const dw_vocab_entry **e, dw_err *err)
{
    if (id < 0 || id >= t->vocab.n)
        return dw_fail(err, DW_E_INPUT, "id %d is outside the vocabulary (0 .. %d)", id,
                       t->vocab.n - 1);
    *e = &t->vocab.entry[id];
    if (!(*e)->token.ptr)
        return dw_fail(err, DW_E_INPUT, "id %d has no token in this vocabulary", id);
    return DW_OK;
}

dw_status dw_tokenizer_piece(const dw_tokenizer *t, int32_t id, dw_buf *out, dw_err *err)
{
    const dw_vocab_entry *e;
    DW_TRY(find(t, id, &e, err));
    if (t->vocab.byte_level)
        dw_buf_add(out, e->bytes.ptr, e->bytes.len);
    else
        dw_detok_piece(&t->decoder, e->shown, out);
    return DW_OK;
}

/* Byte-level tokens with the decoder that belongs to them: bytes side by side. */
static bool is_bytes(const dw_tokenizer *t)
{
    return t->vocab.byte_level && t->decoder.n == 1 &&
           t->decoder.stage[0].kind == DW_DETOK_BYTELEVEL;
}

static dw_status decode_bytes(const dw_tokenizer *t, const int32_t *id, size_t n, bool skip_special,
                              dw_buf *out, dw_err *err)
{
    dw_buf bytes = {0};
    dw_status st = DW_OK;
    for (size_t i = 0; i < n && !st; i++)
        if (!skip_special || !dw_tokenizer_is_special(t, id[i]))
            st = dw_tokenizer_piece(t, id[i], &bytes, err);
    if (!st)
        dw_unicode_lossy(bytes.ptr ? bytes.ptr : "", bytes.len, out);
    dw_buf_finish(&bytes);
    return st;
}

dw_status dw_tokenizer_decode(const dw_tokenizer *t, const int32_t *id, size_t n, bool skip_special,
                              dw_buf *out, dw_err *err)
{
    if (is_bytes(t))
        return decode_bytes(t, id, n, skip_special, out, err);
    size_t had = out->len;
    dw_status st = DW_OK;
    dw_tok_stream *s = dw_tok_stream_create(t, skip_special);
    for (size_t i = 0; i < n && !st; i++)
        st = dw_tok_stream_push(s, id[i], out, err);
    if (!st)
        st = dw_tok_stream_end(s, out, err);
    if (st)
        out->len = had;
    dw_tok_stream_free(s);
    return st;
}

/* ---- as they come ---- */

struct dw_tok_stream {
    const dw_tokenizer *t;
    bool skip_special;
    dw_detok_run run;
};

dw_tok_stream *dw_tok_stream_create(const dw_tokenizer *t, bool skip_special)
{
    dw_tok_stream *s = dw_zalloc(1, sizeof *s);
    *s = (dw_tok_stream){.t = t, .skip_special = skip_special, .run.d = &t->decoder};
    return s;
}

dw_status dw_tok_stream_push(dw_tok_stream *s, int32_t id, dw_buf *out, dw_err *err)
{
    const dw_vocab_entry *e;
    if (s->skip_special && dw_tokenizer_is_special(s->t, id))
        return DW_OK;
    DW_TRY(find(s->t, id, &e, err));
    return dw_detok_push(&s->run, e->shown, out, err);
}

dw_status dw_tok_stream_end(dw_tok_stream *s, dw_buf *out, dw_err *err)
{
    return dw_detok_end(&s->run, out, err);
}

void dw_tok_stream_free(dw_tok_stream *s)
{
    if (!s)
        return;
    dw_detok_run_finish(&s->run);
    dw_free(s);
}
