/* Files: whole reads, maps, atomic and durable writes, staged directories; and the seam behind
 * which tests inject faults. */
#ifndef DW_BASE_FILE_H
#define DW_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* The seam. Every writing call of the core goes through the current table. Functions behave as
 * their POSIX namesakes (-1 and errno). */
typedef struct dw_vfs {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*write)(int fd, const void *p, size_t n);
    int (*fsync)(int fd);
    int (*close)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*mkdir)(const char *path, mode_t mode);
    int (*unlink)(const char *path);
    int (*rmdir)(const char *path);
    int (*fallocate)(int fd, off_t n); /* 0 or an errno value, as posix_fallocate */
} dw_vfs;
const dw_vfs *dw_vfs_get(void);
void dw_vfs_use(const dw_vfs *vfs); /* NULL restores the real one; tests only */

/* Messages name the path and the reason. */
dw_status dw_file_read(const char *path, size_t max_bytes, dw_buf *out, dw_err *err);
bool dw_file_exists(const char *path);
bool dw_dir_exists(const char *path);

/* Read-only private mapping of a regular file. */
typedef struct dw_mapping {
    const unsigned char *ptr; /* NULL for an empty file */
    size_t len;
} dw_mapping;
dw_status dw_map_open(const char *path, dw_mapping *out, dw_err *err);
/* Bytes from..to were read: their pages leave this process, and come back if they are read again.
 */
void dw_map_passed(const dw_mapping *m, size_t from, size_t to);
void dw_map_close(dw_mapping *m); /* accepts a zeroed one */

/* Writes path.tmp.<pid>, fsyncs, renames, fsyncs the folder. */
dw_status dw_file_write(const char *path, const void *bytes, size_t n, dw_err *err);

/* A file being written in pieces inside a stage or alone; buffered. */
typedef struct dw_writer dw_writer;
dw_status dw_writer_open(const char *path, dw_writer **out, dw_err *err); /* create or truncate */
dw_status dw_writer_append(const char *path, dw_writer **out, dw_err *err);
dw_status dw_writer_put(dw_writer *w, const void *bytes, size_t n, dw_err *err);
dw_status dw_writer_flush(dw_writer *w, dw_err *err); /* to the kernel, not the disk */
dw_status dw_writer_close(dw_writer *w, dw_err *err); /* flush, fsync, close; frees w always */
void dw_writer_abandon(dw_writer *w);                 /* close without promises; accepts NULL */

/* A directory that appears whole or not at all: write files under stage->path, then commit. An
 * existing `final` is replaced only where `replace` is set (it is moved aside and removed last). */
typedef struct dw_stage {
    char *path; /* where to write: "<final>.tmp.<pid>" */
    char *final;
    bool replace;
} dw_stage;
dw_status dw_stage_begin(dw_stage *s, const char *final, bool replace, dw_err *err);
dw_status dw_stage_commit(dw_stage *s, dw_err *err); /* fsyncs every file and folder; frees */
void dw_stage_abort(dw_stage *s);                    /* removes what was written; frees */
/* Removes from a folder what a process that was killed left of stages and files half written, and
 * puts back what it had moved aside. Only while nobody else writes there. */
dw_status dw_stage_clean(const char *folder, dw_err *err);

dw_status dw_mkdirs(const char *path, dw_err *err);
dw_status dw_remove_tree(const char *path, dw_err *err); /* missing is fine; follows no links */
dw_status dw_copy_file(const char *from, const char *to, dw_err *err);
dw_status dw_fsync_path(const char *path, dw_err *err);
/* Names in a folder without "." and "..", sorted bytewise; in the arena. */
dw_status dw_dir_list(dw_arena *a, const char *path, char ***names, size_t *n, dw_err *err);

char *dw_path_join(dw_arena *a, const char *dir, const char *name); /* absolute name wins */
char *dw_path_dir(dw_arena *a, const char *path);                   /* "." for a bare name */
const char *dw_path_base(const char *path);
/* Absolute, without "." and ".." parts; the file need not exist. */
char *dw_path_absolute(dw_arena *a, const char *path);

#endif
