/* One rendering's memory, limits, output, and the strings it builds. */
#include "text/jinja/run.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "text/jinja/node.h"

enum { CHUNK = 64 << 10 };

/* A block of memory: objects (16-byte steps), or text with its marks behind it. */
typedef struct dw_jchunk {
    struct dw_jchunk *next;
    size_t used, size;
    _Alignas(16) unsigned char bytes[];
} dw_jchunk;

void dw_jrun_complain(dw_jrun *r, const char *fmt, ...)
{
    char text[1536];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (r->at)
        dw_err_set(r->err, "%s:%u:%u: %s", r->t->name, r->at->line, r->at->column, text);
    else
        dw_err_set(r->err, "%s: %s", r->t->name, text);
}

dw_status dw_jrun_spend(dw_jrun *r, size_t steps)
{
    if (steps <= (size_t)r->fuel) {
        r->fuel -= (int64_t)steps;
        return DW_OK;
    }
    r->fuel = 0;
    return dw_jfail(r, DW_E_LIMIT, "the template takes more than %d steps", DW_JLIMIT_STEPS);
}

static dw_status hold(dw_jrun *r, size_t bytes)
{
    if (bytes > DW_JLIMIT_MEMORY || r->memory > DW_JLIMIT_MEMORY - bytes)
        return dw_jfail(r, DW_E_LIMIT, "the template takes more than %d MiB of memory",
                        DW_JLIMIT_MEMORY >> 20);
    r->memory += bytes;
    return DW_OK;
}

static dw_status new_chunk(dw_jrun *r, struct dw_jchunk **head, size_t size, size_t bytes)
{
    DW_TRY(hold(r, sizeof(dw_jchunk) + bytes));
    dw_jchunk *c = dw_alloc(sizeof *c + bytes);
    c->next = *head;
    c->used = 0;
    c->size = size;
    *head = c;
    return DW_OK;
}

void *dw_jrun_alloc(dw_jrun *r, size_t bytes)
{
    if (bytes > DW_JLIMIT_MEMORY) {
        (void)hold(r, bytes);
        return NULL;
    }
    const size_t n = (bytes + 15) & ~(size_t)15;
    dw_jchunk *c = r->chunk;
    if (!c || c->size - c->used < n) {
        const size_t size = n > CHUNK ? n : CHUNK;
        if (new_chunk(r, &r->chunk, size, size))
            return NULL;
        c = r->chunk;
    }
    void *p = c->bytes + c->used;
    c->used += n;
    memset(p, 0, n);
    return p;
}

const char *dw_jrun_strndup(dw_jrun *r, const char *s, size_t n)
{
    char *p = dw_jrun_alloc(r, n + 1);
    if (p && n)
        memcpy(p, s, n);
    return p;
}

static void free_chunks(dw_jchunk *c)
{
    while (c) {
        dw_jchunk *next = c->next;
        dw_free(c);
        c = next;
    }
}

void dw_jrun_finish(dw_jrun *r)
{
    free_chunks(r->chunk);
    free_chunks(r->text_chunk);
    r->chunk = r->text_chunk = NULL;
    dw_free(r->out.ptr);
    dw_free(r->out.mark);
    r->out = (dw_jout){0};
}

/* ---- output ---- */

static dw_status grow_out(dw_jrun *r, size_t need)
{
    size_t cap = r->out.cap ? r->out.cap : 4096;
    while (cap < need)
        cap *= 2;
    DW_TRY(hold(r, 2 * (cap - r->out.cap)));
    r->out.ptr = dw_realloc(r->out.ptr, cap);
    r->out.mark = dw_realloc(r->out.mark, cap);
    r->out.cap = cap;
    return DW_OK;
}

dw_status dw_jrun_write(dw_jrun *r, const dw_jstr *s)
{
    if (!s->len)
        return DW_OK;
    if (s->len > DW_JLIMIT_OUTPUT - r->out.len)
        return dw_jfail(r, DW_E_LIMIT, "the template writes more than %d MiB",
                        DW_JLIMIT_OUTPUT >> 20);
    DW_TRY(dw_jrun_spend_bytes(r, s->len));
    if (r->out.len + s->len > r->out.cap)
        DW_TRY(grow_out(r, r->out.len + s->len));
    memcpy(r->out.ptr + r->out.len, s->ptr, s->len);
    unsigned char *mark = r->out.mark + r->out.len;
    if (s->mark)
        memcpy(mark, s->mark, s->len);
    else
        memset(mark, s->tag, s->len);
    for (size_t i = 0; r->speaking && i < s->len; i++)
        mark[i] |= r->speaking;
    r->out.len += s->len;
    return DW_OK;
}

