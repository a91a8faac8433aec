/* Source files: reading and compiling the recipe, its modules and dowel's own vocabulary. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "script/state.h"

static const char modules_key, own_key; /* registry: name -> what the file returned */

const dw_source *dw_source_find(const dw_script *s, const char *display)
{
    for (size_t i = 0; i < s->n_source; i++)
        if (!strcmp(s->source[i].display, display))
            return &s->source[i];
    return NULL;
}

/* Text of a file, in the script's arena; raises. */
static dw_text read_text(lua_State *L, const char *path)
{
    dw_script *s = dw_state_of(L);
    dw_buf b = {0};
    dw_err err;
    dw_text t = {NULL, 0};
    dw_status st = dw_file_read(path, DW_SCRIPT_MAX_SOURCE, &b, &err);
    if (st == DW_OK)
        t = (dw_text){dw_arena_strndup(&s->arena, b.ptr ? b.ptr : "", b.len), b.len};
    dw_buf_finish(&b);
    if (st < 0)
        luaL_error(L, "%s", err.text);
    return t;
}

void dw_source_push(lua_State *L, const char *path, const char *display, const char *name)
{
    dw_script *s = dw_state_of(L);
    if (s->n_source == sizeof s->source / sizeof *s->source)
        luaL_error(L, "a recipe of more than %d files", (int)s->n_source);
    dw_source *f = &s->source[s->n_source];
    f->text = read_text(L, path);
    f->path = dw_arena_strdup(&s->arena, path);
    f->display = dw_arena_strdup(&s->arena, display);
    f->name = dw_arena_strdup(&s->arena, name);
    s->source_path[s->n_source] = f->path;
    s->source_name[s->n_source] = f->name;
    s->n_source++;
    const char *chunk = lua_pushfstring(L, "@%s", display);
    const char *text = f->text.ptr;
    size_t n = f->text.len;
    if (n && text[0] == '#') { /* as lua does: a first line for the shell */
        size_t skip = strcspn(text, "\n");
        text += skip;
        n -= skip;
    }
    if (luaL_loadbufferx(L, text, n, chunk, "t") != LUA_OK)
        lua_error(L);
    lua_remove(L, -2);
}

static bool is_module_name(const char *name)
{
    bool part = false;
    for (const char *p = name; *p; p++) {
        bool word = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                    (*p >= '0' && *p <= '9') || *p == '_' || *p == '-';
        if (!word && (*p != '.' || !part))
            return false;
        part = word;
    }
    return part;
}

/* Leaves the cache table `key` of the registry on the stack. */
static void push_cache(lua_State *L, const void *key)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

static const char *file_of(dw_script *s, const char *name)
{
    char *file = dw_arena_printf(&s->arena, "%s.lua", name);
    for (char *p = file; *p && strcmp(p, ".lua") != 0; p++)
        if (*p == '.')
            *p = '/';
    return file;
}

int dw_source_load_own(lua_State *L)
{
    dw_script *s = dw_state_of(L);
    const char *name = luaL_checkstring(L, 1);
    push_cache(L, &own_key);
    int cache = lua_gettop(L);
    if (lua_getfield(L, cache, name) != LUA_TNIL)
        return 1;
    bool top = !strcmp(name, "dowel");
    const char *path =
        dw_arena_printf(&s->arena, top ? "%s/%s.lua" : "%s/dowel/%s.lua", s->scripts, name);
    dw_text t = read_text(L, path);
    const char *chunk = lua_pushfstring(L, top ? "=%s" : "=dowel/%s", name);
    if (luaL_loadbufferx(L, t.ptr, t.len, chunk, "t") != LUA_OK)
        return lua_error(L);
    dw_host_push(L);
    lua_call(L, 1, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, cache, name);
    return 1;
}

int dw_source_require(lua_State *L)
{
    dw_script *s = dw_state_of(L);
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    if (!strcmp(name, "dowel"))
        return dw_source_load_own(L);
    if (!is_module_name(name))
        return luaL_error(L, "'%s' is not a module's name (words joined by dots)", name);
    push_cache(L, &modules_key);
    if (lua_getfield(L, 2, name) == LUA_TLIGHTUSERDATA)
        return luaL_error(L, "module '%s' requires itself", name);
    if (!lua_isnil(L, -1))
        return 1;
    const char *file = file_of(s, name);
    const char *path = dw_path_join(&s->arena, s->modules, file);
    if (!dw_file_exists(path))
        return luaL_error(L, "no module '%s' (looked for %s in the recipe's folder)", name, file);
    const char *dir = dw_path_dir(&s->arena, s->recipe);
    const char *display = strcmp(dir, ".") ? dw_path_join(&s->arena, dir, file) : file;
    lua_pushlightuserdata(L, (void *)&modules_key);
    lua_setfield(L, 2, name);
    dw_source_push(L, path, display, dw_arena_printf(&s->arena, "lib/%s", file));
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    if (lua_isnil(L, -1)) {
        lua_pushboolean(L, 1);
        lua_replace(L, -2);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, name);
    return 1;
}

/* DOWEL_SCRIPTS for tests; the source tree when the program runs from the build tree; else the
 * installation. */
dw_status dw_source_scripts_dir(dw_script *s, dw_err *err)
{
    const char *env = getenv("DOWEL_SCRIPTS");
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    const char *build = dw_path_dir(&s->arena, DOWEL_BUILD_PLUGINS);
    if (env && env[0] == '/')
        s->scripts = dw_arena_strdup(&s->arena, env);
    else if (!strncmp(exe, build, strlen(build)) && exe[strlen(build)] == '/')
        s->scripts = DOWEL_SOURCE_SCRIPTS;
    else
        s->scripts = DOWEL_SHARE_DIR "/lua";
    if (dw_file_exists(dw_path_join(&s->arena, s->scripts, "dowel.lua")))
        return DW_OK;
    return dw_fail(err, DW_E_IO, "dowel's own Lua files are not in %s (is it installed whole?)",
                   s->scripts);
}
