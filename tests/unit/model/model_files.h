/* Opening, breaking and rewriting model folders. For the tests that include it: they are in one
 * group, with `files_setup` and `files_teardown`. */
#ifndef TEST_MODEL_FILES_H
#define TEST_MODEL_FILES_H
#include "folder.h"

#include <sys/stat.h>

#include "base/hash.h"
#include "model/source.h"

static dw_exec exec;
static const dw_model_options plain = {.no_tokenizer = true};

static inline dw_model *must_open(const char *dir, const dw_model_options *o)
{
    dw_model *m = NULL;
    dw_err err = {{0}};
    if (dw_model_open(&exec, dir, o, &m, &err) < 0)
        fail_msg("%s", err.text);
    return m;
}

static inline void must_fail(const char *dir, const dw_model_options *o, const char *path,
                             const char *message)
{
    dw_model *m = NULL;
    dw_err err = {{0}};
    assert_int_equal(dw_model_open(&exec, dir, o, &m, &err), DW_E_INPUT);
    assert_null(m);
    assert_string_equal(after_path(&err, path), message);
}

static inline char *subdir(folder *f, const char *name)
{
    char *path = folder_file(f, name);
    assert_int_equal(mkdir(path, 0755), 0);
    return path;
}

static inline void copy(folder *f, const char *from, const char *dir, const char *name)
{
    dw_err err = {{0}};
    assert_int_equal(
        dw_copy_file(dw_path_join(&f->arena, from, name), dw_path_join(&f->arena, dir, name), &err),
        DW_OK);
}

static inline void same_file(folder *f, const char *a, const char *b, const char *name)
{
    char x[65], y[65];
    dw_err err = {{0}};
    assert_int_equal(dw_sha256_file(dw_path_join(&f->arena, a, name), x, &err), DW_OK);
    assert_int_equal(dw_sha256_file(dw_path_join(&f->arena, b, name), y, &err), DW_OK);
    assert_string_equal(x, y);
}

static inline void put_edited(folder *f, const char *from, const char *to, const char *find,
                              const char *with)
{
    dw_err err = {{0}};
    dw_buf b = {0};
    assert_int_equal(dw_file_read(from, 1 << 24, &b, &err), DW_OK);
    char *at = strstr(b.ptr, find);
    assert_non_null(at);
    folder_puts(
        f, to,
        dw_arena_printf(&f->arena, "%.*s%s%s", (int)(at - b.ptr), b.ptr, with, at + strlen(find)));
    dw_buf_finish(&b);
}

/* Reads all tensors of a file, lets `edit` change the list, and writes them to another. */
typedef size_t (*edit_fn)(dw_tensor_out *t, size_t n);
static inline void rewrite(const char *from, const char *to, edit_fn edit)
{
    dw_checkpoint *c = NULL;
    dw_err err = {{0}};
    dw_tensor_out t[64];
    assert_int_equal(dw_checkpoint_open_file(from, &c, &err), DW_OK);
    size_t n = dw_checkpoint_count(c);
    assert_in_range(n, 1, 60);
    for (size_t i = 0; i < n; i++) {
        const dw_tensor_entry *e = dw_checkpoint_at(c, i);
        t[i] =
            (dw_tensor_out){.name = e->name, .dtype = e->dtype, .n_dim = e->n_dim, .raw = e->data};
        memcpy(t[i].dim, e->dim, sizeof e->dim);
    }
    n = edit(t, n);
    assert_int_equal(dw_safetensors_write(to, t, n, NULL, 0, &err), DW_OK);
    dw_checkpoint_close(c);
}

static inline dw_tensor_out *named(dw_tensor_out *t, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(t[i].name, name))
            return &t[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static inline int files_setup(void **state)
{
    dw_err err = {{0}};
    return dw_exec_init(&exec, 2, NULL, &err);
}

static inline int files_teardown(void **state)
{
    dw_exec_finish(&exec);
    return 0;
}
#endif
