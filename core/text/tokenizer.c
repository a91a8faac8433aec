/* A tokenizer: reads tokenizer.json and the names in the files beside it. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "text/tokenizer_impl.h"

enum { MAX_FILE = 256 << 20 };

void dw_ids_push(dw_ids *v, int32_t id)
{
    DW_GROW(v->id, v->n, v->cap);
    v->id[v->n++] = id;
}

void dw_ids_finish(dw_ids *v)
{
    dw_free(v->id);
    *v = (dw_ids){0};
}

static const char *type_of(const dw_json *o)
{
    const dw_json *t = dw_json_get(o, "type");
    return t && dw_json_kind(t) == DW_JSON_STRING ? dw_json_str(t).ptr : "nothing";
}

static bool is_null(const dw_json *v)
{
    return !v || dw_json_kind(v) == DW_JSON_NULL;
}

/* ---- what goes before and after a text ---- */

static dw_status special_ids(dw_tokenizer *t, const dw_json *o, const dw_json *item, dw_ids *out,
                             dw_err *err)
{
    const char *name;
    DW_TRY(dw_json_get_cstr(item, "id", "", &name, err));
    const dw_json *ids = dw_json_get(dw_json_get(dw_json_get(o, "special_tokens"), name), "ids");
    if (!dw_json_first(ids))
        return dw_fail(err, DW_E_INPUT, "special_tokens has no ids for \"%s\"", name);
    for (const dw_json *e = dw_json_first(ids); e; e = dw_json_next(e)) {
        int64_t id;
        if (!dw_json_int(e, &id) || id < 0 || id >= t->vocab.n || !t->vocab.entry[id].token.ptr)
            return dw_fail(err, DW_E_INPUT, "\"%s\": %.17g is the id of no token", name,
                           dw_json_kind(e) == DW_JSON_NUMBER ? dw_json_num(e) : -1.0);
        dw_ids_push(out, (int32_t)id);
    }
    return DW_OK;
}

static dw_status read_template(dw_tokenizer *t, const dw_json *o, dw_ids *before, dw_ids *after,
                               dw_err *err)
{
    int texts = 0;
    for (const dw_json *e = dw_json_first(dw_json_get(o, "single")); e; e = dw_json_next(e)) {
        const dw_json *sequence = dw_json_get(e, "Sequence");
        const dw_json *special = dw_json_get(e, "SpecialToken");
        const dw_json *id = dw_json_get(sequence, "id");
        if (special)
            DW_TRY(special_ids(t, o, special, texts ? after : before, err));
        else if (id && dw_json_kind(id) == DW_JSON_STRING && dw_text_is(dw_json_str(id), "A"))
            texts++;
        else
            return dw_fail(err, DW_E_INPUT, "single: wanted SpecialToken or Sequence A, found %s",
                           dw_json_first(e) ? dw_json_key(dw_json_first(e)) : "nothing");
    }
    if (texts != 1)
        return dw_fail(err, DW_E_INPUT, "single: wanted Sequence A once, found it %d times", texts);
    return DW_OK;
}

/* before' = b ++ before, after' = after ++ a. */
static void wrap(dw_tokenizer *t, const dw_ids *b, const dw_ids *a)
{
    dw_ids joined = {0};
    for (size_t i = 0; i < b->n; i++)
        dw_ids_push(&joined, b->id[i]);
    for (size_t i = 0; i < t->before.n; i++)
        dw_ids_push(&joined, t->before.id[i]);
    dw_ids_finish(&t->before);
    t->before = joined;
    for (size_t i = 0; i < a->n; i++)
        dw_ids_push(&t->after, a->id[i]);
}

static dw_status read_processor(dw_tokenizer *t, const dw_json *o, int depth, dw_err *err)
{
    if (is_null(o) || !strcmp(type_of(o), "ByteLevel"))
        return DW_OK; /* ByteLevel here moves offsets, not ids */
    if (!strcmp(type_of(o), "TemplateProcessing")) {
        dw_ids before = {0}, after = {0};
        dw_status st = read_template(t, o, &before, &after, err);
        if (st)
            dw_err_prefix(err, "post_processor: TemplateProcessing");
        else
            wrap(t, &before, &after);
        dw_ids_finish(&before);
        dw_ids_finish(&after);
        return st;
    }
    if (strcmp(type_of(o), "Sequence") != 0 || depth > 4)
        return dw_fail(err, DW_E_INPUT,
                       "post_processor: %s is not supported (ByteLevel, TemplateProcessing and "
                       "Sequence are)",
                       type_of(o));
    const dw_json *list = dw_json_get(o, "processors");
    for (const dw_json *e = dw_json_first(list); e; e = dw_json_next(e))
        DW_TRY(read_processor(t, e, depth + 1, err));
    return DW_OK;
}

