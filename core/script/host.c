/* What dowel's own Lua files can ask of the program: positions, paths, plugins, checks. */
#include <string.h>

#include "base/file.h"
#include "data/folder.h"
#include "data/jsonl.h"
#include "model/hub.h"
#include "script/state.h"
#include "train/feeds.h"

static const char host_key; /* registry: the table */

/* Frees what the last binding held, and gives an empty buffer. */
static dw_buf *scratch(dw_script *s)
{
    dw_json_free(s->held);
    s->held = NULL;
    dw_buf_clear(&s->scratch);
    return &s->scratch;
}

/* nil, message. The exit code is kept for when the message ends the planning. */
static int refused(lua_State *L, dw_status st, const dw_err *err)
{
    dw_script *s = dw_state_of(L);
    s->raised = st;
    s->raised_err = *err;
    lua_pushnil(L);
    lua_pushstring(L, err->text);
    return 2;
}

/* where() -> file, line, was it a tail call; file nil when no recipe frame is on the stack */
static int host_where(lua_State *L)
{
    int line = 0;
    bool tail = false;
    const char *file = dw_state_where(L, &line, &tail);
    lua_pushstring(L, file);
    lua_pushinteger(L, line);
    lua_pushboolean(L, tail);
    return 3;
}

static int host_source(lua_State *L)
{
    const dw_source *f = dw_source_find(dw_state_of(L), luaL_checkstring(L, 1));
    if (!f)
        return 0;
    lua_pushlstring(L, f->text.ptr, f->text.len);
    return 1;
}

/* resolve(path [, from the working directory]) -> absolute */
static int host_resolve(lua_State *L)
{
    dw_script *s = dw_state_of(L);
    const char *path = luaL_checkstring(L, 1);
    if (!lua_toboolean(L, 2))
        path = dw_path_join(&s->arena, s->folder, path);
    lua_pushstring(L, dw_path_absolute(&s->arena, path));
    return 1;
}

/* hub(name) -> the folder of Hugging Face's cache that holds this model, or nil */
static int host_hub(lua_State *L)
{
    dw_arena a = {0};
    lua_pushstring(L, dw_hub_find(&a, luaL_checkstring(L, 1)));
    dw_arena_finish(&a);
    return 1;
}

static int host_exists(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    lua_pushstring(L, dw_dir_exists(path) ? "dir" : dw_file_exists(path) ? "file" : NULL);
    return 1;
}

/* data_file(path, split) -> the file that holds the rows, or nil and why */
static int host_data_file(lua_State *L)
{
    dw_arena a = {0};
    dw_err err;
    const char *file;
    dw_status st =
        dw_folder_file(&a, luaL_checkstring(L, 1), luaL_optstring(L, 2, NULL), &file, &err);
    if (st == DW_OK)
        lua_pushstring(L, file);
    dw_arena_finish(&a);
    return st < 0 ? refused(L, st, &err) : 1;
}

/* rows(path) -> number of rows, or nil and why */
static int host_rows(lua_State *L)
{
    dw_rows *r;
    dw_err err;
    dw_text row;
    uint32_t line;
    bool more = true;
    lua_Integer n = 0;
    dw_status st = dw_rows_open(luaL_checkstring(L, 1), &r, &err);
    if (st < 0)
        return refused(L, st, &err);
    while (st == DW_OK && more) {
        st = dw_rows_next(r, &row, &line, &more, &err);
        n += st == DW_OK && more;
    }
    dw_rows_close(r);
    if (st < 0)
        return refused(L, st, &err);
    lua_pushinteger(L, n);
    return 1;
}

/* nearest(wrong, list of names) -> name or nil */
static int host_nearest(lua_State *L)
{
    const char *wrong = luaL_checkstring(L, 1);
    size_t n = lua_rawlen(L, 2);
    luaL_checkstack(L, (int)n + 4, "too many names");
    const char **names = lua_newuserdatauv(L, (n + 1) * sizeof *names, 0);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        names[i] = luaL_checkstring(L, -1);
    }
    names[n] = NULL;
    lua_pushstring(L, dw_nearest(wrong, names));
    return 1;
}