dw_status dw_jrun_cut(dw_jrun *r, size_t from, dw_jvalue *out)
{
    dw_jbuild b = {0};
    const dw_jstr s = {.ptr = r->out.ptr ? r->out.ptr + from : "",
                       .mark = r->out.mark ? r->out.mark + from : NULL,
                       .len = (uint32_t)(r->out.len - from)};
    DW_TRY(dw_jbuild_str(r, &b, &s));
    *out = dw_jbuild_done(r, &b);
    r->out.len = from;
    return DW_OK;
}

/* ---- strings ---- */

/* The marks of text in a chunk stand at the same place behind all of its text. */
static unsigned char *marks_of(dw_jchunk *c, char *text)
{
    return c->bytes + c->size + (text - (char *)c->bytes);
}

/* Is this the newest text, so that more can follow it where it stands? */
static bool is_last(const dw_jrun *r, const char *end, size_t more)
{
    const dw_jchunk *c = r->text_chunk;
    return c && end == (const char *)c->bytes + c->used && c->size - c->used >= more;
}

static dw_status grow_build(dw_jrun *r, dw_jbuild *b, size_t more)
{
    const size_t want = b->len + more, extra = want - b->cap;
    if (want > DW_JLIMIT_MEMORY)
        return hold(r, want);
    if (b->ptr && is_last(r, b->ptr + b->cap, extra)) {
        r->text_chunk->used += extra;
        b->cap = want;
        return DW_OK;
    }
    dw_jchunk *c = r->text_chunk;
    if (!c || c->size - c->used < want) {
        const size_t size = want > CHUNK / 2 ? 2 * want : CHUNK;
        DW_TRY(new_chunk(r, &r->text_chunk, size, 2 * size));
        c = r->text_chunk;
    }
    char *ptr = (char *)c->bytes + c->used;
    unsigned char *mark = marks_of(c, ptr);
    if (b->len) {
        memcpy(ptr, b->ptr, b->len);
        memcpy(mark, b->mark, b->len);
    }
    c->used += want;
    b->ptr = ptr;
    b->mark = mark;
    b->cap = want;
    return dw_jrun_spend_bytes(r, b->len);
}

static dw_status room(dw_jrun *r, dw_jbuild *b, size_t n)
{
    DW_TRY(dw_jrun_spend_bytes(r, n));
    return b->len + n <= b->cap ? DW_OK : grow_build(r, b, n);
}

dw_status dw_jbuild_add(dw_jrun *r, dw_jbuild *b, const char *p, size_t n, uint8_t tag)
{
    if (!n)
        return DW_OK;
    DW_TRY(room(r, b, n));
    dw_assert(b->ptr && b->mark);
    memcpy(b->ptr + b->len, p, n);
    memset(b->mark + b->len, tag, n);
    b->len += n;
    return DW_OK;
}

dw_status dw_jbuild_str(dw_jrun *r, dw_jbuild *b, const dw_jstr *s)
{
    if (!s->mark)
        return dw_jbuild_add(r, b, s->ptr, s->len, s->tag);
    if (!s->len)
        return DW_OK;
    DW_TRY(room(r, b, s->len));
    memcpy(b->ptr + b->len, s->ptr, s->len);
    memcpy(b->mark + b->len, s->mark, s->len);
    b->len += s->len;
    return DW_OK;
}

dw_jvalue dw_jbuild_done(dw_jrun *r, dw_jbuild *b)
{
    if (b->ptr && is_last(r, b->ptr + b->cap, 0))
        r->text_chunk->used -= b->cap - b->len;
    return dw_jstring(
        (dw_jstr){.ptr = b->ptr ? b->ptr : "", .mark = b->mark, .len = (uint32_t)b->len});
}

/* A string that grows by `a = a + b` grows where it stands, so that its cost is its length. */
dw_status dw_jbuild_concat(dw_jrun *r, const dw_jstr *a, const dw_jstr *b, dw_jvalue *out)
{
    dw_jbuild s = {0};
    if (a->mark && a->len && is_last(r, a->ptr + a->len, b->len)) {
        char *text = (char *)r->text_chunk->bytes +
                     (r->text_chunk->used - a->len); /* a, in memory that may be written */
        s = (dw_jbuild){text, marks_of(r->text_chunk, text), a->len, a->len};
    } else {
        DW_TRY(dw_jbuild_str(r, &s, a));
    }
    DW_TRY(dw_jbuild_str(r, &s, b));
    *out = dw_jbuild_done(r, &s);
    return DW_OK;
}

dw_jstr dw_jstr_part(const dw_jstr *s, size_t from, size_t to)
{
    dw_jstr part = *s;
    part.ptr += from;
    part.mark = s->mark ? s->mark + from : NULL;
    part.len = (uint32_t)(to - from);
    return part;
}
