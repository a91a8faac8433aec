/* Paths as text, and folders. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"

char *dw_path_join(dw_arena *a, const char *dir, const char *name)
{
    if (name[0] == '/' || !dir[0])
        return dw_arena_strdup(a, name);
    return dw_arena_printf(a, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", name);
}

const char *dw_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *dw_path_dir(dw_arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return dw_arena_strdup(a, ".");
    return dw_arena_strndup(a, path, slash == path ? 1 : (size_t)(slash - path));
}

char *dw_path_absolute(dw_arena *a, const char *path)
{
    const char *full = path;
    if (path[0] != '/') {
        char *cwd = getcwd(NULL, 0);
        full = dw_path_join(a, cwd ? cwd : "/", path);
        free(cwd);
    }
    char *out = dw_arena_alloc(a, strlen(full) + 2);
    size_t n = 0;
    for (const char *p = full; *p;) {
        while (*p == '/')
            p++;
        size_t len = strcspn(p, "/");
        if (len == 2 && p[0] == '.' && p[1] == '.') {
            while (n && out[--n] != '/')
                ;
        } else if (len && !(len == 1 && p[0] == '.')) {
            out[n++] = '/';
            memcpy(out + n, p, len);
            n += len;
        }
        p += len;
    }
    if (!n)
        out[n++] = '/';
    out[n] = 0;
    return out;
}

dw_status dw_mkdirs(const char *path, dw_err *err)
{
    dw_arena a = {0};
    char *p = dw_path_absolute(&a, path);
    dw_status st = DW_OK;
    for (char *s = p + 1; !st; s++) {
        if (*s && *s != '/')
            continue;
        char keep = *s;
        *s = 0;
        if (dw_vfs_get()->mkdir(p, 0777) && errno != EEXIST)
            st = dw_fail(err, DW_E_IO, "%s: cannot make folder: %s", p, strerror(errno));
        else if (!dw_dir_exists(p))
            st = dw_fail(err, DW_E_IO, "%s: is in the way of a folder", p);
        *s = keep;
        if (!keep)
            break;
    }
    dw_arena_finish(&a);
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

dw_status dw_dir_list(dw_arena *a, const char *path, char ***names, size_t *n, dw_err *err)
{
    DIR *dir = opendir(path);
    if (!dir)
        return dw_fail(err, DW_E_IO, "%s: cannot list: %s", path, strerror(errno));
    char **list = NULL;
    size_t count = 0, cap = 0;
    struct dirent *e;
    while ((e = readdir(dir))) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        DW_GROW(list, count, cap);
        list[count++] = dw_arena_strdup(a, e->d_name);
    }
    closedir(dir);
    if (count)
        qsort(list, count, sizeof *list, by_name);
    *names = dw_arena_alloc(a, (count + 1) * sizeof **names);
    if (count)
        memcpy(*names, list, count * sizeof *list);
    *n = count;
    dw_free(list);
    return DW_OK;
}

static dw_status remove_entry(const char *path, dw_err *err);

static dw_status remove_children(const char *path, dw_err *err)
{
    dw_arena a = {0};
    char **names = NULL;
    size_t n = 0;
    dw_status st = dw_dir_list(&a, path, &names, &n, err);
    for (size_t i = 0; !st && i < n; i++)
        st = remove_entry(dw_path_join(&a, path, names[i]), err);
    dw_arena_finish(&a);
    return st;
}

static dw_status remove_entry(const char *path, dw_err *err)
{
    struct stat sb;
    if (lstat(path, &sb)) {
        if (errno == ENOENT)
            return DW_OK;
        return dw_fail(err, DW_E_IO, "%s: cannot look at: %s", path, strerror(errno));
    }
    bool dir = S_ISDIR(sb.st_mode);
    if (dir)
        DW_TRY(remove_children(path, err));
    if (dir ? dw_vfs_get()->rmdir(path) : dw_vfs_get()->unlink(path))
        return dw_fail(err, DW_E_IO, "%s: cannot remove: %s", path, strerror(errno));
    return DW_OK;
}

dw_status dw_remove_tree(const char *path, dw_err *err)
{
    return remove_entry(path, err);
}
