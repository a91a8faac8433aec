/* A tokenizer.json as the metadata of a GGUF file. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "model/gguf.h"
#include "model/model_internal.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE }; /* token types of ggml */

typedef struct words {
    const dw_model *m;
    const dw_json *root, *model;
    dw_gguf_out *out;
    dw_arena arena;
    dw_text *token; /* [n] of the model's vocabulary, gaps filled */
    int32_t *type;
    float *score;
    size_t n;
} words;

static bool json_is(const dw_json *v, const char *word)
{
    return dw_json_kind(v) == DW_JSON_STRING && dw_text_is(dw_json_str(v), word);
}

/* ---- tokens ---- */

static dw_status set_token(words *w, int64_t id, dw_text s, int32_t type, dw_err *err)
{
    if (id < 0 || id >= (int64_t)w->n)
        return dw_fail(err, DW_E_INPUT, "tokenizer.json: id %lld is beyond the vocabulary of %zu",
                       (long long)id, w->n);
    w->token[id] = s;
    w->type[id] = type;
    return DW_OK;
}

static bool is_byte(dw_text s)
{
    return s.len == 6 && !memcmp(s.ptr, "<0x", 3) && s.ptr[5] == '>';
}

static dw_status read_tokens(words *w, bool sentencepiece, dw_err *err)
{
    const dw_json *vocab = dw_json_get(w->model, "vocab");
    const dw_json *unk = dw_json_get(w->model, "unk_token");
    for (const dw_json *v = dw_json_first(vocab); v; v = dw_json_next(v)) {
        const dw_text s = dw_text_of(dw_json_key(v));
        int64_t id = -1;
        if (!dw_json_int(v, &id))
            return dw_fail(err, DW_E_INPUT, "tokenizer.json: model.vocab: an id is no integer");
        int32_t type = sentencepiece && is_byte(s) ? BYTE
                       : dw_json_kind(unk) == DW_JSON_STRING && dw_text_eq(dw_json_str(unk), s)
                           ? UNKNOWN
                           : NORMAL;
        DW_TRY(set_token(w, id, s, type, err));
    }
    for (const dw_json *v = dw_json_first(dw_json_get(w->root, "added_tokens")); v;
         v = dw_json_next(v)) {
        const dw_json *special = dw_json_get(v, "special");
        int64_t id = -1;
        dw_json_int(dw_json_get(v, "id"), &id);
        bool control = dw_json_kind(special) == DW_JSON_BOOL && dw_json_bool(special);
        if (id >= 0 && id < (int64_t)w->n && w->type[id] == UNKNOWN)
            continue;
        DW_TRY(set_token(w, id, dw_json_str(dw_json_get(v, "content")),
                         control ? CONTROL : USER_DEFINED, err));
    }
    for (size_t i = 0; i < w->n; i++) { /* rows of the embedding that no token has */
        if (w->token[i].ptr)
            continue;
        w->token[i] = dw_text_of(dw_arena_printf(&w->arena, "[PAD%zu]", i));
        w->type[i] = UNUSED;
    }
    return DW_OK;
}

/* ---- merges ---- */

/* "a b" or ["a", "b"] */
static dw_status merge_of(words *w, const dw_json *v, dw_text *left, dw_text *right, dw_err *err)
{
    const dw_json *a = dw_json_first(v), *b = a ? dw_json_next(a) : NULL;
    if (dw_json_kind(v) == DW_JSON_STRING) {
        dw_text s = dw_json_str(v);
        const char *space = s.len > 1 ? memchr(s.ptr + 1, ' ', s.len - 1) : NULL;
        if (space) {
            *left = (dw_text){s.ptr, (size_t)(space - s.ptr)};
            *right = (dw_text){space + 1, s.len - left->len - 1};
            return DW_OK;
        }
    } else if (dw_json_kind(a) == DW_JSON_STRING && dw_json_kind(b) == DW_JSON_STRING) {
        *left = dw_json_str(a);
        *right = dw_json_str(b);
        return DW_OK;
    }
    (void)w;
    return dw_fail(err, DW_E_INPUT, "tokenizer.json: model.merges: an entry is no pair of tokens");
}

static dw_status put_merges(words *w, dw_err *err)
{
    const dw_json *list = dw_json_get(w->model, "merges");
    size_t n = dw_json_len(list), i = 0;
    dw_text *line = dw_arena_alloc(&w->arena, (n + 1) * sizeof *line);
    for (const dw_json *v = dw_json_first(list); v; v = dw_json_next(v)) {
        dw_text l, r;
        DW_TRY(merge_of(w, v, &l, &r, err));
        if (memchr(l.ptr, ' ', l.len) || memchr(r.ptr, ' ', r.len))
            return dw_fail(err, DW_E_USAGE,
                           "tokenizer.json: model.merges: a token with a space in "
                           "it cannot be written as GGUF");
        line[i++] = dw_text_of(
            dw_arena_printf(&w->arena, "%.*s %.*s", (int)l.len, l.ptr, (int)r.len, r.ptr));
    }
    dw_gguf_put_strings(w->out, "tokenizer.ggml.merges", line, n);
    return DW_OK;
}

/* SentencePiece has scores: the earlier a token is merged, the higher. */
static dw_status put_scores(words *w, dw_err *err)
{
    dw_map ids = {0};
    size_t rank = 0;
    dw_status st = DW_OK;
    dw_buf joined = {0};
    for (size_t i = 0; i < w->n; i++)
        dw_map_put(&ids, w->token[i], (int64_t)i);
    float *score = dw_arena_alloc(&w->arena, w->n * sizeof *score);
    for (const dw_json *v = dw_json_first(dw_json_get(w->model, "merges")); v && st >= 0;
         v = dw_json_next(v), rank++) {
        dw_text l, r;
        int64_t id;
        st = merge_of(w, v, &l, &r, err);
        if (st < 0)
            break;
        dw_buf_clear(&joined);
        dw_buf_add(&joined, l.ptr, l.len);
        dw_buf_add(&joined, r.ptr, r.len);
        if (dw_map_get(&ids, dw_buf_text(&joined), &id) && score[id] == 0)
            score[id] = -(float)(rank + 1);
    }
    if (st >= 0)
        dw_gguf_put_f32s(w->out, "tokenizer.ggml.scores", score, w->n);
    dw_buf_finish(&joined);
    dw_map_finish(&ids);
    return st;
}

