/* Broken and unsupported tokenizer files: each with the exact message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "text/tokenizer.h"

/* A sound file; every row of the zoo replaces one piece of it. */
static const char good[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"added_tokens\":[{\"id\":4,\"content\":\"<e>\","
    "\"special\":true,\"normalized\":false}],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
    "\"ByteLevel\",\"add_prefix_space\":false},\"post_processor\":null,\"decoder\":{\"type\":"
    "\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"aba\":3},"
    "\"merges\":[\"a b\",[\"ab\",\"a\"]]}}";

#define BYTELEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define SPLIT(regex)                                                                               \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"        \
    "\"" regex "\"},\"behavior\":\"Isolated\"}," BYTELEVEL "]}"
#define NORMALIZERS                                                                                \
    "not supported (NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, "      \
    "Precompiled and Sequence are)"
#define PRETOKENIZERS                                                                              \
    "not supported (ByteLevel, Metaspace, Split, Digits, Punctuation, Whitespace, "                \
    "WhitespaceSplit and Sequence are)"
#define DECODERS                                                                                   \
    "not supported (ByteLevel, Metaspace, ByteFallback, Fuse, Strip, Replace and Sequence are)"
#define TEMPLATE(single, tokens)                                                                   \
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[" single                      \
    "],\"special_tokens\":{" tokens "}}"

static const struct {
    const char *old, *new, *want;
} zoo[] = {
    {good, "[1]", "wanted an object, found an array"},
    {good, "{\"version\":\"1.0\"",
     "line 1, column 17: found the end of the text, wanted ',' or '}' after a value"},
    {"\"1.0\"", "\"2.0\"", "version \"2.0\" is not supported (\"1.0\" is)"},
    {"\"normalizer\":null", "\"normalizer\":{\"type\":\"Nmt\"}", "normalizer: Nmt: " NORMALIZERS},
    {"\"normalizer\":null",
     "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":"
     "\"BertNormalizer\"}]}",
     "normalizer: BertNormalizer: " NORMALIZERS},
    {"\"decoder\":{\"type\":\"ByteLevel\"}", "\"decoder\":{\"type\":\"CTC\"}",
     "decoder: CTC: " DECODERS},
    {"\"decoder\":{\"type\":\"ByteLevel\"}", "\"decoder\":{\"type\":\"WordPiece\"}",
     "decoder: WordPiece: " DECODERS},
    {"\"pre_tokenizer\":" BYTELEVEL, "\"pre_tokenizer\":7",
     "pre_tokenizer: wanted an object, found a number"},
    {BYTELEVEL, "{\"type\":\"BertPreTokenizer\"}",
     "pre_tokenizer: BertPreTokenizer: " PRETOKENIZERS},
    {BYTELEVEL, "{}", "pre_tokenizer: type is missing"},
    {BYTELEVEL, "{\"type\":\"Sequence\",\"pretokenizers\":[" BYTELEVEL ",{\"type\":\"Digits\"}]}",
     "pre_tokenizer: Digits after ByteLevel is not supported"},
    {BYTELEVEL, "{\"type\":\"Sequence\",\"pretokenizers\":7}",
     "pre_tokenizer: Sequence: pretokenizers: wanted an array, found a number"},
    {BYTELEVEL, "{\"type\":\"ByteLevel\",\"use_regex\":1}",
     "pre_tokenizer: ByteLevel: use_regex: wanted true or false, found a number"},
    {BYTELEVEL, "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Kept\"}",
     "pre_tokenizer: Split: behavior \"Kept\" is not supported (Isolated, Removed, "
     "MergedWithPrevious, MergedWithNext and Contiguous are)"},
    {BYTELEVEL,
     "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Isolated\",\"invert\":1}",
     "pre_tokenizer: Split: invert: wanted true or false, found a number"},
    {BYTELEVEL, "{\"type\":\"Split\",\"pattern\":{\"Glob\":\" \"},\"behavior\":\"Isolated\"}",
     "pre_tokenizer: Split: pattern: wanted {\"String\": ...} or {\"Regex\": ...}, found Glob"},
    {BYTELEVEL, SPLIT("(a"),
     "pre_tokenizer: Split: the pattern does not compile: missing closing "
     "parenthesis"},
    {BYTELEVEL, SPLIT("a*"), "pre_tokenizer: Split: the pattern can match the empty text"},
    {BYTELEVEL, SPLIT(""), "pre_tokenizer: Split: the pattern has 0 bytes, wanted 1 .. 8192"},
    {BYTELEVEL, SPLIT("\\\\w+"),
     "pre_tokenizer: Split: the pattern's escape '\\w' at byte 0 is not supported"},
    {BYTELEVEL, SPLIT("(a)\\\\1"),
     "pre_tokenizer: Split: the pattern's escape '\\1' at byte 3 is not supported"},
    {BYTELEVEL, SPLIT("\\\\p{Greek}"),
     "pre_tokenizer: Split: the pattern's property '\\p{Greek}' at byte 0 is not supported"},
    {BYTELEVEL, SPLIT("a|[a-z&&[b]]"),
     "pre_tokenizer: Split: the pattern's class '[a-z&' at byte 2 is not supported"},
    {BYTELEVEL, SPLIT("(?R)a"),
     "pre_tokenizer: Split: the pattern's group '(?R)' at byte 0 is not supported"},
    {BYTELEVEL, SPLIT("(*ANY)a"),
     "pre_tokenizer: Split: the pattern's verb '(*' at byte 0 is not supported"},
    {BYTELEVEL, SPLIT("a{1,2}+"),
     "pre_tokenizer: Split: the pattern's quantifier '{1,2}+' at byte 1 is not supported"},
    {"\"type\":\"BPE\",", "", "model: nothing is not supported (BPE and Unigram are)"},
    {"\"BPE\"", "\"Unigram\"", "model: Unigram with the pre-tokenizer ByteLevel is not supported"},
    {"\"BPE\"", "\"BPE\",\"dropout\":0.1",
     "model: dropout 0.1 is not supported: ids would be random"},
    {"\"BPE\"", "\"BPE\",\"byte_fallback\":true",
     "model: byte_fallback with the pre-tokenizer ByteLevel is not supported (every byte has a "
     "token there)"},
    {"\"BPE\"", "\"BPE\",\"end_of_word_suffix\":\"</w>\"",
     "model: end_of_word_suffix \"</w>\" is not supported (models of language have none)"},
    {"\"BPE\"", "\"BPE\",\"unk_token\":\"<unk>\"",
     "model: unk_token: \"<unk>\" is not in model.vocab"},
    {"\"BPE\"", "\"BPE\",\"ignore_merges\":\"yes\"",
     "model: ignore_merges: wanted true or false, found a string"},
    {"{\"a\":0,\"b\":1,\"ab\":2,\"aba\":3}", "[\"a\"]",
     "model.vocab: wanted an object of token: id, found an array"},
    {"{\"a\":0,\"b\":1,\"ab\":2,\"aba\":3}", "{}", "model.vocab: holds no token"},
    {"\"aba\":3", "\"aba\":2", "model.vocab: \"ab\" and \"aba\" have the same id 2"},
    {"\"aba\":3", "\"aba\":-1",
     "model.vocab: the id of \"aba\" is -1, outside 0 .. 1031 (twice the number of tokens and "
     "1024, at most 4194303)"},
    {"\"aba\":3", "\"aba\":2000000000",
     "model.vocab: the id of \"aba\" is 2000000000, outside 0 .. 1031 (twice the number of tokens "
     "and 1024, at most 4194303)"},
    {"\"aba\":3", "\"aba\":3.5", "model.vocab: the id of \"aba\": wanted an integer, found 3.5"},
    {"\"aba\":3", "\"aba\":\"3\"",
     "model.vocab: the id of \"aba\": wanted an integer, found \"3\""},
    {"\"aba\":3", "\"\":3", "model.vocab: a token is empty"},
    {"{\"a\":0,\"b\":1,\"ab\":2,\"aba\":3}", "{\"ab\":2}",
     "model.vocab: no single byte has a token, so this is not a byte-level vocabulary"},
    {"[\"a b\",[\"ab\",\"a\"]]", "{}", "model.merges: wanted an array, found an object"},
    {",\"merges\":[\"a b\",[\"ab\",\"a\"]]", "", "model.merges: wanted an array, found nothing"},
    {"\"a b\"", "\"a c\"", "model.merges[0]: the token \"c\" is not in model.vocab"},
    {"\"a b\"", "\"b a\"", "model.merges[0]: the result \"ba\" is not in model.vocab"},
    {"\"a b\"", "\"ab\"",
     "model.merges[0]: wanted two tokens with one space between them, found \"ab\""},
    {"\"a b\"", "\"a b c\"",
     "model.merges[0]: wanted two tokens with one space between them, found \"a b c\""},
    {"\"a b\"", "7", "model.merges[0]: wanted \"a b\" or [\"a\", \"b\"], found a number"},
    {"[\"ab\",\"a\"]", "[\"ab\"]", "model.merges[1]: wanted an array of two strings"},
    {"[\"ab\",\"a\"]", "\"a b\"", "model.merges[1]: \"a\" and \"b\" are merged at 0 already"},
    {"\"added_tokens\":[", "\"added_tokens\":7,\"x\":[",
     "added_tokens: wanted an array, found a number"},
    {"\"id\":4,", "", "added_tokens[0]: id: wanted an integer, found nothing"},
    {"\"id\":4", "\"id\":3", "added_tokens[0]: \"aba\" and \"<e>\" have the same id 3"},
    {"\"content\":\"<e>\"", "\"content\":\"ab\"",
     "added_tokens[0]: \"ab\" has id 4 here and id 2 in the vocabulary"},
    {"\"content\":\"<e>\"", "\"content\":\"\"",
     "added_tokens[0]: content: wanted a string of at least one character, found an empty one"},
    {"\"special\":true", "\"special\":1",
     "added_tokens[0]: special: wanted true or false, found a number"},
    {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":4,\"content\":\"<e>\"},",
     "added_tokens[1]: \"<e>\" is there already"},
    {"\"post_processor\":null", "\"post_processor\":{\"type\":\"RobertaProcessing\"}",
     "post_processor: RobertaProcessing is not supported (ByteLevel, TemplateProcessing and "
     "Sequence are)"},
    {"\"post_processor\":null", TEMPLATE("", ""),
     "post_processor: TemplateProcessing: single: wanted Sequence A once, found it 0 times"},
    {"\"post_processor\":null",
     TEMPLATE("{\"SpecialToken\":{\"id\":\"<e>\"}},{\"Sequence\":{\"id\":\"A\"}}", ""),
     "post_processor: TemplateProcessing: special_tokens has no ids for \"<e>\""},
    {"\"post_processor\":null",
     TEMPLATE("{\"SpecialToken\":{\"id\":\"<e>\"}},{\"Sequence\":{\"id\":\"A\"}}",
              "\"<e>\":{\"ids\":[99]}"),
     "post_processor: TemplateProcessing: \"<e>\": 99 is the id of no token"},
    {"\"post_processor\":null", TEMPLATE("{\"Sequence\":{\"id\":\"B\"}}", ""),
     "post_processor: TemplateProcessing: single: wanted SpecialToken or Sequence A, found "
     "Sequence"},
};

/* A sound Unigram file with a stage of every kind, and what is wrong with its relatives. */
#define MAP "BAAAAAAAAABhAA=="
static const char unigram[] =
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true,"
    "\"normalized\":false}],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
    "\"Precompiled\",\"precompiled_charsmap\":\"" MAP "\"},{\"type\":\"Replace\",\"pattern\":{"
    "\"Regex\":\" {2,}\"},\"content\":\" \"},{\"type\":\"Prepend\",\"prepend\":\"b\"},{\"type\":"
    "\"Strip\",\"strip_left\":true,\"strip_right\":true}]},\"pre_tokenizer\":{\"type\":"
    "\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\",\"split\":true},"
    "\"post_processor\":null,\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
    "\"Replace\","
    "\"pattern\":{\"String\":\"_\"},\"content\":\" "
    "\"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
    "{\"type\":\"Strip\",\"content\":\" "
    "\",\"start\":1,\"stop\":0}]},\"model\":{\"type\":\"Unigram\","
    "\"unk_id\":0,\"byte_fallback\":false,\"vocab\":[[\"<unk>\",0],[\"a\",-1.5],[\"_\",-2],[\"ab\","
    "-3]]}}";

static const struct {
    const char *old, *new, *want;
} unigram_zoo[] = {
    {"-3]", "1e7]",
     "model.vocab[3]: the score of \"ab\" is 1e+07, wanted a logarithm of a probability (-1000000 "
     ".. 1000000)"},
    {"-3]", "-1e300]",
     "model.vocab[3]: the score of \"ab\" is -1e+300, wanted a logarithm of a probability "
     "(-1000000 .. 1000000)"},
    {"-3]", "NaN]", "line 1, column 770: found 'N', wanted a value"},
    {"-3]", "1e999]", "line 1, column 770: number is too large"},
    {"-3]", "\"-3\"]", "model.vocab[3]: wanted [\"token\", score]"},
    {"-3]", "null]", "model.vocab[3]: wanted [\"token\", score]"},
    {"-3]", "-3,0]", "model.vocab[3]: wanted [\"token\", score]"},
    {"[\"ab\",-3]", "[\"ab\"]", "model.vocab[3]: wanted [\"token\", score]"},
    {"[\"ab\",-3]", "\"ab\"", "model.vocab[3]: wanted [\"token\", score]"},
    {"[\"ab\",-3]", "[3,-3]", "model.vocab[3]: wanted [\"token\", score]"},
    {"\"ab\"", "\"\"", "model.vocab[3]: the token is empty"},
    {"\"ab\"", "\"a\"", "model.vocab: \"a\" has id 3 here and id 1 in the vocabulary"},
    {"[[\"<unk>\",0],[\"a\",-1.5],[\"_\",-2],[\"ab\",-3]]", "{\"a\":0}",
     "model.vocab: wanted an array of [token, score], found an object"},
    {"[[\"<unk>\",0],[\"a\",-1.5],[\"_\",-2],[\"ab\",-3]]", "[]", "model.vocab: holds no token"},
    {"\"unk_id\":0", "\"unk_id\":4", "model: unk_id: 4 is outside 0 .. 3"},
    {"\"unk_id\":0", "\"unk_id\":-1", "model: unk_id: -1 is outside 0 .. 3"},
    {"\"unk_id\":0", "\"unk_id\":\"<unk>\"", "model: unk_id: wanted an integer, found a string"},
    {"\"byte_fallback\":false", "\"byte_fallback\":0",
     "model: byte_fallback: wanted true or false, found a number"},
    {"\"Unigram\"", "\"WordPiece\"", "model: WordPiece is not supported (BPE and Unigram are)"},
    {"\"Unigram\"", "\"WordLevel\"", "model: WordLevel is not supported (BPE and Unigram are)"},
    {MAP, "", "normalizer: Precompiled: precompiled_charsmap: 0 bytes, wanted at least 4"},
    {MAP, "abc",
     "normalizer: Precompiled: precompiled_charsmap: 3 characters of base64, wanted a multiple of "
     "4"},
    {MAP, "AAA!", "normalizer: Precompiled: precompiled_charsmap: character 3 is not base64"},
    {MAP, "A=AA", "normalizer: Precompiled: precompiled_charsmap: character 1 is not base64"},
    {MAP, "AAA=", "normalizer: Precompiled: precompiled_charsmap: 2 bytes, wanted at least 4"},
    {MAP, "AAAAAA==",
     "normalizer: Precompiled: precompiled_charsmap: a trie of 0 bytes in a map of 4, wanted a "
     "multiple of 4 from 4 to 0"},
    {MAP, "/////w==",
     "normalizer: Precompiled: precompiled_charsmap: a trie of 4294967295 bytes in a map of 4, "
     "wanted a multiple of 4 from 4 to 0"},
    {MAP, "AwAAAAAAAABhAA==",
     "normalizer: Precompiled: precompiled_charsmap: a trie of 3 bytes in a map of 10, wanted a "
     "multiple of 4 from 4 to 6"},
    {MAP, "BAAAAAAVAABhAA==",
     "normalizer: Precompiled: precompiled_charsmap: unit 0 points at unit 5 of 1"},
    {MAP, "CAAAAAAFAAAJAACAYQA=",
     "normalizer: Precompiled: precompiled_charsmap: unit 1 names byte 9 of the replacements, "
     "which is no start of one (2 bytes)"},
    {MAP, "CAAAAAAFAAABAACAw6kA",
     "normalizer: Precompiled: precompiled_charsmap: unit 1 names byte 1 of the replacements, "
     "which is no start of one (3 bytes)"},
    {MAP, "BAAAAAAAAAD/AA==",
     "normalizer: Precompiled: precompiled_charsmap: the replacements are not UTF-8"},
    {"\"precompiled_charsmap\":\"" MAP "\"", "\"precompiled_charsmap\":null",
     "normalizer: Precompiled: precompiled_charsmap: wanted a string, found null"},
    {"\"Regex\":\" {2,}\"", "\"Regex\":\"x*\"",
     "normalizer: Replace: the pattern can match the empty text"},
    {"\"Regex\":\" {2,}\"", "\"String\":\"\"", "normalizer: Replace: pattern: the string is empty"},
    {"{\"Regex\":\" {2,}\"}", "\" \"",
     "normalizer: Replace: pattern: wanted {\"String\": ...} or {\"Regex\": ...}, found a string"},
    {",\"content\":\" \"},{\"type\":\"Prepend\"", "},{\"type\":\"Prepend\"",
     "normalizer: Replace: content: wanted a string, found nothing"},
    {"\"prepend\":\"b\"", "\"prepend\":7",
     "normalizer: Prepend: prepend: wanted a string, found a number"},
    {"\"strip_left\":true", "\"strip_left\":1",
     "normalizer: Strip: strip_left: wanted true or false, found a number"},
    {"\"type\":\"Strip\",\"strip_left\"", "\"type\":7,\"strip_left\"",
     "normalizer: type: wanted a string, found a number"},
    {"{\"type\":\"Prepend\",\"prepend\":\"b\"}", "7",
     "normalizer: wanted an object, found a number"},
    {"{\"type\":\"Prepend\",\"prepend\":\"b\"}", "{\"type\":\"Sequence\"}",
     "normalizer: Sequence: normalizers: wanted an array, found nothing"},
    {"\"replacement\":\"_\"", "\"replacement\":\"__\"",
     "pre_tokenizer: Metaspace: replacement: wanted one character, found \"__\""},
    {"\"replacement\":\"_\"", "\"replacement\":\"\"",
     "pre_tokenizer: Metaspace: replacement: wanted one character, found \"\""},
    {"\"replacement\":\"_\"", "\"replacement\":95",
     "pre_tokenizer: Metaspace: replacement: wanted a string, found a number"},
    {"\"prepend_scheme\":\"first\"", "\"prepend_scheme\":\"last\"",
     "pre_tokenizer: Metaspace: prepend_scheme: wanted always, first or never, found \"last\""},
    {"\"prepend_scheme\":\"first\"", "\"prepend_scheme\":\"first\",\"add_prefix_space\":false",
     "pre_tokenizer: Metaspace: add_prefix_space is false and prepend_scheme \"first\": one of "
     "them "
     "is wrong"},
    {"\"split\":true", "\"split\":\"yes\"",
     "pre_tokenizer: Metaspace: split: wanted true or false, found a string"},
    {"\"type\":\"Metaspace\"", "\"type\":\"UnicodeScripts\"",
     "pre_tokenizer: UnicodeScripts: " PRETOKENIZERS},
    {"\"type\":\"Metaspace\"", "\"type\":\"Punctuation\",\"behavior\":\"Kept\"",
     "pre_tokenizer: Punctuation: behavior \"Kept\" is not supported (Isolated, Removed, "
     "MergedWithPrevious, MergedWithNext and Contiguous are)"},
    {"\"content\":\" \",\"start\"", "\"content\":\"  \",\"start\"",
     "decoder: Strip: content: wanted one character, found \"  \""},
    {"\"start\":1", "\"start\":-1", "decoder: Strip: start: -1 is outside 0 .. 1048576"},
    {"\"stop\":0", "\"stop\":1e9", "decoder: Strip: stop: 1000000000 is outside 0 .. 1048576"},
    {"{\"type\":\"Fuse\"}", "{\"type\":\"BPEDecoder\"}", "decoder: BPEDecoder: " DECODERS},
    {"{\"type\":\"Fuse\"}", "null", "decoder: wanted an object, found null"},
    {"\"decoders\":[", "\"decoders\":7,\"x\":[",
     "decoder: Sequence: decoders: wanted an array, found a number"},
    {"\"String\":\"_\"", "\"String\":7",
     "decoder: Replace: pattern: wanted {\"String\": ...} or {\"Regex\": ...}, found String that "
     "is no "
     "string"},
    {"\"content\":\"<unk>\",\"special\":true,\"normalized\":false", "\"content\":\" \",\"id\":4",
     "line 1, column 56: key \"id\" appears twice in one object"},
};

static dw_status parse_from(const char *base, const char *old, const char *new, const char *config,
                            dw_tokenizer **t, dw_err *err)
{
    dw_buf text = {0};
    const char *at = strstr(base, old);
    assert_non_null(at);
    dw_buf_add(&text, base, (size_t)(at - base));
    dw_buf_adds(&text, new);
    dw_buf_adds(&text, at + strlen(old));
    dw_status st = dw_tokenizer_parse(dw_buf_text(&text), dw_text_of(config), "t.json", t, err);
    dw_buf_finish(&text);
    return st;
}

static dw_status parse(const char *old, const char *new, const char *config, dw_tokenizer **t,
                       dw_err *err)
{
    return parse_from(good, old, new, config, t, err);
}

/* 1: it is not. */
static int refused(const char *base, const char *old, const char *new, const char *want)
{
    dw_err err = {{0}};
    dw_tokenizer *t;
    char text[512];
    dw_status st = parse_from(base, old, new, "", &t, &err);
    snprintf(text, sizeof text, "t.json: %s", want);
    if (st == DW_E_INPUT && !t && !strcmp(err.text, text))
        return 0;
    print_error("%s: wanted '%s', found '%s'\n", new, text, st ? err.text : "no error");
    dw_tokenizer_free(t);
    return 1;
}

static void every_file_has_its_message(void **state)
{
    (void)state;
    size_t n = sizeof zoo / sizeof *zoo, m = sizeof unigram_zoo / sizeof *unigram_zoo;
    int wrong = 0;
    assert_true(n + m >= 110);
    for (size_t i = 0; i < n; i++)
        wrong += refused(good, zoo[i].old, zoo[i].new, zoo[i].want);
    for (size_t i = 0; i < m; i++)
        wrong += refused(unigram, unigram_zoo[i].old, unigram_zoo[i].new, unigram_zoo[i].want);
    assert_int_equal(wrong, 0);
}

static void the_sound_file_is_read(void **state)
{
    (void)state;
    dw_err err = {{0}};
    dw_tokenizer *t;
    dw_ids ids = {0};
    assert_int_equal(
        parse("a", "a", "{\"eos_token\":{\"content\":\"<e>\"},\"pad_token\":null}", &t, &err), 0);
    assert_int_equal(dw_tokenizer_eos(t), 4);
    assert_int_equal(
        dw_tokenizer_encode(t, DW_TEXT("aba<e>abab"), DW_TOK_PARSE_SPECIAL, &ids, &err), 0);
    const int32_t want[] = {3, 4, 2, 2};
    assert_int_equal(ids.n, 4);
    assert_memory_equal(ids.id, want, sizeof want);
    dw_ids_finish(&ids);
    dw_tokenizer_free(t);
}

static void names_must_be_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *config, *want;
    } row[] = {
        {"{\"eos_token\":\"</s>\"}",
         "t.json: tokenizer_config.json: eos_token: \"</s>\" is not a token of tokenizer.json"},
        {"{\"bos_token\":7}", "t.json: tokenizer_config.json: bos_token: wanted a string or an "
                              "object with \"content\", found a number"},
        {"{\"pad_token\":{}}", "t.json: tokenizer_config.json: pad_token: wanted a string or an "
                               "object with \"content\", found an object"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        dw_err err = {{0}};
        dw_tokenizer *t;
        assert_int_equal(parse("a", "a", row[i].config, &t, &err), DW_E_INPUT);
        assert_string_equal(err.text, row[i].want);
    }
}

