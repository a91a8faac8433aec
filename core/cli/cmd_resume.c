/* `dowel resume RUN`: goes on from the newest checkpoint, or with the stage that is next. */
#include "base/alloc.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "script/script.h"
#include "train/stages.h"

typedef struct resume_args {
    const char *run, *kernel;
    int64_t threads;
    bool quiet, help;
    dw_arg_list plugin_dir;
} resume_args;

static dw_status parse(int argc, char **argv, resume_args *r, dw_err *err)
{
    const dw_arg arg[] = {
        {"--plugin-dir", DW_ARG_LIST, &r->plugin_dir, 0, 0, "DIR",
         "look for plugins here first; repeatable"},
        {"--threads", DW_ARG_INT, &r->threads, 1, 1024, "N", "default: one per CPU"},
        {"--kernel", DW_ARG_STR, &r->kernel, 0, 0, "K",
         "auto (default: the best here), plain, avx2, avx512"},
        {"--quiet", DW_ARG_FLAG, &r->quiet, 0, 0, NULL, "no progress"},
    };
    return dw_args_parse(argc, argv, "dowel resume RUN", arg, sizeof arg / sizeof *arg, &r->run, 1,
                         1, &r->help, err);
}

static dw_status resume(dw_arena *a, const resume_args *r, dw_err *err)
{
    dw_program *p = NULL;
    dw_script *s = NULL;
    const char *plan = dw_path_join(a, r->run, dw_stages_is(r->run) ? "stages.json" : "plan.json");
    const char *up = dw_path_dir(a, dw_path_absolute(a, r->run));
    if (dw_stages_is(up))
        return dw_fail(err, DW_E_USAGE, "%s is one stage of several; go on with: dowel resume %s",
                       r->run, up);
    if (!dw_file_exists(plan))
        return dw_fail(err, DW_E_INPUT, "%s is not the folder of a run (no plan.json in it)",
                       r->run);
    DW_TRY(dw_program_read(plan, &p, err));
    dw_status st = DW_OK;
    dw_callbacks *cb = dw_arena_alloc(a, p->n * sizeof *cb);
    if (dw_program_has_functions(p))
        st = dw_script_reopen(dw_path_join(a, r->run, "recipe/recipe.lua"), p, &s, err);
    for (size_t i = 0; s && i < p->n; i++)
        cb[i] = dw_script_callbacks(s, p->stage[i].name);
    dw_run_options o = {.out = r->run,
                        .threads = (int)r->threads,
                        .kernel = r->kernel,
                        .quiet = r->quiet,
                        .plugin_dir = r->plugin_dir.item,
                        .n_plugin_dir = r->plugin_dir.n};
    if (s)
        o.n_source = dw_script_sources(s, &o.source, &o.source_name);
    if (st >= 0)
        st = p->staged ? dw_stages_run(p, cb, &o, err)
                       : dw_run_resume(p->stage[0].plan, cb, &o, err);
    dw_script_free(s);
    dw_program_free(p);
    return st;
}

dw_status dw_cmd_resume(int argc, char **argv, dw_err *err)
{
    resume_args r = {0};
    dw_arena a = {0};
    DW_TRY(parse(argc, argv, &r, err));
    if (r.help)
        return DW_OK;
    for (size_t i = 0; i < r.plugin_dir.n; i++)
        r.plugin_dir.item[i] = dw_path_absolute(&a, r.plugin_dir.item[i]);
    dw_status st = resume(&a, &r, err);
    dw_free(r.plugin_dir.item);
    dw_arena_finish(&a);
    return st;
}
