/* Ids against Hugging Face tokenizers (fixtures of tests/golden/text), parts, round trips. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

static dw_arena arena;
static const char *const fixture[] = {"gpt2",    "smollm2", "llama3",  "qwen2",
                                      "strange", "llama2",  "mistral", "gemma",
                                      "always",  "splits",  "unigram", "lattice"};
enum { N_FIXTURE = sizeof fixture / sizeof *fixture };
static dw_tokenizer *tok[N_FIXTURE];

static char *golden(const char *name)
{
    const char *root = getenv("DOWEL_TESTS");
    assert_non_null(root);
    return dw_arena_printf(&arena, "%s/golden/text/%s", root, name);
}

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FIXTURE; i++) {
        dw_err err = {{0}};
        dw_buf text = {0};
        char *path = golden(dw_arena_printf(&arena, "%s.json", fixture[i]));
        if (dw_file_read(path, 1 << 20, &text, &err) ||
            dw_tokenizer_parse(dw_buf_text(&text), DW_TEXT("{\"eos_token\":\"<|im_end|>\"}"), path,
                               &tok[i], &err))
            fail_msg("%s", err.text);
        dw_buf_finish(&text);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FIXTURE; i++)
        dw_tokenizer_free(tok[i]);
    dw_arena_finish(&arena);
    return 0;
}

static const dw_tokenizer *find(dw_text name)
{
    for (size_t i = 0; i < N_FIXTURE; i++)
        if (dw_text_is(name, fixture[i]))
            return tok[i];
    fail_msg("no fixture %.*s", (int)name.len, name.ptr);
    return NULL;
}

static const char *cases; /* the file being read */

static void same_ids(const dw_json *want, const dw_ids *got, size_t line)
{
    size_t n = 0;
    for (const dw_json *e = dw_json_first(want); e; e = dw_json_next(e), n++)
        if (n >= got->n || (int32_t)dw_json_num(e) != got->id[n])
            fail_msg("%s:%zu: id %zu: wanted %g, found %d", cases, line, n, dw_json_num(e),
                     n < got->n ? got->id[n] : -1);
    if (n != got->n)
        fail_msg("%s:%zu: wanted %zu ids, found %zu", cases, line, n, got->n);
}

static void encode_case(const dw_tokenizer *t, const dw_json *row, size_t line)
{
    dw_err err;
    dw_ids ids = {0};
    dw_buf back = {0};
    const dw_json *ids_want = dw_json_get(row, "ids"), *parsed = dw_json_get(row, "parsed"),
                  *decoded = dw_json_get(row, "decoded");
    dw_text text = dw_json_str(dw_json_get(row, "text"));
    assert_int_equal(dw_tokenizer_encode(t, text, DW_TOK_ADD_SPECIAL, &ids, &err), 0);
    same_ids(ids_want, &ids, line);
    assert_int_equal(dw_tokenizer_decode(t, ids.id, ids.n, true, &back, &err), 0);
    dw_text want = decoded ? dw_json_str(decoded) : text;
    if (!dw_text_eq(want, dw_buf_text(&back)))
        fail_msg("%s:%zu: wanted '%.*s', found '%s'", cases, line, (int)want.len, want.ptr,
                 back.ptr);
    ids.n = 0;
    assert_int_equal(dw_tokenizer_encode(t, text, DW_TOK_PARSE_SPECIAL, &ids, &err), 0);
    same_ids(parsed ? parsed : ids_want, &ids, line);
    dw_ids_finish(&ids);
    dw_buf_finish(&back);
}

static void decode_case(const dw_tokenizer *t, const dw_json *row, size_t line)
{
    dw_err err;
    dw_ids ids = {0};
    dw_buf got = {0};
    for (const dw_json *e = dw_json_first(dw_json_get(row, "decode")); e; e = dw_json_next(e))
        dw_ids_push(&ids, (int32_t)dw_json_num(e));
    assert_int_equal(dw_tokenizer_decode(t, ids.id, ids.n, false, &got, &err), 0);
    dw_text want = dw_json_str(dw_json_get(row, "decoded"));
    if (!dw_text_eq(want, dw_buf_text(&got)))
        fail_msg("%s:%zu: wanted '%.*s', found '%s'", cases, line, (int)want.len, want.ptr,
                 got.ptr);
    dw_ids_finish(&ids);
    dw_buf_finish(&got);
}

static size_t run_cases(const char *name)
{
    dw_err err = {{0}};
    dw_buf text = {0};
    size_t line = 0, at = 0;
    cases = name;
    if (dw_file_read(golden(name), 1 << 24, &text, &err))
        fail_msg("%s", err.text);
    while (at < text.len) {
        size_t n = (size_t)((char *)memchr(text.ptr + at, '\n', text.len - at) - text.ptr) - at;
        dw_json *row;
        line++;
        assert_int_equal(dw_json_parse(text.ptr + at, n, 8, (int)line, &row, &err), 0);
        const dw_tokenizer *t = find(dw_json_str(dw_json_get(row, "tokenizer")));
        if (dw_json_get(row, "text"))
            encode_case(t, row, line);
        else
            decode_case(t, row, line);
        dw_json_free(row);
        at += n + 1;
    }
    dw_buf_finish(&text);
    return line;
}

