/* Whole reads, maps, and files written durably, through the seam. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"

static int real_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags | O_CLOEXEC, mode);
}

static int real_fallocate(int fd, off_t n)
{
    return posix_fallocate(fd, 0, n);
}

static const dw_vfs real_vfs = {real_open, write,  fsync, close,         rename,
                                mkdir,     unlink, rmdir, real_fallocate};
static const dw_vfs *vfs = &real_vfs;

const dw_vfs *dw_vfs_get(void)
{
    return vfs;
}

void dw_vfs_use(const dw_vfs *v)
{
    vfs = v ? v : &real_vfs;
}

bool dw_file_exists(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISREG(st.st_mode);
}

bool dw_dir_exists(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

dw_status dw_file_read(const char *path, size_t max_bytes, dw_buf *out, dw_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return dw_fail(err, DW_E_INPUT, "%s: cannot open: %s", path, strerror(errno));
    char block[65536];
    ssize_t n;
    dw_status st = DW_OK;
    while ((n = read(fd, block, sizeof block)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            st = dw_fail(err, DW_E_INPUT, "%s: cannot read: %s", path, strerror(errno));
            break;
        }
        if (out->len + (size_t)n > max_bytes) {
            st = dw_fail(err, DW_E_INPUT, "%s: larger than the %zu bytes allowed for it", path,
                         max_bytes);
            break;
        }
        dw_buf_add(out, block, (size_t)n);
    }
    close(fd);
    return st;
}

dw_status dw_map_open(const char *path, dw_mapping *out, dw_err *err)
{
    *out = (dw_mapping){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return dw_fail(err, DW_E_INPUT, "%s: cannot open: %s", path, strerror(errno));
    struct stat sb;
    dw_status st = DW_OK;
    if (fstat(fd, &sb) || !S_ISREG(sb.st_mode)) {
        st = dw_fail(err, DW_E_INPUT, "%s: not a regular file", path);
    } else if (sb.st_size > 0) {
        void *p = mmap(NULL, (size_t)sb.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            st = dw_fail(err, DW_E_IO, "%s: cannot map: %s", path, strerror(errno));
        else
            *out = (dw_mapping){p, (size_t)sb.st_size};
    }
    close(fd);
    return st;
}

void dw_map_passed(const dw_mapping *m, size_t from, size_t to)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    from = from / page * page;
    to = to / page * page;
    if (m->ptr && from < to)
        madvise((void *)(m->ptr + from), to - from, MADV_DONTNEED);
}

void dw_map_close(dw_mapping *m)
{
    if (m->ptr)
        munmap((void *)m->ptr, m->len);
    *m = (dw_mapping){0};
}

enum { WRITER_BYTES = 1 << 20 };

struct dw_writer {
    int fd;
    size_t n;
    char *path;
    char bytes[WRITER_BYTES];
};

static dw_status writer_new(const char *path, int flags, dw_writer **out, dw_err *err)
{
    *out = NULL;
    int fd = vfs->open(path, flags, 0666);
    if (fd < 0)
        return dw_fail(err, DW_E_IO, "%s: cannot open for writing: %s", path, strerror(errno));
    dw_writer *w = dw_alloc(sizeof *w);
    w->fd = fd;
    w->n = 0;
    w->path = dw_strdup(path);
    *out = w;
    return DW_OK;
}

dw_status dw_writer_open(const char *path, dw_writer **out, dw_err *err)
{
    return writer_new(path, O_WRONLY | O_CREAT | O_TRUNC, out, err);
}

dw_status dw_writer_append(const char *path, dw_writer **out, dw_err *err)
{
    return writer_new(path, O_WRONLY | O_CREAT | O_APPEND, out, err);
}

static dw_status write_all(const dw_writer *w, const char *p, size_t n, dw_err *err)
{
    while (n) {
        ssize_t done = vfs->write(w->fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return dw_fail(err, DW_E_IO, "%s: cannot write: %s", w->path,
                           done ? strerror(errno) : "nothing was taken");
        p += done;
        n -= (size_t)done;
    }
    return DW_OK;
}

dw_status dw_writer_flush(dw_writer *w, dw_err *err)
{
    size_t n = w->n;
    w->n = 0;
    return write_all(w, w->bytes, n, err);
}

dw_status dw_writer_put(dw_writer *w, const void *bytes, size_t n, dw_err *err)
{
    if (!n)
        return DW_OK;
    if (w->n + n > WRITER_BYTES)
        DW_TRY(dw_writer_flush(w, err));
    if (n > WRITER_BYTES)
        return write_all(w, bytes, n, err);
    memcpy(w->bytes + w->n, bytes, n);
    w->n += n;
    return DW_OK;
}

dw_status dw_writer_close(dw_writer *w, dw_err *err)
{
    dw_status st = dw_writer_flush(w, err);
    /* A failed fsync is never retried: the kernel may have dropped the dirty pages already. */
    if (!st && vfs->fsync(w->fd))
        st = dw_fail(err, DW_E_IO, "%s: cannot fsync: %s", w->path, strerror(errno));
    if (vfs->close(w->fd) && !st)
        st = dw_fail(err, DW_E_IO, "%s: cannot close: %s", w->path, strerror(errno));
    dw_free(w->path);
    dw_free(w);
    return st;
}

void dw_writer_abandon(dw_writer *w)
{
    if (!w)
        return;
    vfs->close(w->fd);
    dw_free(w->path);
    dw_free(w);
}

dw_status dw_fsync_path(const char *path, dw_err *err)
{
    int fd = vfs->open(path, O_RDONLY, 0);
    if (fd < 0)
        return dw_fail(err, DW_E_IO, "%s: cannot open: %s", path, strerror(errno));
    dw_status st = DW_OK;
    if (vfs->fsync(fd))
        st = dw_fail(err, DW_E_IO, "%s: cannot fsync: %s", path, strerror(errno));
    vfs->close(fd);
    return st;
}

/* Creates or truncates path, writes, fsyncs. */
static dw_status write_whole(const char *path, const void *bytes, size_t n, dw_err *err)
{
    dw_writer *w = NULL;
    DW_TRY(dw_writer_open(path, &w, err));
    dw_assert(w);
    dw_status st = dw_writer_put(w, bytes, n, err);
    if (!st)
        return dw_writer_close(w, err);
    dw_writer_abandon(w);
    return st;
}

dw_status dw_file_write(const char *path, const void *bytes, size_t n, dw_err *err)
{
    dw_arena a = {0};
    char *tmp = dw_arena_printf(&a, "%s.tmp.%ld", path, (long)getpid());
    dw_status st = write_whole(tmp, bytes, n, err);
    if (!st && vfs->rename(tmp, path))
        st = dw_fail(err, DW_E_IO, "%s: cannot rename into place: %s", path, strerror(errno));
    if (st)
        vfs->unlink(tmp);
    else
        st = dw_fsync_path(dw_path_dir(&a, path), err);
    dw_arena_finish(&a);
    return st;
}

dw_status dw_copy_file(const char *from, const char *to, dw_err *err)
{
    dw_mapping m;
    DW_TRY(dw_map_open(from, &m, err));
    dw_status st = write_whole(to, m.ptr, m.len, err);
    dw_map_close(&m);
    return st;
}