/* ---- the rest ---- */

static void put_id(words *w, const char *key, int32_t id)
{
    if (id >= 0)
        dw_gguf_put_u32(w->out, key, (uint32_t)id);
}

/* A template or prefix anywhere in a component of tokenizer.json. */
static bool mentions(const dw_json *v, const char *type)
{
    if (json_is(dw_json_get(v, "type"), type))
        return true;
    for (const dw_json *x = dw_json_first(v); x; x = dw_json_next(x))
        if ((dw_json_kind(x) == DW_JSON_OBJECT || dw_json_kind(x) == DW_JSON_ARRAY) &&
            mentions(x, type))
            return true;
    return false;
}

static void put_specials(words *w, bool sentencepiece)
{
    const dw_tokenizer *t = w->m->tokenizer;
    size_t n = 0;
    const int32_t *before = dw_tokenizer_before(t, &n);
    int32_t bos = n > 0 ? before[0] : w->m->desc.bos;
    put_id(w, "tokenizer.ggml.bos_token_id", bos);
    put_id(w, "tokenizer.ggml.eos_token_id", dw_tokenizer_eos(t));
    put_id(w, "tokenizer.ggml.padding_token_id", w->m->desc.pad);
    dw_gguf_put_bool(w->out, "tokenizer.ggml.add_bos_token", n > 0);
    if (sentencepiece)
        dw_gguf_put_bool(w->out, "tokenizer.ggml.add_space_prefix",
                         mentions(dw_json_get(w->root, "normalizer"), "Prepend") ||
                             mentions(dw_json_get(w->root, "pre_tokenizer"), "Metaspace"));
}

static dw_status put_template(words *w, dw_err *err)
{
    dw_buf b = {0};
    dw_json *root = NULL;
    bool there;
    dw_status st = dw_model_sidecar(w->m, "chat_template.jinja", &there, &b, err);
    if (st >= 0 && there)
        dw_gguf_put_str(w->out, "tokenizer.chat_template", dw_buf_text(&b));
    if (st >= 0 && !there) {
        dw_buf_clear(&b);
        st = dw_model_sidecar(w->m, "tokenizer_config.json", &there, &b, err);
        if (st >= 0 && there)
            st = dw_json_parse(b.ptr, b.len, DW_JSON_DEPTH_HEADER, 1, &root, err);
        const dw_json *v = root ? dw_json_get(root, "chat_template") : NULL;
        if (dw_json_kind(v) == DW_JSON_STRING)
            dw_gguf_put_str(w->out, "tokenizer.chat_template", dw_json_str(v));
        dw_json_free(root);
    }
    dw_buf_finish(&b);
    return st;
}

static dw_status put_words(words *w, dw_err *err)
{
    w->model = dw_json_get(w->root, "model");
    const dw_json *fallback = dw_json_get(w->model, "byte_fallback");
    bool sentencepiece = dw_json_kind(fallback) == DW_JSON_BOOL && dw_json_bool(fallback);
    const char *pre = sentencepiece ? "default" : dw_gguf_pre_of(w->root);
    if (!json_is(dw_json_get(w->model, "type"), "BPE"))
        return dw_fail(err, DW_E_USAGE, "only BPE tokenizers can be written as GGUF");
    if (!pre)
        return dw_fail(err, DW_E_USAGE,
                       "this tokenizer splits words in a way that GGUF has no name for");
    w->n = w->m->desc.vocab;
    w->token = dw_arena_alloc(&w->arena, w->n * sizeof *w->token);
    w->type = dw_arena_alloc(&w->arena, w->n * sizeof *w->type);
    DW_TRY(read_tokens(w, sentencepiece, err));
    dw_gguf_put_str(w->out, "tokenizer.ggml.model", dw_text_of(sentencepiece ? "llama" : "gpt2"));
    dw_gguf_put_str(w->out, "tokenizer.ggml.pre", dw_text_of(pre));
    dw_gguf_put_strings(w->out, "tokenizer.ggml.tokens", w->token, w->n);
    dw_gguf_put_i32s(w->out, "tokenizer.ggml.token_type", w->type, w->n);
    if (sentencepiece)
        DW_TRY(put_scores(w, err));
    else
        DW_TRY(put_merges(w, err));
    put_specials(w, sentencepiece);
    return put_template(w, err);
}

dw_status dw_gguf_export_words(const dw_model *m, dw_gguf_out *o, dw_err *err)
{
    words w = {.m = m, .out = o};
    dw_buf b = {0};
    dw_json *root = NULL;
    bool there = false;
    dw_status st = DW_OK;
    if (!m->tokenizer)
        return dw_fail(err, DW_E_INPUT, "%s: no tokenizer.json, which a GGUF file has to have",
                       m->dir);
    st = dw_model_sidecar(m, "tokenizer.json", &there, &b, err);
    if (st >= 0)
        st = dw_json_parse(b.ptr, b.len, DW_JSON_DEPTH_HEADER, 1, &root, err);
    w.root = root;
    if (st >= 0)
        st = put_words(&w, err);
    dw_json_free(root);
    dw_buf_finish(&b);
    dw_arena_finish(&w.arena);
    return st;
}
