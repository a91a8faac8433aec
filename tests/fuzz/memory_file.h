/* A file that lives in memory, for readers that open a path. */
#ifndef MEMORY_FILE_H
#define MEMORY_FILE_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct memory_file {
    int fd;
    char path[32];
} memory_file;

static inline void memory_file_open(memory_file *f, const void *bytes, size_t n)
{
    f->fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (f->fd < 0 || write(f->fd, bytes, n) != (ssize_t)n)
        abort();
    snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", f->fd);
}

static inline void memory_file_close(memory_file *f)
{
    close(f->fd);
}

#endif
