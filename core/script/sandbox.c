/* What a recipe can reach: an allow-list of globals, with the dangerous ones replaced. */
#include <math.h>
#include <string.h>

#include <lualib.h>

#include "base/log.h"
#include "base/rng.h"
#include "script/state.h"

static const char *const allowed[] = {
    "_G",     "_VERSION", "assert",   "coroutine", "error",  "getmetatable", "ipairs",
    "load",   "math",     "next",     "pairs",     "pcall",  "print",        "rawequal",
    "rawget", "rawlen",   "rawset",   "require",   "select", "setmetatable", "string",
    "table",  "tonumber", "tostring", "type",      "utf8",   "xpcall",       NULL};

/* Some builds of Lua 5.4 still have these; a recipe must not come to need them. */
static const char *const old_math[] = {"atan2", "cosh", "frexp", "ldexp", "log10",
                                       "pow",   "sinh", "tanh",  NULL};

static const char frozen_key; /* registry: set of tables that may not be written any more */

static bool is_allowed(const char *name)
{
    for (const char *const *a = allowed; *a; a++)
        if (!strcmp(*a, name))
            return true;
    return false;
}

/* load, but never of compiled chunks. */
static int text_load(lua_State *L)
{
    int n = lua_gettop(L) >= 4 ? 4 : 3;
    lua_settop(L, n);
    lua_pushliteral(L, "t");
    lua_replace(L, 3);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

/* setmetatable, but without finalizers: no budget reaches into those. */
static int safe_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_type(L, 2) == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "a recipe may not set '__gc'");
        lua_pop(L, 1);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

static int safe_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &frozen_key) == LUA_TTABLE) {
        lua_pushvalue(L, 1);
        if (lua_rawget(L, -2) != LUA_TNIL)
            return luaL_error(L, "globals cannot be changed once training has started");
    }
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 1;
}

static int log_print(lua_State *L)
{
    dw_script *s = dw_state_of(L);
    luaL_Buffer b;
    int n = lua_gettop(L);
    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            luaL_addchar(&b, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    if (!s->quiet)
        dw_log(DW_INFO, "recipe", "%s", lua_tostring(L, -1));
    return 0;
}

/* math.random over the host's counter generator: the same numbers in every process. */
static int host_random(lua_State *L)
{
    dw_script *s = dw_state_of(L);
    uint64_t n = s->random_n++;
    lua_Integer lo = 1, hi;
    switch (lua_gettop(L)) {
    case 0:
        lua_pushnumber(L, dw_random_unit(s->random_seed, DW_RNG_SCRIPT, n, 0));
        return 1;
    case 1:
        hi = luaL_checkinteger(L, 1);
        break;
    case 2:
        lo = luaL_checkinteger(L, 1);
        hi = luaL_checkinteger(L, 2);
        break;
    default:
        return luaL_error(L, "wrong number of arguments");
    }
    luaL_argcheck(L, lo <= hi, lua_gettop(L), "interval is empty");
    uint64_t span = (uint64_t)hi - (uint64_t)lo + 1; /* 0: all 64 bits */
    uint64_t x = (uint64_t)lo;
    x += span ? dw_random_below(s->random_seed, DW_RNG_SCRIPT, n, 0, span)
              : dw_random(s->random_seed, DW_RNG_SCRIPT, n, 0);
    lua_pushinteger(L, (lua_Integer)x);
    return 1;
}

static int host_randomseed(lua_State *L)
{
    dw_script *s = dw_state_of(L);
    lua_Number x = luaL_optnumber(L, 1, 0);
    memcpy(&s->random_seed, &x, sizeof x);
    s->random_n = 0;
    return 0;
}

/* Wraps the global `name` in a C function that has the original as its upvalue. */
static void wrap(lua_State *L, const char *name, lua_CFunction fn)
{
    lua_getglobal(L, name);
    lua_pushcclosure(L, fn, 1);
    lua_setglobal(L, name);
}

static void set_field(lua_State *L, const char *table, const char *name, lua_CFunction fn)
{
    lua_getglobal(L, table);
    if (fn)
        lua_pushcfunction(L, fn);
    else
        lua_pushnil(L);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

static void drop_others(lua_State *L)
{
    lua_pushglobaltable(L);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING && is_allowed(lua_tostring(L, -1)))
            continue;
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, -4); /* clearing a field during traversal is allowed */
    }
    lua_pop(L, 1);
}

void dw_sandbox_open(lua_State *L)
{
    luaL_requiref(L, "_G", luaopen_base, 1);
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 1);
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
    luaL_requiref(L, LUA_UTF8LIBNAME, luaopen_utf8, 1);
    luaL_requiref(L, LUA_COLIBNAME, luaopen_coroutine, 1);
    lua_settop(L, 0);
    drop_others(L);
    wrap(L, "load", text_load);
    wrap(L, "setmetatable", safe_setmetatable);
    lua_register(L, "rawset", safe_rawset);
    lua_register(L, "print", log_print);
    lua_register(L, "require", dw_source_require);
    set_field(L, "string", "dump", NULL);
    for (const char *const *name = old_math; *name; name++)
        set_field(L, "math", *name, NULL);
    set_field(L, "math", "random", host_random);
    set_field(L, "math", "randomseed", host_randomseed);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_settop(L, 0);

    /* pairs in sorted order comes from Lua. */
    lua_pushcfunction(L, dw_source_load_own);
    lua_pushliteral(L, "prelude");
    lua_call(L, 1, 1);
    lua_setglobal(L, "pairs");
}

static int refuse_write(lua_State *L)
{
    return luaL_error(L, "assigns to %s, which cannot be changed once training has started",
                      luaL_tolstring(L, 2, NULL));
}

/* Moves the content of the table on top into a shadow behind it, and refuses writes to it. */
static void freeze_table(lua_State *L)
{
    int t = lua_gettop(L);
    lua_newtable(L); /* shadow */
    lua_pushnil(L);
    while (lua_next(L, t)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, t + 1);
    }
    lua_pushnil(L);
    while (lua_next(L, t + 1)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, t);
    }
    if (lua_getmetatable(L, t))
        lua_setmetatable(L, t + 1);
    lua_newtable(L);
    lua_pushvalue(L, t + 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, refuse_write);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, t);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &frozen_key);
    lua_pushvalue(L, t);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_settop(L, t);
}

void dw_sandbox_freeze(lua_State *L)
{
    static const char *const library[] = {"string", "table", "math", "utf8", "coroutine", NULL};
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &frozen_key);
    for (const char *const *name = library; *name; name++) {
        luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
        lua_getfield(L, -1, *name);
        if (lua_istable(L, -1))
            freeze_table(L);
        lua_pop(L, 2);
    }
    lua_pushglobaltable(L);
    freeze_table(L);
    lua_pop(L, 1);
}
