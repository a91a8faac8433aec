/* Byte-pair merging: reads the merges and the options of the model. */
#include "text/bpe.h"

#include <string.h>

#include "base/alloc.h"
#include "text/unicode.h"

static size_t pair_hash(int32_t left, int32_t right)
{
    uint64_t x = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(x ^ x >> 29);
}

dw_bpe_merge *dw_bpe_slot(const dw_bpe *b, int32_t left, int32_t right)
{
    for (size_t i = pair_hash(left, right);; i++) {
        dw_bpe_merge *m = &b->slot[i & (b->cap - 1)];
        if (m->rank == DW_BPE_NO_MERGE || (m->left == left && m->right == right))
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
    dw_bpe_merge *slot = dw_bpe_slot(b, left, right);
    if (slot->rank != DW_BPE_NO_MERGE)
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
        b->slot[i].rank = DW_BPE_NO_MERGE;
    dw_buf joined = {0};
    dw_status st = DW_OK;
    size_t i = 0;
    for (const dw_json *m = dw_json_first(merges); m && !st; m = dw_json_next(m))
        st = add_merge(b, m, i++, &joined, err);
    dw_buf_finish(&joined);
    return st;
}

/* Options that change ids and that real models leave off. */
static dw_status refuse_variants(const dw_json *model, dw_err *err)
{
    static const char *const affix[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < 2; i++) {
        const char *s;
        DW_TRY(dw_json_get_cstr(model, affix[i], "", &s, err));
        if (*s)
            return dw_fail(err, DW_E_INPUT,
                           "%s \"%s\" is not supported (models of language have none)", affix[i],
                           s);
    }
    double dropout;
    DW_TRY(dw_json_get_num(model, "dropout", 0, 0, 1, &dropout, err));
    if (dropout > 0)
        return dw_fail(err, DW_E_INPUT, "dropout %g is not supported: ids would be random",
                       dropout);
    return DW_OK;
}

static dw_status read_options(dw_bpe *b, const dw_json *model, dw_err *err)
{
    const char *unk;
    DW_TRY(refuse_variants(model, err));
    DW_TRY(dw_json_get_bool(model, "ignore_merges", false, &b->ignore_merges, err));
    DW_TRY(dw_json_get_bool(model, "fuse_unk", false, &b->fuse_unk, err));
    DW_TRY(dw_json_get_bool(model, "byte_fallback", false, &b->byte_fallback, err));
    if (b->byte_fallback && b->vocab->byte_level)
        return dw_fail(
            err, DW_E_INPUT,
            "byte_fallback with the pre-tokenizer ByteLevel is not supported (every byte "
            "has a token there)");
    DW_TRY(dw_json_get_cstr(model, "unk_token", NULL, &unk, err));
    if (unk && (b->unk = dw_vocab_find(b->vocab, dw_text_of(unk))) < 0)
        return dw_fail(err, DW_E_INPUT, "unk_token: %s is not in model.vocab",
                       dw_vocab_quoted(dw_text_of(unk)).text);
    return DW_OK;
}

static dw_status find_bytes(dw_bpe *b, dw_err *err)
{
    int known = 0;
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        int64_t id;
        b->byte_id[byte] =
            dw_map_get(&b->vocab->by_bytes, (dw_text){&c, 1}, &id) ? (int32_t)id : -1;
        known += b->byte_id[byte] >= 0;
    }
    if (!known)
        return dw_fail(err, DW_E_INPUT,
                       "model.vocab: no single byte has a token, so this is not "
                       "a byte-level vocabulary");
    return DW_OK;
}

unsigned dw_bpe_kind(const dw_bpe *b, uint32_t c)
{
    bool known = dw_chars_id(&b->chars, c) >= 0;
    return !known ? DW_BPE_UNKNOWN : c < 128 ? c : c == 0x2581 ? DW_BPE_META : DW_BPE_KNOWN;
}

/* A token's first and last character. The token of a byte or of the unknown is not made of the
 * characters it is written with: such merges, which no real model has, forbid all cutting. */
static void find_joins(dw_bpe *b)
{
    for (int k = 0; k < DW_BPE_KINDS; k++)
        b->joins[k][DW_BPE_UNKNOWN] = b->joins[DW_BPE_UNKNOWN][k] = 1;
    for (size_t i = 0; i < b->cap; i++) {
        const dw_bpe_merge *m = &b->slot[i];
        if (m->rank == DW_BPE_NO_MERGE)
            continue;
        dw_text l = b->vocab->entry[m->left].token, r = b->vocab->entry[m->right].token;
        if (m->left == b->unk || m->right == b->unk || dw_chars_byte_of(l) >= 0 ||
            dw_chars_byte_of(r) >= 0) {
            memset(b->joins, 1, sizeof b->joins);
            return;
        }
        int len;
        size_t last = dw_unicode_before(l.ptr, l.len);
        b->joins[dw_bpe_kind(b, dw_unicode_at(l.ptr + last, l.len - last, &len))]
                [dw_bpe_kind(b, dw_unicode_at(r.ptr, r.len, &len))] = 1;
    }
}

dw_status dw_bpe_read(dw_bpe *b, const dw_vocab *v, const dw_json *model, dw_err *err)
{
    b->vocab = v;
    b->n_vocab = v->n;
    b->unk = -1;
    dw_status st = read_options(b, model, err);
    if (st) {
        dw_err_prefix(err, "model");
        return st;
    }
    if (v->byte_level)
        DW_TRY(find_bytes(b, err));
    DW_TRY(read_merges(b, dw_json_get(model, "merges"), err));
    if (!v->byte_level) {
        dw_chars_build(&b->chars, v);
        find_joins(b);
    }
    return DW_OK;
}

void dw_bpe_finish(dw_bpe *b)
{
    dw_free(b->slot);
    b->slot = NULL;
    dw_chars_finish(&b->chars);
}
