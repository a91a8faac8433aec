/* Command-line options: one table per command gives parsing and help. */
#ifndef DW_CLI_ARGS_H
#define DW_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum dw_arg_kind {
    DW_ARG_FLAG, /* bool * */
    DW_ARG_STR,  /* const char ** */
    DW_ARG_INT,  /* int64_t *, with lo and hi */
    DW_ARG_NUM,  /* double *, with lo and hi */
    DW_ARG_LIST, /* dw_arg_list *, may be repeated */
} dw_arg_kind;

typedef struct dw_arg_list {
    const char **item;
    size_t n, cap;
} dw_arg_list;

typedef struct dw_arg {
    const char *name; /* "--seed" */
    dw_arg_kind kind;
    void *to;
    double lo, hi;
    const char *value; /* "N", for help; NULL for flags */
    const char *help;
} dw_arg;

/* `usage`: "dowel score MODEL FILE". Fills options ("--name value" or "--name=value") and up to
 * n_positional words; "--" ends options, "-" alone is a word. "--help" prints usage and the table
 * to stdout and sets *help. Fewer than n_required words, an unknown option (with the nearest name),
 * a missing or bad value: DW_E_USAGE. */
dw_status dw_args_parse(int argc, char **argv, const char *usage, const dw_arg *arg, size_t n_arg,
                        const char **positional, size_t n_required, size_t n_positional, bool *help,
                        dw_err *err);

#endif
