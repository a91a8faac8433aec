/* Where plugins are looked for, and which file answers to an id. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "plug/internal.h"

typedef struct folder {
    char *path;
    bool scanned;
} folder;

struct dw_registry {
    folder *dir;
    size_t n_dir, cap_dir;
    const dw_plugin_info **found;
    size_t n_found, cap_found;
    char **refused; /* messages of files that were not accepted */
    size_t n_refused, cap_refused;
};

/* ---- the list of folders ---- */

static void add_folder(dw_registry *r, const char *path)
{
    struct stat a, b;
    if (stat(path, &a) == 0)
        for (size_t i = 0; i < r->n_dir; i++)
            if (stat(r->dir[i].path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
                return;
    DW_GROW(r->dir, r->n_dir, r->cap_dir);
    r->dir[r->n_dir++] = (folder){.path = dw_strdup(path)};
}

static dw_status add_named(dw_registry *r, const char *path, dw_err *err)
{
    if (path[0] != '/')
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: a plugin folder must be given by an absolute path; plugins are never "
                       "looked for in the working directory",
                       *path ? path : "(empty)");
    dw_identity me = dw_identity_now();
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return dw_fail(err, DW_E_PLUGIN, "%s: no such plugin folder; create it or correct the path",
                       path);
    DW_TRY(dw_trust_stat(&me, &st, "folder", path, err));
    add_folder(r, path);
    return DW_OK;
}

static dw_status add_environment(dw_registry *r, dw_err *err)
{
    const char *list = getenv("DOWEL_PLUGIN_PATH");
    if (!list || !*list)
        return DW_OK;
    for (const char *s = list;;) {
        size_t n = strcspn(s, ":");
        if (n == 0 || s[0] != '/')
            return dw_fail(err, DW_E_PLUGIN,
                           "DOWEL_PLUGIN_PATH: the entry '%.*s' is not an absolute path; write it "
                           "out or take it away",
                           (int)(n > 1000 ? 1000 : n), s);
        char *path = dw_strndup(s, n);
        if (dw_dir_exists(path))
            add_folder(r, path);
        else
            dw_log(DW_DEBUG, "plugin", "DOWEL_PLUGIN_PATH: no folder %s", path);
        dw_free(path);
        if (!s[n])
            return DW_OK;
        s += n + 1;
    }
}

static void add_user(dw_registry *r)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    char path[PATH_MAX];
    int n = 0;
    if (data && data[0] == '/')
        n = snprintf(path, sizeof path, "%s/dowel/plugins", data);
    else if (home && home[0] == '/')
        n = snprintf(path, sizeof path, "%s/.local/share/dowel/plugins", home);
    if (n > 0 && (size_t)n < sizeof path && dw_dir_exists(path))
        add_folder(r, path);
}

/* The build tree that the program lies in (core/dowel, tests/unit/...), cut into `dir`. */
static bool build_tree(char *dir)
{
    char path[PATH_MAX + 32], *slash;
    for (int up = 0; up < 4 && (slash = strrchr(dir, '/')) && slash != dir; up++) {
        *slash = 0;
        snprintf(path, sizeof path, "%s/build.ninja", dir);
        if (dw_file_exists(path))
            return true;
    }
    return false;
}

/* The installation; for a program that still lies in its build tree, the plugins built with it. */
static void add_installed(dw_registry *r)
{
    char exe[PATH_MAX], path[PATH_MAX + 32];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n > 0) {
        exe[n] = 0;
        if (build_tree(exe)) {
            snprintf(path, sizeof path, "%s/plugins", exe);
            if (dw_dir_exists(path)) {
                add_folder(r, path);
                return;
            }
        }
    }
    if (dw_dir_exists(DOWEL_PLUGIN_DIR))
        add_folder(r, DOWEL_PLUGIN_DIR);
}

dw_status dw_registry_create(const char *const *dirs, size_t n_dirs, dw_registry **out, dw_err *err)
{
    dw_registry *r = dw_zalloc(1, sizeof *r);
    dw_status s = DW_OK;
    for (size_t i = 0; s == DW_OK && i < n_dirs; i++)
        s = add_named(r, dirs[i], err);
    if (s == DW_OK)
        s = add_environment(r, err);
    if (s < 0) {
        dw_registry_destroy(r);
        return s;
    }
    add_user(r);
    add_installed(r);
    *out = r;
    return DW_OK;
}

void dw_registry_destroy(dw_registry *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_dir; i++)
        dw_free(r->dir[i].path);
    for (size_t i = 0; i < r->n_refused; i++)
        dw_free(r->refused[i]);
    dw_free(r->dir);
    dw_free(r->found);
    dw_free(r->refused);
    dw_free(r);
}

size_t dw_registry_count(const dw_registry *r)
{
    return r->n_found;
}

const dw_plugin_info *dw_registry_at(const dw_registry *r, size_t i)
{
    return r->found[i];
}

/* ---- files ---- */

static const dw_plugin_info *known(const dw_registry *r, const char *id)
{
    for (size_t i = 0; i < r->n_found; i++)
        if (!strcmp(r->found[i]->plugin.id, id))
            return r->found[i];
    return NULL;
}

/* Two files may hold one id only when they are copies of each other. */
static dw_status add_info(dw_registry *r, const dw_plugin_info *p, dw_err *err)
{
    const dw_plugin_info *other = known(r, p->plugin.id);
    if (other && other != p && strcmp(other->sha256, p->sha256) != 0)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: offers the plugin '%s', which %s offers too; take one of them out of "
                       "the search path",
                       p->path, p->plugin.id, other->path);
    if (other)
        return DW_OK;
    DW_GROW(r->found, r->n_found, r->cap_found);
    r->found[r->n_found++] = p;
    return DW_OK;
}

