/* Test support: a folder of its own for files, and the fixture tokenizers. */
#ifndef TEST_DATAFILE_H
#define TEST_DATAFILE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "text/tokenizer.h"

static char test_root[] = "/tmp/dowel-test-XXXXXX";
static dw_arena test_arena;

static int test_root_make(void **state)
{
    (void)state;
    return mkdtemp(test_root) && getenv("DOWEL_TESTS") ? 0 : -1;
}

static int test_root_remove(void **state)
{
    dw_err err;
    (void)state;
    int bad = dw_remove_tree(test_root, &err) < 0;
    dw_arena_finish(&test_arena);
    return bad;
}

static const char *test_file(const char *name, const void *bytes, size_t n)
{
    dw_err err;
    char *path = dw_path_join(&test_arena, test_root, name);
    assert_int_equal(dw_file_write(path, bytes, n, &err), 0);
    return path;
}

/* The fixture of tests/golden/text with <|im_end|> (id 2) as its end token. */
__attribute__((unused)) static dw_tokenizer *test_tokenizer(const char *name)
{
    dw_err err = {{0}};
    dw_buf text = {0};
    dw_tokenizer *t = NULL;
    char *path =
        dw_arena_printf(&test_arena, "%s/golden/text/%s.json", getenv("DOWEL_TESTS"), name);
    if (dw_file_read(path, 1 << 20, &text, &err) ||
        dw_tokenizer_parse(dw_buf_text(&text), DW_TEXT("{\"eos_token\":\"<|im_end|>\"}"), path, &t,
                           &err))
        fail_msg("%s", err.text);
    dw_buf_finish(&text);
    return t;
}

#endif