/* A hole in the ids is no token: decoding it is an error, not an empty text. */
static void holes_are_no_tokens(void **state)
{
    (void)state;
    dw_err err = {{0}};
    dw_tokenizer *t;
    dw_buf out = {0};
    const int32_t id[] = {0, 7};
    assert_int_equal(parse("\"id\":4", "\"id\":9", "", &t, &err), 0);
    assert_int_equal(dw_tokenizer_size(t), 10);
    assert_int_equal(dw_tokenizer_decode(t, id, 2, false, &out, &err), DW_E_INPUT);
    assert_string_equal(err.text, "id 7 has no token in this vocabulary");
    dw_buf_finish(&out);
    dw_tokenizer_free(t);
}

/* Patterns that would run for years stop at the match limit. */
static void evil_patterns_stop(void **state)
{
    (void)state;
    static const char *const evil[] = {
        "(a+)+b",       "(a|a)+b",    "(a|aa)+b",    "(a*)*b",    "a+a+a+a+a+a+b", "(?:a+a+)+b",
        "(?:(?:a)+)+b", "(a|b|ab)*c", "(?:a?){40}c", "(a+){10}b", "(?:a{1,9})+b",  "([a-z]+)*[0-9]",
    };
    char text[2001];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (size_t i = 0; i < sizeof evil / sizeof *evil; i++) {
        dw_err err = {{0}};
        dw_tokenizer *t;
        dw_ids ids = {0};
        dw_buf stage = {0};
        dw_buf_printf(&stage,
                      "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{"
                      "\"Regex\":\"%s\"},\"behavior\":\"Isolated\"}," BYTELEVEL "]}",
                      evil[i]);
        assert_int_equal(parse(BYTELEVEL, stage.ptr, "", &t, &err), 0);
        double start = dw_now();
        dw_status st = dw_tokenizer_encode(t, dw_text_of(text), 0, &ids, &err);
        if (dw_now() - start > 1.0)
            fail_msg("%s took %.1f s", evil[i], dw_now() - start);
        /* Either it found that nothing matches, or it says that it gave up. */
        if (st)
            assert_non_null(strstr(err.text, "the pre-tokenizer's pattern gave up after byte 0: "));
        else
            assert_true(ids.n > 0);
        dw_tokenizer_free(t);
        dw_ids_finish(&ids);
        dw_buf_finish(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sound_file_is_read), cmocka_unit_test(every_file_has_its_message),
        cmocka_unit_test(names_must_be_tokens),   cmocka_unit_test(holes_are_no_tokens),
        cmocka_unit_test(evil_patterns_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