/* ---- the whole file ---- */

static dw_status read_model(dw_tokenizer *t, const dw_json *o, dw_err *err)
{
    if (!o || dw_json_kind(o) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "model: wanted an object, found %s", dw_json_kind_name(o));
    t->is_unigram = !strcmp(type_of(o), "Unigram");
    if (!t->is_unigram && strcmp(type_of(o), "BPE") != 0)
        return dw_fail(err, DW_E_INPUT, "model: %s is not supported (BPE and Unigram are)",
                       type_of(o));
    if (t->is_unigram && t->pretoken.byte_level)
        return dw_fail(err, DW_E_INPUT,
                       "model: Unigram with the pre-tokenizer ByteLevel is not supported");
    if (t->is_unigram)
        return dw_unigram_read(&t->unigram, &t->vocab, o, err);
    t->vocab.byte_level = t->pretoken.byte_level;
    DW_TRY(dw_vocab_read(&t->vocab, dw_json_get(o, "vocab"), err));
    return dw_bpe_read(&t->bpe, &t->vocab, o, err);
}

static void name_kind(dw_tokenizer *t)
{
    const char *form = dw_normalize_form_name(&t->normalize);
    bool bytes = t->is_unigram ? t->unigram.byte_fallback : t->bpe.byte_fallback;
    const char *model = t->is_unigram ? "Unigram" : t->vocab.byte_level ? "byte-level BPE" : "BPE";
    snprintf(t->kind, sizeof t->kind, "%s%s, %s%s%s", model, bytes ? " with byte fallback" : "",
             t->pretoken.pattern, *form ? ", " : "", form);
}

static dw_status read_all(dw_tokenizer *t, const dw_json *root, dw_err *err)
{
    const char *version;
    if (dw_json_kind(root) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(root));
    DW_TRY(dw_json_get_cstr(root, "version", "1.0", &version, err));
    if (strcmp(version, "1.0") != 0)
        return dw_fail(err, DW_E_INPUT, "version \"%s\" is not supported (\"1.0\" is)", version);
    /* The pre-tokenizer before the model: it says best what kind of tokenizer this is. */
    DW_TRY(dw_normalize_read(&t->normalize, dw_json_get(root, "normalizer"), err));
    DW_TRY(dw_detok_read(&t->decoder, dw_json_get(root, "decoder"), err));
    DW_TRY(dw_pretoken_read(&t->pretoken, dw_json_get(root, "pre_tokenizer"), err));
    DW_TRY(read_model(t, dw_json_get(root, "model"), err));
    DW_TRY(
        dw_added_read(&t->added, &t->vocab, dw_json_get(root, "added_tokens"), &t->normalize, err));
    DW_TRY(read_processor(t, dw_json_get(root, "post_processor"), 0, err));
    if (t->is_unigram)
        dw_unigram_build(&t->unigram);
    name_kind(t);
    /* truncation and padding are settings of batches, which transformers overrides as well. */
    return DW_OK;
}

static dw_status read_name(dw_tokenizer *t, const dw_json *config, const char *key, int32_t *out,
                           dw_err *err)
{
    const dw_json *v = dw_json_get(config, key);
    if (is_null(v))
        return DW_OK;
    const dw_json *content = dw_json_kind(v) == DW_JSON_OBJECT ? dw_json_get(v, "content") : v;
    if (!content || dw_json_kind(content) != DW_JSON_STRING)
        return dw_fail(err, DW_E_INPUT,
                       "%s: wanted a string or an object with \"content\", found %s", key,
                       dw_json_kind_name(v));
    int32_t id = dw_vocab_find(&t->vocab, dw_json_str(content));
    if (id < 0)
        return dw_fail(err, DW_E_INPUT, "%s: %s is not a token of tokenizer.json", key,
                       dw_vocab_quoted(dw_json_str(content)).text);
    if (*out < 0)
        *out = id;
    return DW_OK;
}

