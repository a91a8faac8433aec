/* Calls a recipe's functions during training: row columns, rewards and weights. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "script/state.h"

enum { MAX_UPVALUES = 255 };

/* Whose functions are meant: the context of a dw_callbacks. */
typedef struct owner {
    dw_script *s;
    const char *stage; /* NULL: the recipe is one plan */
} owner;

typedef struct call {
    const char *name, *stage;
    const dowel_sample *sample; /* of a reward, else NULL */
    const dw_metrics *past;     /* of a weight, else NULL */
    uint64_t step;
    dw_text row;
    double value;
    const char *text; /* result of a row function, or a reward's reason; Lua's, until its pop */
    bool json;        /* the text is JSON: the row function gave a table */
    size_t n_text;
} call;

/* Pushes the row as a table. */
static void push_row(lua_State *L, dw_text row)
{
    dw_script *s = dw_state_of(L);
    dw_err err;
    dw_json_free(s->held);
    s->held = NULL;
    if (dw_json_parse(row.ptr, row.len, DW_JSON_DEPTH_ROW, 1, &s->held, &err) < 0)
        luaL_error(L, "the row is not JSON: %s", err.text);
    dw_value_push(L, s->held);
}

static void push_sample(lua_State *L, const dowel_sample *in)
{
    lua_createtable(L, 0, 5);
    lua_pushlstring(L, in->prompt.ptr, in->prompt.len);
    lua_setfield(L, -2, "prompt");
    lua_pushlstring(L, in->completion.ptr, in->completion.len);
    lua_setfield(L, -2, "completion");
    lua_pushinteger(L, in->n_tok);
    lua_setfield(L, -2, "n_tokens");
    lua_pushstring(L, in->stop == DOWEL_STOP_LENGTH   ? "length"
                      : in->stop == DOWEL_STOP_STRING ? "string"
                      : in->stop == DOWEL_STOP_EOS    ? "eos"
                                                      : "given");
    lua_setfield(L, -2, "stop");
    if (in->meta.len) {
        push_row(L, (dw_text){in->meta.ptr, (size_t)in->meta.len});
    } else {
        lua_newtable(L);
    }
    lua_setfield(L, -2, "row");
}

/* A table of the numbers so far by name. */
static void push_past(lua_State *L, const dw_metrics *past)
{
    lua_createtable(L, 0, (int)past->n);
    for (size_t i = 0; i < past->n; i++) {
        lua_pushnumber(L, dw_metric_value(&past->item[i]));
        lua_setfield(L, -2, past->item[i].name);
    }
}

/* Pushes the upvalues of the function at `at`; returns how many. */
static int push_upvalues(lua_State *L, int at)
{
    int n = 0;
    luaL_checkstack(L, MAX_UPVALUES + 8, "too many upvalues");
    while (n < MAX_UPVALUES && lua_getupvalue(L, at, n + 1))
        n++;
    return n;
}

/* Where the function was defined, for messages about the function as a whole. */
static const char *defined(lua_State *L, int at)
{
    lua_Debug ar;
    lua_pushvalue(L, at);
    lua_getinfo(L, ">S", &ar);
    const char *file = ar.source[0] == '@' ? ar.source + 1 : ar.source;
    return lua_pushfstring(L, "%s:%d", file, ar.linedefined);
}

/* A function that keeps state between calls would make a resumed run differ. */
static void check_upvalues(lua_State *L, int fn, int saved, int n)
{
    for (int i = 1; i <= n; i++) {
        const char *name = lua_getupvalue(L, fn, i);
        if (!lua_rawequal(L, -1, saved + i - 1)) {
            const char *where = defined(L, fn);
            lua_pushfstring(L,
                            "%s: the function changes '%s', a local outside of it, and so would "
                            "not give the same again after a resume",
                            where, name);
            lua_error(L);
        }
        lua_pop(L, 1);
    }
}

void dw_callback_table(lua_State *L, const char *stage)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, dw_state_of(L)->functions);
    if (stage && lua_istable(L, -1)) {
        lua_getfield(L, -1, stage);
        lua_remove(L, -2);
    }
}

/* The result of a column that need not be text, as JSON; a string is JSON already. */
static void value_to_text(lua_State *L, int fn, int result)
{
    dw_buf *b = &dw_state_of(L)->scratch;
    if (lua_type(L, result) == LUA_TSTRING)
        return;
    dw_buf_clear(b);
    if (lua_isnil(L, result)) {
        dw_buf_adds(b, "null");
    } else if (!dw_value_to_json(L, result, b)) {
        const char *why = lua_tostring(L, -1); /* defined() pushes, too */
        luaL_error(L, "%s: the column's value: %s", defined(L, fn), why);
    }
    lua_pushlstring(L, b->ptr, b->len);
    lua_replace(L, result);
}

