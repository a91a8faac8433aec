/* Folders of data: train, valid and test in files of these names. */
#ifndef DW_DATA_FOLDER_H
#define DW_DATA_FOLDER_H

#include "base/arena.h"
#include "base/err.h"

/* The file of a folder for a split ("train", "valid" or "test"; NULL: train), as
 * FOLDER/train.jsonl, .json, .csv or .tsv, each also with .gz or .zst; valid may be called
 * validation, val or dev. A path that is no folder is given back. Two such files, or none, are an
 * error. */
dw_status dw_folder_file(dw_arena *a, const char *path, const char *split, const char **out,
                         dw_err *err);

#endif
