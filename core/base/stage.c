/* Directories that appear whole or not at all. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"

static void release(dw_stage *s)
{
    dw_free(s->path);
    dw_free(s->final);
    *s = (dw_stage){0};
}

dw_status dw_stage_begin(dw_stage *s, const char *final, bool replace, dw_err *err)
{
    dw_arena a = {0};
    *s = (dw_stage){0};
    if (!replace && (dw_dir_exists(final) || dw_file_exists(final))) {
        dw_arena_finish(&a);
        return dw_fail(err, DW_E_IO, "%s: exists already", final);
    }
    char *tmp = dw_arena_printf(&a, "%s.tmp.%ld", final, (long)getpid());
    dw_status st = dw_remove_tree(tmp, err);
    if (!st)
        st = dw_mkdirs(tmp, err);
    if (!st)
        *s = (dw_stage){dw_strdup(tmp), dw_strdup(final), replace};
    dw_arena_finish(&a);
    return st;
}

static dw_status sync_tree(const char *path, dw_err *err)
{
    if (dw_dir_exists(path)) {
        dw_arena a = {0};
        char **names = NULL;
        size_t n = 0;
        dw_status st = dw_dir_list(&a, path, &names, &n, err);
        for (size_t i = 0; !st && i < n; i++)
            st = sync_tree(dw_path_join(&a, path, names[i]), err);
        dw_arena_finish(&a);
        DW_TRY(st);
    }
    return dw_fsync_path(path, err);
}

static dw_status swap_in(const dw_stage *s, dw_arena *a, dw_err *err)
{
    const dw_vfs *v = dw_vfs_get();
    char *old = dw_arena_printf(a, "%s.old.%ld", s->final, (long)getpid());
    bool moved = false;
    if (s->replace && dw_dir_exists(s->final)) {
        DW_TRY(dw_remove_tree(old, err));
        if (v->rename(s->final, old))
            return dw_fail(err, DW_E_IO, "%s: cannot move aside: %s", s->final, strerror(errno));
        moved = true;
    }
    if (v->rename(s->path, s->final)) {
        int why = errno;
        if (moved)
            v->rename(old, s->final);
        return dw_fail(err, DW_E_IO, "%s: cannot rename into place: %s", s->final, strerror(why));
    }
    DW_TRY(dw_fsync_path(dw_path_dir(a, s->final), err));
    return moved ? dw_remove_tree(old, err) : DW_OK;
}

dw_status dw_stage_commit(dw_stage *s, dw_err *err)
{
    dw_arena a = {0};
    dw_status st = sync_tree(s->path, err);
    if (!st)
        st = swap_in(s, &a, err);
    dw_arena_finish(&a);
    if (st)
        dw_stage_abort(s);
    else
        release(s);
    return st;
}

void dw_stage_abort(dw_stage *s)
{
    dw_err ignored;
    if (s->path)
        dw_remove_tree(s->path, &ignored);
    release(s);
}

/* "best.tmp.123" -> length of "best", and whether it is ".tmp"; 0: it is no such name. */
static size_t left_over(const char *name, bool *tmp)
{
    const char *digits = strrchr(name, '.');
    if (!digits || digits - name < 5 || !digits[1] ||
        digits[1 + strspn(digits + 1, "0123456789")] != '\0')
        return 0;
    *tmp = strncmp(digits - 4, ".tmp", 4) == 0;
    return *tmp || strncmp(digits - 4, ".old", 4) == 0 ? (size_t)(digits - 4 - name) : 0;
}

dw_status dw_stage_clean(const char *folder, dw_err *err)
{
    dw_arena a = {0};
    char **names = NULL;
    size_t n = 0;
    bool tmp;
    dw_status st = dw_dir_list(&a, folder, &names, &n, err);
    for (size_t i = 0; !st && i < n; i++) {
        size_t len = left_over(names[i], &tmp);
        const char *at = dw_path_join(&a, folder, names[i]);
        const char *final = dw_path_join(&a, folder, dw_arena_strndup(&a, names[i], len));
        if (len == 0)
            continue;
        if (tmp || dw_dir_exists(final))
            st = dw_remove_tree(at, err);
        else if (dw_vfs_get()->rename(at, final))
            st = dw_fail(err, DW_E_IO, "%s: cannot move back: %s", at, strerror(errno));
    }
    dw_arena_finish(&a);
    return st;
}
