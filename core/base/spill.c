/* A bump allocator over a file without a name. */
#include "base/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"

enum {
    SMALL = 1 << 16, /* the first block */
    PLAIN = 4 << 20, /* so much in ordinary memory */
    BLOCK = 8 << 20, /* of the file */
    PAGE = 1 << 16,  /* at least the page of any machine */
};

typedef struct dw_spill_block {
    struct dw_spill_block *next;
    size_t used, size;
    bool mapped;
    unsigned char *bytes;
} dw_spill_block;

static bool on_disk(const char *dir)
{
    struct statfs fs;
    return !statfs(dir, &fs) && fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC;
}

static int open_file(void)
{
    const char *dirs[] = {getenv("TMPDIR"), "/var/tmp", "/tmp"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        dw_buf path = {0};
        if (!dirs[i] || !on_disk(dirs[i]))
            continue;
        dw_buf_printf(&path, "%s/dowel.XXXXXX", dirs[i]);
        int fd = mkostemp(path.ptr, O_CLOEXEC);
        if (fd >= 0)
            unlink(path.ptr);
        dw_buf_finish(&path);
        if (fd > 0)
            return fd;
    }
    return -1;
}

static dw_spill_block *plain_block(size_t size)
{
    dw_spill_block *b = dw_zalloc(1, sizeof *b);
    *b = (dw_spill_block){.size = size, .bytes = dw_zalloc(1, size)};
    return b;
}

static dw_status disk_full(int why, dw_err *err)
{
    return dw_fail(err, DW_E_IO,
                   "no room on disk for rows of data: %s (set TMPDIR to a folder with more)",
                   strerror(why));
}

/* Room is reserved first: a page without a place on disk would end the process when written. */
static dw_status file_block(dw_spill *s, size_t size, dw_spill_block **out, dw_err *err)
{
    size = (size + PAGE - 1) / PAGE * PAGE;
    if (ftruncate(s->fd, s->end + (int64_t)size))
        return disk_full(errno, err);
    int why = posix_fallocate(s->fd, s->end, (off_t)size);
    if (why)
        return disk_full(why, err);
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, s->end);
    if (p == MAP_FAILED)
        return dw_fail(err, DW_E_LIMIT, "no address space for rows of data: %s", strerror(errno));
    s->end += (int64_t)size;
    dw_spill_block *b = dw_zalloc(1, sizeof *b);
    *b = (dw_spill_block){.size = size, .mapped = true, .bytes = p};
    *out = b;
    return DW_OK;
}

/* The kernel writes the block when it likes and forgets it when memory is short. */
static void let_go(const dw_spill_block *b)
{
    if (b->mapped)
        madvise(b->bytes, b->size, MADV_DONTNEED);
}

static dw_status add_block(dw_spill *s, size_t n, dw_err *err)
{
    dw_spill_block *b;
    size_t size = s->block ? 2 * s->block->size : SMALL;
    size = size > BLOCK ? BLOCK : size;
    size = size < n ? n : size;
    if (s->used + size > PLAIN && !s->fd)
        s->fd = open_file();
    if (s->used + size <= PLAIN || s->fd < 0)
        b = plain_block(size);
    else
        DW_TRY(file_block(s, size < BLOCK ? BLOCK : size, &b, err));
    if (s->block)
        let_go(s->block);
    b->next = s->block;
    s->block = b;
    return DW_OK;
}

void *dw_spill_alloc(dw_spill *s, size_t bytes, dw_err *err)
{
    size_t n = bytes > SIZE_MAX / 2 ? SIZE_MAX / 2 : (bytes + 15) & ~(size_t)15;
    if ((!s->block || s->block->size - s->block->used < n) && add_block(s, n, err) < 0)
        return NULL;
    void *p = s->block->bytes + s->block->used;
    s->block->used += n;
    s->used += n;
    return p;
}

void dw_spill_rest(dw_spill *s)
{
    for (dw_spill_block *b = s->block; b; b = b->next)
        let_go(b);
}

void dw_spill_finish(dw_spill *s)
{
    for (dw_spill_block *b = s->block, *next; b; b = next) {
        next = b->next;
        if (b->mapped)
            munmap(b->bytes, b->size);
        else
            dw_free(b->bytes);
        dw_free(b);
    }
    if (s->fd > 0)
        close(s->fd);
    *s = (dw_spill){0};
}
