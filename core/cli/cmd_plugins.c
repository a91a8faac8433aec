/* `dowel plugins [ID]`: what is found, or one plugin's options. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "plug/plug.h"

static void put_kinds(const dowel_plugin *p, dw_buf *out)
{
    dw_buf_printf(out, "%s%s%s%s", p->objective ? "objective " : "",
                  p->estimator ? "estimator " : "", p->reward ? "reward " : "",
                  p->judge ? "judge " : "");
    out->ptr[--out->len] = 0;
}

/* In columns; the kinds in front of the sentence. */
static void list_text(const dw_registry *reg, dw_buf *out)
{
    int id = 0, version = 0;
    if (dw_registry_count(reg) == 0)
        dw_buf_adds(out, "no plugins found; --plugin-dir names a folder that holds some\n");
    for (size_t i = 0; i < dw_registry_count(reg); i++) {
        const dowel_plugin *p = &dw_registry_at(reg, i)->plugin;
        int n = snprintf(NULL, 0, "%s", p->id), v = snprintf(NULL, 0, "%s", p->version);
        id = n > id ? n : id;
        version = v > version ? v : version;
    }
    for (size_t i = 0; i < dw_registry_count(reg); i++) {
        const dowel_plugin *p = &dw_registry_at(reg, i)->plugin;
        dw_buf kinds = {0};
        put_kinds(p, &kinds);
        dw_buf_printf(out, "%-*s  %-*s  %-19s  %s\n", id, p->id, version, p->version, kinds.ptr,
                      p->about);
        dw_buf_finish(&kinds);
    }
}

static void list_json(const dw_registry *reg, dw_buf *out)
{
    dw_buf_addc(out, '[');
    for (size_t i = 0; i < dw_registry_count(reg); i++) {
        dw_buf_adds(out, i ? ",\n " : "");
        dw_plugin_describe_json(dw_registry_at(reg, i), out);
    }
    dw_buf_adds(out, "]\n");
}

static bool is_file(const char *word)
{
    size_t n = strlen(word);
    return strchr(word, '/') || (n > 3 && !strcmp(word + n - 3, ".so"));
}

/* A file shows everything in it. */
static dw_status describe(dw_registry *reg, const char *word, bool json, dw_buf *out, dw_err *err)
{
    const dw_plugin_info *p = NULL;
    if (is_file(word)) {
        dw_arena a = {0};
        dw_status s = dw_registry_load_file(reg, dw_path_absolute(&a, word), err);
        dw_arena_finish(&a);
        DW_TRY(s);
    } else {
        DW_TRY(dw_registry_find(reg, word, NULL, &p, err));
    }
    for (size_t i = 0; i < dw_registry_count(reg); i++) {
        if (p && p != dw_registry_at(reg, i))
            continue; /* loaded on the way */
        if (json)
            dw_plugin_describe_json(dw_registry_at(reg, i), out);
        else
            dw_plugin_describe(dw_registry_at(reg, i), out);
        if (json)
            dw_buf_addc(out, '\n');
    }
    return DW_OK;
}

static dw_status run(dw_registry *reg, const char *id, bool json, dw_err *err)
{
    dw_buf out = {0};
    dw_status s = DW_OK;
    if (id)
        s = describe(reg, id, json, &out, err);
    else
        s = dw_registry_load_all(reg, err);
    if (s == DW_OK && !id) {
        if (json)
            list_json(reg, &out);
        else
            list_text(reg, &out);
    }
    if (s == DW_OK && out.len && (fwrite(out.ptr, 1, out.len, stdout) != out.len || fflush(stdout)))
        s = dw_fail(err, DW_E_IO, "standard output: cannot be written");
    dw_buf_finish(&out);
    return s;
}

dw_status dw_cmd_plugins(int argc, char **argv, dw_err *err)
{
    dw_arg_list dirs = {0};
    const char *id[1] = {NULL};
    bool json = false, help = false;
    const dw_arg arg[] = {
        {"--plugin-dir", DW_ARG_LIST, &dirs, 0, 0, "DIR", "look here first (may be repeated)"},
        {"--json", DW_ARG_FLAG, &json, 0, 0, NULL, "print JSON"},
    };
    dw_status s = dw_args_parse(argc, argv, "dowel plugins [ID or FILE]", arg,
                                sizeof arg / sizeof *arg, id, 0, 1, &help, err);
    if (s == DW_OK && !help) {
        dw_arena a = {0};
        dw_registry *reg = NULL;
        for (size_t i = 0; i < dirs.n; i++)
            dirs.item[i] = dw_path_absolute(&a, dirs.item[i]);
        s = dw_registry_create(dirs.item, dirs.n, &reg, err);
        if (s == DW_OK)
            s = run(reg, id[0], json, err);
        dw_registry_destroy(reg);
        dw_arena_finish(&a);
    }
    dw_free(dirs.item);
    return s;
}
