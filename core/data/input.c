/* Reads files by mapping them, and packed files and standard input in pieces. */
#include "data/input.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

enum { READ_BYTES = 1 << 16, MAX_WINDOW = 1 << 30, PASSED_BYTES = 4 << 20 };

/* ---- files of other kinds ---- */

#define FROM_PYTHON(read)                                                                          \
    "; write it as JSON lines first (in Python: " read ".to_json(\"rows.jsonl\", "                 \
    "orient=\"records\", lines=True))"
#define PARQUET            "Parquet" FROM_PYTHON("pandas.read_parquet(FILE)")
#define ARROW              "Arrow" FROM_PYTHON("pandas.read_feather(FILE)")
#define SHEET              "a spreadsheet; save it as CSV in UTF-8 first"
#define UNPACK(what, tool) "compressed with " what "; unpack it first (" tool ")"

/* What is not read here and often stands where rows are looked for. */
static const struct {
    const char *magic;
    size_t n, at;
    const char *what;
} foreign[] = {
    {"PAR1", 4, 0, PARQUET},
    {"ARROW1", 6, 0, ARROW},
    {"FEA1", 4, 0, ARROW},
    {"\xff\xff\xff\xff", 4, 0,
     "an Arrow stream; write it as JSON lines first (in Python: "
     "datasets.Dataset.from_file(FILE).to_json(\"rows.jsonl\"))"},
    {"PK\x03\x04", 4, 0, "a zip archive or a spreadsheet (.xlsx); unpack it, or save it as CSV"},
    {"\xd0\xcf\x11\xe0", 4, 0, SHEET},
    {"BZh", 3, 0, UNPACK("bzip2", "bunzip2")},
    {"\xfd"
     "7zXZ",
     5, 0, UNPACK("xz", "unxz")},
    {"\x04\x22\x4d\x18", 4, 0, UNPACK("lz4", "unlz4")},
    {"7z\xbc\xaf\x27\x1c", 6, 0, "a 7z archive; unpack it first (7z x)"},
    {"Rar!", 4, 0, "a rar archive; unpack it first (unrar x)"},
    {"ustar", 5, 257, "a tar archive; unpack it first (tar -xf)"},
    {"\x93NUMPY", 6, 0, "an array of NumPy, which holds no rows of text"},
    {"\x89HDF", 4, 0, "HDF5" FROM_PYTHON("pandas.read_hdf(FILE)")},
    {"SQLite format 3", 15, 0, "a database of SQLite; export the table as CSV first"},
    {"Obj\x01", 4, 0, "Avro; write it as JSON lines first"},
    {"\x80\x02", 2, 0, "a pickle of Python, which runs code when it is read; write JSON lines"},
    {"\x80\x03", 2, 0, "a pickle of Python, which runs code when it is read; write JSON lines"},
    {"\x80\x04", 2, 0, "a pickle of Python, which runs code when it is read; write JSON lines"},
    {"\x80\x05", 2, 0, "a pickle of Python, which runs code when it is read; write JSON lines"},
    {"GGUF", 4, 0, "a model (GGUF), not rows"},
    {"%PDF", 4, 0, "a PDF document, not rows"},
    {"\x7f"
     "ELF",
     4, 0, "a program, not rows"},
    {"version https://git-lfs", 23, 0,
     "a pointer of Git LFS, not the data itself; fetch it first (git lfs pull)"},
    {"<!DOCTYPE", 9, 0, "a web page, not rows; fetch the raw file"},
    {"<!doctype", 9, 0, "a web page, not rows; fetch the raw file"},
    {"<html", 5, 0, "a web page, not rows; fetch the raw file"},
    {"<?xml", 5, 0, "XML; write it as JSON lines first"},
};

static const struct {
    const char *ending, *what;
} foreign_name[] = {
    {".parquet", PARQUET},
    {".arrow", ARROW},
    {".feather", ARROW},
    {".xlsx", SHEET},
    {".xls", SHEET},
    {".ods", SHEET},
    {".orc", "ORC" FROM_PYTHON("pandas.read_orc(FILE)")},
};

static void put_lower(char *out, const char *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (char)tolower((unsigned char)from[i]);
    out[n] = 0;
}

void dw_input_ending(const char *path, char out[16])
{
    const char *base = dw_path_base(path), *end = base + strlen(base);
    for (int turn = 0; turn < 2; turn++) {
        const char *dot = end;
        while (dot > base && (dot == end || *dot != '.'))
            dot--;
        size_t n = (size_t)(end - dot);
        out[0] = 0;
        if (dot == base || n >= 16)
            return;
        put_lower(out, dot, n);
        if (strcmp(out, ".gz") != 0 && strcmp(out, ".zst") != 0)
            return;
        end = dot;
    }
}

