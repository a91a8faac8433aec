/* How byte-level tokenizers split words, by the names that ggml has for it. */
#include <string.h>

#include "model/gguf.h"

#define LLAMA3                                                                                     \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "                     \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QWEN2                                                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "                          \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define DEEPSEEK3                                                                                  \
    "[!\"#$%&'()*+,\\-./"                                                                          \
    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"              \
    " ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define O200K                                                                                      \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?"  \
    "i:'s|'t|'re|'ve|'m|'ll|'d)?|"                                                                 \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?"  \
    "i:'s|'t|'re|'ve|'m|'ll|'d)?|"                                                                 \
    "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

const dw_gguf_pre dw_gguf_pres[] = {
    {"gpt-2", {NULL}, false, false, false},
    {"smollm", {NULL}, true, false, false},
    {"llama-bpe", {LLAMA3}, false, false, true},
    {"llama3", {LLAMA3}, false, false, true},
    {"smaug-bpe", {LLAMA3}, false, false, true},
    {"qwen2", {QWEN2}, false, true, false},
    {"deepseek-r1-qwen", {QWEN2}, false, true, false},
    {"deepseek-v3",
     {"\\p{N}{1,3}",
      "[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f\xe3\x82\xa0-\xe3\x83\xbf]+", DEEPSEEK3},
     false,
     false,
     false},
    {"gpt-4o", {O200K}, false, false, false},
    {NULL, {NULL}, false, false, false},
};

static bool is_type(const dw_json *v, const char *name)
{
    const dw_json *type = dw_json_get(v, "type");
    return dw_json_kind(type) == DW_JSON_STRING && dw_text_is(dw_json_str(type), name);
}

static bool is_true(const dw_json *v, const char *key, bool missing)
{
    const dw_json *x = dw_json_get(v, key);
    return x ? dw_json_kind(x) == DW_JSON_BOOL && dw_json_bool(x) : missing;
}

/* The steps of a pre-tokeniser, one where it is no sequence. */
typedef struct steps {
    const dw_json *step[8];
    size_t n;
} steps;

static bool steps_of(const dw_json *pre, steps *out)
{
    *out = (steps){.n = 0};
    if (!is_type(pre, "Sequence")) {
        out->step[out->n++] = pre;
        return true;
    }
    for (const dw_json *v = dw_json_first(dw_json_get(pre, "pretokenizers")); v;
         v = dw_json_next(v)) {
        if (out->n == 8)
            return false;
        out->step[out->n++] = v;
    }
    return out->n > 0;
}

static bool is_split(const dw_json *v, const char *regex)
{
    const dw_json *pattern = dw_json_get(dw_json_get(v, "pattern"), "Regex");
    return is_type(v, "Split") && dw_json_kind(pattern) == DW_JSON_STRING &&
           dw_text_is(dw_json_str(pattern), regex);
}

static bool is_pre(const dw_gguf_pre *p, const steps *s)
{
    size_t n = 0;
    if (p->digits && !(s->n > n && is_type(s->step[n], "Digits") &&
                       is_true(s->step[n++], "individual_digits", false)))
        return false;
    for (int k = 0; k < 3 && p->split[k]; k++)
        if (n >= s->n || !is_split(s->step[n++], p->split[k]))
            return false;
    return n + 1 == s->n && is_type(s->step[n], "ByteLevel") &&
           is_true(s->step[n], "use_regex", true) == !p->split[0] &&
           !is_true(s->step[n], "add_prefix_space", true);
}

const char *dw_gguf_pre_of(const dw_json *tokenizer)
{
    const dw_json *normalizer = dw_json_get(tokenizer, "normalizer");
    steps s;
    if (!steps_of(dw_json_get(tokenizer, "pre_tokenizer"), &s))
        return NULL;
    for (const dw_gguf_pre *p = dw_gguf_pres; p->name; p++) {
        bool nfc = dw_json_kind(normalizer) == DW_JSON_OBJECT;
        if (nfc == p->nfc && (!nfc || is_type(normalizer, "NFC")) && is_pre(p, &s))
            return p->name;
    }
    return NULL;
}
