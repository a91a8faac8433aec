/* The command line shared by `dowel run` and `dowel plan`. */
#include "cli/recipe_args.h"

#include <string.h>

#include "base/alloc.h"
#include "base/file.h"

dw_status dw_recipe_args_parse(int argc, char **argv, const char *usage, dw_recipe_use use,
                               dw_recipe_args *a, dw_err *err)
{
    const dw_arg arg[] = {
        {"--set", DW_ARG_LIST, &a->set, 0, 0, "KEY=VALUE",
         "change one value of the plan: --set optimizer.lr=1e-5; lists count from 0; repeatable"},
        {"--plugin-dir", DW_ARG_LIST, &a->plugin_dir, 0, 0, "DIR",
         "look for plugins here first; repeatable"},
        {"--out", DW_ARG_STR, &a->out, 0, 0, "RUN", "folder of the run (default runs/NAME-0001)"},
        {"--threads", DW_ARG_INT, &a->threads, 0, 1024, "N", "0, the default: one per CPU"},
        {"--kernel", DW_ARG_STR, &a->kernel, 0, 0, "K",
         "auto (default: the best here), plain, avx2, avx512"},
        {"--dry-run", DW_ARG_FLAG, &a->dry_run, 0, 0, NULL,
         "read everything, print tokens, steps and memory, train nothing"},
        {"--quiet", DW_ARG_FLAG, &a->quiet, 0, 0, NULL, "no progress"},
        {"--record", DW_ARG_FLAG, &a->record, 0, 0, NULL,
         "write every rollout to RUN/rollouts, for dowel replay"},
        {"--from", DW_ARG_STR, &a->from, 0, 0, "FILE",
         "the recorded rollouts: a file, or a folder like RUN/rollouts"},
        {"--score-again", DW_ARG_FLAG, &a->score_again, 0, 0, NULL,
         "ask the recipe's rewards instead of taking the recorded scores"},
    };
    const size_t all = sizeof arg / sizeof *arg;
    const size_t n = use == DW_USE_PLAN ? 2 : use == DW_USE_RUN ? all - 2 : all;
    DW_TRY(dw_args_parse(argc, argv, usage, arg, n, &a->recipe, 1, 1, &a->help, err));
    if (use == DW_USE_REPLAY && !a->help && !a->from)
        return dw_fail(err, DW_E_USAGE, "%s needs --from FILE", usage);
    for (size_t i = 0; i < a->plugin_dir.n; i++)
        a->plugin_dir.item[i] = dw_path_absolute(&a->arena, a->plugin_dir.item[i]);
    return DW_OK;
}

void dw_recipe_args_finish(dw_recipe_args *a)
{
    dw_free(a->set.item);
    dw_free(a->plugin_dir.item);
    dw_arena_finish(&a->arena);
}

dw_status dw_recipe_args_plan(const dw_recipe_args *a, dw_script **script, dw_program **out,
                              dw_err *err)
{
    *script = NULL;
    *out = NULL;
    size_t n = strlen(a->recipe);
    if (n < 5 || strcmp(a->recipe + n - 5, ".json") != 0) {
        const dw_script_options o = {.recipe = a->recipe,
                                     .set = a->set.item,
                                     .n_set = a->set.n,
                                     .plugin_dir = a->plugin_dir.item,
                                     .n_plugin_dir = a->plugin_dir.n};
        return dw_script_plan(&o, NULL, script, out, err);
    }
    if (a->set.n)
        return dw_fail(err, DW_E_USAGE, "--set changes a recipe, and %s is a plan", a->recipe);
    DW_TRY(dw_program_read(a->recipe, out, err));
    if (!dw_program_has_functions(*out))
        return DW_OK;
    dw_program_free(*out);
    *out = NULL;
    return dw_fail(err, DW_E_RECIPE,
                   "%s names Lua functions, which a plan alone does not hold: run its recipe, or "
                   "resume its run",
                   a->recipe);
}

void dw_recipe_args_options(const dw_recipe_args *a, const dw_script *script, dw_run_options *o)
{
    o->out = a->out;
    o->threads = (int)a->threads;
    o->kernel = a->kernel;
    o->quiet = a->quiet;
    o->record = a->record;
    o->from = a->from;
    o->score_again = a->score_again;
    o->plugin_dir = a->plugin_dir.item;
    o->n_plugin_dir = a->plugin_dir.n;
    if (script)
        o->n_source = dw_script_sources(script, &o->source, &o->source_name);
}
