/* Pre-tokenisers of tokenizer.json: Split, Digits, ByteLevel and sequences of them. */
#include "text/pretoken.h"

#include <string.h>

#include "base/alloc.h"
#include "text/regex.h"
#include "text/unicode.h"

#define GPT2_PATTERN                                                                               \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define WORDS_PATTERN(digits)                                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                           \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* ---- reading ---- */

static dw_status read_split(dw_pretoken *p, const dw_json *o, dw_err *err)
{
    const char *behavior;
    bool invert;
    DW_TRY(dw_json_get_cstr(o, "behavior", "", &behavior, err));
    if (strcmp(behavior, "Isolated") != 0)
        return dw_fail(err, DW_E_INPUT, "Split with behavior \"%s\" is not supported (Isolated is)",
                       behavior);
    DW_TRY(dw_json_get_bool(o, "invert", false, &invert, err));
    if (invert)
        return dw_fail(err, DW_E_INPUT, "Split with invert is not supported");
    const dw_json *pattern = dw_json_get(o, "pattern");
    const dw_json *regex = dw_json_get(pattern, "Regex");
    if (!regex || dw_json_kind(regex) != DW_JSON_STRING)
        return dw_fail(err, DW_E_INPUT,
                       "Split with a pattern of kind \"%s\" is not supported (Regex is)",
                       dw_json_first(pattern) ? dw_json_key(dw_json_first(pattern)) : "");
    dw_text text = dw_json_str(regex);
    p->pattern = dw_text_is(text, WORDS_PATTERN("\\p{N}{1,3}")) ? "Llama-3 pattern"
                 : dw_text_is(text, WORDS_PATTERN("\\p{N}"))    ? "Qwen2 pattern"
                                                                : "own pattern";
    p->stage[p->n++].kind = DW_PRETOKEN_SPLIT;
    return dw_regex_compile(text, &p->stage[p->n - 1].regex, err);
}

static dw_status read_digits(dw_pretoken *p, const dw_json *o, dw_err *err)
{
    dw_pretoken_stage *s = &p->stage[p->n++];
    s->kind = DW_PRETOKEN_DIGITS;
    p->pattern = p->n == 1 ? "SmolLM2 pattern" : "own pattern";
    return dw_json_get_bool(o, "individual_digits", false, &s->individual, err);
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
    if (!strcmp(type, "Split"))
        return read_split(p, o, err);
    if (!strcmp(type, "Digits"))
        return read_digits(p, o, err);
    if (!strcmp(type, "ByteLevel"))
        return read_bytelevel(p, o, err);
    return dw_fail(err, DW_E_INPUT,
                   "%s is not supported (ByteLevel, Split, Digits and Sequence are)", type);
}

dw_status dw_pretoken_read(dw_pretoken *p, const dw_json *object, dw_err *err)
{
    dw_status st = DW_OK;
    p->pattern = "own pattern";
    if (!object || dw_json_kind(object) != DW_JSON_OBJECT)
        st = dw_fail(err, DW_E_INPUT, "wanted an object, found %s (byte-level BPE needs ByteLevel)",
                     dw_json_kind_name(object));
    if (!st)
        st = read_one(p, object, 0, err);
    if (!st && (!p->n || p->stage[p->n - 1].kind != DW_PRETOKEN_BYTELEVEL))
        st = dw_fail(err, DW_E_INPUT, "ByteLevel is missing at the end");
    if (st)
        dw_err_prefix(err, "pre_tokenizer");
    return st;
}

void dw_pretoken_finish(dw_pretoken *p)
{
    for (size_t i = 0; i < p->n; i++)
        dw_regex_free(p->stage[i].regex);
    p->n = 0;
}

void dw_pretoken_scratch_finish(dw_pretoken_scratch *s)
{
    dw_regex_scratch_free(s->match);
    dw_buf_finish(&s->prefixed);
    *s = (dw_pretoken_scratch){0};
}

/* ---- running ---- */

typedef struct run {
    const dw_pretoken *p;
    dw_pretoken_scratch *s;
    dw_pretoken_fn fn;
    void *ctx;
} run;

static dw_status stage(const run *r, size_t i, dw_text text, dw_err *err);

static dw_status pass_on(const run *r, size_t i, dw_text text, size_t from, size_t to, dw_err *err)
{
    dw_text piece = {text.ptr + from, to - from};
    if (!piece.len)
        return DW_OK;
    if (i + 1 == r->p->n)
        return r->fn(r->ctx, piece.ptr, piece.len, err);
    return stage(r, i + 1, piece, err);
}

static dw_status split(const run *r, size_t i, dw_text text, dw_err *err)
{
    const dw_regex *regex = r->p->stage[i].regex;
    size_t done = 0;
    while (done < text.len) {
        bool found;
        size_t start, end;
        DW_TRY(dw_regex_next(regex, r->s->match, text, done, &found, &start, &end, err));
        if (!found)
            break;
        DW_TRY(pass_on(r, i, text, done, start, err));
        DW_TRY(pass_on(r, i, text, start, end, err));
        /* Look-behind can put an end before its start; such a match moves nothing. */
        done = end > done ? end : text.len;
    }
    return pass_on(r, i, text, done, text.len, err);
}

static dw_status digits(const run *r, size_t i, dw_text text, dw_err *err)
{
    size_t from = 0, at = 0;
    bool was = false;
    while (at < text.len) {
        int len;
        bool is = dw_unicode_is_numeric(dw_unicode_at(text.ptr + at, text.len - at, &len));
        if (at > from && (is != was || (is && r->p->stage[i].individual))) {
            DW_TRY(pass_on(r, i, text, from, at, err));
            from = at;
        }
        was = is;
        at += (size_t)len;
    }
    return pass_on(r, i, text, from, text.len, err);
}

static dw_status bytelevel(const run *r, size_t i, dw_text text, dw_err *err)
{
    const dw_pretoken_stage *s = &r->p->stage[i];
    if (s->prefix_space && text.ptr[0] != ' ') {
        dw_buf_clear(&r->s->prefixed);
        dw_buf_addc(&r->s->prefixed, ' ');
        dw_buf_add(&r->s->prefixed, text.ptr, text.len);
        text = dw_buf_text(&r->s->prefixed);
    }
    return s->regex ? split(r, i, text, err) : pass_on(r, i, text, 0, text.len, err);
}

static dw_status stage(const run *r, size_t i, dw_text text, dw_err *err)
{
    switch (r->p->stage[i].kind) {
    case DW_PRETOKEN_SPLIT:
        return split(r, i, text, err);
    case DW_PRETOKEN_DIGITS:
        return digits(r, i, text, err);
    default:
        return bytelevel(r, i, text, err);
    }
}

dw_status dw_pretoken_run(const dw_pretoken *p, dw_pretoken_scratch *s, dw_text text,
                          dw_pretoken_fn fn, void *ctx, dw_err *err)
{
    if (!s->match)
        s->match = dw_regex_scratch_create();
    run r = {p, s, fn, ctx};
    return text.len ? stage(&r, 0, text, err) : DW_OK;
}