/* Directories of the registry: --plugin-dir, then the recipe's list at `at`. */
static dw_status open_registry(lua_State *L, int at, dw_err *err)
{
    dw_script *s = dw_state_of(L);
    if (s->registry)
        return DW_OK;
    size_t n = lua_rawlen(L, at), all = s->n_plugin_dir + n;
    const char **dir = dw_arena_alloc(&s->arena, (all + 1) * sizeof *dir);
    const char *joined = "";
    for (size_t i = 0; i < all; i++) {
        if (i < s->n_plugin_dir) {
            dir[i] = s->plugin_dir[i];
        } else {
            lua_rawgeti(L, at, (lua_Integer)(i - s->n_plugin_dir) + 1);
            dir[i] = dw_arena_strdup(&s->arena, luaL_checkstring(L, -1));
            lua_pop(L, 1);
        }
        joined = dw_arena_printf(&s->arena, "%s%s\n", joined, dir[i]);
    }
    if (s->own_registry && !strcmp(joined, s->own_dirs))
        return DW_OK;
    dw_registry_destroy(s->own_registry);
    s->own_registry = NULL;
    DW_TRY(dw_registry_create(dir, all, &s->own_registry, err));
    s->own_dirs = joined;
    return DW_OK;
}

static dw_status find(lua_State *L, const char *id, int dirs, const dw_plugin_info **out,
                      dw_err *err)
{
    dw_script *s = dw_state_of(L);
    DW_TRY(open_registry(L, dirs, err));
    return dw_registry_find(s->registry ? s->registry : s->own_registry, id, s->folder, out, err);
}

