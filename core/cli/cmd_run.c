/* `dowel run RECIPE`: evaluates a recipe to a plan, or to stages, and trains it; `dowel replay
 * RECIPE`: the same on recorded rollouts. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cmd.h"
#include "cli/recipe_args.h"
#include "train/stages.h"

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

/* "runs/NAME-0001", or the number after the highest there is. */
static const char *default_out(dw_arena *a, const char *name)
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

static dw_status run(dw_recipe_args *a, dw_script *s, dw_program *p, dw_err *err)
{
    dw_run_options o = {0};
    dw_callbacks *cb = dw_arena_alloc(&a->arena, p->n * sizeof *cb);
    for (size_t i = 0; s && i < p->n; i++)
        cb[i] = dw_script_callbacks(s, p->stage[i].name);
    dw_recipe_args_options(a, s, &o);
    if (o.from && p->staged)
        return dw_fail(err, DW_E_USAGE,
                       "replay takes a recipe of one stage: name it in a file of its own");
    if (!o.out)
        o.out = default_out(&a->arena, p->stage[0].plan->name);
    if (!a->dry_run)
        return p->staged ? dw_stages_run(p, cb, &o, err) : dw_run(p->stage[0].plan, cb, &o, err);
    dw_buf b = {0};
    dw_status st = p->staged ? dw_stages_dry(p, cb, &o, &b, err)
                             : dw_run_dry(p->stage[0].plan, cb, &o, &b, err);
    if (st >= 0 && (fwrite(b.ptr, 1, b.len, stdout) != b.len || fflush(stdout) != 0))
        st = dw_fail(err, DW_E_IO, "cannot write to standard output");
    dw_buf_finish(&b);
    return st;
}

static dw_status run_recipe(int argc, char **argv, const char *usage, dw_recipe_use use,
                            dw_err *err)
{
    dw_recipe_args a = {0};
    dw_script *s = NULL;
    dw_program *p = NULL;
    dw_status st = dw_recipe_args_parse(argc, argv, usage, use, &a, err);
    if (st == DW_OK && !a.help)
        st = dw_recipe_args_plan(&a, &s, &p, err);
    if (st == DW_OK && p)
        st = run(&a, s, p, err);
    dw_program_free(p);
    dw_script_free(s);
    dw_recipe_args_finish(&a);
    return st;
}

dw_status dw_cmd_run(int argc, char **argv, dw_err *err)
{
    return run_recipe(argc, argv, "dowel run RECIPE", DW_USE_RUN, err);
}

dw_status dw_cmd_replay(int argc, char **argv, dw_err *err)
{
    return run_recipe(argc, argv, "dowel replay RECIPE --from FILE", DW_USE_REPLAY, err);
}