/* [protected] (light userdata: call) -> result, kept on the stack by the caller */
static int run(lua_State *L)
{
    call *c = lua_touserdata(L, 1);
    dw_callback_table(L, c->stage);
    if (!lua_istable(L, -1) || lua_getfield(L, -1, c->name) != LUA_TFUNCTION)
        return luaL_error(L, "no function '%s' in the recipe", c->name);
    int fn = lua_gettop(L);
    int n = push_upvalues(L, fn);
    lua_pushvalue(L, fn);
    if (c->past) {
        lua_pushinteger(L, (lua_Integer)c->step);
        push_past(L, c->past);
    } else if (c->sample) {
        push_sample(L, c->sample);
    } else {
        push_row(L, c->row);
    }
    lua_call(L, c->past ? 2 : 1, 2);
    int result = lua_gettop(L) - 1;
    check_upvalues(L, fn, fn + 1, n);
    lua_settop(L, result + 1);

    if (c->past) {
        c->value = lua_tonumber(L, result);
        if (lua_type(L, result) != LUA_TNUMBER || !isfinite(c->value) || c->value < 0) {
            lua_pushfstring(
                L, "%s: a weight must be a finite number from 0 up, the function returned %s",
                defined(L, fn), luaL_tolstring(L, result, NULL));
            return lua_error(L);
        }
        return 0;
    }
    if (!c->sample) {
        c->json = !strncmp(c->name, "value:", 6) || lua_istable(L, result);
        if (c->json)
            value_to_text(L, fn, result);
        if (lua_type(L, result) != LUA_TSTRING) {
            lua_pushfstring(
                L, "%s: a column's function must return a string, or messages, it returned %s",
                defined(L, fn), luaL_typename(L, result));
            return lua_error(L);
        }
    } else if (lua_isnil(L, result)) {
        c->value = NAN;
    } else if (lua_type(L, result) != LUA_TNUMBER || !isfinite(lua_tonumber(L, result))) {
        lua_pushfstring(L,
                        "%s: a reward must return a finite number, or nil for no opinion; it "
                        "returned %s",
                        defined(L, fn), luaL_tolstring(L, result, NULL));
        return lua_error(L);
    } else {
        c->value = lua_tonumber(L, result);
    }
    int text = c->sample ? result + 1 : result;
    if (lua_type(L, text) == LUA_TSTRING)
        c->text = lua_tolstring(L, text, &c->n_text);
    lua_pushvalue(L, text);
    return 1;
}

static dw_status invoke(const owner *o, call *c, dw_buf *out, dw_err *err)
{
    dw_script *s = o->s;
    lua_State *L = s->L;
    c->stage = o->stage;
    lua_settop(L, 0);
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, c);
    dw_status st = dw_state_call(s, 1, 1, err);
    if (st == DW_OK && out && c->text)
        dw_buf_add(out, c->text, c->n_text);
    lua_settop(L, 0);
    return st;
}

static dw_status call_row(void *ctx, const char *fn, dw_text row, dw_buf *out, bool *json,
                          dw_err *err)
{
    call c = {.name = fn, .row = row};
    dw_status st = invoke(ctx, &c, out, err);
    *json = c.json;
    return st;
}

static dw_status call_reward(void *ctx, const char *fn, const dowel_sample *in, double *value,
                             dw_buf *why, dw_err *err)
{
    call c = {.name = fn, .sample = in};
    DW_TRY(invoke(ctx, &c, why, err));
    *value = c.value;
    return DW_OK;
}

static dw_status call_weight(void *ctx, const char *fn, uint64_t step, const dw_metrics *past,
                             double *value, dw_err *err)
{
    call c = {.name = fn, .step = step, .past = past};
    DW_TRY(invoke(ctx, &c, NULL, err));
    *value = c.value;
    return DW_OK;
}

dw_callbacks dw_script_callbacks(dw_script *s, const char *stage)
{
    owner *o = dw_arena_alloc(&s->arena, sizeof *o);
    *o = (owner){s, stage ? dw_arena_strdup(&s->arena, stage) : NULL};
    return (dw_callbacks){.ctx = o, .row = call_row, .reward = call_reward, .weight = call_weight};
}
