/* tokenizer.json and tokenizer_config.json, made of a GGUF file's metadata: byte-level BPE whose
 * pre-tokeniser has a known name, and SentencePiece's BPE, whose merges follow from its scores. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "model/gguf.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE }; /* token types of ggml */

typedef struct maker {
    dw_gguf *g;
    dw_buf *out;
    const dw_text *token;
    size_t n;
    const dw_gguf_field *type, *score; /* NULL: none */
    bool sentencepiece, add_bos, add_eos, add_space;
    int64_t bos, eos, unk, pad; /* -1: none */
} maker;

static void put_split(dw_buf *b, const char *regex)
{
    dw_buf_adds(b, "{\"type\":\"Split\",\"pattern\":{\"Regex\":");
    dw_json_put_cstr(b, regex);
    dw_buf_adds(b, "},\"behavior\":\"Isolated\",\"invert\":false},");
}

static void put_byte_level(dw_buf *b, bool regex)
{
    dw_buf_printf(b,
                  "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false,"
                  "\"use_regex\":%s}",
                  regex ? "true" : "false");
}

static dw_status put_pre(const maker *m, bool *ignore_merges, dw_err *err)
{
    dw_text name = {"", 0};
    bool there;
    DW_TRY(dw_gguf_str(m->g, "tokenizer.ggml.pre", &there, &name, err));
    if (!there)
        return dw_fail(err, DW_E_INPUT,
                       "tokenizer.ggml.pre is missing, so nobody knows how its words are split");
    for (const dw_gguf_pre *p = dw_gguf_pres; p->name; p++) {
        if (!dw_text_is(name, p->name))
            continue;
        *ignore_merges = p->ignore_merges;
        dw_buf_printf(m->out,
                      "\"normalizer\":%s,\"pre_tokenizer\":{\"type\":\"Sequence\","
                      "\"pretokenizers\":[",
                      p->nfc ? "{\"type\":\"NFC\"}" : "null");
        if (p->digits)
            dw_buf_adds(m->out, "{\"type\":\"Digits\",\"individual_digits\":true},");
        for (int k = 0; k < 3 && p->split[k]; k++)
            put_split(m->out, p->split[k]);
        put_byte_level(m->out, !p->split[0]);
        dw_buf_adds(m->out, "]},");
        return DW_OK;
    }
    return dw_fail(err, DW_E_INPUT,
                   "tokenizer.ggml.pre \"%.*s\" is not supported; wanted gpt-2, smollm, llama-bpe, "
                   "qwen2, deepseek-v3 or gpt-4o",
                   (int)(name.len < 64 ? name.len : 64), name.ptr);
}

/* ---- merges ---- */

/* A token as the sum of two others. */
typedef struct merge {
    uint32_t left, right, order;
    double score;
    uint32_t n_left, n_right; /* characters */
} merge;

