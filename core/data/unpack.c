/* gzip through zlib and zstd through its own library, each only where the build found it. */
#include "data/unpack.h"

#include <limits.h>
#include <string.h>

#ifdef DW_HAVE_ZLIB
#include <zlib.h>
#endif
#ifdef DW_HAVE_ZSTD
#include <zstd.h>
#endif

#include "base/alloc.h"

enum { PIECE = 1 << 16 };

struct dw_unpack {
    dw_packing kind;
    bool whole;
#ifdef DW_HAVE_ZLIB
    z_stream z;
#endif
#ifdef DW_HAVE_ZSTD
    ZSTD_DStream *s;
#endif
    char piece[PIECE];
};

dw_packing dw_unpack_kind(dw_text head)
{
    if (head.len >= 2 && !memcmp(head.ptr, "\x1f\x8b", 2))
        return DW_PACK_GZIP;
    /* A frame, or one of the sixteen marks of a skippable frame in front of it. */
    if (head.len >= 4 &&
        (!memcmp(head.ptr, "\x28\xb5\x2f\xfd", 4) ||
         ((head.ptr[0] & 0xf0) == 0x50 && !memcmp(head.ptr + 1, "\x2a\x4d\x18", 3))))
        return DW_PACK_ZSTD;
    return DW_PACK_NONE;
}

static dw_status absent(const char *what, const char *library, const char *tool, dw_err *err)
{
    return dw_fail(err, DW_E_INPUT,
                   "the file is compressed with %s, and this build has no %s: unpack it first "
                   "(%s), or build with it",
                   what, library, tool);
}

dw_status dw_unpack_open(dw_packing p, dw_unpack **out, dw_err *err)
{
    *out = NULL;
#ifndef DW_HAVE_ZLIB
    if (p == DW_PACK_GZIP)
        return absent("gzip", "zlib", "gunzip", err);
#endif
#ifndef DW_HAVE_ZSTD
    if (p == DW_PACK_ZSTD)
        return absent("zstd", "libzstd", "unzstd", err);
#endif
    (void)absent;
    dw_unpack *u = dw_zalloc(1, sizeof *u);
    u->kind = p;
    bool ok = false;
#ifdef DW_HAVE_ZLIB
    if (p == DW_PACK_GZIP)
        ok = inflateInit2(&u->z, 15 + 16) == Z_OK; /* 16: with the header of gzip */
#endif
#ifdef DW_HAVE_ZSTD
    if (p == DW_PACK_ZSTD)
        ok = (u->s = ZSTD_createDStream()) != NULL;
#endif
    if (!ok) {
        dw_free(u);
        return dw_fail(err, DW_E_LIMIT, "no memory to unpack with");
    }
    *out = u;
    return DW_OK;
}

void dw_unpack_close(dw_unpack *u)
{
    if (!u)
        return;
#ifdef DW_HAVE_ZLIB
    if (u->kind == DW_PACK_GZIP)
        inflateEnd(&u->z);
#endif
#ifdef DW_HAVE_ZSTD
    if (u->kind == DW_PACK_ZSTD)
        ZSTD_freeDStream(u->s);
#endif
    dw_free(u);
}

bool dw_unpack_whole(const dw_unpack *u)
{
    return u->whole;
}

#ifdef DW_HAVE_ZLIB
/* Between two streams: another header, or the zeros that tapes and tools pad with. */
static dw_status next_stream(dw_unpack *u, dw_text in, size_t *used, dw_err *err)
{
    while (*used < in.len && !in.ptr[*used])
        ++*used;
    if (*used == in.len)
        return DW_OK;
    if ((unsigned char)in.ptr[*used] != 0x1f)
        return dw_fail(err, DW_E_INPUT, "bytes that are not gzip follow the compressed data");
    inflateReset(&u->z);
    u->whole = false;
    return DW_OK;
}

static dw_status inflate_some(dw_unpack *u, dw_text in, size_t *used, size_t most, dw_buf *out,
                              dw_err *err)
{
    size_t made = 0;
    for (*used = 0; *used < in.len && made < most;) {
        if (u->whole)
            DW_TRY(next_stream(u, in, used, err));
        if (u->whole)
            break;
        size_t left = in.len - *used;
        u->z.next_in = (Bytef *)(uintptr_t)(in.ptr + *used);
        u->z.avail_in = left > UINT_MAX ? UINT_MAX : (unsigned)left;
        const unsigned given = u->z.avail_in;
        u->z.next_out = (Bytef *)u->piece;
        u->z.avail_out = PIECE;
        int rc = inflate(&u->z, Z_NO_FLUSH);
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
            return dw_fail(err, DW_E_INPUT, "the compressed data is damaged (gzip: %s)",
                           u->z.msg ? u->z.msg : "data error");
        *used += given - u->z.avail_in;
        size_t n = PIECE - u->z.avail_out;
        dw_buf_add(out, u->piece, n);
        made += n;
        u->whole = rc == Z_STREAM_END;
        if (!n && !u->whole && given == u->z.avail_in)
            break;
    }
    return DW_OK;
}
#endif

#ifdef DW_HAVE_ZSTD
static dw_status zstd_some(dw_unpack *u, dw_text in, size_t *used, size_t most, dw_buf *out,
                           dw_err *err)
{
    ZSTD_inBuffer from = {in.ptr, in.len, 0};
    size_t made = 0, n;
    if (u->whole && !in.len) /* asked on, it would wait for another frame */
        return DW_OK;
    do {
        ZSTD_outBuffer to = {u->piece, PIECE, 0};
        size_t rc = ZSTD_decompressStream(u->s, &to, &from);
        if (ZSTD_isError(rc))
            return dw_fail(err, DW_E_INPUT, "the compressed data is damaged (zstd: %s)",
                           ZSTD_getErrorName(rc));
        u->whole = rc == 0;
        n = to.pos;
        dw_buf_add(out, u->piece, n);
        made += n;
    } while (made < most && (from.pos < from.size || n == PIECE));
    *used = from.pos;
    return DW_OK;
}
#endif

dw_status dw_unpack_put(dw_unpack *u, dw_text in, size_t *used, size_t most, dw_buf *out,
                        dw_err *err)
{
    *used = 0;
#ifdef DW_HAVE_ZLIB
    if (u->kind == DW_PACK_GZIP)
        return inflate_some(u, in, used, most, out, err);
#endif
#ifdef DW_HAVE_ZSTD
    if (u->kind == DW_PACK_ZSTD)
        return zstd_some(u, in, used, most, out, err);
#endif
    (void)u;
    (void)in;
    (void)most;
    (void)out;
    return dw_fail(err, DW_E_BUG, "nothing unpacks this");
}