static dw_status refuse_foreign(const dw_input *in, dw_text head, dw_err *err)
{
    char ending[16];
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (head.len >= foreign[i].at + foreign[i].n &&
            !memcmp(head.ptr + foreign[i].at, foreign[i].magic, foreign[i].n))
            return dw_fail(err, DW_E_INPUT, "%s: the file is %s", in->name, foreign[i].what);
    dw_input_ending(in->name, ending);
    for (size_t i = 0; i < sizeof foreign_name / sizeof *foreign_name; i++)
        if (!strcmp(ending, foreign_name[i].ending))
            return dw_fail(err, DW_E_INPUT, "%s: by its name the file is %s", in->name,
                           foreign_name[i].what);
    return DW_OK;
}

static dw_status check_encoding(const dw_input *in, dw_text h, dw_err *err)
{
    bool marked32 =
        h.len >= 4 && (!memcmp(h.ptr, "\xff\xfe\0\0", 4) || !memcmp(h.ptr, "\0\0\xfe\xff", 4));
    bool marked = h.len >= 2 && (!memcmp(h.ptr, "\xff\xfe", 2) || !memcmp(h.ptr, "\xfe\xff", 2));
    /* Without a mark: the first character is ASCII in all files of rows. */
    bool half = h.len >= 2 && !h.ptr[0] != !h.ptr[1] && (h.ptr[0] | h.ptr[1]) > 0x08;
    bool wide = h.len >= 4 && half && !h.ptr[2] && !h.ptr[3];
    const char *is = marked32 || wide ? "32" : marked || half ? "16" : NULL;
    if (!is)
        return DW_OK;
    return dw_fail(err, DW_E_INPUT,
                   "%s:1:1: this is UTF-%s; save it as UTF-8 (iconv -f UTF-%s -t UTF-8)", in->name,
                   is, is);
}

/* ---- opening ---- */

/* Opening a named pipe would wait for its writer, and pipes cannot be mapped. */
static dw_status check_kind(const char *path, dw_err *err)
{
    struct stat sb;
    if (stat(path, &sb) || S_ISREG(sb.st_mode))
        return DW_OK;
    if (S_ISDIR(sb.st_mode))
        return dw_fail(err, DW_E_INPUT, "%s: a folder; wanted a file of rows", path);
    return dw_fail(err, DW_E_INPUT,
                   "%s: not a regular file; the commands that read rows take standard input as -",
                   path);
}

static dw_status open_unpack(dw_input *in, dw_text head, dw_err *err)
{
    dw_packing p = dw_unpack_kind(head);
    if (p == DW_PACK_NONE)
        return DW_OK;
    dw_status st = dw_unpack_open(p, &in->unpack, err);
    if (st)
        dw_err_prefix(err, "%s", in->name);
    return st;
}

/* Steps over a mark in front of the text. */
static void skip_mark(dw_input *in)
{
    if (in->len < 3 || memcmp(in->ptr, "\xef\xbb\xbf", 3) != 0)
        return;
    in->ptr += 3;
    in->len -= 3;
}

static dw_status open_file(dw_input *in, const char *path, dw_err *err)
{
    DW_TRY(check_kind(path, err));
    DW_TRY(dw_map_open(path, &in->map, err));
    in->ptr = in->map.ptr ? (const char *)in->map.ptr : "";
    in->len = in->map.len;
    in->eof = true;
    dw_text head = {in->ptr, in->len};
    DW_TRY(open_unpack(in, head, err));
    if (in->unpack) {
        in->ptr = "";
        in->len = 0;
        in->eof = false;
        size_t none = 0;
        DW_TRY(dw_input_more(in, &none, READ_BYTES, err));
        head = (dw_text){in->ptr, in->len};
    }
    DW_TRY(refuse_foreign(in, head, err));
    DW_TRY(check_encoding(in, head, err));
    skip_mark(in);
    return DW_OK;
}

dw_status dw_input_open(dw_input *in, const char *path, dw_err *err)
{
    in->is_stdin = !strcmp(path, "-");
    in->name = dw_strdup(in->is_stdin ? "<stdin>" : path);
    in->ptr = "";
    return in->is_stdin ? DW_OK : open_file(in, path, err);
}

void dw_input_close(dw_input *in)
{
    dw_unpack_close(in->unpack);
    dw_map_close(&in->map);
    dw_buf_finish(&in->window);
    dw_buf_finish(&in->packed);
    dw_free(in->name);
    *in = (dw_input){0};
}

/* ---- memory ---- */

void dw_input_passed(dw_input *in, size_t to)
{
    if (!in->map.ptr || to < in->passed + PASSED_BYTES)
        return;
    dw_map_passed(&in->map, in->passed, to);
    in->passed = to;
}

