/* Reads the pre-tokenisers of tokenizer.json. */
#include "text/pretoken.h"

#include <string.h>

#include "base/alloc.h"
#include "text/normalize.h"
#include "text/regex.h"
#include "text/vocab.h"

#define GPT2_PATTERN                                                                               \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define WORDS_PATTERN(digits)                                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                           \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* ---- reading ---- */

static dw_status read_behavior(dw_pretoken_stage *s, const dw_json *o, const char *fallback,
                               dw_err *err)
{
    static const char *const name[] = {"Isolated", "Removed", "MergedWithPrevious",
                                       "MergedWithNext", "Contiguous"};
    const char *behavior;
    DW_TRY(dw_json_get_cstr(o, "behavior", fallback, &behavior, err));
    for (int i = 0; i < 5; i++)
        if (!strcmp(behavior, name[i])) {
            s->behavior = (dw_pretoken_behavior)i;
            return DW_OK;
        }
    return dw_fail(err, DW_E_INPUT,
                   "behavior \"%s\" is not supported (Isolated, Removed, MergedWithPrevious, "
                   "MergedWithNext and Contiguous are)",
                   behavior);
}

static const char *name_of(dw_text pattern)
{
    return dw_text_is(pattern, WORDS_PATTERN("\\p{N}{1,3}"))                  ? "Llama-3 pattern"
           : dw_text_is(pattern, WORDS_PATTERN("\\p{N}"))                     ? "Qwen2 pattern"
           : dw_text_is(pattern, "\\p{N}{1,3}")                               ? "DeepSeek pattern"
           : strstr(pattern.ptr, "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}") ? "GPT-4o pattern"
                                                                              : "own pattern";
}

static dw_status read_split(dw_pretoken *p, const dw_json *o, dw_err *err)
{
    dw_pretoken_stage *s = &p->stage[p->n++];
    dw_pattern pattern;
    s->kind = DW_PRETOKEN_SPLIT;
    DW_TRY(read_behavior(s, o, "", err));
    DW_TRY(dw_json_get_bool(o, "invert", false, &s->invert, err));
    DW_TRY(dw_pattern_read(o, &pattern, err));
    s->regex = pattern.regex;
    if (!pattern.regex) {
        s->string = dw_strndup(pattern.text.ptr, pattern.text.len);
        s->n_string = pattern.text.len;
    } else if (p->n == 1) {
        p->pattern = name_of(dw_json_str(dw_json_path(o, "pattern.Regex")));
    } else if (p->n == 2 && strcmp(p->pattern, "DeepSeek pattern") != 0) {
        p->pattern = "own pattern";
    }
    return DW_OK;
}

static dw_status read_digits(dw_pretoken *p, const dw_json *o, dw_err *err)
{
    bool individual;
    dw_pretoken_stage *s = &p->stage[p->n++];
    s->kind = DW_PRETOKEN_DIGITS;
    p->pattern = p->n == 1 ? "SmolLM2 pattern" : "own pattern";
    DW_TRY(dw_json_get_bool(o, "individual_digits", false, &individual, err));
    s->behavior = individual ? DW_PRETOKEN_ISOLATED : DW_PRETOKEN_CONTIGUOUS;
    return DW_OK;
}

static dw_status read_by_class(dw_pretoken *p, const char *type, const dw_json *o, dw_err *err)
{
    dw_pretoken_stage *s = &p->stage[p->n++];
    p->pattern = "own pattern";
    s->behavior = DW_PRETOKEN_REMOVED;
    s->kind = !strcmp(type, "Whitespace") ? DW_PRETOKEN_WHITESPACE : DW_PRETOKEN_WHITESPACE_SPLIT;
    if (strcmp(type, "Punctuation") != 0)
        return DW_OK;
    s->kind = DW_PRETOKEN_PUNCTUATION;
    return read_behavior(s, o, "Isolated", err);
}

dw_status dw_pretoken_read_scheme(const dw_json *o, dw_pretoken_scheme *out, dw_err *err)
{
    static const char *const name[] = {"always", "first", "never"};
    const char *scheme;
    bool prefix;
    DW_TRY(dw_json_get_bool(o, "add_prefix_space", true, &prefix, err));
    DW_TRY(dw_json_get_cstr(o, "prepend_scheme", prefix ? "always" : "never", &scheme, err));
    for (int i = 0; i < 3; i++)
        if (!strcmp(scheme, name[i])) {
            *out = (dw_pretoken_scheme)i;
            if (!prefix && i != DW_PRETOKEN_NEVER)
                return dw_fail(err, DW_E_INPUT,
                               "add_prefix_space is false and prepend_scheme \"%s\": one of them "
                               "is wrong",
                               scheme);
            return DW_OK;
        }
    return dw_fail(err, DW_E_INPUT, "prepend_scheme: wanted always, first or never, found \"%s\"",
                   scheme);
}

dw_status dw_pretoken_read_replacement(const dw_json *o, dw_text *out, dw_err *err)
{
    const dw_json *v = dw_json_get(o, "replacement");
    *out = DW_TEXT("\xe2\x96\x81");
    if (!v)
        return DW_OK;
    if (dw_json_kind(v) != DW_JSON_STRING)
        return dw_fail(err, DW_E_INPUT, "replacement: wanted a string, found %s",
                       dw_json_kind_name(v));
    *out = dw_json_str(v);
    if (!out->len || (size_t)dw_utf8_len(out->ptr, out->len) != out->len)
        return dw_fail(err, DW_E_INPUT, "replacement: wanted one character, found %s",
                       dw_vocab_quoted(*out).text);
    return DW_OK;
}