/* Best score first, then the longer halves; what is equal stays in order (as transformers). */
static int by_score(const void *x, const void *y)
{
    const merge *a = x, *b = y;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    if (a->n_left != b->n_left)
        return a->n_left > b->n_left ? -1 : 1;
    if (a->n_right != b->n_right)
        return a->n_right > b->n_right ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static int by_ids(const void *x, const void *y)
{
    const merge *a = x, *b = y;
    if (a->left != b->left)
        return a->left < b->left ? -1 : 1;
    return a->right < b->right ? -1 : a->right > b->right;
}

typedef struct merges {
    merge *item;
    size_t n, cap;
} merges;

static uint32_t characters(const char *s, size_t n)
{
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

static void split_token(const maker *m, const dw_map *ids, size_t t, merges *out)
{
    dw_text s = m->token[t];
    size_t first = out->n;
    for (size_t at = 1; at < s.len; at++) {
        int64_t left, right;
        if (((unsigned char)s.ptr[at] & 0xc0) == 0x80 ||
            !dw_map_get(ids, (dw_text){s.ptr, at}, &left) ||
            !dw_map_get(ids, (dw_text){s.ptr + at, s.len - at}, &right))
            continue;
        DW_GROW(out->item, out->n, out->cap);
        out->item[out->n++] = (merge){.left = (uint32_t)left,
                                      .right = (uint32_t)right,
                                      .score = dw_gguf_element(m->score, t),
                                      .n_left = characters(s.ptr, at),
                                      .n_right = characters(s.ptr + at, s.len - at)};
    }
    if (out->n > first)
        qsort(out->item + first, out->n - first, sizeof *out->item, by_ids);
}

static void put_merges_of_scores(const maker *m)
{
    dw_map ids = {0};
    merges all = {0};
    for (size_t i = 0; i < m->n; i++)
        dw_map_put(&ids, m->token[i], (int64_t)i);
    for (size_t i = 0; i < m->n; i++)
        split_token(m, &ids, i, &all);
    for (size_t i = 0; i < all.n; i++)
        all.item[i].order = (uint32_t)i;
    if (all.n)
        qsort(all.item, all.n, sizeof *all.item, by_score);
    for (size_t i = 0; i < all.n; i++) {
        dw_text l = m->token[all.item[i].left], r = m->token[all.item[i].right];
        dw_buf_adds(m->out, i ? ",[" : "[");
        dw_json_put_str(m->out, l.ptr, l.len);
        dw_buf_addc(m->out, ',');
        dw_json_put_str(m->out, r.ptr, r.len);
        dw_buf_addc(m->out, ']');
    }
    dw_free(all.item);
    dw_map_finish(&ids);
}

/* "left right", with one space that is no part of either (a byte-level space is another letter). */
static dw_status put_merges(const maker *m, dw_err *err)
{
    const dw_text *line;
    size_t n;
    DW_TRY(dw_gguf_strings(m->g, "tokenizer.ggml.merges", &line, &n, err));
    if (!line)
        return dw_fail(err, DW_E_INPUT, "tokenizer.ggml.merges is missing");
    for (size_t i = 0; i < n; i++) {
        const char *space = line[i].len > 1 ? memchr(line[i].ptr + 1, ' ', line[i].len - 1) : NULL;
        if (!space || !dw_utf8_valid(line[i].ptr, line[i].len))
            return dw_fail(err, DW_E_INPUT,
                           "tokenizer.ggml.merges, entry %zu: no two tokens with a "
                           "space between them",
                           i);
        size_t left = (size_t)(space - line[i].ptr);
        dw_buf_adds(m->out, i ? ",[" : "[");
        dw_json_put_str(m->out, line[i].ptr, left);
        dw_buf_addc(m->out, ',');
        dw_json_put_str(m->out, space + 1, line[i].len - left - 1);
        dw_buf_addc(m->out, ']');
    }
    return DW_OK;
}

/* ---- tokenizer.json ---- */

static int type_of(const maker *m, size_t i)
{
    return m->type ? (int)dw_gguf_element(m->type, i) : NORMAL;
}

/* What is found in texts before anything else: control tokens, and those that users defined. */
static bool is_added(const maker *m, size_t i)
{
    int t = type_of(m, i);
    return t == CONTROL || t == USER_DEFINED || (t == UNKNOWN && m->sentencepiece);
}

static void put_added(const maker *m)
{
    bool any = false;
    dw_buf_adds(m->out, "\"added_tokens\":[");
    for (size_t i = 0; i < m->n; i++) {
        if (!is_added(m, i))
            continue;
        dw_buf_printf(m->out, "%s{\"id\":%zu,\"content\":", any ? "," : "", i);
        dw_json_put_str(m->out, m->token[i].ptr, m->token[i].len);
        dw_buf_printf(m->out,
                      ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":"
                      "false,\"special\":%s}",
                      type_of(m, i) == USER_DEFINED ? "false" : "true");
        any = true;
    }
    dw_buf_adds(m->out, "],");
}

static void put_template_token(const maker *m, int64_t id, const char *between)
{
    dw_text s = m->token[id];
    dw_buf_adds(m->out, between);
    dw_buf_adds(m->out, "{\"SpecialToken\":{\"id\":");
    dw_json_put_str(m->out, s.ptr, s.len);
    dw_buf_adds(m->out, ",\"type_id\":0}}");
}

static void put_template_id(const maker *m, int64_t id, const char *between)
{
    dw_text s = m->token[id];
    dw_buf_adds(m->out, between);
    dw_json_put_str(m->out, s.ptr, s.len);
    dw_buf_adds(m->out, ":{\"id\":");
    dw_json_put_str(m->out, s.ptr, s.len);
    dw_buf_printf(m->out, ",\"ids\":[%lld],\"tokens\":[", (long long)id);
    dw_json_put_str(m->out, s.ptr, s.len);
    dw_buf_adds(m->out, "]}");
}

/* What goes before and behind every text. */
static void put_post(const maker *m)
{
    bool bos = m->add_bos && m->bos >= 0, eos = m->add_eos && m->eos >= 0;
    if (!bos && !eos) {
        dw_buf_adds(m->out, "\"post_processor\":null,");
        return;
    }
    dw_buf_adds(m->out, "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[");
    if (bos)
        put_template_token(m, m->bos, "");
    dw_buf_adds(m->out, bos ? ",{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}"
                            : "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}");
    if (eos)
        put_template_token(m, m->eos, ",");
    dw_buf_adds(m->out, "],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"Sequence\":{"
                        "\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":{");
    if (bos)
        put_template_id(m, m->bos, "");
    if (eos && m->eos != m->bos)
        put_template_id(m, m->eos, bos ? "," : "");
    dw_buf_adds(m->out, "}},");
}

#define SPACE "\xe2\x96\x81" /* U+2581 */

static void put_spaces(const maker *m)
{
    static const char replace[] =
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SPACE "\"}";
    if (m->add_space)
        dw_buf_printf(
            m->out,
            "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\","
            "\"prepend\":\"" SPACE "\"},%s]},",
            replace);
    else
        dw_buf_printf(m->out, "\"normalizer\":%s,", replace);
    dw_buf_adds(m->out, "\"pre_tokenizer\":null,");
}

static void put_decoder(const maker *m)
{
    if (!m->sentencepiece) {
        dw_buf_adds(m->out, "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
                            "\"trim_offsets\":true,\"use_regex\":true},");
        return;
    }
    dw_buf_printf(
        m->out,
        "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":"
        "{\"String\":\"" SPACE "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":"
        "\"Fuse\"}%s]},",
        m->add_space ? ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}" : "");
}

static dw_status put_model(const maker *m, bool ignore_merges, dw_err *err)
{
    dw_buf_adds(m->out, "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
    if (m->sentencepiece && m->unk >= 0)
        dw_json_put_str(m->out, m->token[m->unk].ptr, m->token[m->unk].len);
    else
        dw_buf_adds(m->out, "null");
    dw_buf_printf(m->out,
                  ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":%s,"
                  "\"byte_fallback\":%s,\"ignore_merges\":%s,\"vocab\":{",
                  m->sentencepiece ? "true" : "false", m->sentencepiece ? "true" : "false",
                  ignore_merges ? "true" : "false");
    for (size_t i = 0; i < m->n; i++) {
        dw_buf_adds(m->out, i ? "," : "");
        dw_json_put_str(m->out, m->token[i].ptr, m->token[i].len);
        dw_buf_printf(m->out, ":%zu", i);
    }
    dw_buf_adds(m->out, "},\"merges\":[");
    if (m->sentencepiece)
        put_merges_of_scores(m);
    else
        DW_TRY(put_merges(m, err));
    dw_buf_adds(m->out, "]}}\n");
    return DW_OK;
}

static dw_status put_tokenizer(const maker *m, dw_err *err)
{
    bool ignore_merges = false;
    dw_buf_adds(m->out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,");
    put_added(m);
    if (m->sentencepiece)
        put_spaces(m);
    else
        DW_TRY(put_pre(m, &ignore_merges, err));
    put_post(m);
    put_decoder(m);
    return put_model(m, ignore_merges, err);
}

/* ---- tokenizer_config.json ---- */

static void put_named(const maker *m, dw_buf *b, const char *key, int64_t id)
{
    if (id < 0)
        return;
    dw_buf_printf(b, "  \"%s\": ", key);
    dw_json_put_str(b, m->token[id].ptr, m->token[id].len);
    dw_buf_adds(b, ",\n");
}

static dw_status put_config(const maker *m, dw_buf *b, dw_err *err)
{
    dw_text chat;
    bool there;
    DW_TRY(dw_gguf_str(m->g, "tokenizer.chat_template", &there, &chat, err));
    dw_buf_printf(b, "{\n  \"add_bos_token\": %s,\n  \"add_eos_token\": %s,\n",
                  m->add_bos ? "true" : "false", m->add_eos ? "true" : "false");
    put_named(m, b, "bos_token", m->bos);
    put_named(m, b, "eos_token", m->eos);
    put_named(m, b, "pad_token", m->pad);
    put_named(m, b, "unk_token", m->unk);
    if (there) {
        dw_buf_adds(b, "  \"chat_template\": ");
        dw_json_put_str(b, chat.ptr, chat.len);
        dw_buf_adds(b, ",\n");
    }
    dw_buf_adds(b, "  \"clean_up_tokenization_spaces\": false,\n  \"tokenizer_class\": "
                   "\"PreTrainedTokenizerFast\"\n}\n");
    return DW_OK;
}

/* ---- reading ---- */

static dw_status check_tokens(const maker *m, dw_err *err)
{
    dw_map seen = {0};
    dw_status st = DW_OK;
    for (size_t i = 0; i < m->n && st >= 0; i++) {
        int64_t other;
        if (!dw_utf8_valid(m->token[i].ptr, m->token[i].len) || m->token[i].len == 0)
            st = dw_fail(err, DW_E_INPUT, "tokenizer.ggml.tokens, entry %zu: %s", i,
                         m->token[i].len ? "not UTF-8" : "empty");
        else if (dw_map_get(&seen, m->token[i], &other))
            st =
                dw_fail(err, DW_E_INPUT, "tokenizer.ggml.tokens, entry %zu: the same as entry %lld",
                        i, (long long)other);
        dw_map_put(&seen, m->token[i], (int64_t)i);
    }
    dw_map_finish(&seen);
    return st;
}

/* An array of numbers, one for each token. */
static dw_status numbers(const maker *m, const char *key, const dw_gguf_field **out, dw_err *err)
{
    const dw_gguf_field *f = dw_gguf_find(m->g, key);
    *out = f;
    if (!f)
        return DW_OK;
    if (!f->array || f->type == DW_GGUF_STRING || f->n != m->n)
        return dw_fail(err, DW_E_INPUT, "%s: wanted %zu numbers, one for each token", key, m->n);
    for (size_t i = 0; i < m->n; i++)
        if (!isfinite(dw_gguf_element(f, i)))
            return dw_fail(err, DW_E_INPUT, "%s, entry %zu is %g", key, i, dw_gguf_element(f, i));
    return DW_OK;
}

static dw_status read_id(const maker *m, const char *key, int64_t *out, dw_err *err)
{
    bool there;
    *out = -1;
    DW_TRY(dw_gguf_int(m->g, key, 0, UINT32_MAX, &there, out, err));
    if (*out >= (int64_t)m->n)
        return dw_fail(err, DW_E_INPUT, "%s is %lld, the tokens end at %zu", key, (long long)*out,
                       m->n - 1);
    return DW_OK;
}

static dw_status read_model(maker *m, dw_err *err)
{
    dw_text model = {"", 0};
    bool there;
    DW_TRY(dw_gguf_str(m->g, "tokenizer.ggml.model", &there, &model, err));
    if (!there)
        return dw_fail(err, DW_E_INPUT, "tokenizer.ggml.model is missing");
    m->sentencepiece = dw_text_is(model, "llama");
    if (!m->sentencepiece && !dw_text_is(model, "gpt2"))
        return dw_fail(err, DW_E_INPUT,
                       "tokenizer.ggml.model \"%.*s\" is not supported; wanted gpt2 or llama",
                       (int)(model.len < 64 ? model.len : 64), model.ptr);
    m->add_bos = m->add_space = m->sentencepiece;
    DW_TRY(dw_gguf_bool(m->g, "tokenizer.ggml.add_bos_token", &there, &m->add_bos, err));
    DW_TRY(dw_gguf_bool(m->g, "tokenizer.ggml.add_eos_token", &there, &m->add_eos, err));
    return dw_gguf_bool(m->g, "tokenizer.ggml.add_space_prefix", &there, &m->add_space, err);
}

dw_status dw_gguf_tokenizer(dw_gguf *g, dw_buf *tokenizer, dw_buf *config, dw_err *err)
{
    maker m = {.g = g, .out = tokenizer};
    DW_TRY(read_model(&m, err));
    DW_TRY(dw_gguf_strings(g, "tokenizer.ggml.tokens", &m.token, &m.n, err));
    if (m.n == 0 || m.n > INT32_MAX)
        return dw_fail(err, DW_E_INPUT, "tokenizer.ggml.tokens: wanted at least one token");
    DW_TRY(check_tokens(&m, err));
    DW_TRY(numbers(&m, "tokenizer.ggml.token_type", &m.type, err));
    DW_TRY(numbers(&m, "tokenizer.ggml.scores", &m.score, err));
    if (m.sentencepiece && !m.score)
        return dw_fail(err, DW_E_INPUT, "tokenizer.ggml.scores is missing");
    DW_TRY(read_id(&m, "tokenizer.ggml.bos_token_id", &m.bos, err));
    DW_TRY(read_id(&m, "tokenizer.ggml.eos_token_id", &m.eos, err));
    DW_TRY(read_id(&m, "tokenizer.ggml.unknown_token_id", &m.unk, err));
    DW_TRY(read_id(&m, "tokenizer.ggml.padding_token_id", &m.pad, err));
    DW_TRY(put_tokenizer(&m, err));
    return put_config(&m, config, err);
}
