/* Finds a split's file in a folder. */
#include "data/folder.h"

#include <string.h>

#include "base/file.h"

static const char *const names[][5] = {
    {"train", "training", NULL}, {"valid", "validation", "val", "dev", NULL}, {"test", NULL}};

static dw_status take(dw_arena *a, const char *dir, const char *name, const char **out, dw_err *err)
{
    static const char *const ending[] = {".jsonl", ".json", ".csv", ".tsv"};
    static const char *const packed[] = {"", ".gz", ".zst"};
    for (size_t e = 0; e < sizeof ending / sizeof *ending; e++)
        for (size_t p = 0; p < sizeof packed / sizeof *packed; p++) {
            char *path = dw_arena_printf(a, "%s/%s%s%s", dir, name, ending[e], packed[p]);
            if (!dw_file_exists(path))
                continue;
            if (*out)
                return dw_fail(err, DW_E_INPUT,
                               "%s: both %s and %s are there; name the file that is meant", dir,
                               dw_path_base(*out), dw_path_base(path));
            *out = path;
        }
    return DW_OK;
}

dw_status dw_folder_file(dw_arena *a, const char *path, const char *split, const char **out,
                         dw_err *err)
{
    *out = NULL;
    if (!dw_dir_exists(path)) {
        *out = path;
        return DW_OK;
    }
    split = split ? split : "train";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t k = 0; !strcmp(split, names[i][0]) && names[i][k]; k++)
            DW_TRY(take(a, path, names[i][k], out, err));
    if (*out)
        return DW_OK;
    return dw_fail(err, DW_E_INPUT,
                   "%s: the folder has no %s.jsonl (or .json, .csv, .tsv, each also with .gz or "
                   ".zst)",
                   path, split);
}
