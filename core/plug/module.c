/* Loads one shared object: the file is checked, opened once, loaded from that descriptor, and asked
 * for its constant. Nothing is ever unloaded; a file is tried once a process. */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "plug/internal.h"

#if defined(__x86_64__)
#define MACHINE      EM_X86_64
#define MACHINE_NAME "x86-64"
#elif defined(__aarch64__)
#define MACHINE      EM_AARCH64
#define MACHINE_NAME "aarch64"
#else
#define MACHINE      EM_NONE
#define MACHINE_NAME "this machine"
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static dw_module **loaded;
static size_t n_loaded, cap_loaded;

/* What dlopen would say less clearly, and before any code of the file runs. */
static dw_status check_elf(int fd, const char *path, dw_err *err)
{
    Elf64_Ehdr h;
    ssize_t n = pread(fd, &h, sizeof h, 0);
    if (n < 0)
        return dw_fail(err, DW_E_PLUGIN, "%s: %s", path, strerror(errno));
    if (n < SELFMAG || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
        return dw_fail(err, DW_E_PLUGIN, "%s: not a shared object; build it with cc -shared -fPIC",
                       path);
    if ((size_t)n < sizeof h)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: cut off after %zd bytes, the header alone has %zu; build it again",
                       path, n, sizeof h);
    if (h.e_ident[EI_CLASS] != ELFCLASS64 || (MACHINE != EM_NONE && h.e_machine != MACHINE))
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: built for another machine (ELF number %u), expected " MACHINE_NAME
                       "; build it here",
                       path, (unsigned)h.e_machine);
    if (h.e_type != ET_DYN)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: an object of ELF type %u, expected a shared object; link it with "
                       "cc -shared",
                       path, (unsigned)h.e_type);
    return DW_OK;
}

/* The loader maps a file that was cut off, and the first page that is missing kills the process. */
static dw_status check_length(int fd, const char *path, dw_err *err)
{
    Elf64_Ehdr h;
    Elf64_Phdr p;
    struct stat st;
    if (fstat(fd, &st) || pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h)
        return dw_fail(err, DW_E_PLUGIN, "%s: %s", path, strerror(errno));
    uint64_t size = (uint64_t)st.st_size, end = h.e_phoff;
    for (unsigned i = 0; i < h.e_phnum && end <= size; i++) {
        off_t at = (off_t)(h.e_phoff + (uint64_t)i * h.e_phentsize);
        if (h.e_phentsize < sizeof p || pread(fd, &p, sizeof p, at) != (ssize_t)sizeof p) {
            end = size + 1;
            break;
        }
        if (p.p_offset > size || p.p_filesz > size - p.p_offset)
            end = size + 1;
    }
    if (end > size)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: cut off after %llu bytes, its segments need more; build it again", path,
                       (unsigned long long)size);
    return DW_OK;
}

static dw_status check_module(const dowel_module *m, const char *path, dw_err *err)
{
    if (m->magic != DOWEL_MAGIC)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: dowel_module_v1 starts with 0x%08x, expected 0x%08x; define it with "
                       "DOWEL_MODULE()",
                       path, m->magic, DOWEL_MAGIC);
    if (m->abi_major != DOWEL_ABI_MAJOR || m->abi_minor > DOWEL_ABI_MINOR)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: built for plugin interface %u.%u, this dowel offers %u.%u; build it "
                       "against this dowel's header or update dowel",
                       path, m->abi_major, m->abi_minor, DOWEL_ABI_MAJOR, DOWEL_ABI_MINOR);
    if (m->size < 24)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: dowel_module has %u bytes, expected at least 24; define it with "
                       "DOWEL_MODULE()",
                       path, m->size);
    if (m->n_plugins == 0 || !m->plugins)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: holds no plugin, expected at least one; name it in DOWEL_MODULE()",
                       path);
    return DW_OK;
}

/* dlerror() names the descriptor, which tells a reader nothing. */
static const char *reason(const char *fd_path)
{
    const char *e = dlerror();
    if (!e)
        return "the loader gives no reason";
    size_t n = strlen(fd_path);
    if (!strncmp(e, fd_path, n) && !strncmp(e + n, ": ", 2))
        return e + n + 2;
    return e;
}

/* The descriptor stays open: its number must not come back, since the loader would take the next
 * file under that name for this one. */
static dw_status load(dw_module *m, int fd, dw_err *err)
{
    char fd_path[32];
    snprintf(fd_path, sizeof fd_path, "/proc/self/fd/%d", fd);
    DW_TRY(check_elf(fd, m->path, err));
    DW_TRY(check_length(fd, m->path, err));
    DW_TRY(dw_sha256_file(fd_path, m->sha256, err));

    dw_fpmode before = dw_fpmode_get();
    dw_breadcrumb(m->path);
    void *so = dlopen(fd_path, RTLD_NOW | RTLD_LOCAL);
    dw_breadcrumb(NULL);
    const char *changed = dw_fpmode_restore(&before);
    if (!so)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: cannot be loaded: %s; a plugin may use libc, libm and the host's "
                       "table only",
                       m->path, reason(fd_path));
    if (changed)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: loading it changed %s, expected it untouched; build it without "
                       "-ffast-math and without constructors that set it",
                       m->path, changed);
    const dowel_module *module = dlsym(so, "dowel_module_v1");
    if (!module)
        return dw_fail(err, DW_E_PLUGIN,
                       "%s: no symbol dowel_module_v1, which every plugin exports; add "
                       "DOWEL_MODULE() or take the file out of the folder",
                       m->path);
    DW_TRY(check_module(module, m->path, err));
    return dw_tables_copy(m->path, module, &m->info, &m->n_info, err);
}

static dw_module *already(const struct stat *st)
{
    for (size_t i = 0; i < n_loaded; i++)
        if (loaded[i]->dev == st->st_dev && loaded[i]->ino == st->st_ino)
            return loaded[i];
    return NULL;
}

static dw_module *load_new(const char *path, const struct stat *st, int fd)
{
    dw_err e;
    dw_module *m = dw_zalloc(1, sizeof *m);
    m->dev = st->st_dev;
    m->ino = st->st_ino;
    m->path = dw_strdup(path);
    if (load(m, fd, &e) < 0)
        m->refused = dw_strdup(e.text);
    for (size_t i = 0; i < m->n_info; i++) {
        m->info[i].path = m->path;
        memcpy(m->info[i].sha256, m->sha256, sizeof m->sha256);
    }
    DW_GROW(loaded, n_loaded, cap_loaded);
    loaded[n_loaded++] = m;
    return m;
}

dw_status dw_module_load(const char *path, const dw_module **out, dw_err *err)
{
    dw_identity me = dw_identity_now();
    struct stat st;
    int fd = -1;
    DW_TRY(dw_trust_open(&me, path, &fd, err));
    if (fstat(fd, &st)) {
        close(fd);
        return dw_fail(err, DW_E_PLUGIN, "%s: %s", path, strerror(errno));
    }
    pthread_mutex_lock(&lock);
    dw_module *m = already(&st);
    if (m)
        close(fd);
    else
        m = load_new(path, &st, fd);
    pthread_mutex_unlock(&lock);
    if (m->refused)
        return dw_fail(err, DW_E_PLUGIN, "%s", m->refused);
    *out = m;
    return DW_OK;
}