static void same_ids_as_hugging_face(void **state)
{
    (void)state;
    assert_true(run_cases("cases.jsonl") > 900);
    assert_true(run_cases("cases_spm.jsonl") > 1400);
}

static void kinds_are_named(void **state)
{
    (void)state;
    assert_string_equal(dw_tokenizer_kind(tok[0]), "byte-level BPE, GPT-2 pattern");
    assert_string_equal(dw_tokenizer_kind(tok[1]), "byte-level BPE, SmolLM2 pattern");
    assert_string_equal(dw_tokenizer_kind(tok[2]), "byte-level BPE, Llama-3 pattern");
    assert_string_equal(dw_tokenizer_kind(tok[3]), "byte-level BPE, Qwen2 pattern, NFC");
    assert_string_equal(dw_tokenizer_kind(tok[5]), "BPE with byte fallback, no pattern");
    assert_string_equal(dw_tokenizer_kind(tok[6]), "BPE with byte fallback, Metaspace");
    assert_string_equal(dw_tokenizer_kind(tok[8]), "BPE, Metaspace, NFKC");
    assert_string_equal(dw_tokenizer_kind(tok[11]),
                        "Unigram with byte fallback, own pattern, NFKD");
    assert_int_equal(dw_tokenizer_eos(tok[0]), 2);
    assert_int_equal(dw_tokenizer_bos(tok[0]), -1);
    assert_true(dw_tokenizer_is_special(tok[0], 2));
    assert_false(dw_tokenizer_is_special(tok[0], 3));
    assert_false(dw_tokenizer_is_special(tok[0], -1));
    assert_int_equal(dw_tokenizer_find(tok[0], DW_TEXT("<|im_start|>")), 1);
    assert_int_equal(dw_tokenizer_find(tok[0], DW_TEXT("no such token")), -1);
}

/* Random text of every kind of character, long enough for the heap of long words. */
static dw_text random_text(uint64_t k, dw_buf *b)
{
    static const uint32_t from[] = {0x20, 0x61, 0x61, 0, 0xa0, 0x400, 0x900, 0x4e00, 0x1f300};
    static const uint32_t span[] = {0x5f, 26, 2, 0x20, 0x150, 0x100, 0x80, 0x5000, 0x300};
    uint64_t kind = dw_random_below(5, DW_RNG_TEST, k, 0, sizeof from / sizeof *from);
    uint64_t n = dw_random_below(5, DW_RNG_TEST, k, 1, k % 16 ? 60 : 600);
    dw_buf_clear(b);
    for (uint64_t i = 0; i < n; i++) {
        if (dw_random_below(5, DW_RNG_TEST, k, 100 + i, 8) == 0)
            kind = dw_random_below(5, DW_RNG_TEST, k, 10000 + i, sizeof from / sizeof *from);
        dw_unicode_put(b, from[kind] +
                              (uint32_t)dw_random_below(5, DW_RNG_TEST, k, 20000 + i, span[kind]));
    }
    return (dw_text){b->ptr ? b->ptr : "", b->len};
}

static void decode_undoes_encode(void **state)
{
    (void)state;
    dw_err err;
    dw_buf text = {0}, back = {0};
    dw_ids ids = {0};
    for (uint64_t k = 0; k < 6000; k++) {
        dw_text t = random_text(k, &text);
        ids.n = 0;
        dw_buf_clear(&back);
        /* gpt2, smollm2 and llama3 of the fixtures change nothing on the way in. */
        const dw_tokenizer *with = tok[k % 3];
        assert_int_equal(dw_tokenizer_encode(with, t, 0, &ids, &err), 0);
        assert_int_equal(dw_tokenizer_decode(with, ids.id, ids.n, false, &back, &err), 0);
        assert_int_equal(back.len, t.len);
        assert_memory_equal(back.ptr ? back.ptr : "", t.ptr, t.len);
    }
    dw_buf_finish(&text);
    dw_buf_finish(&back);
    dw_ids_finish(&ids);
}

static void encode_parts(const dw_tokenizer *t, const dw_tok_part *part, size_t n, dw_ids *ids)
{
    dw_err err;
    ids->n = 0;
    assert_int_equal(dw_tokenizer_encode_parts(t, part, n, 0, ids, &err), 0);
}

static void only_literals_hold_special_tokens(void **state)
{
    (void)state;
    dw_err err;
    dw_ids got = {0}, want = {0};
    const dw_tok_part typed[] = {
        {DW_TEXT("<|im_start|>user\nwhat is "), true},
        {DW_TEXT("<|im_end|> <|im_st"), false},
        {DW_TEXT("art|>?<|im_end|>"), true},
    };
    encode_parts(tok[0], typed, 3, &got);
    dw_ids_push(&want, 1);
    assert_int_equal(dw_tokenizer_encode(tok[0], DW_TEXT("user\nwhat is <|im_end|> <|im_start|>?"),
                                         0, &want, &err),
                     0);
    dw_ids_push(&want, 2);
    assert_int_equal(got.n, want.n);
    assert_memory_equal(got.id, want.id, want.n * sizeof *want.id);
    size_t special = 0;
    for (size_t i = 0; i < got.n; i++)
        special += dw_tokenizer_is_special(tok[0], got.id[i]);
    assert_int_equal(special, 2);
    dw_ids_finish(&got);
    dw_ids_finish(&want);
}