static dw_status add_file(dw_registry *r, const char *path, const dw_module **out, dw_err *err)
{
    DW_TRY(dw_module_load(path, out, err));
    for (size_t i = 0; i < (*out)->n_info; i++)
        DW_TRY(add_info(r, &(*out)->info[i], err));
    return DW_OK;
}

dw_status dw_registry_load_file(dw_registry *r, const char *path, dw_err *err)
{
    const dw_module *m;
    return add_file(r, path, &m, err);
}

static bool is_plugin_name(const char *name)
{
    size_t n = strlen(name);
    return n > 3 && name[0] != '.' && !strcmp(name + n - 3, ".so");
}

static void remember_refusal(dw_registry *r, const char *text)
{
    for (size_t i = 0; i < r->n_refused; i++)
        if (!strcmp(r->refused[i], text))
            return;
    dw_log(DW_WARN, "plugin", "%s", text);
    DW_GROW(r->refused, r->n_refused, r->cap_refused);
    r->refused[r->n_refused++] = dw_strdup(text);
}

/* A folder that others may write to would refuse file by file; one line says it. */
static dw_status scan_folder(dw_registry *r, folder *f, dw_err *err)
{
    if (f->scanned)
        return DW_OK;
    f->scanned = true;
    dw_identity me = dw_identity_now();
    struct stat st;
    dw_err why;
    if (stat(f->path, &st))
        return DW_OK;
    if (dw_trust_stat(&me, &st, "folder", f->path, &why) < 0) {
        remember_refusal(r, why.text);
        return DW_OK;
    }
    dw_arena a = {0};
    char **name = NULL;
    size_t n = 0;
    dw_status s = dw_dir_list(&a, f->path, &name, &n, err);
    for (size_t i = 0; s == DW_OK && i < n; i++) {
        const dw_module *m;
        if (!is_plugin_name(name[i]))
            continue;
        char *path = dw_path_join(&a, f->path, name[i]);
        if (dw_module_load(path, &m, &why) < 0) {
            remember_refusal(r, why.text);
            continue;
        }
        for (size_t k = 0; s == DW_OK && k < m->n_info; k++)
            s = add_info(r, &m->info[k], err);
    }
    dw_arena_finish(&a);
    return s;
}

dw_status dw_registry_load_all(dw_registry *r, dw_err *err)
{
    for (size_t i = 0; i < r->n_dir; i++)
        DW_TRY(scan_folder(r, &r->dir[i], err));
    return DW_OK;
}

/* ---- search ---- */

static dw_status find_path(dw_registry *r, const char *name, const char *base_dir,
                           const dw_plugin_info **out, dw_err *err)
{
    const dw_module *m = NULL;
    dw_arena a = {0};
    char *path = dw_path_absolute(&a, dw_path_join(&a, base_dir ? base_dir : ".", name));
    dw_status s = add_file(r, path, &m, err);
    if (s == DW_OK && m->n_info > 1)
        s = dw_fail(err, DW_E_PLUGIN,
                    "%s: holds %zu plugins, the first is '%s'; name the one you mean by its id and "
                    "give its folder as a plugin folder",
                    path, m->n_info, m->info[0].plugin.id);
    if (s == DW_OK)
        *out = &m->info[0];
    dw_arena_finish(&a);
    return s;
}

/* Every folder's file of that name, so that a second one offering the id is noticed. */
static dw_status try_named_files(dw_registry *r, const char *id, dw_err *refusal, dw_err *err)
{
    const char *dot = strrchr(id, '.');
    dw_arena a = {0};
    dw_status s = DW_OK;
    char *file = dw_arena_printf(&a, "%s.so", dot ? dot + 1 : id);
    for (size_t i = 0; s == DW_OK && i < r->n_dir; i++) {
        const dw_module *m;
        char *path = dw_path_join(&a, r->dir[i].path, file);
        if (access(path, F_OK) != 0)
            continue;
        if (dw_module_load(path, &m, refusal) < 0)
            continue;
        for (size_t k = 0; s == DW_OK && k < m->n_info; k++)
            s = add_info(r, &m->info[k], err);
    }
    dw_arena_finish(&a);
    return s;
}

static dw_status not_found(const dw_registry *r, const char *id, dw_err *err)
{
    const char **ids = dw_zalloc(r->n_found + 1, sizeof *ids);
    dw_buf where = {0};
    for (size_t i = 0; i < r->n_found; i++)
        ids[i] = r->found[i]->plugin.id;
    for (size_t i = 0; i < r->n_dir; i++)
        dw_buf_printf(&where, "%s%s", i ? ", " : "", r->dir[i].path);
    const char *near = dw_nearest(id, ids);
    dw_fail(err, DW_E_PLUGIN, "no plugin '%.100s'%s%s%s (%s%.1200s; --plugin-dir adds a folder)",
            id, near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "",
            where.len ? "looked in " : "no plugin folder exists", where.len ? where.ptr : "");
    dw_buf_finish(&where);
    dw_free(ids);
    return DW_E_PLUGIN;
}

dw_status dw_registry_find(dw_registry *r, const char *name, const char *base_dir,
                           const dw_plugin_info **out, dw_err *err)
{
    if (strchr(name, '/'))
        return find_path(r, name, base_dir, out, err);
    if ((*out = known(r, name)))
        return DW_OK;
    dw_err refusal = {{0}};
    DW_TRY(try_named_files(r, name, &refusal, err));
    if ((*out = known(r, name)))
        return DW_OK;
    if (refusal.text[0])
        return dw_fail(err, DW_E_PLUGIN, "%s", refusal.text);
    DW_TRY(dw_registry_load_all(r, err));
    if ((*out = known(r, name)))
        return DW_OK;
    return not_found(r, name, err);
}
