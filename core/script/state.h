/* Inside a dw_script: the Lua state, its limits, and the pieces that share it. */
#ifndef DW_SCRIPT_STATE_H
#define DW_SCRIPT_STATE_H

#include <lauxlib.h>
#include <lua.h>

#include "base/arena.h"
#include "script/script.h"

enum {
    DW_SCRIPT_HOOK_EVERY = 10000,   /* instructions between two looks at the budget */
    DW_SCRIPT_BUDGET = 5000,        /* firings: 50 million instructions a call */
    DW_SCRIPT_MEMORY = 256 << 20,   /* bytes */
    DW_SCRIPT_MAX_SOURCE = 4 << 20, /* bytes of one file */
    DW_SCRIPT_SECONDS = 2,          /* of processor time, for the trial in a child */
};

typedef struct dw_source {
    const char *path;    /* absolute */
    const char *name;    /* in RUN/recipe */
    const char *display; /* in messages: as the user wrote it, or relative to the recipe */
    dw_text text;
} dw_source;

struct dw_script {
    lua_State *L;
    dw_arena arena;
    size_t used; /* bytes that Lua holds */
    int budget;  /* firings left in this call */
    bool exhausted, quiet, frozen, check_files;
    const char *recipe, *folder; /* as given; its absolute folder */
    const char *modules;         /* where require looks before dowel's scripts */
    const char *scripts;         /* dowel's own */
    dw_source source[64];
    size_t n_source;
    const char *source_path[64], *source_name[64];
    uint64_t random_seed, random_n;
    char where[320];       /* "file:line" when memory ran out, and hook's */
    dw_registry *registry; /* borrowed, or own */
    dw_registry *own_registry;
    const char *own_dirs;          /* what own_registry was made from */
    const char *const *plugin_dir; /* --plugin-dir */
    size_t n_plugin_dir;
    dw_status raised; /* exit code of the error `raised_text` */
    dw_err raised_err;
    /* What a binding holds outside Lua while it may raise; freed by the next use or with s. */
    dw_buf scratch;
    dw_json *held;
    int functions; /* registry reference: name -> function */
};

/* ---- state.c ---- */
dw_status dw_state_create(const dw_script_options *o, dw_registry *reg, dw_script **out,
                          dw_err *err);
/* lua_pcall under a fresh budget; the message gets "file:line: ". */
dw_status dw_state_call(dw_script *s, int n_arg, int n_result, dw_err *err);
dw_script *dw_state_of(lua_State *L);
/* The innermost frame of a recipe's file: its display name, or NULL. */
const char *dw_state_where(lua_State *L, int *line, bool *tail);

/* ---- sandbox.c ---- */
void dw_sandbox_open(lua_State *L);   /* [protected] the allow-listed globals */
void dw_sandbox_freeze(lua_State *L); /* [protected] globals and libraries become read-only */

/* ---- source.c ---- */
/* Pushes the compiled chunk of a recipe or module; [protected]. */
void dw_source_push(lua_State *L, const char *path, const char *display, const char *name);
int dw_source_require(lua_State *L);  /* the recipe's `require` */
int dw_source_load_own(lua_State *L); /* host.load(name) */
const dw_source *dw_source_find(const dw_script *s, const char *display);
dw_status dw_source_scripts_dir(dw_script *s, dw_err *err);

/* ---- value.c ---- */
/* Appends the value at `at` as JSON, keys sorted; on failure pushes a message with its dotted
 * path and returns false. */
bool dw_value_to_json(lua_State *L, int at, dw_buf *out);
void dw_value_push(lua_State *L, const dw_json *v); /* null becomes the light userdata NULL */
void dw_value_list_mark(lua_State *L, int at);      /* an empty table that is a list */

/* ---- host.c ---- */
void dw_host_push(lua_State *L); /* the table that the vocabulary gets */

/* ---- callback.c ---- */
/* Pushes the table of a stage's functions (NULL: the recipe's own), or nil. */
void dw_callback_table(lua_State *L, const char *stage);

/* ---- child.c ---- */
/* Runs trial(ctx, err) in a forked child with a limit on processor time. */
dw_status dw_child_try(dw_status (*trial)(void *ctx, dw_err *err), void *ctx, const char *recipe,
                       dw_err *err);
void dw_child_watch(dw_script *s); /* in the child: whose line a time-out names */

#endif
