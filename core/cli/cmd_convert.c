/* dowel convert, dowel merge: a model in another form. */
#include <string.h>

#include "base/file.h"
#include "cli/args.h"
#include "cli/cmd.h"
#include "model/gguf.h"

typedef struct settings {
    const char *dtype;
    bool adapter_only; /* merge: nothing else will do */
} settings;

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

static const char *const names[] = {"source", "float32", "bfloat16", "float16", "q8_0", NULL};

static dw_status choose(const char *word, int *out, dw_err *err)
{
    for (*out = 0; names[*out]; ++*out)
        if (!strcmp(names[*out], word))
            return DW_OK;
    const char *near = dw_nearest(word, names);
    return dw_fail(err, DW_E_USAGE,
                   "--dtype: no '%s'%s%s%s (source, float32, bfloat16, float16, q8_0)", word,
                   near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static dw_dtype gguf_dtype(const dw_model *m, int choice)
{
    static const dw_dtype of[] = {DW_DT_F32, DW_DT_F32, DW_DT_BF16, DW_DT_F16, DW_DT_Q8_0};
    const char *own = dw_model_description(m)->dtype;
    if (choice == 0 && !strcmp(own, "bfloat16"))
        return DW_DT_BF16;
    if (choice == 0 && !strcmp(own, "float16"))
        return DW_DT_F16;
    return of[choice];
}

/* Nothing half-written stays: the file appears under its name when it is whole. */
static dw_status to_gguf(const dw_model *m, const char *out, int choice, dw_err *err)
{
    dw_arena a = {0};
    char *aside = dw_arena_printf(&a, "%s.tmp", out);
    dw_status st = dw_gguf_export(m, aside, gguf_dtype(m, choice), err);
    if (st >= 0 && dw_vfs_get()->rename(aside, out))
        st = dw_fail(err, DW_E_IO, "%s: cannot be renamed to %s", aside, out);
    if (st >= 0)
        st = dw_fsync_path(dw_path_dir(&a, out), err);
    if (st < 0)
        dw_vfs_get()->unlink(aside);
    dw_arena_finish(&a);
    return st;
}

static dw_status to_folder(const dw_model *m, const char *out, int choice, dw_err *err)
{
    static const dw_save_dtype of[] = {DW_SAVE_SOURCE, DW_SAVE_F32, DW_SAVE_BF16, DW_SAVE_F16};
    dw_stage s;
    if (choice == 4)
        return dw_fail(err, DW_E_USAGE, "q8_0 is a type of GGUF: name the output OUT.gguf");
    DW_TRY(dw_stage_begin(&s, out, false, err));
    dw_status st = dw_model_save(m, s.path, of[choice], err);
    if (st < 0) {
        dw_stage_abort(&s);
        return st;
    }
    return dw_stage_commit(&s, err);
}

static dw_status convert(const settings *s, const char *in, const char *out, dw_err *err)
{
    const dw_model_options o = {.no_tokenizer = true};
    dw_exec x;
    dw_model *m = NULL;
    int choice;
    DW_TRY(choose(s->dtype, &choice, err));
    if (dw_file_exists(out) || dw_dir_exists(out))
        return dw_fail(err, DW_E_USAGE, "%s: is there already, and nothing is overwritten", out);
    DW_TRY(dw_exec_init(&x, 0, NULL, err));
    dw_status st = dw_model_open(&x, in, &o, &m, err);
    if (st >= 0 && s->adapter_only && !dw_model_has_adapter(m))
        st = dw_fail(err, DW_E_USAGE,
                     "%s: no adapter_config.json, so there is nothing to merge "
                     "(dowel convert writes a model in another form)",
                     in);
    if (st >= 0)
        st =
            ends_with(out, ".gguf") ? to_gguf(m, out, choice, err) : to_folder(m, out, choice, err);
    dw_model_free(m);
    dw_exec_finish(&x);
    return st;
}

static dw_status run(int argc, char **argv, bool merge, dw_err *err)
{
    settings s = {.dtype = "source", .adapter_only = merge};
    const char *word[2];
    bool help;
    const dw_arg arg[] = {
        {"--dtype", DW_ARG_STR, &s.dtype, 0, 0, "source|float32|bfloat16|float16|q8_0",
         "of the weights; source, the default: as they are (q8_0: GGUF only)"},
    };
    DW_TRY(dw_args_parse(argc, argv, merge ? "dowel merge ADAPTER OUT" : "dowel convert MODEL OUT",
                         arg, sizeof arg / sizeof *arg, word, 2, 2, &help, err));
    return help ? DW_OK : convert(&s, word[0], word[1], err);
}

dw_status dw_cmd_convert(int argc, char **argv, dw_err *err)
{
    return run(argc, argv, false, err);
}

dw_status dw_cmd_merge(int argc, char **argv, dw_err *err)
{
    return run(argc, argv, true, err);
}
