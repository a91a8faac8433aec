/* From a recipe to a plan: a trial in a child under a time limit, then the same again here, where
 * the state stays for the plan's callbacks. */
#include "script/script.h"

#include <string.h>

#include "base/file.h"
#include "script/state.h"

/* [protected] vocabulary -> the table that finish() and functions come from; then the recipe. */
static int run_recipe(lua_State *L)
{
    dw_script *s = dw_state_of(L);
    lua_pushcfunction(L, dw_source_load_own);
    lua_pushliteral(L, "dowel");
    lua_call(L, 1, 1);
    dw_source_push(L, dw_path_absolute(&s->arena, s->recipe), s->recipe, "recipe.lua");
    lua_call(L, 0, 1);
    return 2;
}

/* [protected] (vocabulary, recipe's value, --set texts...) -> JSON text; keeps the functions. */
static int finish(lua_State *L)
{
    dw_script *s = dw_state_of(L);
    int n = lua_gettop(L);
    lua_pushcfunction(L, dw_source_load_own);
    lua_pushliteral(L, "finish");
    lua_call(L, 1, 1);
    lua_insert(L, 1);
    lua_remove(L, 2);
    lua_call(L, n - 1, 2); /* plan, functions */
    lua_rawseti(L, LUA_REGISTRYINDEX, s->functions);
    dw_buf_clear(&s->scratch);
    if (!dw_value_to_json(L, -1, &s->scratch))
        return lua_error(L);
    return 0;
}

static int freeze(lua_State *L)
{
    dw_sandbox_freeze(L);
    return 0;
}

static dw_status evaluate(dw_script *s, const dw_script_options *o, dw_program **out, dw_err *err)
{
    lua_State *L = s->L;
    if (!dw_file_exists(dw_path_absolute(&s->arena, o->recipe)))
        return dw_fail(err, DW_E_RECIPE, "no recipe '%s'", o->recipe);
    lua_pushcfunction(L, run_recipe);
    DW_TRY(dw_state_call(s, 0, 2, err));
    lua_pushcfunction(L, finish);
    lua_insert(L, 1);
    for (size_t i = 0; i < o->n_set; i++)
        lua_pushstring(L, o->set[i]);
    DW_TRY(dw_state_call(s, 2 + (int)o->n_set, 0, err));
    dw_json *root;
    dw_status st = dw_json_parse(s->scratch.ptr, s->scratch.len, DW_JSON_DEPTH_ROW, 1, &root, err);
    if (st == DW_OK)
        st = dw_program_parse(root, out, err);
    if (st < 0) {
        dw_err_prefix(err, "%s", o->recipe);
        return st;
    }
    lua_pushcfunction(L, freeze);
    st = dw_state_call(s, 0, 0, err);
    s->frozen = true;
    return st;
}

typedef struct trial {
    const dw_script_options *o;
    dw_registry *reg;
} trial;

static dw_status try_recipe(void *ctx, dw_err *err)
{
    trial *t = ctx;
    dw_script *s;
    dw_program *p = NULL;
    DW_TRY(dw_state_create(t->o, t->reg, &s, err));
    dw_child_watch(s);
    dw_status st = evaluate(s, t->o, &p, err);
    dw_program_free(p);
    dw_script_free(s);
    return st;
}

dw_status dw_script_plan(const dw_script_options *o, dw_registry *reg, dw_script **script,
                         dw_program **out, dw_err *err)
{
    trial t = {o, reg};
    *script = NULL;
    *out = NULL;
    DW_TRY(dw_child_try(try_recipe, &t, o->recipe, err));
    dw_script *s;
    DW_TRY(dw_state_create(o, reg, &s, err));
    s->quiet = true; /* the trial has printed */
    dw_status st = evaluate(s, o, out, err);
    if (st < 0) {
        dw_program_free(*out);
        *out = NULL;
        dw_script_free(s);
        return st;
    }
    s->quiet = false;
    *script = s;
    return DW_OK;
}

/* Is every function of a plan there? */
static dw_status find_functions(dw_script *s, const dw_program_stage *stage, dw_err *err)
{
    for (const dw_json *f = dw_json_first(dw_json_get(stage->plan->root, "functions")); f;
         f = dw_json_next(f)) {
        dw_callback_table(s->L, stage->name);
        bool found =
            lua_istable(s->L, -1) && lua_getfield(s->L, -1, dw_json_key(f)) == LUA_TFUNCTION;
        lua_settop(s->L, 0);
        if (!found)
            return dw_fail(err, DW_E_RECIPE, "%s: the plan's function '%s' is not in it", s->recipe,
                           dw_json_key(f));
    }
    return DW_OK;
}

static dw_status reopen(dw_script *s, const dw_program *p, dw_err *err)
{
    const dw_script_options o = {.recipe = s->recipe};
    dw_program *again = NULL;
    s->quiet = true;
    s->check_files = false;
    s->modules = dw_path_join(&s->arena, s->folder, "lib");
    DW_TRY(evaluate(s, &o, &again, err));
    dw_program_free(again);
    s->quiet = false;
    for (size_t i = 0; i < p->n; i++)
        DW_TRY(find_functions(s, &p->stage[i], err));
    return DW_OK;
}

dw_status dw_script_reopen(const char *recipe, const dw_program *p, dw_script **script, dw_err *err)
{
    const dw_script_options o = {.recipe = recipe};
    dw_script *s;
    *script = NULL;
    DW_TRY(dw_state_create(&o, NULL, &s, err));
    dw_status st = reopen(s, p, err);
    if (st < 0) {
        dw_script_free(s);
        return st;
    }
    *script = s;
    return DW_OK;
}

size_t dw_script_sources(const dw_script *s, const char *const **path, const char *const **name)
{
    *path = s->source_path;
    *name = s->source_name;
    return s->n_source;
}