void dw_input_hash(const dw_input *in, dw_sha256 *sha)
{
    for (size_t at = 0, n; at < in->map.len; at += n) {
        n = in->map.len - at < PASSED_BYTES ? in->map.len - at : PASSED_BYTES;
        dw_sha256_add(sha, in->map.ptr + at, n);
        dw_map_passed(&in->map, at, at + n);
    }
}

/* ---- reading on ---- */

static dw_status read_stdin(dw_input *in, dw_buf *to, dw_err *err)
{
    char chunk[READ_BYTES];
    ssize_t n;
    do
        n = read(STDIN_FILENO, chunk, sizeof chunk);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return dw_fail(err, DW_E_IO, "<stdin>: %s", strerror(errno));
    in->dry = n == 0;
    dw_buf_add(to, chunk, (size_t)n);
    return DW_OK;
}

static dw_status unpack_some(dw_input *in, size_t most, dw_err *err)
{
    if (in->is_stdin && in->taken == in->packed.len && !in->dry) {
        dw_buf_clear(&in->packed);
        in->taken = 0;
        DW_TRY(read_stdin(in, &in->packed, err));
    }
    dw_text all =
        in->is_stdin ? dw_buf_text(&in->packed) : (dw_text){(const char *)in->map.ptr, in->map.len};
    dw_text rest = {all.ptr + in->taken, all.len - in->taken};
    size_t used, before = in->window.len;
    dw_status st = dw_unpack_put(in->unpack, rest, &used, most, &in->window, err);
    if (st) {
        dw_err_prefix(err, "%s", in->name);
        return st;
    }
    in->taken += used;
    dw_input_passed(in, in->taken);
    bool end = in->taken == all.len && (!in->is_stdin || in->dry) && in->window.len == before;
    if (end && !dw_unpack_whole(in->unpack))
        return dw_fail(err, DW_E_INPUT,
                       "%s: the compressed data ends too early: the file is not whole", in->name);
    if (!end && !used && in->window.len == before && (!in->is_stdin || in->dry))
        return dw_fail(err, DW_E_INPUT, "%s: the compressed data is damaged", in->name);
    in->eof = end;
    return DW_OK;
}

/* The first bytes of standard input say whether it is packed. */
static dw_status first_read(dw_input *in, dw_err *err)
{
    while (in->window.len < 4 && !in->dry)
        DW_TRY(read_stdin(in, &in->window, err));
    DW_TRY(open_unpack(in, dw_buf_text(&in->window), err));
    if (in->unpack) {
        dw_buf t = in->packed;
        in->packed = in->window;
        in->window = t;
    }
    return DW_OK;
}

static dw_status read_some(dw_input *in, size_t least, dw_err *err)
{
    bool first = in->is_stdin && !in->dry && !in->window.ptr && !in->packed.ptr;
    if (first)
        DW_TRY(first_read(in, err));
    if (in->unpack)
        return unpack_some(in, least > READ_BYTES ? least : READ_BYTES, err);
    if (!first)
        DW_TRY(read_stdin(in, &in->window, err));
    in->eof = in->dry;
    return DW_OK;
}

dw_status dw_input_more(dw_input *in, size_t *drop, size_t least, dw_err *err)
{
    size_t head = in->window.ptr ? (size_t)(in->ptr - in->window.ptr) : 0; /* a mark */
    if (*drop && *drop >= in->len / 2) {
        size_t keep = in->len - *drop;
        memmove(in->window.ptr, in->ptr + *drop, keep);
        in->window.len = keep;
        head = 0;
    } else {
        *drop = 0;
    }
    bool begins = !in->window.ptr;
    size_t before = in->window.len;
    do {
        DW_TRY(read_some(in, least, err));
        if (in->window.len > MAX_WINDOW)
            return dw_fail(err, DW_E_LIMIT, "%s: a row of more than %d bytes", in->name,
                           MAX_WINDOW);
    } while (!in->eof && in->window.len - before < least);
    in->ptr = (in->window.ptr ? in->window.ptr : "") + head;
    in->len = in->window.len - head;
    if (begins && in->is_stdin) {
        DW_TRY(refuse_foreign(in, (dw_text){in->ptr, in->len}, err));
        DW_TRY(check_encoding(in, (dw_text){in->ptr, in->len}, err));
        skip_mark(in);
    }
    return DW_OK;
}

bool dw_input_ready(const dw_input *in)
{
    struct pollfd p = {STDIN_FILENO, POLLIN, 0};
    return in->eof || !in->is_stdin || in->taken < in->packed.len || poll(&p, 1, 0) > 0;
}
