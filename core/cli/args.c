/* Command-line options from one table per command. */
#include "cli/args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

static void print_help(const char *usage, const dw_arg *arg, size_t n)
{
    printf("usage: %s%s\n", usage, n ? " [OPTIONS]" : "");
    if (n)
        printf("\n");
    for (size_t i = 0; i < n; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", arg[i].name, arg[i].value ? " " : "",
                 arg[i].value ? arg[i].value : "");
        printf("  %-26s %s\n", left, arg[i].help);
    }
}

static dw_status unknown_option(const char *word, size_t len, const dw_arg *arg, size_t n,
                                dw_err *err)
{
    const char **names = dw_zalloc(n + 2, sizeof *names);
    char *wrong = dw_strndup(word, len);
    for (size_t i = 0; i < n; i++)
        names[i] = arg[i].name;
    names[n] = "--help";
    const char *near = dw_nearest(wrong, names);
    dw_fail(err, DW_E_USAGE, "no option '%s'%s%s%s", wrong, near ? ", did you mean '" : "",
            near ? near : "", near ? "'?" : " (--help lists them)");
    dw_free(names);
    dw_free(wrong);
    return DW_E_USAGE;
}

static dw_status set_int(const dw_arg *a, const char *value, dw_err *err)
{
    char *end;
    errno = 0;
    long long x = strtoll(value, &end, 10);
    if (!*value || *end || errno || *value == ' ')
        return dw_fail(err, DW_E_USAGE, "%s: wanted an integer, found '%s'", a->name, value);
    if ((double)x < a->lo || (double)x > a->hi)
        return dw_fail(err, DW_E_USAGE, "%s: %lld is outside %.15g .. %.15g", a->name, x, a->lo,
                       a->hi);
    *(int64_t *)a->to = x;
    return DW_OK;
}

static dw_status set_num(const dw_arg *a, const char *value, dw_err *err)
{
    char *end;
    errno = 0;
    double x = strtod(value, &end);
    if (!*value || *end || !isfinite(x) || *value == ' ')
        return dw_fail(err, DW_E_USAGE, "%s: wanted a number, found '%s'", a->name, value);
    if (x < a->lo || x > a->hi)
        return dw_fail(err, DW_E_USAGE, "%s: %.15g is outside %.15g .. %.15g", a->name, x, a->lo,
                       a->hi);
    *(double *)a->to = x;
    return DW_OK;
}

static dw_status set_value(const dw_arg *a, const char *value, dw_err *err)
{
    switch (a->kind) {
    case DW_ARG_INT:
        return set_int(a, value, err);
    case DW_ARG_NUM:
        return set_num(a, value, err);
    case DW_ARG_LIST: {
        dw_arg_list *list = a->to;
        DW_GROW(list->item, list->n, list->cap);
        list->item[list->n++] = value;
        return DW_OK;
    }
    default:
        *(const char **)a->to = value;
        return DW_OK;
    }
}

/* One option at argv[*i]; moves *i over a value that stands in a word of its own. */
static dw_status take_option(int argc, char **argv, int *i, const dw_arg *arg, size_t n,
                             dw_err *err)
{
    const char *word = argv[*i];
    size_t len = strcspn(word, "=");
    const char *value = word[len] ? word + len + 1 : NULL;
    for (size_t k = 0; k < n; k++) {
        if (strlen(arg[k].name) != len || memcmp(arg[k].name, word, len) != 0)
            continue;
        if (arg[k].kind == DW_ARG_FLAG) {
            if (value)
                return dw_fail(err, DW_E_USAGE, "%s takes no value", arg[k].name);
            *(bool *)arg[k].to = true;
            return DW_OK;
        }
        if (!value && *i + 1 >= argc)
            return dw_fail(err, DW_E_USAGE, "%s needs a value (%s)", arg[k].name,
                           arg[k].value ? arg[k].value : "VALUE");
        if (!value)
            value = argv[++*i];
        return set_value(&arg[k], value, err);
    }
    return unknown_option(word, len, arg, n, err);
}

dw_status dw_args_parse(int argc, char **argv, const char *usage, const dw_arg *arg, size_t n_arg,
                        const char **positional, size_t n_required, size_t n_positional, bool *help,
                        dw_err *err)
{
    size_t n = 0;
    bool options = true;
    *help = false;
    for (size_t i = 0; i < n_positional; i++)
        positional[i] = NULL;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (options && !strcmp(word, "--")) {
            options = false;
        } else if (options && (!strcmp(word, "--help") || !strcmp(word, "-h"))) {
            print_help(usage, arg, n_arg);
            *help = true;
            return DW_OK;
        } else if (options && word[0] == '-' && word[1]) {
            DW_TRY(take_option(argc, argv, &i, arg, n_arg, err));
        } else if (n == n_positional) {
            return dw_fail(err, DW_E_USAGE, "unexpected '%s' (usage: %s)", word, usage);
        } else {
            positional[n++] = word;
        }
    }
    if (n < n_required)
        return dw_fail(err, DW_E_USAGE, "%zu of %zu arguments missing (usage: %s)", n_required - n,
                       n_required, usage);
    return DW_OK;
}