static dw_status read_names(dw_tokenizer *t, const dw_json *config, dw_err *err)
{
    DW_TRY(read_name(t, config, "bos_token", &t->bos, err));
    DW_TRY(read_name(t, config, "eos_token", &t->eos, err));
    return read_name(t, config, "pad_token", &t->pad, err);
}

static dw_tokenizer *create(void)
{
    dw_tokenizer *t = dw_zalloc(1, sizeof *t);
    t->bos = t->eos = t->pad = -1;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void dw_tokenizer_free(dw_tokenizer *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_idle; i++)
        dw_encode_scratch_free(t->idle[i]);
    dw_free(t->idle);
    pthread_mutex_destroy(&t->lock);
    dw_added_finish(&t->added);
    dw_pretoken_finish(&t->pretoken);
    dw_bpe_finish(&t->bpe);
    dw_unigram_finish(&t->unigram);
    dw_normalize_finish(&t->normalize);
    dw_detok_finish(&t->decoder);
    dw_vocab_finish(&t->vocab);
    dw_ids_finish(&t->before);
    dw_ids_finish(&t->after);
    dw_free(t);
}

dw_status dw_tokenizer_parse(dw_text json, dw_text config, const char *name, dw_tokenizer **out,
                             dw_err *err)
{
    dw_json *root = NULL, *names = NULL;
    dw_tokenizer *t = create();
    *out = NULL;
    dw_status st = dw_json_parse(json.ptr, json.len, DW_JSON_DEPTH_HEADER, 1, &root, err);
    if (!st)
        st = read_all(t, root, err);
    if (!st && config.len) {
        st = dw_json_parse(config.ptr, config.len, DW_JSON_DEPTH_HEADER, 1, &names, err);
        if (!st)
            st = read_names(t, names, err);
        if (st)
            dw_err_prefix(err, "tokenizer_config.json");
    }
    dw_json_free(root);
    dw_json_free(names);
    if (st) {
        dw_err_prefix(err, "%s", name);
        dw_tokenizer_free(t);
        return st;
    }
    *out = t;
    return DW_OK;
}

/* The names in one of the files beside tokenizer.json, if it is there. */
static dw_status load_names(dw_tokenizer *t, dw_arena *a, const char *dir, const char *file,
                            dw_err *err)
{
    const char *path = dw_path_join(a, dir, file);
    dw_json *names;
    if (!dw_file_exists(path))
        return DW_OK;
    DW_TRY(dw_json_read(path, MAX_FILE, &names, err));
    dw_status st = read_names(t, names, err);
    if (st)
        dw_err_prefix(err, "%s", path);
    dw_json_free(names);
    return st;
}

dw_status dw_tokenizer_load(const char *dir, dw_tokenizer **out, dw_err *err)
{
    dw_arena a = {0};
    dw_buf text = {0};
    const char *path = dw_path_join(&a, dir, "tokenizer.json");
    *out = NULL;
    dw_status st = dw_file_read(path, MAX_FILE, &text, err);
    if (!st)
        st = dw_tokenizer_parse(dw_buf_text(&text), (dw_text){0}, path, out, err);
    if (!st)
        st = load_names(*out, &a, dir, "tokenizer_config.json", err);
    if (!st)
        st = load_names(*out, &a, dir, "special_tokens_map.json", err);
    if (st) {
        dw_tokenizer_free(*out);
        *out = NULL;
    }
    dw_buf_finish(&text);
    dw_arena_finish(&a);
    return st;
}

/* ---- what it is ---- */

const int32_t *dw_tokenizer_before(const dw_tokenizer *t, size_t *n)
{
    *n = t->before.n;
    return t->before.id;
}

int32_t dw_tokenizer_size(const dw_tokenizer *t)
{
    return t->vocab.n;
}

int32_t dw_tokenizer_find(const dw_tokenizer *t, dw_text token)
{
    return dw_vocab_find(&t->vocab, token);
}

bool dw_tokenizer_is_special(const dw_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->added.n_special && t->added.special[id];
}

int32_t dw_tokenizer_bos(const dw_tokenizer *t)
{
    return t->bos;
}

int32_t dw_tokenizer_eos(const dw_tokenizer *t)
{
    return t->eos;
}

int32_t dw_tokenizer_pad(const dw_tokenizer *t)
{
    return t->pad;
}

const char *dw_tokenizer_kind(const dw_tokenizer *t)
{
    return t->kind;
}
