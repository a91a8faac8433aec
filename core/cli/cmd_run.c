/* `dowel run RECIPE`: evaluates a recipe to a plan and trains it. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cmd.h"
#include "cli/run_common.h"
#include "script/script.h"

const char *const *dw_run_plugin_dirs(dw_arena *a, const dw_arg_list *given)
{
    const char **dir = dw_arena_alloc(a, (given->n + 1) * sizeof *dir);
    for (size_t i = 0; i < given->n; i++)
        dir[i] = dw_path_absolute(a, given->item[i]);
    return dir;
}

/* A plan's name as a file name: letters, digits, '-', '_' and '.', not hidden. */
static char *file_name(dw_arena *a, const char *name)
{
    char *s = dw_arena_strdup(a, name[0] ? name : "run");
    for (char *p = s; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
              strchr("-_", *p) || (*p == '.' && p > s)))
            *p = '-';
    return s;
}

const char *dw_run_default_out(dw_arena *a, const char *name)
{
    const char *base = file_name(a, name);
    size_t len = strlen(base);
    long next = 1;
    DIR *d = opendir("runs");
    for (const struct dirent *e; d && (e = readdir(d));) {
        if (strncmp(e->d_name, base, len) != 0 || e->d_name[len] != '-')
            continue;
        char *end;
        long n = strtol(e->d_name + len + 1, &end, 10);
        if (*end == 0 && n >= next && n < 100000000)
            next = n + 1;
    }
    if (d)
        closedir(d);
    return dw_arena_printf(a, "runs/%s-%04ld", base, next);
}

typedef struct run_args {
    const char *recipe;
    const char *out, *kernel;
    int64_t threads;
    bool dry, quiet, help;
    dw_arg_list set, plugin_dir;
} run_args;

static dw_status parse(int argc, char **argv, run_args *r, dw_err *err)
{
    const dw_arg arg[] = {
        {"--out", DW_ARG_STR, &r->out, 0, 0, "RUN", "folder to write; default runs/NAME-NNNN"},
        {"--set", DW_ARG_LIST, &r->set, 0, 0, "A.B=V", "change a value of the recipe"},
        {"--plugin-dir", DW_ARG_LIST, &r->plugin_dir, 0, 0, "DIR", "look for plugins here first"},
        {"--threads", DW_ARG_INT, &r->threads, 1, 1024, "N", "default: all CPUs"},
        {"--kernel", DW_ARG_STR, &r->kernel, 0, 0, "K", "auto, plain, avx2, avx512"},
        {"--dry-run", DW_ARG_FLAG, &r->dry, 0, 0, NULL,
         "print plan, tokens, steps and memory; train nothing"},
        {"--quiet", DW_ARG_FLAG, &r->quiet, 0, 0, NULL, "no progress"},
    };
    return dw_args_parse(argc, argv, "dowel run RECIPE", arg, sizeof arg / sizeof *arg, &r->recipe,
                         1, 1, &r->help, err);
}

static dw_status run(dw_arena *a, const run_args *r, dw_script *s, dw_plan *p, dw_err *err)
{
    dw_callbacks cb = dw_script_callbacks(s);
    dw_run_options o = {.out = r->out ? r->out : dw_run_default_out(a, p->name),
                        .threads = (int)r->threads,
                        .kernel = r->kernel,
                        .quiet = r->quiet,
                        .plugin_dir = dw_run_plugin_dirs(a, &r->plugin_dir),
                        .n_plugin_dir = r->plugin_dir.n};
    o.n_source = dw_script_sources(s, &o.source, &o.source_name);
    if (!r->dry)
        return dw_run(p, &cb, &o, err);
    dw_buf b = {0};
    dw_status st = dw_run_dry(p, &cb, &o, &b, err);
    if (st >= 0)
        fputs(b.ptr, stdout);
    dw_buf_finish(&b);
    return st;
}

dw_status dw_cmd_run(int argc, char **argv, dw_err *err)
{
    run_args r = {0};
    dw_arena a = {0};
    dw_script *s = NULL;
    dw_plan *p = NULL;
    DW_TRY(parse(argc, argv, &r, err));
    if (r.help)
        return DW_OK;
    dw_script_options so = {.recipe = r.recipe,
                            .set = r.set.item,
                            .n_set = r.set.n,
                            .plugin_dir = dw_run_plugin_dirs(&a, &r.plugin_dir),
                            .n_plugin_dir = r.plugin_dir.n};
    dw_status st = dw_script_plan(&so, NULL, &s, &p, err);
    if (st >= 0)
        st = run(&a, &r, s, p, err);
    dw_plan_free(p);
    dw_script_free(s);
    dw_arena_finish(&a);
    return st;
}
