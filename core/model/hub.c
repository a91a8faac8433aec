/* Finds models in the cache that Hugging Face's programs leave behind. */
#include "model/hub.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static const char *set(const char *variable)
{
    const char *v = getenv(variable);
    return v && *v ? v : NULL;
}

/* The order of huggingface_hub 1.x (constants.py). */
static char *cache(dw_arena *a)
{
    const char *hub = set("HF_HUB_CACHE"), *home = set("HF_HOME"), *xdg = set("XDG_CACHE_HOME");
    if (!hub)
        hub = set("HUGGINGFACE_HUB_CACHE");
    if (hub)
        return dw_arena_strdup(a, hub);
    if (home)
        return dw_path_join(a, home, "hub");
    if (xdg)
        return dw_path_join(a, xdg, "huggingface/hub");
    return set("HOME") ? dw_path_join(a, set("HOME"), ".cache/huggingface/hub") : NULL;
}

static bool is_part(const char *s, size_t n)
{
    static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return n > 0 && n <= 96 && s[0] != '.' && s[0] != '-' && strspn(s, ok) >= n;
}

/* A revision that is a branch or a tag stands in refs/ with the commit that it was last seen at. */
static char *commit_of(dw_arena *a, const char *model, const char *revision)
{
    dw_buf b = {0};
    dw_err err;
    char *commit = NULL;
    if (strchr(revision, '/') || revision[0] == '.')
        return NULL;
    const char *ref = dw_arena_printf(a, "%s/refs/%s", model, revision);
    if (dw_file_exists(ref) && dw_file_read(ref, 256, &b, &err) >= 0) {
        const char *text = b.ptr ? b.ptr : "";
        const size_t n = strspn(text, "0123456789abcdef");
        if (n && (n == b.len || (n + 1 == b.len && text[n] == '\n')))
            commit = dw_arena_strndup(a, text, n);
    } else if (*revision) {
        commit = dw_arena_strdup(a, revision);
    }
    dw_buf_finish(&b);
    return commit;
}

char *dw_hub_find(dw_arena *a, const char *name)
{
    const char *at = strchr(name, '@');
    const size_t n = at ? (size_t)(at - name) : strlen(name);
    const char *slash = memchr(name, '/', n);
    const size_t first = slash ? (size_t)(slash - name) : n;
    char *root = cache(a);
    if (!root || !is_part(name, first) || (slash && !is_part(slash + 1, n - first - 1)))
        return NULL;
    char *model = slash ? dw_arena_printf(a, "%s/models--%.*s--%.*s", root, (int)first, name,
                                          (int)(n - first - 1), slash + 1)
                        : dw_arena_printf(a, "%s/models--%.*s", root, (int)first, name);
    const char *commit = commit_of(a, model, at ? at + 1 : "main");
    char *dir = commit ? dw_arena_printf(a, "%s/snapshots/%s", model, commit) : NULL;
    return dir && dw_dir_exists(dir) ? dw_path_absolute(a, dir) : NULL;
}

const char *dw_hub_place(dw_arena *a, const char *path)
{
    const bool there = dw_file_exists(path) || dw_dir_exists(path);
    const char *found = there ? NULL : dw_hub_find(a, path);
    return found ? found : path;
}

char *dw_hub_root(dw_arena *a, const char *dir, char **rest)
{
    char *real = realpath(dir, NULL);
    if (!real)
        return NULL;
    char *snapshots = dw_path_dir(a, real), *model = dw_path_dir(a, snapshots);
    bool is = !strcmp(dw_path_base(snapshots), "snapshots") &&
              !strncmp(dw_path_base(model), "models--", 8);
    *rest = dw_arena_printf(a, "snapshots/%s", dw_path_base(real));
    free(real);
    return is ? model : NULL;
}
