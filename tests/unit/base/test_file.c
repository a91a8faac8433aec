/* Durable writes: what is on disk after each fault is the old state or the new one. */
#include <errno.h>
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

static char root[] = "/tmp/dowel-test-XXXXXX";
static dw_arena arena;

static int setup(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    dw_err err;
    dw_arena_finish(&arena);
    return dw_remove_tree(root, &err);
}

static void expect_content(const char *path, const char *want)
{
    dw_buf b = {0};
    dw_err err;
    assert_int_equal(dw_file_read(path, 1000, &b, &err), DW_OK);
    assert_string_equal(b.ptr, want);
    dw_buf_finish(&b);
}

/* The nth writing call fails with ENOSPC. */
static int countdown;
static int failing(void)
{
    return countdown-- == 0;
}

static ssize_t bad_write(int fd, const void *p, size_t n)
{
    if (failing()) {
        errno = ENOSPC;
        return -1;
    }
    return write(fd, p, n);
}

static int bad_fsync(int fd)
{
    if (failing()) {
        errno = EIO;
        return -1;
    }
    return fsync(fd);
}

static int bad_rename(const char *from, const char *to)
{
    if (failing()) {
        errno = EACCES;
        return -1;
    }
    return rename(from, to);
}

static void write_is_all_or_nothing(void **state)
{
    (void)state;
    char *path = dw_path_join(&arena, root, "a.json");
    dw_err err;
    assert_int_equal(dw_file_write(path, "old", 3, &err), DW_OK);
    dw_vfs v = *dw_vfs_get();
    v.write = bad_write;
    v.fsync = bad_fsync;
    v.rename = bad_rename;
    int failures = 0;
    for (int n = 0;; n++) {
        countdown = n;
        dw_vfs_use(&v);
        dw_status st = dw_file_write(path, "new", 3, &err);
        dw_vfs_use(NULL);
        if (!st)
            break;
        failures++;
        assert_int_equal(st, DW_E_IO);
        /* Only the fsync of the folder comes after the rename. */
        expect_content(path, n < 3 ? "old" : "new");
        char **names;
        size_t count;
        assert_int_equal(dw_dir_list(&arena, root, &names, &count, &err), DW_OK);
        assert_int_equal(count, 1);
    }
    assert_int_equal(failures, 4);
    expect_content(path, "new");
}

static void stage_is_all_or_nothing(void **state)
{
    (void)state;
    char *final = dw_path_join(&arena, root, "dir");
    dw_vfs v = *dw_vfs_get();
    v.write = bad_write;
    v.fsync = bad_fsync;
    v.rename = bad_rename;
    dw_err err;
    int failures = 0;
    for (int n = 0;; n++) {
        dw_stage s;
        assert_int_equal(dw_stage_begin(&s, final, false, &err), DW_OK);
        countdown = n;
        dw_vfs_use(&v);
        dw_writer *w;
        dw_status st = dw_writer_open(dw_path_join(&arena, s.path, "x"), &w, &err);
        if (!st)
            st = dw_writer_put(w, "hello", 5, &err);
        if (!st)
            st = dw_writer_close(w, &err);
        if (st)
            dw_stage_abort(&s);
        else
            st = dw_stage_commit(&s, &err);
        dw_vfs_use(NULL);
        if (!st)
            break;
        failures++;
        if (dw_dir_exists(final)) { /* only the last fsync failed */
            expect_content(dw_path_join(&arena, final, "x"), "hello");
            assert_int_equal(dw_remove_tree(final, &err), DW_OK);
        }
    }
    assert_int_equal(failures, 6);
    expect_content(dw_path_join(&arena, final, "x"), "hello");
    dw_stage s;
    assert_int_equal(dw_stage_begin(&s, final, false, &err), DW_E_IO);
}

/* What kill -9 leaves: a stage half written, and a folder moved aside. */
static void stages_left_behind(void **state)
{
    static const char *const dirs[] = {
        "best.old.12",         "final",          "final.old.3",      "final.tmp.3", "checkpoint-5",
        "checkpoint-5.tmp.77", "notes.tmp.mine", "checkpoint-6.tmp."};
    static const char *const kept[] = {
        "a.json", "best", "checkpoint-5", "checkpoint-6.tmp.", "final", "notes.tmp.mine"};
    dw_err err;
    char **names = NULL, *folder = dw_path_join(&arena, root, "run");
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        char *dir = dw_path_join(&arena, folder, dirs[i]);
        assert_int_equal(dw_mkdirs(dir, &err), DW_OK);
        assert_int_equal(
            dw_file_write(dw_path_join(&arena, dir, "x"), dirs[i], strlen(dirs[i]), &err), DW_OK);
    }
    assert_int_equal(dw_file_write(dw_path_join(&arena, folder, "a.json"), "1", 1, &err), DW_OK);
    assert_int_equal(dw_file_write(dw_path_join(&arena, folder, "a.json.tmp.9"), "2", 1, &err),
                     DW_OK);
    assert_int_equal(dw_stage_clean(folder, &err), DW_OK);
    assert_int_equal(dw_dir_list(&arena, folder, &names, &n, &err), DW_OK);
    assert_int_equal(n, sizeof kept / sizeof *kept);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(names[i], kept[i]);
    expect_content(dw_path_join(&arena, folder, "best/x"), "best.old.12");
    expect_content(dw_path_join(&arena, folder, "final/x"), "final");
}

static void paths(void **state)
{
    (void)state;
    assert_string_equal(dw_path_absolute(&arena, "/a/./b/../c//d/"), "/a/c/d");
    assert_string_equal(dw_path_absolute(&arena, "/../.."), "/");
    assert_string_equal(dw_path_join(&arena, "a", "b"), "a/b");
    assert_string_equal(dw_path_join(&arena, "a/", "/b"), "/b");
    assert_string_equal(dw_path_dir(&arena, "x"), ".");
    assert_string_equal(dw_path_dir(&arena, "/x"), "/");
    assert_string_equal(dw_path_base("/a/b"), "b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_is_all_or_nothing),
        cmocka_unit_test(stage_is_all_or_nothing),
        cmocka_unit_test(stages_left_behind),
        cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
