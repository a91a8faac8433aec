/* A Lua state under limits: memory through the allocator, instructions through the count hook. */
#include "script/state.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"

dw_script *dw_state_of(lua_State *L)
{
    return *(dw_script **)lua_getextraspace(L);
}

const char *dw_state_where(lua_State *L, int *line, bool *tail)
{
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Slt", &ar);
        if (ar.source[0] != '@' || ar.currentline < 0)
            continue;
        *line = ar.currentline;
        if (tail)
            *tail = ar.istailcall;
        return ar.source + 1;
    }
    /* Inside a coroutine: where the main thread resumed it. */
    dw_script *s = dw_state_of(L);
    return L == s->L ? NULL : dw_state_where(s->L, line, tail);
}

static void note_where(dw_script *s, lua_State *L)
{
    int line;
    const char *file = dw_state_where(L, &line, NULL);
    if (file)
        snprintf(s->where, sizeof s->where, "%s:%d", file, line);
}

static void *allocate(void *ud, void *p, size_t old, size_t size)
{
    dw_script *s = ud;
    size_t before = p ? old : 0; /* for new objects `old` is a type */
    if (size == 0) {
        free(p);
        s->used -= before;
        return NULL;
    }
    if (size > before && size - before > (size_t)DW_SCRIPT_MEMORY - s->used) {
        if (s->L)
            note_where(s, s->L);
        return NULL;
    }
    void *q = realloc(p, size);
    if (q)
        s->used = s->used - before + size;
    return q;
}

/* Once the budget is gone every further instruction raises again, so that no pcall keeps a loop
 * alive. Coroutines inherit the hook when they are made. */
static void on_count(lua_State *L, lua_Debug *ar)
{
    dw_script *s = dw_state_of(L);
    note_where(s, L);
    if (--s->budget > 0)
        return;
    s->exhausted = true;
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    lua_sethook(s->L, on_count, LUA_MASKCOUNT, 1); /* what resumed this coroutine stops too */
    lua_pushfstring(L, "%s: used more than %d million instructions", s->where,
                    DW_SCRIPT_BUDGET / (1000000 / DW_SCRIPT_HOOK_EVERY));
    lua_error(L);
}

static void on_warn(void *ud, const char *text, int to_continue)
{
    dw_log(DW_WARN, "recipe", "%s", text);
}

/* Does text start with "prefix:digit"? */
static bool is_located(const char *text, const char *prefix)
{
    size_t n = strlen(prefix);
    return !strncmp(text, prefix, n) && text[n] == ':' && isdigit((unsigned char)text[n + 1]);
}

/* Lua shortens long file names in messages; this is the form it gives them. */
static void short_name(const char *display, char out[LUA_IDSIZE])
{
    size_t n = strlen(display);
    if (n + 1 <= LUA_IDSIZE)
        memcpy(out, display, n + 1);
    else
        snprintf(out, LUA_IDSIZE, "...%s", display + n - (LUA_IDSIZE - 4));
}

/* Gives every message the form "file:line: text", with the file's name in full. */
static int locate_message(lua_State *L)
{
    dw_script *s = dw_state_of(L);
    if (!lua_isstring(L, 1)) {
        lua_pushfstring(L, "error with a %s instead of a message", luaL_typename(L, 1));
        lua_replace(L, 1);
    }
    const char *text = lua_tostring(L, 1);
    for (size_t i = 0; i < s->n_source; i++) {
        char id[LUA_IDSIZE];
        short_name(s->source[i].display, id);
        if (is_located(text, s->source[i].display))
            return 1;
        if (is_located(text, id)) {
            lua_pushfstring(L, "%s%s", s->source[i].display, text + strlen(id));
            return 1;
        }
    }
    int line;
    const char *file = dw_state_where(L, &line, NULL);
    if (file)
        lua_pushfstring(L, "%s:%d: %s", file, line, text);
    return 1;
}

dw_status dw_state_call(dw_script *s, int n_arg, int n_result, dw_err *err)
{
    lua_State *L = s->L;
    int at = lua_gettop(L) - n_arg;
    lua_pushcfunction(L, locate_message);
    lua_insert(L, at);
    s->budget = DW_SCRIPT_BUDGET;
    s->exhausted = false;
    s->raised = DW_OK;
    snprintf(s->where, sizeof s->where, "%s", s->recipe);
    lua_sethook(L, on_count, LUA_MASKCOUNT, DW_SCRIPT_HOOK_EVERY);
    int rc = lua_pcall(L, n_arg, n_result, at);
    lua_sethook(L, NULL, 0, 0);
    lua_remove(L, at);
    if (rc == LUA_OK)
        return DW_OK;
    dw_status st = DW_E_RECIPE;
    if (rc == LUA_ERRMEM) {
        st = dw_fail(err, DW_E_RECIPE, "%s: used more than %d MiB of memory", s->where,
                     DW_SCRIPT_MEMORY >> 20);
    } else if (rc == LUA_ERRERR) {
        st = dw_fail(err, DW_E_RECIPE, "%s: an error while an error was handled", s->where);
    } else {
        const char *text = lua_tostring(L, -1);
        if (s->raised < 0 && strstr(text, s->raised_err.text))
            st = s->raised;
        dw_fail(err, st, "%s", text);
        /* One line: the stack overflow's message carries a traceback of its own. */
        err->text[strcspn(err->text, "\n")] = 0;
    }
    lua_pop(L, 1);
    return st;
}

static int open_all(lua_State *L)
{
    dw_sandbox_open(L);
    lua_newtable(L);
    dw_state_of(L)->functions = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

dw_status dw_state_create(const dw_script_options *o, dw_registry *reg, dw_script **out,
                          dw_err *err)
{
    *out = NULL;
    dw_script *s = dw_zalloc(1, sizeof *s);
    s->recipe = dw_arena_strdup(&s->arena, o->recipe);
    s->folder = dw_path_dir(&s->arena, dw_path_absolute(&s->arena, o->recipe));
    s->modules = s->folder;
    s->registry = reg;
    s->plugin_dir = o->plugin_dir;
    s->n_plugin_dir = o->n_plugin_dir;
    s->check_files = true;
    dw_status st = dw_source_scripts_dir(s, err);
    if (st == DW_OK) {
        lua_State *L = lua_newstate(allocate, s);
        if (!L) {
            st = dw_fail(err, DW_E_LIMIT, "no memory for a Lua state");
        } else {
            *(dw_script **)lua_getextraspace(L) = s;
            s->L = L;
            lua_setwarnf(L, on_warn, s);
            lua_pushcfunction(L, open_all);
            st = dw_state_call(s, 0, 0, err);
        }
    }
    if (st < 0) {
        dw_script_free(s);
        return st;
    }
    *out = s;
    return DW_OK;
}

void dw_script_free(dw_script *s)
{
    if (!s)
        return;
    if (s->L)
        lua_close(s->L);
    dw_registry_destroy(s->own_registry);
    dw_json_free(s->held);
    dw_buf_finish(&s->scratch);
    dw_arena_finish(&s->arena);
    dw_free(s);
}
