/* Lua values to JSON text and back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "script/state.h"

enum { MAX_DEPTH = 60 };

static const char list_key; /* registry: metatable that marks an empty list */

static void push_list_mark(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &list_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &list_key);
}

void dw_value_list_mark(lua_State *L, int at)
{
    at = lua_absindex(L, at);
    push_list_mark(L);
    lua_setmetatable(L, at);
}

static bool is_marked(lua_State *L, int at)
{
    if (!lua_getmetatable(L, at))
        return false;
    push_list_mark(L);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* The path so far, for messages. */
typedef struct writer {
    lua_State *L;
    dw_buf *out;
    char path[512];
    int depth;
} writer;

static bool refuse(writer *w, const char *what)
{
    lua_pushfstring(w->L, "%s%s%s", w->path, w->path[0] ? ": " : "", what);
    return false;
}

static size_t enter(writer *w, const char *key)
{
    size_t old = strlen(w->path);
    snprintf(w->path + old, sizeof w->path - old, "%s%s", old ? "." : "", key);
    return old;
}

static bool put(writer *w, int at);

static bool put_list(writer *w, int at, lua_Integer n)
{
    dw_buf_addc(w->out, '[');
    for (lua_Integer i = 1; i <= n; i++) {
        char key[32];
        snprintf(key, sizeof key, "%lld", (long long)i - 1);
        size_t old = enter(w, key);
        if (i > 1)
            dw_buf_addc(w->out, ',');
        lua_rawgeti(w->L, at, i);
        if (!put(w, lua_gettop(w->L)))
            return false;
        lua_pop(w->L, 1);
        w->path[old] = 0;
    }
    dw_buf_addc(w->out, ']');
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Keys are sorted so that of two mistakes the same one is found every time. */
static bool put_object(writer *w, int at)
{
    lua_State *L = w->L;
    size_t n = 0, i = 0;
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            return refuse(w, "a table with both names and positions, or with odd keys");
        n++;
    }
    /* The keys stay alive in the table; the array lives in Lua's memory, so that a raise frees it.
     */
    const char **key = lua_newuserdatauv(L, (n + 1) * sizeof *key, 0);
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1))
        key[i++] = lua_tostring(L, -2);
    qsort(key, n, sizeof *key, by_text);
    dw_buf_addc(w->out, '{');
    for (i = 0; i < n; i++) {
        size_t old = enter(w, key[i]);
        if (i)
            dw_buf_addc(w->out, ',');
        if (!dw_utf8_valid(key[i], strlen(key[i])))
            return refuse(w, "the key is not UTF-8");
        dw_json_put_cstr(w->out, key[i]);
        dw_buf_addc(w->out, ':');
        lua_getfield(L, at, key[i]);
        if (!put(w, lua_gettop(L)))
            return false;
        lua_pop(L, 1);
        w->path[old] = 0;
    }
    dw_buf_addc(w->out, '}');
    lua_pop(L, 1);
    return true;
}

static bool put_table(writer *w, int at)
{
    lua_Integer n = (lua_Integer)lua_rawlen(w->L, at);
    if (++w->depth > MAX_DEPTH)
        return refuse(w, "tables nested too deep, or a table inside itself");
    luaL_checkstack(w->L, 8, "tables nested too deep");
    bool list = n || is_marked(w->L, at);
    lua_Integer all = 0;
    if (list)
        for (lua_pushnil(w->L); lua_next(w->L, at); lua_pop(w->L, 1))
            all++;
    if (list && all != n)
        return refuse(w, "a table with both names and positions, or with holes");
    bool ok = list ? put_list(w, at, n) : put_object(w, at);
    w->depth--;
    return ok;
}

static bool put(writer *w, int at)
{
    lua_State *L = w->L;
    size_t n;
    const char *text;
    switch (lua_type(L, at)) {
    case LUA_TNIL:
    case LUA_TLIGHTUSERDATA:
        dw_buf_adds(w->out, "null");
        return true;
    case LUA_TBOOLEAN:
        dw_buf_adds(w->out, lua_toboolean(L, at) ? "true" : "false");
        return true;
    case LUA_TNUMBER:
        if (lua_isinteger(L, at))
            dw_buf_printf(w->out, "%lld", (long long)lua_tointeger(L, at));
        else if (isfinite(lua_tonumber(L, at)))
            dw_json_put_num(w->out, lua_tonumber(L, at));
        else
            return refuse(w, isnan(lua_tonumber(L, at)) ? "expected a number, got nan"
                                                        : "expected a finite number, got infinity");
        return true;
    case LUA_TSTRING:
        text = lua_tolstring(L, at, &n);
        if (!dw_utf8_valid(text, n))
            return refuse(w, "the text is not UTF-8");
        dw_json_put_str(w->out, text, n);
        return true;
    case LUA_TTABLE:
        return put_table(w, at);
    default:
        return refuse(w, lua_isfunction(L, at) ? "expected a value, got a function"
                                               : "expected a value, got a thread or userdata");
    }
}

bool dw_value_to_json(lua_State *L, int at, dw_buf *out)
{
    writer w = {.L = L, .out = out};
    return put(&w, lua_absindex(L, at));
}

void dw_value_push(lua_State *L, const dw_json *v)
{
    int64_t i;
    dw_text t;
    luaL_checkstack(L, 4, "JSON nested too deep");
    switch (v ? dw_json_kind(v) : DW_JSON_NULL) {
    case DW_JSON_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    case DW_JSON_BOOL:
        lua_pushboolean(L, dw_json_bool(v));
        break;
    case DW_JSON_NUMBER:
        if (dw_json_int(v, &i))
            lua_pushinteger(L, i);
        else
            lua_pushnumber(L, dw_json_num(v));
        break;
    case DW_JSON_STRING:
        t = dw_json_str(v);
        lua_pushlstring(L, t.ptr, t.len);
        break;
    case DW_JSON_ARRAY:
        lua_newtable(L);
        i = 0;
        for (const dw_json *e = dw_json_first(v); e; e = dw_json_next(e)) {
            dw_value_push(L, e);
            lua_rawseti(L, -2, ++i);
        }
        dw_value_list_mark(L, -1);
        break;
    case DW_JSON_OBJECT:
        lua_newtable(L);
        for (const dw_json *m = dw_json_first(v); m; m = dw_json_next(m)) {
            lua_pushstring(L, dw_json_key(m));
            dw_value_push(L, m);
            lua_rawset(L, -3);
        }
        break;
    }
}
