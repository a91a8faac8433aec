/* What `run` and `plan` take: a recipe (or a plan.json), edits, plugin folders, how to run. */
#ifndef DW_CLI_RECIPE_ARGS_H
#define DW_CLI_RECIPE_ARGS_H

#include "base/arena.h"
#include "cli/args.h"
#include "script/script.h"

typedef struct dw_recipe_args {
    const char *recipe, *out, *kernel; /* out, kernel: NULL when not given */
    int64_t threads;                   /* 0: not given */
    const char *from;                  /* replay: recorded rollouts */
    bool dry_run, quiet, help, record, score_again;
    dw_arg_list set, plugin_dir; /* plugin_dir made absolute by parse */
    dw_arena arena;
} dw_recipe_args;

/* Zero-initialise `a` before. RUN: with --out, --dry-run, --threads, --kernel, --quiet, --record;
 * REPLAY: also --from, which must be given, and --score-again. */
typedef enum dw_recipe_use { DW_USE_PLAN, DW_USE_RUN, DW_USE_REPLAY } dw_recipe_use;
dw_status dw_recipe_args_parse(int argc, char **argv, const char *usage, dw_recipe_use use,
                               dw_recipe_args *a, dw_err *err);
void dw_recipe_args_finish(dw_recipe_args *a);

/* The plan or stages of a->recipe: a file named *.json is read as what `dowel plan` prints (then
 * --set is refused, and *script is NULL, as it is for a plan with no need of one), anything else is
 * evaluated as a recipe. Forks: call it before threads exist. */
dw_status dw_recipe_args_plan(const dw_recipe_args *a, dw_script **script, dw_program **out,
                              dw_err *err);
/* Fields of *o that the command line decides; out stays NULL when not given. Borrows from a and
 * script (which may be NULL). */
void dw_recipe_args_options(const dw_recipe_args *a, const dw_script *script, dw_run_options *o);

#endif
