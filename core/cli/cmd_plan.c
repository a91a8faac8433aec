/* dowel plan: a recipe, or its stages, as plain data, every default filled in. */
#include <stdio.h>

#include "cli/cmd.h"
#include "cli/recipe_args.h"

dw_status dw_cmd_plan(int argc, char **argv, dw_err *err)
{
    dw_recipe_args a = {0};
    dw_script *script = NULL;
    dw_program *plan = NULL;
    dw_status st = dw_recipe_args_parse(argc, argv, "dowel plan RECIPE", DW_USE_PLAN, &a, err);
    if (st == DW_OK && !a.help)
        st = dw_recipe_args_plan(&a, &script, &plan, err);
    if (st == DW_OK && plan) {
        dw_buf out = {0};
        dw_program_print(plan, &out);
        if (fprintf(stdout, "%s\n", out.ptr) < 0 || fflush(stdout) != 0)
            st = dw_fail(err, DW_E_IO, "cannot write the plan to standard output");
        dw_buf_finish(&out);
    }
    dw_program_free(plan);
    dw_script_free(script);
    dw_recipe_args_finish(&a);
    return st;
}
