/* Text that appears token by token: whole characters, and together what decoding the whole gives;
 * and texts put together from parts under Metaspace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "text/tokenizer.h"

static const char *const fixture[] = {"gpt2",   "strange", "llama2",  "mistral", "gemma",
                                      "always", "splits",  "unigram", "lattice"};
enum { N_FIXTURE = sizeof fixture / sizeof *fixture };
static dw_tokenizer *tok[N_FIXTURE];

static int setup(void **state)
{
    (void)state;
    const char *root = getenv("DOWEL_TESTS");
    for (size_t i = 0; root && i < N_FIXTURE; i++) {
        dw_err err = {{0}};
        dw_buf text = {0};
        char path[1024];
        snprintf(path, sizeof path, "%s/golden/text/%s.json", root, fixture[i]);
        if (dw_file_read(path, 1 << 20, &text, &err) ||
            dw_tokenizer_parse(dw_buf_text(&text), (dw_text){0}, path, &tok[i], &err))
            fail_msg("%s", err.text);
        dw_buf_finish(&text);
    }
    return root ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FIXTURE; i++)
        dw_tokenizer_free(tok[i]);
    return 0;
}

static const dw_tokenizer *named(const char *name)
{
    for (size_t i = 0; i < N_FIXTURE; i++)
        if (!strcmp(fixture[i], name))
            return tok[i];
    fail_msg("no fixture %s", name);
    return NULL;
}

/* Ids at random, runs of them from the end of the vocabulary, where the tokens of bytes are. */
static void random_ids(const dw_tokenizer *t, uint64_t k, dw_ids *out)
{
    uint64_t n = dw_random_below(7, DW_RNG_TEST, k, 0, 30);
    uint64_t size = (uint64_t)dw_tokenizer_size(t), tail = size < 256 ? size : 256;
    out->n = 0;
    for (uint64_t i = 0; i < n; i++) {
        bool low = dw_random_below(7, DW_RNG_TEST, k, 100 + i, 2);
        uint64_t x = dw_random_below(7, DW_RNG_TEST, k, 200 + i, low ? size : tail);
        dw_ids_push(out, (int32_t)(low ? x : size - 1 - x));
    }
}

static void parts_are_the_whole(void **state)
{
    (void)state;
    dw_err err;
    dw_ids ids = {0};
    dw_buf whole = {0}, parts = {0};
    for (size_t f = 0; f < N_FIXTURE; f++)
        for (uint64_t k = 0; k < 1200; k++) {
            bool skip = k % 2;
            dw_tok_stream *s = dw_tok_stream_create(tok[f], skip);
            random_ids(tok[f], k * N_FIXTURE + f, &ids);
            /* The second text of a stream begins anew. */
            for (int round = 0; round < 2; round++) {
                dw_buf_clear(&whole);
                dw_buf_clear(&parts);
                assert_int_equal(dw_tokenizer_decode(tok[f], ids.id, ids.n, skip, &whole, &err), 0);
                for (size_t i = 0; i < ids.n; i++) {
                    assert_int_equal(dw_tok_stream_push(s, ids.id[i], &parts, &err), 0);
                    assert_true(!parts.len || dw_utf8_valid(parts.ptr, parts.len));
                }
                assert_int_equal(dw_tok_stream_end(s, &parts, &err), 0);
                if (!dw_text_eq(dw_buf_text(&whole), dw_buf_text(&parts)))
                    fail_msg("%s: wanted '%s', found '%s'", fixture[f], whole.ptr, parts.ptr);
            }
            dw_tok_stream_free(s);
        }
    dw_ids_finish(&ids);
    dw_buf_finish(&whole);
    dw_buf_finish(&parts);
}

static void push(dw_tok_stream *s, const dw_tokenizer *t, const char *token, const char *want)
{
    dw_err err;
    dw_buf out = {0};
    int32_t id = dw_tokenizer_find(t, dw_text_of(token));
    assert_true(id >= 0);
    assert_int_equal(dw_tok_stream_push(s, id, &out, &err), 0);
    dw_buf_adds(&out, "");
    assert_string_equal(out.ptr, want);
    dw_buf_finish(&out);
}

static void end(dw_tok_stream *s, const char *want)
{
    dw_err err;
    dw_buf out = {0};
    assert_int_equal(dw_tok_stream_end(s, &out, &err), 0);
    dw_buf_adds(&out, "");
    assert_string_equal(out.ptr, want);
    dw_buf_finish(&out);
}

/* What is shown when: bytes wait for the end of their run, the first space goes. */
static void what_appears_when(void **state)
{
    (void)state;
    const dw_tokenizer *t = named("llama2");
    dw_tok_stream *s = dw_tok_stream_create(t, true);
    push(s, t, "\xe2\x96\x81the", "the");
    push(s, t, "\xe2\x96\x81the", " the");
    push(s, t, "<0xE2>", "");
    push(s, t, "<0x82>", "");
    push(s, t, "<0xAC>", "");
    push(s, t, "a",
         "\xe2\x82\xac"
         "a");
    push(s, t, "<0xE2>", "");
    push(s, t, "<0x41>", "");
    push(s, t, "b",
         "\xef\xbf\xbd\xef\xbf\xbd"
         "b");
    push(s, t, "<0xF0>", "");
    push(s, t, "<|im_end|>", "");
    end(s, "\xef\xbf\xbd");
    push(s, t, "\xe2\x96\x81the", "the");
    end(s, "");
    dw_tok_stream_free(s);

    t = named("gpt2");
    s = dw_tok_stream_create(t, true);
    push(s, t, "\xc3\xa2", ""); /* byte 0xe2 */
    push(s, t, "a",
         "\xef\xbf\xbd"
         "a");
    push(s, t, "\xc3\xa2", "");
    end(s, "\xef\xbf\xbd");
    dw_tok_stream_free(s);
}

