/* Lua recipes: evaluate one to a plan, or to stages of plans, and keep its callbacks callable. */
#ifndef DW_SCRIPT_SCRIPT_H
#define DW_SCRIPT_SCRIPT_H

#include "train/program.h"
#include "train/run.h"

typedef struct dw_script dw_script; /* a Lua state in its limited environment */

typedef struct dw_script_options {
    const char *recipe;     /* path of the recipe */
    const char *const *set; /* "a.b=v" */
    size_t n_set;
    const char *const *plugin_dir; /* absolute */
    size_t n_plugin_dir;
} dw_script_options;

/* Evaluates the recipe under limits (memory, instructions, text chunks only, no io/os/debug),
 * validates it against the vocabulary and the plugins' option tables, and gives complete plans.
 * Messages: "FILE:LINE: ..." and exit 3 (6 where a plugin is missing or refused). *script stays
 * alive for callbacks, which may not assign to globals or to locals outside of them.
 *
 * reg: NULL, and one is made from o->plugin_dir and the recipe's plugin_dirs (a given one cannot
 * know the latter). Forks once, so call it before threads exist: the recipe is tried in a child
 * with a limit on processor time before it is evaluated here. */
dw_status dw_script_plan(const dw_script_options *o, dw_registry *reg, dw_script **script,
                         dw_program **out, dw_err *err);
/* The callbacks alone, for a run that goes on: evaluates RUN/recipe/recipe.lua (o->recipe), with
 * modules in lib/ beside it, without looking at data, models or plugins; o->set does not matter.
 * Every function that the program names must be there. */
dw_status dw_script_reopen(const char *recipe, const dw_program *p, dw_script **script,
                           dw_err *err);
void dw_script_free(dw_script *s); /* accepts NULL */
/* Of one stage; NULL where the recipe is one plan. */
dw_callbacks dw_script_callbacks(dw_script *s, const char *stage);
/* The recipe and every module it required, with their names in RUN/recipe: "recipe.lua" first, then
 * "lib/NAME.lua". The arrays live as long as s. */
size_t dw_script_sources(const dw_script *s, const char *const **path, const char *const **name);

#endif