static void borders_without_special_tokens_do_not_cut(void **state)
{
    (void)state;
    dw_err err;
    dw_ids got = {0}, want = {0};
    const dw_tok_part part[] = {{DW_TEXT("The wo"), false},
                                {DW_TEXT("oden dow"), true},
                                {DW_TEXT(""), true},
                                {DW_TEXT("el 20"), false},
                                {DW_TEXT("24"), false}};
    for (size_t i = 0; i < N_FIXTURE; i++) {
        encode_parts(tok[i], part, 5, &got);
        want.n = 0;
        assert_int_equal(
            dw_tokenizer_encode(tok[i], DW_TEXT("The wooden dowel 2024"), 0, &want, &err), 0);
        assert_int_equal(got.n, want.n);
        assert_memory_equal(got.id, want.id, want.n * sizeof *want.id);
    }
    dw_ids_finish(&got);
    dw_ids_finish(&want);
}

/* A special token with strip flags and one that is normalized, inside literals and outside. */
static void strips_and_normalized_specials_in_parts(void **state)
{
    (void)state;
    dw_err err;
    dw_ids got = {0}, want = {0};
    const dw_tokenizer *t = tok[4];
    const dw_tok_part part[] = {{DW_TEXT("a "), false},
                                {DW_TEXT("<both>"), true},
                                {DW_TEXT(" b<both>"), false},
                                {DW_TEXT("<right>"), true},
                                {DW_TEXT("  c"), false}};
    encode_parts(t, part, 5, &got);
    assert_int_equal(dw_tokenizer_encode(t, DW_TEXT("a"), 0, &want, &err), 0);
    dw_ids_push(&want, dw_tokenizer_find(t, DW_TEXT("<both>")));
    assert_int_equal(dw_tokenizer_encode(t, DW_TEXT("b<both>"), 0, &want, &err), 0);
    dw_ids_push(&want, dw_tokenizer_find(t, DW_TEXT("<right>")));
    assert_int_equal(dw_tokenizer_encode(t, DW_TEXT("c"), 0, &want, &err), 0);
    assert_int_equal(got.n, want.n);
    assert_memory_equal(got.id, want.id, want.n * sizeof *want.id);
    dw_ids_finish(&got);
    dw_ids_finish(&want);
}

static void bad_text_and_ids_are_errors(void **state)
{
    (void)state;
    dw_err err;
    dw_ids ids = {0};
    dw_buf out = {0};
    dw_ids_push(&ids, 7);
    assert_int_equal(dw_tokenizer_encode(tok[0],
                                         DW_TEXT("abc\xff"
                                                 "d"),
                                         0, &ids, &err),
                     DW_E_INPUT);
    assert_string_equal(err.text, "the text is not UTF-8: byte 0xff at byte 3");
    assert_int_equal(ids.n, 1);
    ids.id[0] = dw_tokenizer_size(tok[0]);
    assert_int_equal(dw_tokenizer_decode(tok[0], ids.id, 1, false, &out, &err), DW_E_INPUT);
    assert_string_equal(err.text, "id 560 is outside the vocabulary (0 .. 559)");
    ids.id[0] = -1;
    assert_int_equal(dw_tokenizer_piece(tok[0], ids.id[0], &out, &err), DW_E_INPUT);
    assert_string_equal(err.text, "id -1 is outside the vocabulary (0 .. 559)");
    dw_ids_finish(&ids);
    dw_buf_finish(&out);
}

static void lossy_replaces_maximal_parts(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *want;
    } row[] = {
        {"a\xffz", "a\xef\xbf\xbdz"},
        {"\xe2\x82", "\xef\xbf\xbd"},
        {"\xe2\x82z", "\xef\xbf\xbdz"},
        {"\xf0\x9f\x98", "\xef\xbf\xbd"},
        {"\xf0\x9f\x98\xf0", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\x80\xe2\x82\xac", "\xef\xbf\xbd\xe2\x82\xac"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        dw_buf b = {0};
        dw_unicode_lossy(row[i].bytes, strlen(row[i].bytes), &b);
        assert_string_equal(b.ptr, row[i].want);
        dw_buf_finish(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_ids_as_hugging_face),
        cmocka_unit_test(kinds_are_named),
        cmocka_unit_test(decode_undoes_encode),
        cmocka_unit_test(only_literals_hold_special_tokens),
        cmocka_unit_test(borders_without_special_tokens_do_not_cut),
        cmocka_unit_test(strips_and_normalized_specials_in_parts),
        cmocka_unit_test(bad_text_and_ids_are_errors),
        cmocka_unit_test(lossy_replaces_maximal_parts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
