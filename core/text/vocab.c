/* The vocabulary of a model: tokens by id and ids by token. */
#include "text/vocab.h"

#include <string.h>

#include "base/alloc.h"
#include "text/unicode.h"

dw_vocab_quote dw_vocab_quoted(dw_text token)
{
    dw_vocab_quote q;
    dw_buf b = {0};
    dw_json_put_str(&b, token.ptr, token.len);
    if (b.len < sizeof q.text) {
        memcpy(q.text, b.ptr, b.len + 1);
    } else {
        size_t n = sizeof q.text - 5;
        while (n > 0 && ((unsigned char)b.ptr[n] & 0xc0) == 0x80)
            n--;
        memcpy(q.text, b.ptr, n);
        memcpy(q.text + n, "...\"", 5);
    }
    dw_buf_finish(&b);
    return q;
}

static void make_room(dw_vocab *v, int32_t id)
{
    if (id < v->n)
        return;
    if (id >= v->cap) {
        int32_t cap = v->cap ? v->cap : 1024;
        while (cap <= id)
            cap *= 2;
        v->entry = dw_realloc(v->entry, (size_t)cap * sizeof *v->entry);
        memset(v->entry + v->cap, 0, (size_t)(cap - v->cap) * sizeof *v->entry);
        v->cap = cap;
    }
    v->n = id + 1;
}

void dw_vocab_show(dw_vocab *v, int32_t id, dw_text shown)
{
    dw_vocab_entry *e = &v->entry[id];
    dw_buf bytes = {0};
    e->shown = e->bytes = shown;
    e->spelled = v->byte_level && shown.len > 0 && dw_unicode_to_bytes(shown, &bytes);
    if (e->spelled)
        e->bytes = (dw_text){dw_arena_strndup(&v->arena, bytes.ptr, bytes.len), bytes.len};
    dw_buf_finish(&bytes);
}

dw_status dw_vocab_add(dw_vocab *v, dw_text token, int64_t id, const char *where, dw_err *err)
{
    int64_t had;
    if (id < 0 || id >= v->limit)
        return dw_fail(err, DW_E_INPUT,
                       "%s: the id of %s is %lld, outside 0 .. %lld (twice the number of tokens "
                       "and 1024, at most %d)",
                       where, dw_vocab_quoted(token).text, (long long)id, (long long)v->limit - 1,
                       DW_VOCAB_MAX_ID);
    if (dw_map_get(&v->by_token, token, &had)) {
        if (had == id)
            return DW_OK;
        return dw_fail(err, DW_E_INPUT, "%s: %s has id %lld here and id %lld in the vocabulary",
                       where, dw_vocab_quoted(token).text, (long long)id, (long long)had);
    }
    make_room(v, (int32_t)id);
    dw_vocab_entry *e = &v->entry[id];
    if (e->token.ptr)
        return dw_fail(err, DW_E_INPUT, "%s: %s and %s have the same id %lld", where,
                       dw_vocab_quoted(e->token).text, dw_vocab_quoted(token).text, (long long)id);
    e->token = (dw_text){dw_arena_strndup(&v->arena, token.ptr, token.len), token.len};
    dw_vocab_show(v, (int32_t)id, e->token);
    dw_map_put(&v->by_token, e->token, id);
    return DW_OK;
}

static void set_limit(dw_vocab *v, size_t n)
{
    v->limit = (int64_t)n * 2 + 1024;
    if (v->limit > DW_VOCAB_MAX_ID)
        v->limit = DW_VOCAB_MAX_ID + 1;
}

dw_status dw_vocab_read(dw_vocab *v, const dw_json *object, dw_err *err)
{
    if (!object || dw_json_kind(object) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "model.vocab: wanted an object of token: id, found %s",
                       dw_json_kind_name(object));
    set_limit(v, dw_json_len(object));
    for (const dw_json *m = dw_json_first(object); m; m = dw_json_next(m)) {
        dw_text token = dw_text_of(dw_json_key(m));
        int64_t id;
        if (!token.len)
            return dw_fail(err, DW_E_INPUT, "model.vocab: a token is empty");
        if (!dw_json_int(m, &id)) {
            dw_buf found = {0};
            dw_json_put(&found, m, false, 0);
            dw_fail(err, DW_E_INPUT, "model.vocab: the id of %s: wanted an integer, found %.40s",
                    dw_vocab_quoted(token).text, found.ptr);
            dw_buf_finish(&found);
            return DW_E_INPUT;
        }
        DW_TRY(dw_vocab_add(v, token, id, "model.vocab", err));
    }
    if (!v->n)
        return dw_fail(err, DW_E_INPUT, "model.vocab: holds no token");
    for (int32_t id = 0; id < v->n; id++)
        if (v->entry[id].spelled)
            dw_map_put(&v->by_bytes, v->entry[id].bytes, id);
    return DW_OK;
}

enum { MAX_SCORE = 1000000 };

static dw_status read_scored(dw_vocab *v, const dw_json *e, int64_t id, double *score, dw_err *err)
{
    const dw_json *token = dw_json_first(e), *value = token ? dw_json_next(token) : NULL;
    if (dw_json_kind(e) != DW_JSON_ARRAY || !value || dw_json_next(value) ||
        dw_json_kind(token) != DW_JSON_STRING || dw_json_kind(value) != DW_JSON_NUMBER)
        return dw_fail(err, DW_E_INPUT, "model.vocab[%lld]: wanted [\"token\", score]",
                       (long long)id);
    *score = dw_json_num(value);
    if (!(*score >= -MAX_SCORE && *score <= MAX_SCORE))
        return dw_fail(err, DW_E_INPUT,
                       "model.vocab[%lld]: the score of %s is %g, wanted a logarithm of a "
                       "probability (-%d .. %d)",
                       (long long)id, dw_vocab_quoted(dw_json_str(token)).text, *score, MAX_SCORE,
                       MAX_SCORE);
    if (!dw_json_str(token).len)
        return dw_fail(err, DW_E_INPUT, "model.vocab[%lld]: the token is empty", (long long)id);
    return dw_vocab_add(v, dw_json_str(token), id, "model.vocab", err);
}

dw_status dw_vocab_read_scored(dw_vocab *v, const dw_json *array, double **score, dw_err *err)
{
    *score = NULL;
    if (!array || dw_json_kind(array) != DW_JSON_ARRAY)
        return dw_fail(err, DW_E_INPUT, "model.vocab: wanted an array of [token, score], found %s",
                       dw_json_kind_name(array));
    size_t n = dw_json_len(array);
    if (!n)
        return dw_fail(err, DW_E_INPUT, "model.vocab: holds no token");
    set_limit(v, n);
    double *s = dw_zalloc(n, sizeof *s);
    int64_t id = 0;
    for (const dw_json *e = dw_json_first(array); e; e = dw_json_next(e), id++) {
        dw_status st = read_scored(v, e, id, &s[id], err);
        if (st) {
            dw_free(s);
            return st;
        }
    }
    *score = s;
    return DW_OK;
}

int32_t dw_vocab_find(const dw_vocab *v, dw_text token)
{
    int64_t id;
    return dw_map_get(&v->by_token, token, &id) ? (int32_t)id : -1;
}

void dw_vocab_finish(dw_vocab *v)
{
    dw_free(v->entry);
    dw_map_finish(&v->by_token);
    dw_map_finish(&v->by_bytes);
    dw_arena_finish(&v->arena);
    *v = (dw_vocab){0};
}
