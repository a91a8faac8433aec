/* A temporary folder for tests that need broken or fresh files. */
#ifndef DW_TESTS_FOLDER_H
#define DW_TESTS_FOLDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

typedef struct folder {
    dw_arena arena;
    char *path;
} folder;

static inline void folder_begin(folder *f)
{
    const char *tmp = getenv("TMPDIR");
    f->arena = (dw_arena){0};
    f->path = dw_arena_printf(&f->arena, "%s/dowel-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->path));
}

static inline void folder_end(folder *f)
{
    dw_err err = {{0}};
    assert_int_equal(dw_remove_tree(f->path, &err), DW_OK);
    dw_arena_finish(&f->arena);
}

static inline char *folder_file(folder *f, const char *name)
{
    return dw_path_join(&f->arena, f->path, name);
}

static inline char *folder_put(folder *f, const char *name, const void *bytes, size_t n)
{
    char *path = folder_file(f, name);
    FILE *to = fopen(path, "wb");
    assert_non_null(to);
    assert_int_equal(fwrite(bytes, 1, n, to), n);
    assert_int_equal(fclose(to), 0);
    return path;
}

static inline char *folder_puts(folder *f, const char *name, const char *text)
{
    return folder_put(f, name, text, strlen(text));
}

/* The message without the path it begins with; fails when it does not. */
static inline const char *after_path(const dw_err *err, const char *path)
{
    size_t n = strlen(path);
    if (strncmp(err->text, path, n) != 0 || strncmp(err->text + n, ": ", 2) != 0)
        fail_msg("message \"%s\" does not begin with %s", err->text, path);
    return err->text + n + 2;
}

/* tests/golden/... of the source tree. */
static inline char *golden(folder *f, const char *name)
{
    const char *root = getenv("DOWEL_TESTS");
    return dw_arena_printf(&f->arena, "%s/golden/%s", root ? root : "tests", name);
}

#endif