/* A piece is what a token stands for in the middle of a text. */
static void pieces_are_raw(void **state)
{
    (void)state;
    static const struct {
        const char *tokenizer, *token, *want;
    } row[] = {
        {"llama2", "\xe2\x96\x81the", " the"},  {"llama2", "<0xE2>", "\xe2"},
        {"llama2", "<|im_end|>", "<|im_end|>"}, {"always", "\xe2\x96\x81the", " the"},
        {"unigram", "\xe2\x96\x81the", " the"}, {"lattice", "<0x0A>", "\n"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        dw_err err;
        dw_buf out = {0};
        const dw_tokenizer *t = named(row[i].tokenizer);
        int32_t id = dw_tokenizer_find(t, dw_text_of(row[i].token));
        assert_int_equal(dw_tokenizer_piece(t, id, &out, &err), 0);
        assert_string_equal(out.ptr, row[i].want);
        dw_buf_finish(&out);
    }
}

/* The order of stages, the end of a joined text, and stages that must see all of it. */
static void chains(void **state)
{
    (void)state;
#define S(content, start, stop)                                                                    \
    "{\"type\":\"Strip\",\"content\":\"" content "\",\"start\":" #start ",\"stop\":" #stop "}"
    static const struct {
        const char *decoders, *want;
    } row[] = {
        {"{\"type\":\"Fuse\"}," S("x", 2, 2), "xaxxbx"},
        {S("x", 2, 2) ",{\"type\":\"Fuse\"}", "ab"},
        {"{\"type\":\"Fuse\"}," S("x", 9, 9), "axxb"},
        {"{\"type\":\"Fuse\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\"xx\"},\"content\":\"-"
         "\"}",
         "-xa-b-x"},
        {"{\"type\":\"Fuse\"},{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x+\"},\"content\":\"-"
         "\"}",
         "-a-b-"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"x\",\"prepend_scheme\":\"first\"}",
         "  a  b   "},
        {"{\"type\":\"Fuse\"},{\"type\":\"ByteLevel\"}", "xxxaxxbxxx"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        static const int32_t id[] = {0, 0, 0, 1, 0, 0, 2, 0, 0, 0};
        dw_err err = {{0}};
        dw_tokenizer *t;
        dw_buf file = {0}, out = {0};
        dw_buf_printf(&file,
                      "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[%s]},\"model\":{\"type\":"
                      "\"BPE\",\"vocab\":{\"x\":0,\"a\":1,\"b\":2},\"merges\":[]}}",
                      row[i].decoders);
        if (dw_tokenizer_parse(dw_buf_text(&file), (dw_text){0}, "t", &t, &err))
            fail_msg("%s", err.text);
        assert_int_equal(dw_tokenizer_decode(t, id, 10, false, &out, &err), 0);
        assert_string_equal(out.ptr, row[i].want);
        dw_tokenizer_free(t);
        dw_buf_finish(&file);
        dw_buf_finish(&out);
    }
}

/* Parts between special tokens are one text: no space of its own for a part, none lost. */
static void parts_under_metaspace(void **state)
{
    (void)state;
    const dw_tok_part part[] = {
        {DW_TEXT("The wo"), false}, {DW_TEXT("oden "), true},      {DW_TEXT("pins <|im_"), false},
        {DW_TEXT("end|>"), true},   {DW_TEXT("<|im_end|>"), true}, {DW_TEXT("a <|im_end|>"), false},
    };
    for (size_t f = 2; f < N_FIXTURE; f++) {
        dw_err err;
        dw_ids got = {0}, want = {0};
        assert_int_equal(dw_tokenizer_encode_parts(tok[f], part, 6, 0, &got, &err), 0);
        /* What Hugging Face gives for the same text with that one special token in it, the others
         * being words. */
        assert_int_equal(
            dw_tokenizer_encode(tok[f], DW_TEXT("The wooden pins <|im_end|>"), 0, &want, &err), 0);
        size_t before = want.n;
        dw_ids_push(&want, dw_tokenizer_find(tok[f], DW_TEXT("<|im_end|>")));
        if (!strcmp(fixture[f], "mistral")) {
            /* Only the start of all gets a space: "_a" less its "_" is what follows a token. */
            assert_int_equal(got.id[before], want.id[before]);
            for (size_t i = before + 1; i < got.n; i++)
                assert_false(dw_tokenizer_is_special(tok[f], got.id[i]));
            got.n = want.n;
        } else {
            assert_int_equal(dw_tokenizer_encode(tok[f], DW_TEXT("a <|im_end|>"), 0, &want, &err),
                             0);
        }
        assert_int_equal(got.n, want.n);
        assert_memory_equal(got.id, want.id, got.n * sizeof *got.id);
        dw_ids_finish(&got);
        dw_ids_finish(&want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_the_whole),   cmocka_unit_test(what_appears_when),
        cmocka_unit_test(pieces_are_raw),        cmocka_unit_test(chains),
        cmocka_unit_test(parts_under_metaspace),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
