/* Damaged tokenizer files: cut at every length, every bit flipped; an error or a sound tokenizer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/json.h"
#include "text/charsmap.h"
#include "text/tokenizer.h"

#define HEAD                                                                                       \
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":0,\"content\":\"<e>\",\"special\":true,"
static const char *const file[] = {
    HEAD
    "\"lstrip\":true}],\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":"
    "\"Split\",\"pattern\":{\"Regex\":\" ?\\\\p{L}+|\\\\d\"},\"behavior\":\"Isolated\",\"invert\":"
    "false},{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":false}]},\"decoder\":{"
    "\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,\"vocab\":{\"<e>\":"
    "0,"
    "\"a\":1,\"b\":2,\"ab\":3,\"\xc4\xa0\":4},\"merges\":[\"a b\"]}}",
    HEAD
    "\"normalized\":true}],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
    "\"Prepend\",\"prepend\":\"_\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" "
    "\"},\"content\":"
    "\"_\"},{\"type\":\"NFKC\"}]},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
    "\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" "
    "\",\"start\":1,\"stop\":1}"
    "]},\"model\":{\"type\":\"BPE\",\"unk_token\":\"<e>\",\"fuse_unk\":true,\"byte_fallback\":true,"
    "\"vocab\":{\"<e>\":0,\"a\":1,\"b\":2,\"ab\":3,\"_\":4,\"_a\":5,\"<0x41>\":6},\"merges\":[["
    "\"a\","
    "\"b\"],[\"_\",\"a\"]]}}",
    HEAD
    "\"single_word\":true}],\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":"
    "\"CAAAAAAFAAAAAACAYQA=\"},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\","
    "\"prepend_scheme\":\"always\",\"split\":true},\"decoder\":{\"type\":\"Metaspace\","
    "\"replacement\":"
    "\"_\"},\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"byte_fallback\":true,\"vocab\":[[\"<e>"
    "\",0],"
    "[\"a\",-1.5],[\"_\",-2],[\"ab\",-3.25],[\"_a\",-2.5],[\"<0x41>\",-9]]}}",
};
enum { N_FILE = sizeof file / sizeof *file };

/* 1: a tokenizer that encodes and gives ids that decode; 0: an error that says something. */
static int sound(const char *text, size_t n)
{
    static const char sample[] = "ab ba<e>  abA \xc3\xa9 7<0x41>_a";
    dw_tokenizer *t = NULL;
    dw_err err = {{0}};
    dw_ids ids = {0};
    dw_buf out = {0};
    if (dw_tokenizer_parse((dw_text){text, n}, (dw_text){0}, "t.json", &t, &err)) {
        assert_null(t);
        assert_true(strlen(err.text) > strlen("t.json: "));
        assert_true(dw_utf8_valid(err.text, strlen(err.text)));
        return 0;
    }
    if (!dw_tokenizer_encode(t, (dw_text){sample, sizeof sample - 1}, DW_TOK_PARSE_SPECIAL, &ids,
                             &err)) {
        for (size_t i = 0; i < ids.n; i++)
            assert_in_range(ids.id[i], 0, dw_tokenizer_size(t) - 1);
        assert_int_equal(dw_tokenizer_decode(t, ids.id, ids.n, false, &out, &err), 0);
        assert_true(!out.len || dw_utf8_valid(out.ptr, out.len));
    }
    dw_tokenizer_free(t);
    dw_ids_finish(&ids);
    dw_buf_finish(&out);
    return 1;
}

static void cut_at_every_length(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_FILE; f++) {
        size_t n = strlen(file[f]);
        assert_int_equal(sound(file[f], n), 1);
        for (size_t k = 0; k < n; k++) {
            /* A copy of the exact size, so that a sanitizer sees a read beyond it. */
            char *copy = dw_alloc(k + 1);
            memcpy(copy, file[f], k);
            assert_int_equal(sound(copy, k), 0);
            dw_free(copy);
        }
    }
}

static void every_bit_flipped(void **state)
{
    (void)state;
    size_t read = 0, refused = 0;
    for (size_t f = 0; f < N_FILE; f++) {
        size_t n = strlen(file[f]);
        char *copy = dw_alloc(n);
        memcpy(copy, file[f], n);
        for (size_t bit = 0; bit < n * 8; bit++) {
            copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
            int ok = sound(copy, n);
            read += (size_t)ok;
            refused += (size_t)!ok;
            copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
        }
        dw_free(copy);
    }
    assert_true(read > 500);
    assert_true(refused > 5000);
}

static void put_base64(const unsigned char *p, size_t n, dw_buf *out)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t x = (uint32_t)p[i] << 16;
        x |= i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0;
        x |= i + 2 < n ? p[i + 2] : 0;
        dw_buf_addc(out, digit[x >> 18]);
        dw_buf_addc(out, digit[x >> 12 & 63]);
        dw_buf_addc(out, i + 1 < n ? digit[x >> 6 & 63] : '=');
        dw_buf_addc(out, i + 2 < n ? digit[x & 63] : '=');
    }
}

/* A trie of "a" and "ab": "a" becomes "x", "ab" becomes "y". A damaged one may do other things, but
 * stays inside its arrays and gives UTF-8. */
static void every_bit_of_a_character_map(void **state)
{
    (void)state;
    uint32_t unit[256] = {0};
    unsigned char map[4 + sizeof unit + 4] = {0};
    unit[0] = 1 << 10;                                  /* children at 1 ^ byte */
    unit[1 ^ 'a'] = 'a' | 1 << 8 | (1 ^ 'a' ^ 4) << 10; /* a leaf at 4, a child at 4 ^ 'b' */
    unit[4] = UINT32_C(1) << 31;
    unit[4 ^ 'b'] = 'b' | 1 << 8 | (4 ^ 'b' ^ 8) << 10;
    unit[8] = UINT32_C(1) << 31 | 2;
    map[1] = sizeof unit >> 8;
    memcpy(map + 4, unit, sizeof unit);
    memcpy(map + 4 + sizeof unit, "x\0y", 4);
    size_t read = 0;
    for (size_t bit = 0; bit <= sizeof map * 8; bit++) {
        dw_charsmap m = {0};
        dw_err err = {{0}};
        dw_buf text = {0}, out = {0};
        bool whole = bit == sizeof map * 8;
        if (!whole)
            map[bit / 8] = (unsigned char)(map[bit / 8] ^ 1 << bit % 8);
        put_base64(map, sizeof map, &text);
        if (!dw_charsmap_read(&m, dw_buf_text(&text), &err)) {
            read++;
            dw_charsmap_run(&m, DW_TEXT("aab\xcc\x81z\r\n\xc3\xa9"), &out);
            assert_true(dw_utf8_valid(out.ptr, out.len));
            /* The shortest key wins and stands for the whole grapheme. */
            if (whole)
                assert_string_equal(out.ptr, "xxb\xcc\x81z\r\n\xc3\xa9");
            dw_charsmap_finish(&m);
        }
        dw_buf_finish(&text);
        dw_buf_finish(&out);
        if (!whole)
            map[bit / 8] = (unsigned char)(map[bit / 8] ^ 1 << bit % 8);
    }
    assert_true(read > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_at_every_length),
        cmocka_unit_test(every_bit_flipped),
        cmocka_unit_test(every_bit_of_a_character_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
