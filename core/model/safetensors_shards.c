/* Checkpoints in several files: the index and its shards, opened beneath the folder only; and what
 * to say when a folder holds something else. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "model/hub.h"
#include "model/safetensors_internal.h"

enum { INDEX_BYTES = 100 << 20 };

/* A kernel without openat2 gets the plain names only, and no links. */
static int open_beneath(int dir, const char *name)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof how);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
        return fd;
    if (strchr(name, '/') || !strcmp(name, "..")) {
        errno = EXDEV;
        return -1;
    }
    return openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
}

/* The folder that shards are opened beneath, and the way from there to the model's. */
typedef struct place {
    int fd;
    const char *prefix; /* "" or ends in '/' */
    dw_arena arena;
} place;

/* In Hugging Face's cache a model's files are links to the model's own blobs, two folders up. */
static void open_place(place *p, const char *dir)
{
    char *rest, *root = dw_hub_root(&p->arena, dir, &rest);
    p->prefix = root ? dw_arena_printf(&p->arena, "%s/", rest) : "";
    p->fd = open(root ? root : dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static dw_status map_shard(place *from, const char *name, dw_mapping *out, dw_err *err)
{
    *out = (dw_mapping){0};
    int fd = open_beneath(from->fd, dw_arena_printf(&from->arena, "%s%s", from->prefix, name));
    if (fd < 0 && (errno == EXDEV || errno == ELOOP))
        return dw_fail(err, DW_E_INPUT,
                       "leads out of the model's folder (if its files are links, copy them with "
                       "cp -rL)");
    if (fd < 0)
        return dw_fail(err, DW_E_INPUT, "cannot open: %s", strerror(errno));
    struct stat sb;
    dw_status st = DW_OK;
    if (fstat(fd, &sb) || !S_ISREG(sb.st_mode)) {
        st = dw_fail(err, DW_E_INPUT, "not a regular file");
    } else if (sb.st_size > 0) {
        void *p = mmap(NULL, (size_t)sb.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            st = dw_fail(err, DW_E_IO, "cannot map: %s", strerror(errno));
        else
            *out = (dw_mapping){p, (size_t)sb.st_size};
    }
    close(fd);
    return st;
}

typedef struct shards {
    const char **name; /* borrowed from the JSON */
    size_t n, cap;
    dw_map index;
} shards;

/* Opens a shard the first time it is named; *out is its number. */
static dw_status open_shard(dw_checkpoint *c, shards *s, place *dir, const char *name,
                            uint32_t *out, dw_err *err)
{
    int64_t i = 0;
    if (dw_map_get(&s->index, dw_text_of(name), &i)) {
        *out = (uint32_t)i;
        return DW_OK;
    }
    dw_mapping map = {0};
    dw_status st = map_shard(dir, name, &map, err);
    if (st == DW_OK)
        st = dw_st_add(c, map, err);
    if (st < 0) {
        dw_err_prefix(err, "shard \"%.128s\"", name);
        return st;
    }
    dw_map_put(&s->index, dw_text_of(name), (int64_t)s->n);
    DW_GROW(s->name, s->n, s->cap);
    *out = (uint32_t)s->n;
    s->name[s->n++] = name;
    return DW_OK;
}

static dw_status read_map(dw_checkpoint *c, shards *s, const dw_json *map, place *dir, dw_err *err)
{
    size_t listed = 0;
    dw_map wanted = {0};
    dw_status st = DW_OK;
    for (const dw_json *v = dw_json_first(map); v && st == DW_OK; v = dw_json_next(v), listed++) {
        const char *name = dw_json_key(v), *file = NULL;
        uint32_t shard = 0;
        if (dw_json_kind(v) != DW_JSON_STRING)
            st = dw_fail(err, DW_E_INPUT, "weight_map.%.128s: wanted a string, found %s", name,
                         dw_json_kind_name(v));
        else if (dw_json_str(v).len == 0 || memchr(dw_json_str(v).ptr, 0, dw_json_str(v).len))
            st = dw_fail(err, DW_E_INPUT, "weight_map.%.128s: not a file name", name);
        if (st < 0)
            break;
        file = dw_json_str(v).ptr;
        st = open_shard(c, s, dir, file, &shard, err);
        const dw_tensor_entry *e = st == DW_OK ? dw_checkpoint_find(c, name) : NULL;
        if (st == DW_OK && (!e || e->shard != shard))
            st = dw_fail(err, DW_E_INPUT, "tensor \"%.128s\" is not in shard \"%.128s\"", name,
                         file);
        if (st == DW_OK)
            dw_map_put(&wanted, dw_text_of(name), 0);
    }
    for (size_t i = 0; i < c->n_entry && st == DW_OK; i++) {
        dw_assert(s->name && c->entry[i].shard < s->n);
        if (!dw_map_get(&wanted, dw_text_of(c->entry[i].name), NULL))
            st = dw_fail(err, DW_E_INPUT,
                         "tensor \"%.128s\" of shard \"%.128s\" is not in weight_map",
                         c->entry[i].name, s->name[c->entry[i].shard]);
    }
    if (st == DW_OK && !listed)
        st = dw_fail(err, DW_E_INPUT, "weight_map is empty");
    dw_map_finish(&wanted);
    return st;
}

static dw_status check_total(const dw_checkpoint *c, const dw_json *root, dw_err *err)
{
    const dw_json *meta = dw_json_get(root, "metadata");
    if (!meta || dw_json_kind(meta) == DW_JSON_NULL)
        return DW_OK;
    if (dw_json_kind(meta) != DW_JSON_OBJECT)
        return dw_fail(err, DW_E_INPUT, "metadata: wanted an object, found %s",
                       dw_json_kind_name(meta));
    int64_t total = -1;
    dw_status st = dw_json_get_int(meta, "total_size", -1, 0, INT64_MAX, &total, err);
    if (st < 0) {
        dw_err_prefix(err, "metadata");
        return st;
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < c->n_entry; i++)
        sum += c->entry[i].bytes; /* each is at most its file's size */
    if (total >= 0 && (uint64_t)total != sum)
        return dw_fail(err, DW_E_INPUT, "metadata.total_size is %lld, the shards hold %llu bytes",
                       (long long)total, (unsigned long long)sum);
    return DW_OK;
}

dw_status dw_st_add_shards(dw_checkpoint *c, const char *dir, const char *index, dw_err *err)
{
    dw_json *root = NULL;
    shards s = {0};
    DW_TRY(dw_json_read(index, INDEX_BYTES, &root, err));
    place p = {.fd = -1};
    open_place(&p, dir);
    const dw_json *map = dw_json_get(root, "weight_map");
    dw_status st = DW_OK;
    if (p.fd < 0)
        st = dw_fail(err, DW_E_INPUT, "cannot open the folder: %s", strerror(errno));
    else if (dw_json_kind(root) != DW_JSON_OBJECT)
        st = dw_fail(err, DW_E_INPUT, "wanted an object, found %s", dw_json_kind_name(root));
    else if (!map || dw_json_kind(map) != DW_JSON_OBJECT)
        st = dw_fail(err, DW_E_INPUT, "weight_map: wanted an object, found %s",
                     dw_json_kind_name(map));
    if (st == DW_OK)
        st = read_map(c, &s, map, &p, err);
    if (st == DW_OK)
        st = check_total(c, root, err);
    if (st < 0)
        dw_err_prefix(err, "%s", index);
    if (p.fd >= 0)
        close(p.fd);
    dw_arena_finish(&p.arena);
    dw_map_finish(&s.index);
    dw_free(s.name);
    dw_json_free(root);
    return st;
}

static const char convert[] =
    "a pickle can run code when it is read; convert it once with transformers: "
    "AutoModelForCausalLM.from_pretrained(IN).save_pretrained(OUT)";

/* A zip archive and a bare pickle of protocol 2 to 5 are what torch.save has written. */
static bool is_pickle(const unsigned char *p, size_t n)
{
    if (n >= 4 && !memcmp(p, "PK\3\4", 4))
        return true;
    return n >= 3 && p[0] == 0x80 && p[1] >= 2 && p[1] <= 5 &&
           (p[2] == 0x95 || p[2] == 0x8a || p[2] == '}' || p[2] == 'c' || p[2] == ']');
}

dw_status dw_st_check_content(const unsigned char *head, size_t n, dw_err *err)
{
    /* A header of a real file has its JSON at byte 8. */
    if (n > 8 && head[8] == '{')
        return DW_OK;
    if (n && is_pickle(head, n))
        return dw_fail(err, DW_E_INPUT, "this is a PyTorch pickle, not safetensors: %s", convert);
    if (n >= 4 && !memcmp(head, "GGUF", 4))
        return dw_fail(err, DW_E_INPUT, "this is a GGUF file, not safetensors");
    if (n >= 8 && !memcmp(head, "version ", 8))
        return dw_fail(err, DW_E_INPUT,
                       "this is a Git LFS pointer, not the weights: fetch them with git lfs pull");
    return DW_OK;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

static bool pickle_name(const char *name)
{
    static const char *const tails[] = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
        if (ends_with(name, tails[i]))
            return true;
    return false;
}

static bool pickle_content(const char *path)
{
    unsigned char head[16];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof head);
    if (fd >= 0)
        close(fd);
    return n > 0 && is_pickle(head, (size_t)n);
}

dw_status dw_st_explain_missing(const char *dir, const char *wanted, dw_err *err)
{
    dw_arena a = {0};
    char **names = NULL;
    size_t n = 0;
    const char *pickle = NULL, *other = NULL;
    dw_status st = dw_dir_list(&a, dir, &names, &n, err);
    for (size_t i = 0; st == DW_OK && i < n; i++) {
        char *path = dw_path_join(&a, dir, names[i]);
        if (!pickle && (pickle_name(names[i]) || pickle_content(path)))
            pickle = names[i];
        if (!other && (ends_with(names[i], ".safetensors") || ends_with(names[i], ".gguf")))
            other = names[i];
    }
    if (st == DW_OK && pickle)
        st = dw_fail(err, DW_E_INPUT, "%s: the weights are a PyTorch pickle (%.64s): %s", dir,
                     pickle, convert);
    else if (st == DW_OK)
        st = dw_fail(err, DW_E_INPUT, "%s: no %s in the folder%s%.64s%s", dir, wanted,
                     other ? " (found " : "", other ? other : "", other ? ")" : "");
    dw_arena_finish(&a);
    return st;
}
