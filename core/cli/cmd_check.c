/* `dowel check PLUGIN`: what every plugin must satisfy, tried on one. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "plug/plug.h"

static void print_lines(void *ctx, dw_buf *out)
{
    (void)ctx;
    if (out->len)
        fwrite(out->ptr, 1, out->len, stdout);
    fflush(stdout);
    dw_buf_clear(out);
}

static bool is_file(const char *word)
{
    size_t n = strlen(word);
    return strchr(word, '/') || (n > 3 && !strcmp(word + n - 3, ".so"));
}

static dw_status check(dw_registry *reg, dw_check_request *ask, dw_err *err)
{
    dw_arena a = {0};
    dw_buf out = {0};
    size_t failed = 0;
    const char *word = ask->word;
    ask->file = is_file(word);
    if (ask->file)
        ask->word = dw_path_absolute(&a, word);
    ask->line = print_lines;
    dw_status s = dw_check_run(reg, ask, &out, &failed, err);
    print_lines(NULL, &out);
    dw_buf_finish(&out);
    dw_arena_finish(&a);
    if (s == DW_OK && failed)
        s = dw_fail(err, DW_E_GATE, "%s: %zu test%s failed", word, failed, failed > 1 ? "s" : "");
    return s;
}

static void print_list(void)
{
    dw_buf out = {0};
    dw_check_list(&out);
    print_lines(NULL, &out);
    dw_buf_finish(&out);
}

dw_status dw_cmd_check(int argc, char **argv, dw_err *err)
{
    dw_arg_list dirs = {0};
    const char *word[1] = {NULL};
    dw_check_request ask = {0};
    bool list = false, help = false;
    int64_t seed = 1;
    double limit = 60;
    const dw_arg arg[] = {
        {"--list", DW_ARG_FLAG, &list, 0, 0, NULL, "name the tests and what they ask for"},
        {"--in-process", DW_ARG_STR, &ask.only, 0, 0, "NAME",
         "run this test alone, in this process, for a debugger"},
        {"--seed", DW_ARG_INT, &seed, 0, 9e15, "N", "of random batches and options (1)"},
        {"--time-limit", DW_ARG_NUM, &limit, 0.1, 86400, "S", "seconds a test may take (60)"},
        {"--plugin-dir", DW_ARG_LIST, &dirs, 0, 0, "DIR", "look here first (may be repeated)"},
        {"--json", DW_ARG_FLAG, &ask.json, 0, 0, NULL, "print a JSON object a line, not TAP"},
    };
    dw_status s = dw_args_parse(argc, argv, "dowel check ID or FILE.so", arg,
                                sizeof arg / sizeof *arg, word, 0, 1, &help, err);
    if (s == DW_OK && !help && list)
        print_list();
    else if (s == DW_OK && !help && !word[0])
        s = dw_fail(err, DW_E_USAGE, "check: which plugin? give its id or its file");
    else if (s == DW_OK && !help) {
        dw_arena a = {0};
        dw_registry *reg = NULL;
        ask.word = word[0];
        ask.seed = (uint64_t)seed;
        ask.limit = limit;
        for (size_t i = 0; i < dirs.n; i++)
            dirs.item[i] = dw_path_absolute(&a, dirs.item[i]);
        s = dw_registry_create(dirs.item, dirs.n, &reg, err);
        if (s == DW_OK)
            s = check(reg, &ask, err);
        dw_registry_destroy(reg);
        dw_arena_finish(&a);
    }
    dw_free(dirs.item);
    return s;
}