static void flag(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

/* plugin(id, dirs) -> {objective, estimator, reward: which kinds; feeds: the types of data that the
 * objective trains on, takes: the same as a phrase; paths: its options of that type}, or nil and
 * why */
static int host_plugin(lua_State *L)
{
    const dw_plugin_info *p;
    dw_err err;
    dw_status st = find(L, luaL_checkstring(L, 1), 2, &p, &err);
    if (st < 0)
        return refused(L, st, &err);
    uint32_t feeds = p->plugin.objective ? p->plugin.objective->feeds_on : 0;
    lua_newtable(L);
    flag(L, "objective", p->plugin.objective);
    flag(L, "estimator", p->plugin.estimator);
    flag(L, "reward", p->plugin.reward);
    flag(L, "judge", p->plugin.judge);
    lua_newtable(L);
    for (int t = 0; t < DW_N_DATA_TYPE; t++)
        flag(L, dw_data_type_name((dw_data_type)t), feeds & dw_feed_of((dw_data_type)t));
    lua_setfield(L, -2, "feeds");
    dw_buf *b = scratch(dw_state_of(L));
    dw_feeds_print(feeds, b);
    lua_pushlstring(L, b->ptr ? b->ptr : "", b->len);
    lua_setfield(L, -2, "takes");
    lua_newtable(L);
    for (uint32_t i = 0; i < p->plugin.n_params; i++)
        if (p->plugin.params[i].type == DOWEL_PATH)
            flag(L, p->plugin.params[i].name, true);
    lua_setfield(L, -2, "paths");
    return 1;
}

/* columns() -> { texts = { { name = "text", needed = true, text = true }, ... }, ... } */
static int host_columns(lua_State *L)
{
    lua_newtable(L);
    for (int t = 0; t < DW_N_DATA_TYPE; t++) {
        lua_Integer n = 0;
        lua_newtable(L);
        for (int c = 0; c < DW_N_DATA_COLUMN; c++) {
            if (!dw_data_has((dw_data_type)t, (dw_data_column)c))
                continue;
            lua_newtable(L);
            lua_pushstring(L, dw_data_column_name((dw_data_column)c));
            lua_setfield(L, -2, "name");
            flag(L, "needed", dw_data_needs((dw_data_type)t, (dw_data_column)c));
            flag(L, "text", dw_data_is_text((dw_data_column)c));
            lua_rawseti(L, -2, ++n);
        }
        lua_setfield(L, -2, dw_data_type_name((dw_data_type)t));
    }
    return 1;
}

/* options(id, dirs, given) -> complete options, or nil and why */
static int host_options(lua_State *L)
{
    dw_script *s = dw_state_of(L);
    const dw_plugin_info *p;
    dw_err err;
    dw_status st = find(L, luaL_checkstring(L, 1), 2, &p, &err);
    if (st < 0)
        return refused(L, st, &err);
    dw_buf *b = scratch(s);
    if (!dw_value_to_json(L, 3, b)) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    st = dw_json_parse(b->ptr, b->len, DW_JSON_DEPTH_ROW, 1, &s->held, &err);
    if (st == DW_OK) {
        dw_buf_clear(b);
        st = dw_options_check(p, s->held, s->folder, b, &err);
        dw_json_free(s->held);
        s->held = NULL;
    }
    if (st == DW_OK)
        st = dw_json_parse(b->ptr, b->len, DW_JSON_DEPTH_ROW, 1, &s->held, &err);
    if (st < 0) /* a wrong option is the recipe's fault, whatever the plugin's file */
        return refused(L, DW_E_RECIPE, &err);
    dw_value_push(L, s->held);
    return 1;
}

/* check(plan) -> true, or nil and "dotted.path: why" */
static int host_check(lua_State *L)
{
    dw_script *s = dw_state_of(L);
    dw_err err;
    dw_plan *plan = NULL;
    dw_json *root = NULL;
    dw_buf *b = scratch(s);
    if (!dw_value_to_json(L, 1, b)) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    dw_status st = dw_json_parse(b->ptr, b->len, DW_JSON_DEPTH_ROW, 1, &root, &err);
    if (st == DW_OK)
        st = dw_plan_parse(root, &plan, &err);
    if (st < 0)
        return refused(L, st, &err);
    dw_plan_free(plan);
    lua_pushboolean(L, 1);
    return 1;
}

/* parse(text) -> the JSON value, or the text itself when it is none */
static int host_parse(lua_State *L)
{
    dw_script *s = dw_state_of(L);
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    dw_err err;
    scratch(s);
    if (dw_json_parse(text, n, DW_JSON_DEPTH_HEADER, 1, &s->held, &err) < 0)
        lua_settop(L, 1);
    else
        dw_value_push(L, s->held);
    return 1;
}

static int host_list(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    dw_value_list_mark(L, 1);
    lua_settop(L, 1);
    return 1;
}

static int host_checks_files(lua_State *L)
{
    lua_pushboolean(L, dw_state_of(L)->check_files);
    return 1;
}

void dw_host_push(lua_State *L)
{
    static const luaL_Reg functions[] = {{"where", host_where},
                                         {"source", host_source},
                                         {"resolve", host_resolve},
                                         {"exists", host_exists},
                                         {"hub", host_hub},
                                         {"data_file", host_data_file},
                                         {"rows", host_rows},
                                         {"nearest", host_nearest},
                                         {"plugin", host_plugin},
                                         {"options", host_options},
                                         {"columns", host_columns},
                                         {"check", host_check},
                                         {"parse", host_parse},
                                         {"list", host_list},
                                         {"checks_files", host_checks_files},
                                         {"load", dw_source_load_own},
                                         {NULL, NULL}};
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &host_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    dw_script *s = dw_state_of(L);
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_pushstring(L, s->recipe);
    lua_setfield(L, -2, "recipe");
    lua_pushstring(L, s->folder);
    lua_setfield(L, -2, "folder");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &host_key);
}
