/* A folder on disk, rewritten for every input, for readers that open several files. */
#ifndef FUZZ_FOLDER_H
#define FUZZ_FOLDER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static char fuzz_folder_path[512];

static inline void fuzz_folder_remove(void)
{
    dw_err err;
    (void)dw_remove_tree(fuzz_folder_path, &err);
}

static inline const char *fuzz_folder(void)
{
    const char *tmp = getenv("TMPDIR");
    if (fuzz_folder_path[0])
        return fuzz_folder_path;
    snprintf(fuzz_folder_path, sizeof fuzz_folder_path, "%s/dowel-fuzz-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(fuzz_folder_path))
        abort();
    atexit(fuzz_folder_remove);
    return fuzz_folder_path;
}

static inline void fuzz_folder_put(const char *name, const void *p, size_t n)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f))
        abort();
}

#endif
