/* What `dowel run` and `dowel resume` share. */
#ifndef DW_CLI_RUN_COMMON_H
#define DW_CLI_RUN_COMMON_H

#include "base/arena.h"
#include "base/err.h"
#include "cli/args.h"

/* --plugin-dir values as absolute paths. */
const char *const *dw_run_plugin_dirs(dw_arena *a, const dw_arg_list *given);
/* "runs/NAME-0001", or the next number that is free. */
const char *dw_run_default_out(dw_arena *a, const char *name);

#endif