static dw_status read_metaspace(dw_pretoken *p, const dw_json *o, dw_err *err)
{
    dw_pretoken_stage *s = &p->stage[p->n++];
    dw_text replacement;
    s->kind = DW_PRETOKEN_METASPACE;
    p->pattern = p->n == 1 ? "Metaspace" : "own pattern";
    DW_TRY(dw_json_get_bool(o, "split", true, &s->split, err));
    DW_TRY(dw_pretoken_read_scheme(o, &s->scheme, err));
    DW_TRY(dw_pretoken_read_replacement(o, &replacement, err));
    s->string = dw_strndup(replacement.ptr, replacement.len);
    s->n_string = replacement.len;
    return DW_OK;
}

static dw_status read_bytelevel(dw_pretoken *p, const dw_json *o, dw_err *err)
{
    bool use_regex;
    dw_pretoken_stage *s = &p->stage[p->n++];
    s->kind = DW_PRETOKEN_BYTELEVEL;
    DW_TRY(dw_json_get_bool(o, "use_regex", true, &use_regex, err));
    DW_TRY(dw_json_get_bool(o, "add_prefix_space", true, &s->prefix_space, err));
    if (p->n == 1)
        p->pattern = use_regex ? "GPT-2 pattern" : "no pattern";
    else if (use_regex && p->stage[0].kind == DW_PRETOKEN_SPLIT)
        p->pattern = "own pattern";
    return use_regex ? dw_regex_compile(DW_TEXT(GPT2_PATTERN), &s->regex, err) : DW_OK;
}

static dw_status read_one(dw_pretoken *p, const dw_json *o, int depth, dw_err *err);

static dw_status read_sequence(dw_pretoken *p, const dw_json *o, int depth, dw_err *err)
{
    const dw_json *list = dw_json_get(o, "pretokenizers");
    if (!list || dw_json_kind(list) != DW_JSON_ARRAY)
        return dw_fail(err, DW_E_INPUT, "Sequence: pretokenizers: wanted an array, found %s",
                       dw_json_kind_name(list));
    for (const dw_json *e = dw_json_first(list); e; e = dw_json_next(e))
        DW_TRY(read_one(p, e, depth + 1, err));
    return DW_OK;
}

static dw_status read_one(dw_pretoken *p, const dw_json *o, int depth, dw_err *err)
{
    const char *type;
    DW_TRY(dw_json_get_cstr(o, "type", NULL, &type, err));
    if (!type)
        return dw_fail(err, DW_E_INPUT, "type is missing");
    if (p->n == DW_PRETOKEN_STAGES || depth > 4)
        return dw_fail(err, DW_E_INPUT, "more than %d stages", DW_PRETOKEN_STAGES);
    if (p->n && p->stage[p->n - 1].kind == DW_PRETOKEN_BYTELEVEL)
        return dw_fail(err, DW_E_INPUT, "%s after ByteLevel is not supported", type);
    if (!strcmp(type, "Sequence"))
        return read_sequence(p, o, depth, err);
    dw_status st;
    if (!strcmp(type, "Split"))
        st = read_split(p, o, err);
    else if (!strcmp(type, "Digits"))
        st = read_digits(p, o, err);
    else if (!strcmp(type, "ByteLevel"))
        st = read_bytelevel(p, o, err);
    else if (!strcmp(type, "Metaspace"))
        st = read_metaspace(p, o, err);
    else if (!strcmp(type, "Punctuation") || !strcmp(type, "Whitespace") ||
             !strcmp(type, "WhitespaceSplit"))
        st = read_by_class(p, type, o, err);
    else
        st = dw_fail(err, DW_E_INPUT,
                     "not supported (ByteLevel, Metaspace, Split, Digits, Punctuation, Whitespace, "
                     "WhitespaceSplit and Sequence are)");
    if (st)
        dw_err_prefix(err, "%s", type);
    return st;
}

dw_status dw_pretoken_read(dw_pretoken *p, const dw_json *object, dw_err *err)
{
    dw_status st = DW_OK;
    p->pattern = "no pattern";
    if (!object || dw_json_kind(object) == DW_JSON_NULL)
        return DW_OK;
    if (dw_json_kind(object) != DW_JSON_OBJECT)
        st = dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(object));
    if (!st)
        st = read_one(p, object, 0, err);
    if (st)
        dw_err_prefix(err, "pre_tokenizer");
    p->byte_level = p->n && p->stage[p->n - 1].kind == DW_PRETOKEN_BYTELEVEL;
    return st;
}

static void free_stage(dw_pretoken_stage *s)
{
    dw_regex_free(s->regex);
    dw_free(s->string);
}

void dw_pretoken_finish(dw_pretoken *p)
{
    for (size_t i = 0; i < p->n; i++)
        free_stage(&p->stage[i]);
    p->n = 0;
}

void dw_pretoken_scratch_finish(dw_pretoken_scratch *s)
{
    dw_regex_scratch_free(s->match);
    for (int i = 0; i < DW_PRETOKEN_STAGES; i++)
        dw_buf_finish(&s->text[i]);
    *s = (dw_pretoken_scratch){0};
}
